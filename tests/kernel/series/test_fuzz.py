# SPDX-License-Identifier: GPL-2.0-only
"""Bent hunks: against patch(1), and where the lab is stricter than that."""

from __future__ import annotations

import difflib
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.kernel.series.fuzz import bend, misplaced
from orchestrator.model.kernel import BentHunk

BEFORE = [f"line {n}" for n in range(1, 31)]


def text_of(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def diff_of(old: list[str], new: list[str], name: str = "mm/a.c", context: int = 3) -> bytes:
    made = difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", n=context, lineterm="")
    return text_of(list(made))


def changed(lines: list[str], **at: str) -> list[str]:
    """Lines with those at the given numbers (``l7="x"``) replaced."""
    return [at.get(f"l{n}", line) for n, line in enumerate(lines, 1)]


def applied(diff: bytes, content: bytes, folder: Path) -> bytes | None:
    """What git makes of a file with an exact diff."""
    target = folder / "mm" / "a.c"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    done = subprocess.run(
        ["git", "apply", "-"], cwd=folder, input=diff, capture_output=True, check=False
    )
    return target.read_bytes() if done.returncode == 0 else None


def bent(diff: bytes, content: bytes) -> tuple[bytes, tuple[BentHunk, ...]] | None:
    return bend(diff, {"mm/a.c": content}.get)


PATCH = diff_of(BEFORE, changed(BEFORE, l15="new"))


@pytest.mark.parametrize(
    ("file", "fuzz", "offset"),
    [
        (changed(BEFORE, l12="other"), 1, 0),
        (changed(BEFORE, l18="other"), 1, 0),
        (changed(BEFORE, l13="other"), 2, 0),
        (["top", "top", *changed(BEFORE, l12="other", l17="other")], 2, 2),
        (changed(BEFORE, l12="other")[4:], 1, -4),
    ],
)
def test_the_least_fuzz_is_taken_and_told(
    file: list[str], fuzz: int, offset: int, tmp_path: Path
) -> None:
    content = text_of(file)
    assert applied(PATCH, content, tmp_path) is None
    found = bent(PATCH, content)
    assert found is not None
    assert found[1] == (BentHunk("mm/a.c", "@@ -12,7 +12,7 @@", offset, fuzz),)
    assert applied(found[0], content, tmp_path) == content.replace(b"line 15\n", b"new\n")


def test_what_fits_is_not_bent() -> None:
    assert bent(PATCH, text_of(BEFORE)) == (PATCH, ())
    assert misplaced(PATCH, {"mm/a.c": text_of(BEFORE)}.get) == ()


@pytest.mark.parametrize("file", [changed(BEFORE, l14="other"), changed(BEFORE, l15="other"), []])
def test_more_than_two_lines_of_context_are_too_many(file: list[str]) -> None:
    assert bent(PATCH, text_of(file)) is None
    assert misplaced(PATCH, {"mm/a.c": text_of(file)}.get) == (("mm/a.c", "@@ -12,7 +12,7 @@"),)


def test_blank_lines_alone_say_nothing() -> None:
    old = ["a", "b", "", "c", "d"]
    diff = diff_of(old, ["a", "b", "", "new", "c", "d"], context=3)
    assert bent(diff, text_of(["x", "y", "", "z", "w"])) is None


def test_several_files_and_what_has_no_hunks() -> None:
    rename = b"diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"
    other = diff_of(BEFORE, changed(BEFORE, l9="n"), "mm/b.c")
    files = {"mm/a.c": text_of(changed(BEFORE, l12="o")), "mm/b.c": text_of(["t", *BEFORE])}
    found = bend(rename + PATCH + other, files.get)
    assert found is not None
    assert found[0].startswith(rename)
    assert [(h.file, h.offset, h.fuzz) for h in found[1]] == [("mm/a.c", 0, 1), ("mm/b.c", 1, 0)]


def test_a_mangled_hunk_is_left_to_git() -> None:
    broken = PATCH.replace(b"@@ -12,7 +12,7 @@", b"@@ -12,9 +12,9 @@")
    assert bent(broken, text_of(changed(BEFORE, l12="o"))) is None
    assert bend(b"", {}.get) == (b"", ())


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch(1) is not installed")
def test_it_puts_hunks_where_patch_does(tmp_path: Path) -> None:
    """Random files, patches and edits beneath them: places, fuzz and outcome of patch(1)."""
    rng = random.Random(7)
    agreed = 0
    for _ in range(150):
        old = [f"l{rng.randrange(12)}" for _ in range(rng.randrange(8, 40))]
        new, here = list(old), list(old)
        for lines, words in ((new, "n"), (here, "h"), (here, "k")):
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(lines))
                lines[at : at + rng.randrange(2)] = [f"{words}{rng.randrange(9)}"]
        diff = diff_of(old, new)
        content = text_of(here)
        theirs = patch(diff, content, tmp_path)
        found = bent(diff, content)
        mine = applied(found[0], content, tmp_path) if found else None
        if theirs is None or mine is None:
            # Where hunks would meet, or only blank context is left, the lab puts in less.
            assert mine is None
            continue
        assert found is not None
        assert mine == theirs[0]
        told = [(h.offset, h.fuzz) for h in found[1]]
        assert told == [pair for pair in theirs[1] if pair != (0, 0)]
        agreed += 1
    assert agreed > 60


def patch(diff: bytes, content: bytes, folder: Path) -> tuple[bytes, list[tuple[int, int]]] | None:
    """What patch(1) makes of a file, and each hunk's offset and fuzz."""
    target, out = folder / "in", folder / "out"
    target.write_bytes(content)
    done = subprocess.run(
        ["patch", "--verbose", "--batch", "--forward", "-r", "-", "-o", out, target],
        input=diff, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return None
    told = [
        (int((re.search(rb"offset (-?\d+)", line) or [0, 0])[1]),
         int((re.search(rb"fuzz (\d+)", line) or [0, 0])[1]))
        for line in done.stdout.splitlines() if line.startswith(b"Hunk #")
    ]  # fmt: skip
    return out.read_bytes(), told
