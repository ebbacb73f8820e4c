# SPDX-License-Identifier: GPL-2.0-only
"""A run as a report to KCIDB, the kernel community's database of test results.  Pure.

Objects and patterns are those of schema 5.0 in the package kcidb-io (``kcidb_io/schema/v05_00.py``,
release 141), which every later 5.x takes.  How verdicts become statuses is in docs/results.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from orchestrator.judge.outcome import apply_reason, build_case, cell_cases
from orchestrator.judge.tested import sentence
from orchestrator.model.errors import UserError
from orchestrator.model.names import BOOT, HOST_PLACE, CaseId, CellId, Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    IssueRecord,
    KernelRecord,
    RunResult,
)
from orchestrator.report.junit_text import apply_text, build_text
from orchestrator.report.text import counter_line, excerpt, first_line, issue_name, visible
from orchestrator.report.trace import annotated

VERSION = {"major": 5, "minor": 0}
#: What the lab calls itself where nobody gave it another name.
ORIGIN = "mm_lab"
#: The most characters of a ``log_excerpt``.
MOST_EXCERPT = 16384

_ORIGIN = re.compile(r"[a-z0-9_]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NO_PATH = re.compile(r"[^A-Za-z0-9_-]+")
_MOST_HITS = 10
# The database's words for a verdict.  An error is the host's: nothing is known of the kernel.
_STATUS = {
    Verdict.PASS: "PASS",
    Verdict.FAIL: "FAIL",
    Verdict.SKIP: "SKIP",
    Verdict.ERROR: "MISS",
}


def report(run: RunResult, origin: str = "", url: str = "") -> dict[str, Any]:
    """What ``kcidb submit`` takes: the run's checkouts, builds, tests, issues and incidents.

    :param origin: the CI system's name in the database; :data:`ORIGIN` where it is empty.
    :param url: where the run's folder is published, for links to its logs.
    :raises UserError: when the database would refuse the origin.
    """
    return _Report(run, checked_origin(origin or ORIGIN), url).whole()


def checked_origin(text: str) -> str:
    """A name that the database takes for an origin.

    :raises UserError: it is none.
    """
    if not _ORIGIN.fullmatch(text):
        raise UserError(
            f"origin {text!r}: KCIDB takes small letters, digits and _", "name it my_lab, say"
        )
    return text


class _Report:
    """Makes one report; holds what every object of it needs."""

    def __init__(self, run: RunResult, origin: str, url: str) -> None:
        self.run = run
        self.origin = origin
        # Of a published page what lies beside it is known too.
        self.base = url if url.endswith("/") else url.rpartition("/")[0] + "/" if url else ""
        # A run's id is the second at which it began: the machine tells it from another lab's.
        host = json.dumps(run.run.host, sort_keys=True)
        self.prefix = f"{origin}:{visible(run.run.id)}-{_digest(host, 8)}"
        self.taken: dict[str, int] = {}
        self.issues: dict[str, dict[str, Any]] = {}
        self.incidents: list[dict[str, Any]] = []

    def whole(self) -> dict[str, Any]:
        builds = [self.build(build) for build in self.run.builds]
        builds += [self.host_build(cell) for cell in self.host_cells()]
        # Where the build itself is gone from the results, its cells say nothing to the database.
        known = {build["id"] for build in builds}
        tests = [test for test in self.tests() if test["build_id"] in known]
        ids = known | {test["id"] for test in tests}
        return {
            "version": VERSION,
            "checkouts": [self.checkout(kernel) for kernel in self.run.kernels],
            "builds": builds,
            "tests": tests,
            "issues": list(self.issues.values()),
            "incidents": [one for one in self.incidents
                          if one.get("test_id", one.get("build_id")) in ids],
        }  # fmt: skip

    # ------------------------------------------------------------ objects

    def checkout(self, kernel: KernelRecord) -> dict[str, Any]:
        failure, tested = kernel.failure, kernel.tested
        found: dict[str, Any] = self.named(self.of_kernel(kernel.name))
        found |= {
            "comment": visible(sentence(kernel)),
            "valid": failure is None,
        }
        found |= _told({"start_time": self.run.run.started})
        if not tested.changed and _COMMIT.fullmatch(tested.commit):
            found["git_commit_hash"] = tested.commit
        if re.fullmatch(r"[0-9a-f]{64}", kernel.series_digest):
            found["patchset_hash"] = kernel.series_digest
        elif not kernel.series and not tested.changed:
            found["patchset_hash"] = ""
        if failure is not None:
            found["log_excerpt"] = _excerpt(f"{apply_reason(failure)}\n{apply_text(kernel)}")
        found["misc"] = _told({
            "run": self.run.run.id, "command": self.run.run.command,
            "profile": self.run.run.profile, "lab_version": self.run.run.lab_version,
            "finished": self.run.run.finished, "kernel": kernel.name, "source": kernel.source,
            "kernel_version": kernel.version, "tree": kernel.tree,
            "expected": kernel.expected,
            "patches": [{"n": p.n, "subject": p.subject, "author": p.author, "sha256": p.sha256}
                        for p in kernel.series],
            "report": self.base,
        })  # fmt: skip
        return found

    def build(self, build: BuildRecord) -> dict[str, Any]:
        case = build_case(self.run, build)
        found = self.named(self.of_build(build.id))
        found |= {
            "checkout_id": self.of_kernel(build.kernel),
            "architecture": build.arch,
            "config_name": build.config,
            "status": _status(case),
        }
        found |= _finite("duration", build.seconds)
        found |= _told({
            "comment": first_line(case.reason), "command": build.command,
            "compiler": build.compiler or build.toolchain,
            "log_url": self.link(build.log), "config_url": self.link(build.kernel_config),
        })  # fmt: skip
        if build.errors or build.mismatches:
            found["log_excerpt"] = _excerpt(build_text(build))
        found["misc"] = _told({
            "image_sha256": build.image_sha256, "cached": build.cached,
            "new_warnings": [f"{w.file}:{w.line}: {w.text}" for w in build.new_warnings[:50]],
            "expected": build.expected,
        })  # fmt: skip
        self.foreseen(case, "build_id", found["id"])
        return found

    def host_cells(self) -> Iterator[CellRecord]:
        """The first cell of each kernel on the host: it has no build, and a test must have one."""
        seen = set()
        for cell in self.run.cells:
            place = CellId.parse(cell.id).build
            if cell.config == HOST_PLACE and place not in seen:
                seen.add(place)
                yield cell

    def host_build(self, cell: CellRecord) -> dict[str, Any]:
        return self.named(self.of_build(CellId.parse(cell.id).build)) | {
            "checkout_id": self.of_kernel(cell.kernel),
            "architecture": cell.arch,
            "config_name": HOST_PLACE,
            "comment": "programs of the kernel tree that run without a kernel",
            "status": "PASS",
        }

    def tests(self) -> Iterator[dict[str, Any]]:
        for cell in self.run.cells:
            for case in cell_cases(self.run, cell):
                yield from self.test(cell, case)

    def test(self, cell: CellRecord, case: CaseResult) -> Iterator[dict[str, Any]]:
        found = self.named(self.unique(f"{self.prefix}:{visible(case.id)}"))
        found |= {
            "build_id": self.of_build(CellId.parse(cell.id).build),
            "path": path(case.workload, case.case),
            "status": _status(case),
            "environment": self.environment(cell, case),
        }
        found |= _finite("duration", case.seconds)
        found |= _told({
            "comment": _comment(case), "log_excerpt": _excerpt(_log(case)),
            "log_url": self.link(case.console or cell.console_log),
        })  # fmt: skip
        found["misc"] = _told({
            "case": case.id, "rerun": case.rerun, "known": case.known, "expected": case.expected,
            "signatures": list(dict.fromkeys(hit.signature for hit in case.hits)),
            "counters": [counter_line(counter) for counter in case.counters],
        })  # fmt: skip
        self.foreseen(case, "test_id", found["id"])
        yield found
        # The database keeps one number a test: each figure is a test of its own below its case.
        for figure in case.measurements:
            if math.isfinite(figure.value):
                yield self.named(self.unique(f"{found['id']}:{visible(figure.name)}")) | {
                    "build_id": found["build_id"],
                    "path": f"{found['path']}.{_path_part(figure.name)}",
                    "status": "DONE",
                    "number": {"value": figure.value, "unit": visible(figure.unit)},
                    "environment": found["environment"],
                }

    def environment(self, cell: CellRecord, case: CaseResult) -> dict[str, Any]:
        # Where the lab keeps its files is nobody's business.
        host = {name: told for name, told in self.run.run.host.items() if name != "cache"}
        if cell.config == HOST_PLACE:
            where = f"on the host: {host.get('machine', cell.arch)}, {host.get('cpus', '?')} CPUs"
            return {"comment": where, "misc": _told(host)}
        misc = _told({"shape": cell.shape, "accelerator": cell.accelerator,
                      "page_size": cell.page_size, "host": host})  # fmt: skip
        if case.workload == BOOT:
            misc |= _told({"qemu_command": cell.qemu_command, "boot_seconds": cell.boot_seconds})
        told = f"QEMU guest {cell.shape} ({cell.accelerator or 'not started'})"
        return {"comment": visible(told), "misc": misc}

    def foreseen(self, case: CaseResult, kind: str, target: str) -> None:
        """The issues that lab.yaml knows of a case, each with the incident that it is here."""
        for issue in self.run.known_issues:
            if issue.reason and issue.reason in _known_reasons(case) and _seen_at(issue, case):
                told = {"report_subject": issue_name(issue), "comment": issue.reason}
                self.incident(_match(issue), told, kind, target)
        if case.expected:
            told = {"report_subject": case.expected, "comment": "lab.yaml expects it"}
            self.incident(f"expect {case.expected}", told, kind, target)

    def incident(self, match: str, told: dict[str, str], kind: str, target: str) -> None:
        # Of what it matches, so that it is the same issue tomorrow.
        issue = f"{self.origin}:issue-{_digest(match, 16)}"
        self.issues[issue] = self.named(issue) | _told(told) | {
            "version": 1, "culprit": {"code": True, "tool": False, "harness": False},
        }  # fmt: skip
        self.incidents.append(
            self.named(self.unique(f"{target}:{issue.partition(':')[2]}"))
            | {"issue_id": issue, "issue_version": 1, kind: target, "present": True}
        )

    # ------------------------------------------------------------ parts

    def named(self, identity: str) -> dict[str, Any]:
        return {"id": identity, "origin": self.origin}

    def of_kernel(self, kernel: str) -> str:
        return f"{self.prefix}:{visible(kernel)}"

    def of_build(self, build: str) -> str:
        return f"{self.prefix}:{visible(build)}"

    def unique(self, identity: str) -> str:
        """The id, numbered where a case ran twice: the database would merge the two."""
        self.taken[identity] = self.taken.get(identity, 0) + 1
        times = self.taken[identity]
        return identity if times == 1 else f"{identity}#{times}"

    def link(self, file: str) -> str:
        """Where a file of the run is published; empty where nobody said."""
        inside = bool(file) and not file.startswith("/") and ".." not in file.split("/")
        return self.base + quote(visible(file)) if self.base and inside else ""


def path(workload: str, case: str) -> str:
    """A case's place in the database's tree of tests: ``uffd-move.swap.kernel-log``."""
    return ".".join(_path_part(part) for part in (*workload.split("/"), case))


def _path_part(text: str) -> str:
    return _NO_PATH.sub("_", text) or "_"


def _status(case: CaseResult) -> str:
    """What was seen of the kernel: one that lab.yaml excuses or expects to fail did fail."""
    if case.expected and case.verdict is Verdict.PASS:
        return _STATUS[Verdict.FAIL]
    if case.judged:
        return _STATUS[Verdict(case.judged.partition(":")[0])]
    return _STATUS[case.verdict]


def _comment(case: CaseResult) -> str:
    if case.expected:
        return f"fails as expected: {case.expected}"
    return f"known issue: {case.known}" if case.known else first_line(case.reason)


def _log(case: CaseResult) -> str:
    """The reports of the kernel's log, or else the reason, where the case is no plain pass."""
    hits = [excerpt(annotated(hit), 100, 500) for hit in case.hits[:_MOST_HITS]]
    if hits:
        return "\n\n".join(hits)
    return case.reason if _status(case) in ("FAIL", "MISS") else ""


def _known_reasons(case: CaseResult) -> str:
    return "; ".join((case.known, *(hit.known for hit in case.hits)))


def _seen_at(issue: IssueRecord, case: CaseResult) -> bool:
    return str(CaseId.parse(case.id).cell) in issue.seen_in


def _match(issue: IssueRecord) -> str:
    """What a known issue matches, as a text that is the same wherever it is read."""
    return json.dumps([
        issue.signature, issue.title, issue.case, list(issue.kernels), issue.kernel, issue.config,
        issue.arch, issue.shape, issue.workload,
    ])  # fmt: skip


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def _excerpt(text: str) -> str:
    """A text cut to what a ``log_excerpt`` may have."""
    told = visible(text)
    return told if len(told) <= MOST_EXCERPT else told[: MOST_EXCERPT - 6] + "\n[...]"


def _finite(name: str, value: float) -> dict[str, float]:
    return {name: value} if math.isfinite(value) and value >= 0 else {}


def _told(values: dict[str, Any]) -> dict[str, Any]:
    """The values that say something, their text fit for any reader; nothing may be null."""
    return {name: _fit(value) for name, value in values.items() if value not in ("", None, [], {})}


def _fit(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [_fit(one) for one in value]
    if isinstance(value, dict):
        return {visible(str(name)): _fit(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
