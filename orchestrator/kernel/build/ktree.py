# SPDX-License-Identifier: GPL-2.0-only
"""Read a kernel's Kconfig files: the definitions of a few symbols, and who selects or implies them.

The language is that of Documentation/kbuild/kconfig-language.rst, back to the spellings of 4.x
(``---help---``, ``option modules``, ``$SRCARCH``), with the ``osource`` and ``rsource`` of other
trees.  Expressions stay text here (:mod:`kexpr` reads them): most are never asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.kernel.build import kexpr


@dataclass
class Choice:
    """A ``choice``: its prompt, and the symbols of which one is taken."""

    prompt: str = ""
    members: list[str] = field(default_factory=list)


@dataclass
class Block:
    """An ``if``, ``menu``, ``choice`` or file, with what stands around it.

    ``choice`` is the one that it is or stands in.
    """

    around: Block | None
    depends: list[str] = field(default_factory=list)
    visible: list[str] = field(default_factory=list)
    choice: Choice | None = None


@dataclass
class Definition:
    """One ``config`` entry of a symbol, its lines as they are written.

    ``prompts`` are the conditions of its prompts, empty for none; ``defaults`` and ``ranges`` are
    ``VALUE if CONDITION``.
    """

    name: str
    file: str
    block: Block
    own: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    defaults: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)

    def depends(self) -> list[str]:
        """All that it depends on, the outermost block first."""
        return [term for block in self._blocks() for term in block.depends] + self.own

    def visible(self) -> list[str]:
        """What the menus around want before they show a prompt."""
        return [term for block in self._blocks() for term in block.visible]

    @property
    def choice(self) -> Choice | None:
        """The choice that it is a member of."""
        return self.block.choice

    def _blocks(self) -> list[Block]:
        blocks = [self.block]
        while blocks[-1].around is not None:
            blocks.append(blocks[-1].around)
        return blocks[::-1]


@dataclass(frozen=True)
class Pull:
    """A ``select`` or ``imply`` of some symbol: by whom, and on which condition."""

    by: Definition
    condition: str


@dataclass
class Tree:
    """What was found: of the wanted symbols all, of the others their types.

    ``modules`` is the symbol that allows modules.
    """

    wanted: frozenset[str]
    definitions: dict[str, list[Definition]] = field(default_factory=dict)
    selects: dict[str, list[Pull]] = field(default_factory=dict)
    implies: dict[str, list[Pull]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    modules: str = "MODULES"


def read(source: Path, srcarch: str, wanted: frozenset[str]) -> Tree:
    """Read the tree from its topmost Kconfig on.

    :param source: the kernel tree; :param srcarch: ``x86`` or ``arm64`` (the folder below arch/).
    """
    tree = Tree(wanted)
    _Reader(source, srcarch, tree).file("Kconfig")
    return tree


def elsewhere(source: Path, srcarch: str, symbols: set[str]) -> dict[str, list[str]]:
    """Which other architectures' own Kconfig files define symbols, for those that some do.

    Looked at are the files in ``arch/*`` and one folder below.
    """
    names = "|".join(map(re.escape, sorted(symbols)))
    entry = re.compile(rf"^[ \t]*(?:menu)?config[ \t]+({names})[ \t]*$", re.MULTILINE)
    found: dict[str, list[str]] = {}
    for folder in sorted((source / "arch").glob("*/")):
        if folder.name == srcarch:
            continue
        texts = [_text(path) for at in ("Kconfig*", "*/Kconfig*") for path in folder.glob(at)]
        for symbol in sorted({name for text in texts for name in entry.findall(text)}):
            found.setdefault(symbol, []).append(folder.name)
    return found


_HELP = frozenset(("help", "---help---"))
_TYPES = {"bool": "bool", "boolean": "bool", "tristate": "tristate", "int": "int", "hex": "hex"}
_TYPES |= {"string": "string", "def_bool": "bool", "def_tristate": "tristate"}
_SOURCES = frozenset(("source", "osource", "rsource", "orsource"))
_ENDS = frozenset(("endif", "endmenu", "endchoice"))


class _Reader:
    """Where in the tree the reader stands: the blocks that are open, and the entry at hand."""

    def __init__(self, top: Path, srcarch: str, tree: Tree) -> None:
        self.top = top
        self.srcarch = srcarch
        self.tree = tree
        self.reading: list[str] = []
        self.block = Block(None)
        self.entry: Definition | None = None
        self.heading = False  # whether a menu's or choice's own lines may follow

    def file(self, name: str) -> None:
        """Read one file, named from the top, and what it sources; one that is missing is empty."""
        if name in self.reading:
            return  # Kconfig refuses a file that sources itself
        outer = self.block
        self.block = lowest = self._inside()
        self.reading.append(name)
        for word, rest in _statements(_text(self.top / name)):
            if word in ("config", "menuconfig"):
                self._config(name, rest)
            elif word in ("if", "menu", "choice"):
                self.entry, self.heading = None, word != "if"
                self.block = self._inside()
                if word == "if":
                    self.block.depends.append(rest)
                elif word == "choice":
                    self.block.choice = Choice()
            elif word in _ENDS:
                self.entry, self.heading = None, False
                if self.block is not lowest:
                    self.block = self.block.around or lowest
            elif word in _SOURCES:
                self.entry, self.heading = None, False
                self.file(self._sourced(name, word, rest))
            elif word in ("comment", "mainmenu"):
                self.entry, self.heading = None, False
            elif self.entry is not None:
                self._property(self.entry, word, rest)
            elif self.heading:
                self._head(self.block, word, rest)
        self.reading.pop()
        self.entry, self.heading, self.block = None, False, outer

    def _inside(self) -> Block:
        return Block(self.block, choice=self.block.choice)

    def _sourced(self, name: str, word: str, rest: str) -> str:
        target = rest.strip("\"'").replace("$(srctree)/", "")
        target = target.replace("$(SRCARCH)", self.srcarch).replace("$SRCARCH", self.srcarch)
        return f"{name.rpartition('/')[0]}/{target}".lstrip("/") if "rsource" in word else target

    def _config(self, file: str, name: str) -> None:
        self.entry, self.heading = Definition(name, file, self.block), False
        self.tree.kinds.setdefault(name, "")
        if self.block.choice is not None:
            self.block.choice.members.append(name)
        if name in self.tree.wanted:
            self.tree.definitions.setdefault(name, []).append(self.entry)

    def _property(self, entry: Definition, word: str, rest: str) -> None:
        if word in _TYPES:
            if not self.tree.kinds[entry.name]:
                self.tree.kinds[entry.name] = _TYPES[word]
            if word.startswith("def_"):
                entry.defaults.append(rest)
            elif rest:
                entry.prompts.append(kexpr.split_if(rest)[1])
        elif word == "depends":
            entry.own.append(rest.removeprefix("on").strip())
        elif word in ("select", "imply"):
            symbol, *condition = rest.split(None, 1) or [""]
            if symbol in self.tree.wanted:
                pulls = self.tree.selects if word == "select" else self.tree.implies
                text = "".join(condition).removeprefix("if").strip()
                pulls.setdefault(symbol, []).append(Pull(entry, text))
        elif word == "default":
            entry.defaults.append(rest)
        elif word == "prompt":
            entry.prompts.append(kexpr.split_if(rest)[1])
        elif word == "range":
            entry.ranges.append(rest)
        elif word == "modules" or (word == "option" and rest == "modules"):
            self.tree.modules = entry.name

    def _head(self, block: Block, word: str, rest: str) -> None:
        if word == "depends":
            block.depends.append(rest.removeprefix("on").strip())
        elif word == "visible":
            block.visible.append(rest.removeprefix("if").strip())
        elif block.choice is not None and (word == "prompt" or word in _TYPES) and rest:
            block.choice.prompt = rest[1 : rest.find(rest[0], 1)]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _statements(text: str) -> Iterator[tuple[str, str]]:
    """First word and rest of each line: continued ones joined, comments and help texts dropped."""
    helping = False
    margin: str | None = None  # the white space before the first line of a help text
    pending = ""
    for raw in text.split("\n"):
        if helping:
            if margin and raw.startswith(margin):
                continue
            bare = raw.strip()
            if not bare:
                continue
            lead = raw[: len(raw) - len(raw.lstrip())]
            if margin is None and lead:
                margin = lead
                continue
            if margin and len(lead.expandtabs()) >= len(margin.expandtabs()):
                continue
            helping, margin = False, None
        else:
            bare = raw.strip()
            if not bare and not pending:
                continue
        if bare[:1] == "#" and not pending:
            continue
        if pending:
            bare, pending = pending + bare, ""
        if bare[-1:] == "\\":
            pending = bare[:-1] + " "
            continue
        if bare in _HELP:
            helping = True
            continue
        if "#" in bare:
            bare = _uncommented(bare)
        word, *rest = bare.split(None, 1) or [""]
        yield word, rest[0] if rest else ""


def _uncommented(line: str) -> str:
    """A line up to the comment behind it; a # in quotes begins none."""
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "#":
            return line[:at].rstrip()
    return line
