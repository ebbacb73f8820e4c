# SPDX-License-Identifier: GPL-2.0-only
"""A series onto a source, patch by patch, with the semantics of ``git am``.

``git apply --cached`` on an index of its own: all context must match, hunks may have moved.  Only
where a kernel asks for it (``apply: fuzz`` or ``3way``) is a patch that does not apply so bent
(:mod:`.fuzz`) or merged (:mod:`.merge`), and then each such hunk is told.

No file is written but objects of the cache's store, so a hostile path has nothing to reach; git
itself refuses ``..``, ``.git`` and writing through a symbolic link (git-apply(1)
``--unsafe-paths``, which is not given), and links that leave the tree are refused here.  A series
that does not apply is a value, not an exception: a verdict on the series.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.host.cache.files import Cache, need_space
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.series import diff, fuzz
from orchestrator.kernel.series.merge import Originals, merge
from orchestrator.kernel.series.misfit import explain
from orchestrator.kernel.source import store
from orchestrator.kernel.source.archive import leaves_tree
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import (
    ApplyFailure,
    BentHunk,
    KernelTree,
    Patch,
    PatchState,
    Series,
    Tested,
)
from orchestrator.model.spec import FUZZ, STRICT, KernelSpec

_COMMAND = ("apply", "--cached", "--whitespace=nowarn")
_LINK, _SUBMODULE = b"120000", b"160000"
# What git says when not the patch but the host is at fault.
_HOST_TROUBLE = re.compile(
    r"^(?:error|fatal): (?:unable to (?:write|create)|insufficient permission|out of memory"
    r"|unable to read tree|bad object)"
    r"|: (?:No space left on device|Permission denied|Read-only file system|Input/output error)$",
    re.IGNORECASE | re.MULTILINE,
)


def apply_series(
    base: BaseSource, series: Series | None, spec: KernelSpec, cache: Cache
) -> KernelTree:
    """Apply a series; the result's ``failure`` is set where a patch does not apply.

    :raises HostError: when the disk is full or the store is damaged.
    """
    if series is None:
        return KernelTree(spec, base.version, base.tree, base.tree, notes=base.notes)
    need_space(cache, 64 << 20)
    failure, tree = None, base.tree
    bent: list[tuple[BentHunk, ...]] = []
    with scratch(cache) as folder:
        index = folder / "index"
        store.git(cache, "read-tree", base.tree, index=index)
        how = _Bending(base, series, spec, folder, cache)
        for patch in series.patches:
            came = _apply(patch, index, cache, how)
            if isinstance(came, ApplyFailure):
                failure = came
                break
            bent.append(came)
        applied = len(bent)
        if applied:
            tree = store.git(cache, "write-tree", index=index).text.strip()
    refused = _refused(base.tree, tree, series.patches, cache)
    if refused:
        failure, applied, tree = refused, refused.n - 1, base.tree
    ids = patch_ids(series.patches, cache)
    states = tuple(
        PatchState(
            p.n, p.subject, p.author, p.sha256,
            True if p.n <= applied else False if p.n == applied + 1 else None,
            bent[p.n - 1] if p.n <= applied else (), ids.get(p.n, ""),
        )
        for p in series.patches
    )  # fmt: skip
    touched = store.touched_files(base.tree, tree, cache)
    version = base.version
    if "Makefile" in touched:
        version = store.kernel_version(tree, cache) or version
    notes = (*base.notes, *series.notes, *_base_notes(base, series, cache), *how.notes)
    return KernelTree(
        spec, version, base.tree, tree, states, series.digest, notes, failure, touched,
        Tested(subject=series.subject),
    )  # fmt: skip


def patch_ids(patches: Iterable[Patch], cache: Cache) -> dict[int, str]:
    """Ask git for the patch id of each patch, by its number; one whose diff has no hunk has none.

    :raises HostError: when git is missing.
    """
    # A line "commit" begins a patch for it, and is given back beside what it came to.
    told = b"".join(b"commit %040d\n%s\n" % (p.n, p.diff) for p in patches)
    ids = store.git(cache, "patch-id", "--stable", input=told).text
    return {int(name): found for found, name in map(str.split, ids.splitlines())}


class _Bending:
    """How a series' patches are bent that do not apply; ``notes`` is what else there is to tell."""

    def __init__(
        self, base: BaseSource, series: Series, spec: KernelSpec, folder: Path, cache: Cache
    ) -> None:
        self.mode = spec.apply
        self.notes: list[str] = []
        self._cache = cache
        self._coming = iter(series.patches)
        self._missing: dict[int, list[str]] = {}
        where = [base.repository] if base.repository else []
        if series.origin.startswith("git:"):
            where.append(Path(series.origin[4:].rpartition("#")[0]).expanduser())
        self._originals = Originals(folder / "originals", where, cache)

    def fuzz(self, patch: Patch, index: Path, tree: str) -> tuple[BentHunk, ...] | str:
        """Apply it with fuzz; a text says why that did not work."""
        found = fuzz.bend(patch.diff, self._reader(tree))
        if found is None:
            return f"with a fuzz of {fuzz.MOST_FUZZ} neither"
        done = store.git(self._cache, *_COMMAND, "-", index=index, input=found[0], check=False)
        return found[1] if done.status == 0 else "with fuzz neither"

    def merge(
        self, patch: Patch, index: Path, tree: str
    ) -> tuple[BentHunk, ...] | ApplyFailure | str:
        """Merge it; a text says why there was no merge."""
        for earlier in self._coming:
            self._missing[earlier.n] = self._originals.follow(earlier)
            if earlier.n == patch.n:
                break
        came = merge(patch, index, self._cache)
        if isinstance(came, ApplyFailure):
            return came
        if came is not None:
            missing = self._missing[patch.n]
            if not missing:
                return (
                    "no three-way merge either, since it does not fit what its index lines name: "
                    "was it changed by hand?"
                )
            return (
                "a three-way merge needs what it was made from, which neither the store nor a "
                f"repository of the source or series has: {', '.join(missing)}; "
                "give a git:DIR#REF that has the series' base as the source"
            )
        if store.git(self._cache, "write-tree", index=index).text.strip() == tree:
            self.notes.append(f"patch {patch.n} changes nothing: the source has it already")
        moved = fuzz.misplaced(patch.diff, self._reader(tree))
        return tuple(BentHunk(name, header, merged=True) for name, header in moved)

    def _reader(self, tree: str) -> Callable[[str], bytes | None]:
        def read(name: str) -> bytes | None:
            inside = not name.startswith("/") and ".." not in name.split("/")
            return store.read_file(tree, name, self._cache) if inside else None

        return read


def _apply(
    patch: Patch, index: Path, cache: Cache, how: _Bending
) -> ApplyFailure | tuple[BentHunk, ...]:
    """Apply one patch to the index, which is as before where it does not apply."""
    done = store.git(cache, *_COMMAND, "-", index=index, input=patch.diff, check=False)
    if done.status == 0:
        return ()
    said = done.stderr.decode(errors="replace").strip()
    if done.status < 0 or _HOST_TROUBLE.search(said):
        raise HostError(f"git apply: {said or f'ended with status {done.status}'}")
    backwards = store.git(
        cache, *_COMMAND, "--check", "-R", "-", index=index, input=patch.diff, check=False
    )
    here = store.git(cache, "write-tree", index=index).text.strip()
    already = backwards.status == 0
    failure = explain(patch, said, here, cache, already=already)
    # With fuzz what is there already may well go in once more.
    if how.mode == STRICT or (how.mode == FUZZ and already):
        return failure
    came = (how.fuzz if how.mode == FUZZ else how.merge)(patch, index, here)
    if isinstance(came, str):
        return replace(failure, message=f"{failure.message}; {came}")
    return came


def _refused(
    base_tree: str, tree: str, patches: Sequence[Patch], cache: Cache
) -> ApplyFailure | None:
    """Find a link that points out of the tree, or a submodule, that the series brings in."""
    if base_tree == tree:
        return None
    raw = store.git(cache, "diff-tree", "-r", "-z", "--no-renames", "--raw", base_tree, tree)
    fields = raw.stdout.split(b"\0")
    for entry, name in zip(fields[0::2], fields[1::2], strict=False):
        mode, path = entry.split()[1], os.fsdecode(name)
        if mode == _SUBMODULE:
            why = f"{path}: a series for the kernel brings no submodule"
        elif mode == _LINK:
            target = os.fsdecode(store.read_file(tree, path, cache) or b"")
            if not leaves_tree(path, target):
                continue
            why = f"{path}: symbolic link to {target!r}, which is outside of the tree"
        else:
            continue
        guilty = patches[-1]
        for patch in patches:
            if any(file.name == path for file in diff.parse(patch.diff)):
                guilty = patch
        return ApplyFailure(guilty.n, guilty.subject, path, 0, f"refused: {why}", "", "")
    return None


# ---------------------------------------------------------------- is it the base that was meant?


def _base_notes(base: BaseSource, series: Series, cache: Cache) -> list[str]:
    """Tell whether the series' base-commit is what it was applied to."""
    wanted = series.base_commit
    if not wanted:
        return []
    names = {base.version, f"v{base.version}", base.package_version, base.source, base.commit}
    # "v6.12" is how a release is tagged that calls itself 6.12.0.
    names |= {name.removesuffix(".0") for name in (base.version, f"v{base.version}")}
    if wanted in names - {""} or (
        base.commit and len(wanted) >= 7 and base.commit.startswith(wanted)
    ):
        return [f"applied to its base-commit {wanted}"]
    if not re.fullmatch(r"[0-9a-f]{7,40}", wanted):
        have = base.package_version or base.commit or base.version
        return [f"base-commit mismatch: the series names {wanted}, it was applied to {have}"]
    same, of = _same_preimages(base.tree, series, cache)
    told = f"{same} of the {of} files it changes are the very ones that it was made from"
    if base.commit:
        return [
            f"base-commit mismatch: the series names {wanted}, it was applied to {base.commit}"
            f" ({told})"
        ]
    return [f"base-commit {wanted} could not be checked, the source has no history ({told})"]


def _same_preimages(tree: str, series: Series, cache: Cache) -> tuple[int, int]:
    """Count the files whose content in the tree has the id that the series' diffs name."""
    before: dict[str, str] = {}
    made: set[str] = set()
    for patch in series.patches:
        for file in diff.parse(patch.diff):
            if file.old and file.old_blob and file.old not in before and file.old not in made:
                before[file.old] = file.old_blob
            if file.new:
                made.add(file.new)
    entries = store.list_entries(tree, list(before), cache)
    same = sum(
        1 for name, blob in before.items() if entries.get(name, ("", ""))[1].startswith(blob)
    )
    return same, len(before)
