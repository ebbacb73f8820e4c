# SPDX-License-Identifier: GPL-2.0-only
"""The further reports of a signature in a log: counted, and told once at the log's end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.model.evidence import LogReport
from orchestrator.report.log_text import field
from orchestrator.report.text import visible

# Signatures that are known again, and how much of a title is kept (characters).
_MAX_SEEN = 20_000
_MAX_TITLE = 400


@dataclass
class _More:
    """How often a signature came again in one log, and from which line to which."""

    title: str
    times: int = 0
    first: int = 0
    last: int = 0


class Repeats:
    """Which reports were there before, in bounded memory: beyond it each one is new."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._here: dict[tuple[str, str], _More] = {}

    def seen(self, report: LogReport) -> bool:
        """Whether this signature was met before, in this log or in another one."""
        signature = report.hit.signature
        if signature in self._seen:
            return True
        if len(self._seen) < _MAX_SEEN:
            self._seen.add(signature)
        return False

    def counted(self, report: LogReport) -> bool:
        """Whether it is one more of its log's: then it is counted, and need not be told itself.

        Of one signature some reports may be allowed, by their text, and others not.
        """
        key = (report.hit.signature, report.verdict)
        more = self._here.get(key)
        if more is None:
            if len(self._here) < _MAX_SEEN:
                self._here[key] = _More(report.hit.title[:_MAX_TITLE])
            return False
        more.first = more.first or report.hit.line
        more.last = report.hit.line
        more.times += 1
        return True

    def told(self, file: str) -> Iterator[str]:
        """What was counted in the log that has ended, a block for each signature."""
        here, self._here = self._here, {}
        for (signature, verdict), more in here.items():
            if more.times:
                lines = [f"{verdict.upper():<6} {more.title}", *field("signature", signature)]
                lines += field("log", f"{file}: {_count(more)}")
                yield "\n".join(visible(line) for line in lines)


def _count(more: _More) -> str:
    if more.times == 1:
        return f"1 more of this signature, at line {more.first}"
    return f"{more.times:,} more of this signature, from line {more.first} to line {more.last}"
