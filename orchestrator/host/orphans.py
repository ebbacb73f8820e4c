# SPDX-License-Identifier: GPL-2.0-only
"""Processes of labs that are gone: guests and compilers that even the reaper did not get.

Apart from the reaper, which is a program that each lab starts and must import little.
"""

from __future__ import annotations

from pathlib import Path


def orphans(proc: Path = Path("/proc")) -> tuple[int, ...]:
    """The pids of processes that a lab started and whose reaper is gone.

    Each child carries its lab's token in its environment, and the reaper, which lives as long as
    its lab, has the same token as its last argument (see :mod:`orchestrator.host.reaper`).
    """
    tokens: dict[int, bytes] = {}
    guarded: set[bytes] = set()
    for folder in proc.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if any(word.endswith(b"/reaper.py") for word in words):
                guarded.add(words[-1])
                continue
            for variable in (folder / "environ").read_bytes().split(b"\0"):
                if variable.startswith(b"LAB_TOKEN="):
                    tokens[int(folder.name)] = variable.partition(b"=")[2]
        except OSError:
            continue  # gone meanwhile, or another user's
    return tuple(sorted(pid for pid, token in tokens.items() if token not in guarded))
