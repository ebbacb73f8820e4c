# SPDX-License-Identifier: GPL-2.0-only
"""A report to KCIDB: taken by the database's own validation, and saying what the run found."""

import json
from dataclasses import replace

import kcidb_io
import pytest
from sample_run import broken_run, case, cell, cell_id, good_run, rss_hit

from orchestrator import HOME
from orchestrator.judge.known_issues import settle
from orchestrator.judge.outcome import cases_of
from orchestrator.model.errors import UserError
from orchestrator.model.evidence import Measurement
from orchestrator.model.names import Verdict
from orchestrator.model.results import KernelRecord
from orchestrator.model.spec import Expectation, KnownIssue
from orchestrator.report import kcidb
from orchestrator.results import store

VERSIONS = [kcidb_io.schema.V5_0, kcidb_io.schema.V5_1, kcidb_io.schema.LATEST]


def told(run, origin="", url=""):
    """The report, after the database's package has looked at it and JSON has carried it."""
    found = json.loads(json.dumps(kcidb.report(run, origin, url), allow_nan=False))
    for version in VERSIONS:
        assert version.validate(found) is found
    for kind in ("checkouts", "builds", "tests", "issues", "incidents"):
        ids = [one["id"] for one in found[kind]]
        assert len(set(ids)) == len(ids), kind
        assert all(one["id"].startswith(f"{one['origin']}:") for one in found[kind])
    checkouts, builds, tests, issues = (
        {one["id"] for one in found[kind]} for kind in ("checkouts", "builds", "tests", "issues")
    )
    assert {one["checkout_id"] for one in found["builds"]} <= checkouts
    assert {one["build_id"] for one in found["tests"]} <= builds
    assert {one["issue_id"] for one in found["incidents"]} == issues
    assert {one["test_id"] for one in found["incidents"] if "test_id" in one} <= tests
    return found


def status_of(found, path):
    return [test["status"] for test in found["tests"] if test["path"] == path]


REAL = sorted((HOME / "tests" / "data").glob("**/results.json"))


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.parent.name)
def test_the_database_takes_what_real_guests_gave(path):
    run = store.load(path)
    found = told(run)
    figures = sum(test["status"] == "DONE" for test in found["tests"])
    told_cases = len(found["tests"]) - figures + len(found["builds"])
    series = sum(bool(kernel.series) for kernel in run.kernels)
    assert told_cases + series == sum(1 for _ in cases_of(run))
    assert "/root" not in json.dumps([test["environment"] for test in found["tests"]])


def test_a_run_has_its_checkout_builds_and_tests():
    found = told(good_run())
    (checkout,) = found["checkouts"]
    assert checkout["valid"]
    assert checkout["patchset_hash"] == good_run().kernels[0].series_digest
    assert checkout["misc"]["source"] == "debian:6.12"
    assert [(b["architecture"], b["status"], b["config_name"]) for b in found["builds"]] == [
        ("x86_64", "PASS", "default"),
        ("arm64", "PASS", "default"),
    ]
    assert status_of(found, "ledger.swap.kernel-log") == ["PASS", "PASS"]
    assert status_of(found, "move.basic.thp-aligned") == ["SKIP"]
    assert found["issues"] == found["incidents"] == []


def test_ids_are_the_same_tomorrow_and_others_for_another_run():
    ids = [one["id"] for one in told(good_run())["tests"]]
    assert ids == [one["id"] for one in told(good_run())["tests"]]
    assert not set(ids) & {one["id"] for one in told(broken_run())["tests"]}
    run = good_run()
    elsewhere = replace(run, run=replace(run.run, host={**run.run.host, "cpus": "64"}))
    assert not set(ids) & {one["id"] for one in told(elsewhere)["tests"]}


def test_verdicts_are_the_databases_words():
    found = told(broken_run())
    assert status_of(found, "ledger.swap.counters") == ["FAIL", "MISS"]
    assert [build["status"] for build in found["builds"]] == ["PASS", "PASS", "FAIL"]
    assert [checkout["valid"] for checkout in found["checkouts"]] == [True, False]
    assert "add_mm_counter" in found["checkouts"][1]["log_excerpt"]
    assert "implicit declaration" in found["builds"][2]["log_excerpt"]
    log = next(t for t in found["tests"] if t["status"] == "FAIL" and "kernel-log" in t["path"])
    assert "BUG: Bad rss-counter state" in log["log_excerpt"]
    assert log["misc"]["rerun"].startswith("lab rerun ")


def test_each_measurement_is_a_number_below_its_case():
    found = told(good_run())
    figures = [t for t in found["tests"] if t["status"] == "DONE"]
    assert [(t["path"], t["number"]) for t in figures[:2]] == [
        ("move.compact.throughput.move", {"value": 1843.2, "unit": "MB/s"}),
        ("move.compact.throughput.copy_dontneed", {"value": 611.75, "unit": "MB/s"}),
    ]


def one_case(**changes):
    run = good_run()
    where = cell_id("cli", "x86_64")
    found = case(where, "ledger/swap", "kernel-log", **changes)
    return replace(run, cells=(cell("cli", "x86_64", (found,)),))


def test_a_known_issue_is_a_failure_with_an_incident():
    failing = one_case(verdict=Verdict.FAIL, hits=(rss_hit(),), reason="1 report")
    issue = KnownIssue(title="Bad rss-counter", reason="mended in 6.13")
    run = settle(failing, (), (issue,))
    assert run.cells[0].cases[0].verdict is Verdict.PASS
    found = told(run)
    assert status_of(found, "ledger.swap.kernel-log") == ["FAIL"]
    (known,), (incident,) = found["issues"], found["incidents"]
    assert known["comment"] == "mended in 6.13"
    assert known["culprit"] == {"code": True, "tool": False, "harness": False}
    assert (incident["present"], incident["issue_version"]) == (True, known["version"])
    assert incident["test_id"].endswith(":ledger/swap:kernel-log")
    again = told(replace(run, run=replace(run.run, id="another")))
    assert again["issues"] == found["issues"]
    assert again["incidents"] != found["incidents"]


def test_what_is_expected_to_fail_did_fail():
    failing = one_case(verdict=Verdict.FAIL, hits=(rss_hit(),), reason="1 report")
    run = settle(failing, (Expectation("cli", "*", "*", "Bad rss-counter"),), ())
    assert run.cells[0].cases[0].expected
    found = told(run)
    assert status_of(found, "ledger.swap.kernel-log") == ["FAIL"]
    assert [issue["report_subject"] for issue in found["issues"]] == ["Bad rss-counter"]


def test_tests_on_the_host_have_a_build():
    run = good_run()
    there = cell("cli", "x86_64", (), id="cli/host/x86_64/-", config="host", shape="-")
    ran = case("cli/host/x86_64/-", "host/mm", "vma", Verdict.PASS)
    found = told(replace(run, cells=(replace(there, cases=(ran,)),), builds=()))
    assert [build["config_name"] for build in found["builds"]] == ["host"]
    assert status_of(found, "host.mm.vma") == ["PASS"]
    assert found["tests"][0]["environment"]["comment"].startswith("on the host")


def test_whatever_was_printed_is_taken():
    nasty = "a\0b\x1b[31m\udcff\n" * 4000
    hit = replace(rss_hit(), text=nasty, title=nasty[:20], signature="s\0")
    bad = one_case(
        verdict=Verdict.FAIL, reason=nasty, hits=(hit,), seconds=float("nan"),
        measurements=(Measurement("über\0 all/..", 1.0, "\0"), Measurement("x", float("inf"), "")),
    )  # fmt: skip
    twice = replace(bad.cells[0], cases=bad.cells[0].cases * 2)
    found = told(replace(bad, cells=(twice,)))
    assert [t["path"] for t in found["tests"][:2]] == [
        "ledger.swap.kernel-log", "ledger.swap.kernel-log._ber_all_"
    ]  # fmt: skip
    assert len(found["tests"]) == 4
    assert "duration" not in found["tests"][0]


def test_a_run_without_anything():
    run = replace(good_run(), kernels=(), builds=(), cells=())
    assert told(run)["tests"] == []


def test_a_commit_is_named_only_where_it_is_what_was_tested():
    run = good_run()
    commit = "0123456789abcdef0123456789abcdef01234567"
    plain = KernelRecord("cli", "git:/src/linux#v6.12", "6.12.0")
    plain = replace(plain, tested=replace(plain.tested, commit=commit))
    (found,) = told(replace(run, kernels=(plain,)))["checkouts"]
    assert (found["git_commit_hash"], found["patchset_hash"]) == (commit, "")
    edited = replace(plain, tested=replace(plain.tested, changed=True))
    (found,) = told(replace(run, kernels=(edited,)))["checkouts"]
    assert not {"git_commit_hash", "patchset_hash"} & set(found)


@pytest.mark.parametrize("url", ["https://ci/{run}/", "https://ci/{run}/index.html"])
def test_published_files_are_linked(url):
    found = told(good_run(), url=url.replace("{run}", "r1"))
    assert found["builds"][0]["log_url"] == ("https://ci/r1/builds/cli__default__x86_64/build.log")
    assert found["builds"][0]["config_url"].endswith("/cli__default__x86_64/config")
    assert found["tests"][0]["log_url"].endswith("/cells/cli__default__x86_64__small/console.log")
    assert "log_url" not in told(good_run())["tests"][0]


def test_the_origin_is_a_name_of_the_database():
    assert told(good_run(), "my_lab2")["tests"][0]["origin"] == "my_lab2"
    for bad in ("My", "a-b", "a b", "a\n"):
        with pytest.raises(UserError, match="small letters"):
            kcidb.report(good_run(), bad)
