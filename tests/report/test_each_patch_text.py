# SPDX-License-Identifier: GPL-2.0-only
"""A series patch by patch, as each report tells it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from by_patch import BOOTS, ERROR, WARNING, judged, run_of
from lxml import etree

from orchestrator.judge.each_patch import each_patch
from orchestrator.model.coverage import CoveredLine
from orchestrator.model.mutants import MutantCount, SeriesMutants
from orchestrator.model.results import RunResult
from orchestrator.report import html, junit, mail, markdown
from orchestrator.report.answer import make_answer
from orchestrator.report.each_patch_text import about, lines, sentence, table
from orchestrator.report.gist import gist


def whole(builds: str = "+-+", **more: object) -> RunResult:
    """A run with what came of each patch, its status as a run has it."""
    run = run_of(builds, {BOOTS: builds.replace("-", " "), "w/a:c": builds.replace("-", " ")},
                 {1: [WARNING]}, **more)  # type: ignore[arg-type]  # fmt: skip
    found = each_patch(run)
    return replace(run, each_patch=found, run=replace(run.run, exit_status=int("-" in builds)))


WRONG = f"patch 2 of 3 does not build, patch 3 mends it: {ERROR}"
TAKEN = (
    "patch 1 of 3 brings a warning that patch 3 takes away: mm/a.c:9: warning: unused variable 'y'"
)


def test_for_a_terminal() -> None:
    run = whole()
    (one,) = run.each_patch
    assert lines(one, run) == [
        "each patch of cli: cannot be bisected",
        "       n  applies  builds  warnings  boots  tests   patch",
        "       1  yes      1/1     +1        1/1    1 pass  mm: change 1",
        "       2  yes      0/1     -         -      -       mm: change 2",
        "       3  yes      1/1     -1        1/1    1 pass  mm: change 3",
        f"FAIL   {WRONG}",
        "       mm: change 2",
        "       default/x86_64",
        "       not known whether it is so without the series too",
        "       again: lab run --source debian:6.12=1 --series /s --config default --arch x86_64 "
        "--each-patch=build",
        f"WARN   {TAKEN}",
        "       mm: change 1",
        "       default/x86_64",
    ]  # fmt: skip
    assert [row.state for row in table(one, run).rows] == ["pass", "fail", "pass"]


def test_what_ran_of_each_patch_and_how_many_mutants_were_caught_where_that_is_known() -> None:
    run = whole()
    ran = tuple(CoveredLine(patch, "mm/x.c", n, "x", n) for patch, n in ((1, 0), (1, 4), (3, 0)))
    cells = (replace(c, covered=ran if c.kernel == "cli" else ()) for c in run.cells)
    known = SeriesMutants("cli", "night", (MutantCount(5, 7), MutantCount(4, 5, patch=3)))
    run = replace(run, cells=tuple(cells), mutants=(known,))
    found = table(run.each_patch[0], run)
    assert found.head[-3:] == ("lines ran", "mutants caught", "patch")
    assert [row.cells[-3:-1] for row in found.rows] == [("1/2", "-"), ("-", "-"), ("0/1", "4/5")]
    assert "| `1/2` | `-` | `mm: change 1` |" in markdown.render(run, None)
    page = etree.HTML(html.render(run, None))
    heads = ["".join(th.itertext()) for th in page.xpath("//section[@id='each-patch']//th")]
    assert heads == list(found.head)
    (section,) = page.xpath("//section[@id='mutants']")
    assert "5 of 7 mutants were caught" in "".join(section.itertext())
    assert section.xpath(".//a/@href") == ["../mutants/night/index.html"]
    root = etree.fromstring(junit.render(run).encode())
    (suite,) = root.xpath("//testsuite[@name='series cli']")
    told = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert {name: told[name] for name in told if name.startswith("mutants")} == {
        "mutants.judged": "7", "mutants.caught": "5",
        "mutants.patch.3.judged": "5", "mutants.patch.3.caught": "4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (run_of("+++"), "each of the 3 patches builds"),
        (run_of("+++", {BOOTS: "+++"}), "each of the 3 patches builds and boots"),
        (run_of("++", {BOOTS: "++", "w/a:c": "++"}),
         "each of the 2 patches builds, boots and passes its tests"),
        (run_of("+e"), "not every patch could be tried"),
        (run_of("++++", {"w/a:c": "+---"}),
         "cannot be bisected: patch 2 of 4 fails, and so do all after it: w/a:c: w/a:c went wrong"),
        (run_of("++++", {BOOTS: "+ -+"}),
         "cannot be bisected: one of patches 2 or 3 of 4 does not boot, patch 4 mends it: "
         "boot: boot:boot went wrong"),
    ],
)  # fmt: skip
def test_in_one_sentence(run: RunResult, said: str) -> None:
    assert sentence(judged(run)) == said.replace("w/a:c: w/a:c", "w/a:c")


def test_many_places_are_counted() -> None:
    (one,) = whole().each_patch
    many = replace(one.findings[0], places=tuple(f"c{n}/arm64" for n in range(9)), kind="test",
                   cases=12)  # fmt: skip
    assert about(many)[1].startswith("12 cases in c0/arm64, c1/arm64")
    assert about(many)[1].endswith(" and 3 more")


def test_what_leads() -> None:
    run = whole()
    assert gist(run, None) == f"FAIL: P{WRONG[1:]}"
    found = make_answer(run, None)
    assert found.judged.short == f"P{WRONG[1:]}"
    assert found.state == "fail"
    assert found.sentence.endswith("The series of cli cannot be bisected.")
    good = make_answer(whole("+++"), None)
    assert good.state == "pass"
    assert good.sentence == "4 cases passed, none failed, in 1 cell."
    assert gist(whole("+++"), None) == "pass: 4 cases in 1 cell"
    assert "series" not in good.sentence


def test_on_the_page() -> None:
    run = whole()
    page = etree.HTML(html.render(run, None))
    (section,) = page.xpath("//section[@id='each-patch']")
    table = section.find(".//table")
    assert [" ".join(row.itertext()).split()[:3] for row in table[1:]][1] == ["2", "yes", "0/1"]
    assert WRONG in "".join(section.itertext())
    # The finding leads to the build that it is about; the rest of the page is the whole series'.
    (goal,) = {link.get("href")[1:] for link in section.iter("a")}
    assert page.xpath(f"//*[@id='{goal}']")
    text = "".join(page.xpath("//section[@id='matrix']")[0].itertext())
    assert "cli@patch-1" not in text
    assert 'id="each-patch"' not in html.render(replace(run, each_patch=()), None)


def test_in_junit() -> None:
    root = etree.fromstring(junit.render(whole()).encode())
    (suite,) = root.xpath("//testsuite[@name='each patch cli']")
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert suite[1].tag in ("properties", "testcase")
    (failure,) = suite.iter("failure")
    assert failure.getparent().get("name") == "0002 mm: change 2"
    assert failure.get("message") == WRONG
    assert not root.xpath("//testsuite[contains(@name, '@patch')]")
    (warned,) = suite.iter("system-out")
    assert warned.text.startswith(TAKEN)


def test_in_markdown() -> None:
    text = markdown.render(whole(), None)
    assert "### Each patch of `cli`" in text
    assert "| `2` | `yes` | `0/1` | `-` | `-` | `-` | `mm: change 2` |" in text
    assert f"- `{WRONG}`" in text


def test_in_a_mail() -> None:
    text = mail.render(whole(), None)
    assert (
        "\nEach patch: cannot be bisected.\n  patch 2 of 3 does not build, patch 3 mends it:"
        in text
    )
    assert all(len(line) <= 72 for line in text.splitlines() if "lab " not in line)
