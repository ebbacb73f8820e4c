# SPDX-License-Identifier: GPL-2.0-only
"""Kconfig files of people, packed or not: their lines, and which of them is a complete .config.

Packed are those of a distribution's package (``config.amd64_none_amd64.xz``) and /proc/config.gz.
Kconfig itself passes over what it cannot read with a warning (conf_read_simple() of
scripts/kconfig/confdata.c, 6.12): a packed file would give a kernel of nothing but defaults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.compressed import open_compressed
from orchestrator.model.errors import UserError
from orchestrator.model.formats import _SET

#: Bytes.  allmodconfig of 6.12 has some 350,000; what is so much larger is no configuration.
MOST_BYTES = 8 << 20
# What confdata.c writes on top since 2.6, before the symbols; the architecture is make's ARCH.
_GENERATED = re.compile(r"^# Automatically generated (?:file; DO NOT EDIT|make config)", re.M)
_MADE_FOR = re.compile(r"^# Linux/(\S+) (\d\S*) Kernel Configuration", re.M)
# A defconfig of Android or of ChromeOS has some 700 lines, the smallest complete file some 1,000.
_COMPLETE = 2000
_ZSTD = b"\x28\xb5\x2f\xfd"
_UNSET = re.compile(r"^# CONFIG_(\w+) is not set\s*$")
_ODD = re.compile(rb"[\0-\x08\x0e-\x1f\x7f]")
_DEADLINE = 30.0


@dataclass(frozen=True)
class Setting:
    """What a file says of a symbol, and in which line; ``value`` is ``n`` for "is not set"."""

    value: str
    line: int


@dataclass(frozen=True)
class Complete:
    """A complete configuration: all that Kconfig is to start from.

    ``arch`` (make's ``ARCH``: ``x86``) and ``version`` are what its heading says, empty without.
    """

    path: Path
    text: str
    settings: Mapping[str, Setting]
    arch: str = ""
    version: str = ""


def read_lines(path: Path) -> list[str]:
    """The lines of a Kconfig file, unpacked where it is packed.

    :raises UserError: when it cannot be read, is too large, or holds bytes that are no text.
    """
    data = _bytes(path)
    lines = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            if _ODD.search(raw):
                raise ValueError
            lines.append(raw.decode().rstrip("\r"))
        except ValueError:
            raise UserError(
                f"{path}:{number}: bytes that are no Kconfig",
                "name a text file, or one packed by xz, gzip, bzip2 or zstd",
            ) from None
    return lines[:-1] if lines and not lines[-1] else lines


def is_complete(lines: list[str]) -> bool:
    """Whether it is a whole .config and no fragment: by its heading, or thousands of lines."""
    if _GENERATED.search("\n".join(lines[:8])):
        return True
    if len(lines) < _COMPLETE:
        return False
    return sum(1 for line in lines if _SET.match(line) or _UNSET.match(line)) >= _COMPLETE


def read_complete(path: Path) -> Complete:
    """Read a complete .config, or a defconfig that is to be completed by Kconfig's own defaults.

    :raises UserError: when it cannot be read, or a line is none of Kconfig's.
    """
    lines = read_lines(path)
    settings: dict[str, Setting] = {}
    for number, line in enumerate(lines, 1):
        found = _SET.match(line)
        if found:
            settings[found["symbol"]] = Setting(found["value"], number)
        elif unset := _UNSET.match(line):
            settings[unset[1]] = Setting("n", number)
        elif line.strip() and not line.startswith("#"):
            raise UserError(
                f"{path}:{number}: not a Kconfig line: {line[:80]!r}",
                "a .config has lines such as CONFIG_X=y and '# CONFIG_X is not set'",
            )
    if not settings:
        raise UserError(f"{path}: no line of it sets a symbol", "name a .config or a defconfig")
    heading = _MADE_FOR.search("\n".join(lines[:8]))
    made_for = (heading[1], heading[2]) if heading else ("", "")
    return Complete(path, "".join(f"{line}\n" for line in lines), settings, *made_for)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            packed_by_zstd = file.read(4) == _ZSTD
    except OSError:
        packed_by_zstd = False  # the next one words it
    if packed_by_zstd and process.find_tool("zstd"):  # Python has it since 3.14
        done = process.run(["zstd", "-dcq", path], deadline=_DEADLINE, check=False)
        data = done.stdout
        if done.status:
            raise UserError(f"{path} is damaged: zstd cannot unpack it", "copy or fetch it again")
    else:
        with open_compressed(path) as stream:
            data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UserError(
            f"{path} holds more than {MOST_BYTES >> 20} MiB: no configuration", "is the name right?"
        )
    return data
