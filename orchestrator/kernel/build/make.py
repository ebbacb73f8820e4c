# SPDX-License-Identifier: GPL-2.0-only
"""Build one kernel for one config and architecture, or find that it was built before.

Builds happen out of tree in a folder that lives on per (work tree, config, architecture), so that a
second kernel which differs in one file costs one object and a link.  What a build left is kept by
its identity (tree, requested symbols, architecture, compiler) and reused when that is the same.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from orchestrator.host import process, walls
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import looking
from orchestrator.host.cache.seals import digest_of
from orchestrator.kernel.build import (
    ccache,
    coverage,
    kconfig,
    kcov,
    modules,
    needs,
    shadow,
    warned,
)  # fmt: skip
from orchestrator.kernel.build.configure import configure, refuse_killed, vouch
from orchestrator.kernel.build.folders import build_folder, building, held, note_tree, workplace
from orchestrator.kernel.build.foretold import Foretold, foretell
from orchestrator.kernel.build.kept import digests, read_kept
from orchestrator.kernel.build.log import CompileProgress, first_reason, host_trouble, messages
from orchestrator.kernel.build.request import BuildRequest
from orchestrator.model import formats
from orchestrator.model.errors import HostError, LabError
from orchestrator.model.kernel import BuildResult, CompilerMessage, ConfigMismatch
from orchestrator.model.names import Verdict

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


def find(wanted: BuildRequest, cache: Cache) -> BuildResult | None:
    """Give the kept result of an earlier build of the same identity, or None.

    None too where what was kept is not whole: a disk that was full, a machine that lost power.
    """
    with looking(cache):  # trimming takes it before, or sees that it was used
        return _find(wanted, cache)


def _find(wanted: BuildRequest, cache: Cache) -> BuildResult | None:
    kept = read_kept(cache.build(wanted.identity), wanted.build)
    if kept is None:
        return None
    built = replace(kept.built, compiler=wanted.compiler)
    problem = _stopped(wanted, built.mismatches)
    if problem:  # it was built when that was asked for
        return replace(
            built, verdict=Verdict.FAIL, reason=problem, image=None, image_sha256="",
            vmlinux=None,
        )  # fmt: skip
    return _add_warnings(built, wanted, kept.warnings, cache)


def _stopped(wanted: BuildRequest, missed: tuple[ConfigMismatch, ...]) -> str:
    """Why what was asked for is not to be compiled; empty where nothing is in the way."""
    if wanted.build.config.build_mismatched:
        return ""
    own = kconfig.own_mismatches(wanted.requests, missed)
    full = wanted.full.path if wanted.full else None
    return kconfig.stopped(own, needs.sentence(own, full, wanted.build.config))


def build_kernel(
    wanted: BuildRequest,
    source: Path,
    cache: Cache,
    *,
    jobs: int,
    deadline: float,
    on_progress: Callable[[float, str], None] = lambda *_: None,
    on_note: Callable[[str], None] = lambda _: None,
    intact: Callable[[], bool] = lambda: True,
) -> BuildResult:
    """Configure and compile.  A kernel that does not build is a result with verdict fail.

    So is one of which a symbol of the user's own did not take: that is known before the compile.

    :param source: the checked-out work tree of ``wanted.tree``.
    :param jobs: make's -j.
    :param deadline: seconds for the compile.
    :param on_progress: sees the done share (0..1) and what is being compiled.
    :param on_note: sees each symbol that did not take where it is compiled all the same.
    :param intact: asked at the end, before anything is kept or judged: whether ``source`` was what
        it should be.
    :raises HostError: when a host tool is missing, the disk is full, the deadline passes, make is
        killed or the source was not intact.
    """
    began = time.monotonic()

    def wait(text: str) -> None:
        on_progress(0.0, text)

    config = wanted.build.config
    place = (wanted.slot, config.folder, wanted.arch.name, config.toolchain.folder)
    objects = build_folder(cache, *place, wait)
    folder = cache.build(wanted.identity)
    with held(cache, objects, wait), workplace(folder) as work:
        kept = find(wanted, cache)  # another lab may have built it while this one waited
        if kept is not None:
            return kept
        around = walls.around_build(
            deadline, (objects,), (source,), stores=(cache.ccache,), fenced=wanted.fenced
        )
        site = _Site(wanted, source, objects, work, cache, around)
        earlier = warned.take(objects)
        made = _configure_and_compile(site, jobs, deadline, on_progress, on_note)
        if not intact():
            raise HostError(
                f"somebody else changed files in {source}: what was built is not {wanted.build.id}",
                "run it again: the tree is made anew",
            )
        vouch(objects)
        text = _read(site.log)
        told = [m for m in messages(text, source) if m.severity == "warning"]
        warnings = warned.note(objects, earlier, text, told, source)
        if not made.whole:
            return _failed(site, made, began)
        if config.modules:
            modules.pack(_command(site), work, site.log, site.fence)
        if config.coverage:
            coverage.pack(objects, wanted.counted, work)
        digest = _keep(site, made, warnings)
    result = replace(
        _result(site, made, began),
        verdict=Verdict.PASS,
        image=folder / "image",
        image_sha256=digest,
        kernel_config=folder / "config",
        vmlinux=folder / "vmlinux",
        log=folder / "build.log",
        modules=folder / modules.ARCHIVE if config.modules else None,
        coverage=folder / coverage.ARCHIVE if config.coverage else None,
    )
    return _add_warnings(result, wanted, warnings, cache)


# ---------------------------------------------------------------- making


@dataclass(frozen=True)
class _Site:
    """Where a build is made: the build folder, held, and ``work``, for what will be kept."""

    wanted: BuildRequest
    source: Path
    objects: Path
    work: Path
    cache: Cache
    around: walls.Around

    def fence(self, further: Path) -> walls.Around:
        """The walls for a command that writes to a further folder."""
        writes, reads = (self.objects, further), (self.source,)
        return walls.around_build(modules.DEADLINE, writes, reads, fenced=self.wanted.fenced)

    @property
    def log(self) -> Path:
        """What make prints."""
        return self.work / "build.log"


@dataclass(frozen=True)
class _Made:
    """What configuring and compiling came to.

    ``problem`` is that of the configuration; ``done`` is the compile's end, None without one;
    ``steps`` counts what make compiled and linked.
    """

    command: str
    problem: str = ""
    foretold: Foretold = field(default_factory=Foretold)
    done: process.Completed | None = None
    steps: int = 0

    @property
    def whole(self) -> bool:
        """Whether make says that all was made."""
        return self.done is not None and self.done.status == 0


def _configure_and_compile(
    site: _Site,
    jobs: int,
    deadline: float,
    on_progress: Callable[[float, str], None],
    on_note: Callable[[str], None],
) -> _Made:
    command = _command(site)
    wanted, tree = site.wanted, site.wanted.tree.tree
    ccache.forget_stale(site.objects)
    with building(site.objects) as whole:
        shadow.forget(site.objects, tree, wanted.slot, site.cache)
        note_tree(site.objects, tree, whole=False)
        seen = Foretold()
        problem = configure(wanted, command, site.objects, site.cache, site.log, site.around)
        if not problem:
            dotconfig = formats.parse_dotconfig(_read(site.objects / ".config"))
            try:
                seen = foretell(wanted, site.source, site.objects, dotconfig)
            except LabError:
                whole()  # nothing was compiled yet
                raise
            config = wanted.build.config
            problem = (
                _stopped(wanted, seen.missed)
                or modules.problem(config, dotconfig)
                or coverage.problem(config, dotconfig, wanted.counted)
                or kcov.problem(config, dotconfig, wanted.traced)
            )
            with site.log.open("a") as log:  # where the .config stood, there is none yet
                log.writelines(f"{line}\n" for line in seen.lines)
            for note in seen.notes:
                on_note(note)
        if problem:
            made = _Made(shlex.join(command), problem, seen)
        else:
            for miss in seen.missed:
                on_note(kconfig.tell(miss))
            done, steps = _compile(site, command, jobs, deadline, on_progress)
            made = _Made(done.command, foretold=seen, done=done, steps=steps)
        # A full disk, or a sub-make that was killed, leaves things that make does not know of.
        if problem or made.whole or host_trouble(_read(site.log)) is None:
            whole()
        if made.whole:
            note_tree(site.objects, tree, whole=True)
    return made


def _command(site: _Site) -> list[str]:
    """make with all but its target."""
    arch = site.wanted.arch
    command = ["make", "-C", str(site.source), f"O={site.objects}", f"ARCH={arch.kernel_arch}"]
    toolchain = site.wanted.build.config.toolchain
    command += toolchain.make_words(arch, ccache=process.find_tool("ccache") is not None)
    command += [f"{name}={value}" for name, value in STAMPS.items()]
    return [*command, *site.wanted.make_args]


def _compile(
    site: _Site,
    command: list[str],
    jobs: int,
    deadline: float,
    on_progress: Callable[[float, str], None],
) -> tuple[process.Completed, int]:
    """Run make; give its end, and how many steps it told of."""
    progress = CompileProgress(site.objects, on_progress)
    names = shadow.includable(site.wanted.tree.tree, site.cache)
    config = site.wanted.build.config
    done = process.run(
        [*command, f"-j{jobs}", site.wanted.arch.image_target, *modules.targets(config)],
        deadline=deadline, log=site.log, check=False, on_line=progress.line,
        env=ccache.environment(site.cache, site.source, names) | site.around.env,
        around=site.around.words,
    )  # fmt: skip
    walls.drop_links(site.objects, (site.wanted.arch.image, "vmlinux", ".config"))
    progress.close(done.status == 0)
    refuse_killed(done)
    return done, progress.steps


# ---------------------------------------------------------------- what came of it


def _result(site: _Site, made: _Made, began: float) -> BuildResult:
    """The result of a build that failed, until more is known."""
    return BuildResult(
        build=site.wanted.build,
        verdict=Verdict.FAIL,
        reason=made.problem,
        seconds=time.monotonic() - began,
        cached=False,
        command=made.command,
        mismatches=made.foretold.missed,
        notes=made.foretold.notes,
        cpu_seconds=made.done.cpu_seconds if made.done else 0.0,
        steps=made.steps,
        compiler=site.wanted.compiler,
        made_in=(site.wanted.slot, site.wanted.build.config.folder),
    )


def _failed(site: _Site, made: _Made, began: float) -> BuildResult:
    """The result of a kernel that does not build; its log is kept.

    :raises HostError: what the host did to a build must not be held against the series.
    """
    log = site.cache.failed_log(site.wanted.identity)
    shutil.copyfile(site.log, log)
    text = _read(site.log)
    trouble = host_trouble(text)
    if trouble is not None:
        raise HostError(f"the build stopped: {trouble[0]}", trouble[1])
    errors = tuple(m for m in messages(text, site.source) if m.severity == "error")
    reason = made.problem or first_reason(errors, text)
    return replace(_result(site, made, began), reason=reason, log=log, errors=errors[:20])


def _keep(site: _Site, made: _Made, warnings: tuple[CompilerMessage, ...]) -> str:
    """Put a whole build where :func:`find` finds it; give its image's checksum."""
    objects, work = site.objects, site.work
    shutil.copyfile(objects / site.wanted.arch.image, work / "image")
    shutil.copyfile(objects / ".config", work / "config")
    shutil.copyfile(objects / "vmlinux", work / "vmlinux")
    digest = digest_of(work / "image")
    record = {
        "image_sha256": digest,
        "sha256": digests(work),
        "command": made.command,
        "mismatches": [asdict(entry) for entry in made.foretold.missed],
        "notes": made.foretold.notes,
        "warnings": [asdict(entry) for entry in warnings],
        "made_in": [site.wanted.slot, site.wanted.build.config.folder],
    }
    site.cache.build_record(work).write_text(json.dumps(record, indent=1))
    folder = site.cache.build(site.wanted.identity)
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)
    return digest


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
        kept = json.loads(cache.build_record(base).read_text())
        known = {(entry["file"], entry["text"]) for entry in kept["warnings"]}
    except (OSError, ValueError, KeyError, TypeError):
        return replace(built, new_warnings=tuple(mine), notes=(*built.notes, BASE_UNKNOWN))
    new = tuple(message for message in mine if (message.file, message.text) not in known)
    log = _read(base / "build.log")
    # The base's build may have taken an object from another config's, where the warning was told.
    unseen = any(m.file.endswith(".c") and f" {m.file[:-2]}.o\n" not in log for m in new)
    return replace(built, new_warnings=new, notes=built.notes + (BASE_UNSEEN,) * unseen)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
