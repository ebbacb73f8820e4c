# SPDX-License-Identifier: GPL-2.0-only
"""Which files of a kernel count what of them runs, and what is kept of their compile."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.evidence import gcov
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import coverage
from orchestrator.kernel.source import store
from orchestrator.model.arch import ARCHES, Arch
from orchestrator.model.coverage import Function
from orchestrator.model.kernel import KernelTree, PatchState
from orchestrator.model.spec import ConfigSpec, KernelSpec

FILES = ("fs/exec.c", "fs/userfaultfd.c", "include/mm.h", "mm/kasan/init.c", "mm/mmap.c")
TREE = KernelTree(KernelSpec("k", "x"), "6.12", "base", "tree")
PATCHED = replace(TREE, patches=(PatchState(1, "s", "a", "0", True),), touched_files=FILES[:3])
CONFIG = ConfigSpec("coverage", coverage=("mm/*.c", "fs/userfaultfd.c"))


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "file_names", lambda _tree, _cache: FILES)


def test_a_config_without_coverage_counts_nothing(tmp_path: Path) -> None:
    assert coverage.counted(ConfigSpec("c"), PATCHED, Cache(tmp_path)) == ()
    assert coverage.make_words((), ARCHES["x86_64"]) == ()


def test_what_the_config_names_and_what_the_series_touches(tmp_path: Path) -> None:
    own = ("fs/userfaultfd.c", "mm/mmap.c")  # a star does not reach into mm/kasan
    assert coverage.counted(CONFIG, TREE, Cache(tmp_path)) == own
    assert coverage.counted(CONFIG, PATCHED, Cache(tmp_path)) == ("fs/exec.c", *own)
    # A tree of the user's that is set beside the nearest known kernel has no series.
    beside = replace(PATCHED, patches=())
    assert coverage.counted(CONFIG, beside, Cache(tmp_path)) == own


KBUILD = """
GCOV_PROFILE := n
GCOV_PROFILE_own.o := n
CFLAGS_GCOV := -fprofile-arcs -ftest-coverage
CFLAGS_GCOV += -fno-tree-loop-im
export CFLAGS_GCOV
_c_flags = $(if $(patsubst n%,, $(GCOV_PROFILE_$(notdir $@))$(GCOV_PROFILE)),$(CFLAGS_GCOV))
%.o:
	@echo $@ $(_c_flags)
"""


def test_these_objects_count_and_no_others_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(KBUILD)
    words = coverage.make_words(("mm/memory.c", "mm/own.c"), ARCHES["x86_64"])
    objects = ["mm/memory.o", "arch/x86/boot/memory.o", "mm/own.o"]
    done = subprocess.run(
        ["make", "-s", "-C", str(tmp_path), *words, *objects],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    flags = " ".join(coverage.FLAGS)
    assert told == [f"mm/memory.o {flags}", "arch/x86/boot/memory.o", "mm/own.o"]


SMALL = """static int twice(int n)
{
	return n * 2;
}
int main(int count, char **words)
{
	return count > 5 ? twice(count) : twice(0);
}
"""


def test_a_small_function_keeps_counts_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text(SMALL)
    for words in (["-O2", *coverage.FLAGS, "-c", "x.c"], ["--coverage", "x.o", "-o", "x"]):
        subprocess.run(["gcc", *words], cwd=tmp_path, check=True, timeout=60)
    subprocess.run([tmp_path / "x"], cwd=tmp_path, check=True, timeout=20)
    done = subprocess.run(
        ["gcov", "--json-format", "--stdout", "x.gcda"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    ((_, code, ran),) = gcov.told(done.stdout)
    assert Function("twice", 1, 4) in code["x.c"].functions
    assert 3 in ran["x.c"]


def test_a_kernel_that_cannot_count_is_the_users_mistake() -> None:
    assert coverage.problem(CONFIG, {"GCOV_KERNEL": "y"}, FILES) == ""
    assert coverage.problem(ConfigSpec("c"), {}, ()) == ""
    assert "CONFIG_GCOV_KERNEL came out n" in coverage.problem(CONFIG, {}, FILES)
    assert "no file of this tree fits" in coverage.problem(CONFIG, {"GCOV_KERNEL": "y"}, ())


def test_the_notes_are_kept_of_what_was_compiled(tmp_path: Path) -> None:
    (tmp_path / "obj/mm").mkdir(parents=True)
    (tmp_path / "obj/mm/mmap.gcno").write_bytes(b"oncg")
    (tmp_path / "obj/mm/other.gcno").write_bytes(b"oncg")
    coverage.pack(tmp_path / "obj", ("mm/hugetlb.c", "mm/mmap.c"), tmp_path)
    with tarfile.open(tmp_path / coverage.ARCHIVE) as archive:
        assert archive.getnames() == ["mm/mmap.gcno"]


@pytest.mark.parametrize("arch", ARCHES.values(), ids=ARCHES)
def test_counting_calls_nothing_that_a_kernel_lacks(arch: Arch, tmp_path: Path) -> None:
    """The functions of gcov are the kernel's own (kernel/gcov/gcc_base.c, v6.12)."""
    if not shutil.which(arch.gcc):
        pytest.skip(f"no {arch.gcc} here")
    (tmp_path / "x.c").write_text("int f(int n)\n{\n\treturn n > 3 ? n : 2;\n}\n")
    words = [arch.gcc, "-O2", *coverage.FLAGS, *arch.gcov_flags, "-c", "x.c"]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=60)
    done = subprocess.run(
        [f"{arch.cross}nm", "--undefined-only", "x.o"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    names = [line.split()[-1] for line in done.stdout.splitlines()]
    assert names
    assert all(name.startswith("__gcov_") for name in names)
