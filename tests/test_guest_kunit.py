# SPDX-License-Identifier: GPL-2.0-only
"""The program that runs a KUnit suite in a guest, with a kernel's files and log that are played."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator import HOME
from orchestrator.evidence import ktap
from orchestrator.evidence.klog import parse as klog
from orchestrator.judge.verdict import allowed
from orchestrator.model.arch import ARCHES
from orchestrator.model.evidence import Hit
from orchestrator.model.names import Verdict
from orchestrator.plan.lab_yaml import load_config

FOLDER = HOME / "guest-tests"
# What 6.12 prints when a module with a suite is loaded; the second message has two lines.
SAID = (
    r"KTAP version 1",
    r"1..1",
    r"    KTAP version 1",
    r"    # Subtest: list_sort",
    r"    # module: test_list_sort",
    r"    1..2",
    r"    # list_sort_test: EXPECTATION FAILED at lib/test_list_sort.c:87\x0a"
    r"    Expected cur->value <= next->value, but\x0a        cur->value == 9 (0x9)\x0a",
    r"    not ok 1 list_sort_test",
    r"slab: a line of somebody else's",
    r"    ok 2 stable # SKIP no room",
    r"# list_sort: pass:0 fail:1 skip:1 total:2",
    r"not ok 1 list_sort",
)


def kernel_module(*suites: str) -> bytes:
    """An image with suites as ``struct kunit_suite`` has them, eight bytes from the start on."""
    names = b"".join(name.encode().ljust(256, b"\0") + bytes(64) for name in suites)
    return b"\x7fELF\0\0\0\0" + names


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """run.py, whose kernel is files below a folder."""
    monkeypatch.syspath_prepend(str(FOLDER / "lib"))
    spec = importlib.util.spec_from_file_location("kunit_run", FOLDER / "kunit/run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("modules", "debugfs", "kunit/parameters"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("modules", "debugfs", "kunit"):
        monkeypatch.setattr(module, name.upper(), str(tmp_path / name))
    (tmp_path / "kunit/parameters/filter_glob").write_text("none-at-boot")
    yield module
    sys.modules.pop("ktap", None)


def install(top: Path, name: str, image: bytes) -> None:
    """A module of the running kernel."""
    path = top / "modules" / os.uname().release / "kernel/lib" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image)


class Played:
    """A kernel log that has what a suite prints."""

    def __init__(self, program: ModuleType, said: tuple[str, ...]) -> None:
        self.log = program.Log.__new__(program.Log)
        self.log.begin()
        self.records = [f"6,{n},{n},-,caller=T9;{text}\n".encode() for n, text in enumerate(said)]

    def read(self, _file: int, _size: int) -> bytes:
        if not self.records:
            raise BlockingIOError
        return self.records.pop(0)


@pytest.fixture
def play(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a suite that prints this; give the exit status and what came out."""

    def work(suite: str, *said: str, start: Callable[[], None] = lambda: None) -> tuple[int, str]:
        played = Played(program, said)
        played.log.file = 0
        with monkeypatch.context() as patch:
            patch.setattr(program, "Log", lambda: played.log)
            patch.setattr(played.log, "wait", lambda: None)
            patch.setattr(program, "load", lambda _name: start())
            real = os.read
            patch.setattr(
                program.os, "read", lambda f, n: played.read(f, n) if f == 0 else real(f, n)
            )
            status = program.run(suite)
        return status, capfd.readouterr().out

    return work


def test_a_module_is_known_by_its_suites_names(program: ModuleType) -> None:
    image = kernel_module("list-kunit-test", "hlist")
    assert program.holds(image, "hlist")
    assert program.holds(image, "list-kunit-test")
    assert not program.holds(image, "list")
    assert not program.holds(b"12345" + image, "hlist")  # no structure begins there


def test_a_suite_in_a_module(play: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    install(tmp_path, "test_list_sort.ko", kernel_module("list_sort"))
    status, out = play("list_sort", *SAID)
    assert status == 1
    assert (tmp_path / "kunit/parameters/filter_glob").read_text() == "list_sort"
    report = ktap.parse(out)
    assert report.problems == ()
    found = {case.name: case for case in report.cases}
    failed = found["list_sort.list_sort_test"]
    assert failed.verdict is Verdict.FAIL
    assert "EXPECTATION FAILED at lib/test_list_sort.c:87" in "\n".join(failed.diagnostics)
    assert "cur->value == 9 (0x9)" in "\n".join(failed.diagnostics)
    assert found["list_sort.stable"].verdict is Verdict.SKIP
    assert "somebody" not in out
    assert failed.diagnostics[0].startswith("list_sort_test: EXPECTATION FAILED")


# A parameterised case: without a plan, and what fails is told a level further out.
PARAMETERS = (
    r"    KTAP version 1",
    r"    # Subtest: math-int_pow",
    r"    1..2",
    r"        KTAP version 1",
    r"        # Subtest: int_pow_test",
    r"        ok 1 base 0",
    r"    # int_pow_test: EXPECTATION FAILED at lib/math/tests/int_pow_kunit.c:40",
    r"        not ok 2 base 5",
    r"    # int_pow_test: pass:1 fail:1 skip:0 total:2",
    r"    not ok 1 int_pow_test",
    r"        KTAP version 1",
    r"        # Subtest: single",
    r"        ok 1 alone",
    r"    ok 2 single",
    r"not ok 1 math-int_pow",
)


def test_parameters_are_cases(play: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    install(tmp_path, "x.ko", kernel_module("math-int_pow"))
    status, out = play("math-int_pow", *SAID[:2], *PARAMETERS)
    assert status == 1
    report = ktap.parse(out)
    assert report.problems == ()
    found = {case.name: case for case in report.cases}
    bad = found["math-int_pow.int_pow_test.base 5"]
    assert bad.verdict is Verdict.FAIL
    assert any("int_pow_kunit.c:40" in line for line in bad.diagnostics)
    assert found["math-int_pow.int_pow_test.base 0"].verdict is Verdict.PASS
    assert found["math-int_pow.single.alone"].verdict is Verdict.PASS


def test_a_parameter_whose_result_was_lost_is_missed(
    play: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    install(tmp_path, "x.ko", kernel_module("math-int_pow"))
    lost = [line for line in PARAMETERS if "base 0" not in line]
    _, out = play("math-int_pow", *SAID[:2], *lost)
    assert any("2 cases planned in int_pow_test" in told for told in ktap.parse(out).problems)


def test_a_kernel_that_plans_its_parameters(
    play: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    install(tmp_path, "x.ko", kernel_module("math-int_pow"))
    planned = list(PARAMETERS)
    planned.insert(5, "        1..2")
    _, out = play("math-int_pow", *SAID[:2], *planned)
    assert out.count("        1..2\n") == 1
    assert ktap.parse(out).problems == ()


def test_a_suite_that_is_registered_is_started_by_its_file(
    play: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / "debugfs/damon").mkdir()
    (tmp_path / "debugfs/damon/run").write_text("")
    status, out = play("damon", *[line for line in SAID[2:] if "not ok" not in line], "ok 1 damon")
    assert (tmp_path / "debugfs/damon/run").read_text() == "1"
    assert status == 0
    assert out.startswith("KTAP version 1\n1..1\n    KTAP version 1\n")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ((), "is not built in, and the guest has no modules"),
        (
            ("modules/RELEASE/x.ko",),
            "no module has a suite damon; one that is built in needs kunit.filter",
        ),
        (("debugfs/damon/results",), "this kernel runs the suite damon at boot only"),
    ],
)
def test_a_suite_that_the_kernel_does_not_have(
    play: Callable[..., tuple[int, str]], tmp_path: Path, files: tuple[str, ...], reason: str
) -> None:
    for name in files:
        path = tmp_path / name.replace("RELEASE", os.uname().release)
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    status, out = play("damon")
    assert status == 4
    report = ktap.parse(out)
    assert report.skip_all is not None
    assert reason in report.skip_all


def test_a_module_that_the_kernel_does_not_take(
    play: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    def refuse() -> None:
        raise OSError(2, "No such file or directory", "busybox")

    install(tmp_path, "x.ko", kernel_module("list_sort"))
    status, out = play("list_sort", start=refuse)
    assert status == 1
    assert "No such file or directory: 'busybox'" in out
    assert "could not be started: exit status 1" in ktap.parse(out).bailed_out


def test_a_suite_whose_process_the_kernel_kills(
    play: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    install(tmp_path, "x.ko", kernel_module("list_sort"))
    status, out = play("list_sort", *SAID[:6], start=lambda: os.kill(os.getpid(), 9))
    assert status == 1
    assert "killed by signal 9" in ktap.parse(out).bailed_out


def test_a_kernel_that_runs_no_suite(play: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    install(tmp_path, "x.ko", kernel_module("list_sort"))
    _, out = play("list_sort", *SAID[:2], "kunit: disabled")
    assert "kunit.enable is off" in ktap.parse(out).bailed_out


# ---------------------------------------------------------------- what suites print on purpose


def report(what: str, culprit: str, *trace: str) -> Hit:
    """The report of a checker of memory, as its reader gives it."""
    lines = [
        "=" * 66, f"BUG: {what} in {culprit}", "", "Call Trace:", *(f" {frame}" for frame in trace),
        "CPU: 0 UID: 0 PID: 77 Comm: kunit_try_catch Tainted: G                 N 6.12.117 #1",
        "=" * 66,
    ]  # fmt: skip
    stamped = [f"[   10.{n:06}][   T77] {line}" for n, line in enumerate(lines)]
    (hit,) = klog.parse("\n".join(stamped))
    return hit


def depot(*trace: str) -> Hit:
    """What the depot of stacks says of a handle that is none, as 6.12.117 printed it."""
    lines = [
        "------------[ cut here ]------------",
        "pool index 100479 out of bounds (85) for stack id ffff8880",
        "WARNING: CPU: 0 PID: 106 at lib/stackdepot.c:451 depot_fetch_stack+0x56/0x70",
        "Modules linked in: kasan_test",
        "CPU: 0 UID: 0 PID: 106 Comm: kunit_try_catch Tainted: G    B            N 6.12.117 #1",
        "Call Trace:", " <TASK>", " stack_depot_print+0x17/0x40", *(f" {frame}" for frame in trace),
        " </TASK>", "---[ end trace 0000000000000000 ]---",
    ]  # fmt: skip
    (hit,) = klog.parse("\n".join(f"[  110.516050][  T106] {line}" for line in lines))
    return hit


@pytest.mark.parametrize(
    ("suite", "hit", "expected"),
    [
        (
            "kfence",
            report(
                "KFENCE: out-of-bounds read", "test_out_of_bounds_read+0xa6/0x234 [kfence_test]"
            ),
            True,
        ),
        ("kfence", report("KFENCE: use-after-free read", "kmem_cache_free+0xa6/0x234"), False),
        ("kfence", report("KFENCE: invalid free", "test_free+0x1/0x2 [some_driver]"), False),
        ("kfence", report("KASAN: slab-use-after-free", "test_free+0x1/0x2 [kfence_test]"), False),
        (
            "kasan",
            report(
                "KASAN: slab-use-after-free",
                "strchr+0x9/0x40",
                "kasan_strings+0x9/0x9 [kasan_test]",
            ),
            True,
        ),
        ("kasan", report("KASAN: slab-use-after-free", "strchr+0x9/0x40", "vfs_read+0x9/9"), False),
        (
            "kasan",
            depot(
                "print_report+0x5fc/0x620",
                "kasan_report+0x107/0x140",
                "kmalloc_oob_left+0xfd/0x220 [kasan_test]",
            ),
            True,
        ),
        ("kasan", depot("print_report+0x5fc/0x620", "kasan_report+0x1/2", "vfs_read+0x9/9"), False),
        ("kasan", depot("free_pages+0x1/0x2", "kmalloc_oob_left+0x9/9 [kasan_test]"), False),
        ("slub_test", report("KASAN: slab-use-after-free", "x+0x9/0x40 [slub_kunit]"), False),
    ],
)
def test_only_what_a_suite_prints_on_purpose_is_allowed(
    suite: str, hit: Hit, expected: bool
) -> None:
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    (spec,) = (w for w in config.workloads if w.name == f"kunit/{suite}")
    assert allowed(hit, spec.messages) is expected
