# SPDX-License-Identifier: GPL-2.0-only
"""lab.yaml: what is read, and what is told about a file that is wrong."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_USAGE, UserError
from orchestrator.model.formats import parse_seconds, parse_size_mib
from orchestrator.model.names import is_named
from orchestrator.model.spec import LabConfig
from orchestrator.plan.kernels import resolve_series, resolve_source
from orchestrator.plan.lab_yaml import (
    ConfigError,
    find_config,
    init_text,
    load_config,
)
from orchestrator.plan.problems import Problem
from orchestrator.plan.schema import LAB_SCHEMA, MANIFEST_SCHEMA, fits, load_schema

NAMES = ("x86_64", "arm64")

LAB = """\
version: 1
default_profile: smoke
kernels:
  v6:
    source: debian:6.12
    provides: [uffd-move]
  old:
    source: debian:6.1=6.1.100-1
configs:
  default:
    fragments: [base, thp]
    provides: [thp]
  big:
    fragments: [base, ./kernel-configs/thp.config]
    only_arch: [arm64]
shapes:
  small: &small
    cpus: 4
    memory: 1G
    swap_disk: 512M
  always:
    <<: *small
    memory: 768
    boot_args: [transparent_hugepage=always]
profiles:
  smoke:
    matrix:
      - configs: [default]
        arches: [x86_64]
        shapes: [small]
        workloads: [move]
expect:
  - kernel: v*
    case: "move/basic:*"
    title: Bad rss-counter state
known_issues:
  - signature: 0123456789abcdef
    kernels: ">= 6.8, < 6.12.30"
    workload: move/*
    reason: >
      known,
      and tracked
  - title: ^WARNING in \\w+$
    kernels: [">= 6.8, < 6.12-rc3", "= 6.6"]
    kernel: cli
    config: big
    arch: arm*
    counters: true
    workload: boot
    reason: harmless
messages:
  forbids: [splat]
"""

MANIFEST = """\
family: move
description: >
  Moving
  pages
needs: [swap]
timeout: 2m
program: move.c
messages:
  allows: ["^harmless"]
workloads:
  - name: basic
    args: [basic, 64]
    exercises: [uffd-move]
    counters: [RssAnon]
    invariants: [counter-equals-walk]
  - name: race
    needs: [root, CONFIG_MEMCG]
    program: race.py
    timeout: 5
    deterministic: false
    messages: {forbids: ["x+"]}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A small complete lab; returns its lab.yaml."""
    make_lab(tmp_path)
    return tmp_path / "lab.yaml"


def make_lab(folder: Path) -> None:
    (folder / "kernel-configs").mkdir()
    for name in ("base", "thp", "x86_64", "arm64"):
        (folder / f"kernel-configs/{name}.config").write_text("")
    family = folder / "guest-tests/move"
    family.mkdir(parents=True)
    (folder / "guest-tests/lib").mkdir()
    (folder / "guest-tests/lib/shared.c").write_text("")
    (folder / "guest-tests/agent").mkdir()
    (folder / "guest-tests/agent/sampler.c").write_text("")
    (folder / "guest-tests/notes").mkdir()
    for name in ("move.c", "race.py"):
        (family / name).write_text("")
    (family / "manifest.yaml").write_text(MANIFEST)
    (folder / "lab.yaml").write_text(LAB)


def load(lab: Path) -> LabConfig:
    return load_config(lab, NAMES, home=lab.parent)


def problems(lab: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(lab)
    assert caught.value.exit_status == EXIT_USAGE
    told = [str(problem) for problem in caught.value.problems]
    assert caught.value.message == "\n".join(told)
    assert str(lab) in caught.value.hint
    return told


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1, old
    path.write_text(text.replace(old, new, 1))


def test_everything_is_read(lab: Path) -> None:
    config = load(lab)
    assert config.path == lab
    assert config.default_profile == "smoke"
    v6, old = config.kernels
    assert (v6.name, v6.source, v6.provides) == ("v6", "debian:6.12", ("uffd-move",))
    assert v6.where == "lab.yaml:4"
    assert old.source == "debian:6.1=6.1.100-1"
    default, big = config.configs
    assert [f.name for f in default.fragments] == ["base.config", "thp.config"]
    assert all(f.is_file() for f in big.fragments)
    assert big.only_arch == ("arm64",)
    small, always = config.shapes
    assert (small.cpus, small.memory_mib, small.swap_disk_mib, small.zram_mib) == (4, 1024, 512, 0)
    # The merge key brings in what the shape itself does not say.
    assert (always.cpus, always.memory_mib, always.swap_disk_mib) == (4, 768, 512)
    assert always.boot_args == ("transparent_hugepage=always",)
    (profile,) = config.profiles
    assert profile.entries[0].workloads == ("move",)
    assert profile.time_budget is None
    (expect,) = config.expectations
    assert (expect.kernel, expect.config, expect.case) == ("v*", "*", "move/basic:*")
    first, second = config.known_issues
    assert (first.signature, first.reason) == ("0123456789abcdef", "known, and tracked")
    assert (first.kernels, first.workload) == ((">= 6.8, < 6.12.30",), "move/*")
    assert (first.kernel, first.config, first.arch, first.counters) == ("*", "*", "*", False)
    assert first.where == "lab.yaml:37"
    assert (second.title, second.counters) == (r"^WARNING in \w+$", True)
    assert second.kernels == (">= 6.8, < 6.12-rc3", "= 6.6")
    assert (second.kernel, second.config, second.arch) == ("cli", "big", "arm*")
    assert config.messages.forbids == ("splat",)


def test_manifest_defaults_are_replaced_and_not_merged(lab: Path) -> None:
    basic, race = load(lab).workloads
    assert basic.name == "move/basic"
    assert basic.args == ("basic", "64")
    assert basic.description == "Moving pages"
    assert (basic.program, basic.needs, basic.timeout) == ("move.c", ("swap",), 120.0)
    assert basic.messages.allows == ("^harmless",)
    assert basic.where == "guest-tests/move/manifest.yaml:11"
    assert (race.program, race.needs, race.timeout) == ("race.py", ("root", "CONFIG_MEMCG"), 5.0)
    assert (race.messages.allows, race.messages.forbids) == (("^harmless",), ("x+",))
    assert not race.deterministic


def test_paths_are_relative_to_the_file(lab: Path) -> None:
    tree = lab.parent / "linux"
    tree.mkdir()
    (lab.parent / "v3.mbox").write_text("x")
    change(lab, "source: debian:6.12", "source: path:linux\n    series: v3.mbox")
    kernel = load(lab).kernels[0]
    assert kernel.source == f"path:{tree}"
    assert kernel.series == str(lab.parent / "v3.mbox")


def test_dotconfig(lab: Path) -> None:
    (lab.parent / "my.config").write_text("")
    change(
        lab, "  big:\n    fragments: [base,", "  big:\n    dotconfig: my.config\n    fragments: ["
    )
    big = load(lab).configs[1]
    assert big.full == lab.parent / "my.config"
    assert len(big.fragments) == 1


def test_fragments_and_workloads_come_from_home_when_not_beside_the_file(
    lab: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "lab.yaml"
    elsewhere.write_text(LAB)
    config = load_config(elsewhere, NAMES, home=lab.parent)
    assert config.configs[0].fragments[0] == lab.parent / "kernel-configs/base.config"
    assert [w.name for w in config.workloads] == ["move/basic", "move/race"]


WRONG = [
    ("source: debian:6.12", "sorce: debian:6.12", 5, "kernels.v6.sorce", "did you mean 'source'?"),
    ("    source: debian:6.12\n", "", 4, "kernels.v6.source", "is missing: expected debian:6.12"),
    ("debian:6.12", "ubuntu:6.12", 5, "kernels.v6.source", "is no kernel source; write debian:"),
    ("debian:6.12", "debian:bookworm", 5, "kernels.v6.source", "expected a version such as"),
    ("debian:6.12", "path:nowhere", 5, "kernels.v6.source", "nowhere does not exist"),
    ("debian:6.12", "tar:kernel-configs", 5, "kernels.v6.source", "is no file"),
    ("debian:6.12", "git:.", 5, "kernels.v6.source", "expected git:URL-or-DIR#REF"),
    ("debian:6.12", "'git:ext::sh -c id#x'", 5, "kernels.v6.source", "is not used here"),
    ("debian:6.12", "debian:6.12\n    series: nope", 6, "kernels.v6.series", "does not exist"),
    ("debian:6.12", "{a: 1}", 5, "kernels.v6.source", "found a mapping"),
    ("[uffd-move]", "[uffd-mvoe]", 6, "kernels.v6.provides[0]", "did you mean 'uffd-move'?"),
    ("[uffd-move]", "uffd-move", 6, "kernels.v6.provides", "expected a list of words"),
    ("  old:", "  cli:", 7, "kernels.cli", "has a meaning on the command line"),
    ("  old:", "  6.1:", 7, "kernels.6.1", "reads this key as float; quote it: '6.1'"),
    ("  old:", "  a/b:", 7, "kernels.a/b", "is no good name"),
    ("  old:", "  v6:", 7, "kernels.v6", "is here twice; the first is on line 4"),
    ("base, thp", "base, tph", 11, "configs.default.fragments[1]", "did you mean 'thp'?"),
    ("base, thp", "base, x86_64", 11, "configs.default.fragments[1]", "is put in by itself"),
    ("base, thp", "base, a/b", 11, "configs.default.fragments[1]", "no file 'a/b'"),
    ("base, thp", "base, base", 11, "configs.default.fragments", "'base' more than once"),
    ("[base, thp]", "[]", 11, "configs.default.fragments", "found an empty list"),
    ("    fragments: [base, thp]\n", "", 10, "configs.default", "fragments, dotconfig or both"),
    ("[base, thp]", "[base]\n    dotconfig: no", 12, "configs.default.dotconfig", "found false"),
    ("[base, thp]", "[base]\n    dotconfig: x", 12, "configs.default.dotconfig", "no file 'x'"),
    ("provides: [thp]", "lacks: [thb]", 12, "configs.default.lacks[0]", "did you mean 'thp'?"),
    ("[arm64]", "[arm46]", 15, "configs.big.only_arch[0]", "did you mean 'arm64'?"),
    (
        "cpus: 4",
        "cpus: two",
        18,
        "shapes.small.cpus",
        "a whole number from 1 to 64, found the text",
    ),
    ("cpus: 4", "cpus: 0", 18, "shapes.small.cpus", "found the number 0"),
    ("cpus: 4", "cpus: true", 18, "shapes.small.cpus", "found true"),
    ("memory: 1G", "memory: 1T", 19, "shapes.small.memory", "expected a size such as"),
    ("memory: 1G", "memory: 64M", 19, "shapes.small.memory", "at least 128M"),
    ("512M", "-1", 20, "shapes.small.swap_disk", "expected a size"),
    ("=always]", "=always x]", 24, "shapes.always.boot_args[0]", "without a space"),
    ("configs: [default]", "configs: [defualt]", 28, "configs[0]", "did you mean 'default'?"),
    ("arches: [x86_64]", "arches: [riscv64]", 29, "arches[0]", "no architecture 'riscv64'"),
    ("shapes: [small]", "shapes: [smal]", 30, "shapes[0]", "did you mean 'small'?"),
    ("shapes: [small]", "shapes: []", 30, "shapes", "with at least one"),
    ("workloads: [move]", "workloads: [mvoe]", 31, "workloads[0]", "did you mean 'move'?"),
    ("workloads: [move]", "kernels: [v5]", 31, "kernels[0]", "no kernel 'v5'"),
    ("    matrix", "    time_budget: 1y\n    matrix", 27, "time_budget", "such as 90s, 30m or 8h"),
    ("    matrix", "    time_budget: .nan\n    matrix", 27, "time_budget", "above zero"),
    ("default_profile: smoke", "default_profile: smok", 2, "default_profile", "'smoke'?"),
    (
        "default_profile",
        "default_kernels: [v66]\ndefault_profile",
        2,
        "default_kernels[0]",
        "'v6'?",
    ),
    ("kernel: v*", "kernel: w*", 33, "expect[0].kernel", "no kernel 'w*'"),
    ("move/basic:*", "move/basci:*", 34, "expect[0].case", "did you mean 'move/basic'?"),
    ("    title: Bad rss-counter state\n", "", 33, "expect[0].title", "is missing: expected part"),
    ("0123456789abcdef", "1123456789012345", 37, "known_issues[0].signature", "in quotes, found"),
    ("0123456789abcdef", "0123456789ABCDEF", 37, "signature", "16 hexadecimal digits"),
    ("signature: 01", "signatur: 01", 37, "known_issues[0].signatur", "'signature'?"),
    (
        "  - title: ^WARNING in \\w+$\n    kernels",
        "  - kernels",
        43,
        "[1].signature",
        "a title or a case",
    ),
    (
        "    reason: harmless\n",
        "",
        43,
        "known_issues[1].reason",
        "is missing: expected one sentence",
    ),
    ("reason: harmless", "reason: ' '", 50, "known_issues[1].reason", "says why, and where"),
    ("in \\w+$", "(", 43, "known_issues[1].title", "bad regular expression"),
    ("^WARNING in \\w+$", "W*", 43, "known_issues[1].title", "matches everything"),
    (
        "    workload: move/*\n",
        "    workload: move/*\n    case: '*'\n",
        40,
        "known_issues[0].case",
        "means every case: name one, or narrow it by a title",
    ),
    ("title: ^WARNING in \\w+$", "case: '**'", 43, "known_issues[1].case", "means every case"),
    ("< 6.12.30", "< 6,12", 38, "known_issues[0].kernels", "expected limits such as"),
    ("< 6.12.30", "< 6.7", 38, "known_issues[0].kernels", "no version is in this range"),
    ('"= 6.6"', '"~ 6.6"', 44, "known_issues[1].kernels[1]", "expected limits such as"),
    ("kernel: cli", "kernel: clib", 45, "known_issues[1].kernel", "did you mean 'cli'?"),
    ("config: big", "config: bug", 46, "known_issues[1].config", "'big'?"),
    ("arch: arm*", "arch: arm46", 47, "known_issues[1].arch", "did you mean 'arm64'?"),
    ("workload: move/*", "workload: mvoe/*", 39, "known_issues[0].workload", "no workload"),
    ("workload: boot", "workload: boots", 49, "known_issues[1].workload", "no workload"),
    ("forbids: [splat]", "forbid: [splat]", 52, "messages.forbid", "did you mean 'forbids'?"),
    ("forbids: [splat]", "requires: [x]", 52, "messages.requires", "unknown key"),
    ("forbids: [splat]", "allows: ['(']", 52, "messages.allows[0]", "bad regular expression"),
    ("[base, thp]", "[base]\n    messages: {allows: ['.*']}", 12, "allows[0]", "everything"),
    ("version: 1", "version: 2", 1, "version", "expected 1, the version of the format"),
    ("version: 1\n", "", 1, "version", "is missing"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "message"), WRONG)
def test_a_slip_is_told_with_its_place(
    lab: Path, old: str, new: str, line: int, key: str, message: str
) -> None:
    change(lab, old, new)
    told = problems(lab)
    assert len(told) == 1, told
    where, _, rest = told[0].partition(": ")
    assert where == f"lab.yaml:{line}"
    assert key in rest.partition(": ")[0]
    assert message in rest


WRONG_MANIFEST = [
    ("family: move", "family: mover", 1, "family", "expected 'move', the name of the folder"),
    ("needs: [swap]", "needs: [swop]", 5, "needs[0]", "swap, thp, ksm, numa, hugepages, root"),
    ("timeout: 2m", "timeout: 0", 6, "timeout", "such as 90s or 5m"),
    ("program: move.c", "program: mvoe.c", 7, "program", "did you mean 'move.c'?"),
    ("program: move.c", "program: ../x.c", 7, "program", "a .c, .py or .sh file"),
    ("program: move.c\n", "", 10, "workloads[0].program", "is missing"),
    ('"^harmless"', '"(["', 9, "messages.allows[0]", "bad regular expression '(['"),
    ('"^harmless"', '"x*"', 9, "messages.allows[0]", "'x*' matches everything, an empty line too"),
    ('"^harmless"', '"[[a]"', 9, "messages.allows[0]", "bad regular expression '[[a]'"),
    ("name: race", "name: basic", 16, "workloads[1].name", "'basic' is on line 11 already"),
    ("counters: [RssAnon]", "counter: [RssAnon]", 14, "workloads[0].counter", "'counters'?"),
    ("equals-walk", "equal", 15, "invariants[0]", "counter-equals-walk, move-conserves"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "message"), WRONG_MANIFEST)
def test_a_slip_in_a_manifest(
    lab: Path, old: str, new: str, line: int, key: str, message: str
) -> None:
    change(lab.parent / "guest-tests/move/manifest.yaml", old, new)
    told = problems(lab)
    assert len(told) == 1, told
    where, _, rest = told[0].partition(": ")
    assert where == f"guest-tests/move/manifest.yaml:{line}"
    assert key in rest.partition(": ")[0]
    assert message in rest


def test_all_problems_at_once_and_in_order(lab: Path) -> None:
    change(lab, "source: debian:6.12", "sorce: debian:6.12")
    change(lab, "cpus: 4", "cpus: x")
    change(lab, "configs: [default]", "configs: [defualt]")
    change(lab.parent / "guest-tests/move/manifest.yaml", "2m", "2y")
    assert [p.split(": ")[0] for p in problems(lab)] == [
        "lab.yaml:5",
        "lab.yaml:18",
        "lab.yaml:28",
        "guest-tests/move/manifest.yaml:6",
    ]


def test_a_program_without_a_manifest_is_told_and_brings_no_other_message(lab: Path) -> None:
    (lab.parent / "guest-tests/move/manifest.yaml").unlink()
    (told,) = problems(lab)
    assert told.startswith("guest-tests/move/manifest.yaml: cannot be read")


def test_missing_workload_folder(lab: Path) -> None:
    shutil.rmtree(lab.parent / "guest-tests")
    assert problems(lab) == [
        "lab.yaml:1: workload_folders: no folder 'guest-tests' beside lab.yaml"
    ]


def test_a_family_in_two_folders(lab: Path) -> None:
    shutil.copytree(lab.parent / "guest-tests", lab.parent / "more")
    change(lab, "version: 1", "version: 1\nworkload_folders: [guest-tests, more]")
    assert problems(lab) == ["more/move/manifest.yaml: family 'move' is in guest-tests too"]


def test_the_labs_own_folders_are_no_families(lab: Path) -> None:
    """Unless somebody means so: then they have a manifest."""
    assert {workload.family for workload in load(lab).workloads} == {"move"}
    agent = lab.parent / "guest-tests/agent"
    shutil.copytree(lab.parent / "guest-tests/move", agent, dirs_exist_ok=True)
    change(agent / "manifest.yaml", "family: move", "family: agent")
    assert {workload.family for workload in load(lab).workloads} == {"agent", "move"}


def laughs(merge: str) -> bytes:
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, 30):
        lines.append(f"a{i}: &a{i} {merge % ','.join([f'*a{i - 1}'] * 9)}")
    return "\n".join(lines).encode()


# What stands after "YAML syntax: " is the parser's, and so is which column it names.
UNREADABLE = [
    (b"", "lab.yaml: is empty"),
    (b"# nothing\n", "lab.yaml: is empty"),
    (b"kernels:\n\tv6: 1\n", "lab.yaml:2: YAML syntax: "),
    (b"kernels: {a: b\n", ": YAML syntax: "),
    (b"a: 1\n---\nb: 2\n", "lab.yaml:2: YAML syntax: "),
    (b"a: *b\n", "lab.yaml:1: YAML syntax: "),
    (b"a: 1\nb: \xff\n", "lab.yaml:2: is not UTF-8: byte 0xff"),
    (b"a: 1\nb: \x07\n", "lab.yaml:2: YAML syntax: "),
    (b"[" * 60 + b"]" * 60, "lab.yaml:1: is nested more than"),
    (b"- " * 60, "lab.yaml:1: is nested more than"),
    (b"[" * 100_000, "lab.yaml:1:"),  # some parsers have a limit of their own
    (b"- " * 5_000, "lab.yaml:1:"),
    (b"a: &a [*a]", "lab.yaml:1: a[0][0]: nested too deeply"),
    (b"a: &a {<<: *a}", "lab.yaml:1: a: merges itself"),
    (b"x" * (1 << 20) + b"x", "lab.yaml: is larger than 1 MiB"),
    (laughs("[%s]"), "too many values"),
    (laughs("{<<: [%s]}"), "too many values"),
]


@pytest.mark.parametrize(("raw", "message"), UNREADABLE)
def test_a_file_that_cannot_be_read(lab: Path, raw: bytes, message: str) -> None:
    lab.write_bytes(raw)
    (told,) = problems(lab)
    assert message in re.sub(r"^(lab\.yaml:\d+):\d+: ", r"\1: ", told)


def test_a_tab_is_named(lab: Path) -> None:
    lab.write_text("kernels:\n\tv6: 1\n")
    assert "indented with spaces" in problems(lab)[0]


@pytest.mark.parametrize("raw", [b"- a", b"text", b"12", b"null", b"!!python/name:os.system x"])
def test_a_file_that_is_no_mapping(lab: Path, raw: bytes) -> None:
    lab.write_bytes(raw)
    assert problems(lab)[0].startswith("lab.yaml:1:1: ")


def test_tags_and_odd_keys(lab: Path) -> None:
    lab.write_text(LAB + "? [a]\n: 1\non: 2\nx: !!python/object:os.system {}\n")
    told = "\n".join(problems(lab))
    assert "a key must be text" in told
    assert "lab.yaml:55: on: YAML reads this key as bool; quote it: 'on'" in told
    assert "lab.yaml:56: x: " in told


def test_byte_order_mark_is_fine(lab: Path) -> None:
    lab.write_bytes(b"\xef\xbb\xbf" + LAB.encode())
    load(lab)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "lab.yaml", NAMES)
    assert "lab init" in caught.value.hint


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["source", "fragments", "matrix", "configs", "cpus", "memory", "name", "needs", "a"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(load_schema(LAB_SCHEMA)["properties"])), value=values)
def test_any_value_anywhere_is_told_and_never_raises_anything_else(
    lab: Path, key: str, value: object
) -> None:
    data = yaml.safe_load(LAB)
    data[key] = value
    lab.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    found: tuple[Problem, ...] = ()
    try:
        load(lab)
    except ConfigError as error:
        found = error.problems
    assert all(str(problem).isprintable() for problem in found), found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(load_schema(MANIFEST_SCHEMA)["properties"])), value=values)
def test_any_value_in_a_manifest(lab: Path, key: str, value: object) -> None:
    data = yaml.safe_load(MANIFEST)
    if key == "workloads":
        data[key] = [value, {**data[key][0], "name": "second", "messages": value, "args": value}]
    else:
        data[key] = value
    path = lab.parent / "guest-tests/move/manifest.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    found: tuple[Problem, ...] = ()
    try:
        load(lab)
    except ConfigError as error:
        found = error.problems
    assert all(str(problem).isprintable() for problem in found), found


@given(data=st.data())
def test_the_quick_check_never_lets_pass_what_jsonschema_refuses(data: st.DataObject) -> None:
    from jsonschema import Draft202012Validator

    name, text = data.draw(st.sampled_from([(LAB_SCHEMA, LAB), (MANIFEST_SCHEMA, MANIFEST)]))
    schema = load_schema(name)
    document = yaml.safe_load(text)
    assert fits(document, schema, schema)
    # Put anything in place of, or beside, any part of a right document.
    part = document
    while True:
        keys = sorted(part) if isinstance(part, dict) else list(range(len(part)))
        key = data.draw(st.sampled_from(keys)) if keys else None
        inner = part[key] if key is not None else None
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        part = inner
    if isinstance(part, list):
        part.append(data.draw(values))
    else:
        part[data.draw(st.sampled_from(sorted(part)) | st.text(max_size=3))] = data.draw(values)
    if fits(document, schema, schema):
        assert list(Draft202012Validator(schema).iter_errors(document)) == []


def test_the_quick_check_knows_every_keyword_of_the_schemas() -> None:
    assert not fits("x", {"type": "string", "format": "date"}, {})
    for name, text in ((LAB_SCHEMA, LAB), (MANIFEST_SCHEMA, MANIFEST)):
        assert fits(yaml.safe_load(text), load_schema(name), load_schema(name))


# ---------------------------------------------------------------- finding the file


def test_find_config(lab: Path) -> None:
    deep = lab.parent / "guest-tests/move"
    assert find_config(deep, {}) == lab
    assert find_config(lab.parent, {}) == lab
    other = lab.parent / "other.yaml"
    other.write_text("")
    assert find_config(deep, {"LAB_YAML": str(other)}) == other
    assert find_config(lab.parent, {"LAB_YAML": "other.yaml"}) == other
    with pytest.raises(UserError, match="LAB_YAML"):
        find_config(deep, {"LAB_YAML": "nowhere"})


def test_find_config_without_one(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_config(tmp_path, {})
    assert "lab init" in caught.value.hint


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("value", "mib"), [(512, 512), ("512M", 512), ("2G", 2048), (0, 0), ("0M", 0)]
)
def test_sizes(value: object, mib: int) -> None:
    assert parse_size_mib(value) == mib


@pytest.mark.parametrize(
    "value", ["", "G", "1", "1.5G", "1 G", "1g", "1GiB", "9999999G", -1, True, None, [], 1.5, "१G"]
)
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_size_mib(value)


@pytest.mark.parametrize(
    ("value", "seconds"), [(30, 30.0), (0.5, 0.5), ("90s", 90.0), ("1.5m", 90.0), ("8h", 28800.0)]
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize(
    "value", [0, -1, "0s", "1d", "", "s", float("nan"), float("inf"), True, None, "999h"]
)
def test_no_durations(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_seconds(value)


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "linux").mkdir()
    (tmp_path / "l.tar.xz").write_text("")
    assert resolve_source("path:linux", tmp_path) == f"path:{tmp_path}/linux"
    assert resolve_source("path:.", tmp_path / "linux") == f"path:{tmp_path}/linux"
    assert resolve_source("tar:l.tar.xz", tmp_path) == f"tar:{tmp_path}/l.tar.xz"
    assert resolve_source("git:linux#v6.12", tmp_path) == f"git:{tmp_path}/linux#v6.12"
    remote = "git:https://example.org/linux.git#master"
    assert resolve_source(remote, tmp_path) == remote
    assert resolve_source("git:git@example.org:linux#a/b", tmp_path).endswith("linux#a/b")
    assert (
        resolve_series("git:linux#v6.12..HEAD~2", tmp_path) == f"git:{tmp_path}/linux#v6.12..HEAD~2"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "linux",
        "path:",
        "tar:",
        "git:#x",
        "git:.#--upload-pack=x",
        "git:-x#y",
        "git:ext::sh#y",
        "git:.#a b",
        "debian:",
        "debian:6",
        "debian:6.12=",
        "debian:6.12=-o x",
        "path:a\0b",
        "path:a\nb",
        "path:~nobody-of-this-name/x",
        "path:" + "a" * 5000,
    ],
)
def test_no_sources(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        resolve_source(text, tmp_path)


@pytest.mark.parametrize(
    "text", ["", "nope", "git:.#a", "git:.#..", "git:.#-a..b", "git:x#a..b", "\0"]
)
def test_no_series(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        resolve_series(text, tmp_path)


def test_patterns_of_workloads(lab: Path) -> None:
    names = [workload.name for workload in load(lab).workloads]
    for pattern in ("*", "move", "move/*", "mo*"):
        assert len([name for name in names if is_named(name, pattern)]) == 2
    assert [name for name in names if is_named(name, "move/b*")] == ["move/basic"]
    assert not any(is_named(name, "basic") for name in names)


# ---------------------------------------------------------------- what ships


def test_a_bad_name_of_a_collection_is_told_with_its_place(lab: Path) -> None:
    family = lab.parent / "guest-tests" / "kselftest"
    family.mkdir()
    (family / "run.sh").write_text("")
    (family / "mm.yaml").write_text("programs: {}\n")
    (family / "manifest.yaml").write_text(
        "family: kselftest\ndescription: x\nprogram: run.sh\n"
        "workloads:\n  - name: mm\n    selftests: mm.yaml\n"
    )
    change(lab, "workloads: [move]", "workloads: [kselftest/../x]")
    (told,) = problems(lab)
    assert told.startswith("lab.yaml:31: ")
    assert "'kselftest/../x': expected kselftest/COLLECTION" in told


def test_shipped_lab_yaml_validates() -> None:
    config = load_config(HOME / "lab.yaml", ARCHES)
    assert {k.name for k in config.kernels} >= {"v6.12", "v6.1"}
    assert {p.name for p in config.profiles} == {"smoke", "quick", "full", "nightly"}
    assert {w.family for w in config.workloads} >= {"uffd-move", "compactor", "ledger"}
    assert config.default_profile == "smoke"
    assert config.default_kernels == ("v6.12",)


def test_init_text_validates(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As written, and with every commented part switched on."""
    home = lab.parent
    for name in re.findall(r"[\w-]+", " ".join(re.findall(r"fragments: \[(.*)\]", init_text()))):
        (home / f"kernel-configs/{name}.config").write_text("")
    (home / "guest-tests/move").rename(home / "guest-tests/uffd-move")
    change(home / "guest-tests/uffd-move/manifest.yaml", "family: move", "family: uffd-move")
    folder = tmp_path_factory.mktemp("new") / "lab"
    folder.mkdir()
    path = folder / "lab.yaml"
    path.write_text(init_text())
    config = load_config(path, ARCHES, home=home)
    assert [k.name for k in config.kernels] == ["stable"]

    (folder.parent / "linux").mkdir()
    (folder.parent / "patches/v3").mkdir(parents=True)
    (folder / "my.config").write_text("")
    switched = re.sub(r"^( *)# ( *(- )?[a-z_0-9]+:( .*)?)$", r"\1\2", init_text(), flags=re.M)
    path.write_text(switched)
    config = load_config(path, ARCHES, home=home)
    assert [k.name for k in config.kernels] == ["stable", "mine"]
    assert [s.name for s in config.shapes] == ["small", "numa2"]
    assert config.expectations[0].title == "Bad rss-counter state"
    assert config.known_issues[0].kernels == (">= 6.8, < 6.12.30",)


def documented(section: str) -> set[str]:
    """The keys that a section of docs/lab-yaml.md has in its tables."""
    text = (HOME / "docs/lab-yaml.md").read_text(encoding="utf-8")
    sections = re.split(r"^##+ ", text, flags=re.M)
    (body,) = [s for s in sections if s.splitlines()[0] == section]
    tables = [part for part in body.split("\n\n") if part.startswith("| key |")]
    return set(re.findall(r"^\| `([^`]+)` \|", "\n".join(tables), flags=re.M))


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    lab, manifest = load_schema(LAB_SCHEMA), load_schema(MANIFEST_SCHEMA)
    yield "Top level", lab
    yield "A manifest", manifest
    titles = {
        "kernel": "Kernels",
        "config": "Configs",
        "shape": "Shapes",
        "profile": "Profiles",
        "block": "Blocks of a matrix",
        "expectation": "Expected failures",
        "known_issue": "Known issues",
        "workload": "A workload",
    }
    messages = {"lab.yaml": "Messages of the lab and of a config"}
    for schema in (lab, manifest):
        titles["messages"] = messages.get(schema["title"], "Message rules")
        for name, part in schema["$defs"].items():
            if part["type"] == "object":
                yield titles[name], part


@pytest.mark.parametrize(("section", "schema"), list(objects()))
def test_every_key_is_documented(section: str, schema: dict[str, Any]) -> None:
    assert documented(section) == set(schema["properties"])


def test_the_words_of_the_schema_are_documented() -> None:
    text = (HOME / "docs/lab-yaml.md").read_text(encoding="utf-8")
    for word in load_schema(MANIFEST_SCHEMA)["$defs"]["invariants"]["items"]["enum"]:
        assert f"`{word}`" in text
    for word in ("swap", "thp", "ksm", "numa", "hugepages", "root", "CONFIG_NAME", *ARCHES):
        assert f"`{word}`" in text


@pytest.mark.parametrize("name", [LAB_SCHEMA, MANIFEST_SCHEMA])
def test_schemas_are_valid_and_say_what_is_expected(name: str) -> None:
    from jsonschema import Draft202012Validator

    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)

    def walk(part: object) -> Iterator[dict[str, Any]]:
        if isinstance(part, dict):
            yield part
            part = list(part.values())
        for inner in part if isinstance(part, list) else []:
            yield from walk(inner)

    for part in walk(schema):
        if "pattern" in part:
            assert "x-expected" in part, part
            assert not part["pattern"].endswith("$"), "in Python $ lets a newline follow"
        if "properties" in part and "type" in part:
            assert part["additionalProperties"] is False
            for inner in part["properties"].values():
                assert "description" in inner, inner


def test_a_right_file_does_not_pay_for_jsonschema(lab: Path) -> None:
    code = (
        "import sys, pathlib, orchestrator.plan.matrix;"
        "from orchestrator.plan.lab_yaml import load_config;"
        f"load_config(pathlib.Path({str(lab)!r}), ['x86_64', 'arm64'], pathlib.Path('/'));"
        "print(*sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME
    ).stdout
    assert "orchestrator.plan.matrix" in out.split()
    assert "jsonschema" not in out.split()
