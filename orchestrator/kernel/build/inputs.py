# SPDX-License-Identifier: GPL-2.0-only
"""Files and programs that a configuration makes a build ask for, looked for before the compile.

A distribution's configuration names its certificates, and a host may lack what compresses an image:
make then stops after minutes, and it is no fault of the kernel's.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import tools
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError, UserError

# certs/Makefile and drivers/base/firmware_loader/builtin/Makefile (6.12): a name is looked for in
# the build folder, then in the sources.
_FILES = ("SYSTEM_TRUSTED_KEYS", "SYSTEM_REVOCATION_KEYS", "SYSTEM_BLACKLIST_HASH_LIST")
# What certs/Makefile makes itself.
_MADE = "certs/signing_key.pem"
_URI = "pkcs11:"


@dataclass(frozen=True)
class _Program:
    """A program, or ``file`` (a glob pattern), that a build with one of ``symbols`` needs.

    ``image`` says that only architectures with a compressed image do.
    """

    name: str
    package: str
    symbols: tuple[str, ...]
    image: bool = False
    files: tuple[str, ...] = ()

    def present(self) -> bool:
        return tools.Tool(self.name, self.package, "", files=self.files).present()


_PROGRAMS = (
    _Program("zstd", "zstd", ("KERNEL_ZSTD",), image=True),
    _Program("lz4", "lz4", ("KERNEL_LZ4",), image=True),
    _Program("xz", "xz-utils", ("KERNEL_XZ", "KERNEL_LZMA"), image=True),
    _Program("lzop", "lzop", ("KERNEL_LZO",), image=True),
    _Program("bzip2", "bzip2", ("KERNEL_BZIP2",), image=True),
    _Program("pahole", "dwarves", ("DEBUG_INFO_BTF",)),
    _Program("rustc", "rustc", ("RUST",)),
    _Program("bindgen", "bindgen", ("RUST",)),
    _Program("openssl", "openssl", ("MODULE_SIG", "IMA_APPRAISE_MODSIG")),
    # certs/extract-cert.c and scripts/sign-file.c.
    _Program("libssl headers", "libssl-dev", ("SYSTEM_TRUSTED_KEYRING", "MODULE_SIG"),
             files=("/usr/include/openssl/opensslv.h",)),
)  # fmt: skip


def check(arch: Arch, dotconfig: Mapping[str, str], source: Path, objects: Path, name: str) -> None:
    """See that what a build will ask for is there.

    :param dotconfig: the whole .config, symbol to value; :param name: the config's, for messages.
    :raises UserError: where it names a file that is not there.
    :raises HostError: where the host lacks a program.
    """
    for symbol in _FILES:
        _refuse_missing(symbol, _words(dotconfig.get(symbol, ""))[:1], source, objects, name)
    key = _words(dotconfig.get("MODULE_SIG_KEY", ""))[:1]
    if key and key[0] != _MADE and not key[0].startswith(_URI):
        _refuse_missing("MODULE_SIG_KEY", key, source, objects, name)
    packed = _words(dotconfig.get("INITRAMFS_SOURCE", ""))
    _refuse_missing("INITRAMFS_SOURCE", packed, source, objects, name)
    folder = (_words(dotconfig.get("EXTRA_FIRMWARE_DIR", "")) or ["/lib/firmware"])[0]
    blobs = [f"{folder}/{blob}" for blob in _words(dotconfig.get("EXTRA_FIRMWARE", ""))]
    _refuse_missing("EXTRA_FIRMWARE", blobs, source, objects, name)
    compressed = arch.image_target != "Image"
    for program in _PROGRAMS:
        asking = [one for one in program.symbols if dotconfig.get(one) == "y"]
        if asking and (compressed or not program.image) and not program.present():
            raise HostError(
                f"config {name} has CONFIG_{asking[0]}=y, which needs {program.name}, and this "
                "host has none",
                f"{tools.install_command((program.package,))}, or a fragment with "
                + ("CONFIG_KERNEL_GZIP=y" if program.image else f"CONFIG_{asking[0]}=n"),
            )


def lacking(symbols: Collection[str]) -> tuple[str, ...]:
    """What the host would need for those symbols that came out off, in a sentence for each.

    Kconfig itself looks whether some programs are there, and drops what needs one.
    """
    return tuple(
        f"CONFIG_{one} needs {program.name}, and this host has none: "
        f"{tools.install_command((program.package,))}"
        for program in _PROGRAMS
        for one in program.symbols
        if one in symbols and not program.present()
    )


def _refuse_missing(
    symbol: str, named: list[str], source: Path, objects: Path, config: str
) -> None:
    for file in named:
        if not any((folder / file).exists() for folder in (objects, source)):
            empty = f'CONFIG_{symbol}=""'
            raise UserError(
                f"config {config} has CONFIG_{symbol}={file!r}, and there is no such file in the "
                "kernel's sources",
                f"a fragment with {empty} does without, or give an absolute path",
            )


def _words(value: str) -> list[str]:
    """The words of a string symbol."""
    try:
        return shlex.split(value[1:-1] if value[:1] == '"' else value)
    except ValueError:  # a quote without its end
        return value.strip('"').split()
