# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources from a tar archive straight into the object store.

Nothing is unpacked to disk: members stream into ``git fast-import``, which makes one pack.  So
there is no path an archive could escape through, and no junk to remove when the lab is killed.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import secrets
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from orchestrator.host import process
from orchestrator.host.cache.files import Cache, need_space
from orchestrator.host.cache.locks import Notice
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.source import store
from orchestrator.model.errors import HostError, Interrupted, UserError

_MEMBERS = 500_000  # Linux 6.12 has 87,000 files
_BYTES = 8 << 30  # and 1.4 GB
_CHUNK = 1 << 20
_BAD_ARCHIVE = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, OSError)


def import_tar(
    archive: Path, cache: Cache, *, on_progress: Notice, deadline: float, shown: str = ""
) -> str:
    """Import an archive of any compression that tarfile knows; give the tree id.

    A single top folder is stripped.  Devices and sockets are left out.

    :param deadline: seconds.
    :param shown: what messages call the archive, its path where empty.
    :raises UserError: when it is no readable archive, or a member or link points outside of it.
    :raises HostError: when the disk is full or the deadline passed.
    """
    shown = shown or str(archive)
    need_space(cache, 4 * archive.stat().st_size + (64 << 20))
    ref = f"refs/lab/import-{secrets.token_hex(8)}"
    until = time.monotonic() + deadline
    try:
        links = _fast_import(archive, cache, ref, on_progress, until, shown)
        tree = store.git(cache, "rev-parse", f"{ref}^{{tree}}").text.strip()
        top, tree = _strip_top(tree, cache)
        for path, target in links:
            if leaves_tree(path.removeprefix(top), target):
                raise UserError(
                    f"{shown}: the link {path!r} points outside of the source",
                    "give an archive of a kernel source as kernel.org or git makes it",
                )
        return tree
    finally:
        store.git(cache, "update-ref", "-d", ref, check=False)


def _fast_import(
    archive: Path, cache: Cache, ref: str, on_progress: Notice, until: float, shown: str
) -> list[tuple[str, str]]:
    """Make a commit of an archive; give its symbolic links and their targets."""
    command = ["git", "fast-import", "--quiet", "--depth=0", "--done"]
    env = store.git_environment(cache)
    with scratch(cache) as folder, (folder / "stderr").open("w+b") as errors:
        status, links = -1, list[tuple[str, str]]()
        try:
            with process.start(command, stdin=subprocess.PIPE, stderr=errors, env=env) as child:
                with _ending(child, cache, until) as pipe:
                    links = _feed(archive, pipe, ref, on_progress, until, shown)
                status = child.returncode
        except (BrokenPipeError, subprocess.TimeoutExpired) as error:
            if process.cancelled():
                raise Interrupted("interrupted") from error
        if status != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise HostError(
                f"importing {shown} failed: {said[0] if said else 'git fast-import ended'}",
                "is the disk full?",
            )
    return links


@contextlib.contextmanager
def _ending(child: subprocess.Popen[bytes], cache: Cache, until: float) -> Iterator[IO[bytes]]:
    """Give git's input for the length of a with block; git has ended afterwards.

    :raises subprocess.TimeoutExpired: when it has not.
    """
    assert child.stdin
    try:
        yield child.stdin
    finally:
        # Without its "done" git drops everything it was given.
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(max(1.0, until - time.monotonic()))
        finally:  # its complaint about the missing "done"
            (cache.store / f"fast_import_crash_{child.pid}").unlink(missing_ok=True)


def _feed(
    archive: Path, pipe: IO[bytes], ref: str, on_progress: Notice, until: float, shown: str
) -> list[tuple[str, str]]:
    """Write the archive's content to fast-import; give its symbolic links and their targets."""
    links: list[tuple[str, str]] = []
    pipe.write(b"commit %s\ncommitter lab <lab> 0 +0000\ndata 0\n" % ref.encode())
    count = size = 0
    told = time.monotonic()
    try:
        with (
            _decompressed(archive) as stream,
            tarfile.open(
                fileobj=cast(IO[bytes], ends := _Ends(stream)), mode="r|", bufsize=_CHUNK
            ) as tar,
        ):
            for member in tar:
                count, size = count + 1, size + max(member.size, 0)
                if count > _MEMBERS or size > _BYTES:
                    raise UserError(f"{shown} is larger than any kernel source", "is it a kernel?")
                now = time.monotonic()
                if now > until:
                    raise HostError(f"importing {shown} did not end in time")
                if now - told > 2:
                    on_progress(f"importing {shown}: {count} files")
                    told = now
                _send(tar, member, pipe, links, shown)
            ends.check()
    except BrokenPipeError:
        raise
    except _BAD_ARCHIVE as error:
        raise UserError(
            f"{shown} cannot be read as an archive: {error}",
            "give a complete tar file (plain, gz, bz2 or xz)",
        ) from error
    if not count:
        raise UserError(f"{shown} is an empty archive", "give a tar file of a kernel source")
    pipe.write(b"\ndone\n")
    return links


def _decompressed(archive: Path) -> IO[bytes]:
    """Open an archive for reading its tar content, whatever compression its first bytes tell."""
    with archive.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(archive))
    if magic.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(archive))
    if magic.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
        return cast(IO[bytes], lzma.open(archive))
    return archive.open("rb")


class _Ends:
    """Passes a stream on to tarfile and remembers how it ended.

    tarfile takes an archive that is cut between two members for a whole one; a whole one ends with
    blocks of zeros (POSIX pax, "ustar Interchange Format"), and its compression ends too.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._last = b"no archive"

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._last = (self._last + data)[-512:]
        return data

    def check(self) -> None:
        """Read the rest; raise ReadError where the archive was cut."""
        while self.read(_CHUNK):
            pass
        if any(self._last):
            raise tarfile.ReadError("it is cut short")


def _send(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    pipe: IO[bytes],
    links: list[tuple[str, str]],
    shown: str,
) -> None:
    if not (member.isfile() or member.issym() or member.islnk()):
        return
    name = _quoted(_checked(member.name, shown))
    if member.islnk():
        pipe.write(b"C %s %s\n" % (_quoted(_checked(member.linkname, shown)), name))
    elif member.issym():
        target = os.fsencode(member.linkname)
        links.append((_checked(member.name, shown), member.linkname))
        pipe.write(b"M 120000 inline %s\ndata %d\n%s\n" % (name, len(target), target))
    else:
        mode = b"100755" if member.mode & 0o100 else b"100644"
        pipe.write(b"M %s inline %s\ndata %d\n" % (mode, name, member.size))
        source = tar.extractfile(member)
        assert source
        left = member.size
        while left:
            chunk = source.read(min(left, _CHUNK))
            if not chunk:
                raise tarfile.ReadError(f"{member.name} is cut short")
            pipe.write(chunk)
            left -= len(chunk)
        pipe.write(b"\n")


def _checked(name: str, shown: str) -> str:
    """Give a member's name without ``./``; refuse what no kernel archive has.

    :raises UserError: for an absolute name, ``..`` or a ``.git`` part.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or not parts or any(p == ".." or p.lower() == ".git" for p in parts):
        raise UserError(
            f"{shown}: refused the member name {name!r}",
            "give an archive of a kernel source as kernel.org or git makes it",
        )
    return "/".join(parts)


def leaves_tree(path: str, target: str) -> bool:
    """Tell whether a symbolic link ``path`` (relative to the tree) with ``target`` points outside.

    ``..`` counts only at the front: later it could climb out through another link.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    depth = path.strip("/").count("/")
    return target.startswith("/") or not target or climbs > depth or ".." in parts[climbs:]


def _quoted(name: str) -> bytes:
    """Quote a path for git-fast-import(1): C style."""
    text = os.fsencode(name)
    for raw, escaped in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n")):
        text = text.replace(raw, escaped)
    return b'"' + text + b'"'


def _strip_top(tree: str, cache: Cache) -> tuple[str, str]:
    """Give the name (with ``/``) and the tree of a single top folder, or "" and the tree itself."""
    entries = store.git(cache, "ls-tree", "-z", tree).stdout.split(b"\0")[:-1]
    if len(entries) == 1:
        entry, _, name = entries[0].partition(b"\t")
        _mode, kind, oid = entry.decode().split()
        if kind == "tree":
            return os.fsdecode(name) + "/", oid
    return "", tree
