# SPDX-License-Identifier: GPL-2.0-only
"""The cache's object store: one bare git repository in which every kernel is a tree id.

Trees are content-addressed, so equal sources are stored once whatever they came from, a patched
kernel costs only its changed files, and a tree id tells whether anything changed at all.

Every git command of the kernel stage goes through :func:`git`.  It reads none of the user's or
the system's git configuration, runs no hooks, and switches off every attribute that would convert
content: what a series puts into ``.gitattributes`` must not change what gets built
(gitattributes(5): ``$GIT_DIR/info/attributes`` has the highest precedence).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache, write_atomic
from orchestrator.host.cache.locks import locked
from orchestrator.model.errors import HostError

_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = true
\tfileMode = true
\tsymlinks = true
\tcompression = 1
\tautocrlf = false
\teol = lf
\tsafecrlf = false
\tfsmonitor = false
\tquotePath = false
\tprotectHFS = true
\tprotectNTFS = true
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\thooksPath = /dev/null
[pack]
\tcompression = 1
[gc]
\tauto = 0
[maintenance]
\tauto = false
[checkout]
\tworkers = 0
[advice]
\tdetachedHead = false
\taddEmbeddedRepo = false
"""
_ATTRIBUTES = "* -text -ident !filter !eol !crlf !working-tree-encoding !diff !merge !whitespace\n"
# The user names the repositories to read, so git's guess about their ownership is not asked for.
_GLOBAL = "[safe]\n\tdirectory = *\n"


def open_store(cache: Cache) -> Path:
    """Give the cache's object store, created where it does not exist or is half made.

    :raises HostError: when the cache cannot be written.
    """
    store = cache.store
    marker = store / "lab-global"
    if marker.exists() and (store / "HEAD").exists():
        return store
    with locked(cache.store_lock, deadline=60):
        if marker.exists() and (store / "HEAD").exists():
            return store
        # What gitrepository-layout(5) demands of a bare repository; `git init` would add templates.
        try:
            for folder in ("objects", "refs", "info"):
                (store / folder).mkdir(parents=True, exist_ok=True)
            (store / "HEAD").write_text("ref: refs/heads/none\n")
            (store / "config").write_text(_CONFIG)
            (store / "info" / "attributes").write_text(_ATTRIBUTES)
        except OSError as error:
            raise HostError(f"cannot write {store}: {error.strerror}") from error
        write_atomic(marker, _GLOBAL.encode())
    return store


def git(
    cache: Cache,
    *arguments: str | Path,
    deadline: float = 120.0,
    input: bytes | None = None,
    index: Path | None = None,
    worktree: Path | None = None,
    check: bool = True,
    users_settings: bool = False,
    patient: bool = False,
    borrowed: Path | None = None,
) -> process.Completed:
    """Run git on the cache's store; ``index`` and ``worktree`` stand for git's own notions.

    :param deadline: seconds.
    :param users_settings: read the user's git configuration too (proxies, credentials); the
        store's own still has the last word.
    :param patient: leave the processor to whoever else wants it.
    :param borrowed: a folder of objects of another repository, read as if they were the store's.
    :raises HostError: as :func:`orchestrator.host.process.run` does.
    """
    extra = git_environment(cache)
    if index is not None:
        extra["GIT_INDEX_FILE"] = str(index)
    if worktree is not None:
        extra["GIT_WORK_TREE"] = str(worktree)
    if borrowed is not None:
        extra["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(borrowed)
    if users_settings:
        _let_in(extra)
    return process.run(
        [*(("nice", "-n", "19") if patient else ()), "git", *arguments],
        deadline=deadline, input=input, env=extra, check=check,
        cwd=worktree or cache.store,
    )  # fmt: skip


def _let_in(extra: dict[str, str]) -> None:
    """Let the user's own git configuration, and what it needs, into git's environment."""
    del extra["GIT_CONFIG_NOSYSTEM"], extra["GIT_CONFIG_GLOBAL"]
    extra["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes"
    for name in ("GIT_CONFIG_GLOBAL", "GIT_SSH_COMMAND", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME"):
        if name in os.environ:
            extra[name] = os.environ[name]


def git_elsewhere(
    repository: Path,
    *arguments: str | Path,
    deadline: float = 120.0,
    check: bool = True,
    users_settings: bool = False,
) -> process.Completed:
    """Run a reading git command in a repository of the user's.

    Nothing is written there: no lock, no index refresh, no hook, no file-system monitor, and no
    object that a partial clone lacks is fetched.
    """
    # Named outright, since git's search for it would refuse a repository of another user.
    extra = _environment(None) | {"GIT_DIR": str(git_folder(repository) or repository / ".git")}
    # GIT_NO_LAZY_FETCH is not known to git before 2.44.
    extra["GIT_ALLOW_PROTOCOL"] = "none"
    if users_settings:
        _let_in(extra)
    return process.run(
        ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
         "-c", "core.quotePath=false", *arguments],
        deadline=deadline, check=check, env=extra, cwd=repository,
    )  # fmt: skip


def git_folder(repository: Path) -> Path | None:
    """Give the git folder of a checkout, a linked work tree or a bare repository, or None."""
    dotgit = repository / ".git"
    if dotgit.is_file():
        pointer = dotgit.read_text(errors="surrogateescape").strip()
        dotgit = repository / pointer.removeprefix("gitdir: ")
    for folder in (dotgit, repository):
        if (folder / "HEAD").is_file():
            return folder.absolute()
    return None


def git_environment(cache: Cache) -> dict[str, str]:
    """Give what git needs in its environment to work on the cache's store and on nothing else."""
    store = open_store(cache)
    return _environment(store) | {"GIT_DIR": str(store)}


def _environment(store: Path | None) -> dict[str, str]:
    return {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(store / "lab-global") if store else "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_PAGER": "cat",
    }


# ---------------------------------------------------------------- reading trees


def has_object(cache: Cache, name: str) -> bool:
    """Tell whether the store holds an object (a tree id, ``COMMIT^{tree}``)."""
    return git(cache, "cat-file", "-e", name, check=False).status == 0


def read_file(tree: str, path: str, cache: Cache) -> bytes | None:
    """Read a file of a tree; None where the tree has no such file.

    :raises HostError: when the store does not hold the tree.
    """
    for line in git(cache, "--literal-pathspecs", "ls-tree", "-z", tree, "--", path).stdout.split(
        b"\0"
    ):
        entry, _, name = line.partition(b"\t")
        if os.fsdecode(name) == path and entry.split()[1] == b"blob":
            return git(cache, "cat-file", "blob", entry.split()[2].decode()).stdout
    return None


def list_entries(tree: str, paths: list[str], cache: Cache) -> dict[str, tuple[str, str]]:
    """Give ``{path: (mode, object id)}`` of those of the paths that the tree has."""
    found = {}
    for start in range(0, len(paths), 500):  # below the argument limit whatever the names
        some = paths[start : start + 500]
        listing = git(cache, "--literal-pathspecs", "ls-tree", "-z", "-r", tree, "--", *some)
        for line in filter(None, listing.stdout.split(b"\0")):
            entry, _, name = line.partition(b"\t")
            mode, _kind, oid = entry.decode().split()
            found[os.fsdecode(name)] = (mode, oid)
    return found


def touched_files(base_tree: str, tree: str, cache: Cache) -> tuple[str, ...]:
    """Name the files that differ between two trees, sorted."""
    if base_tree == tree:
        return ()
    done = git(cache, "diff-tree", "-r", "-z", "--no-renames", "--name-only", base_tree, tree)
    return tuple(sorted(os.fsdecode(name) for name in done.stdout.split(b"\0") if name))


def come_and_gone(base_tree: str, tree: str, cache: Cache) -> tuple[set[str], set[str]]:
    """Name the files that a tree has more than another, and those that it has no more."""
    if base_tree == tree:
        return set(), set()
    # git-diff-tree(1), "Raw output format": with -z a status and a name, each ended by NUL.
    words = ("diff-tree", "-r", "-z", "--no-renames", "--name-status", "--diff-filter=AD")
    fields = git(cache, *words, base_tree, tree).stdout.split(b"\0")
    found: dict[bytes, set[str]] = {b"A": set(), b"D": set()}
    for status, name in zip(fields[::2], fields[1::2], strict=False):
        found[status].add(os.fsdecode(name))
    return found[b"A"], found[b"D"]


def file_names(tree: str, cache: Cache) -> tuple[str, ...]:
    """Name all files of a tree, sorted."""
    done = git(cache, "ls-tree", "-r", "-z", "--name-only", tree)
    return tuple(os.fsdecode(name) for name in done.stdout.split(b"\0") if name)


def read_files(tree: str, paths: Iterable[str], cache: Cache) -> dict[str, bytes]:
    """Read many files of a tree at once; those that it has not are left out."""
    # A name with a line end cannot be asked for this way, and stands in no kernel.
    asked = [path for path in dict.fromkeys(paths) if "\n" not in path]
    wanted = b"".join(os.fsencode(f"{tree}:{path}\n") for path in asked)
    data = git(cache, "cat-file", "--batch", input=wanted).stdout
    found, at = {}, 0
    for path in asked:
        end = data.index(b"\n", at)
        header = data[at:end].split(b" ")
        at = end + 1
        if len(header) != 3 or len(header[0]) < 40:
            continue  # git-cat-file(1), "Batch output": ``NAME missing``
        size = int(header[2])
        if header[1] == b"blob":
            found[path] = data[at : at + size]
        at += size + 1
    return found


def kernel_version(tree: str, cache: Cache) -> str | None:
    """Read ``6.12.117`` from the top Makefile as ``make kernelversion`` does; None: no kernel."""
    makefile = read_file(tree, "Makefile", cache)
    return version_of_makefile(makefile) if makefile is not None else None


def version_of_makefile(makefile: bytes) -> str | None:
    """Give the kernel version that a top Makefile states, or None where it states none."""
    values: dict[str, str] = {}
    for line in makefile[:4096].decode(errors="replace").splitlines():
        match = re.fullmatch(
            r"(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)\s*", line
        )
        if match:
            values.setdefault(match[1], match[2])
    numbers = [values.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    if not all(number.isdigit() for number in numbers[:2]):
        return None
    return ".".join(filter(None, numbers)) + values.get("EXTRAVERSION", "")
