# SPDX-License-Identifier: GPL-2.0-only
"""tools/curve.py: charts that say what they show, and stay inside their picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from curve import HEIGHT, WIDTH, curves, number

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "points", [[(1, 3.0)], [(1, 0.0), (2, 0.0)], [(1, 5.0), (4, 1.0), (16, 9.5), (256, 2.0)]]
)
@pytest.mark.parametrize("doubling", [True, False])
def test_every_point_is_inside(points: list[tuple[float, float]], doubling: bool) -> None:
    text = curves({"a & b": points, "none": [], "second": points}, "runs", doubling=doubling)
    root = ElementTree.fromstring(text)
    assert root.get("viewBox") == f"0 0 {WIDTH} {2 * HEIGHT}"
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == 2
    for place, line in enumerate(lines):
        found = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
        assert len(found) == len(points)
        assert all(0 < x < WIDTH for x, _ in found)
        assert all(place * HEIGHT < y < (place + 1) * HEIGHT for _, y in found)
    texts = [node.text for node in root.iter(f"{SVG}text")]
    assert texts.count("a & b") == 1
    assert f"{number(points[-1][0])} runs" in texts


def test_larger_is_higher_and_nothing_is_the_floor() -> None:
    root = ElementTree.fromstring(curves({"a": [(0, 0.0), (1, 5.0), (2, 10.0)]}, "x"))
    (line,) = root.findall(f"{SVG}polyline")
    x, y = zip(*(map(float, p.split(",")) for p in line.get("points", "").split()), strict=True)
    assert y[0] > y[1] > y[2]
    assert y[0] - y[1] == pytest.approx(y[1] - y[2])
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])


@pytest.mark.parametrize(
    ("value", "told"), [(0.0, "0"), (1234.5, "1234"), (12.34, "12.3"), (0.01234, "0.0123")]
)
def test_numbers_are_short(value: float, told: str) -> None:
    assert number(value) == told
