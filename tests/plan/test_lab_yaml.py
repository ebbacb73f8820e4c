# SPDX-License-Identifier: GPL-2.0-only
"""lab.yaml: what is read, and what is told about a file that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_files import LAB, NAMES, change, load, problems, values

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.names import is_named
from orchestrator.plan.lab_yaml import (
    ConfigError,
    init_text,
    load_config,
)
from orchestrator.plan.problems import Problem
from orchestrator.plan.schema import LAB_SCHEMA, load_schema


def test_a_config_may_be_built_with_symbols_that_did_not_take(lab: Path) -> None:
    assert not any(config.build_mismatched for config in load(lab).configs)
    text = lab.read_text()
    lab.write_text(text.replace("    only_arch: [arm64]\n", "    build_mismatched: true\n", 1))
    assert [config.build_mismatched for config in load(lab).configs] == [False, True]


def test_how_a_series_is_applied(lab: Path) -> None:
    assert [kernel.apply for kernel in load(lab).kernels] == ["strict", "strict"]
    text = lab.read_text()
    for mode in ("strict", "3way", "fuzz"):
        line = f"    source: debian:6.12\n    apply: {mode}\n"
        lab.write_text(text.replace("    source: debian:6.12\n", line))
        assert load(lab).kernels[0].apply == mode
    lab.write_text(text.replace("    source: debian:6.12\n", line.replace("fuzz", "wiggle")))
    with pytest.raises(ConfigError) as wrong:
        load(lab)
    assert "strict, 3way or fuzz" in str(wrong.value)


def test_a_config_names_what_compiles_it(lab: Path) -> None:
    assert {str(config.toolchain) for config in load(lab).configs} == {"gcc"}
    text = lab.read_text()
    lab.write_text(text.replace("    only_arch: [arm64]\n", "    toolchain: clang-16\n", 1))
    assert [str(config.toolchain) for config in load(lab).configs] == ["gcc", "clang-16"]
    lab.write_text(text.replace("    only_arch: [arm64]\n", "    toolchain: llvm\n", 1))
    with pytest.raises(ConfigError, match="expected gcc, gcc-N, clang or clang-N"):
        load(lab)


def test_a_config_may_take_the_selftests_own_requests(lab: Path) -> None:
    text = lab.read_text()
    lab.write_text(text.replace("    only_arch: [arm64]\n", "    selftest_config: [mm]\n", 1))
    assert [config.selftest_config for config in load(lab).configs] == [(), ("mm",)]


def test_a_config_may_have_its_modules_built(lab: Path) -> None:
    text = lab.read_text()
    lab.write_text(text.replace("    only_arch: [arm64]\n", "    modules: true\n", 1))
    assert [config.modules for config in load(lab).configs] == [False, True]


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


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "lab.yaml", NAMES)
    assert "lab init" in caught.value.hint


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


# ---------------------------------------------------------------- finding the file


def test_what_is_not_beside_the_file_is_the_labs_own(lab: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "patches/fix").mkdir(parents=True)
    change(lab, "source: debian:6.12\n", "source: debian:6.12\n    series: patches/fix\n")
    assert "patches/fix does not exist" in problems(lab)[0]
    assert load_config(lab, NAMES, home=home).kernels[0].series == f"{home}/patches/fix"
    (lab.parent / "patches/fix").mkdir(parents=True)
    assert load_config(lab, NAMES, home=home).kernels[0].series == f"{lab.parent}/patches/fix"


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
    assert {p.name for p in config.profiles} == {
        "smoke", "quick", "full", "nightly", "host", "kunit", "mm-ci",
    }  # fmt: skip
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
