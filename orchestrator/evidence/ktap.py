# SPDX-License-Identifier: GPL-2.0-only
"""KTAP version 1 and TAP 12 to 14: a program's output in, its cases out.

Grammar: Documentation/dev-tools/ktap.rst of v6.12, and what kselftest prints in practice (a TAP
version line, the output of child programs behind ``# ``).  Lines that are none of it are ignored;
whatever makes the stream incomplete or ambiguous is listed in ``problems``, so that output that
was cut can never read as a pass.  No cases and no problems is no pass either: nothing was found.

A level of nesting is any deeper indentation: KUnit prints four blanks, its own logs have tabs.
Subtests stand before their parent's result or, as node-tap prints them, in braces behind it.
"""

from __future__ import annotations

import re

from orchestrator.evidence import tapline, taptext
from orchestrator.evidence.taplevel import Level
from orchestrator.evidence.tapline import MAX_WORDS, Plan, Result
from orchestrator.model.evidence import KtapCase, KtapReport

#: What is told of a last line that was cut.
CUT = "the output ends in the middle of a line"
# Deeper nesting than any real test's; keeps names short.
MAX_DEPTH = 12
MAX_PROBLEMS = 50
_TAB = 4

_SUBTEST = re.compile(r"# Subtest(?::| |$) *(?P<name>.*)$")
# A version line of a child program whose lines go behind hashes.
_BEHIND = re.compile(r"(?:#[ \t]+)+(?=K?TAP version )", re.IGNORECASE)
# kselftest's runner: its header, and a plan where KSFT_TAP_LEVEL keeps the version line away.
_HEADER = re.compile(r"# selftests: ")
_PLAN_BEHIND = re.compile(r"#[ \t]+(?=1\.\.\d+$)")


def parse(text: str, whole: bool = True) -> KtapReport:
    """Parse a whole stream.  Never raises; children's names are ``parent.child``.

    :param whole: whether the program ended by itself.  Otherwise a last result or plan without a
        line's end is one that was cut: it is not read, and is a problem.
    """
    return _Parser().run(text, whole)


class _Parser:
    def __init__(self) -> None:
        self.levels = [Level(0)]
        self.problems: list[str] = []
        self.bailed = ""
        self.prefixed = False  # some level has a prefix
        self.header = False  # the runner's header was the last line but for diagnostics
        self.after_result = False  # where a YAML block may begin
        self.yaml: int | None = None  # indent of the YAML block that is open
        self.swallowed = False  # it holds what looks like a line of TAP

    def run(self, text: str, whole: bool) -> KtapReport:
        lines, cut = taptext.lines(text, whole)
        for line in lines:
            self._line(line)
        self._unended_yaml()
        if cut:
            self._problem(CUT)
        while len(self.levels) > (2 if self._all_indented() else 1):
            self._orphan()
        top = self.levels[-1]
        top.indent = 0
        self._finish(top)
        return KtapReport(
            cases=_unique(top.cases),
            planned=top.planned,
            problems=tuple(self.problems),
            skip_all=top.skip_all,
            bailed_out=self.bailed,
        )

    def _all_indented(self) -> bool:
        """Whether the stream has no outermost level, because all of it is indented."""
        return self.levels[0].untouched and len(self.levels) > 1 and not self.levels[1].name

    # ------------------------------------------------------------ lines

    def _line(self, line: str) -> None:
        start, indent, text = self._place(line)
        if (self.yaml is not None or text == "---") and self._in_yaml(indent, text):
            return
        if not text:
            return
        if text[0] == "#" and (behind := self._behind(text)):
            level = self._open(indent + behind)
            if level is None:
                return
            level.prefix = level.prefix or line[start : len(line) - len(text) + behind]
            self.prefixed = True
            indent, text = indent + behind, text[behind:]
        after_result, self.after_result = self.after_result, False
        first = text[0]
        if first == "#":
            self._diagnostic(indent, text)
        elif first in "on" and (result := tapline.result(text)) is not None:
            self._result(indent, result)
        elif first == "1" and (plan := tapline.plan(text)) is not None:
            self._plan(indent, plan)
        elif first in "KTkt" and tapline.is_version(text):
            self._version(indent, text)
        elif first in "Bb" and (why := tapline.bail_out(text)) is not None:
            self._bail_out(why, start > 0)
        elif text in ("{", "}"):
            self._brace(indent, text, after_result)
        elif start:
            self._diagnostic(indent, text)

    def _behind(self, text: str) -> int:
        """The width of the hashes before a line with which a child program's output begins."""
        hashes = _BEHIND.match(text) or (_PLAN_BEHIND.match(text) if self.header else None)
        if hashes is None:
            return 0
        rest = text[hashes.end() :]
        return hashes.end() if self.header or tapline.is_version(rest) else 0

    def _place(self, line: str) -> tuple[int, int, str]:
        """Where the prefixes of the open levels end, the indent, and the text of a line."""
        start = 0
        if self.prefixed:
            for level in self.levels:
                if level.prefix and line.startswith(level.prefix, start):
                    start += len(level.prefix)
        text = line[start:].strip()
        if not text or line[start] == text[0]:
            return start, start, text
        blanks = line[start : line.index(text[0], start)]
        return start, start + len(blanks.expandtabs(_TAB)), text

    def _in_yaml(self, indent: int, text: str) -> bool:
        if self.yaml is None:
            if text != "---" or not self.after_result or indent <= self.levels[-1].indent:
                return False
            self.yaml, self.swallowed = indent, False
            return True
        if text and indent < self.yaml:
            self._unended_yaml()
            return False
        if text == "..." and indent == self.yaml:
            self.yaml = None
            self.after_result = True  # for a brace
        else:
            found = tapline.result(text) if text[:1] in ("o", "n") else None
            self.swallowed |= found is not None and not found.bare
            self.levels[-1].note(text[:MAX_WORDS])
        return True

    def _unended_yaml(self) -> None:
        if self.yaml is not None and self.swallowed:
            self._problem("a YAML block that does not end has lines of TAP in it")
        self.yaml = None

    def _plan(self, indent: int, plan: Plan) -> None:
        level = self._open(indent)
        if level is not None:
            for problem in level.plan(plan):
                self._problem(problem)

    def _version(self, indent: int, text: str) -> None:
        level = self._open(indent)
        if level is None:
            return
        if level.own or level.planned is not None:
            self._problem(f"a second version line{level.where}: two streams in one")
        level.announced = True
        level.tap |= text[:1] in "tT" and not level.prefix

    def _result(self, indent: int, result: Result) -> None:
        deeper = self.levels[-1].indent > indent
        if result.bare and deeper and not (self.levels[-1].complete and self._is_level(indent)):
            return
        below = self._close_to(indent)
        level = self._open(indent)
        if level is None:
            return
        if below is not None and not _is_parent(result.name, below):
            if below.from_above and level.untouched and not level.name and len(self.levels) > 1:
                # The name was that of this level, whose first line this is.
                level.name, below.name = below.name, ""
            else:
                self._lost_parent(below)
                below = None
        level.add(result, below)
        self.header, level.child, self.after_result = False, "", True

    def _is_level(self, indent: int) -> bool:
        return any(level.indent == indent for level in self.levels)

    def _bail_out(self, why: str, child: bool) -> None:
        self._problem(f"the test bailed out: {why}", once=True)
        if not child:  # of a child program that gave up its parent tells
            self.bailed = self.bailed or why

    def _brace(self, indent: int, text: str, after_result: bool) -> None:
        level = next((one for one in self.levels if one.indent == indent), None)
        if level is None or not level.own:
            return
        if text == "{":
            level.opened |= after_result
        elif level.opened:
            level.add_below_last(self._close_to(indent))

    def _diagnostic(self, indent: int, text: str) -> None:
        subtest = _SUBTEST.match(text)
        if subtest is not None:
            self._subtest(indent, subtest["name"])
            return
        self.header |= _HEADER.match(text) is not None
        for level in reversed(self.levels):
            if level.indent <= indent or level is self.levels[0]:
                level.note(text[:MAX_WORDS].lstrip("# ").strip())
                return

    def _subtest(self, indent: int, name: str) -> None:
        """A name for a level: the one it stands in (KUnit), or the one to come (TAP 14)."""
        level = self.levels[-1]
        if indent > level.indent:
            opened = self._open(indent)
            if opened is not None:
                opened.announced = True
                # The one above was told its name already: this is that of the next one below.
                if opened.name:
                    opened.child = opened.other = name
                else:
                    opened.name = name
        elif (
            indent == level.indent
            and level.announced
            and len(self.levels) > 1
            and not (level.name or level.cases)
        ):
            level.name = name
        elif indent == level.indent:
            level.child = name

    # ------------------------------------------------------------ levels

    def _open(self, indent: int) -> Level | None:
        """The level at this indent, opened where it is deeper than the current one."""
        while len(self.levels) > 1 and indent < self.levels[-1].indent:
            self._orphan()
        if indent <= self.levels[-1].indent:
            return self.levels[-1]
        if len(self.levels) > MAX_DEPTH:
            self._problem(
                f"nested deeper than {MAX_DEPTH} levels (indent {indent}): not read", once=True
            )
            return None
        above = self.levels[-1]
        self.levels.append(Level(indent, above.child, from_above=bool(above.child)))
        above.child = ""
        return self.levels[-1]

    def _close_to(self, indent: int) -> Level | None:
        """Close every level deeper than ``indent``; the outermost of them is what came below."""
        child = None
        while len(self.levels) > 1 and self.levels[-1].indent > indent:
            if child is not None:
                self._lost_parent(child)
            child = self.levels.pop()
            self._finish(child)
        return child

    def _finish(self, level: Level) -> None:
        for problem in level.finish():
            self._problem(problem)

    def _orphan(self) -> None:
        """A child level ends and its parent's result line never came."""
        child = self.levels.pop()
        self._finish(child)
        self._lost_parent(child)

    def _lost_parent(self, child: Level) -> None:
        self._problem(f"{child.name or 'a subtest'} has no result line of its own")
        self.levels[-1].add_lost(child)

    def _problem(self, text: str, once: bool = False) -> None:
        if len(self.problems) < MAX_PROBLEMS and not (
            once and any(p.startswith(text[:20]) for p in self.problems)
        ):
            self.problems.append(text)


def _is_parent(name: str, below: Level) -> bool:
    """Whether a result is that of the level announced below; Perl's Test2 repeats the word."""
    return not (name and below.name) or name.removeprefix("Subtest: ") in (below.name, below.other)


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
            case = KtapCase(name, case.verdict, case.reason, case.diagnostics, case.known)
        result.append(case)
    return tuple(result)
