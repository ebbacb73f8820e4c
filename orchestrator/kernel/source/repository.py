# SPDX-License-Identifier: GPL-2.0-only
"""Repositories of the user's as they are: her ignore rules; what cannot be taken, with a way out.

Nothing is written there, and nothing that a partial clone lacks is fetched behind her back.
"""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source import store
from orchestrator.model.errors import UserError


def excludes(folder: Path, slot: str) -> Path | None:
    """Write the user's ignore rules that stand in no ``.gitignore`` into one temporary file.

    As gitignore(5) has it, those of ``core.excludesFile`` first, so that ``info/exclude``, which
    linked work trees share, has the last word.  None where there are none.

    :param slot: makes the file's name.
    """
    asked = store.git_elsewhere(
        folder, "config", "--type=path", "--get", "core.excludesFile", check=False,
        users_settings=True,
    )  # fmt: skip
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    own = folder / asked.text.strip() if asked.status == 0 else Path(base, "git", "ignore")
    shared = store.git_elsewhere(folder, "rev-parse", "--git-path", "info/exclude", check=False)
    rules = [_read(own)]
    if shared.status == 0:
        rules.append(_read(folder / shared.text.rstrip("\n")))
    if not any(rules):
        return None
    target = process.temp_folder() / f"exclude-{slot}"
    target.write_bytes(b"\n".join(rules))
    return target


def check_tree(folder: Path) -> None:
    """See that a work tree holds all that it should.

    :raises UserError: for a sparse checkout that leaves out files.
    """
    sparse = store.git_elsewhere(
        folder, "config", "--bool", "--get", "core.sparseCheckout", check=False
    )
    if sparse.text.strip() != "true":
        return
    listed = store.git_elsewhere(folder, "ls-files", "-t", "-z", check=False).stdout
    away = [line[2:] for line in listed.split(b"\0") if line.startswith(b"S ")]
    away = [name for name in away if not os.path.lexists(os.path.join(os.fsencode(folder), name))]  # noqa: PTH118
    if away:
        first = os.fsdecode(away[0])
        raise UserError(
            f"{folder} is a sparse checkout: {len(away)} files are not there, {first} among them",
            f"`git -C {folder} sparse-checkout disable`, or take a commit: git:{folder}#HEAD",
        )


def check_commit(folder: Path, commit: str) -> None:
    """See that a commit can be had of a repository of the user's.

    :raises UserError: where it names objects by SHA-256, or is a partial clone that lacks some.
    """
    form = store.git_elsewhere(folder, "rev-parse", "--show-object-format", check=False)
    if form.text.strip() == "sha256":
        raise UserError(
            f"{folder} names its objects by SHA-256, which git cannot take into the lab's store",
            f"`git -C {folder} worktree add DIR {commit[:12]}`, and give path:DIR",
        )
    remotes = store.git_elsewhere(
        folder, "config", "--name-only", "--get-regexp", r"^remote\..*\.promisor$", check=False
    )
    if remotes.status != 0:
        return
    # git-rev-list(1): with --missing=print nothing is fetched.
    listed = store.git_elsewhere(
        folder, "rev-list", "--objects", "--no-walk", "--missing=print", commit, check=False
    )
    missing = sum(line.startswith(b"?") for line in listed.stdout.splitlines())
    if missing or listed.status != 0:
        name = remotes.text.splitlines()[0].removeprefix("remote.").removesuffix(".promisor")
        raise UserError(
            f"{folder} is a partial clone and has not all of commit {commit[:12]} "
            f"({missing or 'some'} objects are missing)",
            f"`git -C {folder} fetch --refetch --no-filter {name}`, or check that commit out and "
            f"give path:{folder}",
        )


def gitlinks(tree: str, cache: Cache) -> list[str]:
    """Name the submodules of a tree in the store, whose files are not part of it."""
    if store.read_file(tree, ".gitmodules", cache) is None:
        return []
    listed = store.git(cache, "ls-tree", "-r", "-z", tree).stdout.split(b"\0")
    return [os.fsdecode(line.partition(b"\t")[2]) for line in listed if line.startswith(b"160000 ")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
