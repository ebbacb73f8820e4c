# SPDX-License-Identifier: GPL-2.0-only
"""tools/judged_pages.py: small pages looked at in Chromium, and one that is not as promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import judged_pages as program
import pytest
from chromium import PROGRAM, Chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="no chromium here"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[program.Page]:
    return program.make(tmp_path_factory.mktemp("pages") / "shown", cases=202, nights=6)


def test_small_pages_are_as_promised(browser: Chromium, made: list[program.Page]) -> None:
    assert len(made) == len(program.NAMES)
    rows = [program.look(browser, page, 390, dark=False) for page in made]
    assert [row.held for row in rows] == [True] * 3, rows
    assert rows[0].cells[-1] == "2 shown"
    assert all(len(row.cells) == len(program.HEAD) for row in rows)


@pytest.mark.parametrize(
    "wrong",
    [
        '<p style="width: 500px">wide</p>',
        '<img src="http://127.0.0.1:9/x.png" alt="">',
        "<button tabindex=-1>no</button><details><summary tabindex=0>x</summary></details>"
        "<script>addEventListener('keydown', e => e.preventDefault())</script>",
        "<script>throw new Error('x')</script>",
    ],
)
def test_what_is_not_as_promised_does_not_hold(
    browser: Chromium, made: list[program.Page], tmp_path: Path, wrong: str
) -> None:
    page = tmp_path / "page.html"
    text = made[2].path.read_text()
    page.write_text(text.replace("</body>", f"{wrong}</body>"))
    assert program.look(browser, replace(made[2], path=page), 390, dark=True).held is False
