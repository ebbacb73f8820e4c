# SPDX-License-Identifier: GPL-2.0-only
"""What a build asks for, and what it is called in the cache."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import asked, kconfig
from orchestrator.kernel.build.kfile import Complete
from orchestrator.model.arch import Arch
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import Build

# Part of every build's identity: raise it when :mod:`.make` comes to make something else of it.
RECIPE = 2


@dataclass(frozen=True)
class BuildRequest:
    """A build with everything that decides its outcome; ``identity`` names it in the cache.

    ``key`` is the same without the source: what is asked for, architecture, compiler, make's words.
    ``full`` is the complete .config that the requests go on top of, ``notes`` what is to be told of
    which of them counts.
    """

    build: Build
    tree: KernelTree
    slot: str
    arch: Arch
    requests: tuple[kconfig.Request, ...]
    identity: str
    base_identity: str
    key: str
    make_args: tuple[str, ...] = ()
    full: Complete | None = None
    notes: tuple[str, ...] = ()


def build_request(
    build: Build,
    tree: KernelTree,
    slot: str,
    arch: Arch,
    arch_fragment: Path,
    make_args: tuple[str, ...] = (),
    cache: Cache | None = None,
) -> BuildRequest:
    """Work out what a build asks for and what it is called in the cache.

    The architecture's fragment comes right after the first one, so that axis fragments override it.

    :param make_args: further words for make (``GCOV_PROFILE_x.o=y``): the hook for builds that
        measure coverage.  Nothing but tests gives any yet.
    :param cache: where the tree is, for the requests of its own selftests.
    :raises UserError: for a fragment or a complete .config that cannot be read, or is for another
        architecture, and for selftests without requests of their own.
    :raises HostError: when the compiler is missing.
    """
    found = asked.ask(build.config, tree, arch, arch_fragment, cache)
    digest = kconfig.digest(found.requests, found.full.text if found.full else "")
    compiler = compiler_version(process.find_tool(arch.gcc) or arch.gcc)
    words = (digest, arch.name, compiler, *make_args)

    def name(*parts: str) -> str:
        return hashlib.sha256("\0".join((str(RECIPE), *parts)).encode()).hexdigest()[:32]

    return BuildRequest(
        build, tree, slot, arch, found.requests, name(tree.tree, *words),
        name(tree.base_tree, *words), name(*words), make_args, found.full, found.notes,
    )  # fmt: skip


@functools.cache
def compiler_version(gcc: str) -> str:
    """What a compiler says it is, for the identity of what it makes.

    :raises HostError: when it is missing.
    """
    return process.run([gcc, "--version"], deadline=20).text.partition("\n")[0]
