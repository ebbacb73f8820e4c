# SPDX-License-Identifier: GPL-2.0-only
"""``lab log``: the reports in a console or dmesg log of any machine, by itself."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

import click

from orchestrator.commands.entry import say, tell
from orchestrator.evidence.klog.lines import BANNER, file_blocks, is_stamped
from orchestrator.evidence.klog.parse import parse
from orchestrator.host.compressed import decompressed, open_compressed
from orchestrator.judge.known_issues import known_in_log
from orchestrator.judge.verdict import allowed
from orchestrator.kernel.lines.vmlinux import Vmlinux, open_vmlinux
from orchestrator.model.codec import plain
from orchestrator.model.errors import (
    EXIT_INTERRUPTED,
    EXIT_KERNEL,
    EXIT_OK,
    EXIT_USAGE,
    HostError,
    UserError,
)
from orchestrator.model.evidence import Hit, LogReport, LogSource
from orchestrator.model.spec import KnownIssue, MessageRules
from orchestrator.report.log_repeats import Repeats
from orchestrator.report.log_text import block, summary

STDIN = "-"
# Reports whose lines are looked up at once: a call of addr2line takes a second.
_BATCH = 40
# What JUnit holds at most, and how much of each text (characters).
_MAX_CASES = 500
_MAX_TEXT = 16_000
# Boots of one log, and lines looked at for a kernel's stamp.
_MAX_BOOTS = 64
_MAX_LOOKED = 10_000
_MAGIC = (
    (b"\x7fELF", "an ELF file", "a vmlinux goes with --vmlinux"),
    (b"KDUMP   ", "a memory dump", "a log can be taken out of it: `makedumpfile --dump-dmesg`"),
    (b"LPKSHHRH", "a journal's own file", "`journalctl -k -o short-monotonic --file FILE | lab "
     "log -` reads it"),
    (b"\xff\xfe", "UTF-16 text", "`iconv -f UTF-16 -t UTF-8 FILE | lab log -` reads it"),
    (b"\xfe\xff", "UTF-16 text", "`iconv -f UTF-16 -t UTF-8 FILE | lab log -` reads it"),
    (b"PK\3\4", "a zip archive", "unpack it first"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "unpack it first: `lz4 -dc FILE | lab log -`"),
)  # fmt: skip
_TAR = slice(257, 262)


@dataclass(frozen=True)
class LogOptions:
    """What is allowed (``allow``: patterns, ``known``: a file), and what is told, and where."""

    vmlinux: Path | None = None
    allow: tuple[str, ...] = ()
    known: Path | None = None
    full: bool = False
    junit: Path | None = None
    as_json: bool = False


def log(files: tuple[str, ...], options: LogOptions) -> int:
    """Read logs, tell their reports as they come, and give the exit status.

    :raises UserError: when an option is wrong; a log that cannot be read is told, and the others
        are read all the same.
    :raises HostError: when the JUnit file cannot be written, or addr2line is missing.
    """
    for pattern in options.allow:
        _check_pattern(pattern)
    issues, allows = _known(options.known)
    with ExitStack() as stack:
        vmlinux = None
        if options.vmlinux is not None:
            vmlinux = stack.enter_context(open_vmlinux(options.vmlinux))
        reading = _Reading(options, issues, (*options.allow, *allows), vmlinux)
        start = time.monotonic()
        try:
            for name in files:
                if not reading.interrupted:
                    reading.read(name)
        except KeyboardInterrupt:
            reading.interrupted = True
        return reading.end(time.monotonic() - start)


def _known(path: Path | None) -> tuple[tuple[KnownIssue, ...], tuple[str, ...]]:
    if path is None:
        return (), ()
    from orchestrator.plan.known_file import read_known_file

    return read_known_file(path)


def _check_pattern(pattern: str) -> None:
    try:
        everything = re.compile(pattern).search("") is not None
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"--allow {pattern!r} is no regular expression: {error}") from error
    if everything:
        raise UserError(f"--allow {pattern!r} matches everything, an empty line too")


class _Tap:
    """What passes on its way to the parser: how much, of which kernels, and whether of any."""

    def __init__(self) -> None:
        self.lines = 0
        self.interrupted = False
        self.kernel = False
        self.boots: deque[tuple[int, str]] = deque(maxlen=_MAX_BOOTS)

    def through(self, stream: BufferedReader) -> Iterator[str]:
        """The stream in pieces of whole lines; Ctrl-C ends it, so that what was read is told."""
        try:
            for text in file_blocks(stream):
                if "Linux version" in text:
                    self._banners(text)
                if not self.kernel and self.lines < _MAX_LOOKED:
                    self.kernel = is_stamped(text)
                self.lines += text.count("\n") + (not text.endswith("\n"))
                yield text
        except KeyboardInterrupt:
            self.interrupted = True

    def _banners(self, text: str) -> None:
        for match in BANNER.finditer(text):
            self.kernel = True
            line = self.lines + text.count("\n", 0, match.start()) + 1
            self.boots.append((line, text[match.start() :].partition("\n")[0].strip()))

    def banner(self, line: int) -> str:
        """The banner of the boot that a line belongs to; empty where the log has none."""
        return next((text for at, text in reversed(self.boots) if at <= line), "")


class _Reading:
    """All logs of one command, and what they have come to."""

    def __init__(
        self, options: LogOptions, issues: tuple[KnownIssue, ...], allows: tuple[str, ...],
        vmlinux: Vmlinux | None,
    ) -> None:  # fmt: skip
        self.options = options
        self.issues = issues
        self.allows = allows
        self.vmlinux = vmlinux
        self.interrupted = False
        self.sources: list[LogSource] = []
        self.counts = dict.fromkeys(("fail", "known issue", "allowed"), 0)
        self.repeats = Repeats()
        self.cases: dict[tuple[str, str, str], LogReport] = {}
        self.left_out = 0
        self.warned = False
        self.unread = False

    def read(self, name: str) -> None:
        """Read one log, and tell its reports as they come."""
        shown = "stdin" if name == STDIN else name
        tap, found, problem = _Tap(), 0, ""
        try:
            with _opened(name, shown) as stream:
                _require_text(stream.peek(1), shown)
                for hit in self._with_lines(parse(tap.through(stream)), tap):
                    found += 1
                    self._take(shown, hit, tap)
                    # A pipe may never end, as that of `dmesg -w`: nobody reads what would follow,
                    # and the exit status is known.  A file is read on, for the status and JUnit.
                    if self.unread and name == STDIN and self.counts["fail"]:
                        break
                self.interrupted = tap.interrupted
            if not tap.lines and not self.interrupted:
                hint = "did its writer have the permission? `dmesg` may need root"
                raise UserError(f"{shown} is empty: there is nothing to judge", hint)
        except UserError as error:
            problem = error.message
            sys.stdout.flush()
            tell(error)
        for text in self.repeats.told(shown):
            self._say(text + "\n")
        if tap.lines and not tap.kernel and not problem:
            click.echo(f"lab: note: no line of {shown} looks like a kernel's", err=True)
        self.sources.append(LogSource(shown, tap.lines, found, problem))

    def end(self, seconds: float) -> int:
        """Tell what all came to, write JUnit, and give the exit status."""
        failing = EXIT_KERNEL if self.counts["fail"] else EXIT_OK
        problems = [source.problem for source in self.sources if source.problem]
        status = EXIT_INTERRUPTED if self.interrupted else EXIT_USAGE if problems else failing
        sources = tuple(self.sources)
        if self.options.junit is not None:
            self._write_junit(self.options.junit)
        if self.options.as_json:
            told = {
                "event": "summary",
                "files": [plain(source) for source in sources],
                "reports": self.counts,
                "exit_status": status,
                "seconds": round(seconds, 1),
            }
            self._say(json.dumps(told))
        elif any(source.lines for source in sources):
            self._say(summary(sources, self.counts, status, self.interrupted))
        return status

    def _say(self, text: str) -> None:
        self.unread = self.unread or not say(text)

    # ------------------------------------------------------------ one report

    def _take(self, name: str, hit: Hit, tap: _Tap) -> None:
        version = tap.banner(hit.line).removeprefix("Linux version ").partition(" ")[0]
        hit = replace(hit, known=known_in_log(hit, version, self.issues))
        rule = next((p for p in self.allows if allowed(hit, MessageRules(allows=(p,)))), "")
        report = LogReport(name, hit, rule)
        self.counts[report.verdict] += 1
        if self.options.junit is not None:
            self._keep(report)
        if self.options.as_json:
            told = {"event": "report", "file": name, "verdict": report.verdict, "allowed": rule}
            self._say(json.dumps({**told, **plain(hit), "text": hit.text}))
            return
        # A new signature is told at once, which may be all that whoever watches a machine sees.
        if self.options.full or not self.repeats.counted(report):
            again = self.repeats.seen(report)
            self._say(block(report, self.options.full, again) + "\n")

    def _keep(self, report: LogReport) -> None:
        key = (report.file, report.hit.signature, report.verdict)
        if key in self.cases:
            kept = self.cases[key]
            self.cases[key] = replace(kept, times=kept.times + 1)
        elif len(self.cases) < _MAX_CASES:
            text = report.hit.text[:_MAX_TEXT]
            self.cases[key] = replace(report, hit=replace(report.hit, text=text))
        else:
            self.left_out += 1

    def _with_lines(self, hits: Iterable[Hit], tap: _Tap) -> Iterator[Hit]:
        """The hits with the source lines of their traces, where there is a vmlinux that fits."""
        if self.vmlinux is None:
            yield from hits
            return
        from orchestrator.runner.symbolize import lines_of_vmlinux

        hits = iter(hits)
        while batch := list(itertools.islice(hits, _BATCH)):
            fitting = [hit for hit in batch if self._fits(tap.banner(hit.line))]
            told = {hit.line: hit for hit in lines_of_vmlinux(fitting, self.vmlinux)}
            yield from (told.get(hit.line, hit) for hit in batch)

    def _fits(self, banner: str) -> bool:
        """Whether a log with this banner is of the vmlinux: a wrong line is worse than none."""
        assert self.vmlinux is not None
        theirs = self.vmlinux.banner
        fits = not banner or not theirs or banner == theirs.strip()
        if not fits and not self.warned:
            self.warned = True
            click.echo(
                f"lab: no source lines: {self.options.vmlinux} is of another build than the log\n"
                f"     the log: {banner}\n     vmlinux: {theirs}",
                err=True,
            )
        return fits

    def _write_junit(self, path: Path) -> None:
        from orchestrator.report.junit import render_logs

        text = render_logs(self.sources, self.cases.values(), self.left_out)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise HostError(f"cannot write {path}: {error.strerror}") from error


def _opened(name: str, shown: str) -> AbstractContextManager[BufferedReader]:
    if name != STDIN:
        return open_compressed(Path(name))
    if sys.stdin is None:
        raise UserError("standard input is closed", "name a file, or pipe a log in")
    return decompressed(sys.stdin.buffer, shown)


def _require_text(head: bytes, name: str) -> None:
    """Refuse what is surely no log by its first bytes; a console may hold some noise.

    :raises UserError: with what it is, as far as that is known.
    """
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise UserError(f"{name} is no log but {what}", hint)
    if head[_TAR] == b"ustar":
        raise UserError(f"{name} is no log but a tar archive", "unpack it, and name a file of it")
    # A file system that lost its end leaves zeros; everything else here is no text.
    text = head[:4096].replace(b"\0", b"").decode("utf-8", "replace")
    odd = sum(c == "\ufffd" or (c < " " and c not in "\t\n\r\b\a\f\x1b") for c in text)
    if odd > len(text) * 0.2:
        raise UserError(
            f"{name} is no log but binary data",
            "a log is text: plain, or packed with gzip, xz or bzip2",
        )
