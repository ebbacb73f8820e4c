# SPDX-License-Identifier: GPL-2.0-only
"""The commits of a range of the user's repository, in the order in which a search tries them."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.kernel.source import store
from orchestrator.kernel.source.git import commit_range
from orchestrator.model.errors import UserError


@dataclass(frozen=True)
class Commit:
    """A commit: its id, its subject, and its parents, of which a merge has several."""

    id: str
    subject: str
    parents: tuple[str, ...]


def first_parents(where: str) -> tuple[str, tuple[Commit, ...]]:
    """The commit that a range begins after, and those of the range along first parents.

    A merge is one step: what it brought stands behind its other parents (git-rev-list(1),
    ``--first-parent``).

    :param where: ``git:DIR#A..B``.
    :raises UserError: when it is no range, there is no such commit, or B does not follow A.
    """
    repository, start, end = commit_range(where, "name a repository and two commits of it")
    listed = store.git_elsewhere(
        repository, "log", "--first-parent", "--reverse", "-z", "--format=%H%x00%s%x00%P",
        f"{start}..{end}",
    ).text.split("\0")  # fmt: skip
    found = [
        Commit(name, subject, tuple(parents.split()))
        for name, subject, parents in zip(*(iter(listed),) * 3, strict=False)
    ]
    if not found or start not in found[0].parents[:1]:
        first, _, last = where.rpartition("#")[2].partition("..")
        raise UserError(
            f"{where}: {last or 'HEAD'} does not follow {first} along first parents",
            "name a commit that it is built upon: `git log --first-parent` lists them",
        )
    return start, tuple(found)
