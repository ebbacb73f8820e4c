# SPDX-License-Identifier: GPL-2.0-only
"""Building a tree's host tests, with a real make and compiler on a tree of a few files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import HostTest, KernelSpec
from orchestrator.workload import host_tests
from orchestrator.workload.host_tests import HostPrograms

OWN = "tools/testing/shapes"
TREE = {
    "lib/round.c": "static int half(int n) { return n / 2; }\n",
    "include/linux/far.h": "#define FAR 3\n",
    f"{OWN}/Makefile": "CFLAGS += -I. -fsanitize=address\nLDFLAGS += -fsanitize=address\n"
    "all: prepared.h good also needs-far mended broken lacks\n"
    "good: good.o round.o\nprepared.h:\n\techo '#define READY 1' > $@\n"
    "round.c: ../../../lib/round.c\n\tsed -e 's/^static //' < $< > $@\n"
    "needs-far: needs-far.o\nlacks: LDLIBS += -lnobodyhasthis\n",
    f"{OWN}/good.c": '#include <stdio.h>\n#include <stdlib.h>\n#include "prepared.h"\n'
    "int half(int);\nint main(void) {\n\tputs(\"said\");\n\tif (half(READY * 4) != 2) return 1;\n"
    "\tabort();\n}\n",
    f"{OWN}/needs-far.c": '#include "../../../include/linux/far.h"\n'
    "int main(void) { return FAR; }\n",
    f"{OWN}/also.c": "int main(void) { return 0; }\n",
    f"{OWN}/mended.c": "int main(void) { return MISSING; }\n",
    f"{OWN}/broken.c": "int main(void) { return NOWHERE; }\n",
    f"{OWN}/lacks.c": "int main(void) { return 0; }\n",
}  # fmt: skip
Build = Callable[..., tuple[HostPrograms, list[str]]]


@pytest.fixture
def build(cache: Cache, kernel, fetch) -> Build:
    for name, text in TREE.items():
        (kernel / name).parent.mkdir(parents=True, exist_ok=True)
        (kernel / name).write_text(text)

    def work(*targets: str, folder: str = OWN, **more: object) -> tuple[HostPrograms, list[str]]:
        tree = fetch(f"path:{kernel}").tree
        tests = [
            HostTest(
                folder, target, ("lib/round.c",), packages=("libshape-dev",),
                repair=("-DMISSING=0",) if target == "mended" else (), **more,
            )
            for target in targets
        ]  # fmt: skip
        said: list[str] = []
        built = host_tests.build(
            KernelTree(KernelSpec("k", ""), "6.12.117", tree, tree), tests, cache, said.append
        )
        return built, said

    return work


def test_each_program_is_there_or_told(build: Build) -> None:
    built, _ = build("good", "needs-far", "mended", "broken", "lacks", "gone")
    told = built.programs
    assert told["good"].path == "good"
    # Its table does not name that header: the tree is not blamed, it is read more widely.
    assert told["needs-far"].path == "needs-far"
    assert "MISSING" in told["mended"].problem
    assert (told["mended"].repaired, told["mended"].path) == ("-DMISSING=0", "mended")
    assert told["broken"].problem.startswith("broken.c:1:")
    assert "NOWHERE" in told["broken"].problem
    assert not told["broken"].path
    assert "-lnobodyhasthis" in told["lacks"].lacks
    assert "apt-get install -y --no-install-recommends libshape-dev`" in told["lacks"].lacks
    assert told["gone"].absent == f"this kernel's {OWN} has no program gone"


def test_a_tree_without_the_folder(build: Build) -> None:
    built, _ = build("vma", folder="tools/testing/vma")
    assert built.programs["vma"].absent == "this kernel has no tools/testing/vma"


def test_what_a_program_said_before_it_aborts_is_not_lost(build: Build) -> None:
    built, _ = build("good")
    done = subprocess.run([built.folder / "good"], stdout=subprocess.PIPE, check=False)
    assert done.stdout == b"said\n"
    assert done.returncode == -6


@pytest.mark.parametrize(
    ("sanitize", "has"), [((), False), (("undefined",), False), (("address",), True)]
)
def test_the_table_has_the_last_word_on_sanitizers(
    build: Build, sanitize: tuple[str, ...], has: bool
) -> None:
    built, _ = build("good", sanitize=sanitize)
    dump = subprocess.run(["nm", built.folder / "good"], capture_output=True, check=True)
    assert (b"__asan_init" in dump.stdout) is has


def test_nothing_is_built_twice_nor_written_into_the_tree(build: Build, kernel) -> None:
    first, said = build("good")
    assert said == [f"building {OWN}"]
    assert build("good") == (first, [])
    (kernel / "mm").mkdir(exist_ok=True)
    (kernel / "mm/other.c").write_text("int other;\n")
    assert build("good") == (first, [])
    (kernel / "lib/round.c").write_text("static int half(int n) { return n; }\n")
    other, said = build("good")
    assert said
    assert other.folder != first.folder
    assert {path.name for path in (kernel / OWN).iterdir()} == {
        name.rpartition("/")[2] for name in TREE if name.startswith(OWN)
    }


def test_programs_of_one_make_are_kept_together(build: Build) -> None:
    together = {"beside": ("good", "also")}
    build("good", **together)
    built, said = build("also", **together)
    assert said == []
    assert built.programs["also"].path == "also"
    assert build("broken", **together)[1] != []


def test_what_the_host_lacked_is_tried_again(build: Build) -> None:
    build("lacks")
    assert build("lacks")[1] == [f"building {OWN}"]
