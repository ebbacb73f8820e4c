# SPDX-License-Identifier: GPL-2.0-only
"""The commits of a range, along first parents, in a real repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.kernel.source.commits import first_parents
from orchestrator.model.errors import UserError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A line a-b-M-d, where M merges one side commit s on top of a."""
    who = ["-c", "user.name=N", "-c", "user.email=n@example.org"]

    def git(*words: str) -> None:
        subprocess.run(["git", *who, "-C", tmp_path, *words], check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for name in ("a", "b"):
        git("commit", "-q", "--allow-empty", "-m", f"mm: {name}")
        git("tag", name)
    git("checkout", "-q", "-b", "side", "a")
    git("commit", "-q", "--allow-empty", "-m", "mm: s")
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-ff", "-m", "Merge side", "side")
    git("commit", "-q", "--allow-empty", "-m", "mm: d")
    return tmp_path


def test_a_merge_is_one_step(repository: Path) -> None:
    start, found = first_parents(f"git:{repository}#a..main")
    assert [commit.subject for commit in found] == ["mm: b", "Merge side", "mm: d"]
    assert [len(commit.parents) for commit in found] == [1, 2, 1]
    assert found[0].parents == (start,)
    assert first_parents(f"git:{repository}#a..") == (start, found)


@pytest.mark.parametrize("commits", ["main..a", "side..main", "main..main"])
def test_ends_that_do_not_follow_one_another_are_refused(repository: Path, commits: str) -> None:
    with pytest.raises(UserError, match="does not follow"):
        first_parents(f"git:{repository}#{commits}")


@pytest.mark.parametrize("where", ["a..b", "git:#a..b", "git:/x#a", "git:/x#a...b", "git:/x#..b"])
def test_what_is_no_range_is_refused(where: str) -> None:
    with pytest.raises(UserError, match=r"is not git:DIR#A\.\.B"):
        first_parents(where)
