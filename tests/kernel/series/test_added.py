# SPDX-License-Identifier: GPL-2.0-only
"""Where a series' lines stand in the end, as git has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.series import added
from orchestrator.kernel.series.load import load_series
from orchestrator.model.kernel import AddedLine, KernelTree, PatchHunk
from orchestrator.model.spec import KernelSpec

STEPS = (
    {"mm/x.c": "one\ntwo\nthree\nfour\nfive\nsix\n", "notes.txt": "text\n"},
    {"mm/x.c": "one\nTWO\nthree\nfour\nfive\nsix\nseven\n", "notes.txt": "more\n"},
    {"mm/x.c": "zero\none\nTWO\nthree\nfive\nsix\nSEVEN\n", "include/y.h": "y\n"},
    {"mm/z.c": "zero\none\nTWO\nnew\nthree\nfive\nsix\nSEVEN\n"},  # renamed
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A commit a step."""
    folder = tmp_path / "tree"
    folder.mkdir()

    def git(*words: str) -> None:
        names = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", str(folder), *names, *words], check=True, timeout=30)

    git("init", "-q")
    for number, step in enumerate(STEPS):
        if "mm/z.c" in step:
            git("mv", "mm/x.c", "mm/z.c")
        for name, text in step.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        git("add", "-A")
        git("commit", "-q", "-m", f"mm: step {number}")
    git("format-patch", "-q", "-M", "-o", str(tmp_path / "series"), "HEAD~3")
    return folder


def added_of(hunks: tuple[PatchHunk, ...]) -> tuple[AddedLine, ...]:
    return KernelTree(KernelSpec("k", "x"), "6.12", "b", "t", hunks=hunks).added


@pytest.fixture
def hunks(repository: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PatchHunk, ...]:
    """Those of the series, with places read from the files of the last step."""

    def read(_tree: str, names: set[str], _cache: Cache) -> dict[str, bytes]:
        return {name: (repository / name).read_bytes() for name in names}

    monkeypatch.setattr(added.store, "read_files", read)
    patches = load_series(str(repository.parent / "series")).patches
    return added.placed_hunks(patches, "tree", Cache(repository))


def test_each_line_has_its_patch_and_its_place_in_the_end(hunks: tuple[PatchHunk, ...]) -> None:
    assert added_of(hunks) == (
        AddedLine(1, "mm/z.c", 3, "TWO"),  # "seven" was replaced by the second patch
        AddedLine(2, "include/y.h", 1, "y"),
        AddedLine(2, "mm/z.c", 1, "zero"),
        AddedLine(2, "mm/z.c", 8, "SEVEN"),
        AddedLine(3, "mm/z.c", 4, "new"),
    )


def test_a_line_that_went_in_elsewhere_is_left_out(
    repository: Path, hunks: tuple[PatchHunk, ...]
) -> None:
    (repository / "mm/z.c").write_text("shifted\n" + (repository / "mm/z.c").read_text())
    patches = load_series(str(repository.parent / "series")).patches
    left = added.placed_hunks(patches, "tree", Cache(repository))
    assert [line.text for line in added_of(left)] == ["y"]
    assert [hunk.text for hunk in left] == [hunk.text for hunk in hunks]


def test_a_hunk_keeps_its_text_and_tells_what_of_it_is_gone(hunks: tuple[PatchHunk, ...]) -> None:
    first = hunks[0]
    assert (first.patch, first.file, first.header) == (1, "mm/z.c", "@@ -1,6 +1,7 @@")
    assert first.text == " one\n-two\n+TWO\n three\n four\n five\n six\n+seven"
    assert first.lines == (3, 0)
    assert {hunk.file for hunk in hunks} == {"mm/z.c", "include/y.h"}  # notes.txt is no code
