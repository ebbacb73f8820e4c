# SPDX-License-Identifier: GPL-2.0-only
"""``--base REF``: a kernel tree against the commit that it is based on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.model.errors import UserError
from orchestrator.plan.find import tree_above
from orchestrator.plan.matrix import Selection


def against_base(selection: Selection, ref: str | None, baseline: str | None) -> Selection:
    """The selection with the commit ``ref`` of its own repository as the base kernel.

    Where it names no kernel, the tree that the current folder is in is the one under test.

    :param baseline: what --baseline says.
    :raises UserError: when there is no git tree, or it has no such commit.
    """
    if ref is None:
        return selection
    from orchestrator.kernel.source.git import is_local, resolve_commit
    from orchestrator.kernel.source.store import git_folder

    if baseline not in (None, "none"):
        raise UserError(
            "--base and --baseline both say what to compare with", "leave one of them out"
        )
    if selection.kernels:
        raise UserError(
            "--base goes on a git tree, and --kernel names a kernel of lab.yaml",
            "name the tree with --source DIR",
        )
    if selection.source is None:
        tree = tree_above(Path.cwd())
        if tree is None:
            raise UserError(
                f"--base {ref}: {Path.cwd()} is in no kernel tree",
                "change to one, or name it with --source DIR",
            )
        selection = replace(selection, source=f"path:{tree}")
    scheme, _, rest = (selection.source or "").partition(":")
    where = rest.rpartition("#")[0] if scheme == "git" else rest
    if scheme not in ("path", "git") or not is_local(where):
        raise UserError(
            f"--base {ref}: {selection.source} is no git tree on this machine",
            "name one with --source DIR or git:DIR#REF",
        )
    repository = Path(where.removeprefix("file://"))
    if git_folder(repository) is None:
        raise UserError(
            f"--base {ref}: {repository} is not a git repository",
            "compare it with a kernel of lab.yaml: --baseline KERNEL",
        )
    try:
        commit = resolve_commit(repository, ref)
    except UserError as error:
        raise UserError(f"--base {ref}: {error.message}", error.hint) from error
    # A name stays one, since people know the base by it; what no source can hold is its commit.
    return replace(selection, base=f"git:{repository}#{ref if '#' not in ref else commit}")
