# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klogs import DATA, LOGS, each_log, found

from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog import window
from orchestrator.evidence.klog.guilt import guilty
from orchestrator.evidence.klog.headers import classify
from orchestrator.evidence.klog.roles import passed_over, plain_function
from orchestrator.evidence.klog.rules import RULES
from orchestrator.evidence.klog.titles import neutral
from orchestrator.model.evidence import Hit


def load(name: str) -> list[Hit]:
    return list(found(DATA / f"{name}.log"))


def stamped(*texts: str, caller: str = "T7", start: float = 1.0) -> list[str]:
    return [f"[{start + i / 1000:12.6f}][{caller:>6}] {t}" for i, t in enumerate(texts)]


@pytest.mark.parametrize("log", LOGS, ids=lambda p: p.stem)
def test_logs(log: Path) -> None:
    wanted = json.loads(log.with_suffix(".json").read_text())["hits"]
    hits = found(log)
    assert [h.title for h in hits] == [w["title"] for w in wanted]
    for hit, want in zip(hits, wanted, strict=True):
        for key, value in want.items():
            if key == "begins":
                assert hit.text.startswith(value)
            elif key == "ends":
                assert hit.text.endswith(value)
            elif key == "bug":
                assert value
            else:
                assert getattr(hit, key) == value, (hit.title, key)
        assert len(hit.signature) == 16


def test_every_log_has_its_expectation_and_there_are_enough() -> None:
    assert {p.stem for p in LOGS} == {p.stem for p in DATA.glob("*.json")}
    assert len(LOGS) >= 100
    told = [json.loads(p.read_text()) for p in DATA.glob("*.json")]
    assert {t["origin"] for t in told} == {"captured", "derived"}
    assert sum(t["origin"] == "captured" for t in told) >= 40
    assert all(t["kernel"] for t in told)


@each_log()
def test_carriage_returns_and_chunks_change_nothing(log: Path) -> None:
    data = log.read_bytes()
    plain = list(found(log))
    assert list(klog.parse(data)) == plain
    assert list(klog.parse([line + b"\n" for line in data.split(b"\n")])) == plain
    dos = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert list(klog.parse(dos.split(b"\n"))) == plain


@each_log()
def test_any_cut_never_raises_and_never_invents(log: Path) -> None:
    data = log.read_bytes()
    kinds = {h.kind for h in found(log)}
    rng = random.Random(log.stem)
    for _ in range(12):
        cut = data[: rng.randrange(len(data) + 1)]
        # A cut may leave the start of a report without the line that names it best.
        left = {h.kind for h in klog.parse(cut)}
        assert left <= kinds | {"cut-report", "warning", "kernel-bug", "oops", "bug", "kasan"} | {
            "warning-text", "page-fault", "lockdep", "slub"
        }  # fmt: skip


def test_signatures_survive_addresses_lines_callers_and_spelling() -> None:
    assert load("warning")[0].signature == load("warning-new-format")[0].signature
    assert load("null-deref-x86")[0].signature == load("null-deref-arm64")[0].signature
    text = (DATA / "warning.log").read_text()
    other = text.replace("userfaultfd.c:1203", "userfaultfd.c:977").replace("T61", "T999")
    other = (
        other.replace("PID: 61", "PID: 999").replace("CPU: 1", "CPU: 0").replace("+0x9b4", "+0x1")
    )
    assert load("warning")[0].signature == next(klog.parse(other)).signature
    moved = text.replace("move_pages_pte", "move_present_pte")
    assert load("warning")[0].signature != next(klog.parse(moved)).signature
    kinds = [h.signature for h in load("bad-rss-counter")]
    assert len(set(kinds)) == 3


def test_source_paths_are_those_of_the_tree() -> None:
    line = "WARNING: CPU: 0 PID: 1 at /var/tmp/build dir/x/mm/rmap.c:10 f+0x1/0x2"
    hit = next(klog.parse(stamped(line.replace(" dir", "-dir"))))
    assert hit.title == "WARNING: at mm/rmap.c:10 f"


def test_titles_hold_no_address_pid_cpu_or_offset() -> None:
    for log in LOGS:
        for hit in found(log):
            assert "+0x" not in hit.title
            assert "ffff888" not in hit.title
            assert "CPU#" not in hit.title
            assert "61" not in hit.title, hit.title


def test_one_line_reports_inside_another_report_are_not_lost() -> None:
    lines = (DATA / "warning.log").read_text().split("\n")
    lines[9:9] = stamped("BUG: Bad rss-counter state mm:0 type:MM_ANONPAGES val:1", caller="T61",
                         start=9.0)  # fmt: skip
    assert [h.kind for h in klog.parse(lines)] == ["warning", "bad-rss-counter"]


def test_same_task_may_report_twice() -> None:
    text = (DATA / "warning.log").read_text()
    assert [h.kind for h in klog.parse(text + text)] == ["warning"] * 2


def test_panic_long_after_is_a_report_of_its_own() -> None:
    text = (DATA / "warning.log").read_text().split("\n")
    text += stamped("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b",
                    caller="T61", start=60.0)  # fmt: skip
    assert [(h.kind, h.fatal) for h in klog.parse(text)] == [("warning", False), ("panic", True)]


def test_second_oops_of_a_task_is_its_own_hit() -> None:
    text = (DATA / "page-fault-x86.log").read_text()
    hits = list(klog.parse(text + text.replace("[#1]", "[#2]")))
    assert [h.title for h in hits] == ["BUG: unable to handle page fault in move_pages_pte"] * 2


def test_reports_of_a_second_boot_do_not_join_the_first() -> None:
    lines = stamped("------------[ cut here ]------------", start=50.0)
    lines += stamped("Linux version 6.12.117", caller="T0", start=0.0)
    lines += stamped("WARNING: CPU: 0 PID: 1 at mm/rmap.c:10 f+0x1/0x2", start=0.2)
    assert [h.kind for h in klog.parse(lines)] == ["cut-report", "warning"]


def test_stream_yields_before_the_end() -> None:
    def endless():  # type: ignore[no-untyped-def]
        yield from (DATA / "warning.log").read_text().split("\n")
        for i in range(100_000):
            yield f"[{20 + i / 100:12.6f}][    T9] line {i}"
        raise AssertionError("read to the end")

    assert next(klog.parse(endless())).kind == "warning"


def test_order_is_by_beginning() -> None:
    hits = load("interleaved-callers")
    assert [h.line for h in hits] == sorted(h.line for h in hits)


@pytest.mark.slow
def test_allocated_memory_is_bounded() -> None:
    lines = [
        f"[    1.000000][{f'T{i}':>6}] ------------[ cut here ]------------" for i in range(5000)
    ]
    hits = list(klog.parse(lines))
    assert len(hits) == 5000
    long = stamped("BUG: KASAN: use-after-free in f+0x1/0x2", *["x" * 3000] * 5000)
    (hit,) = klog.parse(long)
    assert len(hit.text) < 70_000


@pytest.mark.parametrize(
    "text",
    [
        "traps: p[1] general protection fault ip:1 sp:2 error:0",
        "INFO: lockdep is turned off.",
        "Unable to handle swap header version 3",
        "foo: the BUG: in the middle",
        "x86/mm: WARNING: something about mitigation",
        "",
        "BUG",
        "KASAN",
    ],
)
def test_lookalikes(text: str) -> None:
    assert classify(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "WARNING: CPU: 0 PID: 1 at mm/foo.c:12 crng_unseeded_thing+0x1/0x2",
        "WARNING: CPU: 0 PID: 1 at mitigation_check+0x1/0x2",
        "WARNING: at mm/foo.c:12 entropy_add+0x1/0x2",
        "WARNING: mm/foo.c:12 at insecure_walk+0x1/0x2, CPU#0: move/61",
    ],
)
def test_a_warning_with_a_place_is_never_harmless(text: str) -> None:
    header = classify(text)
    assert header is not None
    assert header[0].kind == "warning"


def test_every_rule_passes_the_quick_look() -> None:
    # Each rule must be reachable: a header that only the rule's own pattern knows would be lost.
    seen = {h.kind for log in LOGS for h in found(log)}
    missing = {r.kind for r in RULES} - seen
    examples = {
        "oops": "Internal error: synchronous external abort: 0000000096000210 [#1] SMP",
        "odebug": "ODEBUG: free active (active state 0) object: 00000000c0ffee11 "
        "object type: timer_list hint: f+0x0/0x10",
        "usercopy": "usercopy: Kernel memory exposure attempt detected from SLUB object 'x'!",
        "preemptible": "BUG: using smp_processor_id() in preemptible [00000000] code: move/61",
        "spinlock": "BUG: spinlock bad magic on CPU#1, move/61",
        "hard-lockup": "watchdog: Watchdog detected hard LOCKUP on cpu 1",
        "irq-nobody-cared": 'irq 16: nobody cared (try booting with the "irqpoll" option)',
        "page-poison": "pagealloc: memory corruption",
        "fortify": "memcpy: detected buffer overflow: 48 byte write of buffer size 16",
        "softirq": "softirq: huh, entered softirq 3 NET_RX 00000000c0ffee11 with preempt_count "
        "00000101, exited with 00000102?",
        "vmstat-negative": "vmstat_refresh: nr_zspages -12",
        "page-owner": "dec_stack_record_count: refcount went to 0 for 4711 handle",
        "kmemleak-object": "kmemleak: Cannot insert 0xffff888004a5c3c8 into the object search tree "
        "(overlaps existing)",
        "bug": "BUG: something nobody has seen before",
        "warning-text": "WARNING: something nobody has seen before",
        "kmsan": "BUG: KMSAN: uninit-value in move_pages+0x1/0x2",
        "rust-panic": "rust_kernel: panicked at mm/x.rs:12:3:",
    }
    for kind, text in examples.items():
        (hit,) = klog.parse(stamped(text))
        assert hit.kind == kind, text
    assert missing <= set(examples)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("divide error: 0000 [#1] SMP", "oops"),
        ("stack segment: 0000 [#1] SMP", "oops"),
        ("Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI", "oops"),
        ("traps: PANIC: double fault, error_code: 0x0", "oops"),
        ("general protection fault: 0000 [#1] SMP", "general-protection"),
        ("BUG: TASK stack guard page was hit at 0000000012345678", "stack-overflow"),
        ("NMI watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]", "soft-lockup"),
        (
            "Unable to handle kernel paging request at virtual address dead000000000100",
            "page-fault",
        ),
        ("Unable to handle kernel write to read-only memory at virtual address 0", "page-fault"),
        ("INFO: rcu_sched detected stalls on CPUs/tasks:", "rcu-stall"),
        ("BUG kmalloc-64 (Tainted: G    B             ): Redzone overwritten", "slub"),
        ("SError Interrupt on CPU0, code 0x00000000be000411 -- SError", "oops"),
        ("Out of memory: Killed process 47 (x) total-vm:1kB", "oom"),
        ("INFO: possible recursive locking detected", "lockdep"),
        ("WARNING: move/61 still has locks held!", "lockdep"),
        ("WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", "lockdep"),
        ("kernel BUG at ./include/linux/mm.h:1140!", "kernel-bug"),
        ("Kernel BUG at move_pages+0x1/0x2 [verbose debug info unavailable]", "kernel-bug"),
        ("WARNING: CPU: 0 PID: 1 at 0xffffffff81234567", "warning"),
        ("Unhandled fault: alignment fault (0x92000021) at 0x0", "oops"),
    ],
)
def test_headers(text: str, kind: str) -> None:
    (hit,) = klog.parse(stamped(text))
    assert hit.kind == kind


def test_blame() -> None:
    frames = [" ? guess+0x1/0x2", " dump_stack+0x1/0x2", " _raw_spin_lock+0x1/0x2",
              " real.isra.0+0x1/0x2 [mod]"]  # fmt: skip
    assert guilty(["Call Trace:", *frames]) == "real"
    assert guilty([" early+0x1/0x2", "Call trace:", *frames]) == "real"
    assert guilty(["RIP: 0033:user+0x1", "RIP: 0010:here+0x1/0x2", "Call Trace:"]) == "here"
    assert guilty(frames[:3]) == ""
    assert plain_function("f.constprop.0.isra.1") == "f"
    assert passed_over("__mutex_lock.constprop.0")
    assert not passed_over("move_pages")


def test_neutral() -> None:
    assert neutral("x at ffff888004a5c3c8 on CPU#3 [comm:12] +0x10/0x20") == "x at ADDR on CPU TASK"
    assert neutral("killed exitcode=0x0000000b pid: 7") == "killed exitcode=0x0000000b pid: N"
    assert neutral("") == ""


# ---------------------------------------------------------------- marks, banners


CONSOLE = "\n".join([
    *stamped("before"),
    *stamped("lab-mark tok begin move/basic"),
    "prompt: " + stamped("inside 1")[0],
    *stamped("inside 2", caller="C1"),
    "lab-mark tok end move/basic\r",
    *stamped("lab-mark tok begin move/swap", "second"),
    *stamped("lab-mark other end move/swap", "after"),
])  # fmt: skip


def test_window() -> None:
    text, both = window.window(CONSOLE, "tok", "move/basic")
    assert both
    assert "inside 1" in text
    assert text.endswith("inside 2")
    text, both = window.window(CONSOLE, "tok", "move/swap")
    assert not both
    assert "second" in text
    assert "after" in text
    assert "inside" not in text
    assert window.window(CONSOLE, "nope", "move/basic") == (CONSOLE, False)
    assert window.window("", "tok", "x") == ("", False)
    assert window.window("lab-mark tok end x\nrest", "tok", "x") == ("", False)


def test_marks_end_a_report() -> None:
    lines = stamped("BUG: Bad page map in process x  pte:1 pmd:2", "lab-mark tok end x", "outside")
    (hit,) = klog.parse(lines)
    assert "outside" not in hit.text
    marks = window.find_marks(CONSOLE.split("\n"), "tok")
    assert [(m.action, m.workload) for m in marks] == [
        ("begin", "move/basic"), ("end", "move/basic"), ("begin", "move/swap")
    ]  # fmt: skip


# ---------------------------------------------------------------- hostile input

SEEN = [line for log in LOGS for line in log.read_text(errors="replace").split("\n")][::7]
ODD = [
    "\x1b[",
    "\x00",
    "\r",
    "[    1.0]",
    "[    1.000000][    T1] ",
    "[",
    "=" * 40,
    "BUG: ",
    "\u2028",
]
PIECES = st.sampled_from([*SEEN, *ODD, "Call Trace:"])


@given(st.lists(PIECES | st.text(max_size=40), max_size=60))
def test_no_mixture_raises(lines: list[str]) -> None:
    for hit in klog.parse(lines):
        assert hit.title
        assert hit.kind
        hit.text.encode()
        assert "\x1b" not in hit.text
        assert hit.line >= 1
    window.window("\n".join(lines), "t", "w")


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_no_bytes_raise(lines: list[bytes]) -> None:
    list(klog.parse(lines))


HOSTILE = {
    "one long line": ["x" * 5_000_000],
    "one long line of stamps": ["[    1.000000][    T1] BUG: " * 100_000],
    "brackets": ["[" * 2_000_000],
    "escapes": ["\x1b]" * 1_000_000],
    "headers": ["[    1.000000][    T1] WARNING: CPU: 0 PID: 1 at " + "a/" * 1500] * 500,
    "in in in": ["[    1.000000][    T1] BUG: KASAN: " + "a in a / " * 450] * 500,
    "frames": ["[    1.000000][    T1] BUG: Bad page map", "[    1.000000][    T1] Call Trace:"]
    + ["[    1.000000][    T1]  f+0x1/0x2"] * 40_000,
    "callers": [f"[    1.000000][{f'T{i}':>6}] BUG: Bad page map" for i in range(15_000)],
    "open report": ["[    1.000000][    T1] BUG: KASAN: x in f+0x1/0x2"]
    + [f"[    1.000000][{f'T{i % 300}':>6}] BUG: Bad rss-counter state" for i in range(15_000)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_takes_linear_time(name: str) -> None:
    start = time.process_time()
    for hit in klog.parse(HOSTILE[name]):
        assert len(hit.text) < 100_000
    assert time.process_time() - start < 15
