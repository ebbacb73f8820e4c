# SPDX-License-Identifier: GPL-2.0-only
"""Capsules: a folder per failed workload that shows the failure again with QEMU and ssh alone.

A capsule may be moved, archived and sent: it refers to nothing outside itself.  Kernel and root are
hard links where the file system has them, so that it costs next to nothing beside its run; at most
``MOST`` are left per run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.evidence.counters import COUNTER_EQUALS_WALK
from orchestrator.guest.boot import BOOT_DEADLINE, FAST_BOOT
from orchestrator.guest.qemu import GuestFiles, command_line
from orchestrator.guest.root import ensure_root
from orchestrator.guest.seed import write_seed
from orchestrator.host.cache.files import Cache
from orchestrator.judge.outcome import ledger_drift
from orchestrator.kernel.build.kept import find_image
from orchestrator.kernel.build.modules import ARCHIVE as MODULES
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import LabError
from orchestrator.model.evidence import Hit
from orchestrator.model.names import BOOT, COUNTERS, GUEST, KERNEL_LOG, SYNTHETIC, Verdict
from orchestrator.model.results import BuildRecord, CaseResult, CellRecord, KernelRecord, RunResult
from orchestrator.model.spec import Cell, Plan, WorkloadSpec
from orchestrator.plan.budget import as_ran
from orchestrator.plan.explore import as_found
from orchestrator.report import finds_text
from orchestrator.report.text import visible
from orchestrator.results.runs import cell_folder
from orchestrator.runner import find_files
from orchestrator.workload import programs, watch

FOLDER = "capsules"
MOST = 8
_TOKEN = "repro"
_PORT = "127.0.0.1:0-"
# A ruler, or the dump of a page, stands above the line that says what is wrong.
_NO_HEADER = re.compile(r"-{3,}|={3,}|\*{3,}|page:|page dumped|raw:|flags:|head:|vma |mm ")
# What may lie in a capsule; its README names what does.
_CONTENT = (
    ("image", "the kernel"),
    ("config", "what it was built with"),
    (MODULES, "its modules"),
    ("root.ext2", "the guest's root file system, read only"),
    ("seed.tar", "its SSH host key, the key it lets in, its clock"),
    ("id_ed25519", "the key for it: of this guest alone, good for nothing else"),
    ("workload/", "what is put into /tmp/lab: programs and the sampler above them"),
    ("finds/", "programs that break a rule of the model, and C files that need no lab"),
    ("expected/", "what failed, the reports' text, what the console is searched for"),
)
# Awk over the lines that the workloads' rss.h documents: counter against page walk, in pages.
_LEDGER = r"""awk '/LEDGER / {
	split("", v)
	for (i = 1; i <= NF; i++) if (split($i, part, "=") == 2) v[part[1]] = part[2]
	a = v["rss_anon"] - v["walk_anon"]; s = v["vm_swap"] - v["walk_swap"]; t = v["tolerance"] + 0
	if (a > t || -a > t || s > t || -s > t)
		printf "    %s: RssAnon %+d, VmSwap %+d pages off the page walk\n", v["step"], a, s
}' "$last/output" >drift
if [ -s drift ]; then
	sign 'counters are off the page walk'
	cat drift
fi"""


@dataclass(frozen=True)
class _Job:
    """One capsule to be: what failed of a workload in a cell; no ``spec`` where the boot did."""

    cell: Cell
    found: CellRecord
    spec: WorkloadSpec | None
    cases: tuple[CaseResult, ...]

    @property
    def name(self) -> str:
        what = self.spec.name if self.spec else BOOT
        return cell_folder(f"{self.cell.id}/{what}").partition("/")[2]


def leave_capsules(plan: Plan, run: RunResult, folder: Path, cache: Cache) -> RunResult:
    """Leave a capsule for each workload that failed; what went wrong with one is a cell's note.

    :param folder: the run's folder, which gets ``capsules/``.
    """
    jobs = _jobs(plan, run)
    notes: dict[str, list[str]] = {}
    over: dict[str, list[str]] = {}
    for number, job in enumerate(jobs):
        told = notes.setdefault(job.cell.id, [])
        if number >= MOST:
            over.setdefault(job.cell.id, []).append(job.spec.name if job.spec else BOOT)
            continue
        where = folder / FOLDER / job.name
        try:
            _write(job, run, where, folder, cache)
            told.append(f"to see it fail without the lab: {FOLDER}/{job.name}/repro.sh")
        except (LabError, OSError) as error:
            shutil.rmtree(where, ignore_errors=True)
            why = error.message if isinstance(error, LabError) else str(error)
            told.append(f"no capsule for {job.spec.name if job.spec else BOOT}: {why}")
    for cell_id, names in over.items():
        notes[cell_id].append(f"a run has {MOST} capsules: none for {', '.join(names)}")
    cells = tuple(
        # A run that is resumed has the notes of the cells that it keeps.
        replace(cell, notes=tuple(dict.fromkeys((*cell.notes, *notes.get(cell.id, ())))))
        for cell in run.cells
    )
    return replace(run, cells=cells)


def capsules(folder: Path) -> tuple[Path, ...]:
    """The scripts that a run left."""
    return tuple(sorted((folder / FOLDER).glob("*/repro.sh")))


def _jobs(plan: Plan, run: RunResult) -> list[_Job]:
    """What failed, the clearest first: what the kernel said; the baseline's own failures last.

    Right before these come those of a part of a series.
    """
    cells = {cell.id: cell for cell in plan.cells}
    jobs: list[_Job] = []
    for found in run.cells:
        cell = cells.get(found.id)
        if cell is None or not found.accelerator:
            continue
        ran = as_ran(cell, found.loops).workloads
        specs: dict[str, WorkloadSpec | None] = {spec.name: spec for spec in ran}
        for name, spec in {BOOT: None, **specs}.items():
            bad = tuple(
                c for c in found.cases if c.workload == name and c.verdict is Verdict.FAIL
                and (spec is not None or c.case.startswith((BOOT, KERNEL_LOG, GUEST)))
            )  # fmt: skip
            if bad:
                # A find is shown by its program: of several by the first one's.
                spec = spec and as_found(spec, next((c for c in bad if c.find), bad[0]))
                jobs.append(_Job(cell, found, spec, bad))
    return sorted(jobs, key=lambda job: _later(job, plan.baseline))


def _later(job: _Job, baseline: str | None) -> tuple[bool, bool, bool]:
    kernel = job.cell.build.kernel
    return kernel.name == baseline, bool(kernel.prefix_of), not _hits(job.cases)


def _hits(cases: Iterable[CaseResult]) -> tuple[Hit, ...]:
    return tuple(hit for case in cases for hit in case.hits)


# ---------------------------------------------------------------- one capsule


def _write(job: _Job, run: RunResult, where: Path, folder: Path, cache: Cache) -> None:
    """Write a capsule; the script comes last, so that one that stands there is whole."""
    build = job.cell.build
    arch = ARCHES[build.arch]
    record = next((b for b in run.builds if b.id == build.id), None)
    built = find_image(build, record.image_sha256 if record else "", cache)
    if record is None or built is None or built.image is None:
        raise LabError("its kernel is no longer in the cache")
    if where.exists():
        shutil.rmtree(where)
    where.mkdir(parents=True)
    _link(built.image, where / "image")
    _link(ensure_root(arch, cache), where / "root.ext2")
    if built.modules:
        _link(built.modules, where / MODULES)
    config = folder / job.found.kernel_config
    if config.is_file():
        shutil.copyfile(config, where / "config")
    keys = write_seed(where, job.cell.shape)
    (where / "known_hosts").write_text(f"lab-guest ssh-ed25519 {keys.host_public}\n")
    if job.spec is not None:
        library = programs.library_folder((job.spec,))
        for name, path in programs.compile_all((job.spec,), library, arch, cache).items():
            target = where / "workload" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o755)
    version = next((k.version for k in run.kernels if k.name == build.kernel.name), "")
    if told := [finds_text.told(c.find, version) for c in job.cases if c.find is not None]:
        find_files.write(told, where / find_files.FOLDER)
    expected = where / "expected"
    expected.mkdir()
    (expected / "reasons").write_text(_reasons(job.cases))
    patterns = dict.fromkeys(filter(None, (console_pattern(hit) for hit in _hits(job.cases))))
    (expected / "console").write_text("".join(f"{pattern}\n" for pattern in patterns))
    texts = dict.fromkeys(hit.text for hit in _hits(job.cases) if hit.text)
    (expected / "reports").write_text("\n\n".join(_plain(text) for text in texts) + "\n")
    kernel = next((k for k in run.kernels if k.name == build.kernel.name), None)
    (where / "README").write_text(_readme(job, run, kernel, record, where))
    script = where / "repro.sh"
    script.write_text(_script(job))
    script.chmod(0o755)


def _link(source: Path, target: Path) -> None:
    """Have ``source`` here too: a link, a copy where there can be none, with its holes left out."""
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    for sibling in sorted(target.parent.parent.glob(f"*/{target.name}")):
        # On another file system than the cache: one copy for all capsules of the run.
        if sibling != target and _same(sibling, source):
            with contextlib.suppress(OSError):
                os.link(sibling, target)
                return
    _copy(source, target)


def _same(one: Path, other: Path) -> bool:
    a, b = one.stat(), other.stat()
    return a.st_size == b.st_size and int(a.st_mtime) == int(b.st_mtime)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        while block := old.read(1 << 20):
            if block.count(0) == len(block):
                new.seek(len(block), os.SEEK_CUR)
            else:
                new.write(block)
        new.truncate()
    shutil.copystat(source, target)


# ---------------------------------------------------------------- what is looked for


def console_pattern(hit: Hit) -> str:
    """An extended regular expression for the line that heads a report, numbers left open."""
    lines = [line.strip() for line in hit.text.splitlines() if line.strip()]
    words = re.findall(r"[A-Za-z_]{3,}", hit.title)
    heads = [line for line in lines[:20] if not _NO_HEADER.match(line)]
    if not heads or not words:
        return ""
    # The title is made of the header's own words; which line that is, those words tell.
    head = max(heads, key=lambda line: sum(word in line for word in words))
    return _open_numbers(head[:300])


def _open_numbers(line: str) -> str:
    pattern = ""
    for part in re.split(r"(0x[0-9a-fA-F]+|\b[0-9a-f]{8,16}\b|(?<![A-Za-z0-9_])-?\d+)", line):
        if re.fullmatch(r"0x[0-9a-fA-F]+", part):
            pattern += "0x[0-9a-fA-F]+"
        elif re.fullmatch(r"[0-9a-f]{8,16}", part):
            pattern += "[0-9a-fA-F]+"
        elif re.fullmatch(r"-?\d+", part):
            pattern += "-?[0-9]+"
        else:
            # What is no plain character may have been cut or changed on its way: leave it open.
            pattern += re.sub(r"[^ -~]+", ".*", re.sub(r"([][\\.^$*+?(){}|])", r"\\\1", part))
    return pattern


def _judged(job: _Job) -> bool:
    """Whether the script can see the failure: the lab's judgement of samples it cannot."""
    if job.spec is None:
        return True
    for case in job.cases:
        if case.case != COUNTERS:
            return True
        if COUNTER_EQUALS_WALK in job.spec.invariants and any(map(ledger_drift, case.ledger)):
            return True
    return False


def _reasons(cases: Iterable[CaseResult]) -> str:
    lines = []
    for case in cases:
        name = case.case if case.case in SYNTHETIC else f"case {case.case}"
        first = case.reason.partition("\n")[0]
        lines.append(_plain(f"{name}: {first}"[:500]))
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text that steers no terminal and fits any encoding."""
    return "\n".join(visible(line) for line in text.splitlines()).encode(
        "ascii", "backslashreplace"
    ).decode()  # fmt: skip


# ---------------------------------------------------------------- the files


def _script(job: _Job) -> str:
    arch = ARCHES[job.cell.build.arch]
    shape, spec = job.cell.shape, job.spec
    files = GuestFiles(Path("image"), Path("root.ext2"), Path(), Path("console.log"))
    argv = command_line(arch, shape, job.found.accelerator, files)
    command = watch.guest_command(spec, _TOKEN) if spec else "true"
    swap = ""
    if shape.swap_disk_mib:
        swap = f"dd if=/dev/null of=swap.raw bs=1M seek={shape.swap_disk_mib} 2>/dev/null"
    kvm = '[ -w /dev/kvm ] || die "this guest ran under KVM, and /dev/kvm cannot be used here"'
    ledger = spec is not None and COUNTER_EQUALS_WALK in spec.invariants
    unjudged = "the lab judged before and after in last/samples: compare them with README"
    values = {
        "PROGRAM": arch.qemu,
        "BOOT_LIMIT": f"{BOOT_DEADLINE[job.found.accelerator]:.0f}",
        "RUN_LIMIT": f"{max(1.0, spec.timeout + spec.budget if spec else 1.0):.0f}",
        "FAST_BOOT": f"{max(1.0, FAST_BOOT):.0f}",
        "WORKLOAD": shlex.quote(spec.name if spec else ""),
        "QEMU": _shell_words(argv),
        "COMMAND": shlex.quote(command),
        "MODULES": MODULES,
        "MODULES_FOLDER": watch.MODULES_FOLDER,
        "SWAP": swap,
        "KVM": kvm if job.found.accelerator == "kvm" else "",
        "LEDGER": _LEDGER if ledger else "",
        "JUDGED": "" if _judged(job) else f"end {shlex.quote(unjudged)}",
    }
    template = Path(__file__).with_name("repro.sh")
    text = re.sub(r"@([A-Z_]+)@", lambda m: values[m[1]], template.read_text("utf-8"))
    return re.sub(r"\n{3,}", "\n\n", text)


def _shell_words(argv: list[str]) -> str:
    """QEMU's words, an option a line; the host port is the script's to choose.

    Nobody is there to look at a guest that stands still: a reset ends QEMU instead.
    """
    lines: list[str] = []
    for word in argv:
        quoted = shlex.quote(word.replace("shutdown=pause", "shutdown=poweroff"))
        if _PORT in word:
            before, after = word.split(_PORT)
            quoted = f'{shlex.quote(before)}"127.0.0.1:$port-"{shlex.quote(after)}'
        if word.startswith("-") or not lines:
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    return " \\\n".join(f"\t\t{line}" for line in lines)


def _readme(
    job: _Job, run: RunResult, kernel: KernelRecord | None, build: BuildRecord, where: Path
) -> str:
    """What the capsule in ``where`` is about, and what lies in it."""
    what = job.spec.name if job.spec else "the boot"
    lines = [
        f"{what} fails on {job.cell.build.kernel.name}", "",
        "    ./repro.sh", "",
        f"boots this kernel with {ARCHES[job.cell.build.arch].qemu} and shows it again.  Exit",
        "status: 1 it fails again, 0 it does not, 3 this machine could not tell.", "",
        f"cell      {job.cell.id}",
        f"run       {run.run.id}: {run.run.command}",
    ]  # fmt: skip
    if kernel is not None:
        lines.append(f"kernel    {kernel.source} ({kernel.version})")
        lines += [f"          + {patch.n}. {patch.subject} ({patch.author})"
                  for patch in kernel.series]  # fmt: skip
    lines += [
        f"image     sha256 {build.image_sha256}",
        f"guest     {job.found.accelerator}, {job.cell.shape.cpus} cpus, "
        f"{job.cell.shape.memory_mib} MiB",
        "", "What failed:", "",
    ]  # fmt: skip
    lines += [f"    {line}" for line in _reasons(job.cases).splitlines()]
    lines += ["", "In this folder:", ""]
    lines += [f"    {name:<19} {text}" for name, text in _CONTENT if (where / name).exists()]
    lines += [f"    {'last/':<19} what the last repro.sh saw"]
    return "\n".join(_plain(line) for line in lines) + "\n"
