# SPDX-License-Identifier: GPL-2.0-only
"""What a build asks for, and what it is called in the cache."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host import process, walls
from orchestrator.host.cache.files import FENCED, Cache
from orchestrator.host.tools import install_command
from orchestrator.kernel.build import asked, coverage, kconfig, kcov, modules
from orchestrator.kernel.build.kfile import Complete
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import Build
from orchestrator.model.toolchain import Toolchain

# Part of every build's identity: raise it when :mod:`.make` comes to make something else of it.
RECIPE = 2


@dataclass(frozen=True)
class BuildRequest:
    """A build with everything that decides its outcome; ``identity`` names it in the cache.

    ``slot`` names the work tree that it is to be made in: the source's own, until
    :func:`.start.choose` finds a nearer one.  ``key`` is the identity without the source: what is
    asked for, architecture, compiler, make's words.  ``full`` is the complete .config that the
    requests go on top of, ``notes`` what is to be told of which of them counts.  ``compiler`` is
    what the compiler says it is; ``counted`` are the C files whose runs it counts.  ``fenced``: it
    is built in a fence, and in a build folder of its tree's own.
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
    compiler: str = ""
    counted: tuple[str, ...] = ()
    traced: tuple[str, ...] = ()
    fenced: bool = False


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

    :param make_args: further words for make.
    :param cache: where the tree is, for the requests of its own selftests and for what is counted.
    :raises UserError: for a fragment or a complete .config that cannot be read, or is for another
        architecture, and for selftests without requests of their own.
    :raises HostError: when the compiler is missing.
    """
    found = asked.ask(build.config, tree, arch, arch_fragment, cache)
    files = coverage.counted(build.config, tree, cache) if cache else ()
    traced = kcov.traced(build.config, tree, cache) if cache else ()
    make_args = (*make_args, *coverage.make_words(files, arch), *kcov.make_words(traced))
    digest = kconfig.digest(found.requests, found.full.text if found.full else "")
    versions = tools_versions(build.config.toolchain, arch)
    words = (digest, arch.name, *versions, *modules.targets(build.config), *make_args)

    def name(*parts: str) -> str:
        return hashlib.sha256("\0".join((str(RECIPE), *parts)).encode()).hexdigest()[:32]

    fenced = walls.standing().fences(build.kernel.source, build.kernel.series)
    if fenced:  # what its Makefiles leave there is for no other tree
        objects = f"{build.config.folder}{FENCED}{tree.tree[:12]}"
        build = replace(build, config=replace(build.config, objects=objects))
    return BuildRequest(
        build, tree, slot, arch, found.requests, name(tree.tree, *words),
        name(tree.base_tree, *words), name(*words), make_args, found.full, found.notes,
        versions[0], files, traced, fenced,
    )  # fmt: skip


def tools_versions(toolchain: Toolchain, arch: Arch) -> tuple[str, ...]:
    """What the tools say they are that decide what comes out of a build; the compiler first.

    LLVM's linker may be of another version than its compiler; binutils' has never been asked.

    :raises HostError: when one is missing.
    """
    require_tools(toolchain, arch)
    names = toolchain.programs(arch)[:2] or (toolchain.compiler(arch),)
    return tuple(compiler_version(process.find_tool(name) or name) for name in names)


def require_tools(toolchain: Toolchain, arch: Arch) -> None:
    """See that a toolchain other than the default one is there.

    :raises HostError: when it is not, with the command that installs it.
    """
    if (problem := toolchain_problem(toolchain, arch)) is not None:
        raise problem


def toolchain_problem(toolchain: Toolchain, arch: Arch) -> HostError | None:
    """The same as a value."""
    missing = [name for name in toolchain.programs(arch) if not process.find_tool(name)]
    if not missing:
        return None
    return HostError(
        f"{toolchain} cannot compile {arch.name} kernels: {' and '.join(missing)} "
        f"{'is' if len(missing) == 1 else 'are'} not installed",
        install_command(toolchain.packages(arch)),
    )


@functools.cache
def compiler_version(gcc: str) -> str:
    """What a compiler says it is, for the identity of what it makes.

    :raises HostError: when it is missing.
    """
    return process.run([gcc, "--version"], deadline=20).text.partition("\n")[0]
