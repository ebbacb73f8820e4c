# SPDX-License-Identifier: GPL-2.0-only
"""Lines as text and back, and what they are asked."""

from __future__ import annotations

import pytest

from orchestrator.model.coverage import Coverage, FileCode, Lines, as_text, from_text


@pytest.mark.parametrize(
    ("lines", "text"),
    [((), ""), ((7,), "7"), ((3, 1, 2), "1-3"), ((1, 2, 4, 9, 10), "1-2,4,9-10")],
)
def test_lines_are_written_as_ranges(lines: tuple[int, ...], text: str) -> None:
    assert as_text(lines) == text
    assert from_text(text) == Lines(lines)


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="x"):
        from_text("1-x")


def test_who_ran_a_line() -> None:
    ran = {
        "a/one": {"mm/x.c": Lines((1, 2))},
        "a/two": {"mm/x.c": Lines((2, 3)), "y.c": Lines((1,))},
    }
    coverage = Coverage({"mm/x.c": FileCode(Lines((1, 2, 3, 4)))}, ran)
    assert coverage.workloads_of("mm/x.c", (2,)) == ("a/one", "a/two")
    assert coverage.workloads_of("mm/x.c", (3, 4)) == ("a/two",)
    assert coverage.workloads_of("mm/x.c", (4,)) == ()
    assert coverage.all_of("mm/x.c") == Lines((1, 2, 3))
    assert coverage.all_of("mm/z.c") == Lines()
