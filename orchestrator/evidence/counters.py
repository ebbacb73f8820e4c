# SPDX-License-Identifier: GPL-2.0-only
"""Counters of one workload: what they came to, and which invariants hold of them.

What is exact and what is not (v6.12):

* mm counters are per-CPU with a batch of max(32, 2 * CPUs) (lib/percpu_counter.c).  Whether
  /proc/PID/status sums them exactly differs between stable releases, so each ledger line carries
  the tolerance that the workload measured.
* nr_anon_mapped and its like in /proc/vmstat and /proc/meminfo are read without the deltas that
  each CPU still holds, up to its ``stat_threshold``, at most 125 pages (mm/vmstat.c,
  calculate_normal_threshold()).
* live samples race with the program: they make a plot and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.evidence.readings import SampleLog
from orchestrator.model.evidence import Counter, LedgerStep
from orchestrator.model.spec import WorkloadSpec

COUNTER_EQUALS_WALK = "counter-equals-walk"
MOVE_CONSERVES = "move-conserves"
BACK_AFTER_EXIT = "back-after-exit"
NO_LEAK = "no-leak"
INVARIANTS = frozenset({COUNTER_EQUALS_WALK, MOVE_CONSERVES, BACK_AFTER_EXIT, NO_LEAK})

# mm/vmstat.c, calculate_normal_threshold(): no CPU holds back more than this many pages.
STAT_THRESHOLD = 125
# What the few other processes of a guest (init, the SSH session, the sampler) may grow by while a
# workload runs, a huge page given to one of them included.
OTHERS_BYTES = 4 << 20
# Page tables of those same processes.
TABLES_BYTES = 256 << 10
# A CPU's batch of pages that are on no list yet (include/linux/pagevec.h, PAGEVEC_SIZE).
LIST_BATCH = 31
# Mappings of the few other processes; one has some 30, and 2 were seen to come or go.
OTHERS_OBJECTS = 128

_MAX_VIOLATIONS = 20
# As many of one invariant where there is another beside it.
_MAX_ALIKE = 8
# Slab caches of what a mapping is made of; the sampler empties what CPUs hold back before it reads.
_CACHES = ("vm_area_struct", "anon_vma", "anon_vma_chain", "userfaultfd_ctx_cache", "mm_struct")
_KERNELS_OWN = ("SUnreclaim", "PageTables", "LostPages", "OtherMemory", *_CACHES)
_LEDGER_NAMES = {"RssAnon": ("rss_anon", "walk_anon"), "VmSwap": ("vm_swap", "walk_swap")}


def summarise(
    workload: WorkloadSpec, ledger: tuple[LedgerStep, ...], log: SampleLog
) -> tuple[Counter, ...]:
    """The watched counters over one workload, in pages.

    RssAnon and VmSwap get the page walk of their worst barrier: the one where counter and walk are
    furthest apart, or the fullest one where they agree everywhere.  A counter that nobody printed
    is left out (see :func:`missing_evidence`).  With the invariant no-leak the kernel's own memory
    before and after is among them.
    """
    names = workload.counters or (tuple(_LEDGER_NAMES) if ledger else ())
    if NO_LEAK in workload.invariants:
        names = tuple(dict.fromkeys((*names, *_KERNELS_OWN)))
    found = (_counter(name, ledger, log) for name in names)
    return tuple(counter for counter in found if counter is not None)


def _counter(name: str, ledger: tuple[LedgerStep, ...], log: SampleLog) -> Counter | None:
    live = [s.values[name] for s in log.samples if name in s.values]
    at_walk = walk = None
    steps: list[int] = []
    if name in _LEDGER_NAMES and ledger:
        counted, walked = _LEDGER_NAMES[name]
        pairs = [(getattr(s, counted), getattr(s, walked)) for s in ledger]
        at_walk, walk = max(pairs, key=lambda p: (abs(p[0] - p[1]), p[0]))
        steps = [sum(getattr(s, counted) for s in group) for group in _barriers(ledger)]
    around = [values[name] for values in (log.before, log.after) if name in values]
    if name in log.before or name in log.after:
        before = log.before.get(name, (live or around)[0])
        after = log.after.get(name, (live or around)[-1])
    elif live or steps:
        # A process's counter: it has none before it starts, and the last value seen is its end.
        before, after = (steps or live)[0], (steps or live)[-1]
    else:
        return None
    peak = max([before, after, *live, *steps])
    return Counter(name, before, peak, after, walk, at_walk)


def _barriers(ledger: Iterable[LedgerStep]) -> list[list[LedgerStep]]:
    """Ledger lines grouped by barrier: neighbours of one step, each process once."""
    groups: list[list[LedgerStep]] = []
    for step in ledger:
        last = groups[-1] if groups else []
        if last and last[0].step == step.step and step.pid not in {s.pid for s in last}:
            last.append(step)
        else:
            groups.append([step])
    return groups


# ---------------------------------------------------------------- invariants


def slack(log: SampleLog) -> int:
    """How many pages two readings of anonymous memory may differ in a healthy, idle guest.

    Each of the two readings misses up to ``STAT_THRESHOLD`` pages per CPU, and the guest's other
    processes may have grown by ``OTHERS_BYTES``.  A smaller leak is invisible here; the kernel's
    own check_mm() and the ledger find it to the page.
    """
    return 2 * log.cpus * STAT_THRESHOLD + OTHERS_BYTES // log.page_size


def check_invariants(
    workload: WorkloadSpec, ledger: tuple[LedgerStep, ...], log: SampleLog
) -> tuple[str, ...]:
    """The violations of the invariants that the workload names, a sentence with numbers each."""
    walks: list[str] = []
    rest: list[str] = []
    if COUNTER_EQUALS_WALK in workload.invariants:
        walks = _off_walk(ledger)
    if MOVE_CONSERVES in workload.invariants:
        rest += _not_conserved(ledger)[:_MAX_ALIKE]
    if BACK_AFTER_EXIT in workload.invariants:
        rest += _not_back(log)
    if NO_LEAK in workload.invariants:
        rest += _leaks(log)
    # A counter that drifts is off at each step from then on, and the ledger has them all: those
    # lines must not crowd out another invariant's.
    shown = walks[: _MAX_ALIKE if rest else _MAX_VIOLATIONS]
    found = [*shown, *rest]
    if len(walks) > len(shown):
        found.append(f"and {len(walks) - len(shown)} more")
    return tuple(found)


def missing_evidence(
    workload: WorkloadSpec, ledger: tuple[LedgerStep, ...], log: SampleLog
) -> tuple[str, ...]:
    """What would be needed to judge the workload's counters and is not there."""
    missing = [f"invariant {n!r} is unknown" for n in workload.invariants if n not in INVARIANTS]
    if not ledger:
        missing += [f"no ledger line, so {name} was not checked"
                    for name in (COUNTER_EQUALS_WALK, MOVE_CONSERVES)
                    if name in workload.invariants]  # fmt: skip
    elif MOVE_CONSERVES in workload.invariants:
        missing += _unpaired(ledger)
    needed: dict[str, tuple[str, ...]] = {
        BACK_AFTER_EXIT: ("AnonPages",),
        NO_LEAK: ("PageTables",),
    }
    for invariant, names in needed.items():
        for name in names if invariant in workload.invariants else ():
            if name not in log.before or name not in log.after:
                missing.append(f"no {name} before and after, so {invariant} was not checked")
    for name in workload.counters:
        if _counter(name, ledger, log) is None:
            missing.append(f"watched counter {name} was never read")
    return tuple(missing)


def _off_walk(ledger: tuple[LedgerStep, ...]) -> list[str]:
    return [
        f"{name} is {have} pages where the page walk finds {real}: {have - real:+d} at "
        f"step {s.step} in pid {s.pid} (tolerance {s.tolerance})"
        for s in ledger
        for name, have, real in s.off
    ]


def _pairs(
    ledger: tuple[LedgerStep, ...],
) -> tuple[list[tuple[list[LedgerStep], list[LedgerStep]]], list[str]]:
    """Barriers ``*before-move*`` with the ``*after-move*`` of the same name, and lone ones."""
    waiting: dict[str, list[LedgerStep]] = {}
    pairs, lone = [], []
    for group in _barriers(ledger):
        step = group[0].step
        if "before-move" in step:
            if step in waiting:
                lone.append(step)
            waiting[step] = group
        elif "after-move" in step:
            start = waiting.pop(step.replace("after-move", "before-move"), None)
            if start is None:
                lone.append(step)
            else:
                pairs.append((start, group))
    return pairs, [*lone, *waiting]


def _unpaired(ledger: tuple[LedgerStep, ...]) -> list[str]:
    pairs, lone = _pairs(ledger)
    if not pairs and not lone:
        return ["no ledger steps before-move and after-move, so move-conserves was not checked"]
    return [f"ledger step {step} has no counterpart" for step in dict.fromkeys(lone)]


def _not_conserved(ledger: tuple[LedgerStep, ...]) -> list[str]:
    found = []
    for start, end in _pairs(ledger)[0]:
        allowed = sum(s.tolerance for s in (*start, *end))
        for what, first, second in (
            ("RssAnon+VmSwap", "rss_anon", "vm_swap"),
            ("the pages that the walk finds, present and swapped,", "walk_anon", "walk_swap"),
        ):
            old = sum(getattr(s, first) + getattr(s, second) for s in start)
            new = sum(getattr(s, first) + getattr(s, second) for s in end)
            if abs(new - old) > allowed:
                pids = ", ".join(str(p) for p in sorted({s.pid for s in (*start, *end)})[:8])
                found.append(
                    f"a move changed {what} from {old} to {new} pages ({new - old:+d}) between "
                    f"{start[0].step} and {end[0].step} over pid {pids} (tolerance {allowed})"
                )
    return found


def _not_back(log: SampleLog) -> list[str]:
    """System-wide anonymous memory after the workload against before it.

    Only growth counts: under memory pressure other processes are swapped out and take less after.
    For the same reason used swap is looked at together with AnonPages, less the swap cache, whose
    pages both count.
    """
    found = []
    limit = slack(log)
    old, new = log.before.get("AnonPages"), log.after.get("AnonPages")
    if old is not None and new is not None and new - old > limit:
        found.append(
            f"AnonPages is {new} pages after exit and was {old} before: {new - old:+d}, more than "
            f"the {limit} that per-CPU batching and other processes explain"
        )
    old, new = _anonymous_and_swapped(log.before), _anonymous_and_swapped(log.after)
    if not found and old is not None and new is not None and new - old > limit:
        found.append(
            f"anonymous memory with swap in use is {new} pages after exit and was {old} before: "
            f"{new - old:+d}, more than the {limit} that batching and other processes explain"
        )
    return found


def _anonymous_and_swapped(values: Mapping[str, int]) -> int | None:
    names = ("AnonPages", "SwapTotal", "SwapFree")
    if any(name not in values for name in names):
        return None
    used = values["SwapTotal"] - values["SwapFree"]
    return values["AnonPages"] + max(0, used - values.get("SwapCached", 0))


def _leaks(log: SampleLog) -> list[str]:
    """The kernel's own memory after the workload against before it; only growth.

    * Page tables, which are freed with the mm.
    * LostPages: on a list of anonymous pages, but not mapped, not shmem, not in the swap cache.  A
      folio that somebody forgot to let go stays there and is in no other counter.  Exact, but for
      the batches that CPUs fill.
    * Objects of the slab caches that mappings are made of.
    * OtherMemory: neither free, on CPUs' own lists too, nor in any counter.  The huge zero page is
      there once somebody has read it.

    Unreclaimable slab is sampled and not judged: KASAN's quarantine holds freed objects of up to
    1/32 of the memory back (mm/kasan/quarantine.c, QUARANTINE_FRACTION), so that SUnreclaim grows
    where nothing leaks.  Other leaked slab objects are kmemleak's to find.

    What was measured between runs of one workload on an idle v6.12: nothing in all of them but
    OtherMemory, 20 pages.
    """
    batching = 2 * log.cpus * STAT_THRESHOLD
    zero = max(0, log.after.get("ZeroHuge", 0) - log.before.get("ZeroHuge", 0))
    allowed = {
        "PageTables": batching + TABLES_BYTES // log.page_size,
        "LostPages": 2 * log.cpus * LIST_BATCH,
        "OtherMemory": slack(log) + zero,
        **dict.fromkeys(_CACHES, OTHERS_OBJECTS),
    }
    found = []
    for name, limit in allowed.items():
        old, new = log.before.get(name), log.after.get(name)
        if old is None or new is None or new - old <= limit:
            continue
        if name in _CACHES and min(old, new) < 0:  # a kernel that does not count them
            continue
        unit = "objects" if name in _CACHES else "pages"
        found.append(
            f"{name} is {new} {unit} after exit and was {old} before: {new - old:+d}, more than "
            f"the {limit} that per-CPU batching and other processes explain"
        )
    return found
