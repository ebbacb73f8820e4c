# SPDX-License-Identifier: GPL-2.0-only
"""Curves as an SVG file for a page: small charts above each other, one a quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

#: User units of a chart; text of 12 can be read where a page shows it 400 wide.
WIDTH, HEIGHT = 480, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 12, 26, 24

Points = Sequence[tuple[float, float]]


def curves(charts: Mapping[str, Points], below: str, *, doubling: bool = False) -> str:
    """An SVG of charts, by their titles; each begins at zero, and says its least and greatest.

    :param below: what the horizontal axis counts.
    :param doubling: that axis goes by factors; else by steps.
    """
    shown = {title: points for title, points in charts.items() if points}
    height = HEIGHT * max(1, len(shown))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, (title, points) in enumerate(shown.items()):
        parts += _chart(title, points, below, number * HEIGHT, doubling)
    return "\n".join([*parts, "</svg>", ""])


def _chart(title: str, points: Points, below: str, top: float, doubling: bool) -> list[str]:
    def across(x: float) -> float:
        return math.log2(x) if doubling else x

    left, right = across(points[0][0]), across(points[-1][0])
    most = max((y for _, y in points), default=0.0) or 1.0
    floor = top + HEIGHT - _BOTTOM
    step = (WIDTH - _LEFT - _RIGHT) / ((right - left) or 1.0)
    places = [
        (_LEFT + (across(x) - left) * step, floor - y / most * (HEIGHT - _TOP - _BOTTOM))
        for x, y in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    found = [
        f'<text x="{_LEFT}" y="{top + 16:.0f}" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{_LEFT} {top + _TOP:.0f}V{floor:.0f}H{WIDTH - _RIGHT}" fill="none" '
        f'stroke="#888"/>',
        f'<polyline points="{line}" fill="none" stroke="#0969da" stroke-width="2"/>',
    ]
    for value, at in ((most, top + _TOP), (0.0, floor)):
        found.append(
            f'<text x="{_LEFT - 6}" y="{at + 4:.0f}" text-anchor="end">{number(value)}</text>'
        )
    ends = (points[0], points[-1])
    marked = points if len(points) <= 8 else ends
    for (x, y), (px, py) in zip(points, places, strict=True):
        if (x, y) in marked:
            anchor = "end" if px > WIDTH - 40 else "middle" if px > _LEFT + 20 else "start"
            found += [
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="#0969da"/>',
                f'<text x="{px:.1f}" y="{floor + 16:.0f}" text-anchor="{anchor}">'
                f"{number(x)}{f' {escape(below)}' if (x, y) == ends[1] else ''}</text>",
            ]
    return found


def number(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
