# SPDX-License-Identifier: GPL-2.0-only
"""Workloads before any guest: compiled for its architecture, and packed."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from orchestrator import HOME
from orchestrator.host import process
from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import locked
from orchestrator.kernel.build.log import host_trouble
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import WorkloadSpec

# For families that stand in a folder of their own.
OWN_LIBRARY = HOME / "guest-tests" / "lib"
COMPILE_DEADLINE = 120.0
# Small programs: every byte goes through a cipher that TCG emulates.
FLAGS = (
    "-std=gnu11", "-O2", "-static", "-s", "-Wall", "-Wextra", "-pthread",
    "-ffunction-sections", "-Wl,--gc-sections",
)  # fmt: skip
# The lab's own programs in the guest, built alone, of the lab's own sources whatever is beside the
# families, since it is the lab that they speak to: one watches a workload, the other sets the clock
# and the random state of a restored guest.
AGENT = OWN_LIBRARY.parent / "agent"
TOOLS = ("sampler", "revive")


def compile_all(
    workloads: Iterable[WorkloadSpec], library: Path, arch: Arch, cache: Cache
) -> dict[str, Path]:
    """Compile what is C and collect the rest: name in the guest to file on the host.

    :param library: the folder with the sources all families share.
    :raises UserError: when a workload does not compile, with the compiler's first error.
    """
    files, made, _ = _compiled(workloads, library, arch, cache)
    return files | made


def kept_files(
    workloads: Iterable[WorkloadSpec], library: Path, arch: Arch, cache: Cache
) -> tuple[Path, ...]:
    """What the cache keeps of a compile: where these are, nothing has to be compiled again.

    :raises UserError, HostError: as :func:`compile_all` does.
    """
    _, made, objects = _compiled(workloads, library, arch, cache)
    return (*objects, *made.values())


def _compiled(
    workloads: Iterable[WorkloadSpec], library: Path, arch: Arch, cache: Cache
) -> tuple[dict[str, Path], dict[str, Path], tuple[Path, ...]]:
    """What is taken as it is, what was compiled, and the objects that all share."""
    files: dict[str, Path] = {}
    bundles: set[tuple[str, Path]] = set()
    # A library that was made from an older one of the lab's may still hold the agents.
    shared = sorted(path for path in library.glob("*.c") if path.stem not in TOOLS)
    sources: dict[str, Path] = {}
    for workload in workloads:
        program = workload.folder / workload.program
        if program.suffix == ".c":
            sources[f"{workload.family}/{program.stem}"] = program
        else:
            files[f"{workload.family}/{workload.program}"] = program
        for module in sorted(library.glob("*.py")) if program.suffix == ".py" else ():
            files[f"{workload.family}/{module.name}"] = module
        if workload.bundle is not None:
            bundles.add((workload.family, workload.bundle))
    for family, folder in sorted(bundles):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                files[f"{family}/{path.relative_to(folder)}"] = path
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # What all share is compiled once: dozens of programs are linked with it.
        parts = [pool.submit(_compile, path, (), library, arch, cache) for path in shared]
        objects = tuple(part.result() for part in parts)
        made = {
            name: pool.submit(_compile, path, objects, library, arch, cache, link=True)
            for name, path in sources.items()
        }
        for name in TOOLS:
            path = AGENT / f"{name}.c"
            made[name] = pool.submit(_compile, path, (), OWN_LIBRARY, arch, cache, link=True)
    return files, {name: future.result() for name, future in made.items()}, objects


def _compile(
    source: Path, objects: tuple[Path, ...], library: Path, arch: Arch, cache: Cache,
    *, link: bool = False,
) -> Path:  # fmt: skip
    """An object of ``source``, or a program of it and of ``objects``; kept by what it is made of.

    An object's name tells its content, so the names stand for the objects here.
    """
    recipe = hashlib.sha256("\0".join((arch.gcc, *FLAGS, *(o.name for o in objects))).encode())
    headers = sorted({*library.glob("*.h"), *source.parent.glob("*.h")})
    for path in [source, *headers]:
        recipe.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    folder = cache.workloads
    suffix = "" if link else "-o"  # no dot: what is trimmed finds the lock by the name
    made = folder / f"{arch.name}-{source.stem}-{recipe.hexdigest()[:24]}{suffix}"
    with locked(cache.lock_beside(made), deadline=COMPILE_DEADLINE, what=made.name):
        if not seals.sound(cache, made):
            new = folder / f"{made.name}.new"
            how: list[str | Path] = [*objects] if link else ["-c"]
            argv = [arch.gcc, *FLAGS, "-I", library, "-o", new, source, *how]
            done = process.run(argv, deadline=COMPILE_DEADLINE, check=False)
            if done.status != 0:
                _explain(done.stderr.decode(errors="replace"), arch)
            seals.seal(cache, made, new)
            new.rename(made)
        made.touch()  # under the lock, so that trimming sees it
    return made


def _explain(said: str, arch: Arch) -> NoReturn:
    trouble = host_trouble(said)
    if trouble is not None:
        raise HostError(f"a workload cannot be compiled: {trouble[0]}", trouble[1])
    lines = said.splitlines()
    signs = (" error:", "undefined reference", "multiple definition")
    first = next(
        (line for line in lines if any(sign in line for sign in signs)), "".join(lines[:1])
    )
    raise UserError(f"a workload does not compile for {arch.name}: {first}")


def pack(files: dict[str, Path], cache: Cache) -> Path:
    """All programs of a cell in one archive, name in the guest to file on the host.

    It is kept, so that it may be packed well: statically linked programs are mostly one and the
    same C library, and every byte goes through a cipher that TCG emulates.

    :raises HostError: when the cache cannot be written.
    """
    content = {name: path.read_bytes() for name, path in sorted(files.items())}
    recipe = hashlib.sha256()
    for name, data in content.items():
        recipe.update(f"{name}\0{len(data)}\0".encode() + data)
    archive = cache.workloads / f"pack-{recipe.hexdigest()[:24]}"
    with locked(cache.lock_beside(archive), deadline=COMPILE_DEADLINE):
        if not seals.sound(cache, archive):
            new = archive.with_name(f"{archive.name}.new")
            with tarfile.open(new, "w:xz", preset=1) as tar:
                for name, data in content.items():
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(data), 0o755
                    tar.addfile(entry, io.BytesIO(data))
            seals.seal(cache, archive, new)
            new.rename(archive)
        archive.touch()  # under the lock, so that trimming sees it
    return archive


def library_folder(workloads: Iterable[WorkloadSpec]) -> Path:
    """The ``lib`` folder beside the families, or else the lab's own.

    :raises HostError: when it, or a program of ``TOOLS``, is missing.
    """
    beside = [workload.folder.parent / "lib" for workload in workloads]
    needed = [*(AGENT / f"{name}.c" for name in TOOLS), OWN_LIBRARY / "ktap.h"]
    for path in needed:
        if not path.is_file():
            name = f"guest-tests/{path.parent.name}"
            raise HostError(f"{name}/{path.name} is missing", f"restore the folder {name}")
    return next(library for library in (*beside, OWN_LIBRARY) if (library / "ktap.h").is_file())
