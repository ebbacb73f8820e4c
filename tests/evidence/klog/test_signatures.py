# SPDX-License-Identifier: GPL-2.0-only
"""One bug has one signature, wherever and whenever it shows; two bugs have two."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from klogs import DATA, LOGS, each_log, found

from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog.titles import lock_classes, signature, skeleton, source_path

# So many of these, and a few of each other log.
MUTATIONS = 200
OFTEN = {
    "warning", "kasan-uaf", "lockdep-circular", "bad-page-state", "slub", "hung-task",
    "x86-csd-lock", "x86-lkdtm-exception", "arm64-lkdtm-bug", "x86-rcu-stall",
    "x86-mixed-two-oopses",
}  # fmt: skip

_SUFFIXES = ("", "", ".constprop.0", ".isra.0", ".part.0", ".cold", ".isra.0.cold", ".part.12")
_STAMP = re.compile(r"(?m)\[ *(\d+)\.(\d{6})\]")
_CALLER = re.compile(r"\[ *T(\d+)\]")
_PID = re.compile(
    r"(?<=PID: )\d+|(?<=pid )\d+|(?<=pid:)\d+|(?<=pid: )\d+|(?<=pid=)\d+|(?<=by task )\d+"
    r"|(?<=process )\d+(?= \()"
)
_CPU = re.compile(r"(?<=CPU: )\d+|(?<=CPU#)\d+|(?<=cpu )\d+|(?<=\bCPU )\d+|(?<=\bCPU)\d+(?=:|,)")
_ADDRESS = re.compile(r"\bffff[0-9a-f]{12}\b|(?<=: )[0-9a-f]{16}\b|\b00000000[0-9a-f]{8}\b")
_OFFSET = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\.\w+(?:\.\d+)?)*\+0x[0-9a-f]+/0x[0-9a-f]+")
_LINE = re.compile(r"(?<=\.[chS]:)\d+")
_COMM = re.compile(r"Comm: (\S+) ")


def mutate(text: str, rng: random.Random) -> str:
    """The same log from another boot of another build: everything that is not the bug differs."""
    if "Linux version" not in text:
        shift = rng.randrange(5000)
        text = _STAMP.sub(lambda m: f"[{int(m[1]) + shift:5d}.{m[2]}]", text)
    pids: dict[str, int] = defaultdict(lambda: rng.randrange(2, 99_999))
    cpus: dict[str, int] = defaultdict(lambda: rng.randrange(256))

    def number(known: dict[str, int]) -> Callable[[re.Match[str]], str]:
        return lambda m: str(known[m[0]])

    callers: set[int] = set()

    def caller(m: re.Match[str]) -> str:
        while m[1] not in pids and pids[m[1]] in callers:
            del pids[m[1]]
        callers.add(pids[m[1]])
        return f"[{'T' + str(pids[m[1]]):>6}]"

    text = _CALLER.sub(caller, text)
    for comm in sorted(set(_COMM.findall(text))):
        if comm in ("init", "swapper", "swapper/0", "swapper/1"):
            continue
        name = "".join(rng.choice("abcdefgh-") for _ in range(8)).strip("-") + "qqx"
        quoted = re.escape(comm)
        text = re.sub(rf"(?<=Comm: ){quoted}(?= )|(?<=name: ){quoted}$|(?<=process ){quoted}(?= )"
                      rf"|\b{quoted}(?=/\d+\b)|(?<=\[){quoted}(?=:\d+\])|(?<=task ){quoted}(?=:\d)"
                      rf"|\b{quoted}(?= invoked oom)|\b{quoted}(?=: page alloc)",
                      name, text, flags=re.M)  # fmt: skip
    text = re.sub(r"(?<=qqx/)\d+\b|(?<=qqx:)\d+\b", number(pids), text)
    text = _PID.sub(number(pids), text)
    text = _CPU.sub(number(cpus), text)
    text = _ADDRESS.sub(lambda m: m[0][:4] + f"{rng.getrandbits(64):016x}"[: len(m[0]) - 4], text)
    suffix: dict[str, str] = defaultdict(lambda: rng.choice(_SUFFIXES))
    text = _OFFSET.sub(
        lambda m: (
            f"{m['name']}{suffix[m['name']]}+{rng.randrange(1, 999):#x}/{rng.getrandbits(12):#x}"
        ),
        text,
    )
    text = _LINE.sub(lambda _: str(rng.randrange(10, 9999)), text)
    return text.replace("6.12.117", f"6.12.{rng.randrange(200)}-rc{rng.randrange(9)}+")


@each_log(slow=OFTEN)
def test_the_same_bug_keeps_its_signature(log: Path) -> None:
    text = log.read_text(errors="replace")
    wanted = [(h.kind, h.blamed, h.signature) for h in found(log)]
    for seed in range(MUTATIONS if log.stem in OFTEN else 8):
        other = mutate(text, random.Random(f"{log.stem} {seed}"))
        assert [(h.kind, h.blamed, h.signature) for h in klog.parse(other)] == wanted, (
            seed,
            other,
        )


def test_mutations_change_everything_else() -> None:
    text = (DATA / "warning.log").read_text()
    other = mutate(text, random.Random(1))
    assert "T61" not in other
    assert "move-basic" not in other
    assert "userfaultfd.c:1203" not in other
    assert "+0x9b4" not in other
    assert len(other.split("\n")) == len(text.split("\n"))


def test_two_bugs_have_two_signatures_and_one_bug_has_one() -> None:
    """``bug`` in the expectations names a bug that several logs show; any other hit is its own."""
    bugs: dict[str, set[str]] = defaultdict(set)
    signatures: dict[str, set[str]] = defaultdict(set)
    for log in LOGS:
        wanted = json.loads(log.with_suffix(".json").read_text())["hits"]
        for i, (hit, want) in enumerate(zip(found(log), wanted, strict=True)):
            bug = want.get("bug", f"{log.stem} {i}")
            bugs[bug].add(hit.signature)
            signatures[hit.signature].add(bug)
    assert {k: v for k, v in bugs.items() if len(v) > 1} == {}
    assert {k: v for k, v in signatures.items() if len(v) > 1} == {}
    assert len(bugs) > 60


def test_signatures_of_earlier_runs_are_still_found() -> None:
    # Stored runs are compared by these: they change only where two bugs shared one.
    known = {
        "warning": "91f17d2ae38512b2",
        "null-deref-x86": "d2a086e265d639a7",
        "bad-rss-counter": "b15ec583e308dda8",
        "vm-bug-on-folio": "a499f69efea4e82b",
    }
    for name, value in known.items():
        assert found(DATA / f"{name}.log")[0].signature == value


def warn(message: str, place: str = "mm/foo.c:12 f+0x1/0x2") -> str:
    lines = [
        "------------[ cut here ]------------", message, f"WARNING: CPU: 0 PID: 1 at {place}",
        "Modules linked in:", "RIP: 0010:f+0x1/0x2", "Call Trace:", " f+0x1/0x2", " g+0x1/0x2",
        "---[ end trace 0000000000000000 ]---",
    ]  # fmt: skip
    (hit,) = klog.parse([line for line in lines if line])
    return hit.signature


def test_the_words_of_a_warning_tell_two_apart() -> None:
    assert warn("left 3 pages at ffff888004a5c3c8") == warn("left 44 pages at ffff888004a00000")
    assert warn('device "vda" is gone') == warn('device "vdb1" is gone')
    assert warn("one thing") != warn("another thing")
    assert warn("one thing") != warn("")
    assert warn("one thing", "mm/foo.c:12 f+0x1/0x2") == warn("one thing", "mm/foo.c:99 f+0x7/0x8")


def test_lock_classes() -> None:
    lines = [
        "a/1 is trying to acquire lock:",
        "ffff888004a01f28 (&mm->mmap_lock#2){++++}-{3:3}, at: move_pages+0x5d2/0x13d0",
        "but task is already holding lock:",
        "ffffffff82a3c3c8 ((work_completion)(&x->work)){+.+.}-{0:0}, at: f+0x1/0x2",
        " #0: ffff888004a5c3c8 (&other){++++}-{3:3}, at: g+0x11/0x40",
    ]
    assert lock_classes(lines) == ("&mm->mmap_lock", "(work_completion)(&x->work)")
    assert lock_classes(reversed(lines[1:4])) == lock_classes(lines)
    assert lock_classes([]) == ()


def test_skeleton() -> None:
    assert (
        skeleton("trigger count: 2 of 'x' at 0xffff888004a5c3c8") == "trigger count: N of at ADDR"
    )
    assert skeleton("") == ""


def test_more_changes_nothing_where_there_is_none() -> None:
    assert signature("k", "t", "f") == signature("k", "t", "f", ())


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("mm/rmap.c", "mm/rmap.c"),
        ("/build/linux-6.12/mm/rmap.c", "mm/rmap.c"),
        ("../trees/x/./include/linux/mm.h", "include/linux/mm.h"),
        ("./include/linux/mm.h", "include/linux/mm.h"),
        ("arch/x86/kernel/cpu/common.c", "arch/x86/kernel/cpu/common.c"),
        ("/src/arch/arm64/mm/fault.c", "arch/arm64/mm/fault.c"),
        ("drivers/net/virtio_net.c", "drivers/net/virtio_net.c"),
        ("kernel/locking/lockdep.c", "kernel/locking/lockdep.c"),
    ],
)
def test_source_paths(path: str, wanted: str) -> None:
    assert source_path(path) == wanted
