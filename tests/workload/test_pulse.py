# SPDX-License-Identifier: GPL-2.0-only
"""What shows that a workload gets on, and what does not."""

from __future__ import annotations

from orchestrator.workload.pulse import QUIET, Pulse


def sample(t: float, anon: int) -> bytes:
    return b'{"t":%.3f,"RssAnon":%d,"RssFile":4,"RssShmem":0,"VmSwap":0}\n' % (t, anon)


def test_output_and_pages_show_that_it_gets_on() -> None:
    beat = Pulse(0.0)
    assert beat.gets_on(QUIET, 1.0)
    assert not beat.gets_on(QUIET + 0.1, 1.0)
    assert beat.gets_on(QUIET + 0.1, 2.0)  # a slow guest has longer
    beat.look(b"ok 1\n", b"", 10.0)
    assert beat.moved == 10.0
    beat.look(b"ok 1\n", sample(1, 116), 20.0)
    assert beat.moved == 20.0
    beat.look(b"ok 1\n", sample(1, 116) + sample(2, 117), 30.0)
    assert beat.moved == 30.0


def test_the_same_pages_at_another_time_do_not() -> None:
    beat = Pulse(0.0)
    beat.look(b"", sample(1, 116), 1.0)
    seen = sample(1, 116) + sample(2, 116)
    beat.look(b"", seen, 5.0)
    beat.look(b"", seen + b'{"t":3.0,"RssAnon":9', 6.0)  # half a line
    beat.look(b"", seen + b"something else\n", 7.0)
    assert beat.moved == 1.0
