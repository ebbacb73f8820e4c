# SPDX-License-Identifier: GPL-2.0-only
"""Known issues and allowed messages for a log by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.plan.known_file import read_known_file
from orchestrator.plan.problems import ConfigError


def read(folder: Path, text: str):
    (folder / "known.yaml").write_text(text)
    return read_known_file(folder / "known.yaml")


def test_known_issues_alone(tmp_path: Path) -> None:
    issues, allows = read(
        tmp_path,
        "known_issues:\n"
        "  - title: 'BUG: Bad rss-counter'\n"
        "    kernels: '>= 6.8, < 6.13'\n"
        "    reason: known here\n"
        "  - {signature: 0123456789abcdef, workload: race/x, reason: elsewhere}\n"
        "messages:\n  allows: ['hung task']\n",
    )
    assert [(i.title, i.signature, i.kernels, i.workload) for i in issues] == [
        ("BUG: Bad rss-counter", "", (">= 6.8, < 6.13",), "*"),
        ("", "0123456789abcdef", (), "race/x"),
    ]
    assert allows == ("hung task",)


def test_a_whole_lab_yaml_is_one() -> None:
    issues, _ = read_known_file(HOME / "lab.yaml")
    assert all(issue.reason for issue in issues)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("profiles: {}\n", "expected known_issues or messages"),
        ("- a\n", "expected a mapping"),
        ("known_issues:\n  - {reason: x}\n", "expected a signature, a title or a case"),
        ("known_issues:\n  - {title: '(', reason: x}\n", "bad regular expression"),
        ("known_issues:\n  - {titel: x, reason: x}\n", "unknown key"),
        ("known_issues:\n  - {title: x}\n", "is missing"),
        ("known_issues:\n  - {title: x, reason: y, kernels: about 6}\n", "kernels"),
        ("messages: {allows: ['.*']}\n", "matches everything"),
        ("a: [\n", "YAML syntax"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        read(tmp_path, text)
    assert "known.yaml" in caught.value.message


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_known_file(tmp_path / "none")
