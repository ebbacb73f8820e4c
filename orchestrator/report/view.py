# SPDX-License-Identifier: GPL-2.0-only
"""What the HTML report shows, worked out from a stored run.  Pure: no templates, no files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from orchestrator.judge.counts import counts_of, is_known_failure
from orchestrator.judge.outcome import BAD, cell_cases
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.arch import ARCHES
from orchestrator.model.evidence import Counter, Hit, Measurement, Sample
from orchestrator.model.names import HOST_PLACE, NOT_ANY, CaseId, Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseComparison,
    CaseResult,
    CellRecord,
    Change,
    Comparison,
    RunResult,
)
from orchestrator.report.plot import Plot, plot
from orchestrator.report.text import EXIT_MEANING, SEARCH_MEANING, answer, found_text


@dataclass(frozen=True)
class Slot:
    """One square of the matrix: what became of a cell, or why there is none."""

    state: str
    words: str
    detail: str
    anchor: str
    accelerator: str = ""
    boot_seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """One row of the matrix: kernel x config x shape, a slot an architecture (or None)."""

    kernel: str
    config: str
    shape: str
    slots: tuple[Slot | None, ...]


@dataclass(frozen=True)
class Group:
    """The cases of one workload in one cell, with the worst verdict among them."""

    workload: str
    verdict: Verdict
    cases: tuple[CaseResult, ...]

    @property
    def state(self) -> str:
        """How it stands as a whole: a known failure among passes is ``met``, as in a cell."""
        met = self.verdict not in BAD and any(standing(c).state == "met" for c in self.cases)
        return "met" if met else self.verdict.value

    @property
    def plain(self) -> bool:
        """Whether all of it passed, and nothing more is to be told of it."""
        return all(
            case.verdict is Verdict.PASS
            and not (case.expected or case.known or case.judged or case.retried or case.hits)
            for case in self.cases
        )


@dataclass(frozen=True)
class ShownCase:
    """A case and its plot.  Samples belong to a workload; its cases show one plot between them."""

    case: CaseResult
    plot: Plot | None


@dataclass(frozen=True)
class Pair:
    """A counter or measurement on both sides of a comparison; either may be missing."""

    name: str
    before: Counter | Measurement | None
    after: Counter | Measurement | None
    change: str = ""


def anchor(identity: str) -> str:
    """The HTML id of a case, ``case=KERNEL/CONFIG/ARCH/SHAPE:WORKLOAD:CASE``, or of a cell.

    A browser looks for the fragment of an address as it stands before it decodes it (HTML, "find a
    potential indicated element"): so what a workload printed is escaped as in an address.
    """
    return f"case={quote(identity.encode('utf-8', 'surrogatepass'), safe=_PLAIN)}"


# What may stand in the fragment of an address as it is (RFC 3986, section 3.5).
_PLAIN = "/:@!$()*+,;=?"


@dataclass(frozen=True)
class Standing:
    """A verdict with its look and word; what lab.yaml foresees is ``met`` and no plain pass."""

    state: str
    words: str


def standing(result: CaseResult | BuildRecord) -> Standing:
    """How a case or a build stands."""
    if result.expected and result.verdict is Verdict.PASS:
        return Standing("met", "as expected")
    if isinstance(result, CaseResult) and is_known_failure(result):
        return Standing("met", "known failure")
    return Standing(result.verdict.value, result.verdict.value)


def cell_standing(run: RunResult, cell: CellRecord) -> Standing:
    """How a cell stands; one whose build or series fails as expected is met, and not skipped."""
    if cell.verdict is Verdict.PASS:
        words = {s.words for case in cell_cases(run, cell) if (s := standing(case)).state == "met"}
        if "as expected" in words:
            return Standing("met", "as expected")
        if "known failure" in words:
            return Standing("met", "pass")
    place = (cell.kernel, cell.config, cell.arch)
    met = any((b.kernel, b.config, b.arch) == place and b.expected for b in run.builds)
    met |= any(k.name == cell.kernel and k.failure and k.expected for k in run.kernels)
    if met and cell.verdict is Verdict.SKIP:
        return Standing("met", "as expected")
    return Standing(cell.verdict.value, cell.verdict.value)


def on_host(cell: CellRecord) -> bool:
    """Whether a cell has no guest: its workloads ran on the machine itself."""
    return cell.config == HOST_PLACE


def build_anchor(build: BuildRecord) -> str:
    """The HTML id of a build: that of the case which it is."""
    return anchor(str(CaseId.of_build(build.kernel, build.config, build.arch)))


def series_anchor(kernel: str) -> str:
    """The HTML id of a kernel: that of the case which its series is."""
    return anchor(str(CaseId.of_series(kernel)))


# ---------------------------------------------------------------- matrix and cells


def arches_of(run: RunResult) -> tuple[str, ...]:
    """The architectures of the run in the order they were met."""
    names = [cell.arch for cell in run.cells] + [build.arch for build in run.builds]
    return tuple(dict.fromkeys(names))


def matrix(run: RunResult) -> tuple[Row, ...]:
    """Kernel x config x shape, an architecture a column; builds without a cell are in it too.

    Without what has a part of a series only, of which a table of its own tells.
    """
    run = without_prefixes(run)
    arches = arches_of(run)
    cells = {(c.kernel, c.config, c.shape, c.arch): c for c in run.cells}
    builds = {(b.kernel, b.config, b.arch): b for b in run.builds}
    keys = dict.fromkeys((c.kernel, c.config, c.shape) for c in run.cells)
    with_cell = {(kernel, config) for kernel, config, _ in keys}
    for build in run.builds:
        if (build.kernel, build.config) not in with_cell:
            keys[build.kernel, build.config, ""] = None
    rows = []
    for kernel, config, shape in keys:
        slots = []
        for arch in arches:
            cell = cells.get((kernel, config, shape, arch))
            build_of = builds.get((kernel, config, arch))
            slots.append(_slot(run, cell, build_of))
        rows.append(Row(kernel, config, "" if shape == NOT_ANY else shape, tuple(slots)))
    seen = {row.kernel for row in rows}
    for record in run.kernels:
        if record.failure is not None and record.name not in seen:
            state, words = ("met", "as expected") if record.expected else ("fail", "fail")
            slot = Slot(state, words, "series does not apply", series_anchor(record.name))
            rows.append(Row(record.name, "", "", (slot,) * max(1, len(arches))))
    return tuple(rows)


def _slot(run: RunResult, cell: CellRecord | None, build: BuildRecord | None) -> Slot | None:
    failed = build is not None and build.verdict in BAD
    if build is not None and build.expected:
        detail = f"does not build: {build.expected}"
        return Slot("met", "as expected", detail, build_anchor(build))
    if build is not None and (failed or cell is None):
        words = "does not build" if build.verdict is Verdict.FAIL else "host error in the build"
        state = build.verdict.value if failed else "none"
        return Slot(
            state,
            build.verdict.value if failed else "built",
            words if failed else "not run",
            build_anchor(build),
        )
    if cell is None:
        return None
    stands = cell_standing(run, cell)
    return Slot(
        stands.state,
        stands.words,
        cell_counts(run, cell),
        anchor(cell.id),
        cell.accelerator,
        cell.boot_seconds,
    )


def cell_counts(run: RunResult, cell: CellRecord) -> str:
    """``2 fail, 14 pass``."""
    return count_words(cell_cases(run, cell))


def count_words(cases: tuple[CaseResult, ...]) -> str:
    """How many cases came to what, worst first."""
    return found_text(counts_of(cases))


def groups(run: RunResult, cell: CellRecord) -> tuple[Group, ...]:
    """A cell's cases by workload, in the order they ran."""
    found: dict[str, list[CaseResult]] = {}
    for case in cell_cases(run, cell):
        found.setdefault(case.workload, []).append(case)
    order = (Verdict.FAIL, Verdict.ERROR, Verdict.PASS, Verdict.SKIP)
    return tuple(
        Group(name, min((c.verdict for c in cases), key=order.index), tuple(cases))
        for name, cases in found.items()
    )


def shown_cases(group: Group) -> tuple[ShownCase, ...]:
    """The cases of a group, the same samples drawn once."""
    drawn: list[tuple[Sample, ...]] = []
    found = []
    for case in group.cases:
        fresh = bool(case.samples) and case.samples not in drawn
        if fresh:
            drawn.append(case.samples)
        found.append(ShownCase(case, plot(case.samples) if fresh else None))
    return tuple(found)


def shown_hits(
    case: CaseResult, limit: int, first: tuple[Hit, ...] = ()
) -> tuple[tuple[Hit, str], ...]:
    """Hits with the text to show: empty where an earlier one of the case shows the same.

    :param first: those that come before the others.
    """
    seen: set[str] = set()
    found = []
    for hit in (*first, *(h for h in case.hits if not any(h is one for one in first)))[:limit]:
        found.append((hit, "" if hit.text in seen else hit.text))
        seen.add(hit.text)
    return tuple(found)


def cell_place(cell: CellRecord) -> str:
    """Where a cell ran, and how long its guest took to come up; empty where none came."""
    if on_host(cell):
        return "on the host, no guest"
    if not cell.boot_seconds:
        return cell.accelerator
    told = f"{cell.accelerator}, boot {cell.boot_seconds:.1f} s"
    if cell.restore_seconds:
        told += f", then a copy of the guest for each workload in {cell.restore_seconds:.1f} s"
    return told


def accelerator_note(cell: CellRecord) -> str:
    """What this architecture under emulation cannot show (weak memory ordering, for one)."""
    row = ARCHES.get(cell.arch)
    emulated = cell.accelerator.startswith("tcg")
    return row.tcg_note if row is not None and emulated else ""


def accelerator_notes(run: RunResult) -> tuple[str, ...]:
    """Those notes of the run's cells, each once, with the architecture."""
    notes = [(cell.arch, accelerator_note(cell)) for cell in run.cells]
    return tuple(dict.fromkeys(f"{arch}: {note}" for arch, note in notes if note))


def exit_words(run: RunResult) -> str:
    """The exit status with its meaning."""
    if not run.run.finished:
        return "none yet: the run did not finish"
    status = run.run.exit_status
    if answer(run) == "searched":
        return f"{status}, {SEARCH_MEANING[status]}"
    return f"{status}, {EXIT_MEANING.get(status, 'unknown')}"


def duration(run: RunResult) -> str:
    """How long the run took, as ``8 min 29 s``; empty where an instant is missing."""
    try:
        begin, end = (
            datetime.fromisoformat(text.replace("Z", "+00:00"))
            for text in (run.run.started, run.run.finished)
        )
        seconds = int((end - begin).total_seconds())
    except (ValueError, TypeError):
        return ""
    hours, rest = divmod(max(0, seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{n} {unit}" for n, unit in parts if n) or "0 s"


# ---------------------------------------------------------------- comparison


def by_change(comparison: Comparison) -> tuple[tuple[Change, tuple[CaseComparison, ...]], ...]:
    """The comparison's cases by class, worst first, empty classes left out; unchanged ones last."""
    order = (Change.REGRESSED, Change.STILL_FAILING, Change.FLAKY, Change.FIXED)
    found = []
    for change in (*order, Change.NEW, Change.GONE, Change.UNCHANGED):
        cases = tuple(c for c in comparison.cases if c.change is change)
        if cases:
            found.append((change, cases))
    return tuple(found)


def counter_pairs(item: CaseComparison) -> tuple[Pair, ...]:
    """The counters of both sides by name."""
    old = {c.name: c for c in item.before.counters} if item.before else {}
    new = {c.name: c for c in item.after.counters} if item.after else {}
    return tuple(Pair(name, old.get(name), new.get(name)) for name in {**new, **old})


def measurement_pairs(item: CaseComparison) -> tuple[Pair, ...]:
    """The measurements of both sides by name, with the change in percent."""
    old = {m.name: m for m in item.before.measurements} if item.before else {}
    new = {m.name: m for m in item.after.measurements} if item.after else {}
    pairs = []
    for name in {**new, **old}:
        a, b = old.get(name), new.get(name)
        change = ""
        if a is not None and b is not None and a.unit == b.unit and a.value:
            change = f"{(b.value / a.value - 1) * 100:+.1f} %"
        pairs.append(Pair(name, a, b, change))
    return tuple(pairs)
