# SPDX-License-Identifier: GPL-2.0-only
"""From ``function+offset`` of a trace to file and line, inlined calls included.

The build's own vmlinux says which code is meant (:mod:`orchestrator.kernel.lines.symbols`).  A
build with debug information has the lines too; for any other one the few objects that matter are
compiled again (:mod:`orchestrator.kernel.lines.objects`).  Where anything does not fit, no line is
told, and why: a wrong line is worse than none.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import write_atomic
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.lines.addr2line import Places, addr2line
from orchestrator.kernel.lines.elf import Elf, NotElf, Symbol, opened
from orchestrator.kernel.lines.excerpts import Place
from orchestrator.kernel.lines.objects import LineObjects, Linked, NoObject, same_code
from orchestrator.kernel.lines.symbols import Address, Answer, Symbols, Target, answer
from orchestrator.model.errors import HostError

log = logging.getLogger("lab.lines")

# Answers of earlier runs, beside the vmlinux that they are of.  A new number when another answer
# may come out.
KEPT = "lines-1.json"
MAX_OBJECTS = 12
DEADLINE = 120.0
# A guest's two CPUs are free by now.
_COMPILERS = 2


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
        _keep(linked.vmlinux, {a.key: told.places for a, told in new.items()})
    return found


class _Lookup:
    """One vmlinux while its addresses are looked up."""

    def __init__(self, linked: Linked, elf: Elf, deadline: float) -> None:
        self.linked = linked
        self.elf = elf
        self.until = time.monotonic() + deadline
        self.symbols = Symbols(elf)
        self.notes: dict[Symbol, str] = {}

    def answers(self, wanted: Mapping[Address, bool]) -> dict[Address, Answer]:
        targets = {address: self.symbols.targets(address) for address in wanted}
        everything = [t for found in targets.values() for t in found]
        if self.elf.has_lines:
            places = self._in_kernel(everything)
        else:
            worth = [t for a, found in targets.items() if wanted[a] for t in found]
            places = self._in_objects(worth, everything) if worth else {}
        answers = {}
        for address, worth_it in wanted.items():
            note = next((self.notes.get(target.symbol, "") for target in targets[address]), "")
            told = answer(targets[address], places, note)
            if told.places or worth_it:
                answers[address] = told
        return answers

    # ------------------------------------------------------------ with debug information

    def _in_kernel(self, targets: Sequence[Target]) -> dict[Target, Places]:
        addresses = [target.symbol.value + target.offset for target in targets]
        found = self._addr2line(self.linked.vmlinux, addresses, "", self.linked.objects)
        return dict(zip(targets, found, strict=True))

    # ------------------------------------------------------------ without

    def _in_objects(
        self, worth: Sequence[Target], everything: Sequence[Target]
    ) -> dict[Target, Places]:
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
        targets: Sequence[Target],
        homes: Mapping[Symbol, tuple[str, str, int]],
    ) -> dict[Target, Places]:
        groups: dict[tuple[str, str], list[Target]] = {}
        for target in dict.fromkeys(targets):
            if target.symbol in homes:
                groups.setdefault(homes[target.symbol][:2], []).append(target)
        found: dict[Target, Places] = {}
        for (name, section), some in groups.items():
            addresses = [homes[target.symbol][2] + target.offset for target in some]
            lines = self._addr2line(maker.make(name), addresses, section, maker.source)
            found |= dict(zip(some, lines, strict=True))
        return found

    def _note(self, symbols: Sequence[Symbol], text: str) -> None:
        for symbol in symbols:
            self.notes[symbol] = text

    def _addr2line(
        self, file: Path, addresses: Sequence[int], section: str, source: Path
    ) -> list[Places]:
        objects = self.linked.objects
        roots = [str(source), *self.linked.roots, str(objects), os.path.realpath(objects)]
        return addr2line(self.linked.arch.cross, file, addresses, section, roots)


def _load(vmlinux: Path) -> dict[str, Places]:
    try:
        stored = json.loads((vmlinux.parent / KEPT).read_text())
        return {
            str(key): tuple(Place(str(f), str(path), int(line)) for f, path, line in places)
            for key, places in stored.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(vmlinux: Path, new: Mapping[str, Places]) -> None:
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
