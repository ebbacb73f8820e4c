# SPDX-License-Identifier: GPL-2.0-only
"""Which changes can be made to a guest, and what comes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.model.narrowing import ARCH, BOOT_ARGS, FRAGMENTS, SHAPE, TIME, WORKLOAD, Change
from orchestrator.model.spec import Build, Cell, ConfigSpec, KernelSpec, ShapeSpec, WorkloadSpec
from orchestrator.plan.capabilities import promised
from orchestrator.plan.changes import (
    arch_changes,
    changed,
    fragment_changes,
    guest_changes,
    switched_off,
    symbol_changes,
)
from orchestrator.plan.lab_yaml import load_config

HERE = Path("/run/narrow")
FRAGMENTS_OF = {
    Path("/c/thp.config"): ("TRANSPARENT_HUGEPAGE",),
    Path("/c/swap.config"): ("SWAP", "ZRAM"),
}


def cell(shape: ShapeSpec | None = None, spec: WorkloadSpec | None = None) -> Cell:
    config = ConfigSpec(
        "c", (Path("/c/base.config"), *FRAGMENTS_OF), provides=("swap", "thp"),
        build_mismatched=True,
    )  # fmt: skip
    kernel = KernelSpec("k", "path:/x", provides=("uffd-move",))
    build = Build("k/c/x86_64", kernel, config, "x86_64")
    spec = spec or WorkloadSpec("f/a", "f", Path("f"), "a.c")
    return Cell(f"{build.id}/s", build, shape or ShapeSpec("s", swap_disk_mib=512), (spec,))


def by_name(changes: tuple[Change, ...]) -> dict[str, Change]:
    found = {one.name: one for one in changes}
    assert len(found) == len(changes)
    return found


def after(old: Cell, *changes: Change) -> Cell:
    return changed(old, changes, HERE)


def test_the_shape_loses_what_it_has() -> None:
    old = cell(ShapeSpec("s", cpus=4, nodes=2, swap_disk_mib=512, zram_mib=256, machine="m"))
    found = by_name(guest_changes(old))
    assert [one.name for one in found.values() if not one.alone] == [
        "2-cpu", "1-node", "no-swap-disk", "no-zram", "no-machine",
    ]  # fmt: skip
    assert found["2-cpu"].thing == "more than 2 CPUs"
    new = after(old, *(one for one in found.values() if not one.alone))
    assert new.shape == ShapeSpec("s@2-cpu+1-node+no-swap-disk+no-zram+no-machine", cpus=2)
    assert new.id == f"k/c/x86_64/{new.shape.name}"
    assert new.build == old.build
    assert guest_changes(old)[0].thing == "more than 2 CPUs"
    assert by_name(guest_changes(cell()))["1-cpu"].thing == "two CPUs"


def test_memory_becomes_half_and_twice_and_no_less_than_boots() -> None:
    found = by_name(guest_changes(cell(ShapeSpec("s", cpus=1, memory_mib=1024))))
    assert list(found) == ["half-memory", "twice-memory"]
    assert all(one.alone for one in found.values())
    assert after(cell(), found["half-memory"]).shape.memory_mib == 512
    assert after(cell(), found["twice-memory"]).shape.memory_mib == 2048
    small = by_name(guest_changes(cell(ShapeSpec("s", cpus=1, memory_mib=900))))
    assert list(small) == ["twice-memory"]


def test_boot_arguments_go_one_by_one() -> None:
    old = cell(ShapeSpec("s", cpus=1, boot_args=("a=/b:c", "d", "d")))
    found = [one for one in guest_changes(old) if one.axis == BOOT_ARGS]
    assert [one.name for one in found] == ["no-a=_b_c", "no-d"]
    assert after(old, found[0]).shape.boot_args == ("d", "d")
    assert after(old, found[1]).shape.boot_args == ("a=/b:c",)
    assert after(old, found[0]).id == "k/c/x86_64/s@no-a=_b_c"


def test_arguments_go_with_their_values() -> None:
    spec = WorkloadSpec("f/a", "f", Path("f"), "a.c", ("huge", "-n", "100", "rounds=8", "-v"))
    found = [one for one in guest_changes(cell(spec=spec)) if one.axis == WORKLOAD]
    assert [one.thing for one in found] == ["huge", "-n 100", "rounds=8", "-v"]
    left = [after(cell(spec=spec), one).workloads[0].args for one in found]
    assert left[0] == ("-n", "100", "rounds=8", "-v")
    assert left[1] == ("huge", "rounds=8", "-v")
    assert after(cell(spec=spec), *found).workloads[0].args == ()


@pytest.mark.parametrize(
    ("args", "less"),
    [(("-n", "100"), ("-n", "25")), (("rounds=8",), ("rounds=2",)), (("40",), ("10",))],
)
def test_a_number_becomes_a_quarter(args: tuple[str, ...], less: tuple[str, ...]) -> None:
    old = cell(spec=WorkloadSpec("f/a", "f", Path("f"), "a.c", args))
    (change,) = [one for one in guest_changes(old) if one.axis == TIME]
    assert change.alone
    assert after(old, change).workloads[0].args == less
    assert not any(one.axis == TIME for one in guest_changes(cell(
        spec=WorkloadSpec("f/a", "f", Path("f"), "a.c", ("3", "x2"))
    )))  # fmt: skip


def test_a_loop_takes_a_quarter_of_its_time() -> None:
    old = cell(spec=WorkloadSpec("f/a", "f", Path("f"), "a.c", budget=25.0))
    (change,) = [one for one in guest_changes(old) if one.axis == TIME]
    assert change.thing == "more than 6.2 s of looping"
    assert after(old, change).workloads[0].budget == 6.2


def test_what_the_workload_needs_is_not_taken_away() -> None:
    spec = WorkloadSpec("f/a", "f", Path("f"), "a.c", needs=("root", "swap", "CONFIG_ZRAM", "numa"))
    old = cell(ShapeSpec("s", nodes=2, cpus=2, swap_disk_mib=1), spec)
    found = by_name(guest_changes(old))
    assert found["no-swap-disk"].blocked == "its workload needs swap"
    assert found["1-node"].blocked == "its workload needs NUMA"
    two = replace(old, shape=replace(old.shape, zram_mib=1))
    assert not by_name(guest_changes(two))["no-swap-disk"].blocked  # zram is left
    thp, swap = fragment_changes(old, FRAGMENTS_OF)
    assert (thp.blocked, swap.blocked) == ("", "its workload needs swap")
    symbols = symbol_changes(old, swap, ("SWAP", "ZRAM", "CRYPTO"))
    assert [bool(one.blocked) for one in symbols] == [True, True, False]


def test_a_fragment_is_left_out_and_nothing_is_promised_then() -> None:
    old = cell()
    thp, swap = fragment_changes(old, FRAGMENTS_OF)
    assert (thp.axis, thp.name, thp.thing) == (FRAGMENTS, "no-thp", "thp")
    new = after(old, thp)
    assert (new.id, new.build.id) == ("k/c@no-thp/x86_64/s", "k/c@no-thp/x86_64")
    assert new.build.config.fragments == (Path("/c/base.config"), Path("/c/swap.config"))
    assert (promised(old), promised(new)) == ({"swap", "thp", "uffd-move"}, frozenset())
    assert new.build.config.build_mismatched
    # Both are built in one folder, which is not that of the config.
    assert new.build.config.folder == after(old, swap).build.config.folder == "c@narrow"
    assert old.build.config.folder == "c"
    both = after(old, thp, swap, by_name(guest_changes(old))["1-cpu"])
    assert both.id == "k/c@no-thp+no-swap/x86_64/s@1-cpu"


def test_lab_yaml_tells_without_which_fragment_a_workload_is_idle() -> None:
    spec = WorkloadSpec("f/a", "f", Path("f"), "a.c", exercises=("uffd-move",))
    uffd = {Path("/c/userfaultfd.config"): ("USERFAULTFD",), **FRAGMENTS_OF}
    configs = load_config(HOME / "lab.yaml", tuple(ARCHES)).configs
    found = fragment_changes(cell(spec=spec), uffd, configs)
    assert [one.thing for one in found if one.alone] == ["userfaultfd"]
    assert not any(one.alone for one in fragment_changes(cell(), uffd, configs))
    assert {one.thing: one.includes for one in found} == {
        "userfaultfd": (), "thp": (), "swap": ("no-swap-disk", "no-zram"),
    }  # fmt: skip


def test_symbols_are_switched_off_by_a_fragment_of_their_own() -> None:
    old = cell()
    _, swap = fragment_changes(old, FRAGMENTS_OF)
    symbols = symbol_changes(old, swap, ("SWAP", "ZRAM"))
    assert {one.of for one in symbols} == {"no-swap"}
    new = after(old, *symbols)
    config = new.build.config
    assert config.fragments == (*old.build.config.fragments, HERE / "c@no-SWAP+no-ZRAM.config")
    assert not config.build_mismatched  # one that stays on is told before anything is compiled
    assert switched_off(symbols) == "# CONFIG_SWAP is not set\n# CONFIG_ZRAM is not set\n"
    assert switched_off([swap]) == ""


def test_the_architecture_is_another_where_config_and_shape_allow() -> None:
    old = cell(ShapeSpec("s", machine="pc"))
    (arm,) = arch_changes(old, ("x86_64", "arm64"))
    assert (arm.axis, arm.name, arm.thing, arm.alone) == (ARCH, "arm64", "x86_64", True)
    new = after(old, arm)
    assert (new.id, new.build.arch, new.shape.machine) == ("k/c/arm64/s", "arm64", None)
    only = replace(old, shape=replace(old.shape, only_arch=("x86_64",)))
    assert arch_changes(only, ("x86_64", "arm64")) == ()


def test_many_changes_have_a_short_name_that_is_their_own() -> None:
    many = tuple(Change(f"no-{'x' * 20}{n}", SHAPE, "", "") for n in range(5))
    one, other = after(cell(), *many), after(cell(), *many[1:])
    assert one.shape.name.startswith("s@5-changes-")
    assert len({one.id, other.id, cell().id}) == 3
    assert after(cell()) == cell()
