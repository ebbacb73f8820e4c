# SPDX-License-Identifier: GPL-2.0-only
"""Tables of host tests: what is read, what is told of a wrong one, what cells come of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from plan_files import change, load, problems

from orchestrator import HOME
from orchestrator.model.arch import HOST_ARCH
from orchestrator.model.errors import UserError
from orchestrator.model.spec import HostTest, Plan
from orchestrator.plan.host_table import SCHEMA, host_families
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.plan.schema import load_schema
from orchestrator.plan.show import explain, plan_to_dict

NAMES = ("x86_64", "arm64")
MANIFEST = """\
family: host
description: Without a kernel
timeout: 40s
workloads:
  - name: shapes
    host: shapes.yaml
"""
TABLE = """\
folder: tools/testing/shapes
sources: [lib/round.c, tools/include]
packages: [liburcu-dev]
programs:
  round:
    args: [-v, 3]
    timeout: 90s
    allows: ["^expected: "]
    runs:
      plain: {}
      checked: { sanitize: [address], memory: 1G, args: [] }
      wide: { make: [WIDE=1], packages: [gcc-12-multilib], processes: 8 }
  long:
    deterministic: false
    repair: [-DMISSING=0]
known:
  - program: long
    case: build
    title: MISSING
    kernels: ["= 6.12"]
    reason: it is missing there
"""


@pytest.fixture
def host(lab: Path) -> Path:
    folder = lab.parent / "guest-tests/host"
    folder.mkdir()
    (folder / "manifest.yaml").write_text(MANIFEST)
    (folder / "shapes.yaml").write_text(TABLE)
    return lab


def test_each_run_of_each_program_is_a_workload(host: Path) -> None:
    found = {spec.name: spec for spec in load(host).workloads if spec.family == "host"}
    assert list(found) == [
        "host/shapes/round/plain", "host/shapes/round/checked", "host/shapes/round/wide",
        "host/shapes/long",
    ]  # fmt: skip
    plain = found["host/shapes/round/plain"]
    assert (plain.args, plain.timeout, plain.deterministic) == (("-v", "3"), 90.0, True)
    assert plain.description == "Without a kernel"
    assert plain.messages.allows == ("^expected: ",)
    known = plain.host.known if plain.host else ()
    assert plain.host == HostTest(
        "tools/testing/shapes", "round", ("lib/round.c", "tools/include"),
        packages=("liburcu-dev",), known=known, beside=("round", "long"),
    )  # fmt: skip
    (issue,) = known
    assert (issue.workload, issue.case, issue.title) == ("host/shapes/long", "build", "MISSING")
    checked = found["host/shapes/round/checked"]
    assert checked.args == ()
    assert checked.host is not None
    assert (checked.host.sanitize, checked.host.memory_mib) == (("address",), 1024)
    wide = found["host/shapes/round/wide"].host
    assert wide is not None
    assert (wide.make, wide.packages, wide.processes) == (("WIDE=1",), ("gcc-12-multilib",), 8)
    long = found["host/shapes/long"]
    assert (long.timeout, long.deterministic) == (40.0, False)
    assert host_families(load(host).workloads) == {"host"}


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("folder: tools/testing/shapes", "folder: ../shapes", "folder", "a path inside the tree"),
        ("sanitize: [address]", "sanitize: [adress]", "runs.checked.sanitize[0]", "address, undef"),
        ("memory: 1G", "memory: lots", "runs.checked.memory", "size"),
        ("make: [WIDE=1]", "make: [WIDE]", "runs.wide.make[0]", "NAME=VALUE"),
        ('"^expected: "', '"(["', "programs.round.allows[0]", "bad regular expression"),
        ("    timeout: 90s", "    timeuot: 90s", "programs.round.timeuot", "'timeout'?"),
        ('"= 6.12"', '"about 6"', "known[0].kernels", "expected limits such as"),
    ],
)
def test_a_slip_in_a_table(host: Path, old: str, new: str, key: str, message: str) -> None:
    change(host.parent / "guest-tests/host/shapes.yaml", old, new)
    told = [text for text in problems(host) if "host/shapes.yaml" in text]
    assert told
    assert key in told[0]
    assert message in told[0]


def test_a_block_without_a_guest_is_for_what_runs_on_the_host(host: Path) -> None:
    block = "profiles:\n  here:\n    matrix:\n      - workloads: [host]\n"
    change(host, "profiles:\n", block)
    assert load(host).profiles[0].entries[0].workloads == ("host",)
    change(host, "workloads: [host]", "workloads: [host, move]")
    told = problems(host)
    assert len(told) == 3
    assert "configs: is missing: expected a list of names" in told[0]


def test_no_config_may_be_called_host(host: Path) -> None:
    change(host, "configs:\n", "configs:\n  host: { fragments: [base] }\n")
    assert any("'host' is what runs without a guest" in text for text in problems(host))


# ---------------------------------------------------------------- cells

HERE = f"v6.12/host/{HOST_ARCH}/-"


def plan(**selection: object) -> Plan:
    config = load_config(HOME / "lab.yaml", NAMES)
    return make_plan(config, Selection(**selection), NAMES)  # type: ignore[arg-type]


def ids(made: Plan) -> list[str]:
    return [cell.id for cell in made.cells]


def test_a_kernel_has_one_cell_on_the_host_and_no_build_for_it() -> None:
    made = plan(profile="host")
    assert ids(made) == [HERE]
    assert made.builds == ()
    assert all(w.host is not None for w in made.cells[0].workloads)
    assert "this machine, no guest" in explain(made)
    assert plan_to_dict(made)["cells"][0]["id"] == HERE
    made = plan(profile="mm-ci")
    assert ids(made)[0] == HERE
    assert {build.arch for build in made.builds} == {"x86_64", "arm64"}
    assert "kselftest/mm" in {w.name for w in made.cells[1].workloads}


def test_asked_for_by_name_they_run_once_whatever_the_profile_has() -> None:
    made = plan(workloads=("host/vma",))
    assert ids(made) == [HERE]
    assert [w.name for w in made.cells[0].workloads] == [
        "host/vma/vma/plain",
        "host/vma/vma/checked",
    ]
    both = plan(workloads=("host/vma", "uffd-move/basic"))
    assert ids(both) == [HERE, "v6.12/default/x86_64/small", "v6.12/default/arm64/small"]
    assert [w.name for w in both.cells[1].workloads] == ["uffd-move/basic"]
    # What `*` means has not changed.
    assert not any(cell.on_host for p in ("smoke", "full") for cell in plan(profile=p).cells)


def test_the_command_line_narrows_to_the_host_and_away_from_it() -> None:
    other = next(name for name in NAMES if name != HOST_ARCH)
    assert HERE not in ids(plan(profile="mm-ci", arches=(other,)))
    assert ids(plan(profile="mm-ci", configs=("host",))) == [HERE]
    assert ids(plan(profile="mm-ci", arches=(HOST_ARCH,)))[0] == HERE
    assert HERE not in ids(plan(profile="mm-ci", configs=("kasan",)))
    with pytest.raises(UserError, match="--config host matches nothing"):
        plan(profile="smoke", configs=("host",))


def test_a_baseline_has_a_cell_on_the_host_too() -> None:
    made = plan(profile="host", series="/tmp/x.patch", baseline="v6.12")
    assert ids(made) == [f"cli/host/{HOST_ARCH}/-", HERE]
    assert made.builds == ()


def test_every_key_is_documented_and_says_what_is_expected() -> None:
    schema = load_schema(SCHEMA)
    Draft202012Validator.check_schema(schema)
    text = (HOME / "docs/host-tests.md").read_text(encoding="utf-8")
    for part in (schema, schema["$defs"]["program"], schema["$defs"]["known"]):
        for key, value in part["properties"].items():
            assert f"`{key}`" in text
            assert value["description"]
