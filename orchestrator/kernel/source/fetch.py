# SPDX-License-Identifier: GPL-2.0-only
"""From a kernel's source, as lab.yaml names it, to a tree id in the cache's object store.

``debian:6.12[=VERSION]``, ``path:DIR``, ``git:URL-or-DIR#REF`` and ``tar:FILE``.  Nothing of the
user's is ever written to; what was imported once is found again in milliseconds.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache, load_record, need_space, save_record
from orchestrator.host.cache.locks import Notice, locked
from orchestrator.kernel.source import debian, store
from orchestrator.kernel.source.archive import import_tar
from orchestrator.kernel.source.git import (
    fetch_commit,
    is_local,
    local_tree,
    remote_commit,
    resolve_commit,
)
from orchestrator.kernel.source.repository import (
    check_commit,
    check_tree,
    excludes,
    gitlinks,
)
from orchestrator.kernel.source.slots import own_slot
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import KernelSpec

#: Note of a tree whose own .gitignore would leave nothing of it.
ALL_TAKEN = "all files of the folder were taken as sources, since its .gitignore excludes every one"
SCHEMES = "debian:6.12[=VERSION], path:DIR, git:URL-or-DIR#REF or tar:FILE"


@dataclass(frozen=True)
class BaseSource:
    """A kernel's sources without a series.

    ``source`` is the source with what was left open filled in (``debian:6.12=6.12.117-1``).
    ``slot`` names the work tree that :func:`.worktree.checkout` keeps for it.
    ``commit`` is set where the tree is exactly that of a commit, ``head`` is what the repository
    has checked out, be the tree the same or not; ``repository`` is the user's own.
    """

    source: str
    tree: str
    version: str = ""
    slot: str = ""
    notes: tuple[str, ...] = ()
    commit: str = ""
    repository: Path | None = None
    package_version: str = ""
    head: str = ""


def fetch_base(
    spec: KernelSpec,
    cache: Cache,
    on_progress: Notice,
    deadline: float,
    base_commit: str = "",
) -> BaseSource:
    """Bring a kernel's sources into the object store.

    :param deadline: seconds for everything, the download included.
    :param base_commit: the series' ``base-commit``: taken from a git source that names no REF.
    :raises UserError: when the source is misspelled, does not exist or is no kernel.
    :raises HostError: when a download fails, the disk is full or the deadline passed.
    """
    scheme, _, rest = spec.source.partition(":")
    fetch = _FETCHERS.get(scheme)
    where = f"{spec.where}: " if spec.where else ""
    if not rest or fetch is None:
        raise UserError(f"{where}{spec.source!r} is no kernel source", f"write {SCHEMES}")
    job = _Job(spec, rest, cache, on_progress, time.monotonic() + deadline, base_commit)
    base = fetch(job)
    version = store.kernel_version(base.tree, cache)
    if version is None:
        raise UserError(
            f"{where}{spec.source} is no Linux source: it has no top Makefile with a VERSION",
            "name what holds Makefile, Kconfig, mm/ and arch/",
        )
    slot = base.slot or f"{scheme}-{'.'.join(version.split('.')[:2])}"
    return replace(base, version=version, slot=slot)


@dataclass(frozen=True)
class _Job:
    spec: KernelSpec
    rest: str
    cache: Cache
    tell: Notice
    until: float
    base_commit: str

    @property
    def left(self) -> float:
        """Seconds left, never less than one, so that a quick command still gets its chance."""
        return max(1.0, self.until - time.monotonic())

    def recorded(self, kind: str, key: str) -> str | None:
        """Give the tree recorded under a key, if the store still has it."""
        record = load_record(self.cache, kind, key)
        if record and store.has_object(self.cache, f"{record.get('tree')}^{{tree}}"):
            return str(record["tree"])
        return None

    def once(self, kind: str, key: str, make: Callable[[], str]) -> str:
        """Give the tree recorded under a key, or make and record it, one lab at a time."""
        tree = self.recorded(kind, key)
        if tree:
            return tree
        lock = self.cache.import_lock
        with locked(lock, deadline=self.left, on_wait=self.tell, what="the kernel store"):
            tree = self.recorded(kind, key)
            if not tree:
                tree = make()
                save_record(self.cache, kind, key, {"tree": tree})
        return tree


def _debian(job: _Job) -> BaseSource:
    series, _, version = job.rest.partition("=")
    package = debian.package(series, version, job.spec.where)
    if not version:
        version = debian.candidate(package)
    exact = f"debian:{series}={version}"

    def make() -> str:
        debian.check_version(package, version)
        with debian.downloaded(package, version, job.cache, job.tell, job.left) as archive:
            job.tell(f"importing {package} {version}")
            return import_tar(
                archive, job.cache, on_progress=job.tell, deadline=job.left, shown=package
            )

    tree = job.once("sources", exact, make)
    return BaseSource(exact, tree, slot=own_slot(job.spec.source), package_version=version)


def _tar(job: _Job) -> BaseSource:
    archive = Path(job.rest).expanduser().absolute()
    try:
        info = archive.stat()
    except OSError as error:
        raise UserError(
            f"{archive} cannot be read: {error.strerror}", f"write {SCHEMES}"
        ) from error
    if not archive.is_file():
        raise UserError(f"{archive} is no file", "use path:DIR for an unpacked tree")
    key = tar_key(archive, info)

    def make() -> str:
        job.tell(f"importing {archive}")
        return import_tar(archive, job.cache, on_progress=job.tell, deadline=job.left)

    return BaseSource(f"tar:{archive}", job.once("sources", key, make))


def tar_key(archive: Path, info: os.stat_result) -> str:
    """What an archive's tree is recorded by: another file, or another content, has another key."""
    return f"tar:{archive} {info.st_size} {info.st_mtime_ns} {info.st_ino}"


def _git(job: _Job) -> BaseSource:
    """Fetch one commit, without history, from a repository of the user's or a URL."""
    where, _, ref = job.rest.rpartition("#") if "#" in job.rest else (job.rest, "", "")
    notes: list[str] = []
    wanted = ref or job.base_commit or "HEAD"
    repository: Path | None = None
    tree = ""
    if is_local(where):
        repository = Path(where.removeprefix("file://")).expanduser().absolute()
        origin = str(repository)

        def resolve(name: str) -> str:
            return resolve_commit(Path(origin), name)
    else:
        origin = where

        def resolve(name: str) -> str:
            return remote_commit(job.cache, origin, name, job.left)

    try:
        commit = resolve(wanted)
        if repository is not None:
            tree = local_tree(repository, commit, job.cache)
            if not tree:
                check_commit(repository, commit)
        if not tree:
            fetch_commit(job.cache, origin, commit, job.tell, job.left)
    except (UserError, HostError):
        if ref or wanted == "HEAD":
            raise
        commit = resolve("HEAD")
        notes.append(f"{origin} does not give the series' base-commit {wanted}: HEAD taken")
        fetch_commit(job.cache, origin, commit, job.tell, job.left)
    if not tree:
        tree = store.git(job.cache, "rev-parse", f"{commit}^{{tree}}").text.strip()
    notes += [f"{name} is a submodule: left out" for name in gitlinks(tree, job.cache)]
    return BaseSource(
        f"git:{origin}#{commit}", tree, slot=own_slot(job.spec.source), notes=tuple(notes),
        commit=commit, repository=repository, head=commit,
    )  # fmt: skip


def _path(job: _Job) -> BaseSource:
    """Import a tree as it stands on disk; an index in the cache makes the second time quick."""
    folder = Path(job.rest).expanduser()
    if store.git_folder(folder) == folder.absolute():
        raise UserError(
            f"{folder} is a bare repository, without files", f"name a commit: git:{folder}#REF"
        )
    if not (folder / "Makefile").is_file():
        what = "has no Makefile" if folder.is_dir() else "is no folder"
        raise UserError(f"{folder} {what}", "name the top folder of a kernel source")
    folder = folder.resolve()
    slot = own_slot(job.spec.source)
    if _is_toplevel(folder):
        check_tree(folder)
    store.open_store(job.cache)
    index = job.cache.source_index(slot)
    index.parent.mkdir(exist_ok=True)
    if not index.exists():
        need_space(job.cache, 64 << 20)
        job.tell(f"importing {folder} (later only what changed)")
    lock = job.cache.source_lock(slot)
    with locked(lock, deadline=job.left, on_wait=job.tell, what=f"the import of {folder}"):
        index.with_name(index.name + ".lock").unlink(missing_ok=True)
        notes = _add_all(job, folder, index, slot)
        tree = store.git(job.cache, "write-tree", index=index, deadline=job.left).text.strip()
    head, commit = _head(folder, tree)
    extra = [f"the tree differs from its HEAD, {head[:12]}"] if head != commit else []
    return BaseSource(
        f"path:{folder}", tree, slot=slot, notes=(*notes, *extra), commit=commit,
        repository=folder if _is_toplevel(folder) else None, head=head,
    )  # fmt: skip


def _add_all(job: _Job, folder: Path, index: Path, slot: str) -> list[str]:
    notes: list[str] = []
    options: list[str] = []
    exclude = excludes(folder, slot) if _is_toplevel(folder) else None
    if exclude is not None:
        options = ["-c", f"core.excludesFile={exclude}"]

    def git(*arguments: str, input: bytes | None = None, check: bool = True) -> process.Completed:
        return store.git(
            job.cache, *options, *arguments, index=index, worktree=folder, deadline=job.left,
            input=input, check=check,
        )  # fmt: skip

    force: list[str] = []
    hidden = git("check-ignore", "--no-index", "Makefile", check=False)
    if hidden.status > 1:
        raise process.CommandFailed(hidden)
    if hidden.stdout:
        # Debian's source packages carry a .gitignore of "/*": it cannot tell products from source.
        built = [p for p in (".config", "include/config", "vmlinux") if (folder / p).exists()]
        if built:
            raise UserError(
                f"{folder} was built in ({built[0]}) and its .gitignore hides all of it",
                f"run `make -C {folder} mrproper`",
            )
        notes.append(ALL_TAKEN)
        force = ["-f"]
    try:
        done = git("add", "-A", *force, "--", ".")
        kept = _tracked_but_ignored(folder, options)
        if kept and not force:
            names = ("--pathspec-from-file=-", "--pathspec-file-nul")
            git("--literal-pathspecs", "add", "-f", *names, input=kept)
    except process.CommandFailed as failure:
        said = failure.completed.stderr.decode(errors="replace")
        if "No space left" in said:
            raise
        reason = re.search(r"^(?:error|fatal): (.*)", said, re.MULTILINE)
        raise UserError(
            f"{folder} cannot be imported: {reason[1] if reason else failure.message}",
            "make all of it readable to you",
        ) from failure
    for name in re.findall(r"adding embedded git repository: (.*)", done.stderr.decode("latin-1")):
        notes.append(f"{name} is a git repository of its own: left out")
    return notes


def _tracked_but_ignored(folder: Path, options: list[str]) -> bytes:
    """Name the files that the user's repository tracks although an ignore rule matches them."""
    if not _is_toplevel(folder):
        return b""
    done = store.git_elsewhere(
        folder,
        *options,
        "ls-files",
        "-z",
        "--cached",
        "--ignored",
        "--exclude-standard",
        check=False,
    )
    names = [name for name in done.stdout.split(b"\0") if name]
    here = [n for n in names if os.path.lexists(os.path.join(os.fsencode(folder), n))]  # noqa: PTH118
    return b"".join(name + b"\0" for name in here)


def _head(folder: Path, tree: str) -> tuple[str, str]:
    """Give HEAD of the user's repository, and again where its tree is what was imported."""
    if not _is_toplevel(folder):
        return "", ""
    done = store.git_elsewhere(folder, "rev-parse", "HEAD", "HEAD^{tree}", check=False)
    if done.status != 0:
        return "", ""
    head, head_tree = done.text.split()
    return head, head if head_tree == tree else ""


def _is_toplevel(folder: Path) -> bool:
    return (folder / ".git").exists()


_FETCHERS: dict[str, Callable[[_Job], BaseSource]] = {
    "debian": _debian,
    "path": _path,
    "git": _git,
    "tar": _tar,
}
