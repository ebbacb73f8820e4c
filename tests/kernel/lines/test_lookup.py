# SPDX-License-Identifier: GPL-2.0-only
"""From function+offset to file and line, on a kernel of three files that is really compiled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.lines import lookup
from orchestrator.kernel.lines.addr2line import parse_addr2line
from orchestrator.kernel.lines.elf import NotElf, Symbol, opened
from orchestrator.kernel.lines.excerpts import Place
from orchestrator.kernel.lines.lookup import resolve
from orchestrator.kernel.lines.objects import Linked, NoObject, compile_command
from orchestrator.kernel.lines.symbols import Address, Answer
from orchestrator.kernel.source import worktree
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import KernelSpec
from orchestrator.model.toolchain import DEFAULT_TOOLCHAIN, Toolchain

ARCH = next(arch for arch in ARCHES.values() if not arch.cross)

HEADER = """\
/* Everything of this line is read from memory, so that nothing is computed beforehand. */
extern volatile int seen[8];
void stop(int what) __attribute__((noinline, noreturn));

static inline int deeper(int what)
{
	seen[1] = what;
	__asm__ volatile(".byte 0xde, 0xad, 0xbe, 0xef");
	return seen[6];
}
"""
MOVE = """\
#include <linux/mm.h>
#include <generated/answer.h>

static __attribute__((noinline)) int helper(int what)
{
	seen[2] = what;
	return seen[3] + ANSWER;
}

int move(int what)
{
	if (seen[4])
		what = deeper(what);
	return helper(what) + 1;
}
"""
COPY = """\
#include <linux/mm.h>

static __attribute__((noinline)) int helper(int what)
{
	seen[2] = what;
	seen[5] = what * seen[6];
	return seen[3] / seen[5];
}

int copy(int what)
{
	return helper(what) + 2;
}

void last(void)
{
	stop(1);
}
"""
STOP = """\
#include <linux/mm.h>
volatile int seen[8];

void stop(int what)
{
	seen[0] = what;
	for (;;)
		seen[7]++;
}
"""
FILES = {"mm/move.c": MOVE, "mm/copy.c": COPY, "kernel/stop.c": STOP}
FLAGS = (
    "-Wp,-MMD,{dep} -O2 -ffreestanding -fno-pic"
    " -fno-asynchronous-unwind-tables -I{source}/include -I./include -DNAME='\"a b\"' -DHASH=1"
)


@dataclass
class Built:
    """The compiled kernel, and what asks for lines in it."""

    linked: Linked

    def address(self, function: str, offset: int = 0, nth: int = 0, exact: bool = True) -> Address:
        """``function+offset/size`` as that kernel would print it, with kallsyms' size."""
        with opened(self.linked.vmlinux) as elf:
            named = [s for s in elf.code if not s.name.startswith("$")]
        starts = sorted({s.value for s in named})
        mine = sorted((s for s in named if s.name == function), key=lambda s: s.value)[nth]
        after = [at for at in starts if at > mine.value]
        size = (after[0] if after else mine.value + mine.size) - mine.value
        return Address(function, offset, size, exact)

    def symbol(self, function: str) -> Symbol:
        with opened(self.linked.vmlinux) as elf:
            return next(s for s in elf.code if s.name == function)

    def ask(self, address: Address) -> Answer:
        return resolve(self.linked, {address: True})[address]


def compile_all(source: Path, objects: Path, more: str = "", compiler: str = ARCH.gcc) -> None:
    """Compile as kbuild does, its ``.cmd`` files beside the objects."""
    (objects / "include/generated").mkdir(parents=True, exist_ok=True)
    header = objects / "include/generated/answer.h"
    if not header.exists():
        header.write_text("#define ANSWER 42\n")
    for file in FILES:
        name = file.replace(".c", ".o")
        folder, _, leaf = name.rpartition("/")
        (objects / folder).mkdir(exist_ok=True)
        dep = f"{folder}/.{leaf}.d"
        own = "-fforce-dwarf-frame" if "clang" in compiler else "-fno-toplevel-reorder"
        command = f"{compiler} {own} {FLAGS.format(dep=dep, source=source)} {more} -c -o {name}"
        command += f" {source / file}"
        subprocess.run(["sh", "-c", command], cwd=objects, check=True)
        relative = os.path.relpath(source, objects)
        (objects / folder / f".{leaf}.cmd").write_text(
            f"savedcmd_{name} := ccache {command}   ; ./tools/objtool/objtool --x   {name}\n\n"
            f"source_{name} := {relative}/{file}\n\ndeps_{name} := \\\n"
            f"    $(wildcard include/config/X) \\\n  {relative}/include/linux/mm.h \\\n\n"
        )


@pytest.fixture
def build(
    cache: Cache, kernel: Path, fetch: Callable[..., BaseSource], tmp_path: Path
) -> Callable[..., Built]:
    def work(more: str = "", toolchain: Toolchain = DEFAULT_TOOLCHAIN) -> Built:
        for name, text in {**FILES, "include/linux/mm.h": HEADER}.items():
            (kernel / name).parent.mkdir(exist_ok=True)
            (kernel / name).write_text(text)
        base = fetch(f"path:{kernel}")
        objects = cache.folder / "obj" / "k-default-x"
        kept = cache.folder / "builds" / "b"
        kept.mkdir(parents=True)
        with worktree.checkout(base.tree, base.slot, cache) as source:
            compile_all(source, objects, more, toolchain.compiler(ARCH))
        lld = ["-fuse-ld=lld"] if toolchain.is_clang else []
        names = [name.replace(".c", ".o") for name in FILES]
        subprocess.run(
            [toolchain.compiler(ARCH), *lld, "-nostdlib", "-static", "-no-pie", "-Wl,-e,move",
             "-Wl,--build-id=none", "-o", kept / "vmlinux", *names],
            cwd=objects, check=True,
        )  # fmt: skip
        tree = KernelTree(KernelSpec("k", f"path:{kernel}"), "6.12", base.tree, base.tree)
        linked = Linked(kept / "vmlinux", objects, tree, base.slot, ARCH, cache, toolchain)
        return Built(linked)

    return work


def test_inlined_calls_come_first(build):
    built = build()
    with opened(built.linked.vmlinux) as elf:
        move = next(s for s in elf.code if s.name == "move")
        code = elf.bytes_of(move)
    marked = code.index(b"\xde\xad\xbe\xef")
    answer = built.ask(built.address("move", marked))
    assert answer.places == (
        Place("deeper", "include/linux/mm.h", 8),
        Place("move", "mm/move.c", 13),
    )


@pytest.mark.skipif(not shutil.which("clang") or not shutil.which("ld.lld"), reason="no clang")
def test_a_kernel_by_clang_and_lld(build):
    built = build(toolchain=Toolchain.parse("clang"))
    with opened(built.linked.vmlinux) as elf:
        code = elf.bytes_of(next(s for s in elf.code if s.name == "move"))
    marked = code.index(b"\xde\xad\xbe\xef")
    assert built.ask(built.address("move", marked)).places == (
        Place("deeper", "include/linux/mm.h", 8),
        Place("move", "mm/move.c", 13),
    )
    for nth in (0, 1):
        (place,) = built.ask(built.address("helper", 0, nth)).places
        assert (place.file, place.function) == (("mm/move.c", "mm/copy.c")[nth], "helper")
    # What gcc makes of the sources is another kernel's code.
    other = replace(built.linked, toolchain=DEFAULT_TOOLCHAIN)
    asked = built.address("copy")
    (other.vmlinux.parent / lookup.KEPT).unlink()
    assert "not compiled by gcc" in resolve(other, {asked: True})[asked].note


def test_the_size_tells_functions_of_one_name_apart(build):
    built = build()
    for nth in (0, 1):
        address = built.address("helper", 0, nth)
        (place,) = built.ask(address).places
        # move.c is linked first.
        assert place.file == ("mm/move.c", "mm/copy.c")[nth]
        assert place.function == "helper"


def test_a_return_address_belongs_to_the_call(build):
    built = build()
    with opened(built.linked.vmlinux) as elf:
        last = next(s for s in elf.code if s.name == "last")
        beyond = next(s for s in elf.code if s.value >= last.value + last.size)
    # last() ends with a call that does not return: what is pushed is behind its end.
    assert last.size > 0
    address = replace(built.address(beyond.name), exact=False)
    if beyond.value == last.value + last.size:  # else there is padding, which is no line's
        assert built.ask(address).places[0] == Place("last", "mm/copy.c", 17)
    end = replace(built.address("last", last.size), exact=False)
    assert built.ask(end).places[0] == Place("last", "mm/copy.c", 17)


def test_no_line_where_the_size_is_another(build):
    built = build()
    address = built.address("move")
    assert built.ask(replace(address, size=address.size + 16)) == Answer(
        note="the build has no such function of this size"
    )
    assert built.ask(replace(address, function="mova")).places == ()
    assert built.ask(replace(address, offset=address.size + 1)).places == ()


def test_no_line_where_the_code_is_another(build):
    built = build()
    # Somebody else's build changed what the object is made from: same size, other constant.
    (built.linked.objects / "include/generated/answer.h").write_text("#define ANSWER 43\n")
    answer = built.ask(built.address("helper", 0))
    assert answer.places == ()
    assert "other code than the kernel" in answer.note
    # What does not depend on it still has its lines.
    assert built.ask(built.address("copy")).places


def test_no_line_where_it_does_not_compile(build):
    built = build()
    (built.linked.objects / "include/generated/answer.h").unlink()
    assert "does not compile on the side" in built.ask(built.address("move")).note


def test_the_build_folder_may_hold_another_kernels_objects(build):
    built = build()
    address = built.address("move")
    tree = replace(built.linked.tree, touched_files=("mm/move.c", "mm/gone.c", "README"))
    built.linked = replace(built.linked, tree=tree)
    (built.linked.objects / "mm/move.o").write_bytes(b"half an obj")
    assert built.ask(address).places[-1].file == "mm/move.c"


def test_the_build_folder_may_be_gone(build):
    built = build()
    address = built.address("move")
    built.linked.objects.rename(built.linked.cache.folder / "elsewhere")
    assert built.ask(address) == Answer(note="its build folder is gone")


def test_the_work_tree_may_hold_another_kernel(build, cache):
    built = build()
    source = cache.folder / "trees" / built.linked.slot
    (source / "mm/move.c").write_text("not this\n")
    assert built.ask(built.address("move")).places[-1].file == "mm/move.c"
    assert (source / "mm/move.c").read_text() == "not this\n"


def test_a_header_the_build_folder_does_not_know_of(build):
    built = build()
    recipe = built.linked.objects / "mm/.move.o.cmd"
    text = recipe.read_text()
    recipe.write_text(text[: text.index("deps_")])
    assert built.ask(built.address("move")).places


def test_answers_are_kept_beside_the_build(build):
    built = build()
    address = built.address("move")
    first = built.ask(address)
    kept = built.linked.vmlinux.parent / lookup.KEPT
    assert list(json.loads(kept.read_text())) == [address.key]
    built.linked.objects.rename(built.linked.cache.folder / "elsewhere")
    assert built.ask(address) == first
    kept.write_text("[1, 2")
    assert built.ask(address).note == "its build folder is gone"


def test_what_is_not_worth_an_object_is_told_where_it_is_free(build):
    built = build()
    move, helper, copy = (built.address(name) for name in ("move", "helper", "copy"))
    found = resolve(built.linked, {move: True, helper: False, copy: False})
    assert set(found) == {move, helper}
    assert resolve(built.linked, {copy: False}) == {}


def test_time_is_bounded(build):
    built = build()
    address = built.address("move")
    assert "time" in resolve(built.linked, {address: True}, deadline=0.0)[address].note


def test_a_kernel_with_debug_information_is_asked_itself(build):
    built = build("-g")
    built.linked.objects.rename(built.linked.cache.folder / "elsewhere")
    address = built.address("copy")
    found = resolve(built.linked, {address: True, built.address("stop"): False})
    assert [answer.places[-1].file for answer in found.values()] == ["mm/copy.c", "kernel/stop.c"]


def test_a_vmlinux_that_is_none(build, tmp_path):
    built = build()
    address = built.address("move")
    for content in (b"", b"no elf", built.linked.vmlinux.read_bytes()[:90]):
        (tmp_path / "vmlinux").write_bytes(content)
        with pytest.raises(HostError):
            resolve(replace(built.linked, vmlinux=tmp_path / "vmlinux"), {address: True})


def test_symbols_of_an_object_are_offsets(build):
    built = build()
    with opened(built.linked.objects / "mm/move.o") as elf:
        move = next(s for s in elf.code if s.name == "move")
        assert move.value < 0x1000
        assert len(elf.bytes_of(move)) == move.size
        assert elf.patched_later(move)  # the addresses of seen[]
        assert not elf.has_lines
    with pytest.raises(NotElf), opened(built.linked.objects / "mm/.move.o.cmd"):
        pass


# ---------------------------------------------------------------- the parsers


RECIPE = (
    "savedcmd_mm/x.o := ccache gcc -Wp,-MMD,mm/.x.o.d -I/src/6.1/include -include /src/6.1/k.h "
    "-fmacro-prefix-map=/src/6.1/= -I/src/6.12/no -DKBUILD_MODNAME='\"x\"' -DD='$$a;$(pound)' "
    "-c -o mm/x.o /src/6.1/mm/x.c  ; ./tools/objtool/objtool -o mm/x.o\n"
)


def test_the_command_of_another_compiler_is_turned_too():
    recipe = RECIPE.replace("gcc -Wp", "clang-16 --target=x86_64-linux-gnu -Wp")
    argv = compile_command(recipe, ["/src/6.1"], Path("/new"), Path("/t/x.o"), "clang-16")
    assert (argv[0], argv[-1]) == ("clang-16", "-g")
    assert "--target=x86_64-linux-gnu" in argv
    with pytest.raises(NoObject, match="not compiled by clang"):
        compile_command(recipe, [], Path("/new"), Path("/t/x.o"), "clang")


def test_the_compile_command_is_turned_elsewhere():
    argv = compile_command(RECIPE, ["/src/6.1"], Path("/new"), Path("/t/x.o"), "gcc")
    assert argv == [
        "gcc", "-I/new/include", "-include", "/new/k.h", "-fmacro-prefix-map=/new/=",
        "-I/src/6.12/no", '-DKBUILD_MODNAME="x"', "-DD=$a;#", "-c", "-o", "/t/x.o", "/new/mm/x.c",
        "-g",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "recipe",
    [
        "",
        "cmd_x.o := ld -r -o x.o a.o b.o\n",
        "cmd_x.o := gcc -c x.c\n",
        "cmd_x.o := gcc -o a -o b\n",
        "cmd_x.o := gcc -DX='a -o x.o\n",
        "x.o: gcc -c -o x.o x.c\n",
        "cmd_x.o := ; gcc -o x.o\n",
        "cmd_x.o := aarch64-linux-gnu-gcc -c -o x.o x.c\n",
    ],
)
def test_what_is_no_compile_command(recipe):
    with pytest.raises(NoObject):
        compile_command(recipe, ["/src"], Path("/new"), Path("/t/x.o"), "gcc")


def test_addr2line_is_read():
    text = (
        "0x0000000000000001\nf\n/s/include/a.h:79\ng\n/s/mm/b.c:12 (discriminator 3)\n"
        "0x0000000000000002\n??\n??:0\n0x0000000000000003\nh\n/s/mm/c.c:?\n"
        "0x0000000000000004\n0xdead\n/s/d.c:1\n"
    )
    assert parse_addr2line(text) == [
        (Place("f", "/s/include/a.h", 79), Place("g", "/s/mm/b.c", 12)),
        (), (), (Place("0xdead", "/s/d.c", 1),),
    ]  # fmt: skip
    assert parse_addr2line("") == []
    assert parse_addr2line("0x00") == []
