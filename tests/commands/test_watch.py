# SPDX-License-Identifier: GPL-2.0-only
"""``lab run --watch``: what counts as a change, and what becomes of the run meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plan_files import make_kernel_tree

from orchestrator import HOME
from orchestrator.commands.watch import Watched, changes, follow, what_to_watch
from orchestrator.commands.workspace import find_places, load
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_INTERRUPTED, HostError
from orchestrator.plan.matrix import Selection, make_plan

ROOT = Path("/tree")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("/tree/mm/mmap.c", True), ("/tree/arch/x86/entry/entry.S", True),
        ("/tree/mm/mmap.o", False), ("/tree/mm/.mmap.o.cmd", False), ("/tree/.git/index", False),
        ("/tree/mm/.mmap.c.swp", False), ("/tree/mm/4913", False), ("/tree/mm/mmap.c~", False),
        ("/tree/mm/5036", False), ("/tree/mm/sedA1b2C3", False), ("/tree/mm/mmap.c.swo", False),
        ("/tree/mm/#mmap.c#", False), ("/tree/mm/mmap.c___jb_tmp___", False),
        ("/tree/mm/sedate.c", True), ("/tree/mm/sedation.c", True), ("/tree/4913/a.c", True),
        ("/tree/tags", False), ("/tree/reports/x/index.html", False), ("/other/a.c", False),
        ("/git/refs/heads/main", True), ("/git/refs/heads/main.lock", False),
        ("/git/HEAD", True), ("/git/index", False), ("/git/objects/ab/cd", False),
    ],
)  # fmt: skip
def test_what_counts(name: str, counts: bool) -> None:
    watched = Watched((ROOT,), (), (ROOT / "reports",), (Path("/git"),))
    assert watched.matters(Path(name)) == counts


def watched_of(**selection: str) -> Watched:
    places = find_places()
    plan = make_plan(load(places), Selection(**selection), tuple(ARCHES))
    return what_to_watch(plan, places)


def test_what_is_looked_at(folder: Path, tmp_path: Path) -> None:
    tree = tmp_path / "linux"
    make_kernel_tree(tree)
    series = tmp_path / "one.patch"
    series.touch()
    (tmp_path / "git" / ".git").mkdir(parents=True)
    found = watched_of(source=f"path:{tree}", series=str(series))
    assert tree in found.folders
    assert HOME / "guest-tests" in found.folders
    assert {series, folder / "lab.yaml", HOME / "kernel-configs/base.config"} <= set(found.files)
    assert folder / "reports" in found.apart
    assert watched_of(source=f"git:{tmp_path}/git#main").repositories == (
        tmp_path / "git" / ".git",
    )


def test_what_cannot_change_is_refused(lab) -> None:
    done = lab("run", "--watch", "--source", "debian:6.12")
    assert done.status == 2
    assert done.err.startswith("lab: --watch: debian:6.12 cannot change\n")
    for words in (("--out", "x"), ("--resume", "x")):
        assert lab("run", "--watch", *words).status == 2


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(HostError, match="needs the package watchfiles"):
        next(changes(Watched((), ())))


def test_changes_of_folders_and_files(tmp_path: Path) -> None:
    tree, patch = tmp_path / "tree", tmp_path / "one.patch"
    (tree / "mm").mkdir(parents=True)
    patch.touch()
    news = changes(Watched((tree,), (patch,)))
    assert next(news) == ()
    (tree / "mm" / "x.o").touch()
    (tree / "mm" / "a.c").touch()
    assert next(each for each in news if each) == (tree / "mm" / "a.c",)
    patch.unlink()
    assert next(each for each in news if each) == (patch,)
    patch.touch()
    assert next(each for each in news if each) == (patch,)


def waits_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_run_that_is_overtaken_ends_in_good_order(tmp_path: Path) -> None:
    """The first run is overtaken, the second ends by itself, then Ctrl-C while waiting."""
    script = (
        "import pathlib, signal, sys, time\n"
        f"up = pathlib.Path({str(tmp_path)!r})\n"
        "def end(*_): (up / 'ended').touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "if (up / 'second').exists(): sys.exit(1)\n"
        "(up / 'first').touch()\n"
        "time.sleep(60)\n"
    )

    def news() -> Iterator[tuple[Path, ...]]:
        waits_for(tmp_path / "first")
        yield ()
        (tmp_path / "second").touch()
        yield (tmp_path / "a.c", *[tmp_path / "b.c"] * 3)
        until = time.monotonic() + 20
        while "waiting" not in "".join(said):
            assert time.monotonic() < until
            time.sleep(0.05)
            yield ()
        raise KeyboardInterrupt

    said: list[str] = []
    assert follow(news(), [sys.executable, "-c", script], said.append) == 1
    assert (tmp_path / "ended").exists()
    assert said == [
        "a.c, b.c, b.c and 1 more changed: this run is abandoned, the next one begins",
        "waiting for a change; Ctrl-C ends",
    ]


def test_ctrl_c_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))"
        f"; pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(60)"
    )

    def news() -> Iterator[tuple[Path, ...]]:
        waits_for(tmp_path / "up")
        raise KeyboardInterrupt
        yield ()

    assert follow(news(), [sys.executable, "-c", code], [].append) == EXIT_INTERRUPTED


def test_the_command_itself(folder: Path, tmp_path: Path) -> None:
    """A tree that is no whole kernel: each run ends at once, and a change makes another."""
    tree = tmp_path / "linux"
    make_kernel_tree(tree)
    argv = [sys.executable, "-m", "orchestrator.cli", "run", "--watch", "--plain",
            "--source", str(tree), "--workload", "compactor/heap", "--arch", "x86_64"]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(HOME)}
    child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, cwd=folder, start_new_session=True)  # fmt: skip
    said, waited = "", 0
    assert child.stdout is not None
    try:
        for line in child.stdout:
            said += line
            if "waiting for a change" in line:
                waited += 1
                if waited == 2:
                    child.send_signal(signal.SIGINT)
                else:
                    (tree / "Makefile").write_text((tree / "Makefile").read_text() + "# new\n")
        child.wait(30)
    finally:
        child.kill()
        child.stdout.close()
        child.wait()
    assert waited == 2, said
    assert "lab: Makefile changed\n" in said
    assert "Traceback" not in said
