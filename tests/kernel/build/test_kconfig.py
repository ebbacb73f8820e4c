# SPDX-License-Identifier: GPL-2.0-only
"""Fragments, their bounds, their order, and whether what they ask for took."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.kernel.build import kconfig
from orchestrator.kernel.build.kconfig import Request
from orchestrator.model import formats
from orchestrator.model.errors import EXIT_USAGE, UserError


def write(folder: Path, text: str, name: str = "a.config") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def asked(path: Path, version: str = "6.12.117") -> dict[str, str]:
    return {entry.symbol: entry.value for entry in kconfig.read_fragment(path, version)}


def test_every_kind_of_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# What it is for.\n\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=16\n"
        'CONFIG_E=0x1F\nCONFIG_F="a # \\"b\\" c"\n  CONFIG_G=n\nCONFIG_H=""\n',
    )
    requests = kconfig.read_fragment(path, "6.12")
    assert requests[0] == Request("A", "y", "a.config", 3)
    assert asked(path) == {
        "A": "y", "B": "m", "C": "n", "D": "16", "E": "0x1F", "F": '"a # \\"b\\" c"', "G": "n",
        "H": '""',
    }  # fmt: skip


def test_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.config"
    path.write_bytes(b"CONFIG_A=y\r\n# CONFIG_B is not set\r\n")
    assert asked(path) == {"A": "y", "B": "n"}


@pytest.mark.parametrize(
    ("line", "versions"),
    [
        ("CONFIG_A=y # since 6.8", {"6.1": 0, "6.7.12": 0, "6.8": 1, "6.8-rc1": 1, "6.12.9": 1}),
        ("CONFIG_A=y # until 6.11", {"6.1": 1, "6.11.9": 1, "6.12": 0, "6.12-rc1": 0, "7.0": 0}),
        ("CONFIG_A=y # since 6.2 until 6.11", {"6.1": 0, "6.2": 1, "6.11": 1, "6.12": 0}),
        ("CONFIG_A=y # why; since 6.12.30", {"6.12": 0, "6.12.29": 0, "6.12.30": 1, "6.13": 1}),
        ("# CONFIG_A is not set # since 6.8", {"6.1": 0, "6.12": 1}),
        ('CONFIG_A="# since 9.9" # until 6.2', {"6.1": 1, "6.12": 0}),
        ("CONFIG_A=y # no bound at all", {"2.6.39": 1, "6.12": 1}),
        ("CONFIG_A=y # since 6.10", {"6.9": 0, "6.10": 1, "6.100": 1}),
    ],
)
def test_bounds(tmp_path: Path, line: str, versions: dict[str, int]) -> None:
    path = write(tmp_path, line + "\n")
    found = {version: len(kconfig.read_fragment(path, version)) for version in versions}
    assert found == versions


@pytest.mark.parametrize(
    "line",
    ["CONFIG_A", "A=y", "CONFIG_A = y", "CONFIG_A=", 'CONFIG_A="open', "config_a=y", "-CONFIG_A=y"],
)
def test_bad_line_names_its_place(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"# ok\nCONFIG_X=y\n{line}\n")
    with pytest.raises(UserError) as caught:
        kconfig.read_fragment(path, "6.12")
    assert caught.value.message.startswith(f"{path}:3: ")
    assert caught.value.exit_status == EXIT_USAGE
    assert caught.value.hint


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.config"):
        kconfig.read_fragment(tmp_path / "missing.config", "6.12")
    binary = tmp_path / "binary.config"
    binary.write_bytes(b"CONFIG_A=y\n\xff\xfe\n")
    with pytest.raises(UserError, match="cannot read"):
        kconfig.read_fragment(binary, "6.12")


def test_merge_takes_the_last_request_and_its_place(tmp_path: Path) -> None:
    first = write(tmp_path, "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n", "1.config")
    second = write(tmp_path, "# CONFIG_A is not set\nCONFIG_C=y # since 7.0\n", "2.config")
    merged = kconfig.merge([first, second], "6.12")
    assert [(r.symbol, r.value, r.fragment, r.line) for r in merged] == [
        ("B", "y", "1.config", 2),
        ("C", "y", "1.config", 3),
        ("A", "n", "2.config", 1),
    ]
    assert kconfig.render(merged) == "CONFIG_B=y\nCONFIG_C=y\n# CONFIG_A is not set\n"
    assert kconfig.merge([second, first], "6.12")[0].value == "y"
    assert kconfig.merge([], "6.12") == ()


def test_digest_depends_on_what_is_asked_for_alone(tmp_path: Path) -> None:
    one = write(tmp_path, "CONFIG_A=y\nCONFIG_B=n\n", "1.config")
    other = write(tmp_path, "# another order\n# CONFIG_B is not set\nCONFIG_A=y\n", "2.config")
    different = write(tmp_path, "CONFIG_A=y\nCONFIG_B=m\n", "3.config")

    def digest(*paths: Path, full: Path | None = None) -> str:
        return kconfig.digest(kconfig.merge(paths, "6.12"), full)

    assert digest(one) == digest(other)
    assert digest(one) != digest(different)
    assert digest(one) != digest(one, full=different)


def test_dotconfig() -> None:
    text = (
        "#\n# Automatically generated file; DO NOT EDIT.\n#\nCONFIG_A=y\n# CONFIG_B is not set\n"
        'CONFIG_S="x y"\nCONFIG_N=17\ngarbage \x00\nCONFIG_CUT'
    )
    assert formats.parse_dotconfig(text) == {"A": "y", "S": '"x y"', "N": "17"}
    assert formats.parse_dotconfig("") == {}


def test_mismatches_are_named_with_their_fragment_and_reason() -> None:
    requests = [
        Request("A", "y", "base.config", 3),
        Request("B", "n", "base.config", 4),
        Request("C", "y", "thp.config", 1),
        Request("N", "0x10", "base.config", 5),
        Request("S", '"x"', "base.config", 6),
    ]
    got = {"A": "y", "B": "y", "N": "16", "S": '"y"'}
    wrong = kconfig.mismatches(requests, got, {"C": "needs D"})
    assert [(m.symbol, m.wanted, m.got, m.fragment, m.unmet) for m in wrong] == [
        ("B", "n", "y", "base.config:4", ""),
        ("C", "y", "n", "thp.config:1", "needs D"),
        ("S", '"x"', '"y"', "base.config:6", ""),
    ]
    assert kconfig.mismatches(requests[:1], got) == ()


@pytest.mark.parametrize(
    ("wanted", "got", "same"),
    [("y", "y", True), ("y", "m", False), ("0x10", "16", True), ("010", "10", False),
     ("16", "17", False), ("n", "0", False), ('"a"', "a", False)],
)  # fmt: skip
def test_same_value(wanted: str, got: str, same: bool) -> None:
    assert kconfig.same_value(wanted, got) is same


def test_version_order() -> None:
    versions = ["6.1.150", "6.2", "6.9", "6.10", "6.12-rc3", "6.12.117", "7.0"]
    assert sorted(set(versions), key=kconfig.version_key) == versions
