# SPDX-License-Identifier: GPL-2.0-only
"""Text of guests and kernels in reports."""

from orchestrator.report.text import excerpt, visible


def test_visible_keeps_what_can_be_read():
    assert visible("tab\tline\nümlaut \U0001f4a9") == "tab\tline\nümlaut \U0001f4a9"
    assert visible("a\r\nb") == "a\nb"
    assert visible("\x1b[31m") == "\\x1b[31m"
    assert visible("\udcff") == "\\xff"
    assert visible("\u202eabc") == "\\u202eabc"


def test_excerpt_says_what_it_left_out():
    assert excerpt("a\nb\nc\n", 2) == "a\nb\n[1 more lines]"
    assert excerpt("a\nb\n", 2) == "a\nb"
    assert excerpt("x" * 20, 2, width=5) == "xxxxx [...]"
