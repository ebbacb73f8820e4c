# SPDX-License-Identifier: GPL-2.0-only
"""Fragments, complete configurations and the selftests' own: which of them counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import asked
from orchestrator.kernel.build.asked import Asked
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import ConfigSpec, KernelSpec

X86, ARM = ARCHES["x86_64"], ARCHES["arm64"]
HEAD = "# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.12.117 Kernel Configuration\n"


class Files:
    """Write files, and ask what a config of them asks for."""

    def __init__(self, folder: Path, cache: Cache, tree: str) -> None:
        self.folder, self.cache, self.tree = folder, cache, tree
        self.arch_fragment = self.write("x86_64", "CONFIG_ARCH=y\n")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.config"
        path.write_text(text)
        return path

    def ask(
        self,
        *fragments: Path,
        full: Path | None = None,
        selftests: str = "",
        modules: bool = False,
    ) -> Asked:
        words = tuple(selftests.split())
        config = ConfigSpec("c", fragments, full, selftest_config=words, modules=modules)
        tree = KernelTree(KernelSpec("k", "path:x"), "6.12", self.tree, self.tree)
        return asked.ask(config, tree, X86, self.arch_fragment, self.cache)

    def values(
        self, *fragments: Path, full: Path | None = None, selftests: str = ""
    ) -> dict[str, str]:
        found = self.ask(*fragments, full=full, selftests=selftests)
        return {request.symbol: request.value for request in found.requests}


@pytest.fixture
def files(tmp_path: Path, cache: Cache, fetch: Callable[[str], KernelTree], kernel: Path) -> Files:
    for name, text in (
        ("mm", "# c\nCONFIG_GUP=y\nCONFIG_HMM=m\n"),
        ("net/forwarding", "CONFIG_V=y"),
    ):
        folder = kernel / "tools/testing/selftests" / name
        folder.mkdir(parents=True)
        (folder / "config").write_text(text)
    (tmp_path / "files").mkdir()
    return Files(tmp_path / "files", cache, fetch(f"path:{kernel}").tree)


def test_a_complete_config_takes_its_place(files: Files) -> None:
    base = files.write("base", "CONFIG_A=y\nCONFIG_B=y\nCONFIG_N=y\n")
    mine = files.write("mine", HEAD + "CONFIG_A=m\nCONFIG_B=y\n# CONFIG_C is not set\n")
    top = files.write("top", "CONFIG_C=y\n")

    first = files.ask(mine, base)
    assert first.full
    assert (first.full.path, first.full.version) == (mine, "6.12.117")
    assert files.values(mine, base) == {"A": "y", "B": "y", "N": "y"}  # and no ARCH
    assert first.notes == ("base.config counts over mine.config: CONFIG_A m -> y",)

    last = files.ask(base, mine, top)
    assert files.values(base, mine, top) == {"N": "y", "C": "y"}
    assert last.notes == (
        "mine.config stands behind base.config and counts: CONFIG_A stays m, not y; name it first "
        "to have the fragments count",
        "top.config counts over mine.config: CONFIG_C n -> y",
    )


def test_as_dotconfig_it_is_below_every_fragment(files: Files) -> None:
    base = files.write("base", "CONFIG_A=y\n")
    part = files.write("defconfig", "CONFIG_A=m\n")  # no heading, and told to be the whole
    found = files.ask(base, full=part)
    assert found.full
    assert found.full.settings["A"].value == "m"
    assert files.values(base, full=part) == {"A": "y"}


def test_one_complete_config_only(files: Files) -> None:
    one, other = (
        files.write("one", HEAD + "CONFIG_A=y\n"),
        files.write("other", HEAD + "CONFIG_A=y\n"),
    )
    for full, fragments in ((one, (other,)), (None, (one, other))):
        with pytest.raises(UserError, match=r"two complete configurations: .*one.* and .*other"):
            files.ask(*fragments, full=full)


def test_a_config_of_another_architecture(files: Files) -> None:
    mine = files.write("mine", HEAD + "CONFIG_A=y\n")
    asked.check(ConfigSpec("c", (mine,)), X86)
    with pytest.raises(UserError, match=r"is a configuration for x86, and .* for arm64") as caught:
        asked.check(ConfigSpec("c", (), mine), ARM)
    assert "only_arch: [x86_64]" in caught.value.hint


def test_what_cannot_be_read_is_told_without_a_kernel(files: Files) -> None:
    for text, place in (("USERFAULTFD=y\n", 1), ("CONFIG_A=y\n\x01\n", 2)):
        wrong = files.write("wrong", text)
        with pytest.raises(UserError, match=rf"wrong\.config:{place}: "):
            asked.check(ConfigSpec("c", (wrong,)), X86)


def test_the_selftests_requests_are_below_the_fragments(files: Files) -> None:
    base = files.write("base", "CONFIG_GUP=n\n")
    assert files.values(base, selftests="mm") == {"HMM": "y", "GUP": "n", "ARCH": "y"}
    found = files.ask(base, selftests="mm")
    assert found.notes == (
        "selftests/mm/config asks for GUP=y, HMM=y",
        "what a fragment says counts all the same: GUP=n by base.config",
    )
    hmm = next(request for request in found.requests if request.symbol == "HMM")
    assert (hmm.trees, hmm.fragment, hmm.line) == (True, "selftests/mm/config", 3)
    assert files.values(base, selftests="net.forwarding")["V"] == "y"
    loaded = files.ask(base, selftests="mm", modules=True)
    assert loaded.notes[0] == "selftests/mm/config asks for GUP=y, HMM=m"


def test_selftests_on_top_of_a_complete_config(files: Files) -> None:
    mine = files.write("mine", HEAD + "CONFIG_GUP=n\n")
    assert files.values(full=mine, selftests="mm") == {"GUP": "y", "HMM": "y"}
    notes = files.ask(full=mine, selftests="mm").notes
    assert notes[1:] == ("selftests/mm/config counts over mine.config: CONFIG_GUP n -> y",)


def test_no_such_selftests(files: Files) -> None:
    base = files.write("base", "CONFIG_A=y\n")
    with pytest.raises(UserError, match="kernel k has no tools/testing/selftests/nm/config"):
        files.ask(base, selftests="nm")
