# SPDX-License-Identifier: GPL-2.0-only
"""The judgement in a sentence, over runs that are played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import by_patch
import lxml.html
import pytest

from orchestrator.commands.summary import summary_text
from orchestrator.judge.causes import causes_of
from orchestrator.judge.compare import compare
from orchestrator.judge.each_patch import each_patch
from orchestrator.model.coverage import CoveredLine
from orchestrator.model.judging import Decision, Retried
from orchestrator.model.kernel import PatchState
from orchestrator.model.mutants import MutantCount, SeriesMutants
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    Comparison,
    EarlierRuns,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.searched import BISECT, NARROW, Searched
from orchestrator.report import html, mail, markdown
from orchestrator.report.judgement import Judgement, judgement
from orchestrator.report.view import anchor

X, A = "c/x86_64/s", "c/arm64/s"
MOVES = "f/a:moves"
REGRESSION = Retried(Decision.REGRESSION, 7, 9, 0, 40, base="stock")
STEADY = replace(REGRESSION, failed=1, trials=1, trials_base=1, steady=True)
SIGNS = {"+": Verdict.PASS, "-": Verdict.FAIL, "s": Verdict.SKIP, "e": Verdict.ERROR}


def cell(kernel: str, place: str, cases: Mapping[str, str], again: Retried | None) -> CellRecord:
    config, arch, shape = place.split("/")
    name = f"{kernel}/{place}"
    found = []
    for case, signs in cases.items():
        sign = signs[1 if kernel == "cli" else 0]
        if sign != " ":
            tried = again if sign == "-" and kernel == "cli" else None
            known = "it is known" if sign == "k" else ""
            verdict = SIGNS.get(sign, Verdict.SKIP)
            reason = "" if sign == "+" else f"{case.rpartition(':')[2]} is wrong"
            found.append(CaseResult(
                f"{name}:{case}", *case.split(":"), verdict, reason, known=known,
                judged="fail: so" if known else "", retried=tried,
            ))  # fmt: skip
    return CellRecord(name, kernel, config, arch, shape, "tcg", Verdict.PASS, 1.0, tuple(found))


def run_of(
    places: Mapping[str, Mapping[str, str]], again: Retried | None = None, baseline: str = "stock"
) -> RunResult:
    """A series on a kernel and that kernel: of each case a sign for the base, then the series.

    Without a ``baseline`` the kernel itself was not run.
    """
    kernels = ("stock", "cli") if baseline else ("cli",)
    cells = [cell(kernel, p, cases, again) for kernel in kernels for p, cases in places.items()]
    builds = dict.fromkeys(f"{c.kernel}/{c.config}/{c.arch}" for c in cells)
    series = (PatchState(1, "mm: one", "A", "1" * 64, True),)
    return RunResult(
        RunInfo("r", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "lab run", 1, "1", "p",
                baseline=baseline),
        tuple(KernelRecord(k, "debian:6.12", "6.12.1", series if k == "cli" else ())
              for k in kernels),
        tuple(BuildRecord(b, *b.split("/"), Verdict.PASS, "", 1.0, False, "ab") for b in builds),
        tuple(cells),
        Summary(1, 1, 0, 0),
    )  # fmt: skip


def beside(run: RunResult) -> Comparison | None:
    return compare(run, run, "stock", "cli") if run.run.baseline else None


def judged(run: RunResult, comparison: Comparison | None = None) -> Judgement:
    return judgement(run, comparison or beside(run), causes_of(run))


def test_a_regression_with_its_trials_says_how_sure_and_on_which_architectures() -> None:
    run = run_of({X: {MOVES: "+-"}, A: {MOVES: "+-"}}, REGRESSION)
    found = judged(run)
    assert found.text == (
        "The series breaks 2 cases of f/a: moves is wrong: "
        "sure (fails 7 of 9 with the series, 0 of 40 without), on both architectures"
    )
    case = anchor(f"cli/{X}:{MOVES}")
    assert [piece.anchor for piece in found.pieces if piece.anchor] == ["patches", case, case]
    assert found.short == "The series breaks 2 cases of f/a: moves is wrong"


def test_a_deterministic_one_needs_no_trial() -> None:
    told = judged(run_of({X: {MOVES: "+-"}}, STEADY)).text
    assert told == (
        "The series breaks f/a:moves: moves is wrong: sure (fails 1 of 1 with the series, 0 of 1 "
        "without; its workload is deterministic), tried in c/x86_64/s only"
    )


def test_one_architecture_of_two_is_named_with_the_case_that_passed_on_the_other() -> None:
    found = judged(run_of({X: {MOVES: "++"}, A: {MOVES: "+-"}}, REGRESSION))
    assert found.text.endswith("without), only on arm64")
    assert found.how[-1].anchor == anchor(f"cli/{X}:{MOVES}")


def test_one_config_of_two() -> None:
    places = {X: "++", "kasan/x86_64/s": "+-", A: "++", "kasan/arm64/s": "+-"}
    run = run_of({place: {MOVES: signs} for place, signs in places.items()})
    assert judged(run).text.endswith(
        ": each case seen once, not tried again, on both architectures, only with config kasan"
    )


@pytest.mark.parametrize(("sign", "where"), [
    ("s", "tried in c/arm64/s only"), ("e", "tried in c/arm64/s only"), ("+", "only on arm64"),
])  # fmt: skip
def test_what_did_not_pass_there_says_nothing_of_an_architecture(sign: str, where: str) -> None:
    run = run_of({A: {MOVES: "+-"}, X: {MOVES: f"+{sign}"}}, REGRESSION)
    assert where in judged(run).text


def test_what_no_axis_tells_is_counted() -> None:
    run = run_of({"k/arm64/s": {MOVES: "+-"}, X: {MOVES: "++"}}, REGRESSION)
    assert judged(run).text.endswith("0 of 40 without), in 1 of 2 cells that were tried")


def test_of_several_causes_the_first_is_named() -> None:
    run = run_of({X: {MOVES: "+-", "f/b:swaps": "+-", "f/c:maps": "+-"}})
    found = judged(run)
    assert found.text.startswith("The series breaks f/a:moves: moves is wrong: seen once, not ")
    assert found.text.endswith("; and 2 more causes")
    assert found.pieces[-1].anchor == "bad"


def test_nobody_is_blamed_for_what_the_baseline_did_not_run() -> None:
    """Its guest did not boot, or it has no such test."""
    assert judged(run_of({X: {MOVES: " -", "boot:boot": "-+"}})).text == (
        "f/a:moves: moves is wrong: seen once, not tried again, and the baseline did not run it, "
        "tried in c/x86_64/s only"
    )


def test_what_only_ever_passed_on_this_kernel_says_so() -> None:
    run = run_of({X: {MOVES: "+-"}})
    case = replace(run.cells[1].cases[0], earlier=EarlierRuns(passed=3))
    run = replace(run, cells=(run.cells[0], replace(run.cells[1], cases=(case,))))
    assert ": seen once, not tried again, passed on this very kernel before, " in judged(run).text


def test_without_a_baseline_nobody_is_blamed() -> None:
    assert judged(run_of({X: {MOVES: " -"}}, baseline="")).text == (
        "f/a:moves: moves is wrong: seen once, not tried again, and compared with nothing, "
        "tried in c/x86_64/s only"
    )


def test_what_passed_on_the_very_kernel_before_is_flaky() -> None:
    run = run_of({X: {MOVES: "+-"}})
    case = replace(run.cells[1].cases[0], earlier=EarlierRuns(passed=3, failed=1))
    run = replace(run, cells=(run.cells[0], replace(run.cells[1], cases=(case,))))
    assert ": seen once, not tried again, flaky in earlier runs, tried in" in judged(run).text


def test_against_another_run_it_is_what_differs() -> None:
    run = run_of({X: {MOVES: " -"}}, baseline="")
    good = run_of({X: {MOVES: " +"}}, baseline="")
    other = replace(good, run=replace(good.run, id="night-1"))
    alone = replace(REGRESSION, failed=5, trials=5, trials_base=0, base="", series=False,
                    decision=Decision.UNDECIDED)  # fmt: skip
    told = judged(run, compare(other, run)).text
    assert told.startswith("What differs from night-1 cli breaks f/a:moves: ")
    again = run_of({X: {MOVES: " -"}}, alone, baseline="")
    told = judged(again, compare(other, again)).text
    assert "fails each time (fails 5 of 5 here; the baseline was not tried)" in told


@pytest.mark.parametrize(("again", "told"), [
    (Retried(Decision.UNDECIDED, 3, 10, 1, 10, base="stock"),
     "not sure (undecided: fails 3 of 10 with the series, 1 of 10 without)"),
    (Retried(Decision.UNDECIDED, 0, 0, base="stock", note="the time was spent"),
     "seen once, not tried again (the time was spent)"),
])  # fmt: skip
def test_what_the_trials_do_not_decide_is_not_sure(again: Retried, told: str) -> None:
    assert f": {told}, " in judged(run_of({X: {MOVES: "+-"}}, again)).text


def test_a_pass() -> None:
    assert judged(run_of({X: {MOVES: "++"}, A: {MOVES: "++"}})).text == (
        "The series breaks nothing: tried on x86_64 and arm64"
    )
    assert judged(run_of({X: {MOVES: " +"}}, baseline="")).text == "No case failed: tried on x86_64"


def counting(run: RunResult) -> RunResult:
    """Of two lines of the series one ran."""
    lines = tuple(CoveredLine(1, "mm/x.c", n, "x", n) for n in (0, 1))
    cells = (replace(c, covered=lines if c.kernel == "cli" else ()) for c in run.cells)
    return replace(run, cells=tuple(cells))


def test_a_pass_says_how_much_of_the_series_ran() -> None:
    found = judged(counting(run_of({X: {MOVES: "++"}})))
    assert found.text == "The series breaks nothing: tried on x86_64, 50 % of its lines ran"
    assert found.how[-1].anchor == "coverage"
    alone = judged(counting(run_of({X: {MOVES: " +"}}, baseline="")))
    assert alone.text == "No case failed: tried on x86_64, 50 % of the series' lines ran"
    broken = judged(counting(run_of({X: {MOVES: "+-"}})))
    assert broken.text.endswith(", tried in c/x86_64/s only, 50 % of the series' lines ran")


def test_what_is_known_of_mutants_is_told_of_a_pass_and_of_a_failure() -> None:
    counts = (MutantCount(61, 70), MutantCount(1, 2, patch=1))
    for cases, sampled, told in (
        ("++", False, "61 of 70 mutants were caught"),
        ("+-", True, "61 of 70 mutants in a random sample were caught"),
    ):
        known = (SeriesMutants("cli", "night", counts, sampled),
                 SeriesMutants("other", "night", counts))  # fmt: skip
        found = judged(replace(run_of({X: {MOVES: cases}}), mutants=known))
        assert found.text.endswith(f", {told}")
        assert found.how[-1].anchor == "mutants"
    nothing = (SeriesMutants("cli", "night", ()),)
    assert "mutant" not in judged(replace(run_of({X: {MOVES: "++"}}), mutants=nothing)).text


def test_what_regressed_without_a_failure_is_named_and_no_cause() -> None:
    found = judged(run_of({X: {MOVES: "+s", "f/b:x": "+s", "f/c:y": "++"}}))
    assert found.text == (
        f"cli/{X}:{MOVES}: skipped, but ran on the baseline: moves is wrong: and so 1 more case"
    )
    assert found.more == 0
    both = judged(run_of({X: {MOVES: "+-", "f/b:x": "+s"}}))
    assert "more" not in both.text


def test_known_failures_alone_are_told() -> None:
    run = run_of({X: {MOVES: "+k", "f/b:x": "++"}})
    assert judged(run).text == "The series breaks nothing: tried on x86_64, 1 known failure"


def test_flaky_on_both_sides_breaks_nothing() -> None:
    flaky = Retried(Decision.FLAKY, 3, 10, 4, 10, base="stock")
    found = judged(run_of({X: {MOVES: "+-"}}, flaky))
    assert found.text == (
        "The series breaks nothing: tried on x86_64, "
        "1 case is flaky (fails 3 of 10 with the series, 4 of 10 without)"
    )
    assert found.how[-1].anchor == anchor(f"cli/{X}:{MOVES}")


def test_what_fails_as_before_breaks_nothing_new() -> None:
    told = judged(run_of({X: {MOVES: "--", "f/b:x": "++"}})).text
    assert told == "The series breaks nothing: tried on x86_64, 1 case failing as before"


def test_the_host_is_not_the_series() -> None:
    told = judged(run_of({X: {MOVES: "+e"}})).text
    assert told == "The host failed, f/a:moves: moves is wrong"


def test_a_run_that_was_cut_says_so_first() -> None:
    run = run_of({X: {MOVES: "+-"}})
    cut = replace(run, run=replace(run.run, finished=""))
    assert judged(cut).text.startswith("The run did not finish; so far: The series breaks f/a:")


def test_a_search_is_its_answer() -> None:
    (found,) = searches()
    run = replace(run_of({X: {MOVES: "+-"}}), searched=found)
    assert judged(run).text == "Patch 2 of 3 brought it"
    stopped = replace(found, answer="interrupted: --resume goes on", sure=False)
    cut = replace(run, searched=stopped, run=replace(run.run, exit_status=130))
    assert judged(cut).text == "Interrupted: --resume goes on"


def test_nothing_that_was_executed_is_no_judgement() -> None:
    assert judged(run_of({}, baseline="")).text == ""


# ---------------------------------------------------------------- which patch


def by_patches(
    builds: str, cases: Mapping[str, str] = {}, base: Mapping[str, str] | None = None
) -> Judgement:
    """Of a series patch by patch; ``base`` is what the cases came to without it."""
    run = by_patch.run_of(builds, cases, status=1)
    comparison = None
    if base is not None:
        stock = by_patch.run_of("+", base)
        info = replace(stock.run, id="base")
        comparison = compare(replace(stock, run=info), run, kernel_b="cli")
    run = replace(run, each_patch=each_patch(run, comparison))
    return judgement(run, comparison, causes_of(run))


def test_a_patch_that_does_not_build_and_is_mended() -> None:
    found = by_patches("+-+", {MOVES: "+ +"})
    assert found.text == (
        f"Patch 2 of 3 does not build, patch 3 mends it: {by_patch.ERROR}: "
        "tried in default/x86_64 only"
    )
    assert found.what[0].anchor == anchor("cli@patch-2/default/x86_64/-:build:build")


def test_a_patch_that_does_not_build_to_the_end_is_told_once() -> None:
    found = by_patches("+--", {}, {})
    assert found.text.startswith(f"Patch 2 of 3 does not build: {by_patch.ERROR}")
    assert found.more == 0


def test_the_patch_that_breaks_a_case_is_named() -> None:
    found = by_patches("+++", {by_patch.BOOTS: "+++", MOVES: "+--"}, {MOVES: "+"})
    assert found.text.startswith("Patch 2 of 3 breaks f/a:moves: f/a:moves went wrong: seen once")
    assert found.what[0].anchor == anchor("cli@patch-2/default/x86_64/small:f/a:moves")
    assert found.more == 0


def test_a_patch_that_was_never_known_to_be_well_is_not_blamed() -> None:
    assert by_patches("++", {MOVES: "--"}).text.startswith("f/a:moves: f/a:moves went wrong: ")


def searches(sure: bool = True) -> Sequence[Searched]:
    return (Searched(BISECT, "patch 2 of 3 brought it", sure, blamed="patch 2 of 3",
                     probability=0.999, case=f"cli/{X}:{MOVES}", of="r", run="r2"),)  # fmt: skip


def test_a_search_for_a_case_of_the_run_names_the_patch() -> None:
    run = replace(run_of({X: {MOVES: " -"}}, baseline=""), searches=tuple(searches()))
    found = judged(run)
    assert found.text == (
        "Patch 2 of 3 breaks f/a:moves: moves is wrong: sure (99.9%), tried in c/x86_64/s only"
    )
    assert found.pieces[0].anchor == "searches"
    unsure = replace(run, searches=tuple(searches(sure=False)))
    assert judged(unsure).text.startswith("f/a:moves: ")


def test_what_a_case_needs_by_a_later_search_is_told_last() -> None:
    found = replace(searches()[0], kind=NARROW, blamed="needs two CPUs", patches=())
    run = replace(run_of({X: {MOVES: "+-"}}, REGRESSION), searches=(found, *searches()))
    told = judged(run)
    assert told.text.startswith("Patch 2 of 3 breaks f/a:moves: moves is wrong: sure (fails 7 of 9")
    assert told.text.endswith(", tried in c/x86_64/s only, needs two CPUs")
    assert told.how[-1].anchor == "searches"
    assert found.short == "needs two CPUs"


def test_all_four_say_it_and_the_page_links_to_what_it_quotes() -> None:
    run = run_of({X: {MOVES: "++"}, A: {MOVES: "+-"}}, REGRESSION)
    told = f"{judged(run).text}."
    page = lxml.html.document_fromstring(html.render(run, None, beside(run)))
    (head,) = page.xpath("//header//h1")
    assert " ".join(head.text_content().split()) == f"✗ fail {told}"
    for link in head.iter("a"):
        assert page.get_element_by_id(link.get("href")[1:]) is not None
    assert told in " ".join(mail.render(run, beside(run)).split())
    assert f"judged: {told[:-1]}" in summary_text(run, beside(run), Path("r"), 1.0)
    text = markdown.render(run, beside(run), "https://ci.example.org/r/")
    assert (
        "**Judged:** [The series](https://ci.example.org/r/#patches) breaks "
        f"[`f/a:moves: moves is wrong`](https://ci.example.org/r/#case=cli/{A}:{MOVES}): "
        f"[sure (fails 7 of 9 with the series, 0 of 40 without)](https://ci.example.org/r/#case="
        f"cli/{A}:{MOVES}), [only on arm64](https://ci.example.org/r/#case=cli/{X}:{MOVES})."
    ) in text


def test_what_somebody_else_says_is_no_markup() -> None:
    run = run_of({X: {MOVES: "+-"}})
    wrong = replace(run.cells[1].cases[0], reason="**@all** <b>")
    run = replace(run, cells=(run.cells[0], replace(run.cells[1], cases=(wrong,))))
    assert "`f/a:moves: **@all** <b>`" in markdown.render(run, beside(run))
    assert "&lt;b&gt;" in html.render(run, None, beside(run))
