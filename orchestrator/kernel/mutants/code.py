# SPDX-License-Identifier: GPL-2.0-only
"""Whether a mutant changes what its object is made of: code and data, not what debuggers read.

The object is compiled on the side, as for the lines of traces (:mod:`orchestrator.kernel.lines
.objects`): in seconds, before any kernel is linked.  What differs in as little as one byte of a
section that is loaded, or in what one is relocated by, is another object; that may be a difference
which means nothing, and costs a kernel.  What is equal is the same kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.lines.elf import Elf, NotElf, opened
from orchestrator.kernel.lines.objects import AN_ERROR, LineObjects, Linked, NoObject
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree

#: The sections of an object that are loaded: each one's name, its bytes, its relocations.
Loaded = tuple[tuple[str, bytes, tuple[tuple[object, ...], ...]], ...]


class NotCompiled(Exception):
    """The compiler refuses a mutant; the message is its first error.  Never leaves its caller."""


@dataclass
class Objects:
    """Compiles the objects of one kernel's files on the side, with mutants and without.

    What cannot be compared, since an object does not compile on the side as it is, is left to the
    whole build.
    """

    linked: Linked
    _known: dict[str, Loaded | None] = field(default_factory=dict)

    def is_compiled(self, file: str) -> bool:
        """Whether this kernel's config compiles a file by itself; a header it never does."""
        target = self.linked.objects / _object(file)
        return target.with_name(f".{target.name}.cmd").exists()

    def unmutated(self, file: str) -> Loaded | None:
        """What a file's object is made of; None where that cannot be told on the side."""
        if file not in self._known:
            try:
                self._known[file] = self._loaded(file, self.linked.tree)
            except (NoObject, NotElf, OSError):
                self._known[file] = None
        return self._known[file]

    def changes(self, file: str, tree: KernelTree) -> bool | None:
        """Whether a file's object is another one in ``tree``; None where only a kernel can tell.

        :raises NotCompiled: when the compiler refuses it there.
        :raises HostError: when the compiler cannot be run, or does not come to its end.
        """
        before = self.unmutated(file) if self.is_compiled(file) else None
        if before is None:
            return None
        try:
            return self._loaded(file, tree) != before
        except NoObject as error:
            if not AN_ERROR.search(error.message):
                raise  # a compiler that was killed tells nothing of the code
            if not self._still(file, before):
                return None
            raise NotCompiled(error.message.partition(": ")[2]) from error
        except (NotElf, OSError) as error:
            raise HostError(f"the object of {file} cannot be read: {error}") from error

    def _still(self, file: str, before: Loaded) -> bool:
        """Whether the file as it is compiles as before: no build at work there is in the way."""
        try:
            return self._loaded(file, self.linked.tree) == before
        except (NoObject, NotElf, OSError):
            return False

    def _loaded(self, file: str, tree: KernelTree) -> Loaded:
        with scratch(self.linked.cache) as folder:
            side = LineObjects(replace(self.linked, tree=tree), folder, lines=False)
            with opened(side.make(_object(file))) as elf:
                return loaded(elf)


def _object(file: str) -> str:
    return f"{file.removesuffix('.c')}.o"


def loaded(elf: Elf) -> Loaded:
    """What of an object is loaded, by section in their order.

    :raises NotElf: when the file is damaged.
    """
    return tuple(
        (section.name, elf.content(at), elf.relocations_of(at))
        for at, section in enumerate(elf.sections)
        if section.is_loaded
    )
