# SPDX-License-Identifier: GPL-2.0-only
"""What the lab needs of the host's distribution: the one table of programs and Debian packages.

Standard library only and free of the lab's other modules, because set-up runs it before there is
a virtual environment::

    python3 orchestrator/host/tools.py [--missing|--packages]

prints the packages to install (default), or all of them, on one line.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

# mke2fs and friends live in sbin, which a plain user's PATH lacks on Debian.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Need(str, Enum):
    """How much the lab needs something.

    ``required``: nothing works without it; ``useful``: one command or some speed is lost without
    it, set-up installs it all the same; ``optional``: for some users, who install it themselves.
    """

    REQUIRED = "required"
    USEFUL = "useful"
    OPTIONAL = "optional"


@dataclass(frozen=True)
class Tool:
    """Something the host must have, the Debian package it comes in, and what for.

    It is there when the program ``name`` is found, or where ``files`` is set when one of these
    patterns matches, or where ``module`` is set when python3 can import that.  ``machines`` limits
    it to hosts of some kind (uname -m), ``rootless`` to users who are not root.
    """

    name: str
    package: str
    why: str
    need: Need = Need.REQUIRED
    files: tuple[str, ...] = ()
    module: str = ""
    machines: tuple[str, ...] = ()
    rootless: bool = False

    def present(self) -> bool:
        """Whether the host has it."""
        if self.module:
            return importlib.util.find_spec(self.module) is not None
        if self.files:
            # pathlib has no glob over absolute patterns.
            return any(glob.glob(pattern) for pattern in self.files)  # noqa: PTH207
        path = os.environ.get("PATH", "/usr/bin:/bin")
        return shutil.which(self.name, path=f"{path}:{_SBIN}") is not None


_X86, _ARM = ("x86_64",), ("aarch64",)

TOOLS: tuple[Tool, ...] = (
    Tool("python3-venv", "python3-venv", "the lab's own Python packages", module="ensurepip"),
    Tool("git", "git", "kernel sources and series"),
    Tool("apt-get", "apt", "debian: kernel sources, the guests' root"),
    Tool("dpkg-deb", "dpkg", "debian: kernel sources"),
    Tool("make", "make", "kernel builds"),
    Tool("gcc", "gcc", "kernel builds and C workloads"),
    Tool("libc headers", "libc6-dev", "programs of the kernel's build, static C workloads",
         files=("/usr/include/*/sys/cdefs.h", "/usr/include/sys/cdefs.h")),
    Tool("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", "arm64 kernels and workloads",
         machines=_X86),
    Tool("arm64 libc", "libc6-dev-arm64-cross", "static C workloads for arm64",
         files=("/usr/aarch64-linux-gnu/lib/libc.a",), machines=_X86),
    Tool("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu", "x86_64 kernels and workloads",
         machines=_ARM),
    Tool("x86_64 libc", "libc6-dev-amd64-cross", "static C workloads for x86_64",
         files=("/usr/x86_64-linux-gnu/lib/libc.a",), machines=_ARM),
    Tool("flex", "flex", "Kconfig's parser in a kernel build"),
    Tool("bison", "bison", "Kconfig's parser in a kernel build"),
    Tool("bc", "bc", "a kernel build's time constants"),
    Tool("libelf headers", "libelf-dev", "objtool in x86_64 kernel builds",
         files=("/usr/include/gelf.h",)),
    Tool("lz4", "lz4", "compresses the x86_64 kernel image"),
    Tool("ccache", "ccache", "makes the next build of a kernel quick", Need.USEFUL),
    Tool("gdb-multiarch", "gdb-multiarch", "lab rerun --gdb", Need.USEFUL),
    Tool("mmdebstrap", "mmdebstrap", "the guests' root"),
    Tool("genext2fs", "genext2fs", "the file system of the guests' root"),
    Tool("newuidmap", "uidmap", "makes the guests' root for users who are not root", rootless=True),
    Tool("Debian's archive keys", "debian-archive-keyring", "checks the guests' packages",
         files=("/usr/share/keyrings/debian-archive-keyring.*",)),
    Tool("qemu-system-x86_64", "qemu-system-x86", "x86_64 guests"),
    Tool("qemu-system-aarch64", "qemu-system-arm", "arm64 guests"),
    Tool("ssh", "openssh-client", "lab shell", Need.USEFUL),
    Tool("liburcu headers", "liburcu-dev", "the kernel tree's host tests", Need.USEFUL,
         files=("/usr/include/*/urcu.h", "/usr/include/urcu.h")),
    Tool("bwrap", "bubblewrap", "shuts in the kernel tree's host tests, and builds if asked to",
         Need.USEFUL),
    Tool("32-bit gcc", "gcc-12-multilib", "32-bit selftests and host tests of the kernel tree",
         Need.OPTIONAL, files=("/usr/lib/gcc/x86_64-linux-gnu/*/32/libgcc.a",), machines=_X86),
    Tool("libssl headers", "libssl-dev", "a .config of yours that signs modules", Need.OPTIONAL,
         files=("/usr/include/openssl/opensslv.h",)),
    Tool("pahole", "dwarves", "a .config of yours with BTF", Need.OPTIONAL),
)  # fmt: skip


def tools(machine: str | None = None) -> tuple[Tool, ...]:
    """What a host of this kind (default: this one) needs for this user."""
    machine, root = machine or platform.machine(), os.geteuid() == 0
    return tuple(
        tool
        for tool in TOOLS
        if (not tool.machines or machine in tool.machines) and not (root and tool.rootless)
    )


def has(name: str) -> bool:
    """Whether this host has a tool of the table, by its name; another machine's is not had.

    :raises StopIteration: the table has no such tool.
    """
    tool = next(tool for tool in TOOLS if tool.name == name)
    return (not tool.machines or platform.machine() in tool.machines) and tool.present()


def packages(machine: str | None = None) -> tuple[str, ...]:
    """The Debian packages that set-up installs, sorted."""
    return _names(tool for tool in tools(machine) if tool.need is not Need.OPTIONAL)


def missing() -> tuple[str, ...]:
    """Those of :func:`packages` that this host lacks, sorted."""
    return _names(t for t in tools() if t.need is not Need.OPTIONAL and not t.present())


def install_command(names: tuple[str, ...]) -> str:
    """The command that installs packages, as this user has to type it."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install -y --no-install-recommends {' '.join(names)}"


def _names(found: Iterable[Tool]) -> tuple[str, ...]:
    return tuple(sorted({tool.package for tool in found}))


def main() -> None:
    """Print package names for set-up."""
    words = sys.argv[1:]
    if words not in ([], ["--missing"], ["--packages"]):
        sys.exit("usage: tools.py [--missing|--packages]")
    print(*(packages() if words == ["--packages"] else missing()))


if __name__ == "__main__":
    main()
