# SPDX-License-Identifier: GPL-2.0-only
"""A run as JUnit XML that Jenkins and GitLab take; the only importer of junit_xml.

One suite per series, build and cell.  What a reader needs is in the failure's text, since GitLab
shows nothing else; what each element says is in docs/results.md.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.judge.counts import counts_of
from orchestrator.judge.outcome import (
    build_case,
    cases_of,
    cell_cases,
    executed,
    not_run,
    not_run_text,
    series_case,
)
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.judge.tested import sentence, tested_title
from orchestrator.judge.verdict import damage_of
from orchestrator.model.evidence import LogReport, LogSource
from orchestrator.model.mutants import Campaign
from orchestrator.model.names import APPLY, BUILD, SERIES, CaseId, CellId, Verdict
from orchestrator.model.results import (
    CaseResult,
    CellRecord,
    Change,
    Comparison,
    KernelRecord,
    RunResult,
)
from orchestrator.model.uncollected import uncollected
from orchestrator.report import covered_junit, mutants_junit, searched_junit
from orchestrator.report.each_patch_junit import class_name, patch_cases
from orchestrator.report.junit_reruns import Rerun, is_flaky, put, reruns_of
from orchestrator.report.junit_text import apply_text, build_text, failure_text, hit_title
from orchestrator.report.text import (
    EXIT_MEANING,
    bent_lines,
    counter_line,
    counts_text,
    excerpt,
    headline,
    visible,
)
from orchestrator.report.trace import annotated

# GitLab refuses files over 30 MB, and a guest may print reports without end.
_TEXT_LINES = 200
_MAX_HITS = 20


def render(run: RunResult, comparison: Comparison | None = None) -> str:
    """``run`` as a JUnit XML document.

    With a comparison only regressions are ``<failure>``; what failed on the baseline too, and what
    is gone, is ``<skipped>`` with the reason.  What further trials showed to be flaky passes, with
    Surefire's ``<flakyFailure>``.  An error of the host stays an ``<error>`` always.  A search is
    one case, and not its trials.
    """
    import junit_xml  # not needed where nothing is reported

    if run.searched is not None:
        return _document([searched_junit.suite(junit_xml, run, run.searched)])
    with uncollected():
        return _cases(_Maker(junit_xml, run, comparison))


def _cases(make: _Maker) -> str:
    suites = [*make.run(), *make.series(), *make.each_patch(), *make.builds(), *make.cells(),
              *make.gone()]  # fmt: skip
    cases = (case for suite in suites for case in suite.test_cases)
    return _document(suites, [make.reruns.get(id(case), ()) for case in cases])


def render_logs(sources: Iterable[LogSource], reports: Iterable[LogReport], left_out: int) -> str:
    """Logs that were read by themselves as a JUnit XML document, one suite each.

    A report is a case by its title, and fails where it is neither allowed nor known; one of each
    signature, so that a storm of them is one case.  A log without any is a case that passed, one
    that could not be read (to its end) an ``<error>``.

    :param left_out: how many further kinds of report there were.
    """
    import junit_xml

    found = tuple(reports)
    suites = []
    for source in sources:
        cases = [_log_case(junit_xml, report) for report in found if report.file == source.file]
        if source.problem:
            case = junit_xml.TestCase("readable", "log")
            case.add_error_info(visible(source.problem), visible(source.problem), "input")
            cases.append(case)
        if not cases:
            cases.append(junit_xml.TestCase("no report", "log"))
        facts = {"lines": str(source.lines), "reports": str(source.reports)}
        suites.append(junit_xml.TestSuite(visible(source.file), unique(cases), properties=facts))
    if left_out and suites:
        case = junit_xml.TestCase("further reports", "log")
        told = f"{left_out} further kinds of report are not in this file"
        case.add_failure_info(told, told, "kernel")
        suites.append(junit_xml.TestSuite("further", [case]))
    return _document(suites)


def render_mutants(campaign: Campaign) -> str:
    """A campaign of mutants as a JUnit XML document: a suite a function, a case a mutant."""
    import junit_xml

    found = mutants_junit.suites(junit_xml, campaign)
    return _document(found)


def _log_case(library: Any, report: LogReport) -> Any:
    hit = report.hit
    case = library.TestCase(visible(hit.title), f"log.{hit.kind}")
    told = [
        f"signature: {hit.signature}", f"blamed: {hit.blamed}" if hit.blamed else "",
        f"log: {report.file}:{hit.line}",
        f"found {report.times} times; the first:" if report.times > 1 else "",
        f"{'corrupted' if hit.corrupted else 'damage'}: {damage_of(hit)}" if damage_of(hit) else "",
        f"known issue: {hit.known}" if hit.known else "",
        f"allowed: {report.allowed}" if report.allowed else "",
        "", excerpt(annotated(hit), _TEXT_LINES, 500),
    ]  # fmt: skip
    text = visible("\n".join(line for n, line in enumerate(told) if line or n == 7))
    if report.verdict == "fail":
        case.add_failure_info(visible(hit.title), text, hit.kind)
    else:
        case.stdout = text
    return case


def _document(suites: Sequence[Any], reruns: Sequence[tuple[Rerun, ...]] = ()) -> str:
    """The suites as XML, indented, without what two schemas refuse.

    These are of Jenkins' xUnit plugin (junit-10.xsd) and, suite by suite, of Maven's Surefire
    (surefire-test-report-3.0.xsd), which is the stricter one.

    :param reruns: further trials of each case.
    """
    # As junit_xml.to_xml_report_string() does, but not through text, which is read again here: of
    # 50,000 cases that takes seconds.
    found = [suite.build_xml_doc(encoding="utf-8") for suite in suites]
    root = ET.Element("testsuites")
    for name in ("errors", "failures", "tests"):
        root.set(name, str(sum(int(one.get(name, 0)) for one in found)))
    root.set("time", str(sum(float(one.get("time", 0)) for one in found)))
    root.extend(found)
    if any(reruns):
        put(root, reruns)
    for element in root.iter():
        # junit-xml writes `disabled`, which neither schema has, and str(float), whose 1e-05 neither
        # takes; nothing of ours is ever disabled.
        element.attrib.pop("disabled", None)
        if element.tag == "skipped":  # Surefire's has a message and no type
            element.attrib.pop("type", None)
        if element.tag == "testcase" or "time" in element.attrib:
            element.set("time", f"{float(element.get('time', 0)):.3f}")
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


class _Maker:
    """Makes the suites of one report; holds what every one of them needs."""

    def __init__(self, library: Any, run: RunResult, comparison: Comparison | None) -> None:
        self.library = library
        self.result = without_prefixes(run)
        self.comparison = comparison
        found = comparison.cases if comparison is not None else ()
        self.tested = {kernel.name: sentence(kernel) for kernel in self.result.kernels}
        self.compared = {id_of(c.after): c for c in found if c.after is not None}
        self.reruns: dict[int, tuple[Rerun, ...]] = {}  # by the id() of a case's object

    def run(self) -> list[Any]:
        """A suite of the run itself, only where it is wrong as a whole or parts were not run."""
        result = self.result
        problems = list(result.problems)
        if not result.run.finished:
            problems.insert(0, "the run did not finish: these results are partial")
        cases = [placed.case for placed in cases_of(result)]
        verdicts = {case.verdict for case in cases}
        tested = any(executed(case) for case in cases)
        if not tested and not verdicts & {Verdict.FAIL, Verdict.ERROR}:
            problems.append("no case was executed")
        left = not_run_text(result.cells)
        if not problems and not left:
            return []
        case = self.library.TestCase("complete", "lab.run")
        if not problems:
            case.add_skipped_info(left, "\n".join(visible(c.id) for c in not_run(result.cells)))
            return [self.suite("run", [case], self.facts())]
        problems += [left] if left else []
        case.add_error_info(visible(problems[0]), visible("\n".join(problems)), "run")
        return [self.suite("run", [case], self.facts())]

    def series(self) -> list[Any]:
        """A suite per kernel with a series: one case a patch."""
        return [
            self.suite(
                f"series {kernel.name}",
                self.patches(kernel),
                {
                    "kernel": kernel.name,
                    "source": kernel.source,
                    "kernel_version": kernel.version,
                    "series_digest": kernel.series_digest,
                    **covered_junit.facts(self.result.cells, kernel.name),
                    **mutants_junit.series_facts(self.result.mutants, kernel.name),
                },
            )
            for kernel in self.result.kernels
            if kernel.series or kernel.failure is not None
        ]

    def patches(self, kernel: KernelRecord) -> list[Any]:
        whole = series_case(self.result, kernel)
        ran = covered_junit.by_patch_text(self.result.cells, kernel.name)
        cases = []
        for patch in kernel.series:
            name = f"{patch.n:04d} {patch.subject}"
            case = self.library.TestCase(visible(name), class_name(CellId(kernel.name), SERIES))
            if patch.applied is None:
                case.add_skipped_info("not tried: an earlier patch does not apply")
            elif not patch.applied and whole is not None:
                self.judge(case, whole, f"by {patch.author}\n{apply_text(kernel)}")
            told = bent_lines((patch,)) if patch.applied else ()
            if told := (*told, *ran.get(patch.n, ())):
                case.stdout = visible("\n".join(told))
            cases.append(case)
        failing = any(patch.applied is False for patch in kernel.series)
        if whole is not None and whole.verdict is not Verdict.PASS and not failing:
            case = self.library.TestCase(APPLY, class_name(CellId(kernel.name), SERIES))
            self.judge(case, whole, apply_text(kernel))
            cases.append(case)
        return cases

    def each_patch(self) -> list[Any]:
        """A suite per series that was tried patch by patch: what a patch breaks is its failure."""
        return [
            self.suite(f"each patch {one.kernel}", patch_cases(self.library, one),
                       {"kernel": one.kernel})
            for one in self.result.each_patch
        ]  # fmt: skip

    def builds(self) -> list[Any]:
        """A suite per build."""
        suites = []
        for build in self.result.builds:
            case = build_case(self.result, build)
            made = self.case(case, class_name(CellId.parse(build.id), BUILD), build_text(build))
            facts = {
                "kernel": build.kernel,
                "config": build.config,
                "arch": build.arch,
                "compiler": build.compiler,
                "cached": str(build.cached).lower(),
                "seconds": f"{build.seconds:.1f}",
                "cpu_seconds": f"{build.cpu_seconds:.1f}",
                "image_sha256": build.image_sha256,
                "command": build.command,
                "new_warnings": str(len(build.new_warnings)),
            }
            suites.append(self.suite(f"build {build.id}", [made], facts))
        return suites

    def cells(self) -> list[Any]:
        """A suite per cell."""
        suites = []
        for cell in self.result.cells:
            cases = cell_cases(self.result, cell)
            made = []
            for case in cases:
                text = f"accelerator: {cell.accelerator or 'none'}, page size {cell.page_size}"
                class_ = class_name(CellId.parse(cell.id), case.workload)
                made.append(self.case(case, class_, text))
            suites.append(self.suite(cell.id, made, self.cell_facts(cell, cases)))
        return suites

    def gone(self) -> list[Any]:
        """One suite of the cases that the baseline had and this run has not."""
        found = self.comparison.cases if self.comparison is not None else ()
        cases = []
        for item in found:
            if item.change is Change.GONE and item.before is not None:
                place = CaseId.of_key("gone", item.key).cell
                case = self.library.TestCase(
                    visible(item.before.case), class_name(place, item.before.workload)
                )
                told = visible(f"gone: {item.before.verdict.value} on the baseline; {item.reason}")
                case.add_skipped_info(told, told)
                cases.append(case)
        return [self.suite("gone", cases, {})] if cases else []

    # ------------------------------------------------------------ parts

    def suite(self, name: str, cases: list[Any], facts: dict[str, str]) -> Any:
        # First what it is all about: a suite's own kernel, or those of the run.
        about = self.tested.get(facts.get("kernel", ""), tested_title(self.result))
        facts = {"tested": about, **facts} if facts else facts
        # Surefire's schema has no attribute for it, nor for a host's name.
        facts |= {"started": self.result.run.started} if facts else {}
        return self.library.TestSuite(
            visible(name),
            unique(cases),
            properties={visible(key): visible(value) for key, value in facts.items() if value},
        )

    def facts(self) -> dict[str, str]:
        info = self.result.run
        status = f"{info.exit_status}: {EXIT_MEANING.get(info.exit_status, 'unknown')}"
        facts = {"run": info.id, "command": info.command, "profile": info.profile}
        return {**facts, "lab_version": info.lab_version, "exit_status": status}

    def cell_facts(self, cell: CellRecord, cases: Iterable[CaseResult]) -> dict[str, str]:
        versions = {kernel.name: kernel.version for kernel in self.result.kernels}
        facts = {
            "run": self.result.run.id,
            "kernel": cell.kernel,
            "kernel_version": versions.get(cell.kernel, ""),
            "config": cell.config,
            "arch": cell.arch,
            "shape": cell.shape,
            "accelerator": cell.accelerator,
            "verdict": cell.verdict.value,
            "counts": counts_text(counts_of(cases)),
            "boot_seconds": f"{cell.boot_seconds:.1f}",
            "page_size": str(cell.page_size),
            "qemu_command": cell.qemu_command,
            "console_log": cell.console_log,
            "notes": "; ".join(cell.notes),
        }
        for case in cases:
            for counter in case.counters:
                line = counter_line(counter).partition(": ")[2]
                facts[f"counter.{case.workload}.{case.case}.{counter.name}"] = line
            for m in case.measurements:
                key = f"measurement.{case.workload}.{case.case}.{m.name}"
                facts[key] = f"{m.value:g} {m.unit}"
        return facts

    def case(self, case: CaseResult, class_: str, context: str) -> Any:
        made = self.library.TestCase(visible(case.case), class_, elapsed_sec=max(0.0, case.seconds))
        self.judge(made, case, context)
        hits = [
            f"{hit_title(hit)}\n{excerpt(annotated(hit), _TEXT_LINES, 500)}".rstrip()
            for hit in case.hits[:_MAX_HITS]
        ]
        if len(case.hits) > _MAX_HITS:
            hits.append(f"[{len(case.hits) - _MAX_HITS} more hits]")
        if hits:
            made.stderr = visible("\n\n".join(hits))
        item = self.compared.get(id_of(case))
        fixed = item is not None and item.change is Change.FIXED
        figures = [f"fixed: {item.reason}"] if item is not None and fixed else []
        figures += [f"{m.name}: {m.value:g} {m.unit}" for m in case.measurements]
        figures += [counter_line(counter) for counter in case.counters]
        if figures:
            made.stdout = visible("\n".join(figures))
        return made

    def judge(self, made: Any, case: CaseResult, context: str) -> None:
        """Give ``made`` the element that its verdict, or its standing to the baseline, asks for."""
        item = self.compared.get(id_of(case))
        bad = case.verdict in (Verdict.FAIL, Verdict.ERROR) or case.retried or item is not None
        message = visible(headline(case)) if bad else ""
        text = visible(failure_text(case, context, item)) if bad else ""  # a pass has none
        self.reruns[id(made)] = reruns_of(case, item, text)
        if case.verdict is Verdict.ERROR:
            made.add_error_info(message, text, "host")
        elif item is not None and item.change is Change.REGRESSED:
            made.add_failure_info(visible(f"regressed: {headline(case)}"), text, "regression")
        elif is_flaky(case, item):
            pass  # it passes, and its failures stand beside that
        elif case.verdict is Verdict.FAIL:
            if self.comparison is None:
                made.add_failure_info(message, text, "kernel")
            else:
                # What it shares with the baseline; or the baseline's own, when two kernels ran.
                why = item.change.value if item is not None else "fails outside the comparison"
                made.add_skipped_info(visible(f"{why}: {headline(case)}"), text)
        elif case.verdict is Verdict.SKIP:
            reason = visible(case.reason or "no reason given")
            made.add_skipped_info(reason, reason)


def id_of(case: CaseResult) -> tuple[str, str]:
    """What finds a case's comparison: of a case that ran twice only the worse was compared."""
    return case.id, case.verdict.value


def unique(cases: list[Any]) -> list[Any]:
    """Give a second case of the same name a number: GitLab counts only the first of a name."""
    seen: dict[tuple[str, str], int] = {}
    for case in cases:
        key = (case.classname, case.name)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            case.name = f"{case.name} ({seen[key]})"
    return cases
