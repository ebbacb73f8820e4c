# SPDX-License-Identifier: GPL-2.0-only
"""A run as the lab would store it: two architectures, and one of everything that can happen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.model.evidence import (
    Counter,
    Excerpt,
    FrameLines,
    Hit,
    LedgerStep,
    Measurement,
    Sample,
    SourceLine,
)
from orchestrator.model.kernel import ApplyFailure, CompilerMessage, ConfigMismatch, PatchState
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)

ID = "20240105-142233-smoke"
TITLE = "BUG: Bad rss-counter state type:MM_ANONPAGES"
SHA = "9f2c1d4e5b6a79880716253443526170"

X86_CONFIG = """# Linux/x86 6.12.48 Kernel Configuration
CONFIG_64BIT=y
CONFIG_USERFAULTFD=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_DEBUG_VM=y
CONFIG_X86_64=y
CONFIG_CMDLINE="console=ttyS0"
# CONFIG_KASAN is not set
"""
X86_NO_THP_CONFIG = X86_CONFIG.replace(
    "CONFIG_TRANSPARENT_HUGEPAGE=y", "# CONFIG_TRANSPARENT_HUGEPAGE is not set"
)
ARM64_CONFIG = """# Linux/arm64 6.12.48 Kernel Configuration
CONFIG_64BIT=y
CONFIG_USERFAULTFD=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_DEBUG_VM=y
CONFIG_ARM64=y
CONFIG_ARM64_4K_PAGES=y
CONFIG_CMDLINE="console=ttyAMA0"
"""

RSS_TEXT = """\
[   41.337201][  T214] BUG: Bad rss-counter state mm:00000000c3a1b7d2 type:MM_ANONPAGES val:64
[   41.338977][  T214] BUG: Bad rss-counter state mm:00000000c3a1b7d2 type:MM_SWAPENTS val:-64
"""
WARN_TEXT = """\
[   40.112004][  T213] ------------[ cut here ]------------
[   40.112410][  T213] WARNING: CPU: 1 PID: 213 at mm/userfaultfd.c:1187 move_swap_pte+0x1c4/0x2a0
[   40.113650][  T213] CPU: 1 UID: 0 PID: 213 Comm: ledger Not tainted 6.12.48+ #1
[   40.114220][  T213] RIP: 0010:move_swap_pte+0x1c4/0x2a0
[   40.116105][  T213] Call Trace:
[   40.116390][  T213]  <TASK>
[   40.116612][  T213]  move_pages+0x5d2/0xa40
[   40.116981][  T213]  userfaultfd_move+0x108/0x1f0
[   40.117342][  T213]  userfaultfd_ioctl+0x8a1/0xc60
[   40.117760][  T213]  __x64_sys_ioctl+0x94/0xd0
[   40.118102][  T213]  do_syscall_64+0x5e/0x110
[   40.118480][  T213]  entry_SYSCALL_64_after_hwframe+0x76/0x7e
[   40.118911][  T213]  </TASK>
[   40.119130][  T213] ---[ end trace 0000000000000000 ]---
"""


def rss_hit(kind: str = "MM_ANONPAGES") -> Hit:
    return Hit(
        title=f"BUG: Bad rss-counter state type:{kind}",
        kind="bad-rss-counter",
        signature=f"bad-rss-counter:{kind}",
        line=412,
        text=RSS_TEXT,
        seconds=41.337201,
        caller="T214",
    )


def warn_frames() -> tuple[FrameLines, ...]:
    """Where the CPU stood, in a helper that was inlined; a caller; and one without a line."""
    added = Excerpt(
        1182,
        "\tset_pte_at(mm, dst_addr, dst_pte, orig_src_pte);\n"
        "\tif (unlikely(page_count < 0 && <b>)) /* wrong on purpose */\n"
        "\t\tcount_moved(mm, MM_ANONPAGES);\n",
        (1183, 1184),
    )
    helper = SourceLine(
        "count_moved", "mm/swap.h", 112, "function", Excerpt(112, "\tWARN_ON(1);\n")
    )
    inside = (helper, SourceLine("move_swap_pte", "mm/userfaultfd.c", 1184, "line", added))
    caller = SourceLine("move_pages", "mm/userfaultfd.c", 1402)
    return (
        FrameLines(2, "move_swap_pte", 0x1C4, inside),
        FrameLines(4, "move_swap_pte", 0x1C4, inside),
        FrameLines(7, "move_pages", 0x5D2, (caller,)),
        FrameLines(8, "userfaultfd_move", 0x108, (), "no object of the build folder has it"),
    )


def warn_hit() -> Hit:
    return Hit(
        title="WARNING at mm/userfaultfd.c in move_swap_pte",
        kind="warning",
        signature="warning:mm/userfaultfd.c:move_swap_pte",
        line=396,
        text=WARN_TEXT,
        seconds=40.112004,
        caller="T213",
        frames=warn_frames(),
    )


def samples(drift: int = 0) -> tuple[Sample, ...]:
    """64 pages are filled, swapped out, moved as swap entries, faulted in and dropped."""
    rss = [18, 40, 82, 82, 60, 18, 18, 18, 44, 82, 82, 30, 18]
    swap = [0, 0, 0, 0, 22, 64, 64, 64, 38, 0, 0, 0, 0]
    found = []
    for at, (anon, out) in enumerate(zip(rss, swap, strict=True)):
        moved = drift if at >= 7 else 0
        values = {"RssAnon": anon + moved, "VmSwap": max(0, out - moved), "RssFile": 210}
        found += [Sample(at * 0.25, values), Sample(at * 0.25 + 0.125, values)]
    return tuple(found)


def ledger(drift: int = 0) -> tuple[LedgerStep, ...]:
    return (
        LedgerStep("start", 213, 18, 18, 0, 0, 0),
        LedgerStep("filled", 213, 82, 82, 0, 0, 0),
        LedgerStep("swapped out", 213, 18, 18, 64, 64, 0),
        LedgerStep("moved", 213, 18 + drift, 18, 64 - drift, 64, 0),
        LedgerStep("faulted in", 213, 82 + drift, 82, 0, 0, 0),
    )


def counters(drift: int = 0) -> tuple[Counter, ...]:
    return (
        Counter("RssAnon", 18, 82 + drift, 18 + drift, 18, 18 + drift),
        Counter("VmSwap", 0, 64, 0, 64, 64 - drift),
        Counter("nr_anon_pages", 10412, 10480, 10411),
    )


def case(cell: str, workload: str, name: str, verdict: Verdict = Verdict.PASS, **more: object):
    case_id = f"{cell}:{workload}:{name}"
    result = CaseResult(
        case_id,
        workload,
        name,
        verdict,
        seconds=0.25,
        rerun=f"lab rerun {ID} '{case_id}'",
    )
    return replace(result, **more)  # type: ignore[arg-type]


def cell_id(kernel: str, arch: str, config: str = "default", shape: str = "small") -> str:
    return f"{kernel}/{config}/{arch}/{shape}"


def cell(kernel: str, arch: str, cases: tuple[CaseResult, ...], **more: object) -> CellRecord:
    where = cell_id(kernel, arch)
    folder = "cells/" + where.replace("/", "__")
    worst = [v for v in (Verdict.ERROR, Verdict.FAIL) if any(c.verdict is v for c in cases)]
    machine = "q35" if arch == "x86_64" else "virt"
    record = CellRecord(
        id=where,
        kernel=kernel,
        config="default",
        arch=arch,
        shape="small",
        accelerator="tcg",
        verdict=worst[0] if worst else Verdict.PASS,
        boot_seconds=4.1,
        cases=cases,
        qemu_command=f"qemu-system-{arch.replace('arm64', 'aarch64')} -machine {machine} -smp 2"
        " -m 512 -append 'console=hvc0 panic=-1' -nographic",
        console_log=f"{folder}/console.log",
        kernel_config=f"{folder}/config",
    )
    return replace(record, **more)  # type: ignore[arg-type]


def good_cases(where: str) -> tuple[CaseResult, ...]:
    return (
        case(where, "boot", "boot", seconds=4.1),
        case(where, "move/basic", "contents-move"),
        case(where, "move/basic", "hole-enoent"),
        case(
            where,
            "move/compact",
            "throughput",
            seconds=2.5,
            measurements=(
                Measurement("move", 1843.2, "MB/s"),
                Measurement("copy+dontneed", 611.75, "MB/s"),
            ),
        ),
        case(
            where,
            "ledger/swap",
            "counters",
            seconds=3.0,
            counters=counters(),
            ledger=ledger(),
            samples=samples(),
        ),
        case(where, "ledger/swap", "kernel-log"),
    )


def broken_cases(where: str) -> tuple[CaseResult, ...]:
    return (
        *good_cases(where)[:4],
        case(
            where,
            "ledger/swap",
            "counters",
            Verdict.FAIL,
            reason="RssAnon and VmSwap do not match the page walk after the move",
            seconds=3.0,
            counters=counters(64),
            ledger=ledger(64),
            samples=samples(64),
        ),
        case(
            where,
            "ledger/swap",
            "kernel-log",
            Verdict.FAIL,
            reason="3 forbidden reports in the kernel log",
            hits=(warn_hit(), rss_hit(), rss_hit("MM_SWAPENTS")),
        ),
    )


def patches(last: str, applied: bool | None = True) -> tuple[PatchState, ...]:
    author = "Ada Example <ada@example.org>"
    return (
        PatchState(1, "userfaultfd: count the pages a move takes", author, SHA * 2, True),
        PatchState(2, last, author, SHA[::-1] * 2, applied),
    )


def summarize(cells: tuple[CellRecord, ...], failed: int = 0) -> Summary:
    found = [c.verdict for one in cells for c in one.cases]
    return Summary(
        passed=found.count(Verdict.PASS),
        failed=found.count(Verdict.FAIL) + failed,
        skipped=found.count(Verdict.SKIP),
        errors=found.count(Verdict.ERROR),
    )


def build(kernel: str, arch: str, config: str = "default", **more: object) -> BuildRecord:
    name = f"{kernel}/{config}/{arch}"
    folder = "builds/" + name.replace("/", "__")
    record = BuildRecord(
        id=name,
        kernel=kernel,
        config=config,
        arch=arch,
        verdict=Verdict.PASS,
        reason="",
        seconds=212.4,
        cached=False,
        image_sha256=SHA * 2,
        command=f"make -C /src O=/cache/{name} ARCH={arch} -j2",
        log=f"{folder}/build.log",
        kernel_config=f"{folder}/config",
        cpu_seconds=401.7,
    )
    return replace(record, **more)  # type: ignore[arg-type]


def good_run() -> RunResult:
    """One kernel, both architectures, everything as it should be but for one honest skip."""
    skip = case(
        cell_id("cli", "arm64"),
        "move/basic",
        "thp-aligned",
        Verdict.SKIP,
        reason="transparent huge pages are off in this guest",
    )
    cells = (
        cell("cli", "x86_64", good_cases(cell_id("cli", "x86_64"))),
        cell("cli", "arm64", (*good_cases(cell_id("cli", "arm64")), skip), boot_seconds=4.8),
    )
    return RunResult(
        run=RunInfo(
            id=ID.replace("14", "11"),
            started="2024-01-05T11:22:33Z",
            finished="2024-01-05T11:31:02Z",
            command="lab run -p smoke --source debian:6.12 --series patches/move-stats",
            exit_status=0,
            lab_version="0.1.0",
            profile="smoke",
            host={"cpus": "2", "memory_mib": "8192", "accelerators": "tcg"},
        ),
        kernels=(
            KernelRecord(
                "cli",
                "debian:6.12",
                "6.12.48",
                patches("mm: account moved swap entries"),
                SHA * 2,
            ),
        ),
        builds=(build("cli", "x86_64"), build("cli", "arm64", cached=True, seconds=0.4)),
        cells=cells,
        summary=summarize(cells),
    )


def broken_run() -> RunResult:
    """The counter drifts on x86_64, the host fails arm64, one build and one series fail."""
    arm = cell_id("cli", "arm64")
    lost = case(
        arm,
        "ledger/swap",
        "counters",
        Verdict.ERROR,
        reason="QEMU ended by itself (exit status 1): no space left on device",
    )
    cells = (
        cell("cli", "x86_64", broken_cases(cell_id("cli", "x86_64"))),
        cell(
            "cli",
            "arm64",
            (*good_cases(arm)[:4], lost),
            boot_seconds=4.8,
            notes=("the guest was lost without a report and tried once more",),
        ),
    )
    broken_build = build(
        "cli",
        "x86_64",
        "no-thp",
        verdict=Verdict.FAIL,
        seconds=31.0,
        image_sha256="",
        errors=(
            CompilerMessage("mm/userfaultfd.c", 1187, "implicit declaration of 'pmd_trans_huge'"),
        ),
        new_warnings=(CompilerMessage("mm/huge_memory.c", 90, "unused variable 'x'", "warning"),),
        mismatches=(ConfigMismatch("DEBUG_VM", "y", "n", "debug-vm.config", "DEBUG_KERNEL=n"),),
    )
    failure = ApplyFailure(
        n=2,
        subject="mm: a patch for another base",
        file="mm/userfaultfd.c",
        line=1180,
        message="hunk 1 does not match",
        hunk="@@ -1180,3 +1180,4 @@\n \tret = 0;\n-\tadd_mm_counter(mm, MM_SWAPENTS, -1);\n+\t;\n",
        context="1180\tret = 0;\n1181\tdouble_pt_unlock(dst_ptl, src_ptl);\n1182\treturn ret;\n",
    )
    good = good_run()
    return replace(
        good,
        run=replace(
            good.run,
            id=ID,
            started="2024-01-05T14:22:33Z",
            finished="2024-01-05T14:33:10Z",
            command="lab run -p smoke --source debian:6.12 --series patches/broken",
            exit_status=3,
        ),
        kernels=(
            replace(good.kernels[0], series=patches("mm: a wrong line <script>alert(1)</script>")),
            KernelRecord(
                "other",
                "git:/src/linux#v6.13",
                "6.13.0",
                patches("mm: a patch for another base", False),
                SHA * 2,
                failure=failure,
            ),
        ),
        builds=(*good.builds, broken_build),
        cells=cells,
        summary=summarize(cells, failed=2),
    )


def write_files(run: RunResult, folder: Path) -> None:
    """What lies beside results.json: consoles and configs."""
    for record in (*run.builds, *run.cells):
        text = ARM64_CONFIG if record.arch == "arm64" else X86_CONFIG
        text = X86_NO_THP_CONFIG if record.config == "no-thp" else text
        path = folder / record.kernel_config
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for one in run.cells:
        (folder / one.console_log).write_text("[    0.000000] Linux version 6.12.48\n")
