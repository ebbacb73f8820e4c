# SPDX-License-Identifier: GPL-2.0-only
"""The plan: which cells, in which order, for which selection."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.spec import (
    Cell,
    ConfigSpec,
    Expectation,
    KernelSpec,
    KnownIssue,
    LabConfig,
    MessageRules,
    Plan,
    ProfileEntry,
    ProfileSpec,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.model.toolchain import Toolchain
from orchestrator.plan.capabilities import broken, may_skip, promised, promised_to
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.plan.show import explain, plan_to_dict

NAMES = ("x86_64", "arm64")
BOTH = ("x86_64", "arm64")
FOLDER = Path("/lab/guest-tests")


def workload(
    name: str,
    needs: tuple[str, ...] = (),
    exercises: tuple[str, ...] = (),
    deterministic: bool = True,
) -> WorkloadSpec:
    family = name.partition("/")[0]
    return WorkloadSpec(
        name,
        family,
        FOLDER / family,
        "x.c",
        needs=needs,
        exercises=exercises,
        deterministic=deterministic,
    )


def entry(
    configs: tuple[str, ...],
    shapes: tuple[str, ...] = ("small",),
    arches: tuple[str, ...] = BOTH,
    workloads: tuple[str, ...] = ("*",),
    kernels: tuple[str, ...] = (),
    only_deterministic: bool = False,
) -> ProfileEntry:
    return ProfileEntry(configs, arches, shapes, workloads, kernels, only_deterministic)


def fragments(*names: str) -> tuple[Path, ...]:
    return tuple(Path(f"/lab/kernel-configs/{name}.config") for name in names)


LAB = LabConfig(
    path=Path("/lab/lab.yaml"),
    kernels=(
        KernelSpec("v6.12", "debian:6.12", provides=("uffd-move",)),
        KernelSpec("v6.1", "debian:6.1"),
        KernelSpec("drift", "debian:6.12", series="/lab/patches/drift", provides=("uffd-move",)),
    ),
    configs=(
        ConfigSpec("no-thp", fragments("base", "thp-off"), provides=("swap",), lacks=("thp",)),
        ConfigSpec("default", fragments("base", "thp"), provides=("swap", "thp", "numa")),
        ConfigSpec("no-uffd", fragments("base"), lacks=("uffd-move",)),
        ConfigSpec("kasan", fragments("base", "kasan")),
        ConfigSpec("numa", fragments("base", "numa"), provides=("numa",)),
        ConfigSpec("16k", fragments("base", "16k"), only_arch=("arm64",)),
        ConfigSpec("spare", fragments("base")),
    ),
    shapes=(
        ShapeSpec("small", zram_mib=256, swap_disk_mib=512),
        ShapeSpec("always", boot_args=("transparent_hugepage=always",)),
        ShapeSpec("numa2", nodes=2, memory_mib=1536, machine="q35", cpus=1),
        ShapeSpec("pc", machine="pc", only_arch=("x86_64",)),
    ),
    profiles=(
        ProfileSpec("smoke", (entry(("default",), only_deterministic=True),)),
        ProfileSpec(
            "quick",
            (
                entry(("no-thp", "default", "no-uffd"), only_deterministic=True),
                entry(("default",), ("always",), only_deterministic=True),
            ),
        ),
        ProfileSpec(
            "full",
            (entry(("default", "kasan", "16k")), entry(("numa",), ("numa2",), ("x86_64",))),
            time_budget=3600.0,
        ),
        ProfileSpec(
            "fixed",
            (entry(("default",)), entry(("kasan",), kernels=("v6.1", "drift"))),
        ),
        ProfileSpec("racing", (entry(("default",), workloads=("race",), only_deterministic=True),)),
    ),
    workloads=(
        workload("ledger/walk"),
        workload("move/basic", exercises=("uffd-move",)),
        workload("move/swap", needs=("swap", "root"), exercises=("uffd-move",)),
        workload("move/thp", needs=("thp",), exercises=("uffd-move",)),
        workload("race/move", exercises=("uffd-move",), deterministic=False),
    ),
    expectations=(
        Expectation("drift", "*", "move/*:*", "Bad rss-counter state"),
        Expectation("v6.1", "default", "boot:*", "panic"),
    ),
    default_profile="smoke",
    default_kernels=("v6.12",),
)


def plan(lab: LabConfig = LAB, **selection: object) -> Plan:
    return make_plan(lab, Selection(**selection), NAMES)  # type: ignore[arg-type]


def ids(made: Plan) -> list[str]:
    return [cell.id for cell in made.cells]


def names(cell: Cell) -> list[str]:
    return [w.name for w in cell.workloads]


def test_the_default_profile_on_the_default_kernel() -> None:
    made = plan()
    assert made.profile == "smoke"
    assert ids(made) == ["v6.12/default/x86_64/small", "v6.12/default/arm64/small"]
    assert [b.id for b in made.builds] == ["v6.12/default/x86_64", "v6.12/default/arm64"]
    assert names(made.cells[0]) == ["ledger/walk", "move/basic", "move/swap", "move/thp"]
    assert made.expectations == ()


def test_without_default_kernels_the_first_is_taken() -> None:
    assert plan(replace(LAB, default_kernels=())).builds[0].kernel.name == "v6.12"


def test_cells_of_a_build_and_builds_of_an_architecture_are_neighbours_default_first() -> None:
    assert ids(plan(profile="quick")) == [
        f"v6.12/{cell}"
        for arch in BOTH
        for cell in (
            f"default/{arch}/small",
            f"default/{arch}/always",
            f"no-thp/{arch}/small",
            f"no-uffd/{arch}/small",
        )
    ]


def test_full_keeps_what_exists_and_its_time_budget() -> None:
    made = plan(profile="full")
    assert made.time_budget == 3600.0
    assert "v6.12/16k/arm64/small" in ids(made)
    assert "v6.12/16k/x86_64/small" not in ids(made)
    assert "v6.12/numa/arm64/numa2" not in ids(made)
    assert "race/move" in names(made.cells[0])


def test_the_same_cell_in_two_blocks_is_one_with_the_workloads_of_both() -> None:
    blocks = (
        entry(("default",), workloads=("move/swap",)),
        entry(("default",), workloads=("ledger", "move/swap")),
    )
    made = plan(replace(LAB, profiles=(ProfileSpec("smoke", blocks),)))
    assert len(ids(made)) == 2
    assert names(made.cells[0]) == ["ledger/walk", "move/swap"]


def test_narrowing() -> None:
    assert ids(plan(arches=("arm64",))) == ["v6.12/default/arm64/small"]
    made = plan(profile="quick", configs=("no-*",), arches=("x86_64",))
    assert ids(made) == ["v6.12/no-thp/x86_64/small", "v6.12/no-uffd/x86_64/small"]
    assert ids(plan(profile="quick", shapes=("always",), arches=("arm64",))) == [
        "v6.12/default/arm64/always"
    ]
    assert names(plan(workloads=("move/s*", "ledger")).cells[0]) == ["ledger/walk", "move/swap"]


def test_a_pattern_narrows_and_does_not_bring_in_what_the_profile_left_out() -> None:
    assert "race/move" not in names(plan(workloads=("*",)).cells[0])


def test_what_the_profile_lacks_takes_the_place_of_its_own() -> None:
    assert ids(plan(profile="quick", kernels=("v6.1",))) == [
        id_.replace("v6.12", "v6.1") for id_ in ids(plan(profile="quick"))
    ]
    assert ids(plan(configs=("kasan",))) == ["v6.12/kasan/x86_64/small", "v6.12/kasan/arm64/small"]
    assert [names(c) for c in plan(workloads=("race",)).cells] == [["race/move"], ["race/move"]]
    assert ids(plan(shapes=("pc",))) == ["v6.12/default/x86_64/pc"]


def test_a_config_from_elsewhere_brings_the_guest_it_needs() -> None:
    assert ids(plan(configs=("numa",))) == ["v6.12/numa/x86_64/numa2", "v6.12/numa/arm64/numa2"]
    assert ids(plan(configs=("spare", "default"), arches=("arm64",))) == [
        "v6.12/default/arm64/small",
        "v6.12/spare/arm64/small",
    ]


def test_blocks_with_kernels_of_their_own() -> None:
    assert ids(plan(profile="fixed", arches=("x86_64",))) == [
        "v6.12/default/x86_64/small",
        "v6.1/kasan/x86_64/small",
        "drift/kasan/x86_64/small",
    ]
    assert ids(plan(profile="fixed", arches=("x86_64",), kernels=("drift",))) == [
        "drift/kasan/x86_64/small"
    ]
    # What is given on the command line runs alone.
    made = plan(profile="fixed", arches=("x86_64",), source="debian:6.14")
    assert ids(made) == ["cli/default/x86_64/small"]


def test_cli_kernel() -> None:
    made = plan(source="path:/linux", series="/v3")
    assert ids(made) == ["cli/default/x86_64/small", "cli/default/arm64/small"]
    kernel = made.builds[0].kernel
    assert (kernel.name, kernel.source, kernel.series) == ("cli", "path:/linux", "/v3")
    assert kernel.provides == ()


def test_series_alone_goes_on_the_first_kernel_and_keeps_its_promises() -> None:
    kernel = plan(series="/v3").builds[0].kernel
    assert (kernel.source, kernel.series) == ("debian:6.12", "/v3")
    assert kernel.provides == ("uffd-move",)
    kernel = plan(series="/v3", kernels=("v6.1",)).builds[0].kernel
    assert (kernel.name, kernel.source, kernel.provides) == ("cli", "debian:6.1", ())
    with pytest.raises(UserError, match="names 2"):
        plan(series="/v3", kernels=("v6*",))


def test_how_a_series_goes_on_is_said_for_every_kernel_that_has_one() -> None:
    def modes(**selection: object) -> list[str]:
        return [build.kernel.apply for build in plan(**selection).builds]

    assert modes(series="/v3", arches=("x86_64",)) == ["strict"]
    assert modes(series="/v3", arches=("x86_64",), apply="3way") == ["3way"]
    both = modes(kernels=("drift", "v6.12"), arches=("x86_64",), apply="fuzz")
    assert sorted(both) == ["fuzz", "strict"]
    with pytest.raises(UserError, match="no kernel here has a series"):
        plan(kernels=("v6.12",), apply="fuzz")
    shown = plan(series="/v3", apply="fuzz")
    assert "debian:6.12 + /v3 (fuzz)" in explain(shown)
    assert plan_to_dict(shown)["builds"][0]["apply"] == "fuzz"


def test_source_alone_promises_what_the_same_source_in_lab_yaml_does() -> None:
    assert plan(source="debian:6.12=6.12.43-1").builds[0].kernel.provides == ("uffd-move",)
    assert plan(source="debian:6.1").builds[0].kernel.provides == ()
    with pytest.raises(UserError, match="--source and --kernel"):
        plan(source="debian:6.12", kernels=("v6.1",))


def test_series_on_a_kernel_that_has_one_promises_what_the_plain_source_does() -> None:
    kernel = plan(series="/v3", kernels=("drift",)).builds[0].kernel
    assert (kernel.source, kernel.series, kernel.provides) == (
        "debian:6.12",
        "/v3",
        ("uffd-move",),
    )


def test_baseline_runs_the_same_cells_after_the_others() -> None:
    made = plan(series="/v3", baseline="v6.12")
    assert made.baseline == "v6.12"
    assert ids(made) == [
        "cli/default/x86_64/small",
        "cli/default/arm64/small",
        "v6.12/default/x86_64/small",
        "v6.12/default/arm64/small",
    ]
    assert names(made.cells[0]) == names(made.cells[2])
    made = plan(kernels=("v6.12", "v6.1"), arches=("arm64",), baseline="v6.12")
    assert ids(made) == ["v6.1/default/arm64/small", "v6.12/default/arm64/small"]


def test_baseline_errors() -> None:
    with pytest.raises(UserError, match="did you mean 'drift'"):
        plan(series="/v3", baseline="drfit")
    with pytest.raises(UserError, match="only kernel under test"):
        plan(baseline="v6.12")
    with pytest.raises(UserError, match="no kernel 'cli'"):
        plan(series="/v3", baseline="cli")


def test_expectations_only_about_what_runs() -> None:
    def titles(**selection: object) -> list[str]:
        return [e.title for e in plan(**selection).expectations]  # type: ignore[arg-type]

    assert titles(kernels=("drift",)) == ["Bad rss-counter state"]
    assert titles(kernels=("drift",), workloads=("ledger/*",)) == []
    assert titles(kernels=("drift",), workloads=("move/swap",)) == ["Bad rss-counter state"]
    # About a synthetic case: it is there whatever is selected.
    assert titles(kernels=("v6.1",), workloads=("ledger/*",)) == ["panic"]
    assert titles(kernels=("v6.1",), configs=("kasan",)) == []


def test_an_expectation_leaves_out_configs_where_its_workloads_may_skip() -> None:
    made = plan(profile="quick", kernels=("drift",))
    assert [(e.kernel, e.config) for e in made.expectations] == [
        ("drift", "default"),
        ("drift", "no-thp"),
    ]
    made = plan(profile="quick", kernels=("drift",), configs=("no-uffd",))
    assert made.expectations == ()
    # Where all can meet it, it stays as it was written.
    made = plan(profile="quick", kernels=("drift",), configs=("default",))
    assert made.expectations == LAB.expectations[:1]


def test_a_workload_by_the_end_of_its_name() -> None:
    def ran(*words: str) -> list[str]:
        made = plan(LAB, workloads=words)
        return list(dict.fromkeys(w.name for cell in made.cells for w in cell.workloads))

    assert ran("basic") == ran("move/basic") == ["move/basic"]
    assert ran("bas*") == ["move/basic"]
    specs = LAB.workloads
    twins = tuple(replace(spec, name=spec.name.replace("move/", "twin/")) for spec in specs)
    told = "'basic' fits 2 workloads:\n     move/basic\n     twin/basic"
    with pytest.raises(UserError, match=told):
        plan(replace(LAB, workloads=(*specs, *twins)), workloads=("basic",))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"profile": "smok"}, "no profile 'smok'; did you mean 'smoke'"),
        ({"arches": ("arm46",)}, "no architecture 'arm46'; did you mean 'arm64'"),
        ({"arches": ("amd65",)}, "no architecture 'amd65'; did you mean 'amd64'"),
        ({"arches": ("aarch46",)}, "no architecture 'aarch46'; did you mean 'aarch64'"),
        ({"kernels": ("v7",)}, "no kernel 'v7'"),
        ({"configs": ("kasna",)}, "no config 'kasna'; did you mean 'kasan'"),
        ({"workloads": ("moves/*",)}, "no workload 'moves/\\*'"),
        ({"workloads": ("basics",)}, "no workload 'basics'; did you mean 'basic'"),
        ({"workloads": ("move/basics",)}, "no workload 'move/basics'; did you mean 'move/basic'"),
        ({"configs": ("16k",), "arches": ("x86_64",)}, "16k is for arm64 only"),
        ({"configs": ("16k", "default"), "arches": ("x86_64",)}, "--config 16k matches nothing"),
        ({"shapes": ("pc",), "arches": ("arm64",)}, "pc is for x86_64 only"),
        ({"profile": "racing"}, "holds no workload to run"),
        ({"configs": ("",)}, "no config ''"),
    ],
)
def test_nothing_matches(selection: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        plan(**selection)  # type: ignore[arg-type]
    assert caught.value.exit_status == 2


def test_architectures_that_only_the_table_has() -> None:
    made = make_plan(LAB, Selection(arches=("riscv64",)), {*NAMES, "riscv64"})
    assert ids(made) == ["v6.12/default/riscv64/small"]


patterns = st.sampled_from(["*", "v6*", "drift", "no-*", "numa", "16k", "arm64", "small", "move"])
some = st.lists(patterns, max_size=2).map(tuple)


@given(
    profile=st.sampled_from([p.name for p in LAB.profiles]),
    kernels=some,
    configs=some,
    arches=some,
    workloads=some,
    baseline=st.sampled_from([None, "v6.12", "v6.1"]),
    series=st.sampled_from([None, "/v3"]),
)
def test_any_selection_gives_a_sound_plan_or_an_error_of_the_users(
    profile: str,
    kernels: tuple[str, ...],
    configs: tuple[str, ...],
    arches: tuple[str, ...],
    workloads: tuple[str, ...],
    baseline: str | None,
    series: str | None,
) -> None:
    selection = Selection(
        profile,
        arches=arches,
        kernels=kernels,
        configs=configs,
        workloads=workloads,
        baseline=baseline,
        series=series,
    )
    try:
        made = make_plan(LAB, selection, NAMES)
    except UserError:
        return
    found = ids(made)
    assert found
    assert len(set(found)) == len(found)
    assert all(cell.workloads for cell in made.cells)
    # Neighbours: each build, and each kernel on an architecture, comes in one piece.
    for key in (lambda c: c.build.id, lambda c: (c.build.kernel.name, c.build.arch)):
        pieces = [name for name, _ in itertools.groupby(made.cells, key)]
        assert len(set(pieces)) == len(pieces)
    assert [b.id for b in made.builds] == list(dict.fromkeys(c.build.id for c in made.cells))
    # A set of names has an order of its own in every process.
    assert make_plan(LAB, selection, frozenset(NAMES)) == made
    json.dumps(plan_to_dict(made))
    assert all(id_ in explain(made) for id_ in found)


def test_the_order_of_blocks_does_not_matter() -> None:
    quick = LAB.profiles[1]
    turned = replace(quick, entries=quick.entries[::-1])
    lab = replace(LAB, profiles=(LAB.profiles[0], turned))
    assert plan(lab, profile="quick") == plan(profile="quick")


# ---------------------------------------------------------------- promises


def cell_of(made: Plan, id_: str) -> Cell:
    (cell,) = [c for c in made.cells if c.id == id_]
    return cell


def test_promised() -> None:
    made = plan(profile="quick")
    small = cell_of(made, "v6.12/default/x86_64/small")
    assert promised(small) == {"uffd-move", "swap", "thp"}  # one node: no NUMA
    assert promised(cell_of(made, "v6.12/default/x86_64/always")) == {"uffd-move", "thp"}
    assert promised(cell_of(made, "v6.12/no-uffd/x86_64/small")) == set()
    never = replace(small.shape, boot_args=("transparent_hugepage=never", "quiet"))
    assert promised(replace(small, shape=never)) == {"uffd-move", "swap"}
    two_nodes = plan(configs=("numa",)).cells[0]
    assert "numa" in promised(two_nodes)


def test_may_skip() -> None:
    made = plan(profile="quick")
    by_name = {w.name: w for w in LAB.workloads}
    small = cell_of(made, "v6.12/default/x86_64/small")
    for name, honest in {
        "ledger/walk": True,  # exercises nothing that anybody promised
        "move/basic": False,
        "move/swap": False,  # root is always there
        "move/thp": False,
    }.items():
        assert may_skip(small, by_name[name]) is honest, name
    assert promised_to(small, by_name["move/thp"]) == promised(small)
    assert promised_to(small, by_name["ledger/walk"]) == frozenset()
    no_thp = cell_of(made, "v6.12/no-thp/x86_64/small")
    assert may_skip(no_thp, by_name["move/thp"])
    assert not may_skip(no_thp, by_name["move/basic"])
    no_uffd = cell_of(made, "v6.12/no-uffd/x86_64/small")
    assert may_skip(no_uffd, by_name["move/basic"])
    assert may_skip(plan(kernels=("v6.1",)).cells[0], by_name["move/basic"])
    assert may_skip(small, workload("move/x", needs=("CONFIG_X",), exercises=("uffd-move",)))
    assert not may_skip(small, workload("x/x", needs=("swap",), exercises=()))
    assert may_skip(small, workload("x/x", needs=("swap", "numa"), exercises=()))
    assert may_skip(small, workload("x/x", needs=("root",), exercises=()))


def test_what_skips_inside_a_workload_are_held_against() -> None:
    small = cell_of(plan(profile="quick"), "v6.12/default/x86_64/small")
    # It runs, so the need was met; it is no excuse for what is promised.
    needy = workload("move/x", needs=("root", "CONFIG_X"), exercises=("uffd-move",))
    assert promised_to(small, needy) == promised(small)
    # A word that nobody promised still is: THP may be on and no huge page to be had.
    assert promised_to(small, replace(needy, needs=("hugepages",))) == frozenset()
    assert promised_to(small, replace(needy, exercises=("ksm",))) == frozenset()


def test_needs_that_were_promised_and_are_not_met() -> None:
    small = cell_of(plan(profile="quick"), "v6.12/default/x86_64/small")
    assert broken(small, ["CONFIG_X", "swap", "numa", "thp"]) == ("swap", "thp")
    assert broken(small, ["CONFIG_X", "numa"]) == ()


# ---------------------------------------------------------------- texts


def test_explain() -> None:
    text = explain(plan(profile="full", kernels=("drift",)))
    lines = text.splitlines()
    assert lines[0] == "profile full: 6 builds, 6 cells, 30 workload runs; ends after 1 h"
    assert "drift/default/x86_64  debian:6.12 + /lab/patches/drift  base thp" in lines
    numa = "drift/numa/x86_64/numa2     1 cpu, 1536 MiB, 2 nodes, q35" + 19 * " " + "5"
    assert numa in lines
    assert "move/swap    30 s   swap root" in lines
    assert "drift/*:move/*:*  fails with  Bad rss-counter state" in lines
    assert not any(line != line.rstrip() for line in lines)


def test_explain_names_different_workload_lists_once() -> None:
    blocks = (entry(("default",)), entry(("kasan",), workloads=("ledger",)))
    text = explain(plan(replace(LAB, profiles=(ProfileSpec("smoke", blocks),))))
    assert text.count("ledger/walk") == 2
    assert "5 (list A)" in text
    assert "1 (list B)" in text


def test_what_runs_is_counted_with_gcc_only() -> None:
    counting = tuple(replace(one, coverage=("mm/*.c",)) for one in LAB.configs)
    with pytest.raises(UserError, match="works with gcc only"):
        plan(replace(LAB, configs=counting), profile="quick", toolchain=Toolchain("clang"))


def test_plan_to_dict() -> None:
    made = plan(profile="quick", arches=("x86_64",), baseline="v6.1")
    told = json.loads(json.dumps(plan_to_dict(made)))
    assert told["baseline"] == "v6.1"
    assert told["builds"][0] == {
        "id": "v6.12/default/x86_64",
        "kernel": "v6.12",
        "source": "debian:6.12",
        "series": None,
        "apply": "strict",
        "patches": None,
        "prefix_of": None,
        "config": "default",
        "fragments": ["base", "thp"],
        "dotconfig": None,
        "selftest_config": [],
        "modules": False,
        "coverage": [],
        "kcov": [],
        "toolchain": "gcc",
        "arch": "x86_64",
    }
    cell = told["cells"][0]
    assert cell["id"] == "v6.12/default/x86_64/small"
    assert cell["build"] == "v6.12/default/x86_64"
    assert cell["shape"]["zram_mib"] == 256
    assert cell["workloads"][1] == {"name": "move/basic", "timeout": 30.0, "may_skip": False}


# ---------------------------------------------------------------- what ships


@pytest.fixture(scope="module")
def shipped() -> LabConfig:
    return load_config(HOME / "lab.yaml", ARCHES)


def matrix(lab: LabConfig, profile: str) -> set[str]:
    made = make_plan(lab, Selection(profile), ARCHES)
    assert {c.build.kernel.name for c in made.cells} == {"v6.12"}
    return {f"{c.build.config.name} {c.shape.name} {c.build.arch}" for c in made.cells}


def test_shipped_profiles(shipped: LabConfig) -> None:
    smoke = {f"default small {arch}" for arch in BOTH}
    quick = {
        f"{cell} {arch}"
        for arch in BOTH
        for cell in (
            "default small",
            "default zram",
            "default thp-always",
            "default thp-never",
            "no-thp small",
            "no-uffd small",
        )
    }
    debug = {
        f"{cell} {arch}"
        for arch in BOTH
        for cell in ("debug-vm small", "lockdep small", "kasan small", "numa numa2")
    }
    assert matrix(shipped, "smoke") == smoke
    assert matrix(shipped, "quick") == quick
    assert matrix(shipped, "full") == quick | debug
    shapes = ("default roomy", "numa roomy-numa2", "selftests small")
    selftests = {f"{cell} {arch}" for arch in BOTH for cell in shapes}
    assert matrix(shipped, "nightly") == quick | debug | selftests
    full, nightly = (make_plan(shipped, Selection(name), ARCHES) for name in ("full", "nightly"))
    own = {cell.id: {w.name for w in cell.workloads} for cell in full.cells}
    more = {cell.id: {w.name for w in cell.workloads} for cell in nightly.cells}
    assert all(own[cell] <= more[cell] for cell in own)
    added = {name for cell in more for name in more[cell] - own.get(cell, set())}
    assert added
    assert all(name.startswith(("kselftest/mm", "uffd-move/mirror")) for name in added)
    assert full.time_budget is None
    assert nightly.time_budget


def test_shipped_smoke_is_deterministic(shipped: LabConfig) -> None:
    for profile in ("smoke", "quick"):
        for cell in make_plan(shipped, Selection(profile), ARCHES).cells:
            assert all(w.deterministic for w in cell.workloads)


def test_shipped_bad_kernel_is_expected_to_fail(shipped: LabConfig) -> None:
    made = make_plan(shipped, Selection(kernels=("v6.12-rss-drift",)), ARCHES)
    assert {e.title for e in made.expectations} == {"Bad rss-counter state", "RssAnon"}
    cases = {e.case.partition(":")[0] for e in made.expectations}
    assert {"uffd-move/swap", "ledger/move-swap"} < cases
    # It must show in every config but the one without userfaultfd.
    selection = Selection("full", kernels=("v6.12-rss-drift",))
    expected = {e.config for e in make_plan(shipped, selection, ARCHES).expectations}
    assert "no-uffd" not in expected
    assert {"default", "no-thp", "kasan", "numa"} <= expected
    assert make_plan(shipped, Selection(), ARCHES).expectations == ()


def test_message_rules_of_lab_and_config_stand_beside_a_workloads_own() -> None:
    own = replace(LAB.workloads[0], messages=MessageRules(("r",), ("mine",), ("f",)))
    kasan = replace(LAB.configs[3], messages=MessageRules(allows=("mine", "kasan")))
    lab = replace(
        LAB,
        workloads=(own, *LAB.workloads[1:]),
        configs=(*LAB.configs[:3], kasan, *LAB.configs[4:]),
        messages=MessageRules(forbids=("splat",)),
    )
    plan = make_plan(lab, Selection(profile="full", configs=("default", "kasan")), NAMES)
    rules = {c.build.config.name: (c.messages, c.workloads[0].messages) for c in plan.cells}
    assert rules["default"] == (
        MessageRules(forbids=("splat",)),
        MessageRules(("r",), ("mine",), ("f", "splat")),
    )
    assert rules["kasan"][0] == MessageRules(allows=("mine", "kasan"), forbids=("splat",))
    assert rules["kasan"][1].allows == ("mine", "kasan")
    assert "WORKLOADS A" not in explain(plan)  # the same workloads, whatever their rules


def test_known_issues_are_in_the_plan() -> None:
    issue = KnownIssue("tracked", title="^WARNING", kernels=("< 6.8", ">= 6.12"))
    plan = make_plan(replace(LAB, known_issues=(issue,)), Selection(profile="smoke"), NAMES)
    assert plan.known_issues == (issue,)
    assert re.search(r"\^WARNING +< 6\.8 or >= 6\.12 +tracked", explain(plan))
    (told,) = plan_to_dict(plan)["known_issues"]
    assert (told["reason"], told["kernels"]) == ("tracked", ["< 6.8", ">= 6.12"])


def test_a_toolchain_asked_for_compiles_every_config() -> None:
    clang = Toolchain.parse("clang")
    mixed = replace(LAB, configs=tuple(
        replace(c, toolchain=clang if c.name == "default" else c.toolchain) for c in LAB.configs
    ))  # fmt: skip
    found = {b.config.name: str(b.config.toolchain) for b in plan(mixed, profile="full").builds}
    assert found.pop("default") == "clang"
    assert set(found.values()) == {"gcc"}
    asked = plan(mixed, profile="full", toolchain=Toolchain.parse("gcc-12")).builds
    assert {str(b.config.toolchain) for b in asked} == {"gcc-12"}
    # Its cells have the names that they have without it, so that they can be compared.
    assert {b.id for b in asked} == {b.id for b in plan(profile="full").builds}


def test_a_config_that_is_built_although_a_symbol_did_not_take() -> None:
    def mismatched(lab: LabConfig, **selection: object) -> set[str]:
        made = plan(lab, profile="full", **selection)
        assert len({build.id for build in made.builds}) == len(made.builds)
        return {b.config.name for b in made.builds if b.config.build_mismatched}

    every = {build.config.name for build in plan(profile="full").builds}
    assert mismatched(LAB) == set()
    assert mismatched(LAB, build_mismatched=True) == every
    asked = tuple(replace(c, build_mismatched=c.name == "default") for c in LAB.configs)
    assert mismatched(replace(LAB, configs=asked)) == {"default"}
    issue = KnownIssue("not in 6.1", case="config", config="no-*")
    foreseen = mismatched(replace(LAB, known_issues=(issue,)))
    assert foreseen == {name for name in every if name.startswith("no-")}
