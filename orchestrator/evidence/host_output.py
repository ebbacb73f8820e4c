# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel tree's host test printed and how it ended in, what it found out.  Pure, linear.

The forms are those of tools/testing/{memblock,vma,radix-tree,scatterlist} and of
tools/include/asm/bug.h (v6.12), of glibc's assert(3), and of gcc's sanitizers.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.model.formats import status_words
from orchestrator.model.names import Verdict

#: The case that stands for the program as a whole.
PROGRAM = "program"

#: Findings of one program that are kept, and what a case's name and reason hold.
MOST = 50
_NAME = 100
_LINE = 300
_DETAIL = 24
_TAIL = 6

_ASSERT = re.compile(
    r"^(?:[\w./-]{1,99}: )?(?P<file>[\w./+-]{1,200}\.[chS]):(?P<line>\d{1,7}): "
    r"(?P<func>[^:]{1,200}): Assertion `(?P<text>.*)' failed\.$"
)
_VMA = re.compile(
    r"^Assert FAILED at (?P<file>[\w./+-]{1,200}):(?P<line>\d{1,7}):(?P<func>\w{1,99})\(\): "
    r"(?P<text>.*)$"
)
_WARN = re.compile(r"^assertion failed at (?P<file>[\w./+-]{1,200}):(?P<line>\d{1,7})$")
_BUG = re.compile(
    r"^(?:BUG|(?P<warn>WARN)) at (?P<func>\w{1,99}):(?P<line>\d{1,7})(?: \(\d{1,9}\))?$"
)
_UBSAN = re.compile(
    r"^(?P<file>[\w./+-]{1,300}):(?P<line>\d{1,7}):\d{1,6}: runtime error: (?P<text>.*)$"
)
_COUNT = re.compile(r"^(?P<what>\w{1,40}): (?P<good>\d{1,12}) of (?P<all>\d{1,12}) tests passed$")
_UNMET = re.compile(r"^Failed on '(?P<text>.*)'!$")
_REPORT = re.compile(
    r"^(?:=+\d+=+ ?ERROR|WARNING): (?P<tool>\w{1,40}Sanitizer): (?P<text>[\w -]{1,80})"
)
_SUMMARY = re.compile(r"^SUMMARY: (?P<tool>\w{1,40}Sanitizer): ")
_FRAME = re.compile(
    r"^ {2,8}#\d{1,3} (?:0x[0-9a-f]+ (?:in )?)?(?P<func>[\w.]{1,200}) "
    r"(?P<file>[\w./+-]{1,300}):(?P<line>\d{1,7})(?::\d{1,6})?\b"
)
_TEST = re.compile(r"^(?P<bad>not )?ok \d{1,9} (?:: |- )?(?P<name>.+?)(?:: (?:passed|failed))?$")
_FAILED_TEST = re.compile(r"^Test (?P<name>\w{1,99}) (?:FAILED|failed)$")
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
# Where every allocation comes from, which tells nothing of a leak.
_ALLOCATORS = ("tools/lib/slab.c", "tools/include/linux/slab.h", "tools/testing/shared/linux.c")
# abort(3), which is how an assertion ends: any other signal has a cause of its own.
_ABORTED = 134
_IGNORE, _HEED = "vvv Ignore these warnings", "^^^ Warnings over"
_SIGNED = (_ASSERT, _VMA, _WARN, _BUG, _UBSAN)


@dataclass(frozen=True)
class Finding:
    """One thing that a program found wrong.

    ``name`` is the same wherever the sources moved it; ``file`` is as it was printed, empty where
    none was; ``line`` is 0 then.  ``detail`` are further lines of it.
    """

    name: str
    text: str
    file: str = ""
    line: int = 0
    func: str = ""
    warning: bool = False
    detail: tuple[str, ...] = ()
    times: int = 1


@dataclass(frozen=True)
class HostCase:
    """One case: a named test, a finding, or the program as a whole."""

    name: str
    verdict: Verdict
    reason: str = ""


#: Gives the file (of the tree), the function and the text of a line; empty what it does not know.
Locate = Callable[[str, int, str], tuple[str, str, str]]


def read(
    lines: Iterable[str],
    status: int | None,
    locate: Locate,
    allows: Sequence[str] = (),
    limit: float = 0.0,
) -> tuple[HostCase, ...]:
    """The cases of one program; one that said nothing and ended well has one that passes.

    :param lines: what it printed on both outputs, in order.
    :param status: its exit status as a shell gives it (128 + signal); None where its time was over.
    :param locate: gives what is known of the file, line and function that were printed.
    :param allows: regular expressions; a warning of whose text one is found is no failure.
    :param limit: the time that it had, in seconds of a processor.
    """
    reader = _Reader(locate, [re.compile(one) for one in allows])
    for line in lines:
        reader.feed(line.rstrip("\r\n")[:2000])
    return reader.cases(status, limit)


class _Reader:
    """One program's output, line by line."""

    def __init__(self, locate: Locate, allows: list[re.Pattern[str]]) -> None:
        self.locate = locate
        self.allows = allows
        self.tests: list[tuple[str, bool, Finding | None]] = []
        self.found: dict[tuple[str, str, int], Finding] = {}
        self.report: list[str] | None = None  # of a sanitizer, while it goes on
        self.muted = False
        self.tail: list[str] = []
        self.more = 0

    def feed(self, line: str) -> None:
        if self.report is not None:
            self._reported(line)
            return
        if line.startswith((_IGNORE, _HEED)):
            self.muted = line.startswith(_IGNORE)
            return
        if _REPORT.match(line):
            self.report = [line]
            return
        if self._tested(line) or self._signed(line):
            return
        count = _COUNT.match(line)
        if count and int(count["good"]) != int(count["all"]):
            bad = int(count["all"]) - int(count["good"])
            self._keep(Finding(f"{count['what']}: all tests pass", f"{bad} failed: {line}"))
        elif unmet := _UNMET.match(line):
            self._keep(Finding(_short(unmet["text"]), line))
        elif line.strip() and not count:
            self.tail = [*self.tail[-_TAIL + 1 :], line.strip()[:_LINE]]

    def _tested(self, line: str) -> bool:
        """A named test; what was found just before it is the reason of one that failed."""
        failed = _FAILED_TEST.match(line)
        if failed:
            last = self._last()
            if last is not None and last.func.removeprefix("test_") == failed["name"]:
                del self.found[last.name, last.file, last.line]
            else:
                last = None
            self.tests.append((failed["name"], False, last))
            return True
        test = _TEST.match(line)
        if test:
            self.tests.append((test["name"], not test["bad"], None))
        return test is not None

    def _last(self) -> Finding | None:
        return next(reversed(self.found.values()), None)

    def _signed(self, line: str) -> bool:
        for sign in _SIGNED:
            match = sign.match(line)
            if match is None:
                continue
            if sign is _WARN and self.muted:
                return True
            parts = match.groupdict()
            line_no = int(parts["line"])
            file, func, source = self.locate(parts.get("file", ""), line_no, parts.get("func", ""))
            text = parts.get("text") or source
            found = self._finding(sign, file, line_no, func, text)
            self._keep(replace(found, warning=found.warning or bool(parts.get("warn"))))
            return True
        return False

    def _finding(
        self, sign: re.Pattern[str], file: str, line: int, func: str, text: str
    ) -> Finding:
        if sign is _ASSERT:
            return Finding(
                _short(f"{func}: {text}"), f"Assertion `{text}' failed", file, line, func
            )
        if sign is _VMA:
            return Finding(_short(f"{func}: {text}"), f"Assert FAILED: {text}", file, line, func)
        if sign is _BUG:
            return Finding(_short(f"{func}: {text or 'BUG'}"), f"failed: {text}", file, line, func)
        if sign is _WARN:
            name = _short(f"{func or file}: {text or 'WARN_ON'}")
            return Finding(name, f"warning: {text}", file, line, func, True)
        where = func or posixpath.basename(file)
        name = _short(f"{where}: runtime error: {_NUMBER.sub('N', text)}")
        return Finding(name, f"runtime error: {text}", file, line, func)

    # ------------------------------------------------------------ sanitizers

    def _reported(self, line: str) -> None:
        assert self.report is not None
        if len(self.report) < 400:
            self.report.append(line)
        if not _SUMMARY.match(line):
            return
        said, self.report = self.report, None
        self._keep(self._of_report(said))

    def _of_report(self, said: list[str]) -> Finding:
        """A report's place is the first line of the tree in it; a library's own lines are none."""
        head = _REPORT.match(said[0])
        assert head is not None
        what = " ".join(head["text"].removesuffix(" on address").split())
        what = "SEGV" if what.startswith("SEGV") else what
        what = what.partition(" on ")[0] or what
        if what.startswith("detected memory leaks"):
            what = "memory leak"
        places: list[tuple[str, str, int]] = []
        for one in said:
            frame = _FRAME.match(one)
            if frame is not None:
                place, _, _ = self.locate(frame["file"], int(frame["line"]), frame["func"])
                if place and not place.startswith(("/", "..")):
                    places.append((place, frame["func"], int(frame["line"])))
            elif places:
                break  # of several stacks the first: where it happened
        told = (one for one in places if one[0] not in _ALLOCATORS)
        place, func, line = next(told, places[0] if places else ("", "", 0))
        name = f"{head['tool']}: {what}" + (f" in {func}" if func else "")
        return Finding(
            _short(name), f"{head['tool']}: {what}", place, line, func,
            detail=tuple(one[:_LINE] for one in said[:_DETAIL]),
        )  # fmt: skip

    # ------------------------------------------------------------ the end

    def _keep(self, finding: Finding) -> None:
        told = f"{finding.name}: {finding.text}"
        if finding.warning and any(rule.search(told) for rule in self.allows):
            return
        last = self._last()
        if last and finding.file and (last.file, last.line) == (finding.file, finding.line):
            finding = replace(finding, name=last.name)  # a macro that tells, and then asserts
        key = (finding.name, finding.file, finding.line)
        if key in self.found:
            old = self.found[key]
            again = old.text == finding.text
            self.found[key] = replace(old, times=old.times + again)
        elif len(self.found) < MOST:
            self.found[key] = finding
        else:
            self.more += 1

    def cases(self, status: int | None, limit: float) -> tuple[HostCase, ...]:
        if self.report:  # it died in the middle of its report
            self._keep(self._of_report(self.report))
        found = list(self.found.values())
        cases: list[HostCase] = []
        for number, (name, good, why) in enumerate(self.tests):
            last = number == len(self.tests) - 1
            if not good and why is None and last and found and status:
                # memblock prints "not ok", and then the assertion that ends it.
                why = found.pop()
            reason = "" if good else (_tell(why) if why else "it says so, and not why")
            cases.append(HostCase(_short(name), Verdict.PASS if good else Verdict.FAIL, reason))
        cases += [HostCase(one.name, Verdict.FAIL, _tell(one)) for one in found]
        bad = any(case.verdict is Verdict.FAIL for case in cases)
        said = "".join(f"\n| {line}" for line in self.tail)
        if status is None:
            reason = f"it did not end within its time ({limit:g} s) and was killed{said}"
            cases.append(HostCase(PROGRAM, Verdict.FAIL, reason))
        elif self.more:
            reason = f"{self.more} further findings are not shown"
            cases.append(HostCase(PROGRAM, Verdict.FAIL, reason))
        elif status and (not bad or (status > 128 and status != _ABORTED)):
            reason = f"ended with {status_words(status)}{said}"
            cases.append(HostCase(PROGRAM, Verdict.FAIL, reason))
        elif not bad:
            cases.append(HostCase(PROGRAM, Verdict.PASS))
        return tuple(cases)


def _short(name: str) -> str:
    text = " ".join(name.split())
    return text if len(text) <= _NAME else f"{text[: _NAME - 3]}..."


def _tell(finding: Finding) -> str:
    """``lib/xarray.c:1523: check_store(): what is wrong``, and further lines of it."""
    head = f"{finding.file}:{finding.line}: " if finding.file else ""
    if not finding.file and finding.line:
        head = f"line {finding.line}: "
    if finding.func:
        head += f"{finding.func}(): "
    text = f"{head}{finding.text}"
    if finding.times > 1:
        text += f" ({finding.times} times)"
    return "\n".join((text, *(f"| {line}" for line in finding.detail)))
