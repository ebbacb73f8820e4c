# SPDX-License-Identifier: GPL-2.0-only
"""Objects that a new file changes, or one that is gone, although make does not see it.

An object names every file that it was made of, so that make sees when one of them is changed.  It
does not see that a file which was not there before would now be found first: a header
``include/linux/x.h`` where ``include/uapi/linux/x.h`` was included until now, or one beside the
file that includes it.  Nor does it see that such a file is gone, so that the other one is found
again: Kbuild goes by what is newer (newer-prereqs in scripts/Kbuild.include, v6.12; GNU make 4.3
does not name what is missing there).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build.folders import origin
from orchestrator.kernel.build.start import seeing
from orchestrator.kernel.source import store

# What is searched for headers in every compile: include/, arch/*/include/, and uapi/ in both.
_ROOT = re.compile(r"(?:include|arch/[^/]+/include)/(?:uapi/)?(?P<name>.+)")
# What may be included; a new .c or .S most often is not, but may be.
_INCLUDED = (".h", ".c", ".S", ".inc")


def includable(tree: str, cache: Cache) -> str:
    """A digest of the names of all files of a tree that may be included.

    :raises HostError: when git fails.
    """
    names = store.file_names(tree, cache)
    told = "\0".join(name for name in names if name.endswith(_INCLUDED))
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:16]


def forget(objects: Path, tree: str, slot: str, cache: Cache) -> int:
    """Remove from a held build folder the objects that would find another file; give how many.

    One that is away already, since a build stopped before it was made again, counts too.

    :param tree: what is to be built there.
    :param slot: the work tree, as the objects name it.
    :raises HostError: when git or grep fails.
    """
    came, went = _since(objects, tree, cache)
    added: dict[str, list[str]] = {}
    for name in came:
        added.setdefault(name.rpartition("/")[2], []).append(name)
    lost = {f"/{slot}/{name}" for name in went}
    lasts = {name.rpartition("/")[2] for name in lost}
    gone = 0
    for recipe in seeing(objects, [f"/{last}" for last in {*added, *lasts}]):
        path = objects / recipe
        text = path.read_text(errors="surrogateescape")
        names = {word for word in text.split() if "/" in word}
        if any(
            _misled(text, name, added, slot)
            or (name.rpartition("/")[2] in lasts and name.endswith(tuple(lost)))
            for name in names
        ):
            target = path.with_name(path.name.removeprefix(".").removesuffix(".cmd"))
            gone += 1
            target.unlink(missing_ok=True)
    return gone


def _since(objects: Path, tree: str, cache: Cache) -> tuple[set[str], set[str]]:
    """The files that may be included and that ``tree`` has more, or no more, than an object here.

    One that came and one that went, of several trees, may be the same.
    """
    came: set[str] = set()
    went: set[str] = set()
    for old in origin(objects).trees:
        with contextlib.suppress(process.CommandFailed):  # that tree was trimmed away
            more, less = store.come_and_gone(old, tree, cache)
            came |= more
            went |= less
    included = ({name for name in names if name.endswith(_INCLUDED)} for names in (came, went))
    return next(included), next(included)


def _misled(text: str, dependency: str, added: dict[str, list[str]], slot: str) -> bool:
    """Whether an object that was made of this file may find one of the new files in its stead."""
    for name in added.get(dependency.rpartition("/")[2], ()):
        if dependency.endswith(f"/{slot}/{name}"):
            continue
        found = _ROOT.fullmatch(name)
        if found:
            if dependency.endswith(f"/{found['name']}"):
                return True
            continue
        # Beside what includes it, or below that, or in a folder that -I names.
        folder, _, inner = name.rpartition("/")
        for where in filter(None, (folder, folder.rpartition("/")[0])):
            if f"/{slot}/{where}/" in text or f"/{slot}/{where} " in text:
                return True
        # Further below: then the file that was found until now has the same folders at its end.
        while folder:
            folder, _, last = folder.rpartition("/")
            inner = f"{last}/{inner}"
            if not dependency.endswith(f"/{inner}"):
                break
            if folder and f"/{slot}/{folder}/" in text:
                return True
    return False
