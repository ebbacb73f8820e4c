# SPDX-License-Identifier: GPL-2.0-only
"""KUnit's suites as workloads: named by a table or outright, each in a guest of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from plan_files import change, load

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import MessageRules, WorkloadSpec
from orchestrator.plan import suites
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.plan.selftests import asked_for, named

LIST = WorkloadSpec(
    "kunit/hlist", "kunit", Path("guest-tests/kunit"), "run.py", ("hlist",), "lists",
    needs=("root", "CONFIG_LIST_KUNIT_TEST"), timeout=60.0, kunit=True,
    messages=MessageRules(allows=("^loud",)),
)  # fmt: skip
SLOW = replace(LIST, name="kunit/kfence", args=("kfence",), timeout=240.0)
OTHER = WorkloadSpec("ledger/anon", "ledger", Path("guest-tests/ledger"), "anon.c")
ALL = (OTHER, LIST, SLOW)


def test_a_suite_that_no_table_has_may_be_named() -> None:
    spec = named("kunit/time_test_cases", ALL)
    assert spec is not None
    assert (spec.name, spec.args, spec.kunit) == (
        "kunit/time_test_cases", ("time_test_cases",), True,
    )  # fmt: skip
    # Nothing is known of it: it may take as long as any, and nothing that it prints is excused.
    assert (spec.timeout, spec.needs, spec.messages) == (240.0, ("root",), MessageRules())


@pytest.mark.parametrize(
    "pattern",
    ["kunit/hlist", "kunit/*list", "kunit", "kunit/", "kunit/a/b", "kunit/a\nb", "ledger/x"],
)
def test_what_names_no_suite_beside_the_table(pattern: str) -> None:
    assert suites.named_suite(pattern, ALL) is None


def test_a_star_alone_means_no_suite() -> None:
    assert not asked_for(LIST, ("*",))
    assert asked_for(LIST, ("*", "kunit/*"))
    assert asked_for(LIST, ("kunit",))


def test_suites_have_a_guest_each() -> None:
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))

    def fresh(*workloads: str) -> set[bool]:
        selection = Selection(profile="smoke", configs=("kunit",), workloads=workloads)
        return {cell.fresh_guests for cell in make_plan(config, selection, tuple(ARCHES)).cells}

    assert fresh("kunit/hlist", "kunit/strange") == {True}
    assert fresh("ledger/anon") == {False}


def test_a_manifest_makes_a_family_of_suites(lab: Path) -> None:
    manifest = lab.parent / "guest-tests/move/manifest.yaml"
    change(manifest, "program: move.c", "program: move.c\nkunit: true")
    basic, race = load(lab).workloads
    assert basic.kunit
    assert race.kunit
    assert basic.args == ("basic", "basic", "64")
    assert race.args[0] == "race"


def test_the_shipped_table_and_profile() -> None:
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    table = [w for w in config.workloads if w.kunit]
    assert {"kunit/slub_test", "kunit/kasan", "kunit/damon", "kunit/list_sort"} <= {
        w.name for w in table
    }
    for spec in table:
        assert spec.args == (spec.name.removeprefix("kunit/"),)
        assert any(need.startswith("CONFIG_") for need in spec.needs), spec.name
    plan = make_plan(config, Selection(profile="kunit"), tuple(ARCHES))
    for arch in ARCHES:
        cells = [c for c in plan.cells if c.build.arch == arch and c.build.config.modules]
        here = {w.name for c in cells for w in c.workloads}
        assert here == {w.name for w in table}, arch
        # What runs at boot is in a cell of its own: a crash there costs no other suite.
        boot = {w.name for c in cells if c.shape.name == "kunit-boot" for w in c.workloads}
        assert boot == {w.name for w in table if w.name.startswith("kunit/damon")}


def test_the_profile_of_every_day_has_no_suite() -> None:
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    for profile in ("smoke", "quick", "full", "nightly"):
        plan = make_plan(config, Selection(profile=profile), tuple(ARCHES))
        assert not [w.name for c in plan.cells for w in c.workloads if w.kunit]
