# SPDX-License-Identifier: GPL-2.0-only
"""``lab run --watch``: run again whenever what is tested has changed; imports watchfiles.

Each run is a ``lab run`` of its own, so that one of them can be ended like any other.  A run that a
change overtakes is abandoned at once: its verdict would be about a tree that is no more.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.commands.workspace import find_places, in_tree, read
from orchestrator.host import process
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_INTERRUPTED, EXIT_OK, HostError, UserError
from orchestrator.model.spec import Plan
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.runner.context import Places

#: A change is over when nothing more has come for this long, or after the most: milliseconds.
QUIET, MOST = 300, 3000
#: How often single files are looked at, and whether the run has ended: milliseconds.
TICK = 500
#: Seconds for a run that is overtaken to put its guests away and to report what it has.
ENDING = 60.0
_SHOWN = 3
# What builds and editors leave, as the kernel's .gitignore has it (v6.12); so are all names that
# begin with a dot.
_PRODUCTS = (
    ".a", ".bin", ".bz2", ".cmd", ".dtb", ".elf", ".gz", ".ko", ".lex.c", ".lz4", ".lzma", ".mod",
    ".mod.c", ".o", ".order", ".rej", ".orig", ".s", ".so", ".so.dbg", ".swo", ".swp", ".swx",
    ".symtypes", ".tab.c", ".tab.h", ".tmp", ".xz", ".zst", "~",
)  # fmt: skip
_NAMES = {
    "Module.symvers", "System.map", "TAGS", "__pycache__", "cscope.out", "modules.builtin", "tags",
    "vmlinux",
}  # fmt: skip


# What programs that edit write first and rename or remove: sed -i (sedA1b2C3), vim's try whether it
# may write here (4913, then 123 more each), emacs (#name#), JetBrains (name___jb_tmp___).
_SCRATCH = re.compile(r"sed[A-Za-z0-9]{6}|[0-9]{4,6}|#.*#|.*___jb_(?:tmp|old|bak)___", re.ASCII)


@dataclass(frozen=True)
class Watched:
    """What is looked at: ``folders`` with all below them, ``files``, and what is left out there.

    ``repositories`` are git folders, of which only what names a commit counts.
    """

    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    apart: tuple[Path, ...] = ()
    repositories: tuple[Path, ...] = ()

    def matters(self, path: Path) -> bool:
        """Whether a change of ``path`` may change a verdict."""
        if any(path.is_relative_to(folder) for folder in self.apart):
            return False
        for folder in self.repositories:
            if path.is_relative_to(folder):
                below = path.relative_to(folder).as_posix()
                named = below.startswith("refs/") or below in ("HEAD", "packed-refs")
                return named and not below.endswith(".lock")
        for folder in self.folders:
            if path.is_relative_to(folder):
                parts = path.relative_to(folder).parts
                hidden = any(part.startswith(".") for part in parts)
                passing = path.name.endswith(_PRODUCTS) or _SCRATCH.fullmatch(path.name)
                return not hidden and not _NAMES & set(parts) and not passing
        return False


def what_to_watch(plan: Plan, places: Places) -> Watched:
    """The trees and series of a plan, and what says what is done with them.

    :raises UserError: when none of its kernels can change.
    """
    folders: list[Path] = []
    files: list[Path] = []
    repositories: list[Path] = []
    kernels = dict.fromkeys(cell.build.kernel for cell in plan.cells)
    for kernel in kernels:
        for text in (kernel.source, kernel.series or ""):
            form, _, rest = text.partition(":")
            if form == "git":
                folder = Path(rest.rpartition("#")[0])
                inside = folder / ".git"
                if folder.is_dir():
                    repositories.append(inside if inside.is_dir() else folder)
            elif form == "path" or text.startswith("/"):
                path = Path(rest if form == "path" else text)
                (folders if path.is_dir() else files).append(path)
    if not folders and not files and not repositories:
        names = ", ".join(kernel.source for kernel in kernels)
        raise UserError(
            f"--watch: {names} cannot change", "name a tree with --source DIR, or a --series"
        )
    for config in dict.fromkeys(build.config for build in plan.builds):
        files += [*config.fragments, *([config.full] if config.full else [])]
    folders += [w.folder.parent for cell in plan.cells for w in cell.workloads]
    return Watched(
        folders=tuple(dict.fromkeys(folders)),
        files=tuple(dict.fromkeys([*files, places.lab_yaml])),
        apart=(places.reports, places.cache.folder),
        repositories=tuple(dict.fromkeys(repositories)),
    )


def changes(watched: Watched) -> Iterator[tuple[Path, ...]]:
    """What has changed, each time something has; nothing at least every ``TICK``.

    :raises HostError: when watchfiles is not installed, or the kernel watches no more files.
    """
    try:
        from watchfiles import watch as notified
    except ImportError as error:
        raise HostError(
            "--watch needs the package watchfiles",
            "pipx inject mm-lab watchfiles (or pip install 'mm-lab[watch]')",
        ) from error
    before = _times(watched.files)
    try:
        for found in notified(
            *watched.folders, *watched.repositories,
            watch_filter=lambda _kind, path: watched.matters(Path(path)),
            debounce=MOST, step=QUIET, rust_timeout=TICK, yield_on_timeout=True,
            ignore_permission_denied=True,
        ):  # fmt: skip
            now = _times(watched.files)
            told = {Path(path) for _, path in found}
            yield tuple(sorted(told | {path for path in now if now[path] != before[path]}))
            before = now
    except OSError as error:
        raise HostError(
            f"cannot watch the tree: {error}", "sysctl fs.inotify.max_user_watches says how many"
        ) from error


def _times(files: Iterable[Path]) -> dict[Path, int]:
    """When each file was last written (ns; 0: not there): editors put new ones in their place."""
    times = {}
    for path in files:
        times[path] = 0
        with contextlib.suppress(OSError):
            times[path] = path.stat().st_mtime_ns
    return times


def follow(news: Iterator[tuple[Path, ...]], argv: list[str], tell: Callable[[str], None]) -> int:
    """Start ``argv`` now and after every change, until Ctrl-C; gives the exit status.

    That is the last run's where the lab was waiting, or 130 where one was cut.
    """
    status = EXIT_OK
    try:
        while True:
            with process.start(argv, env=os.environ, stdout=1, stderr=2) as child:
                try:
                    came = next(each for each in news if each or child.poll() is not None)
                finally:
                    _end(child)
                if came:
                    tell(f"{_names(came)} changed: this run is abandoned, the next one begins")
                    continue
                status = child.returncode
            tell("waiting for a change; Ctrl-C ends")
            tell(f"{_names(next(each for each in news if each))} changed")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED if child.returncode == EXIT_INTERRUPTED else status


def _end(child: subprocess.Popen[bytes]) -> None:
    """Have a run report what it has; what still runs after the deadline is killed by its block."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(ENDING)


def _names(paths: tuple[Path, ...]) -> str:
    told = ", ".join(path.name for path in paths[:_SHOWN])
    return told + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")


def watch(selection: Selection, words: list[str]) -> int:
    """Run ``lab run`` with ``words`` again and again.

    :raises UserError: for anything wrong in lab.yaml or on the command line, before the first run.
    :raises HostError: as :func:`changes` does.
    """
    places = find_places(anywhere=selection.source is not None)
    plan = make_plan(read(places), in_tree(selection, places), tuple(ARCHES))
    news = changes(what_to_watch(plan, places))
    next(news)  # the trees are watched before the first run reads them
    argv = [sys.executable, "-m", "orchestrator.cli", *(w for w in words if w != "--watch")]
    return follow(news, argv, lambda text: click.echo(f"lab: {text}", err=True))
