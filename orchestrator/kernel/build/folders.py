# SPDX-License-Identifier: GPL-2.0-only
"""Build folders: one to a user at a time, and nothing half-made in them is taken for made.

make believes file times.  An object or a link that was cut short is newer than what it is made
from, so that after a kill nothing but a mark of our own tells that it must be made again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache, write_atomic
from orchestrator.host.cache.locks import Notice, locked, looking
from orchestrator.host.cache.scratch import owned_folder
from orchestrator.kernel.build.log import STEPS
from orchestrator.model.errors import HostError

COPY_DEADLINE = 600.0
# Another lab may be compiling in the same build folder.
LOCK_DEADLINE = 7200.0
BUILDING = ".lab-building"
# What the objects are made of; see note_tree().
ORIGIN = ".lab-origin"
# What a link makes, whenever that was: cheap beside the risk.
_LINKED = (
    "vmlinux*", ".vmlinux*", ".tmp_vmlinux*", "System.map",
    "arch/*/boot/*Image*", "arch/*/boot/vmlinux*", "arch/*/boot/compressed/vmlinux*",
)  # fmt: skip
# Kconfig writes these by renaming, and their times and names are what tells make which object looks
# at a symbol that changed (scripts/kconfig/confdata.c, conf_touch_deps(); the objects name them as
# $(wildcard include/config/X), scripts/basic/fixdep.c).  Without them stale objects would stay.
_KCONFIG = ("include/config", "include/generated/autoconf.h", "include/generated/rustc_cfg")
# File systems stamp with the time of the last timer tick.
_SLACK = 1.0


def build_folder(
    cache: Cache, slot: str, config: str, arch: str, toolchain: str, on_wait: Notice
) -> Path:
    """Give a build folder; a new one starts as a copy of the latest whole one of another config.

    What another compiler made is of no use.

    Kbuild knows by itself which objects depend on which symbol (scripts/basic/fixdep.c), so that a
    config that differs in a few symbols costs the objects that look at them and not all.

    :raises HostError: when the disk is full.
    """
    objects = cache.build_folder(slot, config, arch, toolchain)
    if objects.exists():
        return objects
    cache.objects.mkdir(parents=True, exist_ok=True)
    siblings = cache.build_folders(slot, "*", arch, toolchain)
    for model in sorted(siblings, key=_linked_at, reverse=True):
        if not is_whole(model):
            continue
        with held(cache, model, on_wait):
            if not is_whole(model):  # its lab was killed, or it was trimmed, while this one waited
                continue
            with workplace(objects) as new:
                process.run(
                    ["cp", "-a", "--reflink=auto", f"{model}/.", new], deadline=COPY_DEADLINE
                )
                _say_moved(new, model, objects)
                if not objects.exists():  # else another lab was faster
                    new.rename(objects)
        break
    objects.mkdir(exist_ok=True)
    return objects


def _say_moved(copy: Path, model: Path, objects: Path) -> None:
    """Have the recipes of the kernel's own tools in a copy name the folder that it will be.

    Those of tools/ hold the build folder's whole path ,
    unlike Kbuild's own: objtool would be linked anew, and every object is made anew after it
    (scripts/Makefile.lib, cmd_gen_objtooldep).
    """
    for path in (copy / "tools").rglob(".*.cmd"):
        recipe, at = path.read_bytes(), path.stat()
        path.write_bytes(recipe.replace(os.fsencode(f"{model}/"), os.fsencode(f"{objects}/")))
        os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


def was_whole(folder: Path) -> bool:
    """Whether everything was made in a build folder some time."""
    return (folder / "vmlinux").exists() or (folder / STEPS).exists()


def is_whole(folder: Path) -> bool:
    """Whether a build folder has a kernel, and nobody is at work there or was cut short."""
    return (folder / "vmlinux").exists() and not (folder / BUILDING).exists()


def _linked_at(folder: Path) -> float:
    try:
        return (folder / "vmlinux").stat().st_mtime
    except OSError:
        return 0.0


@contextlib.contextmanager
def held(cache: Cache, objects: Path, on_wait: Notice) -> Iterator[None]:
    """Have a build folder to ourselves; its lock's time tells when it was last used."""
    lock = cache.build_lock(objects)
    with looking(cache):  # from here on trimming keeps it
        objects.mkdir(parents=True, exist_ok=True)
        lock.touch()
    what = f"the build folder {objects.name}"
    with locked(lock, deadline=LOCK_DEADLINE, on_wait=on_wait, what=what):
        lock.touch()
        yield


@contextlib.contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """A folder beside ``target``, for its making; what was not renamed is gone afterwards."""
    try:
        with owned_folder(target.parent, f"{target.name}.", ".new") as new:
            new.chmod(0o755)
            yield new
    except OSError as error:
        raise HostError(
            f"cannot write {error.filename or target}: {error.strerror}",
            "is the disk full? `lab gc` frees space",
        ) from error


@contextlib.contextmanager
def building(objects: Path) -> Iterator[Callable[[], None]]:
    """Mark a held folder as being built in, having removed what a build that was cut short left.

    The block calls what it is given when make came to its own end; else the mark stays, and with it
    the knowledge of what to distrust.
    """
    mark = objects / BUILDING
    since = cut_short(objects)
    if since is not None:
        _distrust(objects, since)
    # The old mark counts until all it stands for is gone: touching keeps the file there throughout.
    mark.touch()

    def whole() -> None:
        mark.unlink(missing_ok=True)

    yield whole


@dataclass(frozen=True)
class Origin:
    """What the objects of a build folder are: made of one of ``trees``, and ``count`` when whole.

    Of a folder that an earlier lab made neither is known: there are no trees, and the count is 0.
    """

    trees: tuple[str, ...] = ()
    count: int = 0


def origin(objects: Path) -> Origin:
    """What is noted of the objects of a build folder."""
    try:
        noted = json.loads((objects / ORIGIN).read_text())
        return Origin(tuple(map(str, noted["trees"])), int(noted["count"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Origin()


def note_tree(objects: Path, tree: str, whole: bool) -> None:
    """Note that objects of a held folder are made of ``tree`` from now on: all of them, or some.

    :raises HostError: when the disk is full.
    """
    before = origin(objects)
    trees = (tree,) if whole else tuple(dict.fromkeys((*before.trees, tree)))
    if not whole and not before.trees and was_whole(objects):
        trees = ()  # what the others are made of stays unknown
    made = whole or (not before.count and (objects / "vmlinux").exists())
    now = Origin(trees, sum(1 for _ in recipes(objects)) if made else before.count)
    write_atomic(objects / ORIGIN, json.dumps(asdict(now)).encode())


def recipes(objects: Path) -> Iterator[Path]:
    """The ``.NAME.o.cmd`` of each object of a build folder: how it was made, and of which files."""
    for folder, _folders, files in os.walk(objects):
        for name in files:
            if name.endswith(".o.cmd"):
                yield Path(folder, name)


def cut_short(objects: Path) -> float | None:
    """When (epoch seconds) a build began there that did not come to its end; None: there is none.

    What was made since is not to be believed.
    """
    try:
        return (objects / BUILDING).stat().st_mtime - _SLACK
    except OSError:
        return None


def _distrust(objects: Path, since: float) -> None:
    """Remove every link's result, and every file written at ``since`` (epoch seconds) or later."""
    for pattern in _LINKED:
        for path in objects.glob(pattern):
            if path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)
    kept = {str(objects / name) for name in (BUILDING, ORIGIN, *_KCONFIG)}
    kept.add(str(Cache.build_lock(objects)))
    folders = [str(objects)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.path in kept:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif (
                    entry.is_file(follow_symlinks=False)
                    and entry.stat(follow_symlinks=False).st_mtime >= since
                ):
                    Path(entry.path).unlink()
