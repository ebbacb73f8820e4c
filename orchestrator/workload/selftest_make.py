# SPDX-License-Identifier: GPL-2.0-only
"""Make a collection of selftests with its own Makefile, and install what was made.

The collection's Makefile says what its programs are and builds them.  Installing is done here
(kselftest's own ``install`` gives up on the whole collection when one program does not build), by
the variables that ``tools/testing/selftests/lib.mk`` documents.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.host import process, walls
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import Notice
from orchestrator.kernel.build.log import host_trouble
from orchestrator.kernel.source import store
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import Selftest
from orchestrator.workload.selftest_log import (
    failures,
    first_failure,
    missing_library,
    parse_settings,
)
from orchestrator.workload.target_libs import TargetLibraries

SELFTESTS = "tools/testing/selftests"
DEADLINE = 1800.0
_LISTS = (
    "TEST_PROGS", "TEST_PROGS_EXTENDED", "TEST_FILES", "TEST_GEN_PROGS", "TEST_CUSTOM_PROGS",
    "TEST_GEN_PROGS_EXTENDED", "TEST_GEN_FILES", "TEST_INCLUDES",
)  # fmt: skip
_TESTS = ("TEST_GEN_PROGS", "TEST_CUSTOM_PROGS", "TEST_PROGS")
_BESIDE = ("TEST_GEN_FILES", "TEST_GEN_PROGS_EXTENDED")
_SCRIPTS = ("module.sh", "runner.sh", "prefix.pl", "ktap_helpers.sh", "ksft.py")
# What x86 Makefiles call their 32-bit programs, built or left out (mm, x86; v6.12).
_NARROW = "BINARIES_32"
# Headers of the kernel's own: a tree that lacks one of them is at fault, and no host.
_KERNELS = re.compile(r"(?:linux|asm|asm-generic|uapi|mtd|rdma|scsi|sound|video|drm|misc)/")


@dataclass(frozen=True)
class Repair:
    """Flags with which a program that fails to compile is tried once more; it is told."""

    program: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One collection for one architecture: what it is made of, and what that is called."""

    tree: str
    folder: str
    arch: Arch
    files: Mapping[str, tuple[str, str]]
    identity: str


class Maker:
    """One build: its sources, headers and objects live in a scratch folder."""

    def __init__(
        self,
        job: Job,
        work: Path,
        cache: Cache,
        jobs: int,
        libraries: TargetLibraries,
        tell: Notice,
    ) -> None:
        self.job, self.work, self.cache, self.tell = job, work, cache, tell
        self.jobs = jobs
        self.libraries = libraries
        self.source = work / "src"
        self.objects = work / "obj"
        self.own = self.source / SELFTESTS / job.folder
        self.output = self.objects / "kselftest" / job.folder
        self.log = work / "make.log"

    def make(self, repairs: tuple[Repair, ...]) -> None:
        """Leave ``new`` in the scratch folder: ``files``, and ``selftests.json`` about them."""
        self._export()
        compiler = self._wrap_compiler()
        self._make(["-C", self.source, f"O={self.objects}", "headers"], compiler)
        if not (self.objects / "usr" / "include" / "linux").is_dir():
            text = self._text()
            self._keep([], f"`make headers` failed: {first_failure(text)}")
            return
        top: list[str | Path] = [
            "-C",
            self.source / SELFTESTS,
            f"TARGETS={self.job.folder}",
            "SKIP_TARGETS=",
        ]
        self._make([*top, f"O={self.objects}", "-k", "-O", "all"], compiler, self._from_above())
        text = self._text()
        lists = self._lists(compiler)
        if lists is None:
            self._keep([], f"its Makefile fails: {first_failure(text)}")
            return
        reasons = failures(text)
        tests = []
        for kind in (*_TESTS, *_BESIDE, "TEST_FILES"):
            for path in lists[kind]:
                tests.append(self._test(path, kind, reasons, repairs, compiler))
        tests += self._left_out(lists, {test.name for test in tests})
        new = self.work / "new" / "files"
        self._install(lists, new)
        self._keep(tests, "")

    def _test(
        self,
        path: str,
        kind: str,
        reasons: Mapping[str, str],
        repairs: tuple[Repair, ...],
        compiler: str,
    ) -> Selftest:
        name = Path(path).name
        role = "test" if kind in _TESTS else "file" if kind == "TEST_FILES" else "built"
        generated = kind.startswith("TEST_GEN") or kind == "TEST_CUSTOM_PROGS"
        made = self.output / path  # an absolute one stays itself
        if not generated or made.is_file():
            return Selftest(name, role)
        reason = reasons.get(name, "make did not build it, and does not say why")
        lacks = missing_library(reason, self._in_tree)
        flags: tuple[str, ...] = ()
        for repair in repairs:
            if repair.program == name and not lacks:
                words: list[str | Path] = ["-C", self.own, f"OUTPUT={self.output}", "-k"]
                headers = f"KHDR_INCLUDES=-isystem {self.objects}/usr/include"
                extra = {"LAB_CFLAGS": " ".join(repair.flags)}
                self._make([*words, headers, made], compiler, extra)
                if made.is_file():
                    flags = repair.flags
        return Selftest(name, role, problem=reason, lacks=lacks, repaired=" ".join(flags))

    @staticmethod
    def _left_out(lists: Mapping[str, list[str]], there: set[str]) -> list[Selftest]:
        """The 32-bit programs that the Makefile leaves out, without an error, on such a host."""
        names = (Path(path).name for path in lists[_NARROW])
        why = "its Makefile leaves it out, since the compiler makes no 32-bit programs"
        lacks = "32-bit gcc (gcc-12-multilib)"
        return [Selftest(n, "built", problem=why, lacks=lacks) for n in names if n not in there]

    def _export(self) -> None:
        self.source.mkdir()
        index = self.work / "index"
        store.git(self.cache, "read-tree", self.job.tree, index=index)
        names = b"".join(os.fsencode(path) + b"\0" for path in self.job.files)
        words = ("checkout-index", "-q", "-z", "--stdin")
        store.git(self.cache, *words, index=index, worktree=self.source, input=names)

    def _wrap_compiler(self) -> str:
        """Give the prefix of a compiler that links statically and finds the libraries.

        Not every Makefile there passes flags of the user's on, and none of them all.

        Linked as position-independent, as distributions' compilers do: the heap of a program at a
        fixed address begins within 1 GiB of it (arch/x86/kernel/process.c, arch_randomize_brk(),
        v6.12), and now and then in the way of a test that maps at 1 GiB (uffd-common.c, v6.12).
        """
        words = [process.find_tool(self.job.arch.gcc) or self.job.arch.gcc]
        # Programs that change the protection of their own read-only data expect no code beside it.
        extra = ["-s", "-Wl,-z,separate-code"]
        if self.libraries.include and self.libraries.lib:
            extra += ["-idirafter", str(self.libraries.include), f"-L{self.libraries.lib}"]
        folder = self.work / "bin"
        folder.mkdir()
        prefix = folder / (self.job.arch.cross or f"{self.job.arch.name}-linux-gnu-")
        quoted = shlex.join(extra)
        script = (
            '#!/bin/sh\nhow=-static-pie\ncase " $* " in\n'
            f'*" -shared "*) exec {shlex.join(words)} "$@" ;;\n'
            '*" -static "* | *" -no-pie "* | *" -nostdlib "*) how=-static ;;\nesac\n'
            f'exec {shlex.join(words)} $LAB_CFLAGS "$@" $how {quoted}\n'
        )
        wrapper = folder / f"{prefix.name}gcc"
        wrapper.write_text(script)
        wrapper.chmod(0o755)
        return str(prefix)

    def _make(
        self, words: list[str | Path], compiler: str, env: Mapping[str, str] | None = None
    ) -> None:
        argv: list[str | Path] = ["make", f"-j{self.jobs}", f"ARCH={self.job.arch.kernel_arch}"]
        argv.append(f"CROSS_COMPILE={compiler}")
        self._run([*argv, *words], DEADLINE, env, self.log)
        trouble = host_trouble(self._text())
        if trouble is not None:
            raise HostError(f"the selftests' build stopped: {trouble[0]}", trouble[1])

    def _run(
        self,
        argv: Sequence[str | Path],
        deadline: float,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> process.Completed:
        """Run make within walls: its Makefiles are the tree's."""
        self.objects.mkdir(exist_ok=True)
        writes, reads = (self.source, self.objects), (self.work, self.cache.selftests)
        around = walls.around_build(deadline, writes, reads, fenced=walls.standing().fenced)
        return process.run(
            argv, deadline=deadline, env={**(env or {}), **around.env}, log=log, check=False,
            around=around.words,
        )  # fmt: skip

    def _from_above(self) -> dict[str, str]:
        """What a collection below another one is given by the Makefile above it: its CFLAGS.

        ``arm64/mte`` does not find kselftest.h without those that arm64/Makefile exports (v6.12).
        """
        above = self.own.parent
        if above == self.source / SELFTESTS or not (above / "Makefile").is_file():
            return {}
        done = self._run(
            ["make", "-s", "--no-print-directory", "-C", above, f"ARCH={self.job.arch.kernel_arch}",
             f"KHDR_INCLUDES=-isystem {self.objects}/usr/include",
             "--eval", 'lab-show: ;@printf "lab:%s\\n" "$(CFLAGS)"', "lab-show"],
            deadline=120,
        )  # fmt: skip
        told = [line[4:] for line in done.text.splitlines() if line.startswith("lab:")]
        return {"CFLAGS": told[-1]} if done.status == 0 and told and told[-1] else {}

    def _lists(self, compiler: str) -> dict[str, list[str]] | None:
        """What the collection's Makefile says its parts are, by lib.mk's names."""
        names = (*_LISTS, _NARROW)
        shown = " ".join(f"$(addprefix {name}=,$({name}))" for name in names)
        rule = f'lab-show: ;@printf "lab:%s\\n" {shown}'
        done = self._run(
            ["make", "-s", "-C", self.own, f"ARCH={self.job.arch.kernel_arch}",
             f"CROSS_COMPILE={compiler}", f"OUTPUT={self.output}", f"O={self.objects}",
             f"KHDR_INCLUDES=-isystem {self.objects}/usr/include", "--eval", rule, "lab-show"],
            deadline=120,
        )  # fmt: skip
        if done.status != 0:
            return None
        lists: dict[str, list[str]] = {name: [] for name in names}
        for line in done.text.splitlines():
            name, sign, value = line.removeprefix("lab:").partition("=")
            if line.startswith("lab:") and sign and name in lists and value not in lists[name]:
                lists[name].append(value)
        return lists

    def _install(self, lists: Mapping[str, list[str]], files: Path) -> None:
        """As kselftest's ``install`` does, but for what was not built."""
        own = files / self.job.folder
        own.mkdir(parents=True)
        for kind in _LISTS:
            for value in lists[kind]:
                path = self.own / value  # an absolute one stays itself
                target = own / path.name
                if kind == "TEST_INCLUDES":
                    where = os.path.relpath(path.resolve(), self.source / SELFTESTS)
                    target = files / where
                    if where.startswith(".."):
                        continue
                _copy(path, target)
        for name in ("settings", "config"):
            _copy(self.own / name, own / name)
        for name in _SCRIPTS:
            _copy(self.source / SELFTESTS / "kselftest" / name, files / "kselftest" / name)

    def _keep(self, tests: list[Selftest], failure: str) -> None:
        new = self.work / "new"
        new.mkdir(exist_ok=True)
        settings = self.own / "settings"
        record = {
            "tests": [asdict(test) for test in dict.fromkeys(tests)],
            "failure": failure,
            "folder": self.job.folder,
            "timeout": parse_settings(settings.read_text()) if settings.is_file() else None,
        }
        (new / "selftests.json").write_text(json.dumps(record, indent=1))
        shutil.copyfile(self.log, new / "make.log")

    def _text(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return text.replace(f"{self.source}/", "")

    def _in_tree(self, header: str) -> bool:
        """Whether the kernel itself should have brought a header."""
        if _KERNELS.match(header):
            return True
        return any(path.endswith(f"/{header}") or path == header for path in self.job.files)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True, ignore_dangling_symlinks=True)
    elif path.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
