# SPDX-License-Identifier: GPL-2.0-only
"""Files and programs that a configuration asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.kernel.build import inputs
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError

X86, ARM = ARCHES["x86_64"], ARCHES["arm64"]


@pytest.fixture
def check(tmp_path: Path):  # type: ignore[no-untyped-def]
    for name in ("source", "objects"):
        (tmp_path / name).mkdir()

    def work(config: dict[str, str], arch=X86) -> None:  # type: ignore[no-untyped-def]
        inputs.check(arch, config, tmp_path / "source", tmp_path / "objects", "mine")

    return work


@pytest.mark.parametrize(
    ("symbol", "value", "file"),
    [
        ("SYSTEM_TRUSTED_KEYS", "debian/certs/debian-uefi-certs.pem", ""),
        ("SYSTEM_REVOCATION_KEYS", "certs/revoked.pem", ""),
        ("MODULE_SIG_KEY", "certs/mine.pem", ""),
        ("INITRAMFS_SOURCE", "usr/root.cpio", ""),
        ("EXTRA_FIRMWARE", "amd/ucode.bin", "/lib/firmware/amd/ucode.bin"),
    ],
)
def test_a_file_that_is_not_there(check, tmp_path: Path, symbol, value, file) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=f"config mine has CONFIG_{symbol}=") as caught:
        check({symbol: f'"{value}"'})
    assert (file or value) in caught.value.message
    assert f'CONFIG_{symbol}=""' in caught.value.hint
    where = tmp_path / "source" / value
    where.parent.mkdir(parents=True, exist_ok=True)
    where.touch()
    check({symbol: f'"{value}"', "EXTRA_FIRMWARE_DIR": f'"{tmp_path}/source"'})


@pytest.mark.parametrize(
    "config",
    [{}, {"SYSTEM_TRUSTED_KEYS": '""'}, {"MODULE_SIG_KEY": '"certs/signing_key.pem"'},
     {"MODULE_SIG_KEY": '"pkcs11:token=x"'}, {"INITRAMFS_SOURCE": '""'}],
)  # fmt: skip
def test_nothing_that_is_missing(check, config: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    check(config)


@pytest.mark.parametrize(
    ("symbol", "program", "package", "mends"),
    [
        ("KERNEL_ZSTD", "zstd", "zstd", "CONFIG_KERNEL_GZIP=y"),
        ("KERNEL_LZO", "lzop", "lzop", "CONFIG_KERNEL_GZIP=y"),
        ("DEBUG_INFO_BTF", "pahole", "dwarves", "CONFIG_DEBUG_INFO_BTF=n"),
        ("RUST", "rustc", "rustc", "CONFIG_RUST=n"),
        ("MODULE_SIG", "openssl", "openssl", "CONFIG_MODULE_SIG=n"),
    ],
)
def test_a_program_that_the_host_lacks(
    check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, symbol, program, package, mends
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("orchestrator.host.tools.shutil.which", lambda *_, **__: None)
    with pytest.raises(HostError, match=f"CONFIG_{symbol}=y, which needs {program}") as caught:
        check({symbol: "y"})
    assert package in caught.value.hint
    assert mends in caught.value.hint


def test_an_image_that_is_not_compressed_needs_no_compressor(
    check, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("orchestrator.host.tools.shutil.which", lambda *_, **__: None)
    check({"KERNEL_ZSTD": "y"}, ARM)
    with pytest.raises(HostError):
        check({"KERNEL_ZSTD": "y"})


def test_what_kconfig_dropped_for_want_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.host.tools.shutil.which", lambda *_, **__: None)
    (told,) = inputs.lacking(["DEBUG_INFO_BTF", "NUMA"])
    assert told.startswith("CONFIG_DEBUG_INFO_BTF needs pahole, and this host has none: ")
    assert told.endswith(" dwarves")
