# SPDX-License-Identifier: GPL-2.0-only
"""JUnit XML: valid whatever the kernel printed, and telling all that GitLab shows nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest
from covered_run import covered_run
from hypothesis import given
from hypothesis import strategies as st
from junit_schemas import JENKINS, SUREFIRE, parse
from lxml import etree
from sample_run import broken_run, good_run, rss_hit

from orchestrator import HOME
from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import BUDGET, ENDED
from orchestrator.model.evidence import Measurement
from orchestrator.model.kernel import BentHunk
from orchestrator.model.names import NOT_RUN, Verdict
from orchestrator.report import html, junit
from orchestrator.results import store


def with_case(run, **changes):
    cell = run.cells[0]
    cases = (replace(cell.cases[0], **changes), *cell.cases[1:])
    return replace(run, cells=(replace(cell, cases=cases), *run.cells[1:]))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("good.xml", lambda: (good_run(), None)),
        ("broken.xml", lambda: (broken_run(), None)),
        (
            "compared.xml",
            lambda: (broken_run(), compare(good_run(), broken_run(), "cli", "cli")),
        ),
    ],
)
def test_golden(name, make, golden):
    run, comparison = make()
    parse(run, comparison)
    golden(name, junit.render(run, comparison))


@pytest.mark.parametrize("path", sorted((HOME / "tests" / "data").glob("**/results.json")), ids=str)
def test_jenkins_and_surefire_take_what_real_guests_gave(path):
    run = store.load(path)
    assert parse(run).findall(".//testcase")
    assert len(parse(run, compare(run, run)))


def test_the_schemas_refuse_what_they_should():
    """Each against what it is there for: a schema that lets all in proves nothing."""
    case = '<testcase name="c"{}>{}</testcase>'
    suite = '<testsuite name="s" tests="1" failures="0" errors="0" skipped="0"{}>{}</testsuite>'
    for schema, attributes, inside in (
        (JENKINS, "", case.format("", "<flaky/>")),
        (JENKINS, ' disabled="0"', ""),
        (JENKINS, ' time="1e-05"', ""),
        (JENKINS, "", case.format("", "<flakyFailure/>")),
        (SUREFIRE, "", case.format("", "")),
        (SUREFIRE, ' hostname="h"', ""),
        (SUREFIRE, "", case.format(' time="1"', '<skipped type="t" message="m"/>')),
        (SUREFIRE, "", case.format(' time="0.0001"', "")),
        (SUREFIRE, "", case.format(' time="1"', '<flakyFailure type="t"/>')),
        (SUREFIRE, "", case.format(' time="1"', '<system-out/><failure type="t"/>')),
    ):
        assert not schema.validate(etree.fromstring(suite.format(attributes, inside))), inside
    flaky = '<flakyFailure type="t" message="m"><stackTrace>x</stackTrace></flakyFailure>'
    for schema in (JENKINS, SUREFIRE):
        schema.assertValid(etree.fromstring(suite.format("", case.format(' time="1"', flaky))))


def test_a_suite_per_series_build_and_cell():
    names = [suite.get("name") for suite in parse(broken_run())]
    assert names == [
        "series cli",
        "series other",
        "build cli/default/x86_64",
        "build cli/default/arm64",
        "build cli/no-thp/x86_64",
        "cli/default/x86_64/small",
        "cli/default/arm64/small",
    ]


def test_each_suite_says_what_was_tested():
    said = "2 patches on 6.12.48: userfaultfd: count the pages a move takes"
    for suite in parse(good_run()):
        first = next(suite.iter("property"))
        assert (first.get("name"), first.get("value")) == ("tested", said)


def test_hunks_that_were_bent_are_told_with_their_patch():
    run = broken_run()
    cli = next(kernel for kernel in run.kernels if kernel.series)
    header = "@@ -1,7 +1,7 @@ f(\x1b)"
    hunks = (BentHunk("mm/a.c", header, -2, 1), BentHunk("mm/a.c", header, merged=True))
    bent = replace(cli, apply="fuzz", series=(replace(cli.series[0], bent=hunks),), failure=None)
    run = replace(run, kernels=(bent,))
    case = parse(run).find(f"testsuite[@name='series {cli.name}']/testcase")
    assert case.find("system-out").text.splitlines() == [
        "patch 1: mm/a.c @@ -1,7 +1,7 @@ f(\\x1b): fuzz 1, 2 lines above",
        "patch 1: mm/a.c @@ -1,7 +1,7 @@ f(\\x1b): merged",
    ]
    page = html.render(run, None)
    assert "2 hunks did not fit as they stand (<code>--apply fuzz</code>)" in page
    assert "fuzz 1, 2 lines above" in page
    assert "\x1b" not in page


def test_counters_and_accelerator_are_properties():
    suite = parse(broken_run()).find("testsuite[@name='cli/default/x86_64/small']")
    facts = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert facts["accelerator"] == "tcg"
    assert facts["page_size"] == "4096"
    assert "peak 146" in facts["counter.ledger/swap.counters.RssAnon"]
    assert "(drift +64)" in facts["counter.ledger/swap.counters.RssAnon"]
    assert facts["measurement.move/compact.throughput.move"] == "1843.2 MB/s"


def test_how_much_of_a_series_ran_is_told_in_properties():
    suite = parse(covered_run()).find("testsuite[@name='series cli']")
    facts = {p.get("name"): p.get("value") for p in suite.iter("property")}
    told = {name: value for name, value in facts.items() if name.startswith("coverage")}
    assert told == {
        "coverage": "50 % of the series' lines ran (2 of 4); never ran: 1 of patch 1, 1 of patch 2",
        "coverage.lines": "4",
        "coverage.ran": "2",
        "coverage.patch.1.lines": "3",
        "coverage.patch.1.ran": "2",
        "coverage.patch.1.never": "mm/x.c:13",
        "coverage.patch.2.lines": "1",
        "coverage.patch.2.ran": "0",
        "coverage.patch.2.never": "mm/x.c:31",
    }


def test_each_line_of_a_patch_is_told_with_who_ran_it():
    suite = parse(covered_run()).find("testsuite[@name='series cli']")
    first, second = (one.text.splitlines() for one in suite.iter("system-out"))  # none in the third
    assert first == [
        "ran mm/x.c:11: if (<none>) [coverage/x86_64/small: 7 workloads: a/b, a/c and 5 more; "
        "coverage/arm64/small: 1 workload: a/b]",
        "ran mm/x.c:12: return -1; [coverage/x86_64/small: 1 workload: a/b; "
        "never ran in coverage/arm64/small]",
        "NEVER mm/x.c:13: drop(); [never ran in coverage/x86_64/small, coverage/arm64/small]",
    ]
    assert second == ["NEVER mm/x.c:31: other(); [never ran in coverage/x86_64/small]"]


def test_without_counts_no_property_speaks_of_them():
    root = parse(good_run())
    assert not [p for p in root.iter("property") if p.get("name").startswith("coverage")]


def test_the_failure_text_is_enough_to_act():
    root = parse(broken_run())
    texts = {c.getparent().get("name"): c for c in root.iter("failure")}
    drift, log = texts["counters"], texts["kernel-log"]
    assert drift.get("message").startswith("RssAnon +64 and VmSwap -64 pages off the page walk")
    assert "(drift +64)" in drift.text
    assert "lab rerun 20240105-142233-smoke" in drift.text
    assert "hit: BUG: Bad rss-counter state type:MM_ANONPAGES" in log.text
    assert "type:MM_ANONPAGES val:64" in log.text
    assert "move_swap_pte+0x1c4" in log.getparent().find("system-err").text
    assert "implicit declaration of 'pmd_trans_huge'" in texts["build"].text
    assert "unmet: DEBUG_KERNEL=n" in texts["build"].text
    apply = texts["0002 mm: a patch for another base"].text
    assert "double_pt_unlock(dst_ptl, src_ptl)" in apply
    assert "-\tadd_mm_counter" in apply


def test_an_error_of_the_host_is_an_error():
    errors = list(parse(broken_run()).iter("error"))
    assert [e.get("type") for e in errors] == ["host"]
    assert "no space left on device" in errors[0].get("message")


def test_only_regressions_fail_against_a_baseline():
    broken = broken_run()
    root = parse(broken, compare(good_run(), broken, "cli", "cli"))
    failed = {f.getparent().get("name"): f for f in root.iter("failure")}
    assert set(failed) == {"build", "counters", "kernel-log"}
    assert all(f.get("message").startswith("regressed: ") for f in failed.values())
    assert len(list(root.iter("error"))) == 1  # the host's stay what they are
    assert root.find("testsuite[@name='gone']") is not None

    same = parse(broken, compare(broken, broken, "cli", "cli"))
    assert not list(same.iter("failure"))
    messages = [s.get("message") for s in same.iter("skipped")]
    assert sum(m.startswith("still failing: ") for m in messages) == 3
    assert any("Bad rss-counter" in (s.text or "") for s in same.iter("skipped"))


def test_a_skip_of_what_ran_before_fails():
    skipped = with_case(good_run(), verdict=Verdict.SKIP, reason="no such ioctl")
    root = parse(skipped, compare(good_run(), skipped))
    assert [f.get("message") for f in root.iter("failure")] == ["regressed: no such ioctl"]


def test_a_cut_run_is_never_green():
    part = good_run()
    part = replace(part, run=replace(part.run, finished=""))
    errors = list(parse(part).iter("error"))
    assert [e.get("message") for e in errors] == [
        "the run did not finish: these results are partial"
    ]
    nothing = replace(good_run(), kernels=(), builds=(), cells=())
    assert "no case was executed" in next(parse(nothing).iter("error")).text
    empty = replace(good_run(), cells=tuple(replace(c, cases=()) for c in good_run().cells))
    assert len(list(parse(empty).iter("error"))) == 2


NASTY = [
    "\x00\x01\x08\x0b\x0c\x0e\x1f\x7f\x80\x9f",
    "\x1b[31mred\x1b[0m",
    "\ud800 \udfff \udc80\udcff",
    "\ufffe\uffff\ufdd0\U0001fffe\U0010ffff",
    "]]> <![CDATA[ </failure> <!-- & &amp; &#0; &#xD800;",
    '"><script>alert(1)</script>',
    "a\r\nb\rc\td\u2028e\u0085f",
    "x" * 100_000,
    "\n" * 5000,
    "",
    " ",
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_valid_whatever_the_kernel_printed(text):
    run = with_case(
        broken_run(),
        case=text or "x",
        workload=text,
        verdict=Verdict.FAIL,
        reason=text,
        hits=(replace(rss_hit(), title=text, text=text, kind=text),) * 30,
        measurements=(Measurement(text, float("nan"), text),),
        rerun=text,
        seconds=1e-5,
    )
    patches = (replace(run.kernels[0].series[0], subject=text, author=text),)
    run = replace(
        run,
        problems=(text or "x",),
        kernels=(replace(run.kernels[0], series=patches), *run.kernels[1:]),
        builds=(replace(run.builds[2], reason=text, command=text), *run.builds[:2]),
    )
    parse(run)
    parse(run, compare(good_run(), run, "cli", "cli"))


@given(st.text(st.characters(exclude_categories=())))
def test_valid_for_any_text(text):
    parse(with_case(good_run(), verdict=Verdict.FAIL, reason=text, hits=(
        replace(rss_hit(), title=text, text=text),)))  # fmt: skip


def test_a_case_that_ran_twice_is_told_apart():
    run = good_run()
    twice = with_case(run)
    cell = twice.cells[0]
    twice = replace(twice, cells=(replace(cell, cases=(*cell.cases, cell.cases[0])), run.cells[1]))
    names = [c.get("name") for c in parse(twice).iter("testcase")]
    assert "boot (2)" in names


def test_a_flood_of_hits_stays_small():
    big = replace(rss_hit(), text="WARNING: line\n" * 100_000)
    run = with_case(good_run(), verdict=Verdict.FAIL, hits=(big,) * 5000)
    assert len(junit.render(run)) < 1_000_000


def test_a_run_that_its_time_budget_cut_says_so():
    run = good_run()
    left = replace(run.cells[1], cases=(), verdict=Verdict.SKIP, notes=(BUDGET,))
    cut = replace(run, cells=(run.cells[0], left))
    (suite,) = [s for s in parse(cut).iter("testsuite") if s.get("name") == "run"]
    (skipped,) = suite.iter("skipped")
    assert skipped.get("message") == "1 cell not run: time budget"
    assert left.id in (skipped.text or "")
    assert suite.get("errors") == "0"
    assert "1 cell not run: time budget" in html.render(cut, Path("/nonexistent"), None)
    assert "not run: time budget" not in html.render(run, Path("/nonexistent"), None)
    (suite,) = [s for s in parse(replace(cut, problems=("disk full",))).iter("testsuite")
                if s.get("name") == "run"]  # fmt: skip
    (error,) = suite.iter("error")
    assert "1 cell not run: time budget" in (error.text or "")


def test_a_run_that_ended_early_says_what_it_left_out():
    run = good_run()
    first, second = run.cells
    told = replace(
        first.cases[-1], id=f"{first.id}:w/a:{NOT_RUN}", workload="w/a", case=NOT_RUN,
        verdict=Verdict.SKIP, reason=ENDED,
    )  # fmt: skip
    left = replace(second, cases=(), notes=(ENDED,), verdict=Verdict.SKIP)
    ended = replace(run, cells=(replace(first, cases=(*first.cases, told)), left))
    for comparison in (None, compare(run, ended)):
        root = parse(ended, comparison)
        skips = [case.find("skipped").get("message") for case in root.iter("testcase")
                 if case.find("skipped") is not None]  # fmt: skip
        assert "1 workload and 1 cell not run: ended at the first failure" in skips
        assert any(ENDED in message for message in skips)
        assert root.find(".//failure") is None
