# SPDX-License-Identifier: GPL-2.0-only
"""Which files of a kernel tell a task what of them it runs."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import kcov
from orchestrator.kernel.source import store
from orchestrator.model.kernel import KernelTree, PatchState
from orchestrator.model.spec import ConfigSpec, KernelSpec

FILES = ("fs/exec.c", "fs/userfaultfd.c", "include/mm.h", "mm/kasan/init.c", "mm/mmap.c")
TREE = KernelTree(KernelSpec("k", "x"), "6.12", "base", "tree")
PATCHED = replace(TREE, patches=(PatchState(1, "s", "a", "0", True),), touched_files=FILES[:3])
CONFIG = ConfigSpec("explore", kcov=("mm/*.c", "fs/userfaultfd.c"))


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "file_names", lambda _tree, _cache: FILES)


def test_what_the_config_names_and_nothing_besides(tmp_path: Path) -> None:
    own = ("fs/userfaultfd.c", "mm/mmap.c")
    assert kcov.traced(CONFIG, TREE, Cache(tmp_path)) == own
    assert kcov.traced(CONFIG, PATCHED, Cache(tmp_path)) == own
    assert kcov.traced(ConfigSpec("c"), PATCHED, Cache(tmp_path)) == ()
    assert kcov.make_words(()) == ()


# As scripts/Makefile.lib of v6.12 has it, and the top of mm/Makefile.
KBUILD = """
KCOV_INSTRUMENT := n
KCOV_INSTRUMENT_slub.o := n
CFLAGS_KCOV := -fsanitize-coverage=trace-pc
_c_flags = $(if $(patsubst n%,, $(KCOV_INSTRUMENT_$(notdir $@))$(KCOV_INSTRUMENT)),$(CFLAGS_KCOV))
%.o:
	@echo $@ $(_c_flags)
"""


def test_these_objects_tell_and_no_others_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(KBUILD)
    words = kcov.make_words(("mm/memory.c", "mm/slub.c"))
    objects = ["mm/memory.o", "arch/x86/boot/memory.o", "mm/slub.o"]
    done = subprocess.run(
        ["make", "-s", "-C", str(tmp_path), *words, *objects],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    flag = "-fsanitize-coverage=trace-pc"
    assert told == [f"mm/memory.o {flag}", "arch/x86/boot/memory.o", "mm/slub.o"]


def test_a_kernel_that_tells_nothing_is_not_compiled() -> None:
    assert kcov.problem(CONFIG, {"KCOV": "y"}, FILES) == ""
    assert kcov.problem(ConfigSpec("c"), {}, ()) == ""
    assert "CONFIG_KCOV came out n" in kcov.problem(CONFIG, {}, FILES)
    assert "no file of this tree fits the `kcov`" in kcov.problem(CONFIG, {"KCOV": "y"}, ())
