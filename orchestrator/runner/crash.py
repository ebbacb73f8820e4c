# SPDX-License-Identifier: GPL-2.0-only
"""A guest that has crashed or hangs, examined before it is thrown away.

QEMU still holds it, standing still.  Registers, backtraces and the stack need symbols only, and so
come from every kernel; the questions about tasks, address spaces and folios need the types of a
config with full debug information, and are skipped with a reason elsewhere.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.evidence.vmcore import questions
from orchestrator.guest import dump, kdump
from orchestrator.model import codec
from orchestrator.model.arch import ARCHES, Arch
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import CrashReport, Hit
from orchestrator.model.formats import parse_dotconfig
from orchestrator.model.kernel import BuildResult

#: Bytes of dumps that one run keeps; a dump that does not fit goes once its questions are answered.
KEPT_BYTES = 64 << 20
#: Bytes after which a dump is not finished at all.
DUMP_BYTES = 2 << 30
DEADLINE = 120.0
#: Lines of each CPU's stack in the report, where no dump can be asked; the file has more.
STACK_LINES = 64
DUMP_NAME = "vmcore"
_keeping = threading.Lock()


@dataclass(frozen=True)
class Lost:
    """A guest that is lost, and the build that it ran.

    ``folder``, below the run's ``run_folder``, gets what is found.  ``hits`` are the reports of the
    kernel log that belong to the crash: they name addresses.
    """

    qemu: dump.Monitor
    arch: Arch
    built: BuildResult
    folder: Path
    run_folder: Path
    hits: Sequence[Hit] = ()


def examine(lost: Lost, deadline: float = DEADLINE) -> CrashReport:
    """Examine a guest that panicked (QEMU has paused it) or hangs (it is stopped here, for good).

    Writes ``registers.txt``, ``backtraces.txt``, ``stacks.txt`` and, where the kernel has types,
    ``answers.json`` and within the run's budget the dump itself (``vmcore``).
    Does not raise for a guest or a QEMU in whatever state: what was not found is told.

    :param deadline: seconds for everything.
    :raises Interrupted: when the lab is being stopped.
    """
    began = time.monotonic()
    until = began + deadline
    answers: dict[str, str] = {}
    skipped, kept = "", 0
    try:
        lost.folder.mkdir(parents=True, exist_ok=True)
        dump.freeze(lost.qemu)
        symbols, problem = _symbols(lost.arch, lost.built)
        note = _state(lost, symbols, until, answers)
        if problem:
            answers["Symbols"] = problem
        skipped = why_skipped(lost.built) or _no_note(note)
        if not skipped and lost.built.vmlinux:
            found, kept, skipped = _dump(lost, lost.built.vmlinux, note, until)
            if found:
                del answers["Stacks"]
            answers = found | answers
    except HostError as error:
        skipped = skipped or error.message
    except OSError as error:
        skipped = skipped or f"{error.filename}: {error.strerror}"
    files = tuple(sorted(_relative(path, lost.run_folder) for path in lost.folder.glob("*")))
    return CrashReport(answers, skipped, files, kept, time.monotonic() - began)


def why_skipped(built: BuildResult) -> str:
    """Why drgn cannot read a dump of this build's kernel; empty where it can."""
    if built.vmlinux is None or built.kernel_config is None:
        return "there is no vmlinux of this build"
    options = parse_dotconfig(built.kernel_config.read_text("utf-8", "replace"))
    if options.get("DEBUG_INFO") != "y" or options.get("DEBUG_INFO_REDUCED") == "y":
        name = built.build.config.name
        return f"the kernels of config {name} have no types; those of symbols-full have"
    return questions.available()


def _no_note(note: bytes) -> str:
    return (
        "" if note else "the kernel left no VMCOREINFO: it has no CONFIG_VMCORE_INFO, or died early"
    )


def kernel_symbols(built: BuildResult) -> dump.Symbols:
    """The symbols of a build's kernel, none where it has no vmlinux; read once.

    :raises HostError: when ``nm`` is missing or cannot read it.
    """
    if built.vmlinux is None:
        return dump.Symbols((), ())
    return _read_symbols(ARCHES[built.build.arch], built.vmlinux)


@functools.lru_cache(maxsize=2)
def _read_symbols(arch: Arch, vmlinux: Path) -> dump.Symbols:
    return dump.read_symbols(arch, vmlinux)


def _symbols(arch: Arch, built: BuildResult) -> tuple[dump.Symbols, str]:
    if built.vmlinux is None:
        return dump.Symbols((), ()), "none: there is no vmlinux of this build"
    try:
        return _read_symbols(arch, built.vmlinux), ""
    except HostError as error:
        return dump.Symbols((), ()), f"none: {error.message}"


def _state(lost: Lost, symbols: dump.Symbols, until: float, answers: dict[str, str]) -> bytes:
    """Registers, backtraces and stacks of all CPUs, into files and answers; gives VMCOREINFO."""
    qemu, arch, folder = lost.qemu, lost.arch, lost.folder
    vcpus = dump.read_vcpus(qemu)
    registers, traces, stacks = [], [], []
    note = b""
    for vcpu in vcpus:
        memory = dump.Memory(qemu, vcpu.index, folder, until)
        head = f"CPU {vcpu.index}"
        registers.append(f"{head}\n{vcpu.text}")
        trace = dump.backtrace(vcpu, arch, memory, symbols)
        traces.append("\n".join((head, *(f"  {line}" for line in trace))))
        stacks.append(f"{head}\n{dump.stack_excerpt(vcpu, arch, memory, symbols)}")
        note = note or dump.read_vmcoreinfo(memory, symbols)
    for name, parts in (("registers", registers), ("backtraces", traces), ("stacks", stacks)):
        (folder / f"{name}.txt").write_text("\n\n".join(parts) + "\n", "utf-8")
    answers["What each CPU was doing"] = "\n\n".join(traces) or "unknown"
    answers["Registers"] = "\n\n".join(registers) or "unknown"
    cut = ("\n".join(stack.splitlines()[:STACK_LINES]) for stack in stacks)
    answers["Stacks"] = "\n\n".join(cut) or "unknown"
    return note


def _dump(lost: Lost, vmlinux: Path, note: bytes, until: float) -> tuple[dict[str, str], int, str]:
    """Dump, ask, and keep the dump if there is room: the answers, its size, why there are none."""
    folder = lost.folder
    flat, core, path = folder / "vmcore.flat", folder / "vmcore.elf", folder / DUMP_NAME
    try:
        made = dump.dump_memory(lost.qemu, flat, DUMP_BYTES, until - time.monotonic())
        if made.path is None:
            return {}, 0, f"no memory dump: {made.problem}"
        try:
            size = kdump.finish(flat, path, note, lost.arch.kvm_hosts[0], DUMP_BYTES)
            kdump.to_elf(path, core, vmlinux)
        except kdump.NotKdump as error:
            path.unlink(missing_ok=True)
            return {}, 0, f"no memory dump: {error}"
        finally:
            flat.unlink(missing_ok=True)
        left = max(until - time.monotonic(), 5.0)
        found = questions.ask(core, vmlinux, questions.clues(lost.hits), left)
        (folder / "answers.json").write_text(codec.dumps(codec.plain(found), 1) + "\n", "utf-8")
        kept = _keep(path, lost.run_folder)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        core.unlink(missing_ok=True)
    answers = questions.sections(found)
    answers["The dump"] = (
        f"{size >> 10} KiB in {made.seconds:.1f} s, questions in {found.seconds:.1f} s; "
        + ("kept" if kept else f"not kept: a run keeps {KEPT_BYTES >> 20} MiB of dumps")
        + f"\nvmlinux: {vmlinux}"
    )
    return answers, kept, ""


def _keep(path: Path, run_folder: Path) -> int:
    """Keep a dump if the run's budget has room for it: its bytes, or 0."""
    with _keeping:
        size = path.stat().st_size
        others = sum(other.stat().st_size for other in run_folder.rglob(DUMP_NAME) if other != path)
        if others + size <= KEPT_BYTES:
            return size
        path.unlink()
        return 0


def _relative(path: Path, run_folder: Path) -> str:
    try:
        return str(path.relative_to(run_folder))
    except ValueError:
        return str(path)
