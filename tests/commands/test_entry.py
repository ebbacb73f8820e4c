# SPDX-License-Identifier: GPL-2.0-only
"""Exit statuses, and one line instead of a traceback whatever the user does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import sample_run
from plan_files import make_kernel_tree

from orchestrator import HOME
from orchestrator.commands import entry
from orchestrator.commands.arguments import cli
from orchestrator.model.errors import HostError, Interrupted, UserError
from orchestrator.results import runs as store_runs
from orchestrator.results import store


@pytest.mark.parametrize(
    "words",
    [
        ("bogus",),
        ("run", "--bogus"),
        ("run", "-p", "bogus"),
        ("run", "--source", "bogus"),
        ("run", "--series", "/nonexistent"),
        ("run", "--series", ""),  # a CI job whose variable is not set
        ("run", "--source", ""),
        ("run", "--jobs", "0"),
        ("run", "--baseline", "bogus"),
        ("run", "--fail-on", "regression"),
        ("plan", "--arch", "mips"),
        ("build", "--config", "bogus"),
        ("shell", "--kernel", "bogus"),
        ("shell", "--config", "bogus", "--", "true"),
        ("list", "bogus"),
        ("compare", "latest"),
        ("compare", "latest", "nope"),
        ("compare", "latest", "latest", "--fail-on", "bogus"),
        ("report", "nope"),
        ("report", "lab.yaml"),
        ("rerun", "nope", "x"),
        ("rerun", "latest", "x"),
        ("history", "--limit", "0"),
        ("history", "--verdict", "bogus"),
        ("init",),
        ("gc", "--max-size", "5X"),
        ("gc", "--max-size", "-1"),
        ("gc", "--older-than", "-1"),
        ("gc", "--older-than", "soon"),
    ],
)
def test_wrong_input_is_status_2(words, lab, stored):
    done = lab(*words)
    assert done.status == 2
    assert done.err.strip()
    assert done.out == ""


@pytest.mark.parametrize(
    "words", [("plan",), ("history",), ("compare", "a", "b"), ("report", "latest")]
)
def test_without_lab_yaml_status_2_with_advice(words, lab, folder, monkeypatch):
    (folder / "lab.yaml").unlink()
    done = lab(*words)
    assert done.status == 2
    assert "lab init" in done.err


def test_a_kernel_tree_without_lab_yaml_is_the_source(lab, folder, monkeypatch, tmp_path):
    (folder / "lab.yaml").unlink()
    make_kernel_tree(folder)
    (folder / "fix.patch").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def kernels(*words):
        plan = json.loads(lab("plan", "--json", "--arch", "x86_64", *words).out)
        return {(build["kernel"], build["source"]) for build in plan["builds"]}

    own = ("cli", f"path:{folder}")
    assert kernels() == {own}
    assert kernels("--series", "fix.patch") == {own}
    assert kernels("--kernel", "v6.1") == {("v6.1", "debian:6.1")}
    assert kernels("--source", "debian:6.1") == {("cli", "debian:6.1")}
    assert kernels("--baseline", "v6.12") == {own, ("v6.12", "debian:6.12")}
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("words", [("run",), ("build",), ("run", "--series", "fix.patch")])
def test_in_any_folder_a_named_source_is_tested_with_the_labs_own(
    words, lab, folder, monkeypatch, tmp_path
):
    (folder / "lab.yaml").unlink()
    make_kernel_tree(tmp_path / "linux")
    (folder / "fix.patch").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    seen = []

    def run_plan(plan, places, how, **more):
        seen.append((plan.builds[0].kernel.source, places))
        raise UserError("seen")

    monkeypatch.setattr("orchestrator.runner.run.run_plan", run_plan)
    assert "lab init" in lab(*words).err  # no kernel is named
    assert "seen" in lab(*words, "--source", "../linux", "--arch", "x86_64").err
    ((source, places),) = seen
    assert source == f"path:{tmp_path / 'linux'}"
    assert (places.lab_yaml, places.tree) == (HOME / "lab.yaml", None)
    assert places.reports.is_relative_to(tmp_path / "state")
    # What it stored is found from the same folder, which still names no kernel.
    run = sample_run.good_run()
    assert "no lab.yaml" in lab("open", "--print").err
    store.save(run, places.reports / run.run.id)
    store_runs.update_latest(places.reports, places.reports / run.run.id)
    (places.reports / run.run.id / "index.html").write_text("")
    assert lab("open", "--print").out.strip() == str(places.reports / run.run.id / "index.html")
    assert lab("history", "--rebuild").status == 0
    assert "lab init" in lab(*words).err
    assert sorted(path.name for path in folder.iterdir()) == ["fix.patch"]


def test_a_wrong_lab_yaml_is_told_with_its_line(lab, folder):
    text = (folder / "lab.yaml").read_text().replace("default_profile:", "default_profil:")
    (folder / "lab.yaml").write_text(text)
    done = lab("list")
    assert done.status == 2
    assert "lab.yaml:8" in done.err
    assert "default_profile" in done.err


def test_no_command_shows_the_help(lab):
    done = lab()
    assert done.status == 2
    assert "compare" in done.err


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_and_option_has_help(name, lab):
    done = lab(name, "--help")
    assert done.status == 0
    assert len(done.out.splitlines()) > 3
    for option in cli.commands[name].params:
        if isinstance(option, click.Option) and option.name != "help":
            assert option.help, f"{name} {option.name}"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("list", ["kernels", "a family of workloads", "'uffd-move/swap*'"]),
        ("compare", ["A is the baseline", "last-failed", "@2", "--kernel-a KERNEL"]),
        ("history", ["CASE-GLOB is", "'*:kernel-log'", "Only cases that came to it."]),
    ],
)
def test_help_says_what_arguments_take(name, told, lab):
    text = " ".join(lab(name, "--help").out.split())
    assert [words for words in told if words not in text] == []


def ends(error: BaseException, monkeypatch, capsys) -> tuple[int, str]:
    @click.command()
    def raises() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["lab"])
    with pytest.raises(SystemExit) as end:
        entry.run_command(raises)
    return int(end.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (UserError("no such thing", "name another"), 2, "lab: no such thing\n     name another\n"),
        (HostError("the disk is full"), 3, "lab: the disk is full\n"),
        (Interrupted("interrupted"), 130, "lab: interrupted\n"),
        (KeyboardInterrupt(), 130, "lab: interrupted\n"),
        (click.UsageError("two of them"), 2, "two of them\n"),
    ],
)
def test_errors_become_a_line_and_a_status(error, status, told, monkeypatch, capsys, lab):
    code, err = ends(error, monkeypatch, capsys)
    assert code == status
    assert err.endswith(told)


def test_a_signal_that_is_ignored_from_the_start_stays_so(monkeypatch, lab):
    seen = []

    @click.command()
    def looks() -> None:
        seen.extend(signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM))

    monkeypatch.setattr(sys, "argv", ["lab"])
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with pytest.raises(SystemExit):
            entry.run_command(looks)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    assert seen == [signal.SIG_IGN, entry._stop_once]


def test_a_bug_is_called_one(monkeypatch, capsys, lab):
    code, err = ends(ZeroDivisionError("oops"), monkeypatch, capsys)
    assert code == 3
    assert "unexpected ZeroDivisionError: oops" in err
    assert "Traceback" not in err


def test_a_bug_shows_its_traceback_on_demand(monkeypatch, capsys, lab):
    @click.command()
    def raises() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setenv("LAB_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["lab"])
    with pytest.raises(ZeroDivisionError):
        entry.run_command(raises)


def test_a_reader_that_went_away_is_no_error(lab_process):
    reading, writing = os.pipe()
    os.close(reading)
    done = lab_process("list", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_under_the_output_is_the_hosts(lab_process):
    with Path("/dev/full").open("w") as full:
        done = lab_process("list", stdout=full)
    assert done.returncode == 3
    assert done.stderr == "lab: cannot write the output: the disk is full\n"


def test_a_closed_stdout_is_no_error(folder):
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m orchestrator.cli list >&-"],
        capture_output=True, text=True, timeout=30, env=os.environ | {"PYTHONPATH": _root()},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_no_locale_cuts_the_output_short(stored, lab_process, monkeypatch):
    path = stored / "reports" / "20240105-142233-smoke" / "results.json"
    data = json.loads(path.read_text())
    data["cells"][0]["cases"][-1]["reason"] = "bytes \udcff, a snowman \u2603, \x1b[31mred"
    path.write_text(json.dumps(data))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = lab_process("compare", "20240105-11", "20240105-14")
    assert done.returncode == 1, done.stderr
    assert "a snowman" in done.stdout
    assert "bytes \\xff" in done.stdout
    assert "\x1b" not in done.stdout


def _root() -> str:
    return str(HOME)
