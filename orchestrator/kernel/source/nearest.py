# SPDX-License-Identifier: GPL-2.0-only
"""The known kernel that a tree is nearest to, and how it differs from that one.

Known are the kernels of lab.yaml whose sources are in the object store, and the tag that a git
tree is based on.  Only looks: nothing is fetched but the few files in which that tag differs, and
what takes too long, or cannot be read, is not known.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host.cache.files import Cache, load_record, load_records
from orchestrator.kernel.source import store
from orchestrator.kernel.source.borrow import bring_tree, differing, objects_of
from orchestrator.kernel.source.fetch import ALL_TAKEN, BaseSource, tar_key
from orchestrator.kernel.source.git import is_local, resolve_commit
from orchestrator.model.errors import HostError, LabError
from orchestrator.model.kernel import Difference, FileChange, KernelTree, Tested
from orchestrator.model.spec import KernelSpec

#: A known kernel is near where no more files differ: a stable release changes some hundred.
NEAR = 500
#: Beyond so many files no line is marked: it would take seconds for each cell with a trace.
MARKED = 5000
#: Seconds for all of it.
BUDGET = 15.0
_CODE = (".c", ".h", ".S", ".rs")


@dataclass(frozen=True)
class Known:
    """A kernel that is known by name: ``objects`` are the user's, where the store has not all."""

    name: str
    source: str
    tree: str
    objects: Path | None = None


def set_beside(
    tree: KernelTree, base: BaseSource, known: Sequence[KernelSpec], cache: Cache
) -> KernelTree:
    """Give a kernel with what it is (:class:`Tested`), and how it differs from a known one.

    Without a series, or with a ``base`` of its own, that difference stands for what a series would
    be: what it touched is marked in traces, and looked at for new warnings.

    :param base: the sources without the series.
    :param known: the kernels of lab.yaml.
    :raises LabError: when the base that was asked for cannot be had.
    """
    spec = tree.spec
    instead = bool(spec.base) or not tree.patches
    told = describe(base, tree.tree if instead else base.tree, spec, known, cache)
    told = replace(told, subject=tree.tested.subject)
    beside = told.difference
    if beside is None or not beside.near:
        return replace(tree, tested=told)
    if tree.patches:
        told = replace(told, difference=replace(beside, patched=instead))
    # The files that differ are named: what the import took beside the sources is among them.
    notes = tuple(note for note in tree.notes if note != ALL_TAKEN)
    if not instead or beside.count > MARKED:
        return replace(tree, tested=told, notes=notes)
    touched = store.touched_files(beside.tree, tree.tree, cache)
    return replace(tree, base_tree=beside.tree, touched_files=touched, notes=notes, tested=told)


def describe(
    base: BaseSource, tree: str, spec: KernelSpec, known: Sequence[KernelSpec], cache: Cache
) -> Tested:
    """Say what a kernel's sources are, and how ``tree`` differs from what is known.

    With ``spec.base`` it is set beside that one, however far; else beside the nearest.

    :param known: the kernels of lab.yaml; those with a series, and ``spec`` itself, do not count.
    :raises LabError: when ``spec.base`` cannot be had.
    """
    told = Tested(what=_what(base), commit=base.head, changed=base.head != base.commit)
    if spec.base:
        return replace(told, difference=_difference(_asked(spec.base), tree, cache, limit=None))
    if not told.what:
        return told
    until = time.monotonic() + BUDGET
    found: list[tuple[int, Known]] = []
    with contextlib.suppress(LabError, OSError):
        for one in _candidates(base, spec, known, cache):
            count = _count(one, tree, cache, until)
            if count is not None:
                found.append((count, one))
            if count == 0:
                break
    if told.changed and base.repository is not None and not any(n <= NEAR for n, _ in found):
        head = _commit_of(base.repository, "HEAD", "HEAD")
        count = _count(head, tree, cache, until) if head else None
        if head is not None and count is not None and count <= NEAR:
            found.append((count, head))
    for _, one in sorted(found, key=lambda pair: pair[0]):
        # A tag of a partial clone may lack what differs: then the next nearest is taken.
        with contextlib.suppress(LabError, OSError):
            return replace(told, difference=_difference(one, tree, cache, limit=NEAR))
    return told


def _what(base: BaseSource) -> str:
    scheme, _, rest = base.source.partition(":")
    if scheme == "path":
        return "your tree"
    if scheme == "git":
        return f"commit {base.commit[:12]}"
    return Path(rest).name if scheme == "tar" else ""


# ---------------------------------------------------------------- what is known


def _candidates(
    base: BaseSource, spec: KernelSpec, known: Sequence[KernelSpec], cache: Cache
) -> Iterator[Known]:
    """lab.yaml's own kernels first: they are built already, and win where two are equally near."""
    records = {str(r["key"]): str(r.get("tree")) for r in load_records(cache, "sources")}
    for one in known:
        if one.series is None and one.name != spec.name and one.source not in (
            spec.source, base.source,
        ):  # fmt: skip
            yield from (k for k in _of_lab(one, records, cache) if _is_there(k.tree, cache))
    if base.repository is not None and base.head:
        done = store.git_elsewhere(
            base.repository, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", base.head,
            check=False, deadline=5.0,
        )  # fmt: skip
        tag = done.text.strip()
        if done.status == 0 and tag and (found := _commit_of(base.repository, tag, tag)):
            yield found


def _of_lab(spec: KernelSpec, records: dict[str, str], cache: Cache) -> Iterator[Known]:
    scheme, _, rest = spec.source.partition(":")
    if scheme == "debian":
        keys = [k for k in records if k == spec.source or k.startswith(f"{spec.source}=")]
        for key in keys:
            version = key.partition("=")[2]
            # The package has moved on since: which of its versions it is has to be said.
            name = spec.name if len(keys) == 1 else f"{spec.name} as of {version}"
            yield Known(name, key, records[key])
    elif scheme == "tar":
        archive = Path(rest)
        with contextlib.suppress(OSError):
            record = load_record(cache, "sources", tar_key(archive, archive.stat()))
            if record:
                yield Known(spec.name, spec.source, str(record.get("tree")))
    elif scheme == "git":
        where, _, ref = rest.rpartition("#")
        with contextlib.suppress(LabError):
            commit = resolve_commit(Path(where), ref) if is_local(where) else ref
            tree = store.git(
                cache, "rev-parse", "--verify", "--quiet", f"refs/lab/git/{commit}^{{tree}}",
                check=False,
            )  # fmt: skip
            if tree.status == 0:
                yield Known(spec.name, f"git:{where}#{commit}", tree.text.strip())


def _is_there(tree: str, cache: Cache) -> bool:
    return store.has_object(cache, f"{tree}^{{tree}}")


def _commit_of(repository: Path, name: str, ref: str) -> Known | None:
    """A commit of the user's repository, whose objects are only borrowed."""
    done = store.git_elsewhere(
        repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}",
        check=False,
    )  # fmt: skip
    if done.status != 0:
        return None
    commit = done.text.strip()
    tree = store.git_elsewhere(repository, "rev-parse", f"{commit}^{{tree}}").text.strip()
    return Known(name, f"git:{repository}#{commit}", tree, objects_of(repository))


def _asked(source: str) -> Known:
    """The kernel that ``git:DIR#REF`` names."""
    where, _, ref = source.removeprefix("git:").rpartition("#")
    repository = Path(where)
    found = _commit_of(repository, ref, resolve_commit(repository, ref))
    if found is None or found.objects is None:
        raise HostError(f"{repository}: git cannot say where it keeps {ref}")
    return found


# ---------------------------------------------------------------- how it differs


def _count(known: Known, tree: str, cache: Cache, until: float) -> int | None:
    """How many files differ; None where it cannot be told in time."""
    left = until - time.monotonic()
    if left <= 0:
        return None
    with contextlib.suppress(HostError):
        borrowed = None if _is_there(known.tree, cache) else known.objects
        return len(differing(known.tree, tree, cache, borrowed=borrowed, deadline=left))
    return None


def _difference(known: Known, tree: str, cache: Cache, limit: int | None) -> Difference:
    """What differs from ``known``, whose tree the store holds afterwards where it is near."""
    borrowed = None if _is_there(known.tree, cache) else known.objects
    count = len(differing(known.tree, tree, cache, borrowed=borrowed))
    if limit is not None and count > limit:
        return Difference(known.name, known.source, known.tree, count, near=False)
    if borrowed is not None and not bring_tree(known.tree, tree, borrowed, cache):
        raise HostError(f"{known.source} could not be taken over")
    files = _changes(known.tree, tree, cache)
    return Difference(known.name, known.source, known.tree, count, files[:NEAR])


def _changes(base: str, tree: str, cache: Cache) -> tuple[FileChange, ...]:
    """Each file with the lines added and removed, code before the rest."""
    if base == tree:
        return ()
    done = store.git(
        cache, "diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--no-textconv",
        "--raw", "--no-abbrev", "--numstat", base, tree,
    )  # fmt: skip
    found = []
    records = iter(done.stdout.split(b"\0"))
    same: set[bytes] = set()
    # git-diff(1), "Raw output format": modes, contents and status, then the name; all come first.
    for line in filter(None, records):
        if line.startswith(b":"):
            _, _, before, after, _ = line.split(b" ")
            name = next(records)
            if before == after:
                same.add(name)
            continue
        # git-diff(1), "Other diff formats": "-" for both numbers of a binary file.
        added, removed, name = line.split(b"\t", 2)
        more, less = (None, None) if added == b"-" else (int(added), int(removed))
        found.append(FileChange(os.fsdecode(name), more, less, mode=name in same))
    return tuple(sorted(found, key=lambda one: (not one.file.endswith(_CODE), one.file)))
