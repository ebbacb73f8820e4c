# SPDX-License-Identifier: GPL-2.0-only
"""What a full disk, a lost machine or a fallen bit makes of a file: in place, as a disk does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def flip(path: Path) -> None:
    """One bit in the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))


def cut(path: Path) -> None:
    """The first half is left."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Nothing is left."""
    path.write_bytes(b"")


def replace(path: Path) -> None:
    """Something else is there."""
    path.write_text("this is no such file\n" * 40)


ALL: dict[str, Callable[[Path], None]] = {
    "flip": flip, "cut": cut, "empty": empty, "replace": replace,
}  # fmt: skip
