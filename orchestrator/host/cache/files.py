# SPDX-License-Identifier: GPL-2.0-only
"""Where everything lies in the cache, by name; and its small records, and the room it has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.model.errors import HostError

_STAMP = ".tree"
#: In the name of a build folder's config where a build was fenced in, before its tree's id: nobody
#: else trusts what such a build left.
FENCED = ".fenced-"


@dataclass(frozen=True)
class Slot:
    """A place for a work tree: its folder, and beside it what is known of it."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held shared by who reads the tree, alone by who switches it."""
        return self._beside(".lock")

    @property
    def gate(self) -> Path:
        """Held by who waits for another tree than the one that is there."""
        return self._beside(".gate")

    @property
    def stamp(self) -> Path:
        """The id of the tree that the folder holds; away while it does not hold one."""
        return self._beside(_STAMP)

    @property
    def index(self) -> Path:
        """git's index of the folder."""
        return self._beside(".index")

    @property
    def index_lock(self) -> Path:
        """git's own lock of that index."""
        return self._beside(".index.lock")

    def _beside(self, suffix: str) -> Path:
        # with_suffix() would eat the ".12" of "debian-6.12".
        return self.folder.parent / (self.folder.name + suffix)


@dataclass(frozen=True)
class Cache:
    """The cache: a folder of which all can be made again.  No other module names what lies in it.

    What is here is names alone: nothing is made.
    """

    folder: Path

    # ------------------------------------------------------------ kernels

    @property
    def store(self) -> Path:
        """The object store: a bare git repository with the sources of all kernels."""
        return self.folder / "kernels.git"

    def source_index(self, slot: str) -> Path:
        """git's index of a tree of the user's.

        Inside the store, so that both are deleted together: the index vouches for the objects.
        """
        return self.store / "lab-indexes" / slot

    @property
    def records(self) -> Path:
        """What was imported into the store, as which tree: a folder a kind, a file a key."""
        return self.folder / "records"

    def record(self, kind: str, key: str) -> Path:
        """The file of one record (:func:`load_record`)."""
        name = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:32]
        return self.records / kind / f"{name}.json"

    @property
    def trees(self) -> Path:
        """Work trees of kernels, each with its lock, stamp and index beside it."""
        return self.folder / "trees"

    def slot(self, name: str) -> Slot:
        """A work tree by its name, and what lies beside it."""
        return Slot(self.trees / name)

    def slots(self) -> Iterator[str]:
        """The names of the work trees that hold a tree just now."""
        return (stamp.name.removesuffix(_STAMP) for stamp in self.trees.glob(f"*{_STAMP}"))

    @property
    def corpus(self) -> Path:
        """Programs that `lab explore` found something with: the one thing that is not made again.

        Nothing trims it.  Those in its folder ``kept`` are bounded by :mod:`..results.kept`.
        """
        return self.folder / "corpus"

    @property
    def objects(self) -> Path:
        """Build folders (make's ``O=``), one a work tree, config and architecture."""
        return self.folder / "obj"

    def build_folder(self, slot: str, config: str, arch: str, toolchain: str = "") -> Path:
        """The build folder of a work tree, a config, an architecture and a compiler.

        :param toolchain: empty for the default one.
        """
        return self.objects / f"{slot}-{config}-{arch}{toolchain and f'--{toolchain}'}"

    def build_folders(
        self, slot: str, config: str, arch: str, toolchain: str = "", *, fenced: bool = False
    ) -> Iterator[Path]:
        """The build folders there are whose parts match these globs; of fenced builds if asked."""
        found = self.objects.glob(self.build_folder(slot, config, arch, toolchain).name)
        return (path for path in found if fenced or FENCED not in path.name)

    @staticmethod
    def build_lock(objects: Path) -> Path:
        """The lock of a build folder, in it; its time is the folder's last use."""
        return objects / ".lab-lock"

    @property
    def builds(self) -> Path:
        """Kept builds, a folder an identity; and the logs of those that failed."""
        return self.folder / "builds"

    def build(self, identity: str) -> Path:
        """Where the build of this identity is kept."""
        return self.builds / identity

    @staticmethod
    def build_record(build: Path) -> Path:
        """What is known of a kept build; its time is the build's last use."""
        return build / "build.json"

    def build_records(self) -> Iterator[Path]:
        """Those of all kept builds."""
        return self.builds.glob(self.build_record(Path("*")).as_posix())

    def failed_log(self, identity: str) -> Path:
        """What make printed at this identity's last build that failed."""
        return self.builds / f"{identity}.failed.log"

    @property
    def ccache(self) -> Path:
        """ccache's own folder, and in it the program that the lab puts before ccache."""
        return self.folder / "ccache"

    # ------------------------------------------------------------ guests

    @property
    def roots(self) -> Path:
        """The guests' root images, ``ARCH-DIGEST.ext2``, and a lock an architecture."""
        return self.folder / "roots"

    def root_lock(self, arch: str) -> Path:
        """Held by who makes a root image for an architecture."""
        return self.roots / f"{arch}.lock"

    def kvm_probe(self, arch: str) -> Path:
        """What the probe said of KVM for an architecture since the host's boot."""
        return self.folder / f"kvm-probe-{arch}.json"

    @property
    def workloads(self) -> Path:
        """Compiled workloads and packed archives of them, each with its lock beside it."""
        return self.folder / "workloads"

    @property
    def selftests(self) -> Path:
        """Built selftest collections and the libraries for them, each with its lock beside it."""
        return self.folder / "selftests"

    @property
    def inputs(self) -> Path:
        """Workloads and fragments of runs that other machines started: a folder a content hash."""
        return self.folder / "inputs"

    # ------------------------------------------------------------ work under way

    @staticmethod
    def lock_beside(path: Path) -> Path:
        """The lock of a scratch folder, a workload or a collection, held by who makes it."""
        return path.with_name(f"{path.name}.lock")

    @property
    def tmp(self) -> Path:
        """Scratch folders of labs at work, each with its lock beside it; and what is trimmed."""
        return self.folder / "tmp"

    @property
    def locks(self) -> Path:
        """Locks that have no place of their own."""
        return self.folder / "locks"

    def source_lock(self, slot: str) -> Path:
        """Held by who imports a tree of the user's."""
        return self.locks / slot

    @property
    def import_lock(self) -> Path:
        """Held by who writes sources into the store."""
        return self.locks / "import"

    @property
    def store_lock(self) -> Path:
        """Held by who creates the store."""
        return self.locks / "store-create"

    @property
    def trim_lock(self) -> Path:
        """Held shared by who looks things up, alone by who removes them."""
        return self.locks / "trim"

    @property
    def labs(self) -> Path:
        """A locked file for each lab at work."""
        return self.locks / "labs"

    @property
    def budget_checked(self) -> Path:
        """Its time is when the cache was last brought within its budget."""
        return self.locks / "budget-checked"


def need_space(cache: Cache, need: int) -> None:
    """Check that the cache's disk has ``need`` bytes free.

    :raises HostError: when it has not.
    """
    cache.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache.folder).free
    if free < need:
        raise HostError(
            f"{cache.folder} has {free >> 20} MiB free, "
            f"{need >> 20} MiB are needed for kernel sources",
            "free some space (`lab gc`), or set LAB_CACHE to a folder on a larger disk",
        )


def load_record(cache: Cache, kind: str, key: str) -> dict[str, Any] | None:
    """Load what :func:`save_record` kept; None where there is nothing or it is unreadable."""
    try:
        record = json.loads(cache.record(kind, key).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("key") == key else None


def load_records(cache: Cache, kind: str) -> Iterator[dict[str, Any]]:
    """All records of a kind that can be read, in no order; each has its ``key``."""
    for path in (cache.records / kind).glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(path.read_text())
            if isinstance(record, dict) and isinstance(record.get("key"), str):
                yield record


def save_record(cache: Cache, kind: str, key: str, record: Mapping[str, Any]) -> None:
    """Keep a small record under a key, atomically."""
    path = cache.record(kind, key)
    write_atomic(path, json.dumps({**record, "key": key}, indent=1).encode())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}", "is the disk full?") from error
