# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own selftests: what one printed and its exit status in, its cases out.

The exit status is what kselftest itself goes by (0 pass, 4 skip, 124 time-out, else fail:
tools/testing/selftests/kselftest/runner.sh); the TAP that many programs print names what failed.
So each program has a case ``program``, unless subtests of its own tell all there is to tell, and
one for each subtest.  That a signal or the time limit ended it no subtest tells.  A plan that does
not fit is no reason to mistrust a program that ended well: several of them count wrongly.

Some programs print results in words of their own; those that matter here are put into TAP first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from orchestrator.evidence import ktap, taptext
from orchestrator.evidence.taplevel import all_skipped
from orchestrator.model.evidence import KtapCase, KtapReport
from orchestrator.model.formats import status_words
from orchestrator.model.names import Verdict

#: The case that stands for the program as a whole.
PROGRAM = "program"

SKIPPED = 4
_TIMED_OUT = 124
# A shell's 128 + signal; what lies above is a program's own, such as the 255 of exit(-1).
_SIGNALS = range(129, 193)
_NOT_STARTED = (126, 127)
_TAIL = 8
_MAX_LINE = 300
_RESULT = re.compile(
    r"^(?P<head>(?P<behind>(?:# )*)(?:not )?ok\s+(?P<number>\d{1,9}))"
    r"(?:\s+-(?=\s|$)|(?=\s|$))\s*(?P<rest>.*)$"
)
_TAP = re.compile(
    r"^(?:# )*(?:K?TAP version \d+|(?:not )?ok\s+\d+\b|1\.\.0\s*#\s*SKIP\b)", re.MULTILINE
)
# ksft_test_result_skip("why") prints no name: "ok 1 # SKIP why".
_NAMELESS = re.compile(r"$|#(?:\s|SKIP|TODO|XFAIL|TIMEOUT|ERROR)", re.IGNORECASE)
# What follows a result whose message lacks its line's end (mm/ksm_functional_tests.c, v6.12).
_GLUED = re.compile(
    r"(?<=\S)(?:# (?:\[RUN\]|Totals:|Planned tests !=) |Bail out! |(?:not )?ok (?P<next>\d{1,9}) )"
)
# cow, gup_longterm and others name what is tested in a remark, and only the step in the result.
_RUN = re.compile(r"^(?P<behind>(?:# )*)# \[RUN\] (?P<what>.+)$")
_TOTALS = re.compile(r"(?m)^# Totals: .{0,80}?\bfail:(\d{1,9})\b")
_NUMBER = re.compile(r"\d+")
_ADDRESS = re.compile(r"\b(?:0x)?[0-9a-f]{9,16}\b")
# uffd-unit-tests: "Testing move on anon... done".
_TESTING = re.compile(r"^Testing (?P<what>.+?)\.\.\.\s*(?P<rest>.*)$")
_TESTED = re.compile(r"(?P<word>done|skipped|failed)(?: \[reason: (?P<why>.*?)\])?\s*$")
# khugepaged: "Run test: collapse_full (khugepaged:anon)", then a line for each step.
_BLOCK = re.compile(r"^Run test: (?P<what>\S.*?)\s*$")
_CUT = "not ok # it did not come to its end"
_STEP = re.compile(r"\b(?P<word>OK|Fail|Skip|Skipped)\s*$")
_WHY_SKIP = re.compile(r"(?:#\s*)?SKIP:?\s*(?P<why>.*)$", re.IGNORECASE)


def read(stdout: str, status: int | None) -> KtapReport:
    """The cases of one program.  Never raises.

    :param status: its exit status as a shell gives it (128 + signal); None where it did not end.
    """
    lines, cut = taptext.lines(stdout, whole=ended(status))
    text = "\n".join(lines)
    report = ktap.parse(as_tap(text))
    if cut:
        report = replace(report, problems=(ktap.CUT, *report.problems))
    cases = report.cases
    if status is None or (status in _NOT_STARTED and not cases):
        problems = () if status is None else tuple(_tail(text))
        return replace(report, problems=problems)
    return KtapReport((*cases, *_program(report, text, status)), planned=None)


def _program(report: KtapReport, text: str, status: int) -> Iterator[KtapCase]:
    cases = report.cases
    failed = [case for case in cases if case.verdict in (Verdict.FAIL, Verdict.ERROR)]
    skipped = bool(cases) and all(map(all_skipped, cases))
    if status == 0 and (skipped or (report.skip_all and not cases)):
        why = report.skip_all or "all its subtests were skipped"
        yield KtapCase(PROGRAM, Verdict.SKIP, why)
    elif status == 0 and report.bailed_out:
        reason = f"bailed out and ended with exit status 0: {report.bailed_out}"
        yield KtapCase(PROGRAM, Verdict.FAIL, reason, tuple(_tail(text)))
    elif status == 0 and not failed and (told := _failures_told(text)):
        reason = f"its totals count {told} failed, and its exit status is 0"
        yield KtapCase(PROGRAM, Verdict.FAIL, reason, tuple(_tail(text)))
    elif status == 0:
        yield KtapCase(PROGRAM, Verdict.PASS, "; ".join(report.problems[:2]))
    elif status == SKIPPED:
        yield KtapCase(PROGRAM, Verdict.SKIP, report.skip_all or _why_skipped(report, text))
    elif report.problems or not failed or cut_short(status):
        reason = f"ended with {status_words(status)}"
        if report.bailed_out:
            reason += f": it bailed out: {report.bailed_out}"
        elif report.problems and not failed:
            reason += f": {report.problems[0]}"
        yield KtapCase(PROGRAM, Verdict.FAIL, reason, tuple(_tail(text)))


def _failures_told(text: str) -> int:
    """How many failures its own last totals count (ksft_print_cnts() in kselftest.h)."""
    found = _TOTALS.findall(text)
    return int(found[-1]) if found else 0


def ended(status: int | None) -> bool:
    """Whether a program came to its own end, so that its last line is whole.

    :param status: as :func:`read` has it.
    """
    return status is not None and not cut_short(status)


def cut_short(status: int) -> bool:
    """Whether a program did not end by itself, so that its subtests cannot tell all."""
    return status < 0 or status == _TIMED_OUT or status in _SIGNALS


def _tail(text: str) -> list[str]:
    """The last things it said, of lines that differ in their numbers alone only the last."""
    tail: list[str] = []
    for line in (one.strip()[:_MAX_LINE] for one in text.splitlines() if one.strip()):
        if tail and _NUMBER.sub("", tail[-1]) == _NUMBER.sub("", line):
            tail.pop()
        tail.append(line)
    return tail[-_TAIL:]


def _why_skipped(report: KtapReport, text: str) -> str:
    """A skip's reason: the last case's, what stands behind the word, or what was said last."""
    if report.cases and all_skipped(report.cases[-1]):
        return report.cases[-1].reason
    lines = [line for line in _tail(text) if not line.startswith("# Totals: ")]
    for line in reversed(lines):
        found = _WHY_SKIP.search(line)
        if found and found["why"]:
            return found["why"]
    return lines[-1].lstrip("# ") if lines else "it does not say why"


# ---------------------------------------------------------------- into TAP


def as_tap(text: str) -> str:
    """What a program printed as TAP; what is TAP keeps its words but for the results' names."""
    lines = text.split("\n")
    if _TAP.search(text):
        return "\n".join(_named(lines))
    for reader in (_userfaultfd, _khugepaged):
        found = list(reader(lines))
        if found:
            return _tap(found)
    # What begins like a plan in words that are not TAP is nobody's plan.
    return ""


def _named(lines: Iterable[str]) -> Iterator[str]:
    """Results with the remark before them that says what they are about; addresses left out."""
    what = behind = ""
    for line in _unglued(lines):
        run = _RUN.match(line)
        if run:
            what, behind = run["what"].replace("#", "").strip(), run["behind"]
        result = _RESULT.match(line)
        if result is None:
            yield line
            continue
        if result["behind"] != behind:
            what = ""  # it was about another program's results
        rest = _ADDRESS.sub("ADDRESS", result["rest"])
        sign = "" if not what or _NAMELESS.match(rest) else ":"
        yield f"{result['head']} {what}{sign} {rest}" if what else f"{result['head']} {rest}"


def _unglued(lines: Iterable[str]) -> Iterator[str]:
    """The lines, split where a result's end of line is missing."""
    for line in lines:
        result = _RESULT.match(line)
        while result is not None:
            found = _GLUED.finditer(line, result.start("rest"))
            number = int(result["number"]) + 1
            glued = next((g for g in found if not g["next"] or int(g["next"]) == number), None)
            if glued is None:
                break
            yield line[: glued.start()]
            line = line[glued.start() :]
            result = _RESULT.match(line)
        yield line


def _userfaultfd(lines: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Tests of uffd-unit-tests as (name, result, what was said)."""
    name: str = ""
    said: list[str] = []
    for line in lines:
        begun = _TESTING.match(line)
        if begun:
            if name:
                yield name, _CUT, said
            name, said, line = begun["what"], [], begun["rest"]
        if not name:
            continue
        ended = _TESTED.search(line)
        if ended is None:
            said.append(line)
            continue
        word, why = ended["word"], ended["why"] or ""
        result = {"done": "ok", "skipped": f"ok # SKIP {why}", "failed": f"not ok # {why}"}[word]
        yield name, result, said
        name = ""
    if name:
        yield name, _CUT, said


def _khugepaged(lines: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Tests of khugepaged as (name, result, what was said)."""
    name: str = ""
    said: list[str] = []
    for line in [*lines, "Run test: end"]:
        begun = _BLOCK.match(line)
        if begun is None:
            said.append(line)
            continue
        if name:
            # What is set up before the tests is restored after the last one.
            steps = [one for one in said if not one.startswith("Restore ")]
            words = {step["word"] for one in steps if (step := _STEP.search(one))}
            result = "ok"
            if not words:
                result = _CUT
            elif "Fail" in words:
                result = "not ok"
            elif words <= {"Skip", "Skipped"}:
                result = "ok # SKIP skipped by the program"
            yield name, result, said
        name, said = begun["what"], []


def _tap(found: list[tuple[str, str, list[str]]]) -> str:
    out = ["TAP version 13", f"1..{len(found)}"]
    for number, (name, result, said) in enumerate(found, 1):
        word, sign, rest = result.partition(" # ")
        out += [f"# {line}" for line in _tail("\n".join(said))]
        out.append(f"{word} {number} {name.replace('#', '')}{sign}{rest}")
    return "\n".join(out) + "\n"
