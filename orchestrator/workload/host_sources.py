# SPDX-License-Identifier: GPL-2.0-only
"""Where a line that a host test printed stands in the kernel tree that the program was built of.

The tests are compiled from copies and through links in their own folder, and some of their macros
print a function and a line and no file.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source import store
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import HostTest

# Where the kernel's own code stands that a test folder has copies of.
_KERNELS_OWN = ("lib/", "mm/")
# The head of a function: at the line's beginning, and no prototype (Documentation/process/
# coding-style.rst).
_HEAD = re.compile(r"(?:[A-Za-z_][\w*]*[\s*]+)+(?P<name>[A-Za-z_]\w*)\(")
_NO_HEAD = ("#", " ", "\t", "}", "{", "/")
_SHOWN = 160

#: Gives the texts of those of the paths that the tree has.
Read = Callable[[Iterable[str]], Mapping[str, str]]


def of_tree(tree: KernelTree, test: HostTest, cache: Cache) -> Sources:
    """The sources that a test was built of."""
    names = store.list_entries(tree.tree, [test.folder, *test.sources], cache)

    def read(paths: Iterable[str]) -> Mapping[str, str]:
        found = store.read_files(tree.tree, paths, cache)
        return {path: text.decode(errors="replace") for path, text in found.items()}

    return Sources(test.folder, frozenset(names), read)


class Sources:
    """The files that the tests of one folder are built of.

    :param folder: the tests' own, below the tree's top.
    :param names: the paths of the files.
    """

    def __init__(self, folder: str, names: frozenset[str], read: Read) -> None:
        self.folder = folder
        self.names = names
        self._read = read
        self._lines = functools.lru_cache(32)(self._lines_of)

    def locate(self, file: str, line: int, func: str) -> tuple[str, str, str]:
        """The file in the tree, the function, and the line's text; empty what is not known.

        A file that is none of the tree's stays as it was printed.

        :param file: as it was printed; empty where none was.
        :param func: likewise.
        """
        path = self._path(file) if file else self._with(func, line)
        if path not in self.names:
            return path or file, func, ""
        lines = self._lines(path)
        text = lines[line - 1].strip()[:_SHOWN] if 0 < line <= len(lines) else ""
        return path, func or _function_at(lines, line), text

    def _path(self, file: str) -> str:
        for path in (file, posixpath.join(self.folder, file)):
            if (path := posixpath.normpath(path)) in self.names:
                return path
        base = posixpath.basename(file)
        beside = "/" not in file or posixpath.dirname(posixpath.normpath(file)) == self.folder
        if beside:
            for folder in _KERNELS_OWN:
                if f"{folder}{base}" in self.names:
                    return f"{folder}{base}"
        return file

    def _with(self, func: str, line: int) -> str:
        """The file in which a line stands in a function of that name."""
        for path in self._candidates():
            if func and _function_at(self._lines(path), line) == func:
                return path
        return ""

    def _candidates(self) -> Iterator[str]:
        sources = sorted(name for name in self.names if name.endswith((".c", ".h")))
        own = [name for name in sources if name.startswith(f"{self.folder}/")]
        kernels = [n for n in sources if n.startswith(_KERNELS_OWN) and n.endswith(".c")]
        top = [name for name in kernels if name.count("/") == 1]
        return iter((*top, *own))

    def _lines_of(self, path: str) -> list[str]:
        return self._read([path]).get(path, "").split("\n")


def _function_at(lines: list[str], line: int) -> str:
    """The function whose head is the nearest above a line."""
    for text in reversed(lines[: min(line, len(lines))]):
        if text.startswith("}"):
            return ""
        if text and not text.startswith(_NO_HEAD) and not text.rstrip().endswith((";", ":")):
            head = _HEAD.match(text[:200])
            if head:
                return head["name"]
    return ""
