# SPDX-License-Identifier: GPL-2.0-only
"""A corpus: programs called by their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.errors import HostError, UserError
from orchestrator.results import corpus

ONE = ("0 mmap at=1 n=2 prot=rw how=private", "0 write at=1 byte=3")
TWO = (*ONE, "0 exit")


def test_a_program_is_kept_once_whatever_its_comments(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "corpus"
    assert corpus.read(folder) == ()
    assert corpus.keep(folder, [ONE, TWO], "why\nit is kept") == 2
    assert corpus.keep(folder, [(f"{ONE[0]}  # EINVAL", "", "#", ONE[1])]) == 0
    assert {lines for _, lines in corpus.read(folder)} == {ONE, TWO}
    name, _ = corpus.named(ONE)
    assert (folder / f"{name}.txt").read_text() == "# why it is kept\n" + "\n".join(ONE) + "\n"


def test_what_is_contained_in_another_is_superfluous(tmp_path: Path) -> None:
    other = ("1 exit", "0 exit")
    programs = [corpus.named(lines) for lines in (ONE, TWO, other, TWO[1:], TWO[::-1][:2])]
    gone = corpus.superfluous(programs)
    assert set(gone) == {corpus.named(ONE)[0], corpus.named(TWO[1:])[0]}
    corpus.keep(tmp_path, [ONE, TWO])
    corpus.remove(tmp_path, [*gone, "0123456789abcdef"])
    assert [lines for _, lines in corpus.read(tmp_path)] == [TWO]


def test_files_that_are_no_programs_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with pytest.raises(UserError, match=r"cannot read .*x\.txt"):
        corpus.read_file(path)
    path.write_text("0 exit\nnonsense\n")
    with pytest.raises(UserError, match=r"x\.txt: line 2: 'nonsense' is no step"):
        corpus.read(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot read"):
        corpus.read_file(path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot write"):
        corpus.keep(tmp_path / "file", [ONE])
