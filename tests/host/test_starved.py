# SPDX-License-Identifier: GPL-2.0-only
"""Whether a process gets the processor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.host.starved import HostTime, own_time, ran, waited_for_cpu

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


def test_a_cpu_that_ran_had_its_time():
    before = HostTime(2.0, {0: 1.0, 1: 5.0})
    assert HostTime(10.0, {0: 1.5, 1: 11.0}).own(10.0, before) == 6.0
    assert HostTime(4.0, {0: 1.5, 1: 5.0}).own(10.0, before) == 8.0
    assert HostTime(4.0, {0: 99.0}).own(10.0, before) == 10.0
    assert HostTime(4.0).own(10.0, before) == 8.0
    assert HostTime(2.0, {7: 9.0}).own(0.0, before) == 0.0


def test_how_long_a_thread_ran():
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("the host's kernel keeps no schedstat")
    began, before = time.thread_time(), ran(os.getpid(), os.getpid())
    while time.thread_time() < began + 0.2:
        pass
    assert 0.1 <= ran(os.getpid(), os.getpid()) - before < 5.0
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert ran(gone.pid, gone.pid) == 0.0
