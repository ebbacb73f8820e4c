# SPDX-License-Identifier: GPL-2.0-only
"""Run the installed ``lab`` as a user would and read what it left."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import HOME

LAB = Path(sys.executable).with_name("lab")


@dataclass(frozen=True)
class Ran:
    """A finished ``lab run``: exit status, output, its folder and results.json."""

    status: int
    output: str
    folder: Path
    results: dict[str, Any]

    def cases(self, contains: str = "") -> dict[str, dict[str, Any]]:
        """The cells' cases whose id contains a text, by id."""
        return {
            case["id"]: case
            for cell in self.results["cells"]
            for case in cell["cases"]
            if contains in case["id"]
        }

    def bad(self) -> list[str]:
        """Ids and reasons of what failed or erred: the message of an assertion."""
        return [
            f"{case['verdict']} {case['id']}: {case['reason']}"
            for case in self.cases().values()
            if case["verdict"] in ("fail", "error")
        ]


def lab_run(out: Path, *words: str, cwd: Path = HOME, deadline: float = 3600) -> Ran:
    """``lab run --plain --out OUT WORDS``; the caller judges its exit status."""
    argv = [str(LAB), "run", "--plain", "--out", str(out), *words]
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=deadline, stdin=subprocess.DEVNULL
    )
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    file = out / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    return Ran(done.returncode, output, out, results)


@contextlib.contextmanager
def lab_started(*words: str | Path, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """``lab WORDS`` while a test looks at it; it is gone at the end, however the test ends.

    It has the signals of a command that a user typed: whoever started the tests (``nohup``, a
    script with ``&``, a CI runner) may have them ignored, and a child would take that over.
    """

    def as_typed() -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)

    child = subprocess.Popen([str(LAB), *words], cwd=HOME, preexec_fn=as_typed, **streams)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(60)
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
