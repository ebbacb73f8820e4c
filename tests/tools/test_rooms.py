# SPDX-License-Identifier: GPL-2.0-only
"""The picture of the rooms and the table of modules are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest
import rooms


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def house(tmp_path: Path) -> tuple[rooms.Module, ...]:
    write(tmp_path, "__init__.py", "")
    write(tmp_path, "ground/value.py", '"""Values.  More\nof it.\n\nAnd more."""\n')
    write(tmp_path, "middle/work.py", "from orchestrator.ground.value import x\n")
    write(
        tmp_path, "top.py",
        "def f():\n    from orchestrator.ground import value\n"
        "    from orchestrator import middle\n",
    )  # fmt: skip
    return rooms.read_modules(tmp_path)


def test_the_picture_and_the_table_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    status = rooms.main(["--check"])
    assert status == 0, capsys.readouterr().out


def test_imports_inside_functions_count(house: tuple[rooms.Module, ...]) -> None:
    edges = rooms.edges_of(house)
    assert edges == {"ground": set(), "middle": {"ground"}, "top": {"ground", "middle"}}
    assert rooms.floors_of(edges) == {"ground": 0, "middle": 1, "top": 2}


def test_an_arrow_that_others_imply_is_not_drawn(house: tuple[rooms.Module, ...]) -> None:
    assert rooms.direct(rooms.edges_of(house)) == [("middle", "ground"), ("top", "middle")]
    assert rooms.draw(house).count('<path d="M') == 3  # two arrows, and their head


def test_the_table_tells_each_module_by_its_first_sentence(
    house: tuple[rooms.Module, ...],
) -> None:
    page = rooms.with_table(f"before {rooms.BEGIN} old {rooms.END} after", house)
    assert page.startswith("before ")
    assert page.endswith(" after")
    assert "old" not in page
    assert "| `ground/value.py` | Values. More of it. |" in page
    assert "**`top.py`** imports ground, middle." in page


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="a circle among a, b"):
        rooms.floors_of({"a": {"b"}, "b": {"a"}, "c": set()})
