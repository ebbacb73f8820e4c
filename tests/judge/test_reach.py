# SPDX-License-Identifier: GPL-2.0-only
"""Where a cause shows: nothing is claimed of what was not tried."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from orchestrator.judge.causes import causes_of
from orchestrator.judge.reach import Reach, reach_of
from orchestrator.model.names import Verdict
from orchestrator.model.results import BuildRecord, CaseResult, CellRecord, Records

X, A = "x86_64", "arm64"
WORDS = {"+": Verdict.PASS, "-": Verdict.FAIL, "s": Verdict.SKIP, "e": Verdict.ERROR}


def record(place: str, cases: Mapping[str, str]) -> CellRecord:
    config, arch, shape = place.split("/")
    cell = f"cli/{place}"
    found = tuple(
        CaseResult(f"{cell}:{name}", *name.split(":"), WORDS[sign], "" if sign == "+" else "wrong")
        for name, sign in cases.items()
    )
    return CellRecord(cell, "cli", config, arch, shape, "tcg", Verdict.PASS, 1.0, found)


def reach(cells: Mapping[str, str], case: str = "f/a:moves") -> Reach:
    """Of the first cause in cells with one case."""
    run = Records(cells=tuple(record(place, {case: sign}) for place, sign in cells.items()))
    return reach_of(run, causes_of(run)[0])


def only(found: Reach) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {axis.name: (axis.failing, axis.passing) for axis in found.axes}


def test_one_architecture_of_two() -> None:
    found = reach({f"c/{X}/s": "+", f"c/{A}/s": "-"})
    assert only(found)["architecture"] == ((A,), (X,))
    assert found.axes[0].proof == f"cli/c/{X}/s:f/a:moves"
    assert (found.failed, found.tried, found.told) == (1, 2, True)


def test_one_config_of_two_on_both_architectures() -> None:
    found = reach({f"c/{X}/s": "+", f"k/{X}/s": "-", f"c/{A}/s": "+", f"k/{A}/s": "-"})
    assert only(found) == {
        "architecture": ((X, A), ()), "config": (("k",), ("c",)), "shape": (("s",), ()),
    }  # fmt: skip
    assert found.told


def test_what_differs_in_two_things_claims_neither() -> None:
    found = reach({f"k/{X}/s": "-", f"c/{A}/s": "+"})
    assert all(not axis.passing for axis in found.axes)
    assert (found.failed, found.tried, found.told) == (1, 2, False)


def test_a_value_that_stands_beside_no_failing_cell_is_not_told_by_its_axis() -> None:
    found = reach({f"k/{X}/s": "-", f"c/{X}/s": "+", f"m/{A}/s": "+"})
    config = found.axes[1]
    assert (config.failing, config.passing, config.tried) == (("k",), ("c",), 3)
    assert not found.told


def test_two_things_that_only_together_break_it_are_not_told_by_the_axes() -> None:
    found = reach({f"k/{X}/s": "-", f"c/{A}/s": "-", f"c/{X}/s": "+", f"k/{A}/s": "+"})
    assert (found.failed, found.tried, found.told) == (2, 4, False)


@pytest.mark.parametrize("sign", ["s", "e"])
def test_what_did_not_run_there_did_not_pass_there(sign: str) -> None:
    found = reach({f"c/{X}/s": sign, f"c/{A}/s": "-"})
    # The host's failure is a cause of its own, and comes last.
    assert (found.failed, found.tried, found.axes[0].passing) == (1, 1, ())


def test_a_case_that_fails_there_otherwise_did_not_pass_there() -> None:
    cells = (record(f"c/{X}/s", {"f/a:moves": "-"}), record(f"c/{A}/s", {"f/a:moves": "-"}))
    other = CaseResult(f"cli/c/{A}/s:f/a:moves", "f/a", "moves", Verdict.FAIL, "something else")
    run = Records(cells=(cells[0], CellRecord(**{**vars(cells[1]), "cases": (other,)})))
    assert reach_of(run, causes_of(run)[0]).tried == 1


def test_of_what_stands_there_only_when_it_fails_its_workload_is_the_proof() -> None:
    run = Records(
        cells=(
            record(f"c/{X}/s", {"f/a:hang": "-"}),
            record(f"c/{A}/s", {"f/a:moves": "+"}),
            record(f"k/{X}/s", {"f/b:moves": "+"}),
        )
    )
    found = reach_of(run, causes_of(run)[0])
    assert found.axes[0].passing == (A,)
    assert found.tried == 2  # f/a did not run with the other config


def test_builds_have_no_shape() -> None:
    builds = tuple(
        BuildRecord(f"cli/{config}/{X}", "cli", config, X, verdict, "mm/a.c:7: no", 1.0, False, "")
        for config, verdict in (("c", Verdict.PASS), ("nouffd", Verdict.FAIL))
    )
    run = Records(builds=builds)
    found = reach_of(run, causes_of(run)[0])
    assert only(found) == {"architecture": ((X,), ()), "config": (("nouffd",), ("c",))}
