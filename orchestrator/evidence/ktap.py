# SPDX-License-Identifier: GPL-2.0-only
"""KTAP version 1 and TAP 13: a program's output in, its cases out.

Grammar: Documentation/dev-tools/ktap.rst of v6.12, and what kselftest prints in practice (a TAP
version line, the output of child programs behind ``# ``).  Lines that are none of it are ignored;
whatever makes the stream incomplete or ambiguous is listed in ``problems``, so that output that
was cut can never read as a pass.

What the directives mean here: SKIP is a skip, whichever word precedes it.  XFAIL and TODO mark a
failure that the test's author knows of: XFAIL passes (kselftest prints ``ok ... # XFAIL``), a TODO
that is ``not ok`` is a skip.  TIMEOUT is a fail and ERROR an error even behind ``ok``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from orchestrator.model.evidence import KtapCase, KtapReport
from orchestrator.model.names import Verdict

# Deeper nesting than any real test's; keeps names short.
MAX_DEPTH = 12
MAX_LINE = 4096
MAX_DIAGNOSTICS = 500
MAX_PROBLEMS = 50

_UNITS = re.compile(r"(?:  |# )*")
_VERSION = re.compile(r"(?:KTAP version \d+|TAP version \d+)\s*$")
_PLAN = re.compile(r"1\.\.(?P<count>\d{1,9})(?:\s*#\s*(?P<word>[A-Za-z]*)[:\s]*(?P<why>.*))?\s*$")
_RESULT = re.compile(
    r"(?P<bad>not )?ok(?:\s+(?P<number>\d{1,9})(?=\s|$)(?:\s*-\s)?\s*|\s+-\s+|\s+(?=#))"
    r"(?P<rest>.*)$"
)
_BAIL = re.compile(r"Bail out!\s*(?P<why>.*)$")
_SUBTEST = re.compile(r"# Subtest: *(?P<name>.*)$")
_DIRECTIVE = re.compile(
    r"(?:^|(?<=\s))#\s*(?:exit=\S+\s+)?(?P<word>(?i:SKIP\w*|TODO)|XFAIL|TIMEOUT|ERROR)\b:?\s*"
    r"(?P<why>.*)$"
)
_REMARK = re.compile(r"(?:^|\s)#\s*(?P<why>.*)$")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass
class _Level:
    """One level of nesting while it is read."""

    indent: int
    name: str = ""
    announced: bool = False  # by a version line or a Subtest line
    planned: int | None = None
    skip_all: str | None = None
    top: list[Verdict] = field(default_factory=list)
    cases: list[KtapCase] = field(default_factory=list)
    numbers: Counter[int] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def parse(text: str) -> KtapReport:
    """Parse a whole stream.  Never raises; children's names are ``parent.child``."""
    return _Parser().run(text)


class _Parser:
    def __init__(self) -> None:
        self.levels = [_Level(0)]
        self.problems: list[str] = []
        self.yaml: int | None = None  # indent of the YAML block that is open
        self.hash_levels: set[int] = set()  # indents opened by a version line behind "# "
        self.bailed = False

    def run(self, text: str) -> KtapReport:
        for raw in text.split("\n"):
            self._line(_UNPRINTABLE.sub("", raw[:MAX_LINE].rstrip("\r")).rstrip())
        while len(self.levels) > 1:
            self._orphan()
        top = self.levels[0]
        self._check_plan(top, "")
        if top.notes and top.cases:
            top.cases[-1] = _with_notes(top.cases[-1], top.notes)
        return KtapReport(
            cases=_unique(top.cases),
            planned=top.planned,
            problems=tuple(self.problems),
            skip_all=top.skip_all or "",
        )

    # ------------------------------------------------------------ lines

    def _line(self, line: str) -> None:
        spaces = len(line) - len(line.lstrip(" "))
        if self._in_yaml(line, spaces):
            return
        prefix = _UNITS.match(line)
        indent = prefix.end() if prefix else 0
        rest = line[indent:]
        hashed = "#" in line[:indent]
        if _VERSION.match(rest):
            self._version(indent, hashed)
        elif hashed and indent not in self.hash_levels:
            self._diagnostic(line, spaces)
        elif (plan := _PLAN.match(rest)) is not None:
            self._plan(indent, plan)
        elif (result := _RESULT.match(rest)) is not None:
            self._result(indent, result)
        elif (bail := _BAIL.match(rest)) is not None and not self.bailed:
            self.bailed = True
            self._problem(f"the test bailed out: {bail['why'] or 'no reason given'}")
        elif "#" in line[: spaces + 1]:
            self._diagnostic(line, spaces)

    def _in_yaml(self, line: str, spaces: int) -> bool:
        if self.yaml is None:
            if line.strip() == "---" and spaces >= 2 and self.levels[-1].cases:
                self.yaml = spaces
                return True
            return False
        if line and spaces < self.yaml:
            self.yaml = None
            return False
        if line.strip() == "...":
            self.yaml = None
        elif len(self.levels[-1].notes) < MAX_DIAGNOSTICS:
            self.levels[-1].notes.append(line.strip())
        return True

    def _version(self, indent: int, hashed: bool) -> None:
        if hashed:
            self.hash_levels.add(indent)
        level = self._open(indent)
        if level is not None:
            if level.announced and (level.top or level.planned is not None):
                self._problem(f"a second version line{_inside(level)}: two streams in one")
            level.announced = True

    def _plan(self, indent: int, match: re.Match[str]) -> None:
        level = self._open(indent)
        if level is None:
            return
        count = int(match["count"])
        if level.planned is not None and level.planned != count:
            self._problem(f"two plans{_inside(level)}: 1..{level.planned} and 1..{count}")
        level.planned = max(count, level.planned or 0)
        if count == 0:
            skipped = (match["word"] or "").lower().startswith("skip")
            level.skip_all = (match["why"] if skipped else "") or "the plan has no cases"

    def _result(self, indent: int, match: re.Match[str]) -> None:
        children = self._close_to(indent)
        level = self._open(indent)
        if level is None:
            return
        if match["number"] is not None:
            level.numbers[int(match["number"])] += 1
        verdict, name, why = _read_result(match)
        name = name or (children.name if children else "") or f"case {len(level.top) + 1}"
        case = KtapCase(name, verdict, why)
        if children is not None:
            case = self._adopt(level, case, children)
        level.top.append(case.verdict)
        level.cases.append(_with_notes(case, level.notes))
        level.notes = []

    def _diagnostic(self, line: str, spaces: int) -> None:
        subtest = _SUBTEST.match(line.strip())
        if subtest is not None and spaces > self.levels[-1].indent:
            level = self._open(spaces)
            if level is not None:
                level.announced, level.name = True, subtest["name"]
            return
        for level in reversed(self.levels):
            hashed = level.indent in self.hash_levels and line[level.indent :].startswith("#")
            if hashed or level.indent <= spaces or level is self.levels[0]:
                if len(level.notes) < MAX_DIAGNOSTICS:
                    level.notes.append(line.strip().lstrip("# ").strip())
                return

    # ------------------------------------------------------------ levels

    def _open(self, indent: int) -> _Level | None:
        """The level at this indent, opened where it is deeper than the current one."""
        while len(self.levels) > 1 and indent < self.levels[-1].indent:
            self._orphan()
        if indent <= self.levels[-1].indent or not self._nested(indent):
            return self.levels[-1] if indent <= self.levels[-1].indent else None
        self.levels.append(_Level(indent))
        return self.levels[-1]

    def _nested(self, indent: int) -> bool:
        if len(self.levels) <= MAX_DEPTH:
            return True
        self._problem(
            f"nested deeper than {MAX_DEPTH} levels (indent {indent}): not read", once=True
        )
        return False

    def _close_to(self, indent: int) -> _Level | None:
        """Close every level deeper than ``indent``; the outermost of them is what came below."""
        child = None
        while len(self.levels) > 1 and self.levels[-1].indent > indent:
            if child is not None:
                self._lost_parent(child)
            child = self.levels.pop()
            self._finish(child)
        return child

    def _finish(self, level: _Level) -> None:
        self._check_plan(level, _inside(level))
        if level.notes and level.cases:
            level.cases[-1] = _with_notes(level.cases[-1], level.notes)
            level.notes = []
        self.hash_levels.discard(level.indent)

    def _orphan(self) -> None:
        """A child level ends and its parent's result line never came."""
        child = self.levels.pop()
        self._finish(child)
        self._lost_parent(child)

    def _lost_parent(self, child: _Level) -> None:
        name = child.name or "a subtest"
        self._problem(f"{name} has no result line of its own")
        into = self.levels[-1]
        into.cases.extend(replace(c, name=f"{name}.{c.name}") for c in child.cases)

    def _adopt(self, level: _Level, parent: KtapCase, child: _Level) -> KtapCase:
        """Put the child level's cases under their parent; the parent's verdict follows theirs."""
        level.cases.extend(replace(c, name=f"{parent.name}.{c.name}") for c in child.cases)
        bad = [c for c in child.cases if c.verdict in (Verdict.FAIL, Verdict.ERROR)]
        if parent.verdict in (Verdict.PASS, Verdict.SKIP) and bad:
            worst = Verdict.FAIL if any(c.verdict is Verdict.FAIL for c in bad) else Verdict.ERROR
            return replace(parent, verdict=worst, reason=f"its subtest {bad[0].name} failed")
        if parent.verdict is Verdict.PASS and not any(v is Verdict.PASS for v in child.top):
            why = child.skip_all or "all its subtests were skipped"
            return replace(parent, verdict=Verdict.SKIP, reason=parent.reason or why)
        return parent

    # ------------------------------------------------------------ completeness

    def _check_plan(self, level: _Level, where: str) -> None:
        seen = len(level.top)
        if level.planned is None:
            if seen or level.announced or where:
                self._problem(f"no plan{where}, {seen} result lines")
        elif level.planned != seen:
            self._problem(f"{level.planned} cases planned{where}, {seen} seen")
        for number, times in sorted(level.numbers.items()):
            if times > 1:
                self._problem(f"case number {number} appears {times} times{where}")
            elif number < 1 or number > max(seen, level.planned or 0):
                self._problem(f"case number {number} is outside the plan{where}")

    def _problem(self, text: str, once: bool = False) -> None:
        if len(self.problems) < MAX_PROBLEMS and not (
            once and any(p.startswith(text[:20]) for p in self.problems)
        ):
            self.problems.append(text)


def _inside(level: _Level) -> str:
    if level.name:
        return f" in {level.name}"
    return " in a subtest" if level.indent else ""


def _read_result(match: re.Match[str]) -> tuple[Verdict, str, str]:
    """Verdict, name and reason of a result line."""
    bad, rest = match["bad"] is not None, match["rest"].strip()
    directive = _DIRECTIVE.search(rest)
    if directive is None:
        # What follows a lone "#" is a remark (a time, an exit status) and no part of the name.
        remark = _REMARK.search(rest)
        name = rest[: remark.start()].strip() if remark else rest
        why = remark["why"].strip() if remark and bad else ""
        return (Verdict.FAIL if bad else Verdict.PASS), name, why
    name, why = rest[: directive.start()].strip(), directive["why"].strip()
    word = directive["word"].upper()
    if word.startswith("SKIP"):
        return Verdict.SKIP, name, why or "skipped without a reason"
    if word == "TIMEOUT":
        return Verdict.FAIL, name, f"timed out: {why}" if why else "timed out"
    if word == "ERROR":
        return Verdict.ERROR, name, why or "the test reports an error of its own"
    if word == "TODO":
        return (
            (Verdict.SKIP if bad else Verdict.PASS),
            name,
            f"known not to work: {why}".rstrip(": "),
        )
    return Verdict.PASS, name, f"failed as its author expects: {why}".rstrip(": ")


def _with_notes(case: KtapCase, notes: list[str]) -> KtapCase:
    if not notes:
        return case
    return replace(case, diagnostics=(*case.diagnostics, *notes)[:MAX_DIAGNOSTICS])


def _unique(cases: list[KtapCase]) -> tuple[KtapCase, ...]:
    """The cases with a number behind every repeated name, so that ids stay unambiguous."""
    seen: dict[str, int] = {}
    taken = {c.name for c in cases}
    result = []
    for case in cases:
        count = seen[case.name] = seen.get(case.name, 0) + 1
        name = case.name
        while count > 1 and name in taken:
            name = f"{case.name} ({count})"
            count += name in taken
        if name != case.name:
            seen[case.name] = max(seen[case.name], count)
            taken.add(name)
        result.append(case if name == case.name else replace(case, name=name))
    return tuple(result)
