# SPDX-License-Identifier: GPL-2.0-only
"""`lab report`: files, Markdown, a check for Patchwork."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import sample_run

from orchestrator.model.names import Verdict
from orchestrator.model.searched import Searched
from orchestrator.results import store

GOOD, BROKEN = "20240105-112233-smoke", "20240105-142233-smoke"


def test_reports_are_made_again(lab, stored):
    folder = stored / "reports" / BROKEN
    done = lab("report", "latest")
    assert done.status == 0
    assert done.out.splitlines() == [str(folder / "index.html"), str(folder / "junit.xml")]
    assert "Against the baseline" not in (folder / "index.html").read_text()
    assert ET.parse(folder / "junit.xml").getroot().findall(".//failure[@type='kernel']")


def test_with_a_baseline_it_is_a_regression_report(lab, stored):
    assert lab("report", BROKEN, "--baseline", GOOD, "--json").status == 0
    assert "Against the baseline" in (stored / "reports" / BROKEN / "index.html").read_text()


def test_a_run_keeps_the_baseline_it_had(lab, stored):
    run = sample_run.broken_run()
    store.save(replace(run, run=replace(run.run, baseline=GOOD)), stored / "reports" / BROKEN)
    page = stored / "reports" / BROKEN / "index.html"
    assert lab("report", BROKEN).status == 0
    assert "Against the baseline" in page.read_text()
    assert lab("report", BROKEN, "--baseline", "none").status == 0
    assert "Against the baseline" not in page.read_text()


def test_a_baseline_that_is_gone_is_not_passed_over(lab, stored):
    run = sample_run.broken_run()
    store.save(replace(run, run=replace(run.run, baseline="gone")), stored / "reports" / BROKEN)
    done = lab("report", BROKEN)
    assert done.status == 2
    assert "--baseline none" in done.err


def test_a_damaged_run_is_told(lab, stored):
    (stored / "reports" / GOOD / "results.json").write_text('{"schema": 1, "run"')
    done = lab("report", GOOD)
    assert done.status == 2
    assert "not valid JSON" in done.err


def test_missing_evidence_is_told_and_costs_the_traces_only(lab, stored):
    (stored / "reports" / BROKEN / "cells/cli__default__x86_64__small/evidence.json").unlink()
    done = lab("report", BROKEN)
    assert done.status == 0
    assert "evidence.json is missing" in done.err


def test_stored_runs_need_no_lab_yaml(lab, stored, monkeypatch, tmp_path):
    """CI's artefacts, unpacked anywhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    a, b = (str(stored / "reports" / name) for name in (GOOD, BROKEN))
    done = lab("compare", a, b)
    assert done.status == 1, done.err
    assert "regressed" in done.out
    assert lab("report", b).status == 0


# ---------------------------------------------------------------- what is only printed


def test_markdown_and_a_check_write_nothing(lab, stored):
    folder = stored / "reports" / BROKEN
    before = sorted(folder.rglob("*"))
    done = lab("report", BROKEN, "--markdown", "--url", "https://ci/{run}/")
    assert done.status == 0
    assert done.out.startswith("## ! error\n\n**Tested:** ")
    assert f"(https://ci/{BROKEN}/#case=cli/" in done.out
    told = json.loads(lab("report", BROKEN, "--patchwork", "--url", "https://ci/{run}").out)
    assert told["target_url"] == f"https://ci/{BROKEN}"
    assert told["state"] == "fail"  # the host failed, but not all by itself
    assert sorted(folder.rglob("*")) == before


def test_a_mail_has_a_tested_by_where_all_is_well(lab, stored):
    done = lab("report", GOOD, "--mail", "--tested-by", "A B <a@b.c>")
    assert done.out.startswith("Tested: 2 patches on ")
    assert done.out.endswith("\n\nTested-by: A B <a@b.c>\n")
    done = lab("report", BROKEN, "--mail", "--tested-by", "A B <a@b.c>")
    assert (done.status, "Tested-by" in done.out) == (0, False)
    assert "no Tested-by: not all is well" in done.err


def test_a_check_against_a_baseline_goes_by_what_regressed(lab, stored):
    assert json.loads(lab("report", GOOD, "--patchwork").out) == {
        "state": "success", "context": "lab-smoke", "description": "pass: 15 cases in 2 cells",
    }  # fmt: skip
    run = sample_run.broken_run()
    cells = tuple(cell for cell in run.cells if cell.verdict is not Verdict.ERROR)
    run = replace(run, cells=cells, problems=(), run=replace(run.run, id="red", exit_status=1))
    store.save(run, stored / "reports" / "red")
    told = json.loads(lab("report", "red", "--patchwork", "--context", "mm_x86-64").out)
    assert (told["state"], told["context"]) == ("fail", "mm_x86-64")
    told = json.loads(lab("report", "red", "--patchwork", "--baseline", "red").out)
    assert told["state"] == "success"
    assert "and none regressed" in told["description"]
    assert "## ✓ pass" in lab("report", "red", "--markdown", "--baseline", "red").out


def test_the_pages_over_all_runs(lab, stored):
    (stored / "reports" / "foreign").mkdir()
    (stored / "reports" / "foreign" / "results.json").write_text("{}")
    done = lab("report", "--index")
    assert (done.status, done.out) == (0, f"{stored / 'reports' / 'index.html'}\n")
    assert "passed over: foreign: " in done.err
    page = (stored / "reports" / "index.html").read_text()
    assert f'href="{GOOD}/index.html"' in page
    told = json.loads(lab("report", "--index", "--json").out)
    assert told["written"] == [str(stored / "reports" / "index.html")]
    assert len(told["passed_over"]) == 1


@pytest.mark.parametrize("words", [("--index", GOOD), ("--index", "--mail"), ()])
def test_the_index_is_about_all_runs(words, lab, stored):
    done = lab("report", *words)
    assert (done.status, done.out) == (2, "")
    assert "--index is about all runs" in done.err or "Missing argument 'RUN'" in done.err


def test_kcidb_knows_this_lab_by_the_name_of_lab_yaml(lab, stored):
    told = json.loads(lab("report", BROKEN, "--kcidb", "--url", "https://ci/{run}/").out)
    assert told["tests"][0]["origin"] == "mm_lab"
    assert told["tests"][0]["log_url"].startswith(f"https://ci/{BROKEN}/cells/")
    lab_yaml = stored / "lab.yaml"
    lab_yaml.write_text(f"kcidb_origin: our_lab\n{lab_yaml.read_text()}")
    assert json.loads(lab("report", GOOD, "--kcidb").out)["builds"][0]["origin"] == "our_lab"
    done = lab("report", GOOD, "--kcidb", "--origin", "mine")
    assert json.loads(done.out)["builds"][0]["origin"] == "mine"
    lab_yaml.write_text(lab_yaml.read_text().replace("our_lab", "Our-Lab"))
    done = lab("report", GOOD, "--kcidb")
    assert (done.status, done.out) == (2, "")
    assert "small letters, digits and _" in done.err


@pytest.mark.parametrize("option", ["--patchwork", "--kcidb"])
def test_the_trials_of_a_search_are_no_check_of_a_series(option, lab, stored):
    found = Searched("bisect", "patch 1 of 2 brought it", True, of="r1")
    run = replace(sample_run.broken_run(), searched=found)
    store.save(run, stored / "reports" / BROKEN)
    done = lab("report", BROKEN, option)
    assert (done.status, done.out) == (2, "")
    assert "is a search (lab bisect)" in done.err
    assert "lab report r1" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--kcidb", "--mail"), "one of them"),
        (("--kcidb", "--baseline", "none"), "without a baseline"),
        (("--kcidb", "--origin", "a-b"), "small letters, digits and _"),
        (("--origin", "x"), "--origin goes with"),
        (("--markdown", "--patchwork"), "one of them"),
        (("--markdown", "--json"), "one of them"),
        (("--markdown", "--mail"), "one of them"),
        (("--tested-by", "A <a@b.c>"), "--tested-by goes with"),
        (("--mail", "--tested-by", "a@b.c"), "expected NAME <MAIL>"),
        (("--url", "https://x"), "--url goes with"),
        (("--markdown", "--context", "x"), "--context goes with"),
        (("--patchwork", "--context", "a b"), "letters, digits, - and _"),
        (("--patchwork", "--url", "https://x/" + "y" * 200), "up to 200 characters"),
        (("--markdown", "--url", "javascript:alert(1)"), "expected http:// or https://"),
        (("--markdown", "--url", "https://x/ y"), "expected http:// or https://"),
    ],
)
def test_what_does_not_go(words, told, lab, stored):
    done = lab("report", GOOD, *words)
    assert (done.status, done.out) == (2, "")
    assert told in " ".join(done.err.split())
