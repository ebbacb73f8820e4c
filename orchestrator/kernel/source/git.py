# SPDX-License-Identifier: GPL-2.0-only
"""Commits from repositories that are not ours: resolve a name, fetch one commit without history."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache, need_space
from orchestrator.host.cache.locks import Notice, locked
from orchestrator.kernel.source import store
from orchestrator.model.errors import HostError, UserError

_FULL_ID = re.compile(r"[0-9a-f]{40}")


def is_local(where: str) -> bool:
    """Tell a folder from a URL (``https://...``, ``user@host:path``)."""
    if where.startswith("file://"):
        return True
    return "://" not in where and not re.match(r"[^/]+:", where)


def resolve_commit(repository: Path, name: str) -> str:
    """Give the commit id that a name stands for in a repository of the user's.

    :raises UserError: when there is no such repository or commit.
    """
    if not repository.is_dir():
        raise UserError(f"{repository} is no folder", "name a git repository: git:DIR#...")
    if store.git_folder(repository) is None:
        raise UserError(f"{repository} is not a git repository", "use path:DIR for a plain tree")
    done = store.git_elsewhere(
        repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}",
        check=False,
    )  # fmt: skip
    if done.status == 0:
        return done.text.strip()
    shallow = store.git_elsewhere(repository, "rev-parse", "--is-shallow-repository", check=False)
    if shallow.text.strip() == "true":
        raise UserError(
            f"{repository} has no commit {name!r}; it is a shallow clone",
            f"`git -C {repository} fetch --unshallow` gets the history, if it is there",
        )
    raise UserError(
        f"{repository} has no commit {name!r}", "name a branch, a tag or a commit id it has"
    )


def local_tree(repository: Path, commit: str, cache: Cache) -> str:
    """Give the tree of a commit of the user's where the store has it already, else nothing.

    No tree is in the store but as a whole, so that nothing has to be fetched then.
    """
    done = store.git_elsewhere(repository, "rev-parse", f"{commit}^{{tree}}", check=False)
    tree = done.text.strip()
    return tree if done.status == 0 and store.has_object(cache, f"{tree}^{{tree}}") else ""


def remote_commit(cache: Cache, url: str, name: str, deadline: float) -> str:
    """Ask a server which commit a branch, tag or ``HEAD`` is; a full id is taken as it is.

    :param deadline: seconds.
    :raises UserError: when the server has no such name.
    :raises HostError: when it cannot be reached.
    """
    if _FULL_ID.fullmatch(name):
        return name
    if url.startswith("-") or name.startswith("-"):
        raise UserError(f"git:{url}#{name} is no repository and name", "a name begins with no dash")
    done = _over_network(cache, deadline, "ls-remote", "--", url)
    pairs = (line.partition("\t") for line in done.text.splitlines())
    listed = {ref: oid for oid, _, ref in pairs}
    for ref in (name, f"refs/tags/{name}", f"refs/heads/{name}", f"refs/{name}"):
        if ref in listed:
            return listed.get(f"{ref}^{{}}", listed[ref])  # a tag object's commit has ^{}
    raise UserError(
        f"{url} has no branch or tag {name!r}", "name one of `git ls-remote`, or a full commit id"
    )


def fetch_commit(cache: Cache, origin: str, commit: str, tell: Notice, deadline: float) -> None:
    """Bring one commit with its whole tree into the store, unless it is there.

    :param origin: a folder or a URL.
    :param deadline: seconds.
    :raises UserError: when the origin does not give out this commit.
    :raises HostError: when it cannot be reached or the disk is full.
    """
    ref = f"refs/lab/git/{commit}"
    if store.has_object(cache, f"{ref}^{{tree}}"):
        return
    with locked(cache.import_lock, deadline=deadline, on_wait=tell, what="the store"):
        if store.has_object(cache, f"{ref}^{{tree}}"):
            return
        need_space(cache, 64 << 20)
        tell(f"fetching {commit[:12]} from {origin}")
        # A lock of git's own that is older than ours was left by a killed lab.
        (cache.store / "shallow.lock").unlink(missing_ok=True)
        arguments = (
            "fetch", "-q", "--depth=1", "--no-tags", "--no-write-fetch-head",
            "--no-auto-maintenance", "--no-recurse-submodules", "--", origin, f"+{commit}:{ref}",
        )  # fmt: skip
        if is_local(origin):
            done = store.git(cache, *arguments, deadline=deadline, check=False)
            if done.status != 0:
                _explain(done, origin, commit)
        else:
            _over_network(cache, deadline, *arguments, commit=commit)


def _over_network(
    cache: Cache, deadline: float, *arguments: str, commit: str = ""
) -> process.Completed:
    """Run git with the user's own settings, which hold proxies and credentials, and no prompt."""
    done = store.git(cache, *arguments, deadline=deadline, users_settings=True, check=False)
    if done.status != 0:
        origin = arguments[arguments.index("--") + 1]
        _explain(done, origin, commit)
    return done


def _explain(done: process.Completed, origin: str, commit: str) -> None:
    """Raise what a failed fetch means.

    :raises UserError: always, or HostError where the network or the disk is at fault.
    """
    said = done.stderr.decode(errors="replace").strip()
    lines = [line for line in said.splitlines() if line.startswith(("fatal:", "error:"))]
    reason = (lines or said.splitlines() or ["git fetch failed"])[0]
    if re.search(r"not our ref|unadvertised object|couldn't find remote ref", said):
        raise UserError(
            f"{origin} does not give out commit {commit}", "name a branch or tag that is at it"
        )
    raise HostError(f"{origin}: {reason}", "try `git ls-remote` on it by hand")


def commit_range(where: str, hint: str) -> tuple[Path, str, str]:
    """Read ``git:DIR#A..B``: the repository and the ids of both commits; without B that is HEAD.

    :raises UserError: when it is no such thing, with ``hint``; when there is no such commit.
    """
    folder, _, commits = where.removeprefix("git:").rpartition("#")
    first, dots, last = commits.partition("..")
    if not where.startswith("git:") or not folder or not dots or not first or last.startswith("."):
        raise UserError(f"{where} is not git:DIR#A..B", hint)
    repository = Path(folder).expanduser()
    return repository, resolve_commit(repository, first), resolve_commit(repository, last or "HEAD")
