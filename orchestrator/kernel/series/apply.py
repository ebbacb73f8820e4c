# SPDX-License-Identifier: GPL-2.0-only
"""A series onto a source, patch by patch, with the semantics of ``git am``.

``git apply --cached`` on an index of its own: all context must match, hunks may have moved, no
fuzz, no three-way merge.  No file is written but objects of the cache's store, so a hostile path
has nothing to reach; git itself refuses ``..``, ``.git`` and writing through a symbolic link
(git-apply(1) ``--unsafe-paths``, which is not given), and links that leave the tree are refused
here.  A series that does not apply is a value, not an exception: a verdict on the series.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from orchestrator.host.cache.files import Cache, need_space
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.series import diff
from orchestrator.kernel.series.misfit import explain
from orchestrator.kernel.source import store
from orchestrator.kernel.source.archive import leaves_tree
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import ApplyFailure, KernelTree, Patch, PatchState, Series, Tested
from orchestrator.model.spec import KernelSpec

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
    applied, failure, tree = 0, None, base.tree
    with scratch(cache) as folder:
        index = folder / "index"
        store.git(cache, "read-tree", base.tree, index=index)
        for patch in series.patches:
            failure = _apply(patch, index, cache)
            if failure:
                break
            applied += 1
        if applied:
            tree = store.git(cache, "write-tree", index=index).text.strip()
    refused = _refused(base.tree, tree, series.patches, cache)
    if refused:
        failure, applied, tree = refused, refused.n - 1, base.tree
    states = tuple(
        PatchState(
            p.n, p.subject, p.author, p.sha256,
            True if p.n <= applied else False if p.n == applied + 1 else None,
        )
        for p in series.patches
    )  # fmt: skip
    touched = store.touched_files(base.tree, tree, cache)
    version = base.version
    if "Makefile" in touched:
        version = store.kernel_version(tree, cache) or version
    notes = (*base.notes, *series.notes, *_base_notes(base, series, cache))
    return KernelTree(
        spec, version, base.tree, tree, states, series.digest, notes, failure, touched,
        Tested(subject=series.subject),
    )  # fmt: skip


def _apply(patch: Patch, index: Path, cache: Cache) -> ApplyFailure | None:
    """Apply one patch to the index; the index is as before where it does not apply."""
    command = ("apply", "--cached", "--whitespace=nowarn")
    done = store.git(cache, *command, "-", index=index, input=patch.diff, check=False)
    if done.status == 0:
        return None
    said = done.stderr.decode(errors="replace").strip()
    if done.status < 0 or _HOST_TROUBLE.search(said):
        raise HostError(f"git apply: {said or f'ended with status {done.status}'}")
    backwards = store.git(
        cache, *command, "--check", "-R", "-", index=index, input=patch.diff, check=False
    )
    here = store.git(cache, "write-tree", index=index).text.strip()
    return explain(patch, said, here, cache, already=backwards.status == 0)


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
