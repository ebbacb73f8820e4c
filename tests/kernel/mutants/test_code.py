# SPDX-License-Identifier: GPL-2.0-only
"""Whether a mutant changes code, told by objects that are really compiled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.lines.elf import Elf
from orchestrator.kernel.lines.objects import Linked, NoObject
from orchestrator.kernel.mutants.code import NotCompiled, Objects, loaded
from orchestrator.kernel.mutants.find import of_functions
from orchestrator.kernel.mutants.plant import plant
from orchestrator.kernel.source import worktree
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import KernelTree
from orchestrator.model.mutants import Mutant
from orchestrator.model.spec import KernelSpec

ARCH = next(arch for arch in ARCHES.values() if not arch.cross)
# What WARN_ON() of a kernel has too: the file's name and the line's number as data.
MOVE = """\
#include <linux/mm.h>
void put(const char *file, int line, int what);
extern int seen[8];
static int limits[2] = { 1, 2 };

int move(int what)
{
	int unused = 0;

	unused = what;
	if (what > 4)
		put(__FILE__, __LINE__, MM);
#ifdef CONFIG_NOT_SET
	if (what > 7)
		seen[1] = what;
#endif
	seen[2] = limits[what & 1];
	switch (what) {
	case 9:
		break;
	}
	put(__FILE__,
		__LINE__, seen[3]);
	put(__FILE__, __LINE__, 2);
	return what + 1;
}
"""


@pytest.fixture
def objects(cache: Cache, kernel: Path, fetch: Callable[..., BaseSource]) -> Callable[..., Objects]:
    """What compiles the fake kernel's mm/move.c, as a kernel build left its folder."""

    def work(flags: str = "") -> Objects:
        (kernel / "mm/move.c").write_text(MOVE)
        base = fetch(f"path:{kernel}")
        made = cache.folder / "obj" / "k-default-x"
        (made / "mm").mkdir(parents=True)
        with worktree.checkout(base.tree, base.slot, cache) as source:
            command = (
                f"{ARCH.gcc} -O2 -ffreestanding -fmacro-prefix-map={source}/= {flags}"
                f" -I{source}/include -c -o mm/move.o {source}/mm/move.c"
            )
            subprocess.run(["sh", "-c", command], cwd=made, check=True, timeout=60)
            relative = os.path.relpath(source, made)
        (made / "mm/.move.o.cmd").write_text(
            f"savedcmd_mm/move.o := {command}\n\nsource_mm/move.o := {relative}/mm/move.c\n\n"
            f"deps_mm/move.o := \\\n  {relative}/include/linux/mm.h \\\n\n"
        )
        tree = KernelTree(KernelSpec("k", base.source), base.version, base.tree, base.tree)
        return Objects(Linked(made / "vmlinux", made, tree, base.slot, ARCH, cache))

    return work


def mutants_of(made: Objects) -> dict[tuple[int, str], Mutant]:
    tree, cache = made.linked.tree, made.linked.cache
    found = of_functions(["move"], tree, cache)
    return {(one.line, one.operator): one for one in found.mutants}


def changed(made: Objects, line: int, operator: str) -> bool | None:
    mutant = mutants_of(made)[line, operator]
    tree = plant(mutant, made.linked.tree, made.linked.cache)
    return made.changes(mutant.file, tree)


def test_what_changes_code_and_what_does_not(objects: Callable[..., Objects]) -> None:
    made = objects()
    assert changed(made, 11, "relational") is True
    assert changed(made, 12, "call-left-out") is True
    assert changed(made, 24, "constant+1") is True
    # A value that nobody reads, a branch that is not compiled, a statement of which nothing comes.
    assert changed(made, 8, "constant+1") is False
    assert changed(made, 10, "assignment-left-out") is False
    assert changed(made, 14, "relational") is False
    assert changed(made, 15, "assignment-left-out") is False


def test_a_statement_over_two_lines_moves_no_line_behind_it(
    objects: Callable[..., Objects],
) -> None:
    """Its own call is gone; were the next one's line another, its number would be changed too."""
    made = objects()
    mutant = mutants_of(made)[22, "call-left-out"]
    assert mutant.text == ";\n"
    assert changed(made, 22, "call-left-out") is True


def test_debug_information_is_no_code(objects: Callable[..., Objects]) -> None:
    """A comment more moves columns, and with them what a debugger reads."""
    made = objects("-g")
    mutant = Mutant("m", "mm/move.c", "move", 11, "x", "", 0, 0, "")
    at = MOVE.index("if (what > 4)")
    spaced = Mutant(mutant.name, mutant.file, "move", 11, "x", "", at, at, "/* more */ ")
    tree = plant(spaced, made.linked.tree, made.linked.cache)
    assert made.changes("mm/move.c", tree) is False


def test_what_a_section_is_relocated_by_counts(objects: Callable[..., Objects]) -> None:
    """Another function called, from the same bytes: the linker fills in the address."""
    made = objects()
    at = MOVE.rindex("seen[3]")
    other = Mutant("m", "mm/move.c", "move", 22, "x", "", at, at + 7, "seen[4]")
    assert made.changes("mm/move.c", plant(other, made.linked.tree, made.linked.cache)) is True


def test_what_does_not_compile_says_why(objects: Callable[..., Objects]) -> None:
    made = objects()
    with pytest.raises(NotCompiled, match=r"mm/move\.c:20:[0-9]+: error: "):
        changed(made, 20, "jump")  # `continue` in no loop


def test_what_cannot_be_told_on_the_side_is_left_to_the_build(
    objects: Callable[..., Objects],
) -> None:
    made = objects()
    assert made.is_compiled("mm/move.c")
    assert not made.is_compiled("include/linux/mm.h")
    assert made.changes("include/linux/mm.h", made.linked.tree) is None
    recipe = made.linked.objects / "mm/.move.o.cmd"
    recipe.write_text(recipe.read_text().replace(ARCH.gcc, "another-compiler"))
    assert changed(made, 11, "relational") is None


def test_what_a_build_at_work_there_breaks_is_left_to_the_build(
    objects: Callable[..., Objects],
) -> None:
    """Its error is no mutant's: the file as it is does not compile either by then."""
    made = objects()
    assert made.unmutated("mm/move.c")
    recipe = made.linked.objects / "mm/.move.o.cmd"
    recipe.write_text(recipe.read_text().replace(" -O2 ", " -O2 -Dseen=1 "))
    assert changed(made, 11, "relational") is None


def test_a_compiler_that_is_killed_tells_nothing_of_the_code(
    objects: Callable[..., Objects],
) -> None:
    made = objects()
    assert made.unmutated("mm/move.c")
    recipe = made.linked.objects / "mm/.move.o.cmd"
    recipe.write_text(recipe.read_text().replace(" -O2 ", " -O2 --no-such-option "))
    with pytest.raises(NoObject):
        changed(made, 11, "relational")


def test_an_object_is_its_loaded_sections(tmp_path: Path) -> None:
    def compiled(text: str, *flags: str) -> object:
        (tmp_path / "x.c").write_text(text)
        subprocess.run(
            [ARCH.gcc, "-O1", "-ffreestanding", *flags, "-c", "x.c"], cwd=tmp_path, check=True,
            timeout=60,
        )  # fmt: skip
        return loaded(Elf((tmp_path / "x.o").read_bytes()))

    text = "int zero[{}]; int f(int *a) {{ return *a + {}; }}"
    plain = compiled(text.format(3, 5))
    assert plain == compiled(text.format(3, 5), "-g")
    assert plain != compiled(text.format(3, 6))
    assert plain != compiled(text.format(9, 5))  # only the size of what is all zeros
