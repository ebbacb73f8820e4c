# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants in words, and as lines for a terminal.  Pure."""

from __future__ import annotations

from orchestrator.judge.mutants import (
    Score,
    bounds,
    by_function,
    by_patch,
    of_outcome,
    percent,
    sentence,
)
from orchestrator.model.formats import counted
from orchestrator.model.mutants import (
    Campaign,
    LeftOut,
    MutantCount,
    Outcome,
    SeriesMutants,
    Tried,
)
from orchestrator.report.text import first_line, visible

HEAD = ("", "caught", "survived", "score", "do not compile", "no change of code", "not judged")
_SHOWN = 12


def about(campaign: Campaign) -> tuple[str, ...]:
    """What was asked for and on what, a line each."""
    kernel = f"{campaign.kernel} ({campaign.version})"
    lines = [f"mutants {_which(campaign.asked)}, {kernel}, tried in {campaign.cell}"]
    if campaign.chosen < campaign.population:
        lines.append(
            f"a random sample of {campaign.chosen} of {campaign.population} (seed {campaign.seed})"
        )
    if campaign.mapped:
        lines.append("each was tried with the workloads that run its function, where that is known")
    if campaign.racing:
        lines.append("what survives the others was tried with those that race: "
                     f"{', '.join(campaign.racing)}")  # fmt: skip
    failing = campaign.unmutated.failing if campaign.unmutated else ()
    if failing:
        lines.append(
            f"{counted(len(failing), 'case')} that failed without a mutant too caught none"
        )
    return tuple(lines)


def _which(asked: tuple[str, ...]) -> str:
    """Which mutants, by what was asked for: a mutant's own name has three colons."""
    if not asked:
        return "of the lines of its series"
    names = ", ".join(asked)
    return names if asked[0].count(":") == 3 else f"of functions {names}"


def interval(score: Score) -> str:
    """``78 % (62 to 88)``, or the share alone where all was tried."""
    if not score.judged:
        return "-"
    share = percent(score)
    if (score.low, score.high) == (score.share, score.share):
        return share
    low, high = bounds(score)
    return f"{share} ({low} to {high})"


def cells(score: Score) -> tuple[str, ...]:
    """A row of the table, as :data:`HEAD` has it."""
    counts = (score.caught, score.survived)
    rest = (score.not_compiled, score.same_code, score.not_judged)
    return (score.name, *map(str, counts), interval(score), *map(str, rest))


def caught_text(found: SeriesMutants) -> str:
    """``61 of 70 mutants were caught``; empty where none was judged."""
    whole = found.of()
    if whole is None:
        return ""
    sample = " in a random sample" if found.sampled else ""
    return f"{whole.caught} of {counted(whole.judged, 'mutant')}{sample} were caught"


def of_patch(count: MutantCount | None) -> str:
    """``7/8``, or ``-`` where none of a patch was judged."""
    return f"{count.caught}/{count.judged}" if count is not None else "-"


def caught_by(tried: Tried) -> str:
    """``uffd-move/basic:moves, after 103 s: off by 64``."""
    case = tried.case.partition(":")[2]
    reason = f": {first_line(tried.reason)}" if tried.reason else ""
    return f"{case}, after {tried.seconds:.0f} s{reason}"


def place(tried: Tried) -> str:
    """``mm/userfaultfd.c:1123 move_present_pte()``."""
    mutant = tried.mutant
    return f"{mutant.file}:{mutant.line} {mutant.function}()"


def survived_all(tried: Tried) -> str:
    """With how much it was tried."""
    if not tried.workloads:
        return tried.reason
    races = ", racing ones among them" if tried.raced else ""
    return f"{counted(len(tried.workloads), 'workload')} passed{races}"


def left_out(one: LeftOut) -> str:
    """``mm/x.c, f(), line 3-5: ...``."""
    function = f", {one.function}()" if one.function else ""
    return f"{one.file}{function}, line {one.lines}: {one.why}"


# ---------------------------------------------------------------- a terminal


def lines(campaign: Campaign) -> list[str]:
    """All of it for a terminal: the survivors with their diffs, the scores, the sentence last."""
    shown = ["", *about(campaign)]
    for one in of_outcome(campaign, Outcome.SURVIVED):
        shown += [f"SURVIVED  {place(one)}: {one.mutant.told}",
                 f"          {survived_all(one)}; {one.mutant.name}"]  # fmt: skip
        shown += [f"          {line}" for line in _changed(one.diff)]
    lost = of_outcome(campaign, Outcome.NOT_JUDGED)
    shown += [f"ERROR     {place(one)}: {first_line(one.reason)}" for one in lost[:_SHOWN]]
    shown += [f"          ... and {len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    shown += [f"left out: {left_out(one)}" for one in campaign.left_out]
    shown += [f"problem: {problem}" for problem in campaign.problems]
    scores = (*by_patch(campaign), *by_function(campaign))
    if scores:
        rows = [HEAD[:4], *(cells(score)[:4] for score in scores)]
        widths = [max(len(row[at]) for row in rows) for at in range(4)]
        shown += ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
                 .rstrip() for row in rows]  # fmt: skip
    shown.append(sentence(campaign))
    return [visible(line) for line in shown]


def _changed(diff: str) -> list[str]:
    """The lines of a diff that it changes."""
    body = diff.splitlines()[2:]
    return [line for line in body if line.startswith(("-", "+"))]
