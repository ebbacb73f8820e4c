# SPDX-License-Identifier: GPL-2.0-only
"""`lab compare` and `lab report`."""

import json
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import sample_run

from orchestrator.host import process
from orchestrator.results import runs, store

GOOD, BROKEN = "20240105-112233-smoke", "20240105-142233-smoke"


@pytest.fixture(autouse=True)
def _no_process(monkeypatch):
    """Reports are made from what is stored: nothing is started for them."""

    def refuse(*words, **_more):
        raise AssertionError(f"started {words}")

    monkeypatch.setattr(process, "_popen", refuse)


def test_regressions_lead_and_the_status_is_1(lab, stored):
    done = lab("compare", "20240105-11", "latest")
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[:2] == [f"baseline   {GOOD}", f"candidate  {BROKEN}"]
    assert lines[3] == "regressed: 5"
    assert "5 regressed, 2 gone, 11 unchanged" in done.out


@pytest.mark.parametrize("shown", [(), ("--json",)])
def test_a_reader_that_goes_away_hides_no_regression(lab_process, stored, shown):
    reader, writer = os.pipe()
    os.close(reader)
    done = lab_process("compare", GOOD, BROKEN, *shown, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    assert (stored / "reports" / f"compare-{GOOD}-{BROKEN}" / "junit.xml").is_file()


def test_counters_stand_side_by_side_with_their_drift(lab, stored):
    out = lab("compare", GOOD, BROKEN).out
    rows = [line.split() for line in out.splitlines() if line.lstrip().startswith("RssAnon ")]
    assert ["RssAnon", "18", "82", "18", "0", "|", "18", "146", "82", "64", "*"] in rows
    assert "RssAnon +64 and VmSwap -64 pages off the page walk at step 'moved'" in out


def test_counters_that_are_not_off_are_only_counted(lab, stored):
    """Thirteen lines of what caches held a moment hid the one that mattered."""
    path = stored / "reports" / BROKEN / "results.json"
    data = json.loads(path.read_text())
    quiet = {"before": 9, "peak": 40, "after": 11, "walk": None, "at_walk": None}
    for cell in data["cells"]:
        for case in cell["cases"]:
            if case["case"] == "counters" and case["counters"]:
                case["counters"] += [{"name": "LostPages", **quiet}, {"name": "mm_struct", **quiet}]
                case["reason"] += "\nmm_struct grew by 2"
    path.write_text(json.dumps(data))
    out = lab("compare", GOOD, BROKEN).out
    assert "LostPages" not in out
    assert [line.split()[0] for line in out.splitlines() if " 40 " in line] == ["mm_struct"]
    assert any(re.fullmatch(r"      and \d+ that are not off", line) for line in out.splitlines())


def test_a_regression_tells_how_to_repeat_it(lab, stored):
    out = lab("compare", GOOD, BROKEN).out
    assert f"again: lab rerun {BROKEN} 'cli/default/x86_64/small:ledger/swap:kernel-log'" in out


def test_the_way_back_is_fixed_and_status_0(lab, stored):
    done = lab("compare", BROKEN, GOOD)
    assert done.status == 0
    assert "fixed: 2" in done.out


@pytest.mark.parametrize(
    ("a", "b", "fail_on", "status"),
    [
        (GOOD, BROKEN, "never", 0),
        (GOOD, BROKEN, "any", 1),
        (BROKEN, BROKEN, "regression", 0),
        (BROKEN, BROKEN, "any", 1),
        (GOOD, GOOD, "any", 0),
    ],
)
def test_what_fails_can_be_chosen(a, b, fail_on, status, lab, stored):
    assert lab("compare", a, b, "--fail-on", fail_on).status == status


def test_it_writes_a_regression_report_whose_links_work(lab, stored):
    lab("compare", GOOD, BROKEN)
    own = stored / "reports" / f"compare-{GOOD}-{BROKEN}"
    page = (own / "index.html").read_text()
    assert "Against the baseline" in page
    assert "cells/cli__default__x86_64__small/console.log" in page
    assert (own / "cells/cli__default__x86_64__small/console.log").is_file()
    assert not (own / "cells").readlink().is_absolute()
    root = ET.parse(own / "junit.xml").getroot()
    failures = root.findall(".//failure")
    assert failures
    assert {failure.get("type") for failure in failures} == {"regression"}


def test_the_report_of_a_comparison_is_no_run(lab, stored):
    lab("compare", GOOD, BROKEN)
    assert [path.name for path in runs.list_runs(stored / "reports")] == [GOOD, BROKEN]


def test_comparing_again_renews_the_links(lab, stored):
    lab("compare", GOOD, BROKEN)
    (stored / "reports" / BROKEN).rename(stored / "elsewhere")
    lab("compare", GOOD, "elsewhere")
    own = stored / "reports" / f"compare-{GOOD}-{BROKEN}"
    assert (own / "cells").resolve() == stored / "elsewhere" / "cells"


def test_the_reports_go_where_they_are_wanted(lab, stored):
    done = lab("compare", GOOD, BROKEN, "--html", "new/page.html")
    assert done.out.splitlines()[-1] == f"report: {stored / 'new' / 'page.html'}"
    assert (stored / "new" / "page.html").is_file()
    assert not (stored / "reports" / f"compare-{GOOD}-{BROKEN}").exists()


def test_a_report_that_cannot_be_written_is_the_hosts(lab, stored):
    done = lab("compare", GOOD, BROKEN, "--html", "/proc/page.html")
    assert done.status == 3
    assert "/proc/page.html" in done.err


def test_for_scripts(lab, stored):
    done = lab("compare", GOOD, BROKEN, "--json")
    told = json.loads(done.out)
    assert done.status == told["exit_status"] == 1
    assert told["counts"] == {"regressed": 5, "gone": 2, "unchanged": 11}
    assert told["cases"][0]["change"] == "regressed"
    causes = {cause["title"]: cause["cases"] for cause in told["causes"]}
    log = "cli/default/x86_64/small:ledger/swap:kernel-log"
    assert causes["WARNING at mm/userfaultfd.c in move_swap_pte"] == [log]
    assert all(os.path.exists(path) for path in told["written"])  # noqa: PTH110


def test_two_kernels_of_one_run(lab, stored):
    run = sample_run.good_run()
    other = [
        replace(cell, kernel="new", id=cell.id.replace("cli/", "new/", 1),
                cases=tuple(replace(c, id=c.id.replace("cli/", "new/", 1)) for c in cell.cases))
        for cell in run.cells
    ]  # fmt: skip
    both = replace(run, run=replace(run.run, id="both"), cells=(*run.cells, *other))
    store.save(both, stored / "reports" / "both")
    assert lab("compare", "both", "both", "--kernel-a", "cli", "--kernel-b", "new").status == 0
    done = lab("compare", "both", "both", "--kernel-a", "cli", "--kernel-b", "bogus")
    assert done.status == 2
    assert "it has: cli, new" in done.err


def test_nothing_in_common_is_no_clean_comparison(lab, stored):
    run = sample_run.good_run()
    cells = tuple(replace(cell, kernel="x", cases=(), config="other") for cell in run.cells)
    alien = replace(run, run=replace(run.run, id="alien"), kernels=(), builds=(), cells=cells)
    store.save(alien, stored / "reports" / "alien")
    done = lab("compare", BROKEN, "alien")
    assert done.status == 2
    assert "have no case in common" in done.err
    assert "--kernel-b" in done.err
