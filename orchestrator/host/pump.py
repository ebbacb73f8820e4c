# SPDX-License-Identifier: GPL-2.0-only
"""What goes through a child's pipes, moved by threads so that neither side waits for the other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import IO

from orchestrator.model.errors import HostError


class Pump:
    """A thread that takes what a child prints, to the end, whatever happens to the lines.

    The command is stopped when its log cannot be written: with the pipe closed instead it would
    fail by itself, and a full disk would look like a kernel that does not build.
    """

    def __init__(
        self,
        pipe: IO[bytes],
        stop: Callable[[], None],
        sink: IO[bytes] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.data = bytearray()
        self._error: Exception | None = None
        self._thread = threading.Thread(
            target=self._work, args=(pipe, stop, sink, on_line), daemon=True
        )
        self._thread.start()

    def _work(
        self,
        pipe: IO[bytes],
        stop: Callable[[], None],
        sink: IO[bytes] | None,
        on_line: Callable[[str], None] | None,
    ) -> None:
        with pipe:
            for line in pipe:
                self.data.extend(line)
                if self._error is not None:
                    continue
                try:
                    rest = memoryview(line)
                    while sink and rest:
                        rest = rest[sink.write(rest) :]
                    if on_line:
                        on_line(line.decode(errors="replace").rstrip("\r\n"))
                except Exception as error:
                    self._error = error
                    if sink is None or not sink.closed:  # else the command ended long ago
                        stop()

    def join(self, seconds: float) -> bool:
        """Wait for the pipe's end, so long at most; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def complain(self, program: str) -> None:
        """Raise what went wrong with a line."""
        if isinstance(self._error, OSError):
            raise HostError(
                f"cannot keep what {program} prints: {self._error.strerror}", "is the disk full?"
            ) from self._error
        if self._error is not None:
            raise self._error


def feed(pipe: IO[bytes], data: bytes) -> None:
    """Give a child its input from a thread; one that does not want it is no error."""

    def work() -> None:
        with contextlib.suppress(OSError), pipe:
            pipe.write(data)

    threading.Thread(target=work, daemon=True).start()
