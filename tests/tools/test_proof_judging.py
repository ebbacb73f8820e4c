# SPDX-License-Identifier: GPL-2.0-only
"""tools/proof_judging.py and its parts: the facts that they read, what is kept, the page."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import judged
import judged_series as series
import proof_judging as program
import pytest
from judged import Finding, Part, Row, Said, Table, findings

from orchestrator import HOME
from orchestrator.evidence import ktap
from orchestrator.kernel.series.load import load_series
from orchestrator.model.arch import ARCHES
from orchestrator.plan.lab_yaml import load_config

DATE, COMMIT = "2026-11-30", "0123456789ab"
# As `lab run --plain` ends for the broken series.
SUMMARY = """\
2026-11-30T09:59:05Z cell cli@patch-2/default/x86_64/small boot: booting
FAIL   RssAnon above the page walk in ledger/together
       RssAnon +32 pages off the page walk at step 'split-out' (pid 96)
       regression: fails 1 of 1 with the series, 0 of 1 without, and its workload is deterministic
       again: lab rerun /x/run cli/default/x86_64/small:ledger/together:counters
each patch of cli: cannot be bisected
       n  applies  builds  warnings  boots  tests    patch
       1  yes      4/4     0         4/4    10 pass  mm/rmap: count
FAIL   patch 2 of 4 does not build, and so do all after it: mm/madvise.c:903: error: no member
       mm/madvise: warn of a VMA that is armed and has no userfaultfd
       no-uffd/x86_64, no-uffd/arm64
       again: lab rerun /x/run cli@patch-2/no-uffd/x86_64:build
FAIL   patch 3 of 4 fails, and so do all after it: RssAnon above the page walk
       mm/rmap: let pages where nobody wants huge pages stay counted
       4 cases in default/x86_64
       again: lab rerun /x/run cli@patch-3/default/x86_64/small:ledger/together:counters
FAIL   patch 3 of 4 fails, patch 4 mends it: RssAnon above the page walk
       mm/rmap: let pages where nobody wants huge pages stay counted
       4 cases in default/arm64
       again: lab rerun /x/run cli@patch-3/default/arm64/small:ledger/together:counters
34 pass, 5 fail, 0 skipped, 0 error in 584 s; exit status 1
"""
ROWS = (series.compile_row, series.accounting_row, series.hidden_row, series.others_row)


def said(out: str, status: int = 0) -> Said:
    return Said(status, out, 1.0, DATE, COMMIT)


# ---------------------------------------------------------------- a flake

FLAKE = """\
FAIL   toss/dice:case-1: not ok, and the workload does not say why
       no regression: fails 0 of 12 with the series, 2 of 12 without (a regression of 30 points would be missed in at most 5%)
       again: lab rerun /tmp/flake cli/default/x86_64/small:toss/dice:case-1
FAIL   toss/dice:case-9: not ok, and the workload does not say why
       flaky on both: fails 1 of 15 with the series, 5 of 15 without (a regression of 30 points would be missed in at most 5%)
       again: lab rerun /tmp/flake cli/default/x86_64/small:toss/dice:case-9
FAIL   toss/dice:case-2: not ok, and the workload does not say why
       again: lab rerun /tmp/flake v6.12/default/x86_64/small:toss/dice:case-2
33 pass, 3 fail, 0 skipped, 0 error in 319 s; exit status 0
"""  # noqa: E501


def test_a_flake_is_blamed_on_nobody() -> None:
    decided, ends = series.flake_rows(said(FLAKE))
    assert decided.cells[1] == (
        "no regression: fails 0 of 12 with the series, 2 of 12 without; "
        "flaky on both: fails 1 of 15 with the series, 5 of 15 without"
    )
    assert (decided.held, ends.held) == (True, True)


@pytest.mark.parametrize("word", ["regression", "undecided"])
def test_a_flake_that_is_blamed_is_told(word: str) -> None:
    decided, ends = series.flake_rows(said(FLAKE.replace("flaky on both", word), 1))
    assert (decided.held, ends.held) == (False, False)


def test_the_flaky_lab_has_one_test_that_promises_nothing() -> None:
    config = load_config(series.FLAKY / "lab.yaml", tuple(ARCHES))
    (spec,) = config.workloads
    assert not spec.deterministic  # else its first pair would decide
    told = subprocess.run(
        [sys.executable, str(spec.folder / spec.program)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert len(ktap.parse(told).cases) == 12


def test_where_no_case_was_tried_again_nothing_is_shown() -> None:
    decided, _ = series.flake_rows(said("36 pass, 0 fail, 0 skipped, 0 error in 9 s\n"))
    assert decided.held is None


# ---------------------------------------------------------------- the series


@pytest.mark.parametrize("name", ["judging-clean", "judging-broken"])
def test_a_series_is_four_small_patches(name: str, tmp_path: Path) -> None:
    folder = series.SERIES / name
    found = load_series(str(folder)).patches
    assert len(found) == 4
    for path in folder.iterdir():
        text = path.read_text()
        assert "Signed-off-by: Lab Authors <lab@example.org>" in text
        assert text.startswith("From 0000000000000000000000000000000000000000 ")
        told = subprocess.run(
            ["git", "apply", "--numstat", str(path)],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        added, removed, name = told.split()
        assert int(added) + int(removed) <= 12
        assert name.startswith(("mm/", "fs/userfaultfd.c"))
        harmless = re.search(r"No\s+functional change\.", text) is not None
        assert harmless is not ("Broken on purpose" in text)


def test_the_race_stands_between_two_harmless_patches(tmp_path: Path) -> None:
    found = load_series(str(series.put_race(tmp_path / "series"))).patches
    assert [patch.subject for patch in found] == [
        "userfaultfd: look for a context and its feature in one expression",
        "mm/userfaultfd: keep the folio of the round before",
        "userfaultfd: fill in the range that a move wakes in one place",
    ]


# ---------------------------------------------------------------- what a summary says


def test_findings_have_what_is_indented_below_them() -> None:
    found = findings(SUMMARY)
    assert [one.head.partition(":")[0] for one in found] == [
        "RssAnon above the page walk in ledger/together",
        "patch 2 of 4 does not build, and so do all after it",
        "patch 3 of 4 fails, and so do all after it",
        "patch 3 of 4 fails, patch 4 mends it",
    ]
    assert found[1].places == {"no-uffd/x86_64", "no-uffd/arm64"}
    assert found[0].again == "cli/default/x86_64/small:ledger/together:counters"


def test_the_three_facts_are_read_from_the_summary() -> None:
    found = findings(SUMMARY)
    assert [row(found).held for row in ROWS] == [True] * 4
    assert "mm/madvise.c:903: error: " in series.compile_row(found).cells[1]


@pytest.mark.parametrize(
    ("right", "wrong", "row"),
    [
        ("patch 2 of 4 does", "one of patches 1 or 2 of 4 does", series.compile_row),
        ("mm/madvise.c:903: error", "no line", series.compile_row),
        ("no-uffd/x86_64, no-uffd/arm64", "no-uffd/x86_64", series.compile_row),
        ("no-uffd/x86_64, ", "default/x86_64, no-uffd/x86_64, ", series.compile_row),
        ("patch 3 of 4 fails, and", "patch 4 of 4 fails, and", series.accounting_row),
        ("@patch-3/default/arm64/small:ledger/together", "@patch-3/default/arm64/small:mm/ksm",
         series.accounting_row),
        ("patch 4 mends it", "and so do all after it", series.hidden_row),
        ("4 cases in default/arm64", "4 cases in default/arm64, no-thp/x86_64", series.hidden_row),
        ("patch 3 of 4 fails, patch 4", "patch 1 of 4 fails, patch 4", series.others_row),
    ],
)  # fmt: skip
def test_what_is_named_wrongly_does_not_hold(right, wrong, row) -> None:
    assert right in SUMMARY
    assert row(findings(SUMMARY.replace(right, wrong))).held is False


def test_nothing_found_holds_nothing() -> None:
    assert [row([]).held for row in ROWS] == [False] * 4


def test_a_search_has_to_be_sure_of_the_patch() -> None:
    told = "c:counters: patch 3 of 4 brought it: mm/rmap: let pages (probability 100.0%)"
    assert series.culprit_row(said(told), 3, 4).held is True
    assert series.culprit_row(said(told, 1), 3, 4).held is False
    assert series.culprit_row(said(told), 2, 4).held is False
    assert series.culprit_row(None, 3, 4).held is None


@pytest.mark.parametrize(
    ("line", "held"),
    [
        ("c:counters: needs the swap disk and the fragment thp; KSM does not matter", True),
        ("c:counters: needs the fragments thp and swap (fails 1 of 1 as it was)", True),
        ("c:counters: needs the swap disk; the fragment thp does not matter", False),
        ("c:counters: needs the swap disk; cannot be tried without the fragment thp", False),
        ("c:counters: needs two CPUs and the fragment thp or the swap disk", False),
        ("c:counters: needs nothing of what was tried", False),
        ("", False),
    ],
)
def test_what_narrows_it_down_has_to_name_both(line: str, held: bool) -> None:
    assert series.narrow_row(said(f"...\n{line}")).held is held


def test_a_lab_that_narrows_nothing_down_is_not_run() -> None:
    out = "Usage: lab [OPTIONS] COMMAND\nError: No such command 'narrow'."
    assert series.narrow_row(said(out, 2)).held is None


def test_a_race_that_shows_too_often_is_none() -> None:
    text = "regression: fails {} of 40 with the series, 0 of 40 without (wrong in at most 1%)"
    rare, often = (Finding("race", (text.format(n),)) for n in (12, 20))
    assert [row.held for row in series.race_rows(rare, 1)] == [True, True]
    assert [row.held for row in series.race_rows(often, 1)] == [True, False]


def test_of_several_cases_the_rarest_is_searched() -> None:
    text = "regression: fails {} of {} with the series, 0 of {} without"
    told = [
        Finding(f"case {n} of {of}", (text.format(n, of, of),)) for n, of in ((8, 13), (10, 28))
    ]
    other = Finding("flaky on both: fails 1 of 50 with the series, 2 of 50 without", ())
    assert series.rarest([other, *told]) == told[1]
    assert series.rarest([other]) is None


# ---------------------------------------------------------------- what is kept


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """A part whose lab notes how it was called, and does as the file ``does`` says."""
    lab = tmp_path / "lab"
    lab.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n. {tmp_path}/does\n')
    lab.chmod(0o755)
    (tmp_path / "does").write_text("echo fine; exit 0\n")
    monkeypatch.setattr(judged, "LAB", lab)
    return Part(tmp_path / "part", ["tests/series"])


def calls(part: Part) -> list[str]:
    return (part.folder.parent / "calls").read_text().splitlines()


def test_a_command_runs_once(part: Part) -> None:
    for _ in range(2):
        told = part.lab("run", "run", "-p", "smoke", deadline=20)
        assert told is not None
        assert (told.status, told.out) == (0, "fine")
    assert calls(part) == [f"run -p smoke --plain --out {part.folder / 'run'}"]
    part.lab("run", "run", "-p", "full", deadline=20)
    part.key = "another commit"
    part.lab("run", "run", "-p", "full", deadline=20)
    assert len(calls(part)) == 3


def test_nothing_begins_after_the_budget_and_what_is_kept_is_told(part: Part) -> None:
    part.lab("run", "run", deadline=20)
    part.may_begin = lambda: False
    assert part.lab("run", "run", deadline=20) is not None
    assert part.lab("other", "run", deadline=20) is None
    assert part.table("t", lambda: Table((), (), DATE, COMMIT)) is None


def test_what_was_cut_goes_on_where_it_stood(part: Part) -> None:
    does = part.folder.parent / "does"
    does.write_text(f"mkdir -p {part.folder}/run; exit 130\n")
    assert part.lab("run", "run", "-p", "smoke", deadline=20) is None
    does.write_text("exit 1\n")
    told = part.lab("run", "run", "-p", "smoke", deadline=20)
    assert told is not None
    assert told.status == 1
    assert calls(part)[1] == f"run --resume {part.folder / 'run'} --plain"


def test_what_cannot_go_on_begins_anew(part: Part) -> None:
    (part.folder / "run").mkdir(parents=True)
    (part.folder.parent / "does").write_text('case "$*" in *--resume*) exit 2;; esac\n')
    told = part.lab("run", "run", "-p", "smoke", deadline=20)
    assert told is not None
    assert told.status == 0
    assert [" --resume " in call for call in calls(part)] == [True, False]


def test_where_the_host_failed_nothing_is_kept(part: Part) -> None:
    (part.folder.parent / "does").write_text(f"mkdir -p {part.folder}/run; exit 3\n")
    assert part.lab("run", "run", deadline=20) is None
    assert not (part.folder / "run").exists()
    assert part.lab("run", "run", deadline=20) is None
    assert "--resume" not in calls(part)[1]


def test_what_does_not_end_is_asked_to_and_not_kept(part: Part) -> None:
    (part.folder.parent / "does").write_text("trap 'exit 130' TERM; sleep 30 & wait\n")
    assert part.lab("run", "run", deadline=0.5) is None
    assert not (part.folder / "run.json").exists()


TABLE = Table(("what", "said"), (Row(("it | ends", "0"), True),), DATE, COMMIT)


def test_a_table_is_made_once(part: Part) -> None:
    made: list[int] = []
    for _ in range(2):
        assert part.table("t", lambda: made.append(1) or TABLE) == TABLE
    assert made == [1]


# ---------------------------------------------------------------- the page


def test_one_row_that_is_not_as_promised_is_enough() -> None:
    row = TABLE.rows[0]
    unknown = replace(TABLE, rows=(row, replace(row, held=None)))
    wrong = replace(TABLE, rows=(*unknown.rows, replace(row, held=False)))
    assert (TABLE.held, unknown.held, wrong.held) == (True, None, False)
    assert program.status([TABLE]) == 0
    assert program.status([TABLE, None]) == program.status([unknown]) == 3
    assert program.status([wrong, None]) == 1
    assert "| it \\| ends | 0 | yes |" in TABLE.lines()


def test_each_part_has_its_place_in_the_page(tmp_path: Path) -> None:
    page = tmp_path / "judging.md"
    text = program.PAGE.read_text()
    assert [text.count(mark) for kind in program.KINDS for mark in program.marks(kind.name)] == (
        [1, 1] * len(program.KINDS)
    )
    page.write_text(text)
    program.write(page, {kind.name: None for kind in program.KINDS} | {"clean": TABLE})
    written = page.read_text()
    assert written.count("Not run yet: ") == len(program.KINDS) - 1
    assert f"{program.marks('clean')[0]}`proof_judging.py --only clean`, {DATE}" in written
    assert written.startswith(text[: text.index("<!--")])


def test_what_results_depend_on_is_there() -> None:
    for kind in program.KINDS:
        for path in kind.paths:
            assert (HOME / path).exists(), path
