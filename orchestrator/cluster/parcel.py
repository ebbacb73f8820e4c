# SPDX-License-Identifier: GPL-2.0-only
"""Values that go to another machine: pickled, with each path as what it is and not where it is.

A path into the cache is one into the other machine's cache.  What is the user's (workloads,
fragments) lies in the other's cache too, by its content, and comes back as the user's own.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Paths:
    """Where things are on this machine.

    ``mine`` are files and folders of the user's, each with its place below another's cache.
    """

    cache: Path
    mine: Mapping[Path, str] = field(default_factory=dict)

    def told(self, path: Path) -> str | None:
        """What a path is called between machines; None for one that is relative.

        :raises ValueError: for one that means nothing elsewhere: a bug.
        """
        if not path.is_absolute():
            return None
        for root in (path, *path.parents):
            if root in self.mine:
                return (Path(self.mine[root]) / path.relative_to(root)).as_posix()
            if root == self.cache:
                return path.relative_to(root).as_posix()
        raise ValueError(f"{path} means nothing on another machine")

    def here(self, told: str) -> Path:
        """Where on this machine that is.

        :raises ValueError: for what leads out of the cache.
        """
        place = Path(told)
        if place.is_absolute() or ".." in place.parts:
            raise ValueError(f"{told!r} is no place in a cache")
        for root, name in self.mine.items():
            if place.is_relative_to(name):
                return root / place.relative_to(name)
        return self.cache / place


class _Packer(pickle.Pickler):
    paths: Paths

    def persistent_id(self, obj: Any) -> str | None:
        return self.paths.told(obj) if isinstance(obj, Path) else None


class _Unpacker(pickle.Unpickler):
    paths: Paths

    def persistent_load(self, pid: Any) -> Path:
        return self.paths.here(str(pid))


def pack(value: object, paths: Paths) -> bytes:
    """A value as bytes for another machine."""
    file = io.BytesIO()
    packer = _Packer(file, protocol=5)
    packer.paths = paths
    packer.dump(value)
    return file.getvalue()


def unpack(data: bytes, paths: Paths) -> Any:
    """The value in bytes of another machine.

    As unpickling runs code, they must come from one that may run code here: one that has the
    cluster's certificate, or is this machine.
    """
    unpacker = _Unpacker(io.BytesIO(data))
    unpacker.paths = paths
    return unpacker.load()
