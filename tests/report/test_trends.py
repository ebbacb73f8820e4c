# SPDX-License-Identifier: GPL-2.0-only
"""Measurements over runs: what changed is drawn first, what stands still is a line in a table."""

import math
import random

from lxml import html as lxml_html

from orchestrator.model.digest import RunDigest
from orchestrator.report import trends


def night(n: int) -> RunDigest:
    began = f"2026-{8 + n // 28:02d}-{n % 28 + 1:02d}T01:00:00Z"
    return RunDigest(f"r{n}", began, began, 1, 0, "nightly", "v6.12", 1, 0, 0, 0, 0, folder=f"r{n}")


def found(count: int = 60):
    """Newest first: one figure that falls by a fifth at the 40th run, and one that stays."""
    draw = random.Random(1)
    told = []
    for n in range(count):
        level = 100.0 if n < 40 else 80.0
        told.append((night(n), {"default/x86_64/small kvm": {
            "w:a copy (MB/s)": level * math.exp(draw.gauss(0, 0.02)),
            "w:b stay (us)": 5 * math.exp(draw.gauss(0, 0.05)),
        }}))  # fmt: skip
    return told[::-1]


def test_a_change_is_found_and_said_in_words():
    series, left = trends.all_series(found())
    assert [(one.name, one.points) for one in series] == [
        ("w:a copy (MB/s)", (40,)), ("w:b stay (us)", ())
    ]  # fmt: skip
    assert left == 0
    (change,) = trends.trend(series[0]).changes
    assert change.run.id == "r40"
    assert change.words.startswith("100")
    assert "(-20 %)" in change.words


def test_the_page_draws_changes_first():
    document = lxml_html.document_fromstring(trends.render(trends.all_series(found())[0]))
    (drawn,) = document.xpath("//*[@id='changed']//figure")
    assert "w:a copy" in drawn.text_content()
    assert drawn.xpath(".//figcaption/a/@href") == ["r40/index.html"]
    assert len(drawn.xpath(".//*[name()='circle']")) == 60
    assert len(drawn.xpath(".//*[name()='rect'][@class='inner']")) == 2
    rows = document.xpath("//*[@id='steady']//tbody/tr")
    assert [row[0].text_content() for row in rows] == ["w:b stay (us)"]


def test_all_that_is_drawn_lies_within_the_plot():
    wild = [(night(n), {"p": {"w:a x": value}}) for n, value in
            enumerate([1e-9, 1e12, 3, 3, 3, 3, 0.0, -4.0, 1e300, 3])]  # fmt: skip
    flat = [(night(n), {"p": {"w:a y": 0.0}}) for n in range(9)]
    for known in (wild, flat, found(4)):
        for one in trends.all_series(known[::-1])[0]:
            plot = trends.trend(one)
            for x, y in plot.dots:
                assert trends.LEFT <= x <= trends.WIDTH
                assert 0 <= y <= trends.HEIGHT
            for band in plot.bands:
                assert band.outer[0] <= band.inner[0] <= band.y <= band.inner[1] <= band.outer[1]
            assert trends.render([one])


def test_few_runs_tell_nothing_and_time_is_kept():
    assert trends.all_series(found(3)) == ((), 0)
    assert trends.all_series(found(5), seconds=-1) == ((), 2)
    assert trends.all_series([]) == ((), 0)
