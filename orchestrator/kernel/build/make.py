# SPDX-License-Identifier: GPL-2.0-only
"""Build one kernel for one config and architecture, or find that it was built before.

Builds happen out of tree in a folder that lives on per (source, config, architecture), so that a
second kernel which differs in one file costs one object and a link.  What a build left is kept by
its identity (tree, requested symbols, architecture, compiler) and reused when that is the same.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import looking
from orchestrator.kernel.build import ccache, kconfig, kdeps
from orchestrator.kernel.build.configure import configure, refuse_killed, vouch
from orchestrator.kernel.build.folders import build_folder, building, held, workplace
from orchestrator.kernel.build.kept import read_kept
from orchestrator.kernel.build.log import CompileProgress, first_reason, host_trouble, messages
from orchestrator.model import formats
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import BuildResult, CompilerMessage, ConfigMismatch, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build

# Part of every build's identity: raise it when the recipe below changes what comes out.
RECIPE = 2
BASE_UNKNOWN = "the base was not built here, so these warnings may be older than the series"
BASE_UNSEEN = "the base's build here did not compile these files, so the warnings may be older"
# No compile may stamp the image with who, where and when: equal sources give equal objects, and
# ccache and the final link find nothing new.
STAMPS = {
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER": "lab",
    "KBUILD_BUILD_HOST": "lab",
    "KBUILD_BUILD_VERSION": "1",
}


@dataclass(frozen=True)
class BuildRequest:
    """A build with everything that decides its outcome; ``identity`` names it in the cache.

    ``key`` is the same without the source: what is asked for, architecture, compiler, make's words.
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


def request(
    build: Build,
    tree: KernelTree,
    slot: str,
    arch: Arch,
    arch_fragment: Path,
    make_args: tuple[str, ...] = (),
) -> BuildRequest:
    """Work out what a build asks for and what it is called in the cache.

    The architecture's fragment comes right after the first one, so that axis fragments override it.

    :param make_args: further words for make (``GCOV_PROFILE_x.o=y``).
    :raises UserError: for a fragment that cannot be read.
    :raises HostError: when the compiler is missing.
    """
    first, rest = build.config.fragments[:1], build.config.fragments[1:]
    fragments = build.config.fragments if build.config.full else (*first, arch_fragment, *rest)
    requests = kconfig.merge(fragments, tree.version)
    asked = kconfig.digest(requests, build.config.full)
    ccache = _compiler(process.find_tool(arch.gcc) or arch.gcc)
    words = (asked, arch.name, ccache, *make_args)

    def name(*parts: str) -> str:
        return hashlib.sha256("\0".join((str(RECIPE), *parts)).encode()).hexdigest()[:32]

    return BuildRequest(
        build, tree, slot, arch, requests, name(tree.tree, *words), name(tree.base_tree, *words),
        name(*words), make_args,
    )  # fmt: skip


@functools.cache
def _compiler(gcc: str) -> str:
    return process.run([gcc, "--version"], deadline=20).text.partition("\n")[0]


def find(wanted: BuildRequest, cache: Cache) -> BuildResult | None:
    """Give the kept result of an earlier build of the same identity, or None.

    None too where what was kept is not whole: a disk that was full, a machine that lost power.
    """
    with looking(cache):  # trimming takes it before, or sees that it was used
        return _find(wanted, cache)


def _find(wanted: BuildRequest, cache: Cache) -> BuildResult | None:
    kept = read_kept(cache.build(wanted.identity), wanted.build)
    return _add_warnings(kept.built, wanted, kept.warnings, cache) if kept else None


def build_kernel(
    wanted: BuildRequest,
    source: Path,
    cache: Cache,
    *,
    jobs: int,
    deadline: float,
    on_progress: Callable[[float, str], None] = lambda *_: None,
    intact: Callable[[], bool] = lambda: True,
) -> BuildResult:
    """Configure and compile.  A kernel that does not build is a result with verdict fail.

    :param source: the checked-out work tree of ``wanted.tree``.
    :param jobs: make's -j.
    :param deadline: seconds for the compile.
    :param on_progress: sees the done share (0..1) and what is being compiled.
    :param intact: asked at the end, before anything is kept or judged: whether ``source`` was what
        it should be.
    :raises HostError: when a host tool is missing, the disk is full, the deadline passes, make is
        killed or the source was not intact.
    """
    began = time.monotonic()

    def wait(text: str) -> None:
        on_progress(0.0, text)

    config = wanted.build.config.name
    objects = build_folder(cache, wanted.slot, config, wanted.arch.name, wait)
    folder = cache.build(wanted.identity)
    with held(cache, objects, wait), workplace(folder) as work:
        kept = find(wanted, cache)  # another lab may have built it while this one waited
        if kept is not None:
            return kept
        log = work / "build.log"
        command = _make(wanted, source, objects)
        missed: tuple[ConfigMismatch, ...] = ()
        done = None
        ccache.forget_stale(objects)
        with building(objects) as whole:
            problem = configure(
                command, wanted.requests, wanted.build.config.full, objects, cache,
                tree=wanted.tree.tree, key=wanted.key, log=log,
            )  # fmt: skip
            if not problem:
                dotconfig = formats.parse_dotconfig(_read(objects / ".config"))
                missed = _mismatches(wanted, source, dotconfig)
                progress = CompileProgress(objects, on_progress)
                done = process.run(
                    [*command, f"-j{jobs}", wanted.arch.image_target],
                    deadline=deadline, env=ccache.environment(cache, source), log=log,
                    check=False, on_line=progress.line,
                )  # fmt: skip
                progress.close(done.status == 0)
                refuse_killed(done)
            # A full disk, or a sub-make that was killed, leaves things that make does not know of.
            if done is None or done.status == 0 or host_trouble(_read(log)) is None:
                whole()
        if not intact():
            raise HostError(
                f"somebody else changed files in {source}: what was built is not {wanted.build.id}",
                "run it again: the tree is made anew",
            )
        vouch(objects)
        text = _read(log)
        found = messages(text, source)
        result = BuildResult(
            build=wanted.build,
            verdict=Verdict.FAIL,
            reason=problem,
            seconds=time.monotonic() - began,
            cached=False,
            command=done.command if done else shlex.join(command),
            mismatches=missed,
            cpu_seconds=done.cpu_seconds if done else 0.0,
        )
        warnings = tuple(message for message in found if message.severity == "warning")
        if done is None or done.status != 0:
            kept_log = _keep_failed_log(log, cache, wanted.identity)
            _raise_if_host(text)
            errors = tuple(message for message in found if message.severity == "error")
            reason = problem or first_reason(errors, text)
            return replace(result, reason=reason, log=kept_log, errors=errors[:20])
        shutil.copyfile(objects / wanted.arch.image, work / "image")
        shutil.copyfile(objects / ".config", work / "config")
        shutil.copyfile(objects / "vmlinux", work / "vmlinux")
        digest = hashlib.sha256((work / "image").read_bytes()).hexdigest()
        record = {
            "image_sha256": digest,
            "command": result.command,
            "mismatches": [asdict(entry) for entry in missed],
            "warnings": [asdict(entry) for entry in warnings],
        }
        (work / "build.json").write_text(json.dumps(record, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    result = replace(
        result,
        verdict=Verdict.PASS,
        seconds=time.monotonic() - began,
        image=folder / "image",
        image_sha256=digest,
        kernel_config=folder / "config",
        vmlinux=folder / "vmlinux",
        log=folder / "build.log",
    )
    return _add_warnings(result, wanted, warnings, cache)


def _make(wanted: BuildRequest, source: Path, objects: Path) -> list[str]:
    command = ["make", "-C", str(source), f"O={objects}", f"ARCH={wanted.arch.kernel_arch}"]
    if wanted.arch.cross:
        command.append(f"CROSS_COMPILE={wanted.arch.cross}")
    if process.find_tool("ccache"):
        command.append(f"CC=ccache {wanted.arch.gcc}")
    command += [f"{name}={value}" for name, value in STAMPS.items()]
    return [*command, *wanted.make_args]


def _mismatches(
    wanted: BuildRequest, source: Path, dotconfig: dict[str, str]
) -> tuple[ConfigMismatch, ...]:
    missed = kconfig.mismatches(wanted.requests, dotconfig)
    if not missed:
        return ()
    symbols = [entry.symbol for entry in missed]
    unmet = kdeps.explain(source, wanted.arch.srcarch, symbols, dotconfig)
    return kconfig.mismatches(wanted.requests, dotconfig, unmet)


def _raise_if_host(log: str) -> None:
    """What the host did to a build must not be held against the series."""
    trouble = host_trouble(log)
    if trouble is not None:
        raise HostError(f"the build stopped: {trouble[0]}", trouble[1])


def _add_warnings(
    built: BuildResult,
    wanted: BuildRequest,
    warnings: tuple[CompilerMessage, ...],
    cache: Cache,
) -> BuildResult:
    """Add the warnings in files the series touches that the same build without it does not have."""
    touched = set(wanted.tree.touched_files)
    mine = [message for message in warnings if message.file in touched]
    if not mine:
        return built
    base = cache.build(wanted.base_identity)
    try:
        kept = json.loads((base / "build.json").read_text())
        known = {(entry["file"], entry["text"]) for entry in kept["warnings"]}
    except (OSError, ValueError, KeyError, TypeError):
        return replace(built, new_warnings=tuple(mine), notes=(*built.notes, BASE_UNKNOWN))
    new = tuple(message for message in mine if (message.file, message.text) not in known)
    log = _read(base / "build.log")
    # The base's build may have taken an object from another config's, where the warning was told.
    unseen = any(m.file.endswith(".c") and f" {m.file[:-2]}.o\n" not in log for m in new)
    return replace(built, new_warnings=new, notes=built.notes + (BASE_UNSEEN,) * unseen)


def _keep_failed_log(log: Path, cache: Cache, identity: str) -> Path:
    kept = cache.failed_log(identity)
    shutil.copyfile(log, kept)
    return kept


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
