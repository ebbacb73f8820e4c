# SPDX-License-Identifier: GPL-2.0-only
"""The store that workers share: files by their sha256, and names that lead to such; imports fsspec.

A folder that all see, or any URL that fsspec knows (``s3://bucket/lab``).  Whatever is fetched is
hashed on its way, and what does not have the hash that was asked for is not used, and removed.  So
is what was fetched before, when it is asked for again.  A name is only a hint where something may
be: which bytes are meant, a hash says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache
from orchestrator.model.errors import HostError, UserError

_BLOCK = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@=+-]*")
#: Read last, so that who sees it sees the rest of a kept build (:mod:`.kernel.build.kept`).
_LAST = "build.json"


@dataclass(frozen=True)
class Good:
    """Files that belong into a folder of a cache: ``place`` is that folder, below the cache.

    ``digest`` is that of their list, which has the hash of each.
    """

    place: str
    digest: str


@dataclass(frozen=True)
class Store:
    """The store at a URL, or at a folder's path."""

    url: str

    @cached_property
    def _root(self) -> tuple[Any, str]:
        import fsspec

        try:
            # A listing that is remembered would not show what another worker has put there.
            fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UserError(f"the store {self.url} cannot be used: {error}",
                            "name a folder, or install what that URL needs") from error  # fmt: skip
        return fs, root.rstrip("/")

    # ------------------------------------------------------------ files

    def share(self, files: Mapping[str, Path]) -> str:
        """Put files into the store, those that are not there yet; gives the digest of their list.

        :param files: what each is called where it is fetched, and where it is now.
        :raises HostError: when the store cannot be written.
        """
        listed = {}
        for name, path in sorted(files.items()):
            digest, size = _hashed(path)
            listed[name] = [digest, bool(path.stat().st_mode & 0o100)]
            with path.open("rb") as file:
                self._put(digest, size, file)
        return self.share_bytes(json.dumps(listed, sort_keys=True).encode())

    def share_bytes(self, data: bytes) -> str:
        """Put some bytes into the store; gives their digest."""
        import io

        digest = hashlib.sha256(data).hexdigest()
        self._put(digest, len(data), io.BytesIO(data))
        return digest

    def fetch(self, good: Good, folder: Path, sealed: Cache | None = None) -> tuple[Path, ...]:
        """Have the files of a good; those that are there and hold what they should are not fetched.

        :param folder: the one below which ``good.place`` is.
        :param sealed: the cache that ``folder`` is, where its files are used by their seals later.
        :raises HostError: when something is missing, or has another hash than it should have.
        """
        listed = json.loads(self.read(good.digest))
        found = []
        for name in sorted(listed, key=lambda name: (name == _LAST, name)):
            digest, executable = listed[name]
            path = folder / good.place / _inside(name)
            if not _holds(path, digest):
                self._get(digest, path, executable, sealed)
            elif sealed is not None and not seals.sound(sealed, path):
                seals.seal(sealed, path, sha256=digest)
            found.append(path)
        return tuple(found)

    def read(self, digest: str) -> bytes:
        """Some bytes by their digest.

        :raises HostError: when they are missing, or are others.
        """
        with tempfile.TemporaryDirectory(prefix="lab-store-") as folder:
            self._get(digest, Path(folder) / "it")
            return (Path(folder) / "it").read_bytes()

    def _blob(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise HostError(f"{digest!r} is no digest of the store {self.url}")
        return f"{self._root[1]}/blobs/{digest[:2]}/{digest}"

    def _put(self, digest: str, size: int, file: IO[bytes]) -> None:
        fs, where = self._root[0], self._blob(digest)
        with self._told("written"):
            # One of another size is what a full disk or a killed worker left.
            if fs.exists(where) and fs.size(where) == size:
                return
            with self._whole(where) as new:
                shutil.copyfileobj(file, new, _BLOCK)

    @contextlib.contextmanager
    def _whole(self, where: str) -> Iterator[Any]:
        """A file that has its name when all of it is there; object stores do so by themselves."""
        fs = self._root[0]
        local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
        written = f"{where}.{os.getpid()}.{os.urandom(4).hex()}.new" if local else where
        if local:
            fs.makedirs(where.rpartition("/")[0], exist_ok=True)
        try:
            with fs.open(written, "wb") as new:
                yield new
            if local:
                Path(written).replace(where)
        except BaseException:
            if local:
                Path(written).unlink(missing_ok=True)
            raise

    def _get(
        self, digest: str, path: Path, executable: bool = False, sealed: Cache | None = None
    ) -> None:
        fs, where = self._root[0], self._blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        number, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
        try:
            seen = hashlib.sha256()
            with self._told("read"), os.fdopen(number, "wb") as file, fs.open(where, "rb") as old:
                while block := old.read(_BLOCK):
                    seen.update(block)
                    file.write(block)
            if seen.hexdigest() != digest:
                with contextlib.suppress(Exception):
                    fs.rm_file(where)
                raise HostError(
                    f"the store {self.url} has other bytes under {digest[:16]} than it should",
                    "they were removed and will be put there again; see who can write to it",
                )
            if sealed is not None:
                seals.seal(sealed, path, sha256=digest)
            Path(new).chmod(0o755 if executable else 0o644)
            Path(new).replace(path)
        finally:
            Path(new).unlink(missing_ok=True)

    # ------------------------------------------------------------ names

    def note(self, kind: str, name: str, digest: str) -> None:
        """Note which files something is, for who looks for it by name."""
        with self._told("written"), self._whole(self._name(kind, name)) as file:
            file.write(digest.encode())

    def noted(self, kind: str, name: str) -> str | None:
        """What was noted under a name; None where nothing was, or its list is gone."""
        fs = self._root[0]
        with self._told("read"):
            try:
                digest = fs.cat_file(self._name(kind, name)).decode(errors="replace")
            except FileNotFoundError:
                return None
            if not _DIGEST.fullmatch(digest) or not fs.exists(self._blob(digest)):
                return None
            return str(digest)

    def _name(self, kind: str, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise HostError(f"{name!r} cannot be a name in the store {self.url}")
        return f"{self._root[1]}/names/{kind}/{name}"

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of whichever library fsspec uses, told as the store's."""
        try:
            yield
        except HostError:
            raise
        except FileNotFoundError as error:
            if what == "written":
                raise self._problem(what, error) from error
            raise HostError(
                f"the store {self.url} lacks {str(error)[:200]}",
                "was it emptied, or is it another one than the worker's?",
            ) from error
        except Exception as error:  # botocore, aiohttp and others have families of their own
            raise self._problem(what, error) from error

    def _problem(self, what: str, error: Exception) -> HostError:
        told = f"the store {self.url} cannot be {what}: {type(error).__name__}: {error}"
        return HostError(told[:400], "see that it is there, has room, and is yours to write")


def files_of(folder: Path) -> dict[str, Path]:
    """All files below a folder, by their names in it."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def fetch_all(goods: Iterable[Good], store: Store, cache: Path) -> None:
    """Have several goods in a cache."""
    for good in goods:
        store.fetch(good, cache)


def _holds(path: Path, digest: str) -> bool:
    """Whether a file is there and has this hash: a disk may have changed what was fetched."""
    try:
        return _hashed(path)[0] == digest
    except OSError:
        return False


def _inside(name: str) -> str:
    """A file's name that leads out of no folder.

    :raises HostError: when it does.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise HostError(f"a list of the store names {name!r}, which is no file of a folder")
    return name


def _hashed(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()
