# SPDX-License-Identifier: GPL-2.0-only
"""What is said of a build beforehand, and from what."""

from __future__ import annotations

import pytest

from orchestrator.kernel.build.start import Start
from orchestrator.kernel.build.times import Known, Taken, about, known, remember, tell

ALL = Taken(1600, 300.0, 520.0, jobs=2, everything=True)
LITTLE = Taken(80, 11.0, 14.0, jobs=2, everything=False)


def test_nothing_was_measured_and_nothing_is_told(cache):
    nothing = known("default", "x86_64", 2, cache)
    assert nothing == Known(None, None)
    assert tell(Start("own"), "own", nothing) == (
        "first build of this source: everything is compiled"
    )
    assert tell(Start("debian-6.12", 1, 1201), "own", nothing) == (
        "from the build in debian-6.12: 1 of 1,201 objects to compile"
    )


def test_what_was_measured_is_told(cache):
    remember("default", "x86_64", "debian-6.12", ALL, cache)
    remember("default", "x86_64", "debian-6.12", LITTLE, cache)
    seen = known("default", "x86_64", 2, cache)
    assert seen == Known(300.0, 11.0, ("debian-6.12",))
    assert tell(Start("own"), "own", seen).endswith("everything is compiled, about 5 min")
    assert tell(Start("debian-6.12"), "debian-6.12", seen) == (
        "everything is compiled, about 5 min"
    )
    assert tell(Start("own", 1, 1201), "own", seen) == (
        "from the last build: 1 of 1,201 objects to compile, about 10 s"
    )
    assert tell(Start("a", 600, 1200), "own", seen).endswith("about 3 min")
    assert tell(Start("a", 1, 1200, sibling=True), "own", seen) == (
        "from the objects of another config in a"
    )
    assert known("default", "arm64", 2, cache) == Known(None, None)


def test_half_of_what_one_must_know_is_not_enough(cache):
    remember("default", "x86_64", "a", ALL, cache)
    seen = known("default", "x86_64", 2, cache)
    assert seen.foresee(Start("a", 1, 1200)) is None
    assert seen.foresee(Start("a", 600, 1200)) is None
    assert seen.foresee(Start("a", 1200, 1200)) == 300.0


def test_with_other_jobs_it_takes_another_time(cache):
    remember("default", "x86_64", "a", ALL, cache)
    assert known("default", "x86_64", 16, cache) == Known(None, None, ("a",))


def test_objects_out_of_ccache_say_nothing_of_the_next_build(cache):
    remember("default", "x86_64", "a", ALL, cache)
    remember("default", "x86_64", "a", Taken(1600, 40.0, 60.0, 2, everything=True), cache)
    assert known("default", "x86_64", 2, cache).everything == 300.0
    remember("default", "x86_64", "a", Taken(1600, 280.0, 500.0, 2, everything=True), cache)
    assert known("default", "x86_64", 2, cache).everything == 280.0


def test_what_compiled_half_of_a_kernel_is_no_little(cache):
    remember("default", "x86_64", "a", Taken(700, 150.0, 250.0, 2, everything=False), cache)
    assert known("default", "x86_64", 2, cache) == Known(None, None, ("a",))


def test_a_record_that_is_damaged_is_none(cache):
    remember("default", "x86_64", "a", ALL, cache)
    (record,) = cache.records.rglob("*.json")
    record.write_text('{"key": "default/x86_64", "everything": {"steps": 3}}')
    assert known("default", "x86_64", 2, cache) == Known(None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.3, "about 5 s"), (11, "about 10 s"), (88, "about 90 s"), (92, "about 2 min"),
     (276, "about 5 min"), (4000, "about 67 min")],
)  # fmt: skip
def test_no_more_exact_than_it_is(seconds, text):
    assert about(seconds) == text
