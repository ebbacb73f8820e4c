# SPDX-License-Identifier: GPL-2.0-only
"""Read a table of host tests: ``guest-tests/FAMILY/FOLDER.yaml`` -> WorkloadSpec.

It says which programs of a folder of the kernel tree run on the host, how they are built and for
how long they may run.  Each run of each program is a workload: ``FAMILY/FOLDER/PROGRAM[/RUN]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.model.formats import parse_size_mib
from orchestrator.model.spec import HostTest, KnownIssue, MessageRules, WorkloadSpec
from orchestrator.plan.known_issue import read_known_issue
from orchestrator.plan.problems import Problems
from orchestrator.plan.schema import check
from orchestrator.plan.yaml_reader import View, read_document, regexes

SCHEMA = "host_tests.schema.json"


def read_host_table(
    path: Path, shown: str, above: WorkloadSpec, problems: Problems
) -> tuple[WorkloadSpec, ...]:
    """The workloads of a table; none where it cannot be read.

    :param shown: the file's name for messages.
    :param above: the manifest's workload, whose name and limit these have.
    :param problems: gets what is wrong with it.
    """
    document = read_document(path, shown, problems)
    if document is None:
        return ()
    check(document, SCHEMA, problems)
    return tuple(_Table(View.of(document), above, problems).workloads())


def host_families(workloads: Iterable[WorkloadSpec]) -> frozenset[str]:
    """The families whose workloads run on the host."""
    return frozenset(spec.family for spec in workloads if spec.host is not None)


@dataclass(frozen=True)
class _Table:
    """One table: its top mapping, and what the manifest says of all its programs."""

    top: View
    above: WorkloadSpec
    problems: Problems

    def workloads(self) -> Iterator[WorkloadSpec]:
        known = tuple(map(self._failure, self.top.items("known")))
        for program, view in self.top.children("programs"):
            runs = list(view.children("runs")) or [("", view)]
            for name, run in runs:
                yield self._workload(program, name, run, view, known)

    def _workload(
        self, program: str, run: str, view: View, above: View, known: tuple[KnownIssue, ...]
    ) -> WorkloadSpec:
        holder = view.under(above)
        args = holder("args").raw("args")
        allows = regexes(holder("allows"), "allows", self.problems)
        timeout = holder("timeout").seconds("timeout", self.problems) or self.above.timeout
        description = holder("description").text("description") or self.above.description
        packages = holder("packages") if "packages" in holder("packages") else self.top
        test = HostTest(
            folder=self.top.text("folder") or "",
            target=program,
            beside=tuple(name for name, _ in self.top.children("programs")),
            sources=self.top.words("sources"),
            make=holder("make").words("make"),
            sanitize=holder("sanitize").words("sanitize"),
            memory_mib=self._memory(holder("memory")),
            processes=holder("processes").integer("processes", HostTest.processes),
            packages=packages.words("packages"),
            repair=holder("repair").words("repair"),
            known=known,
        )
        return replace(
            self.above,
            name=f"{self.above.name}/{program}" + (f"/{run}" if run else ""),
            program=program,
            args=tuple(str(arg) for arg in args) if isinstance(args, list) else (),
            description=" ".join(description.split()),
            timeout=timeout,
            deterministic=holder("deterministic").flag("deterministic", True),
            messages=MessageRules(allows=allows),
            host=test,
            where=view.where(),
        )

    def _memory(self, view: View) -> int:
        if "memory" not in view:
            return HostTest.memory_mib
        try:
            return parse_size_mib(view.raw("memory"))
        except ValueError as error:
            self.problems.add(view.document.problem(view.at("memory"), str(error)))
            return HostTest.memory_mib

    def _failure(self, view: View) -> KnownIssue:
        return replace(
            read_known_issue(view, self.problems),
            workload=f"{self.above.name}/{view.text('program') or '*'}",
            case=view.text("case") or "*",
        )
