# SPDX-License-Identifier: GPL-2.0-only
"""What make says of selftests that were not built, and what a collection's settings say.  Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from orchestrator.workload import target_libs

_FAILED = re.compile(r"^(?:make(?:\[\d+\])?|[^\s:]+:\d+): \*\*\* (?P<text>.*)$")
_TARGET = re.compile(r"\[(?:[^\]:]*:\d+: )?(?P<target>[^\]]+)\] Error \d+")
_UNMADE = re.compile(r"No rule to make target .*, needed by [`'](?P<target>[^']+)'")
_ERROR = re.compile(r"error: |undefined reference to|cannot find -l")
_NO_LIBRARY = re.compile(r"cannot find -l(?::lib)?(?P<name>[\w.+-]+)")
_NO_HEADER = re.compile(r"fatal error: (?P<name>[\w./+-]+): No such file")


def failures(log: str) -> dict[str, str]:
    """Why programs were not built, by name: the first error of each target in make's output.

    :param log: of ``make -k -O``: a target's output stands together and ends with make's own line.
    """
    found: dict[str, str] = {}
    said: list[str] = []
    for line in log.splitlines():
        stop = _FAILED.match(line)
        if stop is None:
            said.append(line)
            continue
        target = _TARGET.search(stop["text"]) or _UNMADE.search(stop["text"])
        if target is not None:
            reason = next((one for one in said if _ERROR.search(one)), stop["text"])
            found.setdefault(Path(target["target"]).name, reason.strip())
        said = []
    return found


def missing_library(reason: str, in_tree: Callable[[str], bool]) -> str:
    """The library of the host's that a program lacks; empty where the tree is to blame."""
    library = _NO_LIBRARY.search(reason)
    if library is not None:
        return f"lib{library['name'].removesuffix('.a')}"
    header = _NO_HEADER.search(reason)
    if header is not None and not in_tree(header["name"]):
        for known in target_libs.LIBRARIES:
            if header["name"] in known.headers:
                return f"lib{known.name}"
        return header["name"]
    return ""


def first_failure(log: str) -> str:
    """The first error of a log, else what make stopped at."""
    lines = log.splitlines()
    errors = (line for line in lines if _ERROR.search(line))
    stops = (stop["text"] for line in lines if (stop := _FAILED.match(line)))
    return next(errors, next(stops, "make does not say why")).strip()


def parse_settings(text: str) -> float | None:
    """The time limit of a collection's ``settings`` file in seconds (0: none); None without one."""
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign and name.strip() == "timeout":
            try:
                return max(0.0, float(value.strip()))
            except ValueError:
                return None
    return None
