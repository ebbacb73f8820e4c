# SPDX-License-Identifier: GPL-2.0-only
"""A cell on the host, with a real make and compiler, and real programs in the sandbox."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kernel_fixtures import cache, fetch, kernel

from orchestrator.host import sandbox
from orchestrator.host.cache.files import Cache
from orchestrator.judge.outcome import ENDED, STOPPED, left_out_of, not_run_text
from orchestrator.model.errors import Interrupted
from orchestrator.model.kernel import KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CellRecord
from orchestrator.model.signs import Signs
from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    HostTest,
    KernelSpec,
    MessageRules,
    WorkloadSpec,
)
from orchestrator.runner import host_cell
from orchestrator.runner.context import Context, Event, Kernel, Machine, RunValues

__all__ = ["cache", "fetch", "kernel"]

OWN = "tools/testing/shapes"
MAKEFILE = (
    "all: round idle early\nround: round.o value.o\n"
    "value.c: ../../../lib/value.c\n\tsed -e 's/^static //' < $< > $@\n"
)
TREE = {
    "lib/value.c": "static int value(void)\n{\n\treturn 3;\n}\n",
    f"{OWN}/Makefile": MAKEFILE,
    f"{OWN}/round.c": '#include <stdio.h>\n#include <assert.h>\nint value(void);\n'
    'int main(void)\n{\n\tputs("ok 1 : first: passed");\n\tassert(value() == 3);\n\treturn 0;\n}\n',
    f"{OWN}/idle.c": "#include <unistd.h>\nint main(void) { return sleep(60); }\n",
    f"{OWN}/early.c": '#include <stdio.h>\nint main(void) { puts("assertion failed at early.c:2"); '
    "return 0; }\n",
}  # fmt: skip


def spec(target: str, **more: object) -> WorkloadSpec:
    test = HostTest(OWN, target, ("lib/value.c",), packages=("x-dev",))
    values: dict[str, object] = {"timeout": 30.0, **more}
    return WorkloadSpec(f"host/shapes/{target}", "host", None, target, host=test, **values)  # type: ignore[arg-type]


@pytest.fixture
def run(cache: Cache, kernel, fetch, tmp_path) -> Callable[..., tuple[CellRecord, list[Event]]]:
    for name, text in TREE.items():
        (kernel / name).parent.mkdir(parents=True, exist_ok=True)
        (kernel / name).write_text(text)

    def work(
        *specs: WorkloadSpec,
        fail_fast: bool = False,
        done: tuple[str, ...] = (),
        signs: tuple[tuple[str, Signs], ...] = (),
    ) -> tuple[CellRecord, list[Event]]:
        tree = fetch(f"path:{kernel}").tree
        source = KernelSpec("k", f"path:{kernel}")
        made = Kernel(KernelTree(source, "6.12.117", tree, tree), "slot", source.source)
        build = Build("k/host/x86_64", source, HOST_CONFIG, "x86_64")
        cell = Cell("k/host/x86_64/-", build, HOST_SHAPE, specs, done=done, signs=signs)
        events: list[Event] = []
        machine = Machine(cache, tmp_path / "run", tmp_path)

        def listen(event: Event) -> None:
            events.append(event)
            if fail_fast and event.verdict is Verdict.FAIL:
                machine.ending.set()

        context = Context(RunValues("r", 1), machine, listen)
        return host_cell.run_host_cell(cell, made, context), events

    return work


def test_a_clean_tree_passes_and_its_output_is_kept(run, tmp_path) -> None:
    record, events = run(spec("round"))
    assert [(case.case, case.verdict) for case in record.cases] == [
        ("first", Verdict.PASS), ("program", Verdict.PASS),
    ]  # fmt: skip
    assert (record.verdict, record.accelerator, record.shape) == (Verdict.PASS, "", "-")
    said = tmp_path / "run/cells/k__host__x86_64__-/host__shapes__round.ktap"
    assert said.read_text() == "ok 1 : first: passed\n"
    assert [event.text for event in events if event.stage in ("build", "run")] == [
        f"building {OWN}", "host/shapes/round",
    ]  # fmt: skip


def test_a_wrong_line_is_a_case_with_file_and_line_and_a_way_to_repeat_it(run, kernel) -> None:
    (kernel / "lib/value.c").write_text(TREE["lib/value.c"].replace("3", "4"))
    record, _ = run(spec("round"))
    bad = record.cases[-1]
    assert bad.reason == f"{OWN}/round.c:7: main(): Assertion `value() == 3' failed"
    assert (bad.case, record.verdict) == ("main: value() == 3", Verdict.FAIL)
    assert bad.rerun == "lab rerun r 'k/host/x86_64/-:host/shapes/round:main: value() == 3'"


def test_limits_warnings_and_programs_that_are_not_there(run, kernel) -> None:
    (kernel / OWN / "Makefile").write_text(MAKEFILE + "round: LDLIBS += -lnobodyhasthis\n")
    allowed = MessageRules(allows=("early",))
    record, _ = run(
        spec("idle", timeout=1.0), spec("early"), spec("early", messages=allowed),
        spec("gone"), spec("round"),
    )  # fmt: skip
    idle, early, also, gone, lacks = record.cases
    assert (idle.verdict, idle.reason) == (
        Verdict.FAIL, "it did not end within its time (1 s) and was killed",
    )  # fmt: skip
    assert early.reason.startswith(f"{OWN}/early.c:2: main(): warning: ")
    assert (also.case, also.verdict) == ("program", Verdict.PASS)
    assert (gone.case, gone.verdict) == ("needs", Verdict.SKIP)
    assert (lacks.case, lacks.verdict) == ("build", Verdict.SKIP)
    assert "apt-get install" in lacks.reason


def test_the_sources_of_a_folder_are_listed_once(run, monkeypatch) -> None:
    asked = []
    real = host_cell.host_sources.of_tree
    monkeypatch.setattr(
        host_cell.host_sources, "of_tree", lambda *words: asked.append(words) or real(*words)
    )
    record, _ = run(spec("round"), spec("early"), spec("early", args=("again",)))
    assert [case.workload for case in record.cases if case.verdict is Verdict.FAIL] == [
        "host/shapes/early", "host/shapes/early",
    ]  # fmt: skip
    assert len(asked) == 1


def test_a_host_that_shuts_nothing_in_says_so(run, monkeypatch) -> None:
    monkeypatch.setattr(sandbox, "kind", lambda: sandbox.NOTHING)
    record, _ = run(spec("round"))
    assert record.verdict is Verdict.PASS
    assert record.notes == (sandbox.BARE,)


def test_it_ends_at_a_failure_and_goes_on_with_the_rest(run) -> None:
    specs = (spec("early"), spec("idle"), spec("round"))
    record, _ = run(*specs, fail_fast=True)
    found = {f"{case.workload}:{case.case}": case for case in record.cases}
    assert Verdict.FAIL in {c.verdict for c in record.cases if c.workload == "host/shapes/early"}
    for name in ("idle", "round"):
        case = found[f"host/shapes/{name}:not-run"]
        assert (case.verdict, case.reason) == (Verdict.SKIP, ENDED)
    assert record.verdict is Verdict.FAIL
    rest, _ = run(*specs, done=("host/shapes/early", "host/shapes/idle"))
    assert {case.workload for case in rest.cases} == {"host/shapes/round"}


def test_what_an_interrupted_run_found_stays_found(run, monkeypatch) -> None:
    whole = host_cell._HostCell._run

    def stopped(self, test_spec, *rest):
        if test_spec.name == "host/shapes/idle":
            self.log.case(test_spec.name, "build", Verdict.FAIL, "under way")
            raise Interrupted("interrupted")
        return whole(self, test_spec, *rest)

    monkeypatch.setattr(host_cell._HostCell, "_run", stopped)
    record, _ = run(spec("early"), spec("idle"), spec("round"))
    left = {c.workload: c.reason for c in record.cases if c.case == "not-run"}
    assert left == dict.fromkeys(("host/shapes/idle", "host/shapes/round"), STOPPED)
    assert all(c.case == "not-run" for c in record.cases if c.workload == "host/shapes/idle")
    assert record.verdict is Verdict.FAIL
    assert not_run_text([record]) == "2 workloads not run: interrupted"
    assert left_out_of(record)  # so that --resume does these
    with pytest.raises(Interrupted):
        run(spec("idle"))


def test_what_failed_last_runs_first(run) -> None:
    failed = (("host/shapes/early", Signs(failed=True, runs=1, found=1)),)
    record, events = run(spec("round"), spec("early"), signs=failed)
    ran = [event.text for event in events if event.stage == "run"]
    assert ran == ["host/shapes/early", "host/shapes/round"]
    assert next(iter(record.cases)).workload == "host/shapes/round"
