# SPDX-License-Identifier: GPL-2.0-only
"""Values beside a run's results: written in one step, and read only where they fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.errors import HostError
from orchestrator.model.mutants import MutantCount
from orchestrator.results import later

VALUES = (MutantCount(1, 2), MutantCount(0, 3, patch=1))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    assert later.read(path, "counts", MutantCount) == ()
    later.write(path, "counts", VALUES[:1])
    later.write(path, "counts", VALUES)
    assert later.read(path, "counts", MutantCount) == VALUES
    assert [one.name for one in tmp_path.iterdir()] == ["told.json"]
    assert later.read(path, "others", MutantCount) == ()


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2, "counts": []}', '{"schema": 1}', "\xff"])
def test_a_file_that_does_not_fit_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "told.json").write_text(text)
    assert later.read(tmp_path / "told.json", "counts", MutantCount) == ()


def test_where_it_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot write .*told\.json"):
        later.write(tmp_path / "gone" / "told.json", "counts", VALUES)
