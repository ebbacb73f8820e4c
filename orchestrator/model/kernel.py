# SPDX-License-Identifier: GPL-2.0-only
"""Sources, series, builds and selftests: what the kernel stage gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, KernelSpec


@dataclass(frozen=True)
class Selftest:
    """A program of a selftest collection that was built, or was not.

    ``role`` is ``test`` for what kselftest itself runs, ``built`` for a file that may be a helper
    of one or be run by the collection's own script, ``file`` for what was only copied.
    ``problem`` is the compiler's first error; ``lacks`` names the host's library for want of which
    it was, ``repaired`` the flags with which it was built in the end.
    """

    name: str
    role: str = "test"
    problem: str = ""
    lacks: str = ""
    repaired: str = ""


@dataclass(frozen=True)
class Selftests:
    """A selftest collection, built: ``files`` goes into the guest, programs in ``folder`` of it.

    ``missing`` says that the tree has none, ``failure`` why none of it could be built.
    ``timeout`` is what its ``settings`` file states in seconds, 0 for no limit.
    """

    collection: str
    folder: str = ""
    files: Path | None = None
    tests: tuple[Selftest, ...] = ()
    missing: str = ""
    failure: str = ""
    timeout: float | None = None


@dataclass(frozen=True)
class Patch:
    """One patch of a series, parsed.  ``n`` counts from 1; ``diff`` is what git applies."""

    n: int
    subject: str
    author: str
    date: str
    diff: bytes
    sha256: str


@dataclass(frozen=True)
class Series:
    """An ordered series.  ``digest`` is sha256 over the patches' sha256 (KCIDB patchset_hash).

    ``subject`` is that of its cover letter, empty without one.
    """

    origin: str
    patches: tuple[Patch, ...]
    digest: str
    base_commit: str = ""
    notes: tuple[str, ...] = ()
    subject: str = ""


@dataclass(frozen=True)
class BentHunk:
    """A hunk that went in although the file is not as its context says.

    ``offset`` is how many lines below its header's place it went, ``fuzz`` how many lines of its
    context were ignored at either end.  ``merged``: git's three-way merge put it in.
    """

    file: str
    header: str
    offset: int = 0
    fuzz: int = 0
    merged: bool = False


@dataclass(frozen=True)
class PatchState:
    """A patch as results.json records it; ``applied`` is None when an earlier one failed.

    ``bent`` are the hunks that did not fit as they stand (``--apply``).  ``patch_id`` is that of
    git-patch-id(1) with ``--stable``, by which `git cherry`, b4 and patchwork know a patch; empty
    in results of a lab that did not ask for it yet.
    """

    n: int
    subject: str
    author: str
    sha256: str
    applied: bool | None
    bent: tuple[BentHunk, ...] = ()
    patch_id: str = ""


@dataclass(frozen=True)
class AddedLine:
    """A line of the final sources that patch ``patch`` (from 1) of the series added or changed."""

    patch: int
    file: str
    line: int
    text: str


@dataclass(frozen=True)
class PatchHunk:
    """A hunk of code of patch ``patch`` (from 1); ``text`` are its lines with their signs.

    ``header`` is its first line, ``file`` what the file is called in the final sources.  ``lines``
    has for each line that it adds its number there, 0 where a later patch takes it away, or where
    it went in elsewhere than the patch says.
    """

    patch: int
    file: str
    header: str
    text: str
    lines: tuple[int, ...] = ()

    @property
    def added(self) -> tuple[AddedLine, ...]:
        """What of it is in the final sources."""
        texts = (line[1:] for line in self.text.split("\n") if line.startswith("+"))
        pairs = zip(self.lines, texts, strict=True)
        return tuple(AddedLine(self.patch, self.file, n, text) for n, text in pairs if n)


@dataclass(frozen=True)
class ApplyFailure:
    """Why a series does not apply: the patch, the hunk that failed, the file's real text there."""

    n: int
    subject: str
    file: str
    line: int
    message: str
    hunk: str
    context: str


@dataclass(frozen=True)
class FileChange:
    """A file that differs: how many lines were ``added`` and ``removed``; None where not text.

    ``mode`` tells that nothing but its mode does: it can be executed, or no longer.
    """

    file: str
    added: int | None
    removed: int | None
    mode: bool = False


@dataclass(frozen=True)
class Difference:
    """How a kernel's sources differ from those of a known one, the *base*.

    ``base`` is what people call it (``v6.12``, a tag, ``HEAD``), ``source`` what it is fetched by,
    ``tree`` its tree id.  ``count`` files differ, of which ``files`` names the first, code before
    the rest.  Where the base is not ``near``, so many differ that none is named.  ``patched`` tells
    that a series on the sources is part of it.
    """

    base: str
    source: str
    tree: str
    count: int
    files: tuple[FileChange, ...] = ()
    near: bool = True
    patched: bool = False


@dataclass(frozen=True)
class Tested:
    """What is tested when a kernel is: ``sentence`` says it, the rest is what it was made of.

    ``what`` is what the sources are called (``your tree``, ``commit 0123456789ab``), empty for
    a release as it was published.  ``commit`` is what a git tree has checked out, ``changed`` tells
    that its files are not as they are there.  ``subject`` is that of the series' cover letter.
    """

    sentence: str = ""
    what: str = ""
    commit: str = ""
    changed: bool = False
    subject: str = ""
    difference: Difference | None = None


@dataclass(frozen=True)
class KernelTree:
    """A kernel's sources, content-addressed: ``tree`` is a git tree id in the cache's object store.

    ``base_tree`` is the tree that it is set beside: without the series, or that of the nearest
    known kernel; equal to ``tree`` where there is neither.
    ``failure`` is set, and ``tree`` is the last good one, when the series did not apply.
    ``hunks`` are those of code of its series.
    """

    spec: KernelSpec
    version: str
    base_tree: str
    tree: str
    patches: tuple[PatchState, ...] = ()
    series_digest: str = ""
    notes: tuple[str, ...] = ()
    failure: ApplyFailure | None = None
    touched_files: tuple[str, ...] = ()
    tested: Tested = Tested()
    hunks: tuple[PatchHunk, ...] = ()

    @property
    def added(self) -> tuple[AddedLine, ...]:
        """The lines of code that the series brings, by patch, file and line."""
        lines = (line for hunk in self.hunks for line in hunk.added)
        return tuple(sorted(lines, key=lambda line: (line.patch, line.file, line.line)))


@dataclass(frozen=True)
class ConfigMismatch:
    """A requested symbol that did not take.  ``unmet`` tells why: most often a dependency."""

    symbol: str
    wanted: str
    got: str
    fragment: str
    unmet: str = ""


@dataclass(frozen=True)
class CompilerMessage:
    """A compiler error or warning: where and what."""

    file: str
    line: int
    text: str
    severity: str = "error"


@dataclass(frozen=True)
class BuildResult:
    """What one build came to.  Paths are absolute and may be None where the build failed.

    ``made_in`` is the slot and the config of the build folder that it was compiled in: equal
    sources may have another slot.  Empty where not known.  ``steps`` counts the compiles and links
    that make told of.  ``compiler`` is the first line of what it says to ``--version``.
    ``modules`` is the archive of what the guest has below /lib/modules, None without any;
    ``coverage`` that of the compiler's notes on what is counted (gcov).
    """

    build: Build
    verdict: Verdict
    reason: str
    seconds: float
    cached: bool
    image: Path | None = None
    image_sha256: str = ""
    kernel_config: Path | None = None
    vmlinux: Path | None = None
    log: Path | None = None
    command: str = ""
    mismatches: tuple[ConfigMismatch, ...] = ()
    errors: tuple[CompilerMessage, ...] = ()
    new_warnings: tuple[CompilerMessage, ...] = ()
    cpu_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    made_in: tuple[str, ...] = ()
    steps: int = 0
    compiler: str = ""
    modules: Path | None = None
    coverage: Path | None = None
