# SPDX-License-Identifier: GPL-2.0-only
"""tools/proof_coverage.py: the gaps of the move code and their reasons, without a kernel."""

from __future__ import annotations

import proof_coverage as program
from coverage_reasons import REASONS, Reason

from orchestrator.model.coverage import Coverage, FileCode, Function, Lines

FILE = "mm/userfaultfd.c"
SOURCE = """\
ssize_t move_pages(int a, int b)
{
	if (a ||
		b) {
		err = -EAGAIN;
		goto out;
	}
	work();
	if (huge)
		split();
out:
	return 0;
}
"""
TEXT = SOURCE.splitlines()
CODE = FileCode(Lines((1, 3, 5, 6, 8, 9, 10, 12, 40)), (Function("move_pages", 1, 13),))


def counted(arch: str, *ran: tuple[int, ...]) -> program.Counted:
    """One architecture, a cell for each."""
    cells = (Coverage({FILE: CODE}, {"a/b": {FILE: Lines(lines)}}) for lines in ran)
    return program.Counted(arch, tuple(cells))


BOTH = (
    counted("x86_64", (1, 3, 8), (1, 3, 9, 12)),
    counted("arm64", (1, 3, 8, 9, 10, 12)),
)
REASON = Reason("move_pages", "if (a ||", "a race alone leads there")


def test_lines_that_never_ran_stand_behind_the_one_that_did():
    first, second = program.gaps(BOTH, FILE, "move_pages", TEXT)
    assert (first.lines, first.behind) == (Lines((5, 6)), "if (a ||")
    assert first.arches == ("x86_64", "arm64")
    assert (second.lines, second.behind, second.arches) == (Lines((10,)), "if (huge)", ("x86_64",))
    assert program.gaps(BOTH, FILE, "move_swap_pte", TEXT) == ()


def test_what_never_ran_at_all_is_one_gap_from_its_start():
    (gap,) = program.gaps((counted("x86_64", ()),), FILE, "move_pages", TEXT)
    assert (gap.lines, gap.behind) == (CODE.lines - {40}, "")


def test_one_that_is_inlined_everywhere_is_found_in_the_sources():
    code = {FILE: FileCode(CODE.lines)}
    one = program.Counted("x86_64", (Coverage(code, {"a/b": {FILE: Lines((1,))}}),))
    assert one.function(FILE, "move_pages", TEXT) == Function("move_pages", 1, 13)
    assert one.function(FILE, "move_swap_pte", TEXT) is None
    assert program.by_text("move_pages", ["int move_pages(int);"]) is None


def test_each_function_has_a_row_and_what_has_no_code_is_said():
    lines = program.functions_table(BOTH, dict.fromkeys(program.FUNCTIONS, TEXT))
    assert "| `move_pages` | 5 of 8 | 6 of 8 |" in lines
    assert "| `move_swap_pte` | no code | no code |" in lines
    assert lines[-1] == "| in all | 5 of 8 (62 %) | 6 of 8 (75 %) |"


def test_what_nobody_explains_is_marked_and_a_reason_too_many_is_told():
    found = program.gaps(BOTH, FILE, "move_pages", TEXT)
    first, second = program.gaps_table(found, (REASON,))[2:]
    assert first.endswith("| 5-6 | `if (a \\|\\|` | x86_64, arm64 | a race alone leads there |")
    assert second.endswith("| 10 | `if (huge)` | x86_64 | **not explained** |")
    stale = Reason("move_pages", "work();", "it does run")
    race = Reason("move_pages", "work();", "a race: it runs now and then")
    gone = Reason("move_pages", "play();", "a race: it stands there no longer")
    assert program.unneeded(found, (REASON, stale, race, gone), (TEXT,)) == (stale, gone)


def test_each_reason_is_of_the_move_code_and_told_once():
    names = {name for names in program.FUNCTIONS.values() for name in names}
    assert {one.function for one in REASONS} <= names
    keys = [(one.function, one.behind) for one in REASONS]
    assert len(set(keys)) == len(keys) > 0
    assert all(one.why for one in REASONS)
