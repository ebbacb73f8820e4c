# SPDX-License-Identifier: GPL-2.0-only
"""Kept builds: read back by their identity, or found by the very image that came out of one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import looking
from orchestrator.host.cache.seals import digest_of
from orchestrator.kernel.build import coverage, modules
from orchestrator.model.kernel import BuildResult, CompilerMessage, ConfigMismatch
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build

_COMPILER = re.compile(r'^CONFIG_CC_VERSION_TEXT="(.*)"$', re.MULTILINE)


@dataclass(frozen=True)
class Kept:
    """A kept build, and every warning that its compile printed."""

    built: BuildResult
    warnings: tuple[CompilerMessage, ...]


def digests(folder: Path) -> dict[str, str]:
    """The checksums of what is kept of a build beside its image: wrong ones would be judged by.

    :param folder: the build's, whole.
    :raises OSError: when a file cannot be read.
    """
    names = ("config", "vmlinux", modules.ARCHIVE, coverage.ARCHIVE)
    return {name: digest_of(folder / name) for name in names if (folder / name).is_file()}


def read_kept(folder: Path, wanted: Build, sha256: str = "") -> Kept | None:
    """Read a kept build back as a build of ``wanted``, and mark it as used.

    None where it is not whole (a disk that was full, a machine that lost power), or where its image
    has another checksum than ``sha256``.
    """
    try:
        kept = json.loads(Cache.build_record(folder).read_text())
        digest = str(kept["image_sha256"])
        if sha256 not in ("", digest) or not (folder / "config").is_file():
            return None
        if digest_of(folder / "image") != digest:
            return None
        # A build of an older lab has none; what is away is told below where it is needed.
        noted = dict(kept.get("sha256", {}))
        if any(noted.get(name, now) != now for name, now in digests(folder).items()):
            return None
        archive, notes = folder / modules.ARCHIVE, folder / coverage.ARCHIVE
        if wanted.config.modules and not archive.is_file():
            return None
        if wanted.config.coverage and not notes.is_file():
            return None
        warnings = tuple(CompilerMessage(**entry) for entry in kept["warnings"])
        built = BuildResult(
            build=wanted,
            verdict=Verdict.PASS,
            reason="",
            seconds=0.0,
            cached=True,
            image=folder / "image",
            image_sha256=digest,
            kernel_config=folder / "config",
            vmlinux=folder / "vmlinux",
            log=folder / "build.log",
            command=str(kept["command"]),
            mismatches=tuple(ConfigMismatch(**entry) for entry in kept["mismatches"]),
            notes=tuple(map(str, kept.get("notes", ()))),
            compiler=_compiler(folder / "config"),
            modules=archive if archive.is_file() else None,
            coverage=notes if notes.is_file() else None,
            made_in=tuple(str(part) for part in kept.get("made_in", ())),
        )
        Cache.build_record(folder).touch()  # the cache is trimmed by last use
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Kept(built, warnings)


def _compiler(dotconfig: Path) -> str:
    """What the compiler said it is: Kconfig writes that down (init/Kconfig, CC_VERSION_TEXT)."""
    found = _COMPILER.search(dotconfig.read_text(errors="replace"))
    return found[1] if found else ""


def find_image(wanted: Build, sha256: str, cache: Cache) -> BuildResult | None:
    """Give the kept build whose image has this checksum, as a build of ``wanted``; None: trimmed.

    Whatever the sources, the config or the compiler are by now, this is the kernel that ran.
    """
    if not sha256:
        return None
    with looking(cache):  # trimming takes it before, or sees that it was used
        for record in sorted(cache.build_records()):
            found = read_kept(record.parent, wanted, sha256)
            if found is not None:
                return found.built
    return None
