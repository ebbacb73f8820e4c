# SPDX-License-Identifier: GPL-2.0-only
"""Builds of a tree that changes, by a real make, gcc and ccache: no object of before is taken."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build.make import build_kernel
from orchestrator.kernel.build.request import build_request
from orchestrator.kernel.source.fetch import fetch_base
from orchestrator.kernel.source.worktree import checkout
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec

pytestmark = pytest.mark.skipif(shutil.which("ccache") is None, reason="ccache is not installed")

# As little of Kbuild as has its rules: objects, and for each a recipe that names what it saw.
_MAKEFILE = r"""
VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 117
SRC := $(CURDIR)
SEES := -I$(SRC)/include -I$(SRC)/include/uapi
allnoconfig:
	@cat $(KCONFIG_ALLCONFIG) > $(O)/.config
bzImage: $(O)/mm/b.o $(O)/mm/a.o
	@cd $(O) && cat mm/b.o mm/a.o > vmlinux
	@mkdir -p $(O)/arch/x86/boot && cp $(O)/vmlinux $(O)/arch/x86/boot/bzImage
$(O)/mm/%.o: $(SRC)/mm/%.c
	@echo "  CC      mm/$*.o"
	@mkdir -p $(O)/mm
	@cd $(O) && $(CC) -Wp,-MMD,mm/.$*.o.d $(SEES) -c -o mm/$*.o $<
	@echo "savedcmd_mm/$*.o := $(CC) $(SEES) -c -o mm/$*.o $<" > $(O)/mm/.$*.o.cmd
	@cat $(O)/mm/.$*.o.d >> $(O)/mm/.$*.o.cmd
	@sed -i -e 's|^[^ :]*:|$(O)/mm/$*.o:|' -e 's| \.\./| $(O)/../|g' $(O)/mm/.$*.o.d
-include $(O)/mm/.a.o.d $(O)/mm/.b.o.d
"""


@pytest.fixture
def linux(tmp_path: Path) -> Path:
    tree = tmp_path / "linux"
    for name, text in (
        ("Makefile", _MAKEFILE),
        ("Kconfig", "config A\n\tbool\n"),
        ("include/linux/other.h", "#define MOVE 5\n"),
        ("include/uapi/linux/move.h", "#define MOVE 1\n"),
        ("mm/a.c", "#include <linux/move.h>\nint a = MOVE;\n"),
        ("mm/b.c", "int b = 1;\n"),
        ("mm/other.c", "int a = 7;\n"),
    ):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "a.config").write_text("CONFIG_A=y\n")
    return tree


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def build(linux: Path, cache: Cache, tmp_path: Path) -> Callable[[], tuple[Verdict, int]]:
    """Build the tree as it stands; give how that ended, and what a.o holds (0: there is none)."""
    fragment = tmp_path / "a.config"
    spec = KernelSpec("k", f"path:{linux}")
    wanted = Build("k/default/x86_64", spec, ConfigSpec("default", (fragment,)), "x86_64")

    def work() -> tuple[Verdict, int]:
        tree = fetch_base(spec, cache, print, 60).tree
        kernel = KernelTree(spec, "6.12.117", tree, tree)
        request = build_request(wanted, kernel, "s", ARCHES["x86_64"], fragment)
        with checkout(tree, "s", cache) as folder:
            built = build_kernel(request, folder, cache, jobs=1, deadline=60)
        made = cache.build_folder("s", "default", "x86_64") / "mm/a.o"
        if not made.exists():
            return built.verdict, 0
        data = tmp_path / "data"
        subprocess.run(["objcopy", "-O", "binary", "-j", ".data", made, data], check=True)
        return built.verdict, int.from_bytes(data.read_bytes()[:4], "little")

    return work


def test_a_header_put_before_another_by_a_series_that_first_did_not_compile(linux, build):
    assert build() == (Verdict.PASS, 1)
    (linux / "include/linux/move.h").write_text("#define MOVE 2\n")
    (linux / "mm/b.c").write_text("int b = oops;\n")
    assert build()[0] is Verdict.FAIL
    (linux / "mm/b.c").write_text("int b = 3;\n")
    assert build() == (Verdict.PASS, 2)


def test_a_header_put_before_another_while_the_objects_were_trimmed(linux, build, cache):
    assert build() == (Verdict.PASS, 1)
    shutil.rmtree(cache.objects)
    (linux / "include/linux/move.h").write_text("#define MOVE 2\n")
    assert build() == (Verdict.PASS, 2)


def test_a_source_that_goes_back_while_the_header_stays(linux, build, cache):
    assert build() == (Verdict.PASS, 1)
    (linux / "include/linux/move.h").write_text("#define MOVE 2\n")
    source = linux / "mm/a.c"
    before = source.read_text()
    source.write_text(f"{before}int c;\n")
    assert build() == (Verdict.PASS, 2)
    source.write_text(before)
    assert build() == (Verdict.PASS, 2)


@pytest.mark.parametrize(
    ("link", "target", "found"),
    [("include/uapi/linux/move.h", "../../linux/other.h", 5), ("mm/a.c", "other.c", 7)],
)
def test_a_file_that_becomes_a_link_to_an_older_one(linux, build, link, target, found):
    """make goes by the time of what a link leads to."""
    assert build() == (Verdict.PASS, 1)
    (linux / link).unlink()
    (linux / link).symlink_to(target)
    assert build() == (Verdict.PASS, found)
