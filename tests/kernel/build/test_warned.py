# SPDX-License-Identifier: GPL-2.0-only
"""What the compiler said of objects that a later build did not compile again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.kernel.build.warned import NOTED, Earlier, note, take
from orchestrator.model.kernel import CompilerMessage

A = CompilerMessage("mm/a.c", 3, "unused variable 'x'", "warning")
B = CompilerMessage("mm/b.c", 9, "unused variable 'y'", "warning")
HEADER = CompilerMessage("include/linux/a.h", 1, "declared inline", "warning")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "linux"
    for name in ("mm/a.c", "mm/b.c", "include/linux/a.h"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        os.utime(path, (1000, 1000))
    return folder


@pytest.fixture
def objects(tmp_path: Path, source: Path) -> Path:
    """A build folder in which all three were said."""
    folder = tmp_path / "objects"
    folder.mkdir()
    assert take(folder) == Earlier()
    assert note(folder, Earlier(), "", [A, B, HEADER], source) == (A, B, HEADER)
    return folder


def build(objects: Path, source: Path, log: str, *found: CompilerMessage) -> list[CompilerMessage]:
    return list(note(objects, take(objects), log, found, source))


def test_what_is_not_compiled_again_still_stands(objects: Path, source: Path) -> None:
    assert build(objects, source, "  CC      mm/a.o\n") == [B, HEADER]
    again = replace(A, line=5)
    assert build(objects, source, "  CC      mm/a.o\n", again) == [again, B, HEADER]
    assert build(objects, source, "  LD      vmlinux.o\n") == [again, B, HEADER]
    assert build(objects, source, "  CC [M]  mm/b.o\n") == [again, HEADER]


@pytest.mark.parametrize(("name", "left"), [(B.file, [A, HEADER]), (HEADER.file, [A, B])])
def test_what_was_changed_or_is_gone_has_to_be_said_again(
    objects: Path, source: Path, name: str, left: list[CompilerMessage]
) -> None:
    os.utime(source / name)
    os.utime(objects / NOTED, (2000, 2000))
    assert build(objects, source, "") == left
    (source / A.file).unlink()
    os.utime(objects / NOTED)
    assert A not in build(objects, source, "")


def test_a_build_that_was_cut_leaves_nothing_behind(objects: Path, source: Path) -> None:
    take(objects)
    assert take(objects) == Earlier()
    (objects / NOTED).write_text('[{"file": 1}]')
    assert take(objects) == Earlier()
