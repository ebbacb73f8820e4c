# SPDX-License-Identifier: GPL-2.0-only
"""The fragments that ship: each is readable, says what it is for, is used and documented."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.guest import share
from orchestrator.kernel.build import kconfig, needs
from orchestrator.model.arch import ARCHES
from orchestrator.plan.lab_yaml import load_config

FOLDER = HOME / "kernel-configs"
FRAGMENTS = sorted(FOLDER.glob("*.config"))
VERSIONS = ("6.1.150", "6.12.117", "6.18")

each = pytest.mark.parametrize("path", FRAGMENTS, ids=[path.stem for path in FRAGMENTS])


def test_there_is_nothing_else_here() -> None:
    assert FRAGMENTS
    others = [p.name for p in FOLDER.iterdir() if p.suffix not in (".config", ".md")]
    assert others == [kconfig.SUMS]


def test_each_is_known_as_the_labs_own() -> None:
    """Mend it with: cd kernel-configs && sha256sum *.config > SHA256SUMS."""
    sums = {hashlib.sha256(path.read_bytes()).hexdigest() for path in FRAGMENTS}
    assert kconfig.shipped_digests() == sums


@each
def test_parses_for_every_kernel(path: Path) -> None:
    for version in VERSIONS:
        assert kconfig.read_fragment(path, version), version


@each
def test_says_what_it_is_for(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert re.match(r"# [A-Z0-9a-z].{10,}", first)
    assert not first.startswith("# CONFIG_")


@each
def test_asks_for_nothing_twice(path: Path) -> None:
    for version in VERSIONS:
        symbols = [entry.symbol for entry in kconfig.read_fragment(path, version)]
        assert len(symbols) == len(set(symbols)), version


@each
def test_bounds_are_understood(path: Path) -> None:
    """A comment behind a symbol holds bounds and nothing that only looks like one."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        bound = re.match(r"^(?:CONFIG_\w+=.*?|# CONFIG_\w+ is not set)\s+#\s*(.*)$", line)
        if bound:
            place = f"{path.name}:{number}"
            only = re.fullmatch(r"only (\w+)", bound[1])
            assert re.search(r"\b(?:since|until) \d+\.\d+", bound[1]) or (
                only and only[1] in ARCHES
            ), place


@each
def test_is_used(path: Path) -> None:
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    used = {fragment.name for spec in config.configs for fragment in spec.fragments}
    # One is for complete configurations of others, one for `lab shell --share`: none ships.
    used |= {f"{needs.FRAGMENT}.config", share.FRAGMENT, *(f"{arch}.config" for arch in ARCHES)}
    assert path.name in used


@each
def test_is_documented(path: Path) -> None:
    word = re.compile(rf"(?<![\w-]){re.escape(path.stem)}(?![\w-])")
    pages = [HOME / "README.md", *(HOME / "docs").glob("*.md")]
    assert any(word.search(page.read_text()) for page in pages)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_config_merges(version: str) -> None:
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    for spec in config.configs:
        for arch in spec.only_arch or ARCHES:
            first, *rest = spec.fragments
            merged = kconfig.merge([first, FOLDER / f"{arch}.config", *rest], version)
            asked = {entry.symbol: entry.value for entry in merged}
            # What the lab cannot do without, whatever an axis asks for.
            for symbol in ("VIRTIO_BLK", "VIRTIO_NET", "EXT2_FS", "IKCONFIG_PROC", "PRINTK_TIME"):
                assert asked.get(symbol) == "y", f"{spec.name} {arch}: {symbol}"


def test_off_switches_are_off() -> None:
    config = {spec.name: spec for spec in load_config(HOME / "lab.yaml", tuple(ARCHES)).configs}

    def asked(name: str) -> dict[str, str]:
        return {e.symbol: e.value for e in kconfig.merge(config[name].fragments, "6.12")}

    assert asked("no-thp")["TRANSPARENT_HUGEPAGE"] == "n"
    assert asked("no-uffd")["USERFAULTFD"] == "n"
    assert asked("default")["TRANSPARENT_HUGEPAGE"] == asked("default")["USERFAULTFD"] == "y"


def test_what_finds_races_is_switched_on() -> None:
    """Built alone it watches nothing: ``kcsan_enabled`` of kernel/kcsan/core.c (v6.12)."""
    shipped = load_config(HOME / "lab.yaml", tuple(ARCHES)).configs
    asked = [{e.symbol: e.value for e in kconfig.merge(s.fragments, "6.12")} for s in shipped]
    racing = [symbols for symbols in asked if symbols.get("KCSAN") == "y"]
    assert racing
    assert all(symbols.get("KCSAN_EARLY_ENABLE") == "y" for symbols in racing)


def test_only_chosen_files_are_traced() -> None:
    for spec in load_config(HOME / "lab.yaml", tuple(ARCHES)).configs:
        asked = {e.symbol: e.value for e in kconfig.merge(spec.fragments, "6.12")}
        assert bool(spec.kcov) == (asked.get("KCOV") == "y")
        assert asked.get("KCOV_INSTRUMENT_ALL", "n") == "n"
