# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants with one of each outcome, in which somebody else has written every word."""

from __future__ import annotations

from orchestrator.model.mutants import (
    Campaign,
    LeftOut,
    Mutant,
    Outcome,
    Tried,
    Unmutated,
)

FILE = "mm/userfaultfd.c"
DIFF = """\
--- a/mm/userfaultfd.c
+++ b/mm/userfaultfd.c
@@ -1058,3 +1058,3 @@
 \tif (a < b)
-\tfolio_put(<folio>);
+\t;
"""


def mutant(line: int, operator: str = "call-left-out", *, patch: int = 0) -> Mutant:
    function = "move_present_pte" if line < 1100 else "move_swap_pte"
    name = f"{FILE}:{line}:2:{operator}"
    return Mutant(name, FILE, function, line, operator, "`folio_put(<folio>);` left out", line,
                  line + 5, ";", patch)  # fmt: skip


def tried(line: int, outcome: Outcome, *, patch: int = 0) -> Tried:
    one = Tried(mutant(line, patch=patch), outcome, seconds=103.4, build_seconds=30.0, diff=DIFF)
    match outcome:
        case Outcome.CAUGHT:
            case = "default/x86_64/small:uffd-move/basic:moves"
            return Tried(one.mutant, outcome, "off by 64\n<b>more</b>", case, 103.4, 30.0,
                         ("uffd-move/basic",), diff=DIFF)  # fmt: skip
        case Outcome.SURVIVED:
            ran = ("uffd-move/basic", "race/zap")
            return Tried(one.mutant, outcome, workloads=ran, raced=True, diff=DIFF)
        case Outcome.NOT_COMPILED:
            return Tried(one.mutant, outcome, "mm/userfaultfd.c:3:2: error: `x` \x1b[31mundeclared")
        case Outcome.NOT_JUDGED:
            return Tried(one.mutant, outcome, "no QEMU", diff=DIFF)
    return Tried(one.mutant, outcome)


def campaign(*parts: Tried, **more: object) -> Campaign:
    """One of each outcome, and two more that were caught; or these."""
    some = parts or (
        tried(1200, Outcome.SURVIVED, patch=2), tried(1058, Outcome.CAUGHT, patch=1),
        tried(1060, Outcome.CAUGHT, patch=1), tried(1059, Outcome.NOT_COMPILED, patch=1),
        tried(1210, Outcome.SAME_CODE, patch=2), tried(1190, Outcome.NOT_JUDGED, patch=2),
        tried(1180, Outcome.CAUGHT, patch=2),
    )  # fmt: skip
    values: dict[str, object] = {
        "name": "20261130-170000", "command": "lab mutate --series v3.mbx",
        "started": "2026-11-30T17:00:00Z", "lab_version": "1", "kernel": "cli",
        "source": "debian:6.12", "version": "6.12.117", "tree": "0123",
        "cell": "cli/default/x86_64/small", "asked": (), "series": "/a/<v3>.mbx",
        "population": 40, "chosen": len(some), "seed": 1, "tried": some,
        "unmutated": Unmutated("sha", ("default/x86_64/small:f/a:b",), {"f/a": 1.5}),
        "left_out": (LeftOut(FILE, "move_swap_pte", "12-13", "a <macro>"),),
        "finished": "2026-11-30T18:00:00Z",
    } | more  # fmt: skip
    return Campaign(**values)  # type: ignore[arg-type]
