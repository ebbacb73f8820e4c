# SPDX-License-Identifier: GPL-2.0-only
"""Whether a process gets the processor."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.host.starved import own_time, waited_for_cpu

SPIN = """\
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while True:
    pass
"""


@pytest.mark.slow
def test_two_that_share_a_core_wait_for_each_other():
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("the host's kernel keeps no schedstat")
    both = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(2)]
    try:
        until = time.monotonic() + 60
        while waited_for_cpu(both[0].pid) < 0.5 and time.monotonic() < until:
            time.sleep(0.1)
        assert waited_for_cpu(both[0].pid) >= 0.5
    finally:
        for one in both:
            one.kill()
            one.wait()


def test_one_that_is_gone_waited_for_nothing():
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert waited_for_cpu(gone.pid) == 0.0


def test_what_a_guest_had_no_cpu_for_is_not_its_own_up_to_a_limit():
    assert own_time(10.0, 0.0) == 10.0
    assert own_time(10.0, 6.0) == 4.0
    assert own_time(10.0, 9.9) == 2.5
