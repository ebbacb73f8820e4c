# SPDX-License-Identifier: GPL-2.0-only
"""Programs that a guest kept, read from what it printed."""

from __future__ import annotations

import pytest

from orchestrator import HOME
from orchestrator.evidence.kept import read_kept
from orchestrator.model.finds import Kept, parse_pcs, pcs_text

FIRST = "KEPT swarm=files from=drawn new=2 pcs=ffffffff81234567+10+1f steps=0 mmap at=1 n=2;0 exit"
SECOND = "KEPT swarm=everything from=kept new=1 pcs=ffff800080012340 steps=1 read at=3 spot=0"
PCS = frozenset({0xFFFFFFFF81234567, 0xFFFFFFFF81234577, 0xFFFFFFFF81234596})


def test_kept_lines_stand_between_those_of_ktap() -> None:
    text = f"KTAP version 1\n{FIRST}\n# MEASURE name=x\n{SECOND}\nok 1 files\n"
    assert read_kept(text) == [
        Kept(("0 mmap at=1 n=2", "0 exit"), PCS, "files"),
        Kept(("1 read at=3 spot=0",), frozenset({0xFFFF800080012340}), "everything", True),
    ]


@pytest.mark.parametrize(
    "line",
    [
        FIRST.replace("new=2", "new=4"),
        FIRST.replace("new=2", "new=0"),
        FIRST.replace("+10", "+0"),  # a place twice
        FIRST.replace("pcs=ffffffff81234567", "pcs=ffffffffffffffff"),  # beyond the last address
        FIRST.replace(";0 exit", ";exit"),
        FIRST.replace(" steps=", " steps=;"),
        FIRST.replace("pcs=ffff", "pcs=0xffff"),
        f"# {FIRST}",
        FIRST[:40],
    ],
)
def test_what_is_none_is_left_out(line: str) -> None:
    kept = line == FIRST.replace(" steps=", " steps=;")  # an empty step is no step, and no harm
    assert len(read_kept(f"{line}\n")) == kept


def test_a_line_that_was_cut_is_none() -> None:
    assert len(read_kept(f"{FIRST}\n{FIRST}")) == 1


def test_places_as_text() -> None:
    assert pcs_text(PCS) == "ffffffff81234567+10+1f"
    assert parse_pcs(pcs_text(PCS)) == PCS
    assert pcs_text(()) == ""
    with pytest.raises(ValueError, match="invalid literal"):
        parse_pcs("12+x")


def test_what_a_guest_printed() -> None:
    """Of explore/steady on 6.12.117, x86_64, config explore."""
    text = (HOME / "tests" / "fuzz" / "corpora" / "kept" / "guest").read_text()
    found = read_kept(text)
    assert len(found) == len(text.splitlines()) == 3
    assert [(len(one.pcs), one.swarm, one.made) for one in found] == [
        (180, "mappings", True),
        (24, "mappings", True),
        (4, "advice", True),
    ]
    assert all(0xFFFFFFFF81000000 < pc < 0xFFFFFFFF82000000 for one in found for pc in one.pcs)
    assert all(len(one.program) > 10 for one in found)
