# SPDX-License-Identifier: GPL-2.0-only
"""What stands before a kernel message where something other than the console recorded it.

The forms, which may stand inside one another from the top down:

- job logs: GitHub's (``2026-11-29T10:00:00.1234567Z text``, and ``job<TAB>step<TAB>`` before that),
  GitLab's (``...Z 00O text``), Jenkins' (``[2026-11-29T10:00:00.123Z] text``);
- syslog(3) files and journalctl(1), with each of its times: ``Nov 29 10:00:00 host kernel: text``;
- syslog's level: ``<4>`` (``dmesg -r``, pstore, netconsole), ``kern  :warn  : `` (``dmesg -x``);
- dmesg(1)'s other times: ``-T``, ``-e``, ``-d``, ``--time-format=iso``, each with printk's caller
  in brackets of its own (print_record() in sys-utils/dmesg.c of util-linux 2.41);
- printk's own prefix (:mod:`orchestrator.evidence.klog.lines`);
- a record of /dev/kmsg (:mod:`orchestrator.evidence.klog.kmsg`).

A date alone stands before what any program prints, and shows nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from orchestrator.model.formats import CONTROLS

#: printk's time and caller: print_time() and print_caller() in kernel/printk/printk.c of v6.12.
TIME = r"\[ {0,5}(?P<time>\d{1,9}\.\d{6})\]"
CALLER = r"\[ {0,6}(?P<%s>[TC]\d{1,10})(?:@[TC]?\d{1,6})?\]"
#: The head of a record of /dev/kmsg, up to its text.
RECORD = re.compile(
    r"(?P<prio>\d{1,18}),(?P<seq>\d{1,18}),(?P<usec>\d{1,18}),(?P<flags>[^,;]{0,16})"
    r"(?P<more>(?:,[^;]{0,200})?);"
)
RECORD_CALLER = re.compile(r",caller=(?P<caller>[TC]\d{1,10})\b")
_HEX = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
_CONTROL = re.compile(f"[{CONTROLS}\u2028\u2029\r]")

_CLOCK = r"\d\d:\d\d:\d\d"
_ISO = rf"\d{{4}}-\d\d-\d\d[T ]{_CLOCK}(?:[.,]\d{{1,9}})?(?: ?(?:Z|[A-Z]{{2,5}}|[+-]\d\d:?\d\d))?"
_WORD = r"[^\W\d_]{1,8}\.?"  # of a day or a month, in any language
_JOB = re.compile(rf"(?:[^\t\n]{{1,200}}\t[^\t\n]{{1,200}}\t\ufeff?)?"
                  rf"(?:{_ISO} (?:\d\d[OE][+ ])?|\[{_ISO}\] ?)")  # fmt: skip
# journalctl's short, short-full, short-iso, short-precise, short-unix; rsyslog's and its own ISO.
_SYSLOG = re.compile(
    rf"(?:[A-Z][a-z]{{2}} [ \d]\d {_CLOCK}(?:\.\d{{1,9}})?|(?:[A-Z][a-z]{{2}} )?{_ISO}"
    r"|\d{9,11}\.\d{6}) [\w.:-]{1,64} kernel: "
)
#: A host's name and the kernel's behind printk's time: journalctl's short-monotonic.
HOSTED = re.compile(r"[\w.-]{1,64} kernel: ")
_FACILITY = "kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|local[0-7]"
_LEVEL = re.compile(
    rf"<(?P<number>\d{{1,3}})>|(?P<facility>{_FACILITY}) {{0,4}}:"
    r"(?:emerg|alert|crit|err|warn|notice|info|debug) {0,3}: "
)
_DMESG = re.compile(
    r"(?:(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{6}[+-]\d\d:\d\d)"
    rf"|\[(?:{_WORD} {{1,2}}{_WORD} {{1,2}}\d{{1,2}} {_CLOCK} \d{{4}}(?: <[ \d.]{{12,20}}>)?"
    rf"|{_WORD} {{0,2}}\d{{1,2}} \d\d:\d\d| {{1,5}}[+-]\d{{1,9}}\.\d{{6}}"
    r"|(?: {0,5}(?P<time>\d{1,9}\.\d{6}) )?<[ \d.]{12,20}>)\])"
    rf" ?(?:{CALLER % 'caller'} ?)?"
)
#: A look that most other lines fail; a line with tabs may have a form all the same.
MAYBE = re.compile(
    r"\d{4}-\d\d-|\d{1,18},\d{1,18},\d|\d{9,11}\.\d{6} |[A-Z][a-z]{2} (?:[ \d]\d |\d{4}-)|<\d"
    rf"|(?:{_FACILITY}) {{0,4}}:|\[(?: {{0,5}}[\d<+-]|{_WORD}[ \d])"
)
_STAMP = re.compile(rf"{TIME}(?: ?{CALLER % 'caller'})? ?|{CALLER % 'only'} ")


class Unwrapped(NamedTuple):
    """A message out of its wrapping: ``seconds`` and ``caller`` as printk told them, if at all.

    ``width`` is how many characters stood before it; ``kernel`` whether it is the kernel's own, and
    not what a program wrote into /dev/kmsg.  The text of a record may have several lines.
    """

    text: str
    width: int
    seconds: float | None
    caller: str
    kernel: bool


def unwrap(text: str) -> Unwrapped | None:
    """Take a message out of what recorded it; None where nothing shows that a kernel printed it."""
    at, shown, kernel = 0, False, True
    if match := _SYSLOG.match(text):
        at, shown = match.end(), True
    elif match := _JOB.match(text):
        at = match.end()
        if match := _SYSLOG.match(text, at):
            at, shown = match.end(), True
    if match := _LEVEL.match(text, at):
        at, shown, number = match.end(), True, match["number"]
        kernel = int(number) < 8 if number else match["facility"] == "kern"
    if match := _STAMP.match(text, at) or _DMESG.match(text, at):
        told = match.groupdict()
        seconds = float(told["time"]) if told["time"] else None
        caller = told["caller"] or told.get("only") or ""
        return Unwrapped(text[match.end() :], match.end(), seconds, caller, kernel)
    if match := RECORD.match(text, at):
        whose = RECORD_CALLER.search(match["more"])
        return Unwrapped(
            _CONTROL.sub("", decoded(text[match.end() :])),
            match.end(),
            int(match["usec"]) / 1_000_000,
            whose["caller"] if whose else "",
            int(match["prio"]) < 8,
        )
    # dmesg's own ISO time was taken for a job log's.
    if not shown and at and (match := _DMESG.match(text)) and match["iso"]:
        return Unwrapped(text[match.end() :], match.end(), None, match["caller"] or "", True)
    return Unwrapped(text[at:], at, None, "", kernel) if shown else None


def undated(text: str) -> str | None:
    """What stands behind a job log's date; None where there is none."""
    match = _JOB.match(text)
    return text[match.end() :] if match else None


def decoded(text: str) -> str:
    """A record's text with ``\\xNN`` as the bytes that they stand for, and those as UTF-8."""
    if "\\x" not in text:
        return text
    return _HEX.sub(
        lambda m: bytes.fromhex(m[0].replace("\\x", "")).decode("utf-8", "replace"), text
    )
