# SPDX-License-Identifier: GPL-2.0-only
"""The source around a compiler's error, on a terminal and on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import by_patch
import lxml.html
import sample_run

from orchestrator.commands.summary import summary_text
from orchestrator.judge.each_patch import each_patch
from orchestrator.model.evidence import Excerpt
from orchestrator.model.kernel import CompilerMessage
from orchestrator.model.results import RunResult
from orchestrator.report import html
from orchestrator.report.sources import build_source, numbered, source_lines

PLACE = "mm/userfaultfd.c:1187"
CASE = "cli/no-thp/x86_64/-:build:build"
QUOTED = Excerpt(
    1184, "a();\n\tif (<b>)\n\t\treturn;\n\tpmd_trans_huge(pmd);\n}\n\nint f\n", (1187,)
)  # fmt: skip


def broken() -> RunResult:
    run = sample_run.broken_run()
    builds = tuple(
        replace(one, sources={PLACE: QUOTED}) if one.errors else one for one in run.builds
    )
    return replace(run, builds=builds)


def test_the_first_error_that_is_quoted() -> None:
    assert build_source(broken(), CASE) == (PLACE, QUOTED)
    assert build_source(broken(), "cli/default/x86_64/-:build:build") is None
    assert build_source(broken(), "cli/default/x86_64/small:ledger/swap:counters") is None
    assert source_lines(sample_run.broken_run(), CASE) == []


def test_lines_with_their_numbers() -> None:
    assert numbered(Excerpt(8, "a\n\tb")) == ((8, "a"), (9, "        b"))


def test_on_a_terminal_a_few_lines_and_the_marks() -> None:
    lines = [
        "    1185          if (<b>)", "    1186                  return;",
        ">+  1187          pmd_trans_huge(pmd);", "    1188  }", "    1189",
    ]  # fmt: skip
    assert source_lines(broken(), CASE) == lines
    text = summary_text(broken(), None, Path("r"), 1.0)
    assert "\n".join(f"       {line}" for line in lines) in text
    assert numbered(QUOTED)[-1] == (1190, "int f")


def test_on_the_page_at_the_error_and_at_the_cause() -> None:
    document = lxml.html.document_fromstring(html.render(broken(), None))
    for section in ("builds", "bad"):
        (source,) = [
            one for one in document.get_element_by_id(section).find_class("src")
            if "pmd_trans_huge" in one.text_content()
        ]  # fmt: skip
        (here,) = source.find_class("here")
        assert here.text_content().split() == ["+", "1187", "pmd_trans_huge(pmd);"]
        assert "if (<b>)" in source.text_content()


def test_of_a_patch_that_does_not_build() -> None:
    run = by_patch.run_of("+-+", status=1)
    error = CompilerMessage("mm/userfaultfd.c", 1187, "no")
    second = replace(run.builds[1], errors=(error,), sources={PLACE: QUOTED})
    run = replace(run, builds=(run.builds[0], second, run.builds[2]))
    run = replace(run, each_patch=each_patch(run, None))
    assert "       >+  1187          pmd_trans_huge(pmd);" in summary_text(
        run, None, Path("r"), 1.0
    )
    section = lxml.html.document_fromstring(html.render(run, None)).get_element_by_id("each-patch")
    assert "pmd_trans_huge" in section.text_content()
