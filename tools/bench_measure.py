# SPDX-License-Identifier: GPL-2.0-only
"""What tools/bench.py measures: each figure of the lab beside the bare commands.

A figure prepares what must not be measured (sources, a first build), then takes samples: each a
few named numbers, in seconds.  The lab is always the installed ``lab``, started as a user would;
the bare side is ``make`` and ``qemu-system-*`` with the very same configuration and command line.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.commands.workspace import find_places, load
from orchestrator.guest import boot as guest
from orchestrator.guest import root, seed, ssh
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source import fetch, store, worktree
from orchestrator.kernel.source.slots import own_slot
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import BuildResult
from orchestrator.model.spec import Cell, KernelSpec
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.runner import stages
from orchestrator.runner.context import Context, Kernel, Machine, Places, RunValues
from orchestrator.workload import programs, watch

HOME = Path(__file__).resolve().parent.parent
PYTHON = HOME / ".venv" / "bin" / "python"
LAB = HOME / ".venv" / "bin" / "lab"
EDITED = "mm/userfaultfd.c"

BUILD_DEADLINE = 7200.0
RUN_DEADLINE = 10800.0
BOOT_DEADLINE = 120.0
SHORT_DEADLINE = 30.0

Sample = dict[str, float]
Sampler = Callable[[], Sample]


class BenchError(Exception):
    """A measured command failed; the message carries the command and the end of its output."""


@dataclass(frozen=True)
class Spent:
    """Wall-clock and CPU seconds (user plus system, all children included) of one command."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Bench:
    """Where things are: ``work`` is the bench's own folder, ``places`` the lab under test."""

    work: Path
    jobs: int
    tell: Callable[[str], None]
    places: Places = field(default_factory=lambda: find_places(HOME / "lab.yaml"))

    @property
    def log(self) -> Path:
        """Where the output of all measured commands goes."""
        return self.work / "bench.log"

    def project(self) -> Path:
        """A folder with a copy of lab.yaml: runs in it stay out of the user's reports and history.

        The copy is made anew each time, the folders beside it are links.
        """
        folder = self.work / "project"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HOME / "lab.yaml", folder / "lab.yaml")
        for name in ("guest-tests", "kernel-configs", "patches"):
            if not (folder / name).exists():
                (folder / name).symlink_to(HOME / name)
        return folder

    @contextlib.contextmanager
    def cache(
        self, name: str, shared: Callable[[Cache], tuple[Path, ...]], keep: bool = False
    ) -> Iterator[Cache]:
        """A cache folder of the bench's own in which some parts are those of the user's cache.

        Whole folders are linked and never single files: git and the lab replace files by renaming,
        which would leave a linked one behind.  The user's work trees must not be hard-linked
        either: a link changes an inode's ctime, and git would write each file anew.

        ``shared`` names those parts of a cache.  With ``keep`` what an interrupted bench left in it
        is used again.
        """
        own = Cache(self.work / name)
        if not keep:
            remove(own.folder)
        own.folder.mkdir(parents=True, exist_ok=True)
        for theirs, link in zip(shared(self.places.cache), shared(own), strict=True):
            theirs.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(theirs)
        yield own
        remove(own.folder)


# ---------------------------------------------------------------- commands


def environment(**extra: str) -> dict[str, str]:
    """The environment of both sides: the lab's own for its children; make's flags are not in it."""
    env = process.environment(extra)
    del env["LAB_TOKEN"]
    return env


def timed(argv: list[str], bench: Bench, deadline: float, cwd: Path = HOME, **env: str) -> Spent:
    """Run a command to its end and tell what it took.

    CPU seconds are those of the command and of every descendant that was waited for (wait4(2)).

    :raises BenchError: when it fails or its deadline (seconds) passes.
    """
    with bench.log.open("ab") as log:
        log.write(f"\n$ {shlex.join(argv)}\n".encode())
        log.flush()
        start = log.tell()
        began = time.monotonic()
        child = subprocess.Popen(
            argv, cwd=cwd, env=environment(**env), stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        timer = threading.Timer(deadline, kill, (child.pid,))
        timer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            kill(child.pid)
            raise
        finally:
            timer.cancel()
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        with bench.log.open("rb") as log:
            log.seek(start)
            last = log.read().decode(errors="replace").splitlines()[-8:]
        why = f"ended with status {child.returncode} after {wall:.0f} s"
        raise BenchError("\n  ".join([f"{shlex.join(argv)} {why}", *last]))
    return Spent(wall, usage.ru_utime + usage.ru_stime)


def kill(group: int) -> None:
    """End a process group that this program started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def remove(folder: Path) -> None:
    """Delete a folder of the bench's own; links in it are cut, not followed."""
    shutil.rmtree(folder, ignore_errors=True)


def results(folder: Path) -> dict[str, Any]:
    """results.json of a run."""
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def lab(bench: Bench, words: str, cache: Cache | None = None) -> tuple[Spent, Path]:
    """``lab WORDS --out FOLDER --plain``; what it took, and the run's folder."""
    out = bench.work / "run"
    remove(out)
    argv = [str(LAB), *shlex.split(words), "--plain", "--out", str(out)]
    where = str((cache or bench.places.cache).folder)
    return timed(argv, bench, RUN_DEADLINE, bench.project(), LAB_CACHE=where), out


def make(bench: Bench, tree: Path, objects: Path, arch: str = "x86_64") -> Spent:
    """The bare make of a kernel image, out of tree, in a folder that has a .config."""
    row = ARCHES[arch]
    argv = ["make", "-C", str(tree), f"O={objects}", f"ARCH={row.kernel_arch}"]
    argv += [f"CROSS_COMPILE={row.cross}"] if row.cross else []
    argv += [f"-j{bench.jobs}", row.image_target]
    return timed(argv, bench, BUILD_DEADLINE)


# ---------------------------------------------------------------- what the lab is asked for


def planned(bench: Bench, arch: str) -> Cell:
    """The one cell of ``lab run -p smoke --arch ARCH``."""
    config = load(bench.places)
    (cell,) = make_plan(config, Selection(profile="smoke", arches=(arch,)), tuple(ARCHES)).cells
    return cell


def context(bench: Bench) -> Context:
    """What the lab's stages are called with, for what is prepared and not measured."""
    places = bench.places
    machine = Machine(places.cache, bench.work / "stages", places.fragments)
    return Context(RunValues("bench", bench.jobs), machine)


def built(bench: Bench, cell: Cell) -> tuple[BuildResult, Kernel]:
    """A cell's kernel out of the user's cache, built where it is not there."""
    how = context(bench)
    kernel = stages.prepare_kernel(cell.build.kernel, how)
    bench.tell(f"looking for the build {cell.build.id}")
    result = stages.build_one(cell.build, kernel, how)
    if result.image is None:
        raise BenchError(f"{cell.build.id} does not build: {result.reason}")
    return result, kernel


# ---------------------------------------------------------------- bare guest


def bare_guest(bench: Bench, cell: Cell, image: Path, run_workloads: bool) -> Sample:
    """QEMU with the lab's command line, without the lab.

    ``boot`` is the time until the console says "lab: guest ready"; ``workloads`` that of the
    cell's programs one after another, without a sampler, seen from the host.
    """
    arch = ARCHES[cell.build.arch]
    library = programs.library_folder(cell.workloads)
    files = programs.compile_all(cell.workloads, library, arch, bench.places.cache)
    request = guest.GuestRequest(
        arch, cell.shape, "tcg", image, root.ensure_root(arch, bench.places.cache),
        bench.work / "guest", bench.work / "guest" / "console.log", BOOT_DEADLINE,
    )  # fmt: skip
    remove(request.folder)
    request.folder.mkdir(parents=True)
    keys = seed.write_seed(request.folder, cell.shape)
    if cell.shape.swap_disk_mib:
        with (request.folder / "swap.raw").open("wb") as file:
            file.truncate(cell.shape.swap_disk_mib << 20)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    argv = [word.replace("tcp:127.0.0.1:0-", f"tcp:127.0.0.1:{port}-")
            for word in guest.qemu_command(request)]  # fmt: skip
    began = time.monotonic()
    child = subprocess.Popen(
        argv, cwd=request.folder, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        while not (request.console.exists() and guest.READY in request.console.read_bytes()):
            if child.poll() is not None or time.monotonic() - began > BOOT_DEADLINE:
                raise BenchError(f"{shlex.join(argv)}: no guest within {BOOT_DEADLINE:.0f} s")
            time.sleep(0.005)
        spent = {"boot": time.monotonic() - began}
        if run_workloads:
            with ssh.connected(port, keys, BOOT_DEADLINE) as session:
                packed = programs.pack(files, bench.places.cache).read_bytes()
                session.unpack(packed, watch.GUEST_FOLDER, BOOT_DEADLINE)
                began = time.monotonic()
                session.run(script(cell, watch.GUEST_FOLDER), RUN_DEADLINE)
                spent["workloads"] = time.monotonic() - began
        return spent
    finally:
        kill(child.pid)
        child.wait()
        if child.stderr:
            child.stderr.close()
        remove(request.folder)


def script(cell: Cell, top: str) -> str:
    """The cell's programs in the guest, one after another and nothing else.

    :param top: the folder there into which they were unpacked.
    """
    lines = []
    for spec in cell.workloads:
        folder = f"{top}/{spec.family}"
        program = f"{folder}/{Path(spec.program).stem}"
        words = [program] if spec.program.endswith(".c") else ["python3", f"{program}.py"]
        lines.append(f"(cd {folder} && {shlex.join([*words, *spec.args])}) >/dev/null 2>&1")
    return "; ".join(lines)


# ---------------------------------------------------------------- the figures


@contextlib.contextmanager
def command_line(bench: Bench) -> Iterator[Sampler]:
    """``lab --help``, ``lab plan``, and an interpreter that does nothing."""

    def sample() -> Sample:
        return {
            "python": timed([str(PYTHON), "-c", "pass"], bench, SHORT_DEADLINE).wall,
            "help": timed([str(LAB), "--help"], bench, SHORT_DEADLINE).wall,
            "plan": timed([str(LAB), "plan"], bench, SHORT_DEADLINE).wall,
        }

    yield sample


def boot(arch: str) -> Callable[[Bench], AbstractContextManager[Sampler]]:
    """A figure's preparation: boots of one architecture."""

    @contextlib.contextmanager
    def prepare(bench: Bench) -> Iterator[Sampler]:
        cell = planned(bench, arch)
        image = built(bench, cell)[0].image
        assert image is not None
        bare_guest(bench, cell, image, False)  # root and page cache are warm for both sides

        def sample() -> Sample:
            bare = bare_guest(bench, cell, image, False)["boot"]
            _, out = lab(bench, f"run -p smoke --arch {arch} --workload uffd-move/probe")
            (ran,) = results(out)["cells"]
            if ran["accelerator"] != "tcg":
                raise BenchError(f"the guest ran under {ran['accelerator']}: this figure is TCG's")
            return {"lab": ran["boot_seconds"], "bare": bare}

        yield sample

    return prepare


@contextlib.contextmanager
def second_kernel(bench: Bench) -> Iterator[Sampler]:
    """A build of a kernel that differs from one already built in one mm file."""
    series = series_build(bench)

    def sample() -> Sample:
        whole, record = series()
        return {"build": record["seconds"], "cpu": record["cpu_seconds"], "whole": whole}

    yield sample


def series_build(bench: Bench) -> Callable[[], tuple[float, dict[str, Any]]]:
    """What builds a series of one changed mm file that no build has seen.

    It gives the command's wall-clock seconds and the build's record.
    """
    cell = planned(bench, "x86_64")
    _, kernel = built(bench, cell)
    before = (store.read_file(kernel.tree.tree, EDITED, bench.places.cache) or b"").decode()
    patch = bench.work / "one-file.patch"

    def build() -> tuple[float, dict[str, Any]]:
        lines = difflib.unified_diff(
            before.splitlines(True), (before + edit()).splitlines(True),
            f"a/{EDITED}", f"b/{EDITED}",
        )  # fmt: skip
        head = "From: Bench <bench@example.org>\nSubject: [PATCH] mm: one more constant\n\n---\n"
        patch.write_text(head + "".join(lines))
        words = f"build -p smoke --arch x86_64 --series {shlex.quote(str(patch))}"
        spent, out = lab(bench, f"{words} --kernel {cell.build.kernel.name}")
        (record,) = results(out)["builds"]
        return spent.wall, record

    return build


@contextlib.contextmanager
def first_build(bench: Bench) -> Iterator[Sampler]:
    """The first build of a tree of one's own that differs in one mm file, and that of a series."""
    series = series_build(bench)
    cache = bench.places.cache
    kernel = stages.prepare_kernel(planned(bench, "x86_64").build.kernel, context(bench))
    tree = copied(bench, kernel, "first-tree")

    def sample() -> Sample:
        nonlocal tree
        # By its name too it is a source that the lab has never seen.
        tree = tree.rename(bench.work / f"first-tree-{time.time_ns()}")
        with (tree / EDITED).open("a") as file:
            file.write(edit())
        source = f"path:{tree}"
        spent, out = lab(bench, f"build -p smoke --arch x86_64 --source {shlex.quote(source)}")
        cache.source_index(own_slot(source)).unlink(missing_ok=True)
        (record,) = results(out)["builds"]
        whole, by_series = series()
        return {
            "lab": record["seconds"], "bare": by_series["seconds"], "cpu": record["cpu_seconds"],
            "series_cpu": by_series["cpu_seconds"], "whole": spent.wall, "series_whole": whole,
        }  # fmt: skip

    yield sample
    remove(tree)


def edit() -> str:
    """A line of C that no build has seen yet and that changes the object."""
    number = time.time_ns()
    return f"const unsigned long lab_bench_{number} = {number}UL;\n"


@contextlib.contextmanager
def edit_loop(bench: Bench) -> Iterator[Sampler]:
    """``lab run`` on a tree in which one mm file was just edited, and the same by hand."""
    cell = planned(bench, "x86_64")
    result, kernel = built(bench, cell)
    tree, objects = bench.work / "tree", bench.work / "bare-objects"
    if not ((objects / "vmlinux").exists() and (tree / EDITED).exists()):
        copied(bench, kernel, tree.name)
        objects.mkdir(parents=True, exist_ok=True)
        assert result.kernel_config is not None
        shutil.copyfile(result.kernel_config, objects / ".config")
    bench.tell("the bare build to start from")
    make(bench, tree, objects)
    words = f"run -p smoke --arch x86_64 --source path:{tree}"

    def shared(cache: Cache) -> tuple[Path, ...]:
        sources = (cache.store, cache.records, cache.locks)
        return (*sources, cache.roots, cache.ccache, cache.workloads)

    with bench.cache("edit-cache", shared, keep=True) as cache:
        bench.tell("the lab's run to start from")
        lab(bench, words, cache)
        image = objects / ARCHES["x86_64"].image

        def sample() -> Sample:
            with (tree / EDITED).open("a") as file:
                file.write(edit())
            spent, _ = lab(bench, words, cache)
            bare = {"make": make(bench, tree, objects).wall}
            bare |= bare_guest(bench, cell, image, True)
            return {"lab": spent.wall, "bare": sum(bare.values()), **bare}

        yield sample
        slot = fetch.fetch_base(
            KernelSpec("bench", f"path:{tree}"), cache, bench.tell, BUILD_DEADLINE
        ).slot
        cache.source_index(slot).unlink(missing_ok=True)
    remove(tree)
    remove(objects)


def copied(bench: Bench, kernel: Kernel, name: str) -> Path:
    """A plain copy of a kernel's sources in the bench's folder."""
    tree = bench.work / name
    remove(tree)
    with worktree.checkout(kernel.tree, kernel.slot, bench.places.cache) as checked_out:
        bench.tell(f"copying a source tree to {name}")
        timed(["cp", "-a", str(checked_out), str(tree)], bench, BUILD_DEADLINE)
    return tree


def lab_cold(bench: Bench) -> tuple[Spent, Path, dict[str, Any]]:
    """The lab's build from nothing but sources: what it took, the run's folder, its record.

    The work tree is shared with other labs: who measures holds it.
    """

    def shared(cache: Cache) -> tuple[Path, ...]:
        return cache.store, cache.records, cache.locks, cache.trees

    with bench.cache("cold-cache", shared) as cache:
        spent, out = lab(bench, "build -p smoke --arch x86_64 --config default", cache)
    (record,) = results(out)["builds"]
    if record["cached"]:
        raise BenchError("the build was not cold: it came out of a cache")
    return spent, out, record


@contextlib.contextmanager
def cold_build(bench: Bench) -> Iterator[Sampler]:
    """A kernel from nothing but sources, by the lab and by make: CPU seconds of both."""
    kernel = stages.prepare_kernel(planned(bench, "x86_64").build.kernel, context(bench))

    def sample() -> Sample:
        # Held during both builds: another lab must not switch the work tree meanwhile.
        with worktree.checkout(kernel.tree, kernel.slot, bench.places.cache) as tree:
            spent, out, record = lab_cold(bench)
            objects = bench.work / "cold-objects"
            remove(objects)
            objects.mkdir()
            shutil.copyfile(out / record["kernel_config"], objects / ".config")
            bare = make(bench, tree, objects)
            remove(objects)
        return {"lab": spent.cpu, "bare": bare.cpu, "lab_wall": spent.wall, "bare_wall": bare.wall}

    yield sample


@contextlib.contextmanager
def first_run(bench: Bench) -> Iterator[Sampler]:
    """``lab run -p smoke`` with an empty cache, download included, and once more.

    Its kernels are those of another cache then, built from another work tree: of one cell two
    builds are to be the same, bit for bit.
    """

    def sample() -> Sample:
        with bench.cache("first-cache", lambda _: ()) as cache:
            first, _ = lab(bench, "run -p smoke", cache)
            again, out = lab(bench, "run -p smoke", cache)
            mine = images(results(out))
        _, out = lab(bench, "build -p smoke")
        usual = images(results(out))
        if mine.keys() != usual.keys():
            raise BenchError(
                f"other kernels in the other cache: {sorted(mine.keys() ^ usual.keys())}"
            )
        return {
            "first": first.wall, "cpu": first.cpu, "again": again.wall,
            "kernels": len(mine), "other": sum(mine[name] != usual[name] for name in mine),
        }  # fmt: skip

    yield sample


def images(run: dict[str, Any]) -> dict[str, str]:
    """The digest of each kernel's image, by the kernel's place."""
    return {f"{b['kernel']}/{b['config']}/{b['arch']}": b["image_sha256"] for b in run["builds"]}


def interpreter_is_right() -> bool:
    """Whether this program runs in the lab's own environment."""
    return Path(sys.prefix).resolve() == (HOME / ".venv").resolve()
