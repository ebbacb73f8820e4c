# SPDX-License-Identifier: GPL-2.0-only
"""Finds as C files: compiled with nothing but gcc, run on this kernel, told right from wrong."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from orchestrator import HOME
from orchestrator.model.finds import Find, parse_program
from orchestrator.report import reproducer_checks, reproducer_steps
from orchestrator.report.reproducer import NotTold, reproducer, why_not

WRONG, RIGHT, CANNOT = 1, 0, 4
MAP = "0 mmap at=0 n=8 prot=rw how=private"
WRITE = "0 write at=1 byte=3"
UFFD = ("0 userfaultfd how=plain", "0 register at=2 n=4 how=missing+wp")
root = pytest.mark.skipif(os.geteuid() != 0, reason="pagemap shows frames to root alone")


def find(rule: str, said: str, *program: str, **more: object) -> Find:
    step = parse_program(program)[-1].name
    return replace(Find(rule, step, said, program), **more)  # type: ignore[arg-type]


def run(one: Find, folder: Path) -> tuple[int, str]:
    """Compile a find's file as anybody would, warnings being errors, and run it."""
    source = folder / "find.c"
    source.write_text(reproducer(one, "6.12.117"))
    built = subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-o", folder / "find", source],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    done = subprocess.run(
        [folder / "find"], capture_output=True, text=True, timeout=90, check=False
    )
    return done.returncode, done.stdout


# Each rule with what holds on every kernel, and with what does not.
TOLD = [
    ("answer", "got EINVAL, expected ENOMEM", "got x, expected success or EINVAL",
     (MAP, "0 munmap at=1 n=2", "0 mlock at=0 n=4 # ENOMEM")),
    ("answer", "got x, expected SIGSEGV", "got x, expected success",
     (MAP, "0 munmap at=1 n=2", "0 read at=1 spot=0 # SIGSEGV")),
    ("answer", "got x, expected SIGBUS", "got x, expected SIGSEGV or success",
     (MAP, *UFFD, "0 write at=3 byte=1 # SIGBUS")),
    ("answer", "got x, expected EEXIST or EINVAL (some pages were done)", "got x, expected EAGAIN",
     (MAP, *UFFD, "0 copy at=2 n=1 how=plain byte=7", "0 copy at=2 n=1 how=wp byte=7 # EEXIST")),
    ("done", "got success with 1 of 2 pages done", None,
     (MAP, *UFFD, "0 copy at=2 n=2 how=plain byte=7")),
    ("done", "got success with 1 of 2 pages done", None, (MAP, *UFFD, "0 zeropage at=2 n=2")),
    ("read", "read 9, expected 3", "read 3, expected 4 or 5", (MAP, WRITE, "0 read at=1 spot=2")),
    ("read", "read 9, expected 0 or 8", "read 3, expected 1",
     (MAP, WRITE, "0 poke at=1 spot=2 byte=8", "0 read at=1 spot=2")),
    ("bytes", "page 1 (in memory) has byte 9 at offset 5, expected 3",
     "page 1 (in memory) has byte 3 at offset 5, expected 4 or 6", (MAP, WRITE)),
    ("mapping", "page 1: its mapping is r, expected rw locked",
     "page 1: its mapping is rw locked, expected rw",
     (MAP, "0 mlock at=1 n=2", "0 munlock at=2 n=1")),
    ("mapping", "page 1: its mapping is rw, expected rw locked-on-fault dontfork",
     "page 1: its mapping is rw, expected rw locked dontfork",
     (MAP, "0 mlock-onfault at=1 n=2", "0 dontfork at=0 n=8")),
    ("mapping", "page 2: its mapping is rw, expected r wipeonfork",
     "page 2: its mapping is rw, expected rw wipeonfork",
     (MAP, "0 wipeonfork at=1 n=2", "0 mprotect at=2 n=1 prot=r")),
    ("mapping", "page 3: its mapping is rw, expected unmapped",
     "page 3: its mapping is rw, expected none", (MAP, "0 munmap at=2 n=3")),
    ("mapping", "page 9: its mapping is rw, expected none shared",
     "page 9: its mapping is rw, expected none",
     ("0 mmap at=9 n=1 prot=none how=shared+noreplace",)),
    ("registration", "page 3: its mapping is rw, expected rw missing wp",
     "page 3: its mapping is rw, expected rw", (MAP, *UFFD, "0 wake at=3 n=1")),
    ("registration", "page 3: its mapping is rw, expected rw",
     "page 3: its mapping is rw, expected rw missing", (MAP, *UFFD, "0 unregister at=3 n=1")),
    ("registration", "page 3: its mapping is rw, expected rw",
     "page 3: its mapping is rw, expected rw wp", (MAP, *UFFD, "0 close")),
    ("merged", "page 2 is in one mapping with the page before, which differs", None,
     (MAP, "0 mprotect at=2 n=1 prot=r")),
    ("uffd-wp", "page 2 is not write-protected by userfaultfd",
     "page 2 is write-protected by userfaultfd",
     (MAP, *UFFD, "0 zeropage at=2 n=1", "0 unprotect at=2 n=1", "0 writeprotect at=2 n=1")),
    ("uffd-wp", "page 2 is write-protected by userfaultfd",
     "page 2 is not write-protected by userfaultfd",
     (MAP, *UFFD, "0 copy at=2 n=1 how=wp byte=1", "0 unprotect at=2 n=1")),
    ("VmLck", "VmLck is 9 pages, expected 3", "VmLck is 3 pages, expected 2",
     (MAP, "0 mlock at=1 n=3")),
]  # fmt: skip
# What only root can be shown.
FRAMES = [
    ("state", "page 1 is none, expected present (entry 0)",
     "page 1 is present, expected zero-page|none|marker|swapped (entry 0)", (MAP, WRITE)),
    ("state", "page 1 is none, expected zero-page (entry 0)",
     "page 1 is none, expected present (entry 0)", (MAP, "0 populate-read at=1 n=1")),
    ("state", "page 1 is none, expected none|swapped (entry 0)",
     "page 1 is none, expected present (entry 0)", (MAP, WRITE, "0 dontneed at=1 n=1")),
    ("state", "page 9 is none, expected shared-present (entry 0)",
     "page 9 is none, expected present (entry 0)",
     ("0 mmap at=9 n=1 prot=rw how=shared+populate",)),
    ("shared-frame", "page 1 of process 0 and page 2 of process 0 lie in one frame", None,
     (MAP, WRITE, "0 write at=2 byte=1")),
    ("split-frame", "page 1 of process 0 and page 1 of process 1 are no longer in one frame", None,
     (MAP, WRITE, "0 fork to=1")),
    ("shared-frame", "page 1 of process 0 and page 1 of process 1 lie in one frame", None,
     (MAP, WRITE, "0 fork to=1", "1 poke at=1 spot=0 byte=5")),
    ("exclusive", "page 1 of process 0 is mapped by process 1 too, and said to be exclusive", None,
     (MAP, WRITE, "0 fork to=1")),
    ("mlocked", "page 1 of process 0 is locked, and its frame is not counted as that",
     "page 1 of process 0 was never locked, and its frame is counted as that",
     (MAP, WRITE, "0 mlock at=1 n=1")),
]  # fmt: skip


def quick(rows: list[tuple[str, str, str | None, tuple[str, ...]]]) -> list[ParameterSet]:
    """A test of each row, which compiles a file or two: only the first of each rule is quick."""
    seen: set[str] = set()
    found = []
    for row, name in zip(rows, ids(rows), strict=True):
        marks = [pytest.mark.slow] if row[0] in seen else []
        seen.add(row[0])
        found.append(pytest.param(*row, id=name, marks=marks))
    return found


def ids(rows: list[tuple[str, str, str | None, tuple[str, ...]]]) -> list[str]:
    return [f"{rule}-{program[-1].partition(' #')[0]}" for rule, _, _, program in rows]


@pytest.mark.parametrize(("rule", "right", "wrong", "program"), quick(TOLD))
def test_right_is_told_from_wrong(
    rule: str, right: str, wrong: str | None, program: tuple[str, ...], tmp_path: Path
) -> None:
    status, said = run(find(rule, right, *program), tmp_path)
    assert status == RIGHT, said
    if wrong is not None:
        status, said = run(find(rule, wrong, *program), tmp_path)
        assert status == WRONG, said


# Steps with a piece of the file of their own: what they do is seen in what they answer or change.
SHARED = "0 mmap-file at=0 n=4 prot=rw how=shared file=1 from=0"
DONE = [
    ("read", "read 9, expected 4", "read 4, expected 0",
     ("0 file-write file=1 from=2 byte=4", SHARED, "0 read at=2 spot=1")),
    ("read", "read 9, expected 6", "read 6, expected 0",
     (SHARED, "0 poke at=3 spot=2 byte=6", "0 file-read file=1 from=3 spot=2")),
    ("read", "read 9, expected 0", "read 0, expected 4",
     (SHARED, "0 write at=1 byte=4", "0 punch file=1 from=1 n=1", "0 read at=1 spot=0")),
    ("read", "read 9, expected 0", "read 0, expected 4",
     (SHARED, "0 write at=1 byte=4", "0 remove at=1 n=1", "0 read at=1 spot=0")),
    ("read", "read 9, expected 5", "read 5, expected 0",
     ("0 mmap-file at=0 n=4 prot=rw how=private+populate file=0 from=2",
      "0 poke at=1 spot=0 byte=5",
      "0 truncate file=0 len=8", "0 file-read file=0 from=3 spot=0", "0 read at=1 spot=0")),
    ("answer", "got x, expected ENODATA", "got x, expected success",
     ("0 truncate file=0 len=2", "0 file-read file=0 from=2 spot=0 # ENODATA")),
    ("answer", "got x, expected SIGBUS", "got x, expected success",
     (SHARED, "0 truncate file=1 len=1", "0 read at=1 spot=0 # SIGBUS")),
    ("file", "memfd 1 is 3 bytes long, expected 2 pages",
     "memfd 1 is 3 bytes long, expected 5 pages",
     ("0 truncate file=1 len=2",)),
    ("file", "page 2 of memfd 1 has byte 1 at offset 7, expected 4",
     "page 2 of memfd 1 has byte 1 at offset 7, expected 0",
     (SHARED, "0 fork to=1", "1 write at=2 byte=4", "1 exit")),
    ("mapping", "page 1: its mapping is rw, expected rw shared memfd1",
     "page 1: its mapping is rw, expected rw shared memfd0", (SHARED,)),
    ("mapping", "page 9: its mapping is rw memfd1, expected rw",
     "page 9: its mapping is rw, expected rw memfd1",
     (SHARED, "0 mmap at=9 n=1 prot=rw how=private")),
    ("mapping", "page 3 maps page 9 of its memfd, expected 5",
     "page 3 maps page 9 of its memfd, expected 3",
     ("0 mmap-file at=1 n=4 prot=r how=private file=0 from=3",)),
    ("read", "read 9, expected 7", "read 7, expected 3",
     (MAP, WRITE, "0 vfork at=1 spot=1 byte=7", "0 read at=1 spot=1")),
    ("answer", "got x, expected SIGSEGV", "got x, expected success",
     (MAP, "0 mprotect at=1 n=1 prot=r", "0 vfork at=1 spot=1 byte=7 # SIGSEGV")),
    ("read", "read 9, expected 3", "read 3, expected 4",
     (MAP, WRITE, "0 fork to=2", "0 write at=1 byte=4", "0 vm-read at=1 to=2 spot=3")),
    ("read", "read 9, expected 8", "read 8, expected 3",
     (MAP, WRITE, "0 fork to=2", "0 fork to=1", "2 vm-write at=1 to=1 byte=8",
      "1 read at=1 spot=0")),
    ("answer", "got x, expected EFAULT", "got x, expected success",
     (MAP, "0 fork to=2", "2 vm-write at=9 to=0 byte=8 # EFAULT")),
    ("answer", "got x, expected success", "got x, expected EINVAL",
     (MAP, WRITE, "0 fork to=1", "1 process-madvise at=0 n=4 to=0 how=cold")),
    ("answer", "got x, expected success", "got x, expected EINVAL",
     (MAP, WRITE, "0 pagemap-scan at=0 n=8 how=look")),
    ("uffd-wp", "page 3 is not write-protected by userfaultfd",
     "page 3 is write-protected by userfaultfd",
     (MAP, "0 userfaultfd how=async", "0 register at=2 n=4 how=wp", "0 write at=3 byte=1",
      "0 pagemap-scan at=2 n=4 how=protect")),
    ("answer", "got x, expected EBUSY", "got x, expected success",
     (MAP, WRITE, "0 pin at=1 n=1", "0 pin at=2 n=1 # EBUSY")),
    ("answer", "got x, expected ENXIO", "got x, expected success",
     (MAP, WRITE, "0 pin at=1 n=1", "0 fork to=1", "0 unpin", "0 unpin # ENXIO")),
    ("answer", "got x, expected success", "got x, expected EAGAIN",
     (MAP, WRITE, "0 vmsplice at=1", "0 fork to=1", "1 vmsplice at=1", "1 drain", "0 drain")),
    ("answer", "got x, expected SIGBUS", "got x, expected success",
     (MAP, UFFD[0], "0 register at=2 n=4 how=missing", "0 poison at=3 n=1",
      "0 read at=3 spot=0 # SIGBUS")),
    ("done", "got success with 1 of 2 pages done", None,
     (MAP, UFFD[0], "0 register at=2 n=4 how=missing", "0 poison at=3 n=2")),
    ("read", "read 9, expected 4", "read 4, expected 0",
     ("0 file-write file=1 from=2 byte=4", SHARED, UFFD[0], "0 register at=0 n=4 how=minor",
      "0 continue at=2 n=1", "0 read at=2 spot=0")),
    ("registration", "page 2: its mapping is rw, expected rw shared memfd1 minor",
     "page 2: its mapping is rw, expected rw shared memfd1",
     (SHARED, UFFD[0], "0 register at=0 n=4 how=minor")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "right", "wrong", "program"), quick(DONE))
def test_what_a_step_does_is_seen(
    rule: str, right: str, wrong: str | None, program: tuple[str, ...], tmp_path: Path
) -> None:
    test_right_is_told_from_wrong(rule, right, wrong, program, tmp_path)


# What not every kernel has.
NEWER = [
    ("answer", "got x, expected SIGSEGV",
     (MAP, "0 guard at=1 n=1", "0 read at=1 spot=0 # SIGSEGV")),
    ("read", "read 9, expected 0",
     (MAP, "0 guard at=1 n=1", "0 unguard at=1 n=1", "0 read at=1 spot=0")),
    ("read", "read 9, expected 3", (MAP, WRITE, "0 reclaim how=some", "0 read at=1 spot=0")),
    ("read", "read 9, expected 3",
     (MAP, WRITE, "0 fork to=1", "0 reclaim how=all", "1 read at=1 spot=0")),
    ("read", "read 9, expected 3",
     (MAP, WRITE, "0 fork to=1", "0 ksm-scan how=unmerge", "1 read at=1 spot=0")),
    ("read", "read 9, expected 3",
     ("0 folios", MAP, "0 hugepage at=0 n=8", WRITE, "0 read at=1 spot=0")),
    ("read", "read 9, expected 3",
     ("0 folios", MAP, WRITE, "0 split at=0 n=8", "0 read at=1 spot=0")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "right", "program"), NEWER)
def test_what_this_kernel_lacks_is_said(
    rule: str, right: str, program: tuple[str, ...], tmp_path: Path
) -> None:
    status, said = run(find(rule, right, *program), tmp_path)
    lacks = "step 2 came to: Invalid argument" in said or "no control group" in said
    lacks |= "no folios between" in said or "debugfs is not mounted" in said
    assert status == RIGHT or (status == CANNOT and lacks), said


@root
def test_poison_and_guards_are_states(tmp_path: Path) -> None:
    poisoned = (MAP, UFFD[0], "0 register at=2 n=4 how=missing", "0 poison at=3 n=1")
    one = find("state", "page 3 is none, expected poison (entry 0)", *poisoned)
    assert run(one, tmp_path)[0] == RIGHT
    wrong = find("state", "page 3 is none, expected guard|marker (entry 0)", *poisoned)
    assert run(wrong, tmp_path)[0] == WRONG
    guarded = find("state", "page 1 is none, expected guard (entry 0)", MAP, "0 guard at=1 n=1")
    status, said = run(guarded, tmp_path)
    assert status == RIGHT or (status == CANNOT and "Invalid argument" in said)


@root
@pytest.mark.parametrize(("rule", "right", "wrong", "program"), quick(FRAMES))
def test_frames_are_told_too(
    rule: str, right: str, wrong: str | None, program: tuple[str, ...], tmp_path: Path
) -> None:
    test_right_is_told_from_wrong(rule, right, wrong, program, tmp_path)


@root
def test_processes_are_born_and_go_and_each_has_its_own(tmp_path: Path) -> None:
    program = (
        MAP,
        WRITE,
        "0 fork to=1",
        "1 write at=1 byte=4",
        "1 fork to=3",
        "0 kill",
        "3 poke at=1 spot=0 byte=6",
    )
    for process, byte in ((1, 4), (3, 6)):
        said = f"page 1 (in memory) has byte 9 at offset 0, expected {byte}"
        one = find("bytes", said, *program, process=process)
        assert run(one, tmp_path)[0] == RIGHT
    gone = find("answer", "got x, expected success", *program, "1 exit", "3 fork to=2", "2 exit")
    assert run(gone, tmp_path)[0] == RIGHT


def test_the_counters_of_a_process(tmp_path: Path) -> None:
    one = find(
        "RssAnon", "RssAnon is 9 pages, expected 8 by page walk", MAP, WRITE, "0 dontneed at=0 n=3"
    )
    status, said = run(one, tmp_path)
    # Since v6.18 what a process has is summed up now and then.
    assert status == RIGHT or (status == CANNOT and "not exact" in said)


def test_a_step_that_comes_to_something_else_decides_nothing(tmp_path: Path) -> None:
    one = find(
        "mapping", "page 1: its mapping is x, expected r", MAP, "0 munmap at=1 n=2 # EINVAL", WRITE
    )
    assert run(one, tmp_path) == (
        CANNOT,
        "step 2 came to: success; when it was found: Invalid argument\n"
        "cannot tell: a step before the one in question\n",
    )
    # The last step has to come to what it came to as well, where its answer is not in question.
    last = find(
        "mapping", "page 1: its mapping is x, expected r", MAP, "0 munmap at=1 n=2 # EINVAL"
    )
    assert run(last, tmp_path)[0] == CANNOT


@root
def test_where_the_kernel_was_free_the_pages_have_to_be_what_they_were(tmp_path: Path) -> None:
    program = (MAP, WRITE, "0 cold at=1 n=1", "0 mprotect at=1 n=1 prot=r")
    said = "page 1: its mapping is r, expected rw"
    as_here = find(
        "mapping", said, *program, before=(".p..............................", "", "", "")
    )
    assert run(as_here, tmp_path)[0] == WRONG
    swapped = replace(as_here, before=(".s..............................", "", "", ""))
    assert run(swapped, tmp_path) == (
        CANNOT,
        "cannot tell: the steps before the last came to other pages\n",
    )


@root
def test_what_this_kernel_does_not_keep_is_not_judged(tmp_path: Path) -> None:
    """Without soft-dirty bits (this host's kernel may have none) nothing is said of them."""
    for rule, said in (
        ("soft-dirty", "page 1 is not soft-dirty"),
        ("mapping-soft-dirty", "page 1: its mapping is not soft-dirty"),
    ):
        status, said = run(find(rule, said, MAP, WRITE), tmp_path)
        assert status == RIGHT or (status == CANNOT and "no soft-dirty bits" in said)


def test_the_file_says_what_it_is_about_and_stays_short() -> None:
    one = find("mapping", "page 19: its mapping is rw, expected rw locked",
               "0 mmap at=15 n=7 prot=rw how=private", "0 mlock at=19 n=3",
               "0 remap-dontunmap at=20 n=1 to=5")  # fmt: skip
    text = reproducer(one, "6.18.44")
    lines = text.splitlines()
    assert len(lines) <= 100
    about = " ".join(line.removeprefix(" * ") for line in lines[1:])
    assert (
        "Found on Linux 6.18.44 by random programs: mapping is wrong after remap-dontunmap" in about
    )
    assert all(f" *   {step}" in lines for step in one.program)
    model = "The model: the mapping of page 19 is rw locked."
    (at,) = [number for number, line in enumerate(lines) if model in line]
    assert "mremap(at(20)" in lines[at + 1]
    assert not re.search(r'#include "', text)
    assert "uffd" not in text


def test_what_a_guest_says_steers_no_comment() -> None:
    one = find("mapping", "page 1: its mapping is */ x, expected rw", MAP)
    with pytest.raises(NotTold):
        reproducer(one)
    assert "*/" not in "".join(
        reproducer(find("answer", "got x, expected success", MAP), "6 */ 1\n").split("*/")[0]
    )


def test_what_cannot_be_told_is_said_in_a_sentence() -> None:
    assert "no C text for the step 'process-vm-readv' yet" in why_not(
        find("answer", "got x, expected success", "0 process-vm-readv at=1 n=1")
    )
    odd = "0 mmap at=1 n=1 prot=rw kind=memfd how=private"
    assert "'mmap' knows no kind=" in why_not(find("answer", "got x, expected success", odd))
    assert "how=memfd" in why_not(
        find("answer", "got x, expected success", "0 mmap at=1 n=1 prot=rw how=memfd")
    )
    assert "rule 'order'" in why_not(find("order", "x", MAP))
    for line in ("& 0 munmap at=1 n=1", "0 munmap at=1 n=1 fail=2"):
        assert "at the same time, or allocations that fail" in why_not(
            find("state", "page 1 is none, expected present (entry 0)", MAP, line)
        )
    assert "only the explorer" in why_not(find("RssShmem", "x", MAP))
    assert "no errno" in why_not(find("answer", "got x, expected EWHATEVER", MAP))
    assert "not told in a form" in why_not(find("state", "page 1 is odd", MAP))
    assert why_not(find("state", "page 1 is none, expected present (entry 0)", MAP)) == ""


def test_each_rule_of_the_explorer_is_known() -> None:
    """Those that look.h, run.h and shrink.h have found something by."""
    folder = HOME / "guest-tests" / "explore"
    text = "".join((folder / name).read_text() for name in ("look.h", "run.h", "shrink.h"))
    named = set(re.findall(r'found\([^,]*finding,\s*"([\w-]+)"', text))
    assert len(named) > 15
    assert named | {"registration"} <= set(reproducer_checks.RULES)


def test_each_step_of_the_explorer_has_its_text(compiled: Callable[..., dict[str, Path]]) -> None:
    forms = (HOME / "guest-tests" / "explore" / "step.h").read_text()
    steps = set(re.findall(r'\[OP_\w+\] = \{ "([\w-]+)"', forms))
    assert set(reproducer_steps.STEPS) == steps
    names = ("at", "n", "len", "to", "byte", "spot", "file", "from")
    fields = dict.fromkeys(names, "1")
    for name, step in reproducer_steps.STEPS.items():
        for field, words in (step.words or {}).items():
            for word in words:
                given = {f: v for f, v in fields.items() if f"{{{f}}}" in step.text} | {field: word}
                line = f"0 {name} " + " ".join(f"{f}={v}" for f, v in given.items())
                assert reproducer_steps.expression(parse_program([line])[0])
