# SPDX-License-Identifier: GPL-2.0-only
"""Objects of a kernel compiled once more on the side, with a line table.

A kernel without debug information builds faster, and still its lines can be told: ``-g`` changes no
code, so that the object compiled again with it holds the same bytes, and a line table.  Whether it
does hold the same bytes is looked at, byte by byte; where not, no line is told.

Neither a lock nor a work tree is needed.  Of the build folder only what all kernels of its config
share is used: how an object is compiled, and the headers that were generated.  The sources come
from the object store.  What a build at work there may put in the way shows in the comparison.
"""

from __future__ import annotations

import os
import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.host import process, walls
from orchestrator.host.cache.files import FENCED, Cache
from orchestrator.kernel.lines.elf import Elf, NotElf, Symbol, opened
from orchestrator.kernel.source import store
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.toolchain import DEFAULT_TOOLCHAIN, Toolchain

# An object is compiled in one to three seconds; under a sanitizer, or beside a build, in more.
COMPILE_DEADLINE = 90.0
# What is tried of the objects that may hold a function: static ones of a header are in many.
_MOST_OBJECTS = 3
# Folders whose objects are not linked into the kernel, or are not at the addresses they say.
_ELSEWHERE = {"scripts", "tools", "usr", "boot", "vdso", "vdso32", ".git", "source"}
# Not -g1, nor without variable tracking: gcc then keeps no statement frontiers, and the line of an
# instruction may be any statement's near it.
_LINES = "-g"
#: How both compilers mark an error in what they compile; their own have no line's number.
AN_ERROR = re.compile(r":[0-9]+: error: ")
_DEPENDENCY = re.compile(r"^(?:source_\S+ :=| ) +([^\s$]\S*)(?: \\)?$", re.MULTILINE)


class NoObject(HostError):
    """No object with lines could be made; the message says why in half a sentence."""


@dataclass(frozen=True)
class Linked:
    """A kernel as it was built: ``vmlinux`` in its folder of the cache, and where it came from.

    ``objects`` is the build folder of its config and architecture, whatever it holds by now.
    """

    vmlinux: Path
    objects: Path
    tree: KernelTree
    slot: str
    arch: Arch
    cache: Cache
    toolchain: Toolchain = DEFAULT_TOOLCHAIN

    @property
    def roots(self) -> tuple[str, ...]:
        """The work tree as the build named it: make resolves symbolic links."""
        folder = self.cache.slot(self.slot).folder
        return tuple(dict.fromkeys((str(folder), os.path.realpath(folder))))


@dataclass
class LineObjects:
    """What compiles objects of one build again, several at a time if need be.

    ``scratch`` is a folder of its own.  Without ``lines`` they have no line table, and are sooner
    made.
    """

    linked: Linked
    scratch: Path
    lines: bool = True
    _made: dict[str, Path | NoObject] = field(default_factory=dict)
    _extracted: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def source(self) -> Path:
        """Where the sources lie while they are compiled."""
        return self.scratch / "source"

    def candidates(self, symbols: Sequence[Symbol]) -> dict[Symbol, tuple[str, ...]]:
        """Name, for each symbol of the kernel, the objects that may hold it, likeliest first.

        Objects of files that the series touches are among them in any case: the build folder may
        hold another kernel's, which has no such function.
        """
        sure: dict[Symbol, list[str]] = {symbol: [] for symbol in symbols}
        other: dict[Symbol, list[str]] = {symbol: [] for symbol in symbols}
        for name in self._objects():
            path = self.linked.objects / name
            try:
                data = path.read_bytes()
                here = [s for s in symbols if f"{s.name}\0".encode() in data]
                code = Elf(data).code if here else ()
            except (OSError, NotElf):
                continue
            for symbol in here:
                sizes = {s.size for s in code if s.name == symbol.name}
                if symbol.size in sizes:
                    sure[symbol].append(name)
                elif sizes:
                    other[symbol].append(name)
        touched = [
            f"{file.rpartition('.')[0]}.o"
            for file in self.linked.tree.touched_files
            if file.endswith((".c", ".S"))
        ]
        touched = [name for name in touched if _recipe(self.linked.objects / name).exists()]
        return {
            symbol: tuple(dict.fromkeys(sure[symbol] + other[symbol] + touched))[:_MOST_OBJECTS]
            for symbol in symbols
        }

    def _objects(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.linked.objects):
            folders[:] = sorted(name for name in folders if name not in _ELSEWHERE)
            for name in sorted(files):
                if name.endswith(".o") and f".{name}.cmd" in files:
                    yield os.path.relpath(os.path.join(folder, name), self.linked.objects)  # noqa: PTH118

    def make(self, name: str, deadline: float = COMPILE_DEADLINE) -> Path:
        """Compile an object with lines; give its path.

        :raises NoObject: when it cannot be.
        """
        if name not in self._made:
            try:
                self._made[name] = self._compile(name, deadline)
            except NoObject as error:
                self._made[name] = error
        made = self._made[name]
        if isinstance(made, NoObject):
            raise made
        return made

    def _compile(self, name: str, deadline: float) -> Path:
        try:
            recipe = _recipe(self.linked.objects / name).read_text(errors="surrogateescape")
        except OSError as error:
            raise NoObject(f"how {name} is compiled is not known: {error.strerror}") from error
        target = self.scratch / name.replace("/", "__")
        compiler = self.linked.toolchain.compiler(self.linked.arch)
        argv = compile_command(recipe, self.linked.roots, self.source, target, compiler)
        if not self.lines:
            argv.remove(_LINES)
        self._extract([*self._dependencies(recipe), *self.linked.tree.touched_files])
        done = self._run(argv, deadline)
        if done.status != 0:
            # Another kernel's list of headers may lack one that this kernel's file includes.
            self._extract_headers(name)
            done = self._run(argv, deadline)
        if done.status != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            first = next(filter(AN_ERROR.search, said), said[0] if said else "")
            told = first.replace(f"{self.source}/", "") or "killed"
            raise NoObject(f"{name} does not compile on the side: {told}")
        return target

    def _run(self, argv: list[str], deadline: float) -> process.Completed:
        """Compile within the walls that the build had: the recipe is one that it left."""
        objects = self.linked.objects
        around = walls.around_build(
            deadline, (self.scratch,), (objects, self.source), fenced=FENCED in objects.name
        )
        return process.run(
            argv, deadline=deadline, cwd=objects, check=False, env=around.env, around=around.words
        )

    def _dependencies(self, recipe: str) -> Iterator[str]:
        for match in _DEPENDENCY.finditer(recipe):
            path = os.path.normpath(os.path.join(self.linked.objects, match[1]))  # noqa: PTH118
            for root in self.linked.roots:
                if path.startswith(f"{root}/"):
                    yield path[len(root) + 1 :]
                    break

    def _extract_headers(self, name: str) -> None:
        folder = f"arch/{self.linked.arch.srcarch}/include"
        where = ("include", folder, os.path.dirname(name))  # noqa: PTH120
        words = ("ls-tree", "-r", "-z", "--name-only", self.linked.tree.tree, "--", *where)
        listing = store.git(self.linked.cache, *words)
        names = [os.fsdecode(path) for path in listing.stdout.split(b"\0") if path]
        self._extract([path for path in names if path.endswith((".h", ".S", ".c"))])

    def _extract(self, paths: Sequence[str]) -> None:
        with self._lock:  # no file is written anew while another compiler reads it
            wanted = [path for path in paths if path not in self._extracted]
            tree = self.linked.tree.tree
            for path, data in store.read_files(tree, wanted, self.linked.cache).items():
                target = self.source / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            self._extracted.update(wanted)


def _recipe(target: Path) -> Path:
    return target.with_name(f".{target.name}.cmd")


def compile_command(
    recipe: str, roots: Sequence[str], source: Path, target: Path, compiler: str
) -> list[str]:
    """The command in an object's ``.NAME.o.cmd``, turned towards other sources and another target.

    Kbuild keeps the command in make's own writing, with ``$$`` and ``$(pound)`` for ``$`` and ``#``
    (scripts/Kbuild.include, make-cmd), and what follows a ``;`` works on the object afterwards.

    :param roots: the sources as the command names them.
    :raises NoObject: when it is no command of this compiler.
    """
    first = recipe.partition("\n")[0]
    _name, assigned, text = first.partition(" := ")
    lexer = shlex.shlex(text.replace("$(pound)", "#").replace("$$", "$"), posix=True,
                        punctuation_chars=";&|<>()")  # fmt: skip
    lexer.whitespace_split, lexer.commenters = True, ""
    argv: list[str] = []
    try:
        for word in lexer:
            if word and not word.strip(";&|<>()"):
                break
            argv.append(word)
    except ValueError as error:
        raise NoObject(f"its compile command is not understood: {error}") from error
    while argv and argv[0] in ("ccache", "time"):
        argv.pop(0)
    if not assigned or not argv or argv[0] != compiler or argv.count("-o") != 1:
        raise NoObject(f"it is not compiled by {compiler}")
    argv = [word for word in argv if not word.startswith(("-Wp,-MMD,", "-Wp,-MD,", "-g"))]
    for root in roots:
        argv = [word.replace(f"{root}/", f"{source}/") for word in argv]
    argv[argv.index("-o") + 1] = str(target)
    return [*argv, _LINES]


def same_code(kernel: Elf, symbol: Symbol, made: Path) -> tuple[str, int] | None:
    """Find a kernel's function in an object; give the section's name and the offset, or None.

    It is the same where the size is, and every byte that the linker did not fill in.

    :raises NotElf: the object is none.
    """
    with opened(made) as elf:
        code = kernel.bytes_of(symbol)
        for other in elf.code:
            if (other.name, other.size) != (symbol.name, symbol.size):
                continue
            skip = elf.patched_later(other)
            theirs = elf.bytes_of(other)
            if len(theirs) == len(code) and all(
                a == b or at in skip for at, (a, b) in enumerate(zip(code, theirs, strict=True))
            ):
                return elf.sections[other.section].name, other.value
    return None
