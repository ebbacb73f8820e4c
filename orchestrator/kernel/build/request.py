# SPDX-License-Identifier: GPL-2.0-only
"""What a build asks for, and what it is called in the cache."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.kernel.build import kconfig
from orchestrator.model.arch import Arch
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import Build

# Part of every build's identity: raise it when :mod:`.make` comes to make something else of it.
RECIPE = 2


@dataclass(frozen=True)
class BuildRequest:
    """A build with everything that decides its outcome; ``identity`` names it in the cache.

    ``slot`` names the work tree that it is to be made in: the source's own, until
    :func:`.start.choose` finds a nearer one.  ``key`` is the identity without the source: what is
    asked for, architecture, compiler, make's words.
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


def build_request(
    build: Build,
    tree: KernelTree,
    slot: str,
    arch: Arch,
    arch_fragment: Path,
    make_args: tuple[str, ...] = (),
) -> BuildRequest:
    """Work out what a build asks for and what it is called in the cache.

    The architecture's fragment comes right after the first one, so that axis fragments override it.

    :param make_args: further words for make (``GCOV_PROFILE_x.o=y``): the hook for builds that
        measure coverage.  Nothing but tests gives any yet.
    :raises UserError: for a fragment that cannot be read.
    :raises HostError: when the compiler is missing.
    """
    first, rest = build.config.fragments[:1], build.config.fragments[1:]
    fragments = build.config.fragments if build.config.full else (*first, arch_fragment, *rest)
    requests = kconfig.merge(fragments, tree.version)
    asked = kconfig.digest(requests, build.config.full)
    compiler = compiler_version(process.find_tool(arch.gcc) or arch.gcc)
    words = (asked, arch.name, compiler, *make_args)

    def name(*parts: str) -> str:
        return hashlib.sha256("\0".join((str(RECIPE), *parts)).encode()).hexdigest()[:32]

    return BuildRequest(
        build, tree, slot, arch, requests, name(tree.tree, *words), name(tree.base_tree, *words),
        name(*words), make_args,
    )  # fmt: skip


@functools.cache
def compiler_version(gcc: str) -> str:
    """What a compiler says it is, for the identity of what it makes.

    :raises HostError: when it is missing.
    """
    return process.run([gcc, "--version"], deadline=20).text.partition("\n")[0]
