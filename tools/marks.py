# SPDX-License-Identifier: GPL-2.0-only
"""What the campaigns share: where and how they keep what is done, how they run the lab for a while,
the sources that were tested, and a page's part between two marks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
LAB = HOME / ".venv" / "bin" / "lab"
#: Families of the tree's own tests, which have pages of their own and no part in the suite here.
OF_THE_TREE = ("kselftest/", "kunit/", "host/")


def git(*words: str) -> str:
    """What git says of this tree."""
    return subprocess.run(
        ["git", "-C", str(HOME), *words], capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()


def work_folder(name: str) -> Path:
    """Where a campaign keeps its records: below the user's cache (XDG Base Directory)."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / name


def keep(path: Path, told: Mapping[str, Any]) -> None:
    """Write what is to be kept as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(told, indent=1) + "\n")
    new.replace(path)


def put_between(page: Path, start: str, end: str, body: str) -> None:
    """Replace what stands between two marks of a page; the marks stay."""
    before, _, rest = page.read_text().partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}{body}\n{end}{after}")


def run_lab(words: Sequence[str], budget: float | None, grace: float) -> None:
    """Run the lab; when its time is up it is interrupted, and stores what is done.

    :param budget: seconds; None is for as long as it takes.
    :param grace: seconds that it has to store it.
    """
    with subprocess.Popen([str(LAB), *words], cwd=HOME) as lab:
        try:
            lab.wait(budget)
        except subprocess.TimeoutExpired:
            lab.send_signal(signal.SIGINT)
            lab.wait(grace)


def source_text(results: Mapping[str, Any], kernel: Mapping[str, Any], path: str) -> str:
    """A file of a kernel that a run tested, from the object store of its cache."""
    store = Path(results["run"]["host"]["cache"]) / "kernels.git"
    return subprocess.run(
        ["git", "--git-dir", store, "show", f"{kernel['tree']}:{path}"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
