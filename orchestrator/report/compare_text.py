# SPDX-License-Identifier: GPL-2.0-only
"""A comparison in lines of text: what regressed, by cause, and counters side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.judge.causes import Cause
from orchestrator.judge.compare import FigureChange
from orchestrator.judge.grouped import Grouped, by_cause
from orchestrator.judge.outcome import counter_drift, decisive
from orchestrator.model.evidence import Counter, Measurement
from orchestrator.model.formats import counted
from orchestrator.model.results import CaseComparison, CaseResult, Change, Comparison
from orchestrator.report.cause_text import about, headline
from orchestrator.report.figures import (
    beyond_noise,
    change_counts,
    noise_text,
    number,
    percent,
)
from orchestrator.report.text import visible
from orchestrator.report.view import by_change, counter_pairs, measurement_pairs

_SHOWN = 30
_LOUD = (Change.REGRESSED, Change.STILL_FAILING, Change.FLAKY, Change.FIXED)


def comparison_text(comparison: Comparison, causes: Sequence[Cause] = ()) -> str:
    """The comparison in lines: regressions first, counters side by side, then how many of each.

    :param causes: those of the candidate's run, by which its failures are told.
    """
    lines = [f"baseline   {visible(comparison.baseline)}",
             f"candidate  {visible(comparison.candidate)}"]  # fmt: skip
    classes = by_change(comparison)
    for change, items in classes:
        if change in _LOUD or (change in (Change.NEW, Change.GONE) and len(items) <= _SHOWN):
            lines += ["", f"{change.value}: {len(items)}"]
            groups = by_cause(items, causes)
            for group in groups[:_SHOWN]:
                lines += _group(group)
            if left := sum(len(group.items) for group in groups[_SHOWN:]):
                lines.append(f"  ... and {left} more")
    lines += ["", ", ".join(f"{len(items)} {change.value}" for change, items in classes)]
    return "\n".join(lines)


def _group(group: Grouped) -> list[str]:
    """Cases of one cause in the lines of one of them, with what is wrong in place of its name."""
    first = group.items[0]
    if group.cause is None or len(group.items) == 1:
        return _item(first)
    sides = [dict.fromkeys(_word(side) for side in one)
             for one in zip(*((i.before, i.after) for i in group.items), strict=True)]  # fmt: skip
    before, after = (", ".join(words) for words in sides)
    lines = [f"  {before} -> {after}  {visible(headline(group.cause))}"]
    lines += [f"      {visible(text)}" for text in about(group.cause)]
    told, more = visible(first.reason).partition("\n")[0], len(group.items) - 1
    lines.append(f"      {visible(first.key)} and {counted(more, 'more case')}")
    return [*lines, *([f"      {told}"] if told else []), *_proof(first)]


def _item(item: CaseComparison) -> list[str]:
    lines = [f"  {_word(item.before)} -> {_word(item.after)}  {visible(item.key)}"]
    told = visible(item.reason).partition("\n")[0]
    proof = visible(decisive(item.after)) if item.after else ""
    lines += [f"      {text}" for text in dict.fromkeys((told, proof)) if text]
    return lines + _proof(item)


def _proof(item: CaseComparison) -> list[str]:
    """What was counted and measured of a case, and how to repeat it."""
    lines = []
    if item.change in _LOUD:
        lines += _counters(item) + _measurements(item)
    if item.change is Change.REGRESSED and item.after and item.after.rerun:
        lines.append(f"      again: {visible(item.after.rerun)}")
    return lines


def _counters(item: CaseComparison) -> list[str]:
    """The counters that are off on either side; a star marks those that differ.

    That is off the page walk, or named by the reason: what the kernel holds back in batches and
    what only moved says nothing of a regression, and is on the page and in results.json.
    """
    every = counter_pairs(item)
    said = "\n".join(side.reason for side in (item.before, item.after) if side is not None)
    named = set(re.findall(r"\w+", said))
    pairs = [pair for pair in every if _is_off(pair.before) or _is_off(pair.after)
             or pair.name in named]  # fmt: skip
    if not pairs:
        return []
    width = max(len(pair.name) for pair in pairs)
    head = " ".join(f"{name:>9}" for name in ("before", "peak", "after", "drift"))
    lines = [f"      {'pages':<{width}}  {head}  | {head}"]
    for pair in pairs:
        sides = [_figures(side) for side in (pair.before, pair.after)]
        mark = "  *" if pair.before and pair.after and sides[0] != sides[1] else ""
        lines.append(f"      {visible(pair.name):<{width}}  {'  | '.join(sides)}{mark}")
    if len(every) > len(pairs):
        lines.append(f"      and {len(every) - len(pairs)} that are not off")
    return lines


def _is_off(side: Counter | Measurement | None) -> bool:
    return isinstance(side, Counter) and bool(counter_drift(side))


def _figures(side: Counter | Measurement | None) -> str:
    figures: list[int | None] = [None] * 4
    if isinstance(side, Counter):
        figures = [side.before, side.peak, side.after, counter_drift(side)]
    return " ".join(f"{'-' if figure is None else figure:>9}" for figure in figures)


def _measurements(item: CaseComparison) -> list[str]:
    lines = []
    for pair in measurement_pairs(item):
        sides = [
            f"{number(side.value)} {visible(side.unit)}"
            if isinstance(side, Measurement)
            else "none"
            for side in (pair.before, pair.after)
        ]
        change = f" ({pair.change})" if pair.change else ""
        lines.append(f"      {visible(pair.name)}: {' -> '.join(sides)}{change}")
    return lines


def _word(case: CaseResult | None) -> str:
    return case.verdict.value if case else "none"


def figures_text(changes: tuple[FigureChange, ...]) -> list[str]:
    """The measurements beyond noise in lines, and how many are not."""
    if not changes:
        return []
    lines = ["", change_counts(changes)]
    loud = beyond_noise(changes)
    for change in loud[:_SHOWN]:
        lines += [
            f"  {change.judged:<7} {visible(change.name)}: {number(change.before)} -> "
            f"{number(change.after)} {visible(change.unit)} ({percent(change.percent)}; "
            f"noise {noise_text(change)})",
            f"          {visible(change.key)}",
        ]
    if len(loud) > _SHOWN:
        lines.append(f"  ... and {len(loud) - _SHOWN} more")
    return lines
