# SPDX-License-Identifier: GPL-2.0-only
"""From ``function+offset`` of a trace to file and line, inlined calls included.

The build's own vmlinux says which code is meant: the SIZE that the kernel prints is the way to the
next symbol (get_symbol_pos() in kernel/kallsyms.c of v6.12), which tells functions of one name
apart.  A build with debug information has the lines too; for any other one the few objects that
matter are compiled again (:mod:`orchestrator.kernel.lines.objects`).  Where anything does not
fit, no line is told, and why: a wrong line is worse than none.
"""

from __future__ import annotations

import bisect
import json
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import write_atomic
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.lines.elf import Elf, NotElf, Symbol, opened
from orchestrator.kernel.lines.excerpts import Place
from orchestrator.kernel.lines.objects import LineObjects, Linked, NoObject, same_code
from orchestrator.model.errors import HostError

log = logging.getLogger("lab.lines")

# Answers of earlier runs, beside the vmlinux that they are of.  A new number when another answer
# may come out.
KEPT = "lines-1.json"
MAX_OBJECTS = 12
DEADLINE = 120.0
_ADDR2LINE_DEADLINE = 60.0
# A guest's two CPUs are free by now.
_COMPILERS = 2
# What kallsyms has not (scripts/mksysmap of v6.12).
_NO_SYMBOL = re.compile(
    r"\$|\.L|__efistub_|__pi_\$|__pi_\.L|__kvm_nvhe_\$|__kvm_nvhe_\.L|__kcfi_typeid_|__crc_"
    r"|__kstrtab|.*_veneer$"
)
_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+)(?: \(discriminator \d+\))?$")


@dataclass(frozen=True)
class Address:
    """``function+0xOFFSET/0xSIZE`` as a report prints it.

    ``exact``: the address of an instruction, not a return address behind a call.
    """

    function: str
    offset: int
    size: int
    exact: bool

    @property
    def key(self) -> str:
        """What its answer is kept by."""
        return f"{self.function}+{self.offset:#x}/{self.size:#x}{'' if self.exact else ' return'}"


@dataclass(frozen=True)
class Answer:
    """The places an address stands for, the innermost inlined call first; or why there are none."""

    places: tuple[Place, ...] = ()
    note: str = ""


def resolve(
    linked: Linked, wanted: Mapping[Address, bool], deadline: float = DEADLINE
) -> dict[Address, Answer]:
    """Give the places of addresses, in the order of their worth.

    :param wanted: True for those that are worth compiling an object for; the others are answered
        where it costs nothing, and are left out else.
    :param deadline: seconds after which no further object is compiled.
    :raises HostError: when binutils are missing, or the cache cannot be used.
    """
    kept = _load(linked.vmlinux)
    found = {address: Answer(kept[address.key]) for address in wanted if address.key in kept}
    left = {address: worth for address, worth in wanted.items() if address not in found}
    if left:
        try:
            with opened(linked.vmlinux) as elf:
                new = _Lookup(linked, elf, deadline).answers(left)
        except (NotElf, OSError) as error:
            raise HostError(f"cannot read {linked.vmlinux}: {error}") from error
        found |= new
        _keep(linked.vmlinux, {a.key: answer.places for a, answer in new.items()})
    return found


@dataclass(frozen=True)
class _Target:
    """``offset`` bytes into the code of a symbol of the vmlinux."""

    symbol: Symbol
    offset: int


class _Lookup:
    """One vmlinux while its addresses are looked up."""

    def __init__(self, linked: Linked, elf: Elf, deadline: float) -> None:
        self.linked = linked
        self.elf = elf
        self.until = time.monotonic() + deadline
        self.named = [s for s in elf.code if not _NO_SYMBOL.match(s.name)]
        self.starts = sorted({symbol.value for symbol in self.named})
        self.sized = sorted((s for s in self.named if s.size), key=lambda s: (s.value, s.size))
        self.notes: dict[Symbol, str] = {}

    def answers(self, wanted: Mapping[Address, bool]) -> dict[Address, Answer]:
        targets = {address: self._targets(address) for address in wanted}
        everything = [t for found in targets.values() for t in found]
        if self.elf.has_lines:
            places = self._in_kernel(everything)
        else:
            worth = [t for a, found in targets.items() if wanted[a] for t in found]
            places = self._in_objects(worth, everything) if worth else {}
        answers = {}
        for address, worth_it in wanted.items():
            answer = self._answer(targets[address], places)
            if answer.places or worth_it:
                answers[address] = answer
        return answers

    def _answer(self, targets: Sequence[_Target], places: Mapping[_Target, _Places]) -> Answer:
        if not targets:
            return Answer(note="the build has no such function of this size")
        told = {places.get(target, ()) for target in targets}
        if len(told) > 1:
            return Answer(note=f"{len(targets)} functions of this name and size")
        (only,) = told
        note = "" if only else self.notes.get(targets[0].symbol, "it has no line there")
        return Answer(only, note)

    def _targets(self, address: Address) -> tuple[_Target, ...]:
        found: list[_Target] = []
        if address.offset > address.size:
            return ()
        for symbol in self.named:
            if symbol.name != address.function or self._extent(symbol) != address.size:
                continue
            # A return address may be the first byte after a function that ends with a call.
            at = symbol.value + address.offset - (0 if address.exact else 1)
            holder = self._holder(at)
            if holder is not None:
                found.append(_Target(holder, at - holder.value))
        return tuple(dict.fromkeys(found))

    def _extent(self, symbol: Symbol) -> int:
        """What the kernel prints as a symbol's size: the way to the next one."""
        after = bisect.bisect_right(self.starts, symbol.value)
        return self.starts[after] - symbol.value if after < len(self.starts) else symbol.size

    def _holder(self, at: int) -> Symbol | None:
        """The function that an address is in; a label within assembly code is in one too."""
        before = bisect.bisect_right(self.sized, at, key=lambda symbol: symbol.value)
        for symbol in reversed(self.sized[max(0, before - 8) : before]):
            if symbol.value <= at < symbol.value + symbol.size:
                return symbol
        return None

    # ------------------------------------------------------------ with debug information

    def _in_kernel(self, targets: Sequence[_Target]) -> dict[_Target, _Places]:
        addresses = [target.symbol.value + target.offset for target in targets]
        found = self._addr2line(self.linked.vmlinux, addresses, "", self.linked.objects)
        return dict(zip(targets, found, strict=True))

    # ------------------------------------------------------------ without

    def _in_objects(
        self, worth: Sequence[_Target], everything: Sequence[_Target]
    ) -> dict[_Target, _Places]:
        """Compile what is worth it; whatever else lies in the same objects is told too."""
        linked = self.linked
        if not linked.objects.is_dir():
            self._note([t.symbol for t in worth], "its build folder is gone")
            return {}
        with scratch(linked.cache) as folder:
            maker = LineObjects(linked, folder)
            symbols = tuple(dict.fromkeys(target.symbol for target in everything))
            candidates = maker.candidates(symbols)
            asked = tuple(dict.fromkeys(target.symbol for target in worth))
            # In rounds: the likeliest object of each first, a further one where that was not it.
            homes: dict[Symbol, tuple[str, str, int]] = {}
            tried: set[str] = set()
            for turn in range(max(map(len, candidates.values()), default=0)):
                names = [
                    c[turn] for s in asked if s not in homes and len(c := candidates[s]) > turn
                ]
                new = [name for name in dict.fromkeys(names) if name not in tried]
                new = new[: MAX_OBJECTS - len(tried)]
                tried.update(new)
                made = self._compile(maker, new)
                for symbol in symbols:
                    for name in candidates[symbol]:
                        if name in made and symbol not in homes:
                            self._match(symbol, name, made[name], homes)
            self._note([s for s in asked if s not in homes and not candidates[s]],
                       "no object of the build folder has it")  # fmt: skip
            return self._lines_of(maker, everything, homes)

    def _compile(self, maker: LineObjects, names: Sequence[str]) -> dict[str, Path | str]:
        def one(name: str) -> Path | str:
            left = self.until - time.monotonic()
            if left <= 0:
                return "the time for looking up lines was over"
            try:
                return maker.make(name, left)
            except NoObject as error:
                return error.message
            except process.DeadlineExpired:
                return f"{name} did not compile in time"

        with ThreadPoolExecutor(max_workers=_COMPILERS) as pool:
            return dict(zip(names, pool.map(one, names), strict=True))

    def _match(
        self,
        symbol: Symbol,
        name: str,
        made: Path | str,
        homes: dict[Symbol, tuple[str, str, int]],
    ) -> None:
        if isinstance(made, str):
            self._note([symbol], made)
            return
        place = same_code(self.elf, symbol, made)
        if place is None:
            self._note([symbol], f"{name} compiled on the side has other code than the kernel")
        else:
            homes[symbol] = (name, *place)

    def _lines_of(
        self,
        maker: LineObjects,
        targets: Sequence[_Target],
        homes: Mapping[Symbol, tuple[str, str, int]],
    ) -> dict[_Target, _Places]:
        groups: dict[tuple[str, str], list[_Target]] = {}
        for target in dict.fromkeys(targets):
            if target.symbol in homes:
                groups.setdefault(homes[target.symbol][:2], []).append(target)
        found: dict[_Target, _Places] = {}
        for (name, section), some in groups.items():
            addresses = [homes[target.symbol][2] + target.offset for target in some]
            lines = self._addr2line(maker.make(name), addresses, section, maker.source)
            found |= dict(zip(some, lines, strict=True))
        return found

    def _note(self, symbols: Sequence[Symbol], text: str) -> None:
        for symbol in symbols:
            self.notes[symbol] = text

    # ------------------------------------------------------------ addr2line

    def _addr2line(
        self, file: Path, addresses: Sequence[int], section: str, source: Path
    ) -> list[_Places]:
        argv = [f"{self.linked.arch.cross}addr2line", "-a", "-f", "-i", "-e", str(file)]
        if section:
            argv += ["-j", section]
        asked = "".join(f"{address:#x}\n" for address in addresses).encode()
        done = process.run(argv, deadline=_ADDR2LINE_DEADLINE, input=asked)
        told = parse_addr2line(done.text)
        if len(told) != len(addresses):
            raise HostError(f"{argv[0]} answered {len(told)} of {len(addresses)} addresses")
        objects = self.linked.objects
        roots = [str(source), *self.linked.roots, str(objects), os.path.realpath(objects)]
        return [
            tuple(Place(place.function, _below(place.file, roots), place.line) for place in places)
            for places in told
        ]


_Places = tuple[Place, ...]


def parse_addr2line(text: str) -> list[_Places]:
    """Read what ``addr2line -a -f -i`` prints: an address, then pairs of function and place.

    An address without a line (``??:0``, ``FILE:?``) gives no places.
    """
    found: list[list[Place]] = []
    function: str | None = None
    for line in text.splitlines():
        if function is None and re.fullmatch(r"0x[0-9a-f]{16}", line):
            found.append([])
        elif function is None:
            function = line
        else:
            match = _PLACE.match(line)
            if match and match["file"] != "??" and int(match["line"]) and found:
                found[-1].append(Place(function, match["file"], int(match["line"])))
            function = None
    return [tuple(places) for places in found]


def _below(path: str, roots: Sequence[str]) -> str:
    """A file's name from the top of the sources, or of the build folder for what is generated."""
    path = os.path.normpath(path)
    for root in roots:
        if path.startswith(f"{root}/"):
            return path[len(root) + 1 :]
    return path


def _load(vmlinux: Path) -> dict[str, _Places]:
    try:
        stored = json.loads((vmlinux.parent / KEPT).read_text())
        return {
            str(key): tuple(Place(str(f), str(path), int(line)) for f, path, line in places)
            for key, places in stored.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(vmlinux: Path, new: Mapping[str, _Places]) -> None:
    """Add answers to the kept ones; of two labs at the same time one's may be lost."""
    told = {key: places for key, places in new.items() if places}
    if not told or not vmlinux.exists():
        return
    merged = _load(vmlinux) | told
    plain = {key: [[p.function, p.file, p.line] for p in ps] for key, ps in merged.items()}
    try:
        write_atomic(vmlinux.parent / KEPT, json.dumps(plain).encode())
    except HostError as error:
        log.warning("the source lines are not kept: %s", error.message)
