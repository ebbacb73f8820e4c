# SPDX-License-Identifier: GPL-2.0-only
"""The mutants of a kernel: of functions by their names, of the lines that a series brings."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.mutants import find
from orchestrator.kernel.mutants.find import diff_of, in_functions, in_lines, mutated
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import KernelTree, PatchHunk
from orchestrator.model.mutants import LeftOut
from orchestrator.model.spec import KernelSpec

MOVE = b"""\
static const int pages = 512;

static int move_pte(int err)
{
	if (err)
		return -EAGAIN;
	return 0;
}

int move(int err)
{
	list_for_each_entry(err, pages, list) {
		put(err);
	}
	return move_pte(err);
}
"""


def test_all_mutants_of_a_function() -> None:
    found = in_functions("mm/move.c", MOVE, ["move_pte"])
    assert [one.name for one in found.mutants] == [
        "mm/move.c:5:5:condition-negated",
        "mm/move.c:5:5:branch-always",
        "mm/move.c:5:5:branch-never",
        "mm/move.c:6:10:return-value",
        "mm/move.c:6:11:errno",
        "mm/move.c:7:9:constant+1",
        "mm/move.c:7:9:constant-1",
    ]
    assert {(one.file, one.function, one.patch) for one in found.mutants} == {
        ("mm/move.c", "move_pte", 0)
    }
    assert found.left_out == ()


def test_what_is_left_out_is_told() -> None:
    found = in_functions("mm/move.c", MOVE, ["move"])
    assert [one.line for one in found.mutants] == [13, 15]
    assert found.left_out == (LeftOut("mm/move.c", "move", "12", find.NOT_UNDERSTOOD),)


def test_only_the_lines_of_a_series_are_mutated_each_for_its_patch() -> None:
    found = in_lines("mm/move.c", MOVE, {1: 1, 2: 1, 6: 2, 12: 2, 13: 3, 14: 3})
    assert [(one.line, one.operator, one.patch) for one in found.mutants] == [
        (6, "return-value", 2), (6, "errno", 2), (13, "call-left-out", 3),
    ]  # fmt: skip
    assert found.left_out == (
        LeftOut("mm/move.c", "move", "12", find.NOT_UNDERSTOOD),
        LeftOut("mm/move.c", "", "1", find.NO_FUNCTION),
    )


def test_a_fault_that_reaches_into_a_line_of_the_series_is_of_it() -> None:
    source = b"int f(int a)\n{\n\tif (a ||\n\t    b)\n\t\tg();\n\treturn a;\n}\n"
    found = in_lines("f.c", source, {4: 7})
    assert {one.operator for one in found.mutants} == {
        "condition-negated", "branch-always", "branch-never",
    }  # fmt: skip
    assert {one.patch for one in found.mutants} == {7}


def test_names_tell_all_mutants_apart() -> None:
    source = b"int f(int a)\n{\n\tif (!a && a < 1 || !a)\n\t\treturn -1;\n\treturn a ? 0 : 1;\n}\n"
    found = in_functions("f.c", source, ["f"])
    assert len({one.name for one in found.mutants}) == len(found.mutants) > 10
    assert len({mutated(one, source) for one in found.mutants}) == len(found.mutants)


def test_git_applies_each_diff(tmp_path: Path) -> None:
    (tmp_path / "mm").mkdir()
    for mutant in in_functions("mm/move.c", MOVE, ["move", "move_pte"]).mutants:
        (tmp_path / "mm/move.c").write_bytes(MOVE)
        subprocess.run(
            ["git", "apply", "-"], cwd=tmp_path, input=diff_of(mutant, MOVE).encode(), check=True,
            timeout=30,
        )  # fmt: skip
        assert (tmp_path / "mm/move.c").read_bytes() == mutated(mutant, MOVE)


# ---------------------------------------------------------------- in a kernel


def tree_of(base: BaseSource) -> KernelTree:
    return KernelTree(KernelSpec("k", base.source), base.version, base.tree, base.tree)


def test_a_function_is_found_in_the_kernel(base: BaseSource, cache: Cache) -> None:
    tree = tree_of(base)
    found = find.of_functions(["step_3", "mm/userfaultfd.c:step_12", "step_3"], tree, cache)
    assert {(one.file, one.function) for one in found.mutants} == {
        ("mm/userfaultfd.c", "step_3"), ("mm/userfaultfd.c", "step_12"),
    }  # fmt: skip
    assert [one.told for one in found.mutants][:2] == ["`3` becomes `4`", "`3` becomes `2`"]


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ("step_99", r"no function step_99 is defined in k \(6\.12\.117\)", "FILE:NAME"),
        ("mm/other.c:step_3", "no function step_3 is defined in mm/other.c of k", "FILE:NAME"),
        ("step 3", "'step 3' is no name of a function", "--function move_pages"),
        ("MM", "no function MM is defined", "FILE:NAME"),  # a macro
    ],
)
def test_a_function_that_is_not_there_is_refused(
    base: BaseSource, cache: Cache, asked: str, message: str, hint: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        find.of_functions([asked], tree_of(base), cache)
    assert hint in error.value.hint


def test_of_several_the_user_says_which(fetch, kernel: Path, cache: Cache) -> None:  # type: ignore[no-untyped-def]
    text = (kernel / "mm/userfaultfd.c").read_text()
    (kernel / "mm/copy.c").write_text(text.replace("return 3", "return 30"))
    tree = tree_of(fetch(f"path:{kernel}"))
    with pytest.raises(
        UserError, match=r"step_3 is defined in 2 files: mm/copy\.c, mm/user"
    ) as error:
        find.of_functions(["step_3"], tree, cache)
    assert "mm/copy.c:step_3" in error.value.hint
    (mutant, _) = find.of_functions(["mm/copy.c:step_3"], tree, cache).mutants
    assert mutant.told == "`30` becomes `31`"


def test_one_that_is_elsewhere_than_in_mm_is_found_too(fetch, kernel: Path, cache: Cache) -> None:  # type: ignore[no-untyped-def]
    (kernel / "kernel").mkdir()
    (kernel / "kernel/far.c").write_text("int far_away(void)\n{\n\treturn 1;\n}\n")
    found = find.of_functions(["far_away"], tree_of(fetch(f"path:{kernel}")), cache)
    assert {one.file for one in found.mutants} == {"kernel/far.c"}


def test_one_is_found_by_its_name(base: BaseSource, cache: Cache) -> None:
    tree = tree_of(base)
    first, second, *_ = find.of_functions(["step_3"], tree, cache).mutants
    assert find.of_names([second.name, first.name], tree, cache).mutants == (first, second)


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ("step_3", "'step_3' is no name of a mutant", "FILE:LINE:COLUMN:OPERATOR"),
        ("mm/far.c:3:1:errno", r"k \(6\.12\.117\) has no file mm/far\.c", "as in the sources"),
        ("mm/userfaultfd.c:@:99:errno", "there is no mutant mm/userfaultfd.c:[0-9]+:99:errno",
         "on that line: mm/userfaultfd.c:@:"),
        ("mm/userfaultfd.c:9999999:1:errno", "there is no mutant", "on that line: none"),
    ],
)  # fmt: skip
def test_a_name_of_none_is_refused(
    base: BaseSource, cache: Cache, asked: str, message: str, hint: str
) -> None:
    tree = tree_of(base)
    line = str(find.of_functions(["step_3"], tree, cache).mutants[0].line)
    with pytest.raises(UserError, match=message) as error:
        find.of_names([asked.replace("@", line)], tree, cache)
    assert hint.replace("@", line) in error.value.hint


def test_the_lines_of_a_series(base: BaseSource, cache: Cache) -> None:
    hunks = (
        PatchHunk(2, "mm/userfaultfd.c", "@@", "+\treturn 1;", (3,)),
        PatchHunk(1, "mm/Makefile", "@@", "+obj-y", (1,)),
    )
    found = find.of_series(replace(tree_of(base), hunks=hunks), cache)
    assert [(one.line, one.told, one.patch) for one in found.mutants] == [
        (3, "`1` becomes `2`", 2), (3, "`1` becomes `0`", 2),
    ]  # fmt: skip
