# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel that was built anew differs by: sources, compiler, symbols, or none of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.results import BuildRecord
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.runner.rebuilt import what_differs

BUILD = Build("k/c/x86_64", KernelSpec("k", "path:/x"), ConfigSpec("c", ()), "x86_64")
CONFIG = "CONFIG_SWAP=y\nCONFIG_NR_CPUS=8\n# CONFIG_KSM is not set\n"


@pytest.fixture
def then(tmp_path: Path) -> BuildRecord:
    (tmp_path / "then.config").write_text(CONFIG)
    return BuildRecord("k/c/x86_64", "k", "c", "x86_64", Verdict.PASS, "", 1.0, False, "sha",
                       kernel_config="then.config", compiler="gcc 12.2.0")  # fmt: skip


@pytest.fixture
def now(tmp_path: Path) -> BuildResult:
    config = tmp_path / "now.config"
    config.write_text(CONFIG)
    return BuildResult(BUILD, Verdict.PASS, "", 1.0, False, kernel_config=config,
                       compiler="gcc 12.2.0")  # fmt: skip


def test_nothing_that_is_known(tmp_path: Path, then: BuildRecord, now: BuildResult) -> None:
    said = what_differs(then, tmp_path, "t" * 40, now, "t" * 40)
    assert said.startswith("sources, compiler and .config are as they were")


def test_all_that_is_known(tmp_path: Path, then: BuildRecord, now: BuildResult) -> None:
    assert now.kernel_config is not None
    now.kernel_config.write_text("CONFIG_KSM=y\nCONFIG_NR_CPUS=8\n")
    said = what_differs(
        then, tmp_path, "1" * 40, replace(now, compiler="gcc 13.1.0"), "2" * 40
    )  # fmt: skip
    assert said == (
        f"sources (tree {'1' * 12} then, {'2' * 12} now), "
        "compiler (gcc 12.2.0 then, gcc 13.1.0 now), .config (KSM, SWAP)"
    )


def test_many_symbols_are_counted(tmp_path: Path, then: BuildRecord, now: BuildResult) -> None:
    assert now.kernel_config is not None
    now.kernel_config.write_text(CONFIG + "".join(f"CONFIG_A{n}=y\n" for n in range(7)))
    said = what_differs(then, tmp_path, "t", now, "t")
    assert said == ".config (A0, A1, A2, A3, A4 and 2 more)"


def test_what_is_gone_is_said_to_be(tmp_path: Path, then: BuildRecord, now: BuildResult) -> None:
    said = what_differs(replace(then, kernel_config="gone"), tmp_path, "", now, "t")
    assert said.count("perhaps") == 2
