# SPDX-License-Identifier: GPL-2.0-only
"""What must hold after an injection, whatever it was: judged by what the lab left and said."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaos_harm import members
from chaos_table import Injection

#: How long a lab that was killed has until its last process is gone (s).
GRACE = 8.0
#: What no two runs have in common, though they came to the same.  A case's console is that of the
#: guest that it ran in, which is another one where the first was lost.
_OF_A_RUN = {
    "seconds", "started", "finished", "id_of_run", "command", "rerun", "cpu_seconds", "steps",
    "boot_seconds", "restore_seconds", "cached", "samples", "counters", "measurements", "notes",
    "capsule", "log", "qemu_command", "console",
}  # fmt: skip


def without_times(value: Any) -> Any:
    """Results without what differs between two runs that came to the same."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in _OF_A_RUN}
    if isinstance(value, list):
        return [without_times(part) for part in value]
    return value


def same_results(found: dict[str, Any], right: dict[str, Any]) -> str:
    """What differs first between two runs' results beyond times; empty where nothing does."""
    for part in ("kernels", "builds", "cells", "problems"):
        one, other = without_times(found.get(part)), without_times(right.get(part))
        if one != other:
            return f"{part}: {_first_difference(one, other)}"
    one, other = found["run"]["exit_status"], right["run"]["exit_status"]
    return "" if one == other else f"exit status {one}, not {other}"


def _first_difference(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                return f"{key}: {_first_difference(one.get(key), other.get(key))}"
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{len(one)} entries, not {len(other)}"
        for left, right in zip(one, other, strict=True):
            if left != right:
                return _first_difference(left, right)
    return f"{str(one)[:80]!r}, not {str(other)[:80]!r}"


def orphans(group: Path) -> list[str]:
    """Processes that are still there once they have had their time to go."""
    until = time.monotonic() + GRACE
    while (left := list(members(group))) and time.monotonic() < until:
        time.sleep(0.1)
    return [f"{pid} {words[0]}" for pid, words in left]


def held_locks(cache: Path, since: float) -> Iterator[Path]:
    """Locks of a cache that somebody holds; only such files as were written since (epoch s)."""
    patterns = ("locks/**/*", "*/*.lock", "obj/*/.lab-lock", "trees/*.gate")
    for path in (path for pattern in patterns for path in cache.glob(pattern)):
        with suppress(OSError):
            if not path.is_file() or path.stat().st_mtime < since:
                continue
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield path


def leftovers(cache: Path, tmp: Path) -> list[str]:
    """Scratch that no lab is at work with any more, after one that ended in good order."""
    found = [*cache.glob("tmp/*"), *cache.glob("*/*.new")]
    return [str(path) for path in (*found, *tmp.glob("lab-*"))]


def half_written(run: Path) -> str:
    """What of a run's folder is neither whole nor away; empty where all is as it should be."""
    results = run / "results.json"
    if not results.is_file():
        return ""
    try:
        told = json.loads(results.read_text())
    except ValueError as error:
        return f"results.json: {error}"
    if told["run"]["finished"] and told["run"]["exit_status"] == 130 and not told["cells"]:
        return ""
    if not told["run"]["finished"] and told["run"]["exit_status"] != 130:
        return "a run without an end has another exit status than 130"
    return ""


#: What stands for an exit status where there was none that tells anything.
NOTHING_THERE, NO_END, NEVER_CAME = -99, -98, -97
_NO_STATUS = {
    NOTHING_THERE: "there was nothing to damage",
    NO_END: "it did not end",
    NEVER_CAME: "its moment never came",
}


def wrong_end(entry: Injection, status: int, out: str) -> str:
    """What is wrong with how the harmed lab ended and what it said; empty where nothing is."""
    if status in _NO_STATUS:
        return _NO_STATUS[status]
    if "this is a bug of the lab" in out or "Traceback (most recent" in out:
        line = next(x for x in out.splitlines() if "unexpected" in x or "Traceback" in x)
        return f"ended as a bug of the lab's: {line[:120]}"
    if status not in entry.status:
        right = " or ".join(map(str, entry.status))
        return f"exit status {status}, not {right}"
    if entry.told and entry.told.lower() not in out.lower():
        return f"it does not say {entry.told!r}"
    return ""
