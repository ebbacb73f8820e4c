# SPDX-License-Identifier: GPL-2.0-only
"""Whether lab.yaml speaks of a case before anything has run."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.names import CellId
from orchestrator.model.spec import Expectation, KnownIssue, LabConfig
from orchestrator.plan.foreseen import foresees

PLACE = CellId("k", "mine", "arm64", "small")


def lab(expect: Expectation | None = None, known: KnownIssue | None = None) -> LabConfig:
    return LabConfig(
        Path("lab.yaml"), (), (), (), (), (),
        expectations=(expect,) if expect else (), known_issues=(known,) if known else (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("config", "foreseen"),
    [
        (lab(), False),
        (lab(Expectation("*", "*", "config:config", "")), True),
        (lab(Expectation("k", "m*", "config:*", "CONFIG_A")), True),
        (lab(Expectation("other", "*", "config:config", "")), False),
        (lab(Expectation("*", "*", "boot:*", "")), False),
        (lab(known=KnownIssue("why", case="config")), True),
        (lab(known=KnownIssue("why", case="*", workload="config", kernels=("= 6.1",))), True),
        (lab(known=KnownIssue("why", case="config", shape="other")), True),
        (lab(known=KnownIssue("why", case="config", arch="x86_64")), False),
        (lab(known=KnownIssue("why", case="*", workload="uffd-move/swap")), False),
        (lab(known=KnownIssue("why", title="a report")), False),
    ],
)
def test_what_names_the_case(config: LabConfig, foreseen: bool) -> None:
    assert foresees(config, PLACE, "config", "config") is foreseen
