# SPDX-License-Identifier: GPL-2.0-only
"""A patch by git's three-way merge: a file as it was made from, as it makes it, and as it is here.

What a patch was made from is named by the ``index`` line of its diff and must be had: from the
store, from the repository of the source or of the series, or made by an earlier patch of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.series import diff
from orchestrator.kernel.series.misfit import conflict
from orchestrator.kernel.source import store
from orchestrator.model.kernel import ApplyFailure, Patch


@dataclass
class Originals:
    """The files of a series as its author had them, followed patch by patch.

    :param index: git's index for them; made here.
    :param repositories: those of the user's that may have what the store has not.
    """

    index: Path
    repositories: Sequence[Path]
    cache: Cache
    _have: dict[str, str] = field(default_factory=dict)

    def follow(self, patch: Patch) -> list[str]:
        """Bring what a patch was made from into the store, and go on to what it makes of it.

        Gives what is missing, as ``FILE (BLOB)``.
        """
        missing, there = [], []
        for file in diff.parse(patch.diff):
            if file.old is None:
                there.append(file.name)
                continue
            if not file.hunks:
                continue
            blob = self._blob(file.old, file.old_blob) if file.old_blob else None
            if blob is None:
                missing.append(f"{file.old} ({file.old_blob or 'its diff has no index line'})")
                continue
            there.append(file.name)
            self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{file.old}")
        if there:
            only = [f"--include={name}" for name in there]
            self._git("apply", "--cached", "--whitespace=nowarn", *only, "-", input=patch.diff)
            self._have = self._entries()
        return missing

    def _blob(self, name: str, short: str) -> str | None:
        here = self._have.get(name, "")
        if here.startswith(short):
            return here
        found = store.git(
            self.cache, "rev-parse", "--verify", "--quiet", f"{short}^{{blob}}", check=False
        )
        if found.status == 0:
            return found.text.strip()
        for repository in self.repositories:
            content = store.git_elsewhere(
                repository, "cat-file", "blob", short, check=False
            )  # fmt: skip
            if content.status == 0:
                kept = store.git(
                    self.cache, "hash-object", "-w", "--stdin", input=content.stdout
                ).text.strip()
                return kept if kept.startswith(short) else None
        return None

    def _entries(self) -> dict[str, str]:
        listed = self._git("ls-files", "-s", "-z")
        pairs = (line.partition(b"\t") for line in listed.split(b"\0") if line)
        return {os.fsdecode(name): entry.split()[1].decode() for entry, _, name in pairs}

    def _git(self, *arguments: str, input: bytes | None = None) -> bytes:
        """A step that may come to nothing: what it would have made is missing later, and told."""
        return store.git(self.cache, *arguments, index=self.index, input=input, check=False).stdout


def merge(patch: Patch, index: Path, cache: Cache) -> ApplyFailure | str | None:
    """Merge one patch into an index, which is as before where that does not work.

    None where it worked; the conflict; or what git said where it came to no merge.
    """
    trial = index.with_name(f"{index.name}-merge")
    shutil.copyfile(index, trial)
    done = store.git(
        cache, "apply", "--cached", "--3way", "--whitespace=nowarn", "-",
        index=trial, input=patch.diff, check=False,
    )  # fmt: skip
    if done.status == 0:
        trial.replace(index)
        return None
    unmerged: bytes = store.git(cache, "ls-files", "-u", "-z", index=trial).stdout
    stages: dict[str, dict[str, str]] = {}
    for line in filter(None, unmerged.split(b"\0")):
        entry, _, raw = line.partition(b"\t")
        _mode, blob, stage = entry.decode().split()
        stages.setdefault(os.fsdecode(raw), {})[stage] = blob
    trial.unlink()
    for name, of_file in stages.items():
        return conflict(patch, name, len(stages), _marked(of_file, index.parent, cache))
    return done.stderr.decode(errors="replace").strip()


def _marked(blobs: dict[str, str], folder: Path, cache: Cache) -> str:
    """A file with conflict marks: ours, the base and theirs."""
    paths = []
    for stage in ("2", "1", "3"):
        path = folder / f"stage-{stage}"
        blob = blobs.get(stage)
        path.write_bytes(store.git(cache, "cat-file", "blob", blob).stdout if blob else b"")
        paths.append(path)
    labels = ("-L", "the source", "-L", "what the patch was made from", "-L", "the patch")
    return store.git(
        cache, "merge-file", "-p", "--diff3", *labels, *paths, check=False
    ).text  # fmt: skip
