# SPDX-License-Identifier: GPL-2.0-only
"""A kept build found by what came out of it: the very image that a run booted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from orchestrator.host.cache.use import looking
from orchestrator.model.values import Build, BuildResult, ConfigMismatch, Verdict


def find_image(wanted: Build, sha256: str, cache: Path) -> BuildResult | None:
    """Give the kept build whose image has this checksum, as a build of ``wanted``; None: trimmed.

    Whatever the sources, the config or the compiler are by now, this is the kernel that ran.
    """
    if not sha256:
        return None
    with looking(cache):  # trimming takes it before, or sees that it was used
        for record in sorted((cache / "builds").glob("*/build.json")):
            found = _read(wanted, record, sha256)
            if found is not None:
                record.touch()
                return found
    return None


def _read(wanted: Build, record: Path, sha256: str) -> BuildResult | None:
    folder = record.parent
    try:
        kept = json.loads(record.read_text())
        if kept["image_sha256"] != sha256 or not (folder / "config").is_file():
            return None
        if hashlib.sha256((folder / "image").read_bytes()).hexdigest() != sha256:
            return None
        mismatches = tuple(ConfigMismatch(**entry) for entry in kept["mismatches"])
        command = str(kept["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return BuildResult(
        build=wanted,
        verdict=Verdict.PASS,
        reason="",
        seconds=0.0,
        cached=True,
        image=folder / "image",
        image_sha256=sha256,
        kernel_config=folder / "config",
        vmlinux=folder / "vmlinux",
        log=folder / "build.log",
        command=command,
        mismatches=mismatches,
    )
