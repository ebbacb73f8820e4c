# SPDX-License-Identifier: GPL-2.0-only
"""Stages of a small pretended lab that workers in other processes can import, and such processes.

Sources are real git trees, builds and logs real files of real caches; nothing is compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.ending import refuse_ended
from orchestrator.judge.outcome import cell_verdict
from orchestrator.kernel.source.store import git
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.results.runs import cell_folder
from orchestrator.runner.context import Context, Event, Kernel, Machine, RunValues
from orchestrator.runner.stages import Ran, Stages

HERE = Path(__file__).parent


def tree_of(files: dict[str, str], cache: Cache) -> str:
    """A git tree with these files at its top."""
    lines = b""
    for name, text in sorted(files.items()):
        blob = git(cache, "hash-object", "-w", "--stdin", input=text.encode()).text.strip()
        lines += f"100644 blob {blob}\t{name}\n".encode()
    return git(cache, "mktree", input=lines).text.strip()


def prepare(spec: KernelSpec, context: Context) -> Kernel:
    if spec.source == "path:none":
        raise HostError("there is no such source")
    base = tree_of({"Makefile": "VERSION = 6"}, context.cache)
    tree = tree_of({"Makefile": "VERSION = 6", "mm.c": spec.name}, context.cache)
    return Kernel(KernelTree(spec, "6.12", base, tree), "slot", "path:x")


def name(build: Build, kernel: Kernel, context: Context) -> str:
    words = (build.config.name, build.arch, kernel.tree.tree)
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:32]


def find(build: Build, kernel: Kernel, context: Context) -> BuildResult | None:
    folder = context.cache.build(name(build, kernel, context))
    if not (folder / "build.json").is_file():
        return None
    return _result(build, folder, cached=True)


def _result(build: Build, folder: Path, *, cached: bool) -> BuildResult:
    return BuildResult(
        build, Verdict.PASS, "", 0.0 if cached else 1.5, cached, image=folder / "image",
        image_sha256=hashlib.sha256((folder / "image").read_bytes()).hexdigest(),
        log=folder / "build.log", kernel_config=folder / "config",
    )  # fmt: skip


def make(build: Build, kernel: Kernel, context: Context) -> BuildResult:
    """Reads its source, and notes in the file that FAKE_LOG names that it was made."""
    note(f"build {build.id}")
    text = git(context.cache, "cat-file", "blob", f"{kernel.tree.tree}:mm.c").text
    context.listener(Event("build", build.id, "compile", text, 0.5))
    wait_for(f"build {build.id}")
    if build.config.name == "broken":
        return BuildResult(build, Verdict.FAIL, "mm/a.c:1: error: no", 1.0, False)
    if build.config.name == "nodisk":
        raise HostError("the disk is full", "free some space")
    folder = context.cache.build(name(build, kernel, context))
    folder.mkdir(parents=True)
    for one in ("image", "build.log", "config"):
        (folder / one).write_text(f"{one} of {build.id} from {text}")
    (folder / "build.json").write_text("{}")
    return _result(build, folder, cached=False)


def run(cell: Cell, built: BuildResult, kernel: Kernel, context: Context) -> Ran:
    """A console that grows, a case for each workload, and one of the boot."""
    note(f"cell {cell.id}")
    assert built.image is not None
    folder = context.folder / cell_folder(cell.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "console.log").write_text(f"booted {built.image.read_text()}\n")
    cases = [CaseResult(f"{cell.id}:boot:boot", "boot", "boot", Verdict.PASS)]
    wait_for(f"cell {cell.id}")
    for spec in cell.workloads:
        bad = "bad" in spec.program and cell.build.kernel.name != "base"
        found = Verdict.FAIL if bad else Verdict.PASS
        text = (spec.folder / spec.program).read_text()
        cases.append(CaseResult(f"{cell.id}:{spec.name}:c", spec.name, "c", found, text))
    for case in cases:
        context.listener(Event("case", case.id, "done", case.reason, None, case.verdict, case=case))
    with (folder / "console.log").open("a") as console:
        console.write("and done\n")
    build = cell.build
    record = CellRecord(
        cell.id, build.kernel.name, build.config.name, build.arch, cell.shape.name, "tcg",
        cell_verdict(cases), 1.0, tuple(cases), console_log=f"{cell_folder(cell.id)}/console.log",
    )  # fmt: skip
    return Ran(record, cell)


@contextlib.contextmanager
def again(cell: Cell, built: BuildResult, context: Context) -> Iterator:
    def once(spec: WorkloadSpec, at: Context) -> tuple[CaseResult, ...]:
        one = replace(cell, workloads=(spec,))
        kernel = Kernel(KernelTree(cell.build.kernel, "6.12", "", ""), "slot", "path:x")
        return run(one, built, kernel, at).record.cases

    yield once


def no_compile(cells: object, cache: Cache) -> None:
    """The workloads here are no programs."""


STAGES = Stages(
    compile=no_compile, prepare=prepare, find=find, name=name, build=make, run=run, again=again
)


# ---------------------------------------------------------------- what workers do, from outside


def note(text: str) -> None:
    """Tell what is done, by a line in the file that FAKE_LOG names."""
    with Path(os.environ["FAKE_LOG"]).open("a") as file:
        file.write(f"{os.environ.get('FAKE_NAME', 'here')} {text}\n")


def wait_for(what: str) -> None:
    """Stand still while a file in the folder FAKE_HOLD has this text; with a child, as QEMU is."""
    folder = Path(os.environ.get("FAKE_HOLD", "/nonexistent"))
    if not any(what == path.read_text() for path in folder.glob("*.hold")):
        return
    with process.start(["sleep", "300"]) as child:
        note(f"child {child.pid}")
        while any(what == path.read_text() for path in folder.glob("*.hold")):
            process.sleep(0.05)
            refuse_ended()


# ---------------------------------------------------------------- a plan


def plan_of(folder: Path, configs: str = "ab", kernels: tuple[str, ...] = ("k",)) -> Plan:
    family = folder / "guest-tests" / "fam"
    family.mkdir(parents=True, exist_ok=True)
    (family / "good.txt").write_text("fine")
    (family / "bad.txt").write_text("BUG: no")
    workloads = tuple(
        WorkloadSpec(f"fam/{one}", "fam", family, f"{one}.txt", deterministic=False)
        for one in ("good", "bad")
    )
    builds = tuple(
        Build(f"{k}/{c}/x86_64", KernelSpec(k, "path:x"), ConfigSpec(c), "x86_64")
        for k in kernels
        for c in (configs if isinstance(configs, tuple) else tuple(configs))
    )
    shape = ShapeSpec("small", cpus=1, memory_mib=256)
    cells = tuple(Cell(f"{b.id}/small", b, shape, workloads) for b in builds)
    return Plan("p", builds, cells)


def context_of(folder: Path, listener: object) -> Context:
    fragments = folder / "fragments"
    fragments.mkdir(parents=True, exist_ok=True)
    (folder / "run").mkdir(exist_ok=True)
    machine = Machine(Cache(folder / "cache"), folder / "run", fragments)
    return Context(RunValues("r", 2), machine, listener)  # type: ignore[arg-type]


# ---------------------------------------------------------------- real processes


@dataclass(frozen=True)
class Wire:
    """A link from here into a network namespace that a worker may be in; it can be cut."""

    name: str
    here: str
    there: str

    @classmethod
    @contextlib.contextmanager
    def laid(cls) -> Iterator[Wire]:
        """A link with two addresses of a network for tests (RFC 2544); gone afterwards."""
        number = os.getpid() % 64 * 4
        wire = cls(f"lab{os.getpid() % 10**7}", f"198.19.255.{number + 1}",
                   f"198.19.255.{number + 2}")  # fmt: skip
        _ip("link", "add", wire.name, "type", "veth", "peer", "name", f"{wire.name}p")
        try:
            _ip("addr", "add", f"{wire.here}/30", "dev", wire.name)
            _ip("link", "set", wire.name, "up")
            yield wire
        finally:
            _ip("link", "del", wire.name)

    def lead_to(self, pid: int) -> None:
        """Lay the other end into the namespace of a process that waits for it, as its way out."""
        until = time.monotonic() + 20
        here = Path("/proc/self/ns/net").stat().st_ino
        while Path(f"/proc/{pid}/ns/net").stat().st_ino == here:
            assert time.monotonic() < until
            time.sleep(0.02)
        _ip("link", "set", f"{self.name}p", "netns", str(pid))
        into = ("nsenter", "-t", str(pid), "-n")
        _ip("link", "set", "lo", "up", before=into)
        _ip("addr", "add", f"{self.there}/30", "dev", f"{self.name}p", before=into)
        _ip("link", "set", f"{self.name}p", "up", before=into)
        _ip("route", "add", "default", "via", self.here, before=into)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Nothing gets through for the length of the with block; nobody is told of that."""
        _ip("link", "set", self.name, "down")
        try:
            yield
        finally:
            _ip("link", "set", self.name, "up")


def _ip(*words: str, before: tuple[str, ...] = ()) -> None:
    subprocess.run([*before, "ip", *words], check=True, timeout=20)


@dataclass
class Machines:
    """A scheduler and workers, each a process of its own, on the loopback or another address."""

    folder: Path
    port: int
    extra: tuple[str, ...] = ()
    scheme: str = "tcp"
    address: str = "127.0.0.1"
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}:{self.port}"

    def scheduler(self) -> None:
        self._start("scheduler", "cluster", "scheduler", "--listen", self.url)

    def worker(
        self, name: str, *words: str, cores: int = 1, disk: str = "", wire: Wire | None = None
    ) -> None:
        """Start a worker; ``disk`` is the size of a disk of its own that its cache is on.

        ``wire`` leads to it: it has a network of its own.
        """
        options = ("--scheduler", self.url, "--name", name, "--cores", str(cores))
        before: tuple[str, ...] = ()
        if disk:  # a file system in memory, in a mount namespace of the worker's own
            mount = f'mkdir -p "$LAB_CACHE" && mount -t tmpfs -o size={disk} lab "$LAB_CACHE"'
            before = ("unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh")
        if wire is not None:
            way = "until ip route get 198.18.0.1; do sleep 0.05; done"
            before = ("unshare", "-n", "sh", "-c", f'{way} 2>/dev/null >&2; exec "$@"', "sh")
        self._start(name, "worker", *options, *words, before=before)
        if wire is not None:
            wire.lead_to(self.running[name].pid)

    def shrink(self, name: str, size: str) -> None:
        """Leave the disk of a worker's cache so small."""
        pid = str(self.running[name].pid)
        into = ["nsenter", "-t", pid, "-U", "-m", "--preserve-credentials"]
        mount = ["mount", "-o", f"remount,size={size}", str(self.folder / f"cache-{name}")]
        subprocess.run([*into, *mount], check=True, timeout=20)

    def _start(self, name: str, *words: str, before: tuple[str, ...] = ()) -> None:
        environment = {
            **os.environ, "PYTHONPATH": str(HERE), "LAB_CACHE": str(self.folder / f"cache-{name}"),
            "FAKE_LOG": str(self.folder / "did"), "FAKE_HOLD": str(self.folder), "FAKE_NAME": name,
        }  # fmt: skip
        argv = [*before, sys.executable, "-m", "orchestrator.cli", *words, *self.extra]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                argv, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        self.running[name].send_signal(number)
        if number is signal.SIGKILL:
            self.running.pop(name).wait(10)

    def stop(self) -> None:
        for child in self.running.values():
            child.send_signal(signal.SIGCONT)
            child.terminate()
        for child in self.running.values():
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(10)
        self.running.clear()

    def hold(self, what: str) -> Path:
        """Have whoever does this stand still in it until the file that this gives is gone."""
        path = self.folder / f"{hashlib.sha256(what.encode()).hexdigest()[:8]}.hold"
        path.write_text(what)
        return path

    @property
    def did(self) -> list[str]:
        """What was begun, in order, each with who began it."""
        path = self.folder / "did"
        return path.read_text().splitlines() if path.exists() else []

    def child_of(self, name: str) -> int:
        """The child that a worker waits with."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            lines = [line.split() for line in self.did if line.startswith(f"{name} child ")]
            if lines:
                return int(lines[-1][2])
            time.sleep(0.05)
        raise AssertionError(self.did)

    def wait_said(self, name: str, text: str, *, times: int = 1, seconds: float = 90.0) -> None:
        """Wait until a process has said something so often."""
        until = time.monotonic() + seconds
        while (self.folder / f"{name}.log").read_text().count(text) < times:
            assert time.monotonic() < until, self.said()
            time.sleep(0.1)

    def wait_until(self, what: str, seconds: float = 60.0) -> str:
        """Wait for a line that ends with this; gives who wrote it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in self.did:
                if line.endswith(what):
                    return line.partition(" ")[0]
            time.sleep(0.05)
        raise AssertionError(f"nobody did {what!r} in {seconds} s: {self.did}")

    def said(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log"))
        )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_dead(pid: int, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while alive(pid):
        assert time.monotonic() < until, f"{pid} is still there"
        time.sleep(0.05)
