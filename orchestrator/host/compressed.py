# SPDX-License-Identifier: GPL-2.0-only
"""Files that may be compressed, read as what they hold: gzip, xz, bzip2, zstd where Python can.

The first bytes tell, never the name: logs get renamed, and standard input has none.  Facts: RFC
1952 (gzip), RFC 8878 (zstd), the .xz file format 1.1.0, bzip2's own manual.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import importlib
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from orchestrator.model.errors import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# So many bytes are enough to know each kind.
_HEAD = 10
_BUFFER = 64 * 1024
_HINTS = {
    errno.ENOENT: "is the name right, and the folder?",
    errno.EISDIR: "name a file in it",
    errno.EACCES: "`ls -l` shows who may; or have it piped in: `sudo cat FILE | ...`",
}


@contextmanager
def open_compressed(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading what it holds, decompressed where it is compressed.

    The stream gives all that can be read.  Where that is not all there should be (a file cut short,
    damaged, an error of the disk) the *end of the with block* raises, so that the reader may make
    use of what came before; another exception that leaves the block goes first.  Reads forward only
    and in bounded memory, whatever the file unpacks to; an xz file says itself how much it needs.

    :raises UserError: it cannot be opened, its kind is not one that Python can read, or, at the end
        of the block, it is damaged.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(str(path), error) from error
    with file, decompressed(file, str(path)) as stream:
        yield stream


@contextmanager
def decompressed(file: IO[bytes], name: str) -> Iterator[io.BufferedReader]:
    """What an open binary file holds from here on, as :func:`open_compressed` gives it.

    :param file: need not be seekable; a pipe is read as it fills.  It is left open.
    :param name: for messages.
    """
    start = _Rest(file)
    try:
        head = start.peek()
    except OSError as error:
        raise _unreadable(name, error) from error
    kind = next((kind for pattern, kind in _KINDS if pattern.match(head)), None)
    try:
        source = _OPENERS[kind](start) if kind else start
    except ImportError as error:
        raise UserError(
            f"{name} is a {kind} file, which this Python cannot read",
            f"give it unpacked: `{kind} -dc FILE | ...`",
        ) from error
    reading = _Reading(source, name, kind or "")
    yield io.BufferedReader(reading, _BUFFER)
    if reading.damage is not None:
        raise reading.damage


def is_compressed(head: bytes) -> bool:
    """Whether first bytes are those of a kind that :func:`decompressed` knows."""
    return any(pattern.match(head) for pattern, _ in _KINDS)


class _Rest:
    """A file whose first bytes were looked at and are still to be read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._head = b""
        # A buffered file gives what a pipe holds by now; any other one does so anyway.
        self._some: Callable[[int], bytes] = getattr(file, "read1", file.read)

    def peek(self) -> bytes:
        if isinstance(self._file, io.BufferedReader):
            ahead = self._file.peek(_HEAD)
            if len(ahead) >= _HEAD:  # of a pipe there may be less by now
                return ahead[:_HEAD]
        self._head = self._file.read(_HEAD)
        return self._head

    def read(self, size: int) -> bytes:
        """All of ``size`` bytes, where there are so many: what unpacks counts on that."""
        kept, self._head = self._head[:size], self._head[size:]
        return kept + self._file.read(size - len(kept)) if len(kept) < size else kept

    def read1(self, size: int) -> bytes:
        """What is there by now, ``size`` bytes at most; none at the end only."""
        return self.read(min(size, len(self._head))) if self._head else self._some(size)


class _Reading(io.RawIOBase):
    """Reads on to the first error, and ends there; ``damage`` is that error in words."""

    def __init__(self, source: Any, name: str, kind: str) -> None:
        self._read1: Callable[[int], bytes] = source.read1
        self._name = name
        self._kind = kind
        self.damage: UserError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        if self.damage is not None:
            return 0
        try:
            data = self._read1(min(len(view), _BUFFER))
        except EOFError:
            self.damage = UserError(
                f"{self._name} ends in the middle of its {self._kind} data",
                "it was cut short: copy or fetch it again",
            )
            return 0
        except (zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                self.damage = _unreadable(self._name, error)
            else:
                self.damage = UserError(
                    f"{self._name} is damaged: {str(error) or type(error).__name__} ({self._kind})",
                    "copy or fetch it again",
                )
            return 0
        view[: len(data)] = data
        return len(data)


def _zstd(source: Any) -> Any:
    return importlib.import_module("compression.zstd").ZstdFile(source)  # since Python 3.14


# bzip2's letters also begin words: a block's first bytes, or those of the end, stand behind them.
_KINDS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"\xfd7zXZ\0"), "xz"),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), "bzip2"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd"),
)
_OPENERS: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda source: gzip.GzipFile(fileobj=source, mode="rb"),
    "xz": lzma.LZMAFile,
    "bzip2": bz2.BZ2File,
    "zstd": _zstd,
}


def _unreadable(name: str, error: OSError) -> UserError:
    told = error.strerror or str(error)
    return UserError(
        f"cannot read {name}: {told[:1].lower()}{told[1:]}", _HINTS.get(error.errno or 0, "")
    )
