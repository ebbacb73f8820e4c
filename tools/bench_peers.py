# SPDX-License-Identifier: GPL-2.0-only
"""What tools/bench.py measures against other tools, in turns with the lab, on the same sources.

virtme-ng and tuxmake come from PyPI, each as it is installed and with the config that it makes by
itself; neither uses ccache, which the lab does, so a build of the lab's has a cache of its own that
is empty.  Guests run without KVM.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench_measure import (
    BOOT_DEADLINE,
    BUILD_DEADLINE,
    EDITED,
    LAB,
    RUN_DEADLINE,
    Bench,
    BenchError,
    Sample,
    Sampler,
    Spent,
    built,
    context,
    copied,
    edit,
    environment,
    kill,
    lab,
    lab_cold,
    planned,
    remove,
    results,
    script,
    timed,
)

from orchestrator.kernel.source import worktree
from orchestrator.kernel.source.slots import own_slot
from orchestrator.model.arch import ARCHES
from orchestrator.runner import stages
from orchestrator.runner.context import Kernel
from orchestrator.workload import programs

PEERS = ("virtme-ng==1.42", "tuxmake==1.45.0")
#: As what the lab gives a guest of the shape ``small``, and without KVM.
GUEST = ("--disable-kvm", "--cpus", "2", "--memory", "1G", "--user", "root")
#: What virtme-ng needs beside a QEMU, by Debian's package: without udev its guest does not find the
#: channel for what a program says.
NEEDED = {
    "kmod": ("/sbin/depmod", "/usr/sbin/depmod"),
    "udev": ("/lib/systemd/systemd-udevd", "/usr/lib/systemd/systemd-udevd"),
}
_USABLE = b"guest is usable"
_INSTALL = 600.0
#: Where the programs are in the guest of another tool.
_THERE = "/tmp/lab"
#: How often a run is looked at (s).
_LOOK = 0.1


def installed(bench: Bench) -> Path:
    """The folder with the programs of the other tools, installed where they are not yet.

    :raises BenchError: when they cannot be, or lack what they need of this machine.
    """
    lacking = [name for name, files in NEEDED.items() if not any(map(os.path.exists, files))]
    if lacking:
        raise BenchError(f"virtme-ng needs the Debian packages {', '.join(lacking)}")
    folder = bench.work / "peers"
    if not (folder / "bin" / "tuxmake").exists():
        bench.tell(f"installing {', '.join(PEERS)}")
        timed([sys.executable, "-m", "venv", str(folder)], bench, _INSTALL)
        timed([str(folder / "bin" / "pip"), "install", "-q", *PEERS], bench, _INSTALL)
    return folder / "bin"


def vng_build(bench: Bench, tree: Path, *words: str) -> Spent:
    """``vng --build`` in a source tree."""
    argv = ["vng", "--build", *words, "--jobs", str(bench.jobs)]
    return timed(argv, bench, BUILD_DEADLINE, tree, PATH=_path(bench))


def vng_run(command: str) -> list[str]:
    """A command in the guest of the kernel of the tree that one stands in.

    virtme-ng refuses to start without a terminal on its standard streams: script(1) gives one.
    """
    words = ["vng", "--run", ".", *GUEST, "--exec", command]
    return ["script", "-qec", shlex.join(words), "/dev/null"]


def _path(bench: Bench) -> str:
    """PATH with the other tools in it, by which virtme-ng finds its own parts too."""
    return f"{installed(bench)}:{os.environ['PATH']}"


def _sources(bench: Bench) -> Kernel:
    return stages.prepare_kernel(planned(bench, "x86_64").build.kernel, context(bench))


def vng_tree(bench: Bench) -> Path:
    """A tree that virtme-ng has built; one that an earlier figure left is used again."""
    tree = bench.work / "vng-tree"
    if not (tree / ARCHES["x86_64"].image).exists():
        copied(bench, _sources(bench), tree.name)
        bench.tell("virtme-ng's build to start from")
        vng_build(bench, tree, "--force")
    return tree


@contextlib.contextmanager
def peer_build(bench: Bench) -> Iterator[Sampler]:
    """A kernel from nothing but sources, by each of the three: CPU seconds."""
    kernel = _sources(bench)
    installed(bench)
    scratch = ("tuxmake-tree", "tuxmake-out", "tuxmake-objects")

    def sample() -> Sample:
        with worktree.checkout(kernel.tree, kernel.slot, bench.places.cache):
            spent, _, _ = lab_cold(bench)
        theirs = vng_build(bench, copied(bench, kernel, "vng-tree"), "--force")
        tree, out, objects = (bench.work / name for name in scratch)
        for name in (out, objects):
            remove(name)
        argv = ["tuxmake", "--runtime", "null", "--target-arch", "x86_64", "--kconfig", "defconfig",
                "--jobs", str(bench.jobs), "--output-dir", str(out), "--build-dir", str(objects),
                "kernel"]  # fmt: skip
        copied(bench, kernel, tree.name)
        third = timed(argv, bench, BUILD_DEADLINE, tree, PATH=_path(bench))
        for name in (tree, out, objects):
            remove(name)
        return {"lab": spent.cpu, "vng": theirs.cpu, "tuxmake": third.cpu,
                "lab_wall": spent.wall, "vng_wall": theirs.wall}  # fmt: skip

    yield sample


@contextlib.contextmanager
def peer_boot(bench: Bench) -> Iterator[Sampler]:
    """From the command to the first program in the guest; and a further guest of the lab's."""
    built(bench, planned(bench, "x86_64"))
    tree = vng_tree(bench)
    # One alone would have the booted guest, and no copy of it.
    words = ("run -p full --arch x86_64 --config default --shape small --workload uffd-move/probe "
             "--workload uffd-move/errno")  # fmt: skip

    def sample() -> Sample:
        theirs = usable(bench, tree)
        _, out = lab(bench, words)
        (ran,) = results(out)["cells"]
        if ran["accelerator"] != "tcg":
            raise BenchError(f"the guest ran under {ran['accelerator']}: this figure is TCG's")
        if not ran["restore_seconds"]:
            raise BenchError("no workload ran in a copy of the guest")
        return {"lab": ran["boot_seconds"], "restore": ran["restore_seconds"], "vng": theirs}

    usable(bench, tree)
    yield sample


def usable(bench: Bench, tree: Path) -> float:
    """Seconds from ``vng --run`` to the first line that a program in its guest prints."""
    argv = vng_run(f"echo {_USABLE.decode()}")
    began = time.monotonic()
    child = subprocess.Popen(
        argv, cwd=tree, env=environment(PATH=_path(bench)), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        said = b""
        while _USABLE not in said:
            said += child.stdout.read() or b""
            if time.monotonic() - began > BOOT_DEADLINE or child.poll() is not None:
                last = said.decode(errors="replace")[-600:]
                raise BenchError(f"{shlex.join(argv)}: no guest: {last}")
            time.sleep(0.005)
        return time.monotonic() - began
    finally:
        kill(child.pid)
        child.wait()
        if child.stdout:
            child.stdout.close()


@contextlib.contextmanager
def peer_edit(bench: Bench) -> Iterator[Sampler]:
    """One mm file edited, then built, booted and the programs of ``smoke`` run, by both."""
    cell = planned(bench, "x86_64")
    library = programs.library_folder(cell.workloads)
    files = programs.compile_all(cell.workloads, library, ARCHES["x86_64"], bench.places.cache)
    packed = bench.work / "programs.tar"
    packed.write_bytes(programs.pack(files, bench.places.cache).read_bytes())
    tree = vng_tree(bench)
    ours = copied(bench, _sources(bench), "edited-tree")
    file = bench.work / "programs.sh"
    # /tmp of virtme-ng's guest is its own.
    unpack = f"mkdir -p {_THERE} && cd {_THERE} && tar xf {shlex.quote(str(packed))}"
    file.write_text(f"{unpack}\n{script(cell, _THERE)}\n")
    source = f"path:{ours}"
    words = f"run -p smoke --arch x86_64 --source {shlex.quote(source)}"
    bench.tell("the lab's run to start from")
    lab(bench, words)

    def sample() -> Sample:
        change = edit()
        for one in (tree, ours):
            with (one / EDITED).open("a") as edited:
                edited.write(change)
        spent, _ = lab(bench, words)
        compiled = vng_build(bench, tree)
        ran = timed(vng_run(f"sh {shlex.quote(str(file))}"), bench, RUN_DEADLINE, tree,
                    PATH=_path(bench))  # fmt: skip
        return {"lab": spent.wall, "vng": compiled.wall + ran.wall,
                "vng_build": compiled.wall, "vng_run": ran.wall}  # fmt: skip

    yield sample
    bench.places.cache.source_index(own_slot(source)).unlink(missing_ok=True)
    remove(ours)


@contextlib.contextmanager
def matrix(bench: Bench) -> Iterator[Sampler]:
    """Eight cells of a profile whose kernels are built: the CPUs, and what the lab itself takes."""
    words = "run -p quick --config default"
    bench.tell("the kernels of the matrix")
    lab(bench, "build -p quick --config default")

    def sample() -> Sample:
        bench.project()
        before = idle()
        ran = watched(bench, [*shlex.split(words), *into(bench.work / "run")])
        all_of_it = ran["wall"] * (os.cpu_count() or 1)
        share = (idle() - before) / all_of_it
        spent = all_of_it * (1 - share)
        return {"idle": share, "memory": ran["memory"], "share": ran["own"] / spent,
                "wall": ran["wall"]}  # fmt: skip

    yield sample


def into(out: Path) -> list[str]:
    """Words for a run that is stored in a folder; what was there is removed."""
    remove(out)
    return ["--plain", "--out", str(out)]


def watched(bench: Bench, words: list[str]) -> Sample:
    """``lab WORDS`` in the bench's project: its wall-clock seconds, and of the lab's own process
    the most memory (MB) and the CPU seconds, guests and compilers left out.

    Not wait4(2)'s memory: that counts what this process had when it started the lab.

    :raises BenchError: when the host fails it, or it does not end.
    """
    began = time.monotonic()
    memory = own = 0.0
    with bench.log.open("ab") as log:
        child = subprocess.Popen(
            [str(LAB), *words],
            cwd=bench.work / "project",
            env=environment(LAB_CACHE=str(bench.places.cache.folder)),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            while child.poll() is None:
                memory, own = itself(child.pid) or (memory, own)
                if time.monotonic() - began > RUN_DEADLINE:
                    told = f"no end of lab {shlex.join(words)} after {RUN_DEADLINE:.0f} s"
                    raise BenchError(told)
                time.sleep(_LOOK)
        finally:
            kill(child.pid)
            child.wait()
    if child.returncode not in (0, 1):
        raise BenchError(f"lab {shlex.join(words)} ended with {child.returncode}")
    return {"wall": time.monotonic() - began, "memory": memory, "own": own}


def idle() -> float:
    """Seconds that all CPUs together were idle since boot, waiting for disks too (proc(5))."""
    fields = Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def itself(pid: int) -> tuple[float, float] | None:
    """The most memory (MB) that a process has had, and its CPU seconds, children left out.

    None when it is gone.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    peak = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    if not peak:  # ended, and not waited for yet
        return None
    ticks = int(fields[11]) + int(fields[12])
    return int(peak[0].split()[1]) * 1024 / 1e6, ticks / os.sysconf("SC_CLK_TCK")
