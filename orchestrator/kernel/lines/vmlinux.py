# SPDX-License-Identifier: GPL-2.0-only
"""Source lines out of a vmlinux that has them, whoever built it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestrator.kernel.lines.addr2line import addr2line
from orchestrator.kernel.lines.elf import Elf, NotElf, opened
from orchestrator.kernel.lines.symbols import Address, Answer, Symbols, answer
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError

# Answers that are remembered; a log repeats itself.
_REMEMBERED = 5000


class Vmlinux:
    """An open vmlinux.  ``banner`` is the first line of its kernel's log, to know that by."""

    def __init__(self, path: Path, elf: Elf, cross: str) -> None:
        self._path = path
        self._cross = cross
        self._symbols = Symbols(elf)
        self._known: dict[Address, Answer] = {}
        self.banner = elf.banner

    def places(self, addresses: Iterable[Address]) -> dict[Address, Answer]:
        """The places of addresses, or why one has none.

        :raises HostError: when binutils are missing, or fail.
        """
        wanted = tuple(dict.fromkeys(addresses))
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        new = [address for address in wanted if address not in self._known]
        targets = {address: self._symbols.targets(address) for address in new}
        every = tuple(dict.fromkeys(target for found in targets.values() for target in found))
        asked = [target.symbol.value + target.offset for target in every]
        told = addr2line(self._cross, self._path, asked) if asked else []
        places = dict(zip(every, told, strict=True))
        self._known |= {address: answer(targets[address], places) for address in new}
        return {address: self._known[address] for address in wanted}


@contextmanager
def open_vmlinux(path: Path) -> Iterator[Vmlinux]:
    """Open a vmlinux with debug information.

    Of a distribution's kernel its symbols take some hundred MiB.

    :raises UserError: it cannot be read, is no kernel of these architectures, or has no lines.
    """
    with ExitStack() as stack:
        try:
            made = _opened(path, stack.enter_context(opened(path)))
        except NotElf as error:
            raise UserError(
                f"{path} is no vmlinux: {error}",
                "bzImage and Image have no lines: name the vmlinux",
            ) from error
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        yield made


def _opened(path: Path, elf: Elf) -> Vmlinux:
    cross = next((a.cross for a in ARCHES.values() if a.elf_machine == elf.machine), None)
    if cross is None:
        known = ", ".join(ARCHES)
        raise UserError(f"{path} is of no architecture that is known here: {known}")
    if not elf.has_lines:
        raise UserError(
            f"{path} has no source lines",
            "a kernel has them with CONFIG_DEBUG_INFO; for a distribution's kernel, take the "
            "vmlinux of the package with debug symbols",
        )
    return Vmlinux(path, elf, cross)
