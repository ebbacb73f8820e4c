# SPDX-License-Identifier: GPL-2.0-only
"""The KTAP reader against KUnit's parser and node's tap-parser.

KUnit's logs stand in tools/testing/kunit/test_data of a kernel tree; what its parser makes of each
is taken from the assertions of kunit_tool_test.py beside it, which is read and never run.  The
fixtures of tap-parser (test/fixtures) have the events that its parser emits as JSON.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from peers_table import Difference, Measured, PeersError, Row, expected

from orchestrator.evidence import ktap
from orchestrator.model.evidence import KtapCase, KtapReport
from orchestrator.model.names import Verdict

#: Where the suites stand in their checkouts; tap-parser moved into tapjs.
KUNIT = Path("tools/testing/kunit")
FIXTURES = (Path("test/fixtures"), Path("src/parser/test/fixtures"))
#: KUnit's TestStatus (kunit_parser.py of v6.12) in the words of :func:`outcome`.
_STATUS = {
    "SUCCESS": "pass",
    "FAILURE": "fail",
    "SKIPPED": "skip",
    "NO_TESTS": "incomplete",
    "FAILURE_TO_PARSE_TESTS": "incomplete",
    "TEST_CRASHED": "incomplete",
}
_COUNTS = {"passed": Verdict.PASS, "failed": Verdict.FAIL, "skipped": Verdict.SKIP}


@dataclass
class Expected:
    """What one of KUnit's tests asserts of a log, as far as it is asserted."""

    file: str
    status: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def told(self) -> str:
        """All of it in a line."""
        return _told(self.status, self.counts, self.names)


def outcome(report: KtapReport) -> str:
    """What a stream came to: pass, fail, skip, or incomplete, which is never a pass."""
    verdicts = {case.verdict for case in report.cases}
    if Verdict.FAIL in verdicts:
        return "fail"
    cut = bool(report.problems or report.bailed_out)
    if cut or Verdict.ERROR in verdicts or not (report.cases or report.skip_all):
        return "incomplete"
    return "pass" if Verdict.PASS in verdicts else "skip"


def leaves(cases: tuple[KtapCase, ...]) -> list[KtapCase]:
    """The cases without subtests; a parent stands behind its own and has the name's first part."""
    return [
        case
        for number, case in enumerate(cases)
        if number == 0 or not cases[number - 1].name.startswith(f"{case.name}.")
    ]


def tops(cases: tuple[KtapCase, ...]) -> list[KtapCase]:
    """The cases that are nobody's subtest."""
    found: list[KtapCase] = []
    for case in reversed(cases):
        if not found or not case.name.startswith(f"{found[-1].name}."):
            found.append(case)
    return found[::-1]


def measure_kunit(folder: Path) -> Measured:
    """Compare with KUnit's parser, in a kernel tree.

    :raises PeersError: when the tree has no such test.
    """
    source = folder / KUNIT / "kunit_tool_test.py"
    wanted = expected(source, expectations, "--linux takes a kernel source tree")
    differences, unread = [], []
    for want in wanted:
        path = folder / KUNIT / "test_data" / want.file
        try:
            report = ktap.parse(path.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            unread.append((str(KUNIT / "test_data" / want.file), str(error)))
            continue
        have = _as_asserted(want, report)
        if have != want.told():
            problems = f" ({'; '.join(report.problems)})" if report.problems else ""
            differences.append(Difference(want.file, want.told(), have + problems))
    row = Row(
        "kunit", "KTAP: outcome, counts, names", f"KUnit {KUNIT}/test_data",
        len(wanted) - len(unread), tuple(differences),
    )  # fmt: skip
    return Measured((row,), tuple(unread))


def expectations(source: str) -> Iterator[Expected]:
    """What each test function of kunit_tool_test.py asserts of the one log that it reads."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef) or not function.name.startswith("test_"):
            continue
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        files = [
            call.args[0].value
            for call in calls
            if ast.unparse(call.func) == "test_data_path" and isinstance(call.args[0], ast.Constant)
        ]
        if len(files) != 1:
            continue
        want = Expected(str(files[0]))
        for call in calls:
            if ast.unparse(call.func) == "self.assertEqual" and len(call.args) >= 2:
                _assertion(want, *call.args[:2])
                _assertion(want, *call.args[1::-1])
        if want.told():
            yield want


def _assertion(want: Expected, value: ast.expr, of: ast.expr) -> None:
    """Take one ``assertEqual(value, of)`` in, where it is one of those that the lab can answer."""
    name, text = ast.unparse(of), ast.unparse(value)
    kind, _, status = text.rpartition(".")
    if name == "result.status" and kind.endswith("TestStatus"):
        want.status = _STATUS.get(status, status)
    elif name == "result.counts" and isinstance(value, ast.Call):
        told = {word.arg: ast.literal_eval(word.value) for word in value.keywords}
        want.counts = {word: told.get(word, 0) for word in _COUNTS}
    elif name == "result.counts.total()" and isinstance(value, ast.Constant):
        want.counts = {"total": int(str(value.value))}
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        head, _, number = name.removesuffix("].name").partition("[")
        if head == "result.subtests" and number.isdigit():
            want.names[int(number)] = value.value


def _as_asserted(want: Expected, report: KtapReport) -> str:
    """What the lab says to each thing that is asserted."""
    ends, top = leaves(report.cases), tops(report.cases)
    counts = {
        word: len(ends) if word == "total" else sum(c.verdict is _COUNTS[word] for c in ends)
        for word in want.counts
    }
    names = {n: top[n].name if n < len(top) else "none" for n in want.names}
    return _told(outcome(report) if want.status else "", counts, names)


def _told(status: str, counts: dict[str, int], names: dict[int, str]) -> str:
    parts = [status] if status else []
    parts += [f"{word} {number}" for word, number in counts.items()]
    parts += [f"[{number}] {name}" for number, name in sorted(names.items())]
    return ", ".join(parts)


def measure_tap_parser(folder: Path) -> Measured:
    """Compare with the events that tap-parser emits: whether all went well, and how many cases.

    The number is asked only of streams without subtests, which tap-parser counts as one each.

    :raises PeersError: when the folder holds no fixture.
    """
    place = next((folder / name for name in FIXTURES if (folder / name).is_dir()), None)
    files = sorted(place.glob("*.json")) if place else []
    if place is None or not files:
        raise PeersError(
            f"{folder / FIXTURES[0]} holds no *.json: --tap-parser takes a checkout of "
            "github.com/tapjs/tap-parser"
        )
    cases, differences, unread = 0, [], []
    for path in files:
        stream = path.with_suffix(".tap")
        try:
            wanted = _completed(json.loads(path.read_text(encoding="utf-8")))
            text = stream.read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            unread.append((str(path.relative_to(folder)), str(error)))
            continue
        report = ktap.parse(text)
        cases += 1
        have: dict[str, object] = {"ok": outcome(report) in ("pass", "skip")}
        if "count" in wanted:
            have["count"] = len(tops(report.cases))
        if have != wanted:
            problems = f" ({'; '.join(report.problems)})" if report.problems else ""
            differences.append(
                Difference(stream.name, json.dumps(wanted), json.dumps(have) + problems)
            )
    row = Row(
        "tap-parser", "KTAP: outcome, number of cases", f"tap-parser {place.relative_to(folder)}",
        cases, tuple(differences),
    )  # fmt: skip
    return Measured((row,), tuple(unread))


def _completed(events: object) -> dict[str, object]:
    """The stream's end as tap-parser tells it.

    :raises ValueError: when these are no events, or have no end.
    """
    pairs = [event for event in events if isinstance(event, list) and len(event) == 2] if (
        isinstance(events, list)) else []  # fmt: skip
    ends = [event[1] for event in pairs if event[0] == "complete" and isinstance(event[1], dict)]
    if not ends or "ok" not in ends[-1]:
        raise ValueError('it has no event "complete"')
    told: dict[str, object] = {"ok": ends[-1]["ok"]}
    if "count" in ends[-1] and not any(event[0] == "child" for event in pairs):
        told["count"] = ends[-1]["count"]
    return told
