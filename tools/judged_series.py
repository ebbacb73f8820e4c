# SPDX-License-Identifier: GPL-2.0-only
"""Parts of the proof of judging that need guests: a clean series, a broken one, a race, a flake."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from judged import HOME, Finding, Part, Row, Said, Table, findings
from plants import FOLDER as PLANTS

from orchestrator.model.judging import Decision

SERIES = HOME / "tests" / "series"
KERNEL = "v6.12"
ARCHES = ("x86_64", "arm64")
#: With userfaultfd and without: no build of another kind tells more of these two series.
CONFIGS = ("default", "no-uffd")
WORKLOADS = ("ledger",)
HEAD = ("what", "said")
#: What is bisected and narrowed down: a case of a workload that needs neither THP nor swap to run.
NARROWED = "ledger/together:counters"
#: What may be changed to narrow it down: the guest, the architecture, the config.
AXES = ("shape", "arch", "fragments")
#: The plant that shows in fewer than half of the runs, where it shows, and what is above and below.
RACE, RACE_ARCH, RACE_WORKLOAD = "stale-folio-on-retry", "x86_64", "race/zap"
HARMLESS = ("0001-*.patch", "0004-*.patch")
#: Runs until a race shows once in one.
RACE_RUNS = 10
#: For the trials of what failed: without one they end when the run has taken twice as long.
RACE_BUDGET = "60m"
#: Trials of the search for it.
RACE_TRIALS = 200
#: A lab whose one test fails by chance, with the series and without; and the trials it is given.
FLAKY, FLAKY_TRIALS = HOME / "tests" / "e2e" / "flaky", 300
#: When a command is asked to end (s): of a series, of a search.
LONG, SEARCH = 5400.0, 5400.0

# What patch 2 of the broken series does not compile in, and what patch 3 breaks.
_FILE = re.compile(r"\bmm/madvise\.c:\d+: error: ")
_CASE = re.compile(r":ledger/[\w-]+:")
_COUNTER = re.compile(r"RssAnon|MM_ANONPAGES|VmSwap|MM_SWAPENTS")
_REGRESSION = re.compile(
    r"regression: fails (\d+) of (\d+) with the series, (\d+) of (\d+) without"
)
_DECIDED = re.compile(
    rf"^({'|'.join(decision.value for decision in Decision)}): "
    r"fails \d+ of \d+ with the series, \d+ of \d+ without",
    re.MULTILINE,
)
#: Decisions that blame a series for nothing, of those that a case may get which seldom fails.
_HARMLESS = {
    decision.value
    for decision in (Decision.FLAKY, Decision.HARMLESS, Decision.BETTER, Decision.NEITHER)
}
_UNKNOWN_COMMAND = "No such command"


def clean(part: Part) -> Table | None:
    """A series that does nothing: it passes, whole and patch by patch."""
    said = part.lab("run", *_run("judging-clean"), "--each-patch=test", deadline=LONG)
    if said is None:
        return None
    verdict = _line(said, "each patch of ")
    well = "each of the 4 patches builds, boots and passes its tests"
    return _table(said, [
        Row(("it ends with 0", f"exit status {said.status}"), said.status == 0),
        Row(("each patch is good", verdict), verdict.endswith(well)),
    ])  # fmt: skip


def broken(part: Part) -> Table | None:
    """A series with three faults: each is named, by the command line alone."""
    words = (*_run("judging-broken"), "--each-patch=test", "--baseline", KERNEL)
    said = part.lab("run", *words, deadline=LONG)
    if said is None:
        return None
    found = findings(said.out)
    rows = [
        Row(("it ends with 1", f"exit status {said.status}"), said.status == 1),
        compile_row(found),
        accounting_row(found),
        hidden_row(found),
        others_row(found),
    ]
    case = _case_on(found, "x86_64")
    run = str(part.run_folder("run"))
    bisected = narrowed = None
    if case:
        bisected = part.lab("bisect", "bisect", run, case, deadline=SEARCH)
        axes = [word for axis in AXES for word in ("--axis", axis)]
        narrowed = part.lab("narrow", "narrow", run, case, *axes, deadline=SEARCH)
    rows += [culprit_row(bisected, 3, 4), narrow_row(narrowed)]
    return _table(said, rows)


def race(part: Part) -> Table | None:
    """A race that shows in fewer than half of its runs, as patch 2 of 3: found and bisected."""
    series = put_race(part.folder / "series")
    found = run = None
    for n in range(1, RACE_RUNS + 1):
        run = part.lab(
            f"run{n}", "run", "-p", "full", "--series", str(series), "--baseline", KERNEL,
            "--config", "default", "--arch", RACE_ARCH, "--shape", "small",
            "--workload", RACE_WORKLOAD, "--time-budget", RACE_BUDGET, deadline=LONG,
        )  # fmt: skip
        if run is None:
            return None
        found = rarest(findings(run.out))
        if found is not None:
            break
    assert run is not None
    if found is None:
        return _table(run, [Row(("it is found", f"not in {RACE_RUNS} runs"), False)])
    bisected = part.lab(
        "bisect", "bisect", str(part.run_folder(f"run{n}")), found.again,
        "--trials", str(RACE_TRIALS), deadline=SEARCH,
    )  # fmt: skip
    return _table(run, [*race_rows(found, n), culprit_row(bisected, 2, 3)])


def rarest(found: Iterable[Finding]) -> Finding | None:
    """Of what was decided to be a regression the one that shows in the smallest share of trials."""
    told = [(one, match) for one in found if (match := _REGRESSION.search(one.text))]
    return min(told, key=lambda one: int(one[1][1]) / int(one[1][2]), default=(None, None))[0]


def flake(part: Part) -> Table | None:
    """Twelve cases that fail in a fifth of all runs, whatever the kernel is: nothing is blamed."""
    said = part.lab(
        "run", "run", "--series", str(SERIES / "judging-clean"), "--baseline", KERNEL,
        "--retries", str(FLAKY_TRIALS), "--time-budget", RACE_BUDGET,
        deadline=LONG, home=FLAKY,
    )  # fmt: skip
    if said is None:
        return None
    return _table(said, flake_rows(said))


def put_race(folder: Path) -> Path:
    """Write the race's series: the plant with a harmless patch before and one behind it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before, behind = (next((SERIES / "judging-clean").glob(name)) for name in HARMLESS)
    for number, patch in enumerate((before, PLANTS / f"{RACE}.patch", behind), 1):
        # The number in a subject is that of its own series.
        text = re.sub(r"^(Subject: \[PATCH)[^\]]*\]", rf"\1 {number}/3]", patch.read_text(),
                      count=1, flags=re.MULTILINE)  # fmt: skip
        (folder / f"{number:04}-{patch.name}").write_text(text)
    return folder


# ---------------------------------------------------------------- what a summary must say


def compile_row(found: Iterable[Finding]) -> Row:
    """Patch 2 does not compile, in which file and line, and only without userfaultfd."""
    what = "patch 2 does not compile without CONFIG_USERFAULTFD"
    mine = [one for one in found if " of 4 does not build" in one.head]
    held = (
        len(mine) == 1
        and mine[0].head.startswith("patch 2 of 4 ")
        and bool(_FILE.search(mine[0].head))
        and mine[0].places == {f"no-uffd/{arch}" for arch in ARCHES}
    )
    return Row((what, _told(mine)), held)


def accounting_row(found: Iterable[Finding]) -> Row:
    """Patch 3 breaks a counter, and which case shows it."""
    what = "patch 3 breaks the accounting"
    mine = [one for one in found if re.search(r" of 4 fails\b", one.head)]
    held = bool(mine) and all(
        one.head.startswith("patch 3 of 4 ")
        and bool(_COUNTER.search(one.text))
        and bool(_CASE.search(one.again))
        for one in mine
    )
    return Row((what, _told(mine)), held)


def hidden_row(found: Iterable[Finding]) -> Row:
    """Patch 4 hides that on arm64, and on no other architecture."""
    what = "patch 4 hides it on arm64"
    mine = [one for one in found if re.search(r" of 4 fails\b", one.head)]
    mended = [one for one in mine if ", patch 4 mends it: " in one.head]
    lasting = [one for one in mine if ", and so do all after it: " in one.head]
    held = (
        bool(mended) and all(one.places == {"default/arm64"} for one in mended)
        and bool(lasting) and all(one.places == {"default/x86_64"} for one in lasting)
    )  # fmt: skip
    return Row((what, _told(mended)), held)


def others_row(found: Iterable[Finding]) -> Row:
    """No patch is blamed for anything else."""
    mine = [one for one in found if re.match(r"(one of )?patch(es)? \d", one.head)]
    blamed = sorted({one.head.partition(":")[0].partition(",")[0] for one in mine})
    known = {"patch 2 of 4 does not build", "patch 3 of 4 fails"}
    return Row(("nothing else is blamed", "; ".join(blamed)), set(blamed) == known)


def culprit_row(said: Said | None, patch: int, count: int) -> Row:
    """A search names a patch and no other, and is sure of it."""
    what = f"the search names patch {patch}"
    if said is None:
        return Row((what, ""), None)
    line = _line(said, "", " brought it: ")
    return Row((what, line), said.status == 0 and f" patch {patch} of {count} brought it: " in line)


def narrow_row(said: Said | None) -> Row:
    """Only with THP and swap: without either the case passes."""
    what = "only with THP and swap"
    if said is None or _UNKNOWN_COMMAND in said.out:
        return Row((what, "" if said is None else "this lab has no such command"), None)
    line = _line(said, "", ": needs ")
    needed = line.partition(": needs ")[2].partition(";")[0].partition(" (")[0]
    # Of "this or that" either is enough.
    each = " ".join(part for part in re.split(r", | and ", needed) if " or " not in part)
    names = [re.search(rf"\b{word}\b", each, re.IGNORECASE) for word in ("thp", "swap")]
    return Row((what, line), said.status == 0 and all(names))


def race_rows(found: Finding, runs: int) -> list[Row]:
    """It is a regression by trials on both kernels, and it failed in fewer than half of them."""
    told = _REGRESSION.search(found.text)
    assert told is not None
    failed, trials, failed_base, trials_base = map(int, told.groups())
    rate = f"{failed} of {trials} with the series, {failed_base} of {trials_base} without"
    return [
        Row((f"`{RACE}` is found", f"in run {runs}: {found.again}: {told[0]}"), True),
        Row(("its rate is below one half", rate), 2 * failed < trials),
    ]


def flake_rows(said: Said) -> list[Row]:
    """What was tried again was found to be a flake of both kernels, and costs no exit status."""
    told = [match for one in findings(said.out) if (match := _DECIDED.search(one.text))]
    decided = "; ".join(match[0] for match in told) or "no case failed with the series alone"
    held = all(match[1] in _HARMLESS for match in told) if told else None
    return [
        Row(
            ("what failed with the series alone is tried again until it is decided", decided), held
        ),
        Row(("it ends with 0", f"exit status {said.status}"), said.status == 0),
    ]


def _run(series: str) -> list[str]:
    words = ["run", "-p", "smoke", "--series", str(SERIES / series), "--shape", "small"]
    for option, values in (("config", CONFIGS), ("arch", ARCHES), ("workload", WORKLOADS)):
        words += [word for value in values for word in (f"--{option}", value)]
    return words


def _case_on(found: Iterable[Finding], arch: str) -> str:
    """The case to look into, where the whole series fails there; empty where it does not."""
    cell = f"cli/default/{arch}/small:"
    return f"{cell}{NARROWED}" if any(one.again.startswith(cell) for one in found) else ""


def _line(said: Said, begin: str, inside: str = "") -> str:
    """The last line that begins so and has that in it; empty for none."""
    fits = (line for line in reversed(said.out.splitlines())
            if line.startswith(begin) and inside in line)  # fmt: skip
    return next(fits, "")


def _told(found: Iterable[Finding]) -> str:
    """Findings as a cell: headline and places."""
    told = [f"{one.head} ({', '.join(sorted(one.places))})" for one in found]
    return "; ".join(told) or "nothing"


def _table(said: Said, rows: Iterable[Row]) -> Table:
    return Table(HEAD, tuple(rows), said.date, said.commit)
