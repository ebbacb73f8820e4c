# SPDX-License-Identifier: GPL-2.0-only
"""What compiles a kernel: gcc with binutils, or clang with LLVM's tools, of a version or any.

Facts: Documentation/kbuild/llvm.rst and scripts/Makefile.clang of v6.12; names of programs and
packages are Debian's.  Workloads and selftests are compiled by the architecture's gcc whatever
compiles the kernel: they are no part of what is tested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.model.arch import Arch

GCC, CLANG = "gcc", "clang"
_WORDS = re.compile(r"(gcc|clang)(?:-([1-9][0-9]{0,2}))?", re.ASCII)
# Whether clang describes its frames changes how it orders instructions: most functions of arm64.
# With this they are as with debug information, and so as in the objects compiled again for lines.
_FRAMES = "-fforce-dwarf-frame"
_HOST_CROSS = {"x86_64": "x86-64-linux-gnu", "arm64": "aarch64-linux-gnu"}


@dataclass(frozen=True)
class Toolchain:
    """``gcc``, ``gcc-12``, ``clang`` or ``clang-16``: ``version`` is empty for the default one."""

    kind: str = GCC
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Toolchain:
        """Read one as lab.yaml and the command line have it.

        :raises ValueError: for anything else.
        """
        found = _WORDS.fullmatch(text)
        if found is None:
            raise ValueError("expected gcc, gcc-N, clang or clang-N, such as clang-16")
        return cls(found[1], found[2] or "")

    def __str__(self) -> str:
        return f"{self.kind}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return f"-{self.version}" if self.version else ""

    @property
    def folder(self) -> str:
        """What its build folders have in their names; nothing for the default."""
        return "" if self == DEFAULT_TOOLCHAIN else str(self)

    @property
    def is_clang(self) -> bool:
        """Whether the kernel is made by LLVM's tools alone."""
        return self.kind == CLANG

    def compiler(self, arch: Arch) -> str:
        """The program that compiles kernels; clang is a cross compiler by itself."""
        return str(self) if self.is_clang else f"{arch.gcc}{self._suffix}"

    def programs(self, arch: Arch) -> tuple[str, ...]:
        """What a kernel build calls that set-up does not install; the compiler first."""
        if self == DEFAULT_TOOLCHAIN:
            return ()
        if not self.is_clang:
            return (self.compiler(arch),)
        return (str(self), f"ld.lld{self._suffix}", f"llvm-ar{self._suffix}")

    def gcov(self, arch: Arch) -> str:
        """The program that reads what kernels compiled by this gcc counted: gcov(1)."""
        return f"{arch.cross}gcov{self._suffix}"

    def packages(self, arch: Arch) -> tuple[str, ...]:
        """The Debian packages of :meth:`programs`."""
        if self == DEFAULT_TOOLCHAIN:
            return ()
        if self.is_clang:
            return tuple(f"{name}{self._suffix}" for name in ("clang", "lld", "llvm"))
        cross = f"-{_HOST_CROSS[arch.name]}" if arch.cross else ""
        return (f"gcc{self._suffix}{cross}",)

    def make_words(self, arch: Arch, ccache: bool) -> tuple[str, ...]:
        """What make is told of the tools.

        ``LLVM=-16`` names each of LLVM's tools with that suffix, the host's compiler too.  Their
        target comes from ``ARCH``, and of gcc nothing is needed.
        """
        words = [f"LLVM={self._suffix or 1}", f"KCFLAGS={_FRAMES}"] if self.is_clang else []
        if arch.cross and not self.is_clang:
            words.append(f"CROSS_COMPILE={arch.cross}")
        if ccache or (self.version and not self.is_clang):
            words.append(f"CC={'ccache ' if ccache else ''}{self.compiler(arch)}")
        return tuple(words)


#: Of configs that say nothing.
DEFAULT_TOOLCHAIN = Toolchain()
