# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with a file, all of it and in order."""

from __future__ import annotations

from pathlib import Path

from plan_files import change, problems


def test_all_problems_at_once_and_in_order(lab: Path) -> None:
    change(lab, "source: debian:6.12", "sorce: debian:6.12")
    change(lab, "cpus: 4", "cpus: x")
    change(lab, "configs: [default]", "configs: [defualt]")
    change(lab.parent / "guest-tests/move/manifest.yaml", "2m", "2y")
    assert [p.split(": ")[0] for p in problems(lab)] == [
        "lab.yaml:5",
        "lab.yaml:18",
        "lab.yaml:28",
        "guest-tests/move/manifest.yaml:6",
    ]
