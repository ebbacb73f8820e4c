# SPDX-License-Identifier: GPL-2.0-only
"""What a run keeps of its workloads: words, and the lines around checks that failed."""

from dataclasses import replace
from types import SimpleNamespace

from sample_run import case, cell, cell_id

from orchestrator.model.names import Verdict
from orchestrator.model.spec import WorkloadSpec
from orchestrator.workload.about import workload_records

WHERE = cell_id("cli", "x86_64")


def records(folder, *cases):
    family = folder / "move"
    family.mkdir(exist_ok=True)
    (folder / "lib").mkdir(exist_ok=True)
    (family / "swap.c").write_text("".join(f"\tline({n});\n" for n in range(1, 101)))
    (folder / "lib" / "frames.c").write_text("one\ntwo\nthree\n")
    (folder / "secret.c").write_text("secret\n")
    spec = WorkloadSpec("move/swap", "move", family, "swap.c", description="Moves what is out.")
    plan = SimpleNamespace(cells=(SimpleNamespace(workloads=(spec,)),))
    return workload_records(plan, (cell("cli", "x86_64", cases),))


def failed(reason, **more):
    return case(WHERE, "move/swap", "x", Verdict.FAIL, reason=reason, **more)


def test_a_check_that_failed_has_its_lines(tmp_path):
    (told,) = records(tmp_path, failed("swap.c:68: got 0, expected 1\nswap.c:9: more"))
    assert (told.name, told.description, told.file) == ("move/swap", "Moves what is out.", "swap.c")
    assert list(told.checks) == ["swap.c:68"]
    excerpt = told.checks["swap.c:68"]
    assert excerpt.first == 63
    assert excerpt.text.split("\n")[5] == "\tline(68);"
    assert len(excerpt.text.split("\n")) == 11


def test_the_library_and_the_ends_of_a_file(tmp_path):
    (told,) = records(tmp_path, failed("said before\nframes.c:1: got 3"))
    assert told.checks["frames.c:1"].text == "one\ntwo\nthree"
    assert told.checks["frames.c:1"].first == 1


def test_what_no_file_has_is_left_out(tmp_path):
    reasons = ("swap.c:101: beyond", "gone.c:1: got", "../secret.c:1: x", "secret.c:1: x", "")
    for reason in reasons:
        (told,) = records(tmp_path, failed(reason))
        assert told.checks == {}


def test_a_known_failure_failed_too_and_a_pass_did_not(tmp_path):
    known = replace(failed("known: so\nswap.c:5: got"), verdict=Verdict.SKIP, judged="fail: x")
    (told,) = records(tmp_path, known)
    assert list(told.checks) == ["swap.c:5"]
    (told,) = records(tmp_path, replace(failed("swap.c:5: got"), verdict=Verdict.PASS))
    assert told.checks == {}


def test_a_run_keeps_no_more_than_it_can_show(tmp_path):
    cases = [failed(f"swap.c:{n}: got") for n in range(1, 101)]
    (told,) = records(tmp_path, *cases)
    assert len(told.checks) == 60
