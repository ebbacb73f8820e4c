# SPDX-License-Identifier: GPL-2.0-only
"""What workloads and the guest's sampler print about counters, read into values.

Three kinds of line.  A workload prints ``# LEDGER`` lines at barriers where its processes stand
still: the kernel's counters beside a walk of the page tables; and ``# MEASURE`` lines with figures.
The sampler prints JSON lines: the system before and after, live samples, how the program ended.
All values are pages, but event counts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.model.evidence import LedgerStep, Measurement, Sample

DEFAULT_CPUS = 2
MAX_PROBLEMS = 20

_MAX_LINE = 64 * 1024
_LEDGER = re.compile(r"(?:^|\s|#)LEDGER\s+(?P<fields>\S.*)")
_MEASURE = re.compile(r"(?:^|\s|#)MEASURE\s+(?P<fields>\S.*)")
_FIELD = re.compile(r"(?P<key>[A-Za-z_][\w-]*)=(?P<value>\S+)")
_INTEGER = re.compile(r"-?\d{1,18}")
_LEDGER_KEYS = ("pid", "rss_anon", "walk_anon", "vm_swap", "walk_swap")
_META = frozenset({"t", "phase", "page_size", "cpus", "nodes"})


@dataclass(frozen=True)
class SampleLog:
    """What the sampler saw.  ``before`` and ``after`` are the system's counters in pages.

    ``exit_status`` is None where the program was ended by ``signal`` or its end was not recorded;
    ``ended`` tells the two apart.  ``maxrss`` is in KiB as getrusage(2) gives it.  ``changed``
    names what the program left otherwise than it was: files of /proc and /sys, /tmp.
    """

    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    exit_status: int | None = None
    signal: int = 0
    seconds: float = 0.0
    page_size: int = 4096
    maxrss: int = 0
    cpus: int = DEFAULT_CPUS
    ended: bool = False
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


# ---------------------------------------------------------------- reading


def _records(text: str, pattern: re.Pattern[str]) -> Iterable[tuple[str, dict[str, str]]]:
    for line in text.split("\n"):
        match = pattern.search(line[:_MAX_LINE])
        if match is not None:
            fields = {m["key"]: m["value"] for m in _FIELD.finditer(match["fields"])}
            yield line.strip()[:200], fields


def _ledger_line(fields: Mapping[str, str]) -> LedgerStep | None:
    step = fields.get("step", "")
    values = {k: fields.get(k, "") for k in _LEDGER_KEYS}
    values["tolerance"] = fields.get("tolerance", "0")
    if not step or not all(_INTEGER.fullmatch(v) for v in values.values()):
        return None
    return LedgerStep(step=step, **{k: int(v) for k, v in values.items()})


def parse_ledger(text: str) -> tuple[LedgerStep, ...]:
    """The ``# LEDGER`` lines of a workload's output, in order; malformed ones are left out."""
    found = (_ledger_line(fields) for _, fields in _records(text, _LEDGER))
    return tuple(step for step in found if step is not None)


def ledger_problems(text: str) -> tuple[str, ...]:
    """The ``# LEDGER`` and ``# MEASURE`` lines that could not be read: evidence that was lost."""
    bad = [line for line, fields in _records(text, _LEDGER) if _ledger_line(fields) is None]
    bad += [line for line, fields in _records(text, _MEASURE) if _measurement(fields) is None]
    return tuple(f"cannot be read: {line}" for line in bad[:MAX_PROBLEMS])


def _measurement(fields: Mapping[str, str]) -> Measurement | None:
    try:
        value = float(fields["value"])
        name = fields["name"]
    except (KeyError, ValueError):
        return None
    return Measurement(name, value, fields.get("unit", "")) if math.isfinite(value) else None


def parse_measurements(text: str) -> tuple[Measurement, ...]:
    """The ``# MEASURE`` lines of a workload's output, in order; malformed ones are left out."""
    found = (_measurement(fields) for _, fields in _records(text, _MEASURE))
    return tuple(m for m in found if m is not None)


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float):
        return round(value) if math.isfinite(value) and abs(value) < 1e18 else None
    return value if abs(value) < 10**18 else None


def _seconds(value: object) -> float:
    number = _number(value)
    return float(value) if number is not None and isinstance(value, (int, float)) else 0.0


def parse_samples(text: str) -> SampleLog:
    """The sampler's JSON lines among whatever else stands in ``text``.  Never raises.

    What is missing or cut is listed in ``problems``.
    """
    phases: dict[str, dict[str, object]] = {}
    samples: list[Sample] = []
    problems: list[str] = []
    for line in text.split("\n"):
        line = line.strip()
        if not line.startswith("{"):
            continue
        try:
            record = json.loads(line[:_MAX_LINE])
        except (ValueError, RecursionError):
            if line.startswith(('{"t"', '{"phase"')) and len(problems) < MAX_PROBLEMS:
                problems.append(f"a sampler line is cut: {line[:80]}")
            continue
        if not isinstance(record, dict):
            continue
        phase = record.get("phase")
        if phase in ("before", "after", "exit"):
            phases[phase] = record
        elif phase is None and "t" in record:
            samples.append(Sample(_seconds(record["t"]), _values(record)))
    problems += [f"the sampler has no record {p!r}" for p in ("before", "after", "exit")
                 if p not in phases]  # fmt: skip
    end = phases.get("exit", {})
    if "unsearched" in end:
        problems.append("kmemleak did not search: it gave up, see the kernel log")
    everything: dict[str, object] = {}
    for name in ("before", "after", "exit"):
        everything.update(phases.get(name, {}))
    size = _number(everything.get("page_size"))
    cpus = _number(everything.get("cpus"))
    return SampleLog(
        before=_values(phases.get("before", {})),
        after=_values(phases.get("after", {})),
        samples=tuple(samples),
        exit_status=_number(end.get("status")),
        signal=_number(end.get("signal")) or 0,
        seconds=_seconds(end.get("seconds")),
        page_size=size if size and size > 0 else 4096,
        maxrss=_number(end.get("maxrss")) or 0,
        cpus=cpus if cpus and cpus > 0 else DEFAULT_CPUS,
        ended="exit" in phases,
        changed=tuple(str(end.get("changed", "")).split()),
        problems=tuple(problems),
    )


def _values(record: Mapping[str, object]) -> dict[str, int]:
    numbers = {k: _number(v) for k, v in record.items() if isinstance(k, str) and k not in _META}
    return {k: v for k, v in numbers.items() if v is not None}
