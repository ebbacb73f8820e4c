# SPDX-License-Identifier: GPL-2.0-only
"""`lab history`, `lab list` and `lab init`."""

import json
from dataclasses import replace

import pytest

from orchestrator.commands.list import KINDS, listing
from orchestrator.model.arch import ARCHES
from orchestrator.plan.lab_yaml import init_text, load_config
from orchestrator.results import store

GOOD, BROKEN = "20240105-112233-smoke", "20240105-142233-smoke"


def test_no_run_yet(lab):
    done = lab("history")
    assert (done.status, done.out) == (0, "")
    assert "no run yet" in done.err


def test_runs_newest_first(lab, stored):
    done = lab("history", "--rebuild")
    assert done.status == 0
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [BROKEN, GOOD]
    assert lines[1].split()[2:7] == ["3", "8", "4", "0", "1"]
    assert len(lab("history", "--limit", "1").out.splitlines()) == 2


def test_a_run_that_was_cut_is_called_so(lab, stored):
    path = stored / "reports" / GOOD / "results.json"
    data = json.loads(path.read_text())
    data["run"]["finished"] = ""
    path.write_text(json.dumps(data))
    assert lab("history", "--rebuild").out.splitlines()[2].split()[2] == "cut"


def test_a_killed_run_is_there_with_the_way_on(lab, stored):
    """Nobody was left to put it into the history."""
    lab("history", "--rebuild")
    folder = stored / "reports" / "20240105-152233"
    run = store.load(stored / "reports" / GOOD)
    info = replace(run.run, id=folder.name, started="2024-01-05T15:22:33Z", finished="")
    store.save(replace(run, run=info), folder)
    done = lab("history")
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == [folder.name, BROKEN, GOOD]
    assert done.out.splitlines()[1].split()[2] == "cut"
    assert f"`lab run --resume {folder.name}` goes on" in done.err
    assert len(lab("history", "--limit", "1").out.splitlines()) == 2
    found = json.loads(lab("history", "--json").out)[0]
    assert (found["id"], found["finished"], found["exit_status"]) == (folder.name, "", 0)
    # Once read again it is told once, and the same.
    assert lab("history", "--rebuild").out.count(folder.name) == 1


def test_a_name_that_nothing_has(lab, stored):
    lab("history", "--rebuild")
    assert (
        "no case fits; did you mean 'ledger/swap:kernel-log'"
        in lab("history", "ledger/swap:kernle-log").err
    )
    done = lab("history", "ledger/swap:kernel-log", "--verdict", "skip")
    assert (done.status, done.err) == (0, "no case that fits came to that\n")


def test_whole_parts_of_a_name(lab, stored):
    lab("history", "--rebuild")
    lines = lab("history", "ledger/swap").out.splitlines()
    assert len(lines) > 3
    assert all(":ledger/swap:" in line for line in lines if line[0] != " ")


def test_one_case_over_all_runs(lab, stored):
    lab("history", "--rebuild")
    lines = lab("history", "ledger/swap:kernel-log").out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["FAIL", BROKEN],
        ["PASS", GOOD],
        ["PASS", GOOD],
    ]
    assert lines[0].endswith("small:ledger/swap:kernel-log: 3 forbidden reports in the kernel log")


def test_cases_that_came_to_both_on_one_kernels_sources(lab, stored):
    assert "no case of the history both passed" in lab("history", "--rebuild", "--flaky").err
    for name in (GOOD, BROKEN):
        path = stored / "reports" / name / "results.json"
        data = json.loads(path.read_text())
        for kernel in data["kernels"]:
            kernel["tree"] = "a" * 40
        path.write_text(json.dumps(data))
    done = lab("history", "--rebuild", "--flaky", "swap:counters")
    assert done.out.splitlines() == [
        f"failed in     1 of 2 runs, last {BROKEN}  default/x86_64/small:ledger/swap:counters"
    ]
    found = json.loads(lab("history", "--flaky", "--json").out)
    assert all(case["passed"] and case["failed"] for case in found)
    assert len(found) > 1
    assert lab("history", "--flaky", "--verdict", "fail").status == 2


def test_by_verdict(lab, stored):
    lab("history", "--rebuild")
    found = json.loads(lab("history", "--verdict", "error", "--json").out)
    assert [case["verdict"] for case in found] == ["error"]
    assert "no space left" in found[0]["reason"]
    assert "no case fits" in lab("history", "bogus*").err


def test_runs_for_scripts(lab, stored):
    lab("history", "--rebuild")
    assert [run["id"] for run in json.loads(lab("history", "--json").out)] == [BROKEN, GOOD]


def test_a_run_that_cannot_be_read_is_left_out_and_told(lab, stored):
    (stored / "reports" / GOOD / "results.json").write_text("{}")
    done = lab("history", "--rebuild")
    assert done.status == 0
    assert "left out" in done.err
    assert BROKEN in done.out


def test_a_damaged_history_tells_the_way_out(lab, stored):
    (stored / "reports" / "history.sqlite").write_bytes(b"no database at all" * 100)
    done = lab("history")
    assert done.status == 2
    assert "--rebuild" in done.err
    assert lab("history", "--rebuild").status == 0


# ---------------------------------------------------------------- list


@pytest.mark.parametrize("what", KINDS)
def test_everything_is_listed_by_name(what, lab, folder):
    config = load_config(folder / "lab.yaml", tuple(ARCHES))
    names = list(ARCHES) if what == "arches" else [item.name for item in getattr(config, what)]
    assert names
    out = lab("list", what).out
    heads = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert heads == names
    told = json.loads(lab("list", what, "--json").out)
    assert [item if what == "arches" else item["name"] for item in told] == names


def test_workloads_tell_what_they_need_and_promise(lab):
    done = lab("list")
    assert "up to 20 s" in done.out
    for word in ("needs", "exercises", "counters", "invariants"):
        assert f"    {word} " in done.out


@pytest.mark.parametrize("columns", ["20", "80", "500"])
def test_no_name_is_cut_whatever_the_terminal(columns, lab, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert "counter-equals-walk" in lab("list").out


def test_a_list_of_what_is_asked_for(lab, folder):
    def names(*words):
        return [item["name"] for item in json.loads(lab("list", *words, "--json").out)]

    moves = names("uffd-move")
    assert moves
    assert all(name.startswith("uffd-move/") for name in moves)
    assert names("workloads", "uffd-move/*") == moves
    assert names("uffd-move/swap", "ledger/*-swap")[-1] == "uffd-move/swap"
    assert set(names("swap")) == {"ledger/swap", "race/swap", "uffd-move/swap"}
    assert names("swap-kinds", "uffd-move/swapoff") == ["uffd-move/swap-kinds", "uffd-move/swapoff"]
    assert names("no-*") == names("configs", "no-*") == ["no-thp"]
    assert "lacks" in lab("list", "no-thp").out
    assert len(lab("list", "uffd-move/swap").out.splitlines()) < 15


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shapes", "huge"), "nothing is called 'huge'; there are: small"),
        (("uffd-mov",), "nothing is called 'uffd-mov'; did you mean 'uffd-move"),
        (("shape",), "nothing is called 'shape'; did you mean 'shapes'?"),
        (("uffd-move", "no-thp"), "uffd-move and no-thp are of different kinds"),
    ],
)
def test_a_list_of_nothing(lab, folder, words, said):
    done = lab("list", *words)
    assert done.status == 2
    assert said in done.err


def test_list_without_command_line(folder, capsys):
    assert listing(("shapes",), False) == 0
    assert "1024 MiB" in capsys.readouterr().out


# ---------------------------------------------------------------- init


def test_init_writes_what_plan_can_read(lab, folder):
    done = lab("init", "new/deep")
    assert done.status == 0
    assert (folder / "new" / "deep" / "lab.yaml").read_text() == init_text()
    load_config(folder / "new" / "deep" / "lab.yaml", tuple(ARCHES))


def test_init_never_overwrites(lab, folder):
    (folder / "lab.yaml").write_text("mine\n")
    done = lab("init")
    assert done.status == 2
    assert "exists" in done.err
    assert (folder / "lab.yaml").read_text() == "mine\n"


def test_init_overwrites_no_dangling_link(lab, folder):
    (folder / "other").mkdir()
    (folder / "other" / "lab.yaml").symlink_to("nowhere")
    assert lab("init", "other").status == 2


@pytest.mark.parametrize("where", ["lab.yaml", "lab.yaml/x", "/proc/x", "n" * 300])
def test_init_where_nothing_can_be_written(where, lab):
    assert lab("init", where).status == 2
