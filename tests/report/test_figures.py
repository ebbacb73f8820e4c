# SPDX-License-Identifier: GPL-2.0-only
"""Measurements as people read them."""

import pytest

from orchestrator.judge.compare import FigureChange
from orchestrator.judge.noise import Noise
from orchestrator.model.evidence import Measurement
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.report import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(1131760.389, "1,131,760"), (1000, "1,000"), (812.54, "812.5"), (12.345, "12.35"),
     (1.0049, "1.005"), (0.12345, "0.1235"), (0.0042, "0.0042"), (0, "0"), (-51.26, "-51.26"),
     (1e-9, "0")],
)  # fmt: skip
def test_numbers_have_four_digits_and_no_exponent(value, text):
    assert figures.number(value) == text


def test_percents():
    assert [figures.percent(v) for v in (2.14, -51.2, 0, 1234.5)] == [
        "2.1 %", "-51 %", "0.0 %", "1,234 %"]  # fmt: skip


def test_a_spread_is_no_line_of_its_own():
    found = figures.figures([
        Measurement("move", 800.0, "MB/s"),
        Measurement("move-spread", 3.5, "%"),
        Measurement("lonely-spread", 9.0, "%"),
        Measurement("wing-spread", 2.0, "m"),
    ])  # fmt: skip
    assert [(f.name, f.spread) for f in found] == [
        ("move", 3.5), ("lonely-spread", None), ("wing-spread", None)]  # fmt: skip
    assert found[0].spread_text == "± 1.8 %"


def case(*measurements):
    return CaseResult("k/c/a/s:w/x:y", "w/x", "y", Verdict.PASS, measurements=measurements)


def test_one_table_for_what_was_measured_in_several_ways():
    table = figures.side_by_side([
        case(Measurement("clock-cost", 1.0, "us")),
        case(Measurement("move-base-throughput", 800.0, "MB/s")),
        case(Measurement("copy-base-throughput", 200.0, "MB/s"),
             Measurement("copy-base-throughput-spread", 4.0, "%")),
        case(Measurement("move-base-rate", 10.0, "x"), Measurement("copy-base-rate", 5.0, "y")),
        case(Measurement("mremap-base-throughput", 100.0, "MB/s")),
    ])  # fmt: skip
    assert table is not None
    assert table.columns == ("move", "copy", "mremap")
    assert [row[:2] for row in table.rows] == [
        ("base-throughput", "MB/s")
    ]  # units differ elsewhere
    fields = table.rows[0][2]
    assert [field.ratio for field in fields] == ["", "0.25x", "0.12x"]
    assert fields[1].figure is not None
    assert fields[1].figure.spread == 4.0


def test_no_table_without_two_ways():
    assert figures.side_by_side([case(Measurement("move-throughput", 1.0, "MB/s"))]) is None
    assert figures.side_by_side([case(Measurement("", 1.0, "MB/s"))]) is None


def change(judged, noise=None):
    return FigureChange("k", "n", "us", 1.0, 2.0, 100.0, judged, noise, (None, None))


def test_a_comparison_in_a_sentence():
    found = [change("worse"), change("noise"), change("same"), change("unknown")]
    assert figures.change_counts(found) == (
        "4 measurements on both sides: 1 worse, 2 within noise, "
        "1 of which too few runs are known to tell"
    )
    assert figures.change_counts([change("noise")]) == (
        "1 measurement on both sides: none changed, 1 within noise"
    )
    assert [c.judged for c in figures.beyond_noise(found)] == ["worse"]
    assert figures.noise_text(change("worse", Noise(0.02, 9, 8))) == "2.0 % in 9 runs"
    assert figures.noise_text(change("worse")) == "unknown"
