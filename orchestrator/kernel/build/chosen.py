# SPDX-License-Identifier: GPL-2.0-only
"""C files that a config has compiled in a way of their own: which they are, and make's word for it.

``coverage`` and ``kcov`` of lab.yaml are such patterns; what each is for is in its own module.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source import store
from orchestrator.model.kernel import KernelTree


def c_files(tree: KernelTree, cache: Cache) -> tuple[str, ...]:
    """The C files of a tree."""
    return tuple(name for name in store.file_names(tree.tree, cache) if name.endswith(".c"))


def fitting(names: Iterable[str], patterns: Collection[str]) -> set[str]:
    """Those that fit a pattern; a star stands within one folder, as in a shell."""
    return {
        name for name in names
        if any(fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")
               for pattern in patterns)
    }  # fmt: skip


def where_compiled(files: Iterable[str], yes: str, no: str = "") -> str:
    """For make: ``yes`` where the object that is just compiled (``$@``) is of one of these files.

    Else ``no``; empty without any file.
    """
    objects = " ".join(f"{name.removesuffix('.c')}.o" for name in files)
    return f"$(if $(filter {objects},$@),{yes}{f',{no}' if no else ''})" if objects else ""


def problem(
    config: str, key: str, patterns: Collection[str], symbol: str,
    dotconfig: Mapping[str, str], files: Collection[str],
) -> str:  # fmt: skip
    """Why a kernel that came out so does not do what a key asks for; empty: it does, or none does.

    :param key: of lab.yaml; the fragment that switches the symbol on is called so too.
    :param symbol: without which the key is for nothing.
    :param files: those of the tree that fit.
    """
    if patterns and not files:
        return (
            f"not compiled: no file of this tree fits the `{key}` of config {config}, "
            f"{', '.join(patterns)}"
        )
    if not patterns or dotconfig.get(symbol) == "y":
        return ""
    return (
        f"not compiled: config {config} has `{key}`, and CONFIG_{symbol} came out n; "
        f"add the fragment {key}, or leave `{key}` out"
    )
