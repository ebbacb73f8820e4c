# SPDX-License-Identifier: GPL-2.0-only
"""requirements.lock against pyproject.toml: complete, for each Python and machine, and portable."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = next(up for up in Path(__file__).resolve().parents if (up / "pyproject.toml").exists())
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAMED = [
    Requirement(text)
    for text in (
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
        *PROJECT["build-system"]["requires"],
    )
]


def pins() -> dict[str, list[Requirement]]:
    found = defaultdict(list)
    for line in LOCK.replace("\\\n", " ").splitlines():
        if line and not line.lstrip().startswith("#"):
            pin = Requirement(line.partition(" --hash=")[0])
            found[canonicalize_name(pin.name)].append(pin)
    return found


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_each_requirement_has_one_version_within_its_bounds(python: str, machine: str) -> None:
    host = {
        "python_version": python, "python_full_version": f"{python}.0",
        "platform_machine": machine, "sys_platform": "linux", "platform_system": "Linux",
        "os_name": "posix", "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }  # fmt: skip
    locked = pins()
    for wanted in NAMED:
        if wanted.marker is not None and not wanted.marker.evaluate(host):
            continue
        here = [
            pin for pin in locked[canonicalize_name(wanted.name)]
            if pin.marker is None or pin.marker.evaluate(host)
        ]  # fmt: skip
        assert len(here) == 1, f"{wanted.name}: run make lock"
        (version,) = here[0].specifier
        assert version.operator == "=="
        assert wanted.specifier.contains(version.version), f"{wanted}: run make lock"


@pytest.mark.parametrize("wanted", NAMED, ids=lambda wanted: wanted.name)
def test_each_requirement_has_both_bounds(wanted: Requirement) -> None:
    assert sorted(bound.operator for bound in wanted.specifier) == ["<", ">="]


def test_the_lock_holds_names_versions_and_hashes_only() -> None:
    for line in LOCK.replace("\\\n", " ").splitlines():
        if line and not line.lstrip().startswith("#"):
            assert re.fullmatch(
                r"[\w.-]+==[\w.]+( ; [^/\\]+?)?( +--hash=sha256:[0-9a-f]{64})+", line
            )
        else:
            assert "://" not in line
