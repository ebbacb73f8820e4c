# SPDX-License-Identifier: GPL-2.0-only
"""A signal while the lab still loads ends it with 130 and one line, and no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from orchestrator.model.errors import EXIT_INTERRUPTED

# The lab's own entry, held where it loads its commands until the signal has come.
_HELD = """
import os, signal, sys
from orchestrator import cli
class Hold:
    def find_spec(self, name, path=None, target=None):
        if name == "orchestrator.commands":
            if sys.argv[1:] == ["ignored"]:
                os.kill(os.getpid(), signal.SIGTERM)
                os._exit(7)
            os.kill(os.getpid(), int(sys.argv[1]))
if sys.argv[1:] == ["ignored"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.meta_path.insert(0, Hold())
cli.main()
"""


def held(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", _HELD, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_in_good_order(number: signal.Signals) -> None:
    done = held(str(int(number)))
    assert (done.returncode, done.stderr) == (EXIT_INTERRUPTED, "lab: interrupted\n")


def test_what_is_ignored_from_the_start_stays_so() -> None:
    assert held("ignored").returncode == 7
