# SPDX-License-Identifier: GPL-2.0-only
"""What lab.yaml says of walls: as whom guests and builds run, and what strangers' builds are in."""

from __future__ import annotations

from dataclasses import dataclass

#: What ``build_sandbox`` may say.
NONE, BUBBLEWRAP = BUILD_SANDBOXES = ("none", "bubblewrap")


@dataclass(frozen=True)
class WallsSpec:
    """``run_as`` is the user for QEMU and builds, empty for who runs the lab.

    ``build_sandbox`` is one of :data:`BUILD_SANDBOXES`.
    """

    run_as: str = ""
    build_sandbox: str = NONE

    @property
    def fenced(self) -> bool:
        """Whether what a tree's own Makefiles run is fenced in."""
        return self.build_sandbox != NONE

    def fences(self, source: str, series: str | None) -> bool:
        """Whether the kernel that is built of these is to be fenced in.

        Debian's own source is not, since apt has checked its signature: it stays as quick to build
        as ever, and fenced builds begin with a copy of its objects.
        """
        return self.fenced and not (source.startswith("debian:") and not series)
