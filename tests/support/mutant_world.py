# SPDX-License-Identifier: GPL-2.0-only
"""Kernels and guests that are played, of sources that are real, to try mutants on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fake_kernel import write_kernel

from orchestrator.host.cache.files import Cache
from orchestrator.judge.outcome import STOPPED
from orchestrator.kernel.source import store
from orchestrator.kernel.source.fetch import fetch_base
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import NOT_RUN, Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.spec import Build, Cell, KernelSpec
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.stages import Ran, Stages

MOVE = """\
int move(int what)
{
	if (what > 4)
		return -EAGAIN;
	put(what);
	return 0;
}
"""
#: All there are: of the condition three and the relation, of the return two, a call, two numbers of
#: the condition and two of the return.
ALL = 11


class Played:
    """Kernels told apart by what their mm/move.c says; what a guest does is asked of that text."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        kernel = write_kernel(folder)
        (kernel / "mm/move.c").write_text(MOVE)
        self.cache = cache
        self.spec = KernelSpec("k", f"path:{kernel}")
        base = fetch_base(self.spec, cache, lambda _: None, 60, "")
        self.tree = KernelTree(self.spec, base.version, base.tree, base.tree)
        self.fails: Callable[[str], tuple[str, Verdict] | Exception | None] = lambda _: None
        self.image: Callable[[str], str] = lambda text: text
        self.ran: list[tuple[str, tuple[str, ...]]] = []
        self.built: list[str] = []

    def text(self, tree: KernelTree) -> str:
        data = store.read_file(tree.tree, "mm/move.c", self.cache)
        assert data is not None
        return data.decode()

    def prepare(self, spec: KernelSpec, _: Context) -> Kernel:
        return Kernel(replace(self.tree, spec=spec), "slot", spec.source)

    def build(self, wanted: Build, kernel: Kernel, context: Context) -> BuildResult:
        text = self.text(kernel.tree)
        self.built.append(text)
        image = self.image(text)
        if image.startswith("error"):
            return BuildResult(wanted, Verdict.FAIL, image, 1.0, False)
        folder = context.cache.build(str(len(self.built)))
        folder.mkdir(parents=True)
        context.cache.build_record(folder).write_text("{}")
        return BuildResult(
            wanted, Verdict.PASS, "", 1.0, False, folder / "image", image, vmlinux=folder / "v"
        )

    def run(self, cell: Cell, built: BuildResult, kernel: Kernel, context: Context) -> Ran:
        text = self.text(kernel.tree)
        self.ran.append((text, tuple(spec.name for spec in cell.workloads)))
        cases = []
        for spec in cell.workloads:
            found = self.fails(text) if spec.deterministic else None
            if isinstance(found, Exception):
                raise found
            name, verdict = found or ("moves", Verdict.PASS)
            reason = STOPPED if name == NOT_RUN else "off"
            case = CaseResult(
                f"{cell.id}:{spec.name}:{name}", spec.name, name, verdict, reason, 2.0
            )
            cases.append(case)
            context.listener(
                Event("case", case.id, "done", case.reason, verdict=verdict, case=case)
            )
            if context.ending.is_set():
                break
        record = CellRecord(cell.id, "k", "c", "x86_64", "s", "tcg", Verdict.PASS, 1.0,
                            tuple(cases))  # fmt: skip
        return Ran(record, cell)

    def stages(self) -> Stages:
        return Stages(
            lambda *_: None, self.prepare, lambda *_: None, self.build, self.run
        )  # fmt: skip
