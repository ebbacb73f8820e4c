# SPDX-License-Identifier: GPL-2.0-only
"""tools/peers_kconfig.py: how reasons are read; all of it where KCONFIGLIB names a folder."""

from __future__ import annotations

import os
from pathlib import Path

import peers_kconfig as peers
import pytest

from orchestrator.kernel.build import kdeps
from orchestrator.model.errors import UserError

TREE = """
config MODULES
	bool "Modules"
	modules

config BASE
	tristate "Base"

config USER
	tristate "User"
	depends on BASE && (EXTRA || !BASE)

config EXTRA
	bool "Extra"
	select HIDDEN if BASE

config HIDDEN
	bool

config NUMBER
	int "Number"
	range 1 9

config SHOWN
	bool "Shown" if NOWHERE
	default y

choice
	prompt "One of"

config ONE
	bool "One"

config TWO
	bool "Two"

endchoice
"""


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("needs A && (B || C) (mm/Kconfig)", ["A", "(B || C)"]),
        ("needs A (x); needs !B && C=1 (y)", ["A", "!B", "C=1"]),
        ("A is m, so m at most (x)", ["A"]),
        ("needs A && B, and (C || !C) and D are m, so m at most (x)", ["A", "B", "(C || !C)", "D"]),
        ("depends on m, so m at most (x)", ["m"]),
        ("perhaps needs $(a,b && c) (x)", ["$(a,b && c)"]),
        ("overridden by a select, a choice or a default (x)", []),
        ("this kernel has no such symbol", []),
    ],
)
def test_what_a_reason_names(reason: str, named: list[str]) -> None:
    assert peers._named(reason) == named


def test_without_kconfiglib(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no kconfiglib\.py there"):
        peers.measure(tmp_path, tmp_path)


@pytest.mark.skipif("KCONFIGLIB" not in os.environ, reason="KCONFIGLIB names no folder")
def test_a_small_tree(tmp_path: Path) -> None:
    (tmp_path / "Kconfig").write_text(TREE)
    install = Path(os.environ["KCONFIGLIB"])
    asked, right, wrong = peers.measure(tmp_path, install)
    assert wrong == []
    assert asked == right
    assert set(asked) == set(peers.QUESTIONS)
    nonsense = dict.fromkeys(("BASE", "USER", "EXTRA", "HIDDEN"), "needs SHOWN (Kconfig)")
    asked, right, wrong = peers.measure(
        tmp_path, install, "x86_64",
        lambda tree, arch, missed, config: {
            **kdeps.explain(tree, arch, missed, config), **nonsense,
        },
    )  # fmt: skip
    assert asked["unmet"] > right["unmet"] == 0
    assert "alloff: unmet: USER is n, asked for y: needs SHOWN (Kconfig)" in wrong
