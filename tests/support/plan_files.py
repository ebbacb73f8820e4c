# SPDX-License-Identifier: GPL-2.0-only
"""A small complete lab: its lab.yaml, a family, and how they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from orchestrator.model.errors import EXIT_USAGE
from orchestrator.model.spec import LabConfig
from orchestrator.plan.lab_yaml import (
    ConfigError,
    load_config,
)

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


def make_kernel_tree(folder: Path) -> None:
    """The least that is taken for a kernel tree."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Kconfig").write_text('mainmenu "Linux"\n')
    text = "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\n"
    (folder / "Makefile").write_text(text)


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


#: Anything that YAML can hold.
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
