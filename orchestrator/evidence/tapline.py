# SPDX-License-Identifier: GPL-2.0-only
"""One line of TAP: a version, a plan or a result, with its name and its directive.

Documentation/dev-tools/ktap.rst of v6.12 and the TAP 14 specification (testanything.org), and how
tools/testing/selftests/kselftest.h prints: ``ok 1 # SKIP name`` is ksft_test_result_skip("name").

What the directives mean here: SKIP is a skip, whichever word precedes it.  XFAIL and TODO mark a
failure that the test's author knows of: XFAIL passes (kselftest prints ``ok ... # XFAIL``), a TODO
that is ``not ok`` is a skip.  TIMEOUT is a fail and ERROR an error even behind ``ok``.  These two
are capital letters only, because small ones are a remark: ``# error code 5``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.model.names import Verdict

#: Characters of a name, and of a reason, that are kept.
MAX_WORDS = 4096
#: A number that no plan has stands for one of more digits than this.
_DIGITS = 9
NO_REASON = "skipped without a reason"

_VERSION = re.compile(r"(?:KTAP|TAP) version \d[\d.]*\s*$", re.IGNORECASE)
_PLAN = re.compile(r"1\.\.(?P<count>\d+)\s*(?:#(?P<remark>.*))?$")
_SKIP = re.compile(r"\s*SKIP\w*\b[:\s]*(?P<why>.*)$", re.IGNORECASE)
_BAIL = re.compile(r"Bail out!\s*(?P<why>.*)$", re.IGNORECASE)
_HEAD = re.compile(r"(?P<bad>not )?ok(?=[\s#]|$)")
# A number, and the dash that may stand between it and the name.
_NUMBER = re.compile(r"\s+(?P<number>\d+)(?=[\s#]|$|-(?!\d))(?:\s*-(?=\s|$)|-)?")
_DASH = re.compile(r"\s+-(?=\s|$)")
_SIGN = re.compile(r"\\.|#")
_ESCAPED = re.compile(r"\\([\\#])")
_DIRECTIVE = re.compile(
    r"#\s*(?:exit=\S{1,20}\s+(?:#\s*)?)?(?P<word>(?i:SKIP\w*|TODO|XFAIL)|TIMEOUT|ERROR)\b:?"
)
_KSFT_ERROR = re.compile(r"error (?P<name>\S.*)$")


@dataclass(frozen=True)
class Plan:
    """``1..count``; ``skip_all`` says why a plan of no cases has none."""

    count: int
    skip_all: str = ""


class Result(NamedTuple):  # made faster than a frozen dataclass, and there are many
    """A result line.

    ``name`` is empty where it has none.  ``bare`` tells that neither number, dash nor hash follows
    its first word, as in prose; ``known`` that a TODO excuses it.  ``opens`` tells that its
    subtests follow it in braces (node-tap, Perl's Test2).
    """

    verdict: Verdict
    name: str
    reason: str
    number: int | None = None
    bare: bool = False
    known: bool = False
    opens: bool = False


def is_version(text: str) -> bool:
    """Whether this is a version line, of whatever version."""
    return _VERSION.match(text) is not None


def plan(text: str) -> Plan | None:
    """Read a plan; None where the line is none."""
    match = _PLAN.match(text)
    if match is None:
        return None
    count = _number(match["count"])
    if count:
        return Plan(count)
    remark = match["remark"] or ""
    skip = _SKIP.match(remark)
    why = skip["why"] if skip else remark
    return Plan(0, why.strip()[:MAX_WORDS] or "the plan has no cases")


def bail_out(text: str) -> str | None:
    """Why a test gave up; None where the line does not say that it did."""
    match = _BAIL.match(text)
    return None if match is None else match["why"][:MAX_WORDS] or "no reason given"


def result(text: str) -> Result | None:
    """Read a result line; None where the line is none."""
    head = _HEAD.match(text)
    if head is None:
        return None
    bad, start = head["bad"] is not None, head.end()
    number = _NUMBER.match(text, start)
    dash = None if number else _DASH.match(text, start)
    begun = number or dash
    rest = text[begun.end() if begun else start :].strip()
    verdict, name, why, known = _told(rest, bad)
    return Result(
        verdict,
        name[:MAX_WORDS],
        why[:MAX_WORDS],
        number=_number(number["number"]) if number else None,
        bare=begun is None and not rest.startswith("#"),
        known=known,
        opens=rest.endswith("{") or name.endswith("{"),
    )


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _DIGITS else 10**_DIGITS


def _told(rest: str, bad: bool) -> tuple[Verdict, str, str, bool]:
    """Verdict, name, reason, and whether a TODO excuses it, of what follows number and dash."""
    if "#" not in rest:
        return (Verdict.FAIL if bad else Verdict.PASS), _plain(rest), "", False
    directive, remark = _signs(rest, bad)
    if directive is None:
        name = rest if remark is None else rest[:remark]
        why = "" if remark is None else rest[remark + 1 :].strip()
        error = _KSFT_ERROR.match(why) if bad and not name.strip() else None
        if error is not None:
            name = error["name"]
        return (Verdict.FAIL if bad else Verdict.PASS), _plain(name), why if bad else "", False
    name = _plain(rest[: directive.start() if remark is None else remark])
    word, why = directive["word"].upper(), rest[directive.end() :].strip()
    if word.startswith("SKIP"):
        return Verdict.SKIP, name or why, why or NO_REASON, False
    if word == "TIMEOUT":
        return Verdict.FAIL, name, f"timed out: {why}" if why else "timed out", False
    if word == "ERROR":
        return Verdict.ERROR, name or why, why or "the test reports an error of its own", False
    if word == "TODO":
        verdict = Verdict.SKIP if bad else Verdict.PASS
        return verdict, name, f"known not to work: {why}".rstrip(": "), True
    return Verdict.PASS, name or why, f"failed as its author expects: {why}".rstrip(": "), False


def _signs(rest: str, bad: bool) -> tuple[re.Match[str] | None, int | None]:
    """The directive, and where the remark begins that stands before it or alone.

    The first hash with a blank behind it ends the name, so that ``case #3`` keeps its number.  A
    directive is the first word behind it.  Behind an ``ok`` one that follows later counts too: a
    skip must not read as a pass, whereas a fail is not to be excused by what a remark says.
    """
    remark: int | None = None
    for sign in _SIGN.finditer(rest):
        at = sign.start()
        if sign[0] != "#":
            continue
        before = at == 0 or rest[at - 1].isspace()
        behind = rest[at + 1 : at + 2] in ("", " ", "\t")
        directive = _DIRECTIVE.match(rest, at)
        word = directive["word"] if directive is not None else ""
        late = remark is not None and word.upper() in ("TODO", "XFAIL")
        if word and not late and (before or behind or word.isupper()):
            return directive, remark
        if remark is None and before and behind:
            remark = at
            if bad:
                break
    return None, remark


def _plain(name: str) -> str:
    """A name without the escapes of TAP 14."""
    return _ESCAPED.sub(r"\1", name.strip()) if "\\" in name else name.strip()
