# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.evidence import counters, readings
from orchestrator.evidence.readings import SampleLog
from orchestrator.model.evidence import LedgerStep, Measurement, Sample
from orchestrator.model.spec import WorkloadSpec

ALL = ("counter-equals-walk", "move-conserves", "back-after-exit", "no-leak")


def spec(*invariants: str, watched: tuple[str, ...] = ()) -> WorkloadSpec:
    return WorkloadSpec(
        "move/x", "move", Path("/x"), "x.c", invariants=invariants, counters=watched
    )


def step(name: str, rss: int, swap: int, *, walk: int | None = None, wswap: int | None = None,
         pid: int = 7, tolerance: int = 0) -> LedgerStep:  # fmt: skip
    return LedgerStep(name, pid, rss, rss if walk is None else walk, swap,
                      swap if wswap is None else wswap, tolerance)  # fmt: skip


LINE = (
    "# LEDGER step=after-move pid=12 rss_anon=123 walk_anon=120 vm_swap=4 walk_swap=5 tolerance=2"
)


def test_ledger() -> None:
    text = (
        f"KTAP version 1\n{LINE}\r\n    {LINE}\n# # LEDGER step=x pid=1\n#LEDGER nothing\nok 1 a\n"
    )
    parsed = readings.parse_ledger(text)
    assert parsed == (LedgerStep("after-move", 12, 123, 120, 4, 5, 2),) * 2
    assert len(readings.ledger_problems(text)) == 2
    assert readings.ledger_problems(f"{LINE}\nno ledger here\n") == ()


@pytest.mark.parametrize(
    "bad", ["rss_anon=x", "rss_anon=", "rss_anon=1e3", "rss_anon=" + "9" * 5000]
)
def test_ledger_with_odd_numbers(bad: str) -> None:
    text = LINE.replace("rss_anon=123", bad)
    assert readings.parse_ledger(text) == ()
    assert len(readings.ledger_problems(text)) == 1


def test_measurements() -> None:
    text = "# MEASURE name=move-throughput value=812.5 unit=MB/s\n# MEASURE name=n value=3\n"
    assert readings.parse_measurements(text) == (
        Measurement("move-throughput", 812.5, "MB/s"), Measurement("n", 3.0, "")
    )  # fmt: skip
    for bad in ("# MEASURE name=x value=nan", "# MEASURE name=x value=inf", "# MEASURE value=1"):
        assert readings.parse_measurements(bad) == ()
        assert readings.ledger_problems(bad)


def sampler(before: dict[str, Any], after: dict[str, Any], **end: Any) -> str:
    records: list[dict[str, Any]] = [
        {"phase": "before", "t": 0.0, **before},
        {"t": 0.25, "RssAnon": 512, "VmSwap": 0, "Anonymous": 512},
        {"t": 0.5, "RssAnon": 700, "VmSwap": 9},
        {"phase": "after", "t": 1.1, **after},
        {"phase": "exit", "status": 0, "signal": 0, "seconds": 1.2, "page_size": 16384,
         "maxrss": 99, **end},
    ]  # fmt: skip
    return "the program's own words\n" + "\n".join(map(json.dumps, records)) + "\n{not json\n"


def test_samples() -> None:
    log = readings.parse_samples(sampler({"AnonPages": 100}, {"AnonPages": 101}, cpus=4))
    assert log.before == {"AnonPages": 100}
    assert log.after == {"AnonPages": 101}
    assert log.samples[1] == Sample(0.5, {"RssAnon": 700, "VmSwap": 9})
    assert (log.exit_status, log.signal, log.page_size, log.cpus) == (0, 0, 16384, 4)
    assert log.ended
    assert log.problems == ()


def test_samples_killed_and_cut() -> None:
    log = readings.parse_samples(sampler({}, {}, status=None, signal=9))
    assert log.exit_status is None
    assert log.signal == 9
    text = sampler({}, {})
    cut = readings.parse_samples(text[: text.index('"phase": "after"') + 8])
    assert any("after" in p for p in cut.problems)
    assert any("exit" in p for p in cut.problems)
    assert not cut.ended
    broken = readings.parse_samples('{"t": 0.25, "RssAn')
    assert "a sampler line is cut" in broken.problems[0]
    assert readings.parse_samples("").problems


@pytest.mark.parametrize(
    "line",
    [
        '{"t": ' + "[" * 100_000,
        '{"phase": "before", "AnonPages": true, "x": "y", "f": 1e400, "g": NaN}',
        '{"phase": ["before"]}',
        '{"t": null, "RssAnon": 1.6}',
        '{"phase":"exit","status":"0","page_size":-1,"cpus":0}',
        "{" * 1_000_000,
        '{"t": 1, "x": ' + "9" * 6000 + "}",
    ],
)
def test_odd_sampler_lines(line: str) -> None:
    log = readings.parse_samples(line)
    assert log.page_size == 4096
    assert log.cpus > 0
    assert "AnonPages" not in log.before


# ---------------------------------------------------------------- invariants


def test_counter_equals_walk() -> None:
    ledger = (step("a", 10, 0), step("b", 13, 0, walk=10, tolerance=3), step("c", 14, 1, walk=10))
    (one,) = counters.check_invariants(spec("counter-equals-walk"), ledger, SampleLog())
    assert one == (
        "RssAnon is 14 pages where the page walk finds 10: +4 at step c in pid 7 (tolerance 0)"
    )
    (two,) = counters.check_invariants(
        spec("counter-equals-walk"), (step("c", 0, 1, wswap=3),), SampleLog()
    )
    assert two.startswith("VmSwap is 1 pages where the page walk finds 3: -2")
    assert counters.check_invariants(spec(), ledger, SampleLog()) == ()


def test_wrong_counter_on_a_moved_swap_entry() -> None:
    # The defect the lab was made for: the sum is right and both counters are wrong.
    ledger = (step("before-move", 8, 4), step("after-move", 9, 3, walk=8, wswap=4))
    found = counters.check_invariants(spec(*ALL[:2]), ledger, SampleLog())
    assert len(found) == 2
    assert found[0].startswith("RssAnon is 9")
    assert found[1].startswith("VmSwap is 3")


def test_move_conserves_over_processes_and_rounds() -> None:
    good = (
        step("r1-before-move", 10, 2, pid=1), step("r1-before-move", 0, 0, pid=2),
        step("r1-after-move", 4, 0, pid=1), step("r1-after-move", 6, 2, pid=2),
        step("r1-before-move", 5, 0, pid=1), step("r1-after-move", 5, 0, pid=1),
    )  # fmt: skip
    assert counters.check_invariants(spec("move-conserves"), good, SampleLog()) == ()
    bad = (*good[:3], step("r1-after-move", 5, 2, walk=6, pid=2))
    (one,) = counters.check_invariants(spec("move-conserves"), bad, SampleLog())
    assert one == (
        "a move changed RssAnon+VmSwap from 12 to 11 pages (-1) between r1-before-move and "
        "r1-after-move over pid 1, 2 (tolerance 0)"
    )
    lost = (step("before-move", 5, 0), step("after-move", 4, 0))
    assert len(counters.check_invariants(spec("move-conserves"), lost, SampleLog())) == 2


def test_conservation_tolerates_what_the_workload_measured() -> None:
    ledger = (step("before-move", 100, 0, tolerance=8), step("after-move", 90, 0, tolerance=8))
    assert counters.check_invariants(spec("move-conserves"), ledger, SampleLog()) == ()


def log(**after: int) -> SampleLog:
    before = {"AnonPages": 1000, "SwapTotal": 5000, "SwapFree": 5000, "SwapCached": 0,
              "PageTables": 50, "SUnreclaim": 1000}  # fmt: skip
    return SampleLog(before=before, after={**before, **after}, ended=True)


def test_back_after_exit() -> None:
    limit = counters.slack(log())
    assert limit == 2 * 2 * 125 + 1024
    assert counters.check_invariants(spec(*ALL), (), log(AnonPages=1000 + limit)) == ()
    (one,) = counters.check_invariants(spec(*ALL), (), log(AnonPages=1001 + limit))
    assert f"AnonPages is {1001 + limit} pages after exit and was 1000 before" in one
    (swap,) = counters.check_invariants(spec(*ALL), (), log(SwapFree=5000 - limit - 1))
    assert "with swap in use" in swap
    # Others were swapped out under pressure and are partly back: nothing is lost.
    assert counters.check_invariants(spec(*ALL), (), log(AnonPages=200, SwapFree=4200)) == ()
    cached = log(SwapFree=5000 - 2 * limit, SwapCached=2 * limit)
    assert counters.check_invariants(spec(*ALL), (), cached) == ()


def test_no_leak() -> None:
    (one,) = counters.check_invariants(spec("no-leak"), (), log(PageTables=5000))
    assert one.startswith("PageTables is 5000")
    limit = 2 * 2 * 125 + 64
    assert counters.check_invariants(spec("no-leak"), (), log(PageTables=50 + limit)) == ()
    # 32 MiB in KASAN's quarantine are no leak.
    assert counters.check_invariants(spec(*ALL), (), log(SUnreclaim=9192)) == ()
    assert counters.check_invariants(spec("no-leak"), (), log(PageTables=10, SUnreclaim=900)) == ()


def leaking(name: str, before: int, after: int, **more: int) -> tuple[str, ...]:
    both = {"PageTables": 50, "ZeroHuge": 0, name: before}
    seen = SampleLog(before=both, after={**both, name: after, **more}, ended=True)
    assert name in {c.name for c in counters.summarise(spec("no-leak"), (), seen)}
    return counters.check_invariants(spec("no-leak"), (), seen)


def test_lost_pages_and_objects_are_leaks() -> None:
    # Batches that were not on a list yet at the first reading: 31 pages on each of two CPUs, twice.
    assert leaking("LostPages", -62, 62) == ()
    (one,) = leaking("LostPages", -62, 63)
    assert one.startswith(
        "LostPages is 63 pages after exit and was -62 before: +125, more than the 124"
    )
    assert leaking("userfaultfd_ctx_cache", 0, 128) == ()
    (one,) = leaking("userfaultfd_ctx_cache", 0, 129)
    assert "129 objects after exit" in one
    assert leaking("anon_vma", -1, 10**6) == ()  # no CONFIG_SLUB_DEBUG at the first
    assert leaking("vm_area_struct", 500, 3) == ()


def test_other_memory_may_have_become_the_huge_zero_page() -> None:
    limit = counters.slack(log())
    assert leaking("OtherMemory", 700, 700 + limit) == ()
    assert len(leaking("OtherMemory", 700, 701 + limit)) == 1
    assert leaking("OtherMemory", 700, 700 + limit + 2048, ZeroHuge=2048) == ()


def test_live_samples_never_violate() -> None:
    wild = SampleLog(samples=(Sample(0.1, {"RssAnon": 10**6, "Anonymous": 0}),))
    assert counters.check_invariants(spec(*ALL), (), wild) == ()


def test_violations_are_bounded() -> None:
    ledger = tuple(step(f"s{i}", 1, 0, walk=0) for i in range(500))
    found = counters.check_invariants(spec(*ALL), ledger, SampleLog())
    assert len(found) == 21
    assert found[-1] == "and 480 more"


def test_missing_evidence() -> None:
    missing = counters.missing_evidence(spec(*ALL, watched=("RssAnon", "nr_x")), (), SampleLog())
    text = "\n".join(missing)
    for word in ("counter-equals-walk", "move-conserves", "AnonPages", "PageTables", "nr_x"):
        assert word in text
    full = (step("before-move", 1, 0), step("after-move", 1, 0))
    assert counters.missing_evidence(spec(*ALL, watched=("RssAnon",)), full, log()) == ()
    assert counters.missing_evidence(spec("move-conserves"), full[:1], log()) == (
        "ledger step before-move has no counterpart",
    )
    assert "no ledger steps" in counters.missing_evidence(
        spec("move-conserves"), (step("x", 1, 0),), log()
    )[0]  # fmt: skip
    assert "unknown" in counters.missing_evidence(spec("sums-up"), full, log())[0]


def test_the_manifest_schema_knows_the_same_invariants() -> None:
    schema = HOME / "orchestrator/plan/manifest.schema.json"
    defined = json.loads(schema.read_text())["$defs"]["invariants"]["items"]["enum"]
    assert set(defined) == counters.INVARIANTS


# ---------------------------------------------------------------- summary


def test_summary() -> None:
    ledger = (step("a", 10, 0), step("b", 50, 3, walk=49), step("c", 60, 0))
    both = readings.parse_samples(sampler({"AnonPages": 100}, {"AnonPages": 101}))
    watched = ("RssAnon", "VmSwap", "AnonPages", "nr_unseen")
    rss, swap, anon = counters.summarise(spec(watched=watched), ledger, both)
    assert (rss.name, rss.before, rss.peak, rss.after) == ("RssAnon", 10, 700, 60)
    assert (rss.at_walk, rss.walk) == (50, 49)
    assert (swap.at_walk, swap.walk, swap.peak) == (3, 3, 9)
    assert (anon.before, anon.peak, anon.after, anon.walk) == (100, 101, 101, None)


def test_summary_without_a_list_takes_what_the_ledger_has() -> None:
    assert [c.name for c in counters.summarise(spec(), (step("a", 1, 0),), SampleLog())] == [
        "RssAnon", "VmSwap"
    ]  # fmt: skip
    assert counters.summarise(spec(), (), log()) == ()


def test_summary_adds_processes_of_one_barrier() -> None:
    ledger = (step("a", 10, 0, pid=1), step("a", 20, 0, pid=2), step("b", 5, 0, pid=1))
    rss = counters.summarise(spec(), ledger, SampleLog())[0]
    assert (rss.before, rss.peak, rss.after) == (30, 30, 5)


VALUES = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
                      lambda s: st.lists(s, max_size=3), max_leaves=5)  # fmt: skip
KEYS = st.sampled_from(
    ["t", "phase", "AnonPages", "status", "signal", "page_size", "cpus", "SwapFree"]
)


@given(st.lists(st.dictionaries(KEYS, VALUES | st.sampled_from(["before", "after", "exit"]))))
def test_no_record_raises(records: list[dict[str, Any]]) -> None:
    found = readings.parse_samples("\n".join(json.dumps(r) for r in records))
    counters.check_invariants(spec(*ALL), (), found)
    counters.missing_evidence(spec(*ALL), (), found)
    counters.summarise(spec(watched=("AnonPages",)), (), found)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    for variant in (text, "# LEDGER " + text, "# MEASURE " + text, "{" + text):
        readings.parse_ledger(variant)
        readings.ledger_problems(variant)
        readings.parse_measurements(variant)
        readings.parse_samples(variant)
