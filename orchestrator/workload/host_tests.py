# SPDX-License-Identifier: GPL-2.0-only
"""Build the host tests of a kernel tree: programs that try its data structures without a kernel.

Only what the build reads leaves the object store, into a scratch folder: the tests' Makefiles write
beside their sources, and a user's tree is never written to.  What was built is kept by the content
of those files, the compiler and its flags.

The compiler is a script that comes before the real one: it has the last word on sanitizers, adds
what tells lines, and links in a few lines that make the program's output come line by line, without
which a program that aborts keeps what it said last to itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.host import process, walls
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import Notice, locked, looking
from orchestrator.host.cache.scratch import scratch
from orchestrator.host.tools import install_command
from orchestrator.kernel.build.log import host_trouble
from orchestrator.kernel.build.request import compiler_version
from orchestrator.kernel.source import store
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import HostTest
from orchestrator.workload.selftest_log import first_failure

#: What is read where a program does not build from the files that its table names: a tree whose
#: tests have come to need others must not be blamed for them.
WIDE = (
    "include", "lib", "mm", "arch/x86/include", "arch/arm64/include", "tools/include", "tools/lib",
    "tools/arch", "tools/testing/shared", "tools/testing/radix-tree",
    "tools/testing/selftests/kselftest.h",
)  # fmt: skip

# Part of every identity: raise it when what comes out changes.
RECIPE = 4
DEADLINE = 900.0
COMPILER = "gcc"
_LINES = """#include <stdio.h>
__attribute__((constructor)) static void lab_lines(void) { setvbuf(stdout, NULL, _IOLBF, 0); }
"""
_HEADERS = f"/usr/include/{platform.machine()}-linux-gnu"
_NO_RULE = re.compile(r"No rule to make target [`'](?P<target>[^']+)'(?P<for>, needed by)?")
_LACKS = re.compile(
    r"cannot find -l(?P<library>[\w.+-]+)|cannot find (?P<file>\S*lib\w+san\S*|crt1\.o|Scrt1\.o)"
    r"|skipping incompatible \S+ when searching for -l(?P<other>[\w.+-]+)"
    r"|unrecognized command[- ]line option .-m32"
    r"|fatal error: (?P<header>[\w./+-]+): No such file"
)
# Headers that are the tree's own: one that lacks them is at fault, and no host.
_OWN = ("linux/", "asm/", "asm-generic/", "uapi/", "generated/", ".")


@dataclass(frozen=True)
class HostProgram:
    """One program, as it was built: ``path`` below the folder of :class:`HostPrograms`.

    ``absent`` says what the tree has not, ``lacks`` what the host has not, with the command that
    mends it; ``problem`` why it does not build otherwise.  ``repaired`` are the flags with which it
    builds all the same.
    """

    target: str
    path: str = ""
    absent: str = ""
    lacks: str = ""
    problem: str = ""
    repaired: str = ""


@dataclass(frozen=True)
class HostPrograms:
    """What one make built, by target, and the folder that it lies in."""

    folder: Path
    programs: dict[str, HostProgram] = field(default_factory=dict)


def build(
    tree: KernelTree, tests: Sequence[HostTest], cache: Cache, tell: Notice = lambda _: None
) -> HostPrograms:
    """Build programs of one folder that have the same settings, or take what was built before.

    :param tests: of one :func:`group`.
    :param tell: told what is going on.
    :raises HostError: when a host tool is missing, the disk is full or make is killed.
    """
    first = tests[0]
    if store.read_file(tree.tree, f"{first.folder}/Makefile", cache) is None:
        why = f"this kernel has no {first.folder}"
        told = {test.target: HostProgram(test.target, absent=why) for test in tests}
        return HostPrograms(Path(), told)
    sources = [first.folder, *first.sources]
    found = _had(tree, tests, store.list_entries(tree.tree, sources, cache), cache, tell)
    if any(one.problem and not one.repaired for one in found.programs.values()):
        wide = store.list_entries(tree.tree, [*sources, *WIDE], cache)
        found = _had(tree, tests, wide, cache, tell)
    return found


def _had(
    tree: KernelTree,
    tests: Sequence[HostTest],
    files: dict[str, tuple[str, str]],
    cache: Cache,
    tell: Notice,
) -> HostPrograms:
    """The programs as they come out of these files, kept or made."""
    first = tests[0]
    kept = cache.selftests / _identity(files, tests)
    what = f"the host tests {first.folder}"
    with locked(cache.lock_beside(kept), deadline=DEADLINE * 1.5, on_wait=tell, what=what):
        found = _find(kept, cache)
        if found is None or not all(_is_told(test, found) for test in tests):
            with scratch(cache) as work:
                tell(f"building {first.folder}{_shown(first)}")
                _Maker(tree.tree, tests, files, work, cache).make()
                shutil.rmtree(kept, ignore_errors=True)
                kept.parent.mkdir(parents=True, exist_ok=True)
                (work / "new").rename(kept)
            found = _find(kept, cache)
    if found is None:
        raise HostError(f"{what} cannot be read", "is the cache's disk full?")
    return found


def _is_told(test: HostTest, found: HostPrograms) -> bool:
    """Whether a program was built before, or why not; what this host lacked it may have by now."""
    told = found.programs.get(test.target)
    return told is not None and not told.lacks


def group(test: HostTest) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """What programs have in common that one make builds."""
    return test.folder, test.make, test.sanitize


def _shown(test: HostTest) -> str:
    words = [*test.make, *(["with sanitizers"] if test.sanitize else [])]
    return f" ({', '.join(words)})" if words else ""


def _identity(files: dict[str, tuple[str, str]], tests: Sequence[HostTest]) -> str:
    words = [
        str(RECIPE), compiler_version(COMPILER), repr(sorted({t.repair for t in tests})),
        repr(group(tests[0])), *(f"{p} {m} {o}" for p, (m, o) in sorted(files.items())),
    ]  # fmt: skip
    digest = hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()
    return f"host-{Path(tests[0].folder).name}-{digest[:24]}"


def _find(kept: Path, cache: Cache) -> HostPrograms | None:
    try:
        with looking(cache):
            record = json.loads((kept / "programs.json").read_text())
            os.utime(kept)
        programs = {name: HostProgram(**entry) for name, entry in record.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return HostPrograms(kept, programs)


class _Maker:
    """One build in a scratch folder."""

    def __init__(
        self,
        tree: str,
        tests: Sequence[HostTest],
        files: dict[str, tuple[str, str]],
        work: Path,
        cache: Cache,
    ) -> None:
        self.tree, self.tests, self.files = tree, tests, files
        self.work, self.cache = work, cache
        self.source = work / "src"
        self.own = self.source / tests[0].folder
        self.new = work / "new"

    def make(self) -> None:
        """Leave ``new`` in the scratch folder: the programs, and ``programs.json`` about them."""
        self._export()
        compiler = self._wrap_compiler()
        self.new.mkdir()
        self._make((), compiler)  # all of them: what a Makefile prepares hangs on that at times
        built = {test.target: self._built(test, compiler) for test in self.tests}
        for target in self.tests[0].beside:
            if target not in built and (made := self.own / target).is_file():
                shutil.copy2(made, self.new / target)
                built[target] = HostProgram(target, target)
        text = json.dumps({name: asdict(one) for name, one in built.items()}, indent=1)
        (self.new / "programs.json").write_text(text + "\n", "utf-8")

    def _built(self, test: HostTest, compiler: Path) -> HostProgram:
        made = self.own / test.target
        told = HostProgram(test.target)
        if not made.is_file():
            told = self._why(test, self._make((test.target,), compiler))
            if told.problem and test.repair:
                # What is of its own folder once more; objects of other code are as they should be.
                own = [path.name for path in self.own.iterdir() if path.suffix in (".c", ".h")]
                again = [word for name in sorted(own) for word in ("-W", name)]
                self._make((*again, test.target), compiler, test.repair)
                if made.is_file():
                    told = HostProgram(
                        test.target, problem=told.problem, repaired=" ".join(test.repair)
                    )
        if not made.is_file():
            return told
        shutil.copy2(made, self.new / test.target)
        return HostProgram(test.target, test.target, problem=told.problem, repaired=told.repaired)

    def _why(self, test: HostTest, log: str) -> HostProgram:
        for line in log.splitlines():
            missing = _NO_RULE.search(line)
            if missing and missing["target"] == test.target and not missing["for"]:
                why = f"this kernel's {test.folder} has no program {test.target}"
                return HostProgram(test.target, absent=why)
            lacks = _LACKS.search(line)
            header = lacks["header"] if lacks else None
            if lacks and not (header and (header.startswith(_OWN) or self._in_folder(header))):
                return HostProgram(test.target, lacks=_lacks(test, line.strip()))
        return HostProgram(test.target, problem=self._relative(first_failure(log)))

    def _in_folder(self, header: str) -> bool:
        """Whether the tree has a header of that name: another file of it is what is missing."""
        return any(path.endswith(f"/{header}") for path in self.files)

    def _relative(self, text: str) -> str:
        """Paths as the tree has them."""
        text = text.replace(f"{self.source}/", "")
        return text.replace(f"{self.tests[0].folder}/../../../", "").replace("../../../", "")

    def _export(self) -> None:
        self.source.mkdir()
        index = self.work / "index"
        store.git(self.cache, "read-tree", self.tree, index=index)
        names = b"".join(os.fsencode(path) + b"\0" for path in self.files)
        words = ("checkout-index", "-q", "-z", "--stdin")
        store.git(self.cache, *words, index=index, worktree=self.source, input=names)

    def _wrap_compiler(self) -> Path:
        real = process.find_tool(COMPILER)
        if real is None:
            raise process.ToolMissing(COMPILER)
        lines = self.work / "lines"
        lines.with_suffix(".c").write_text(_LINES)
        flags = ["-g", f"-fdebug-prefix-map={self.source}/=", "-fno-sanitize=all"]
        if self.tests[0].sanitize:
            flags += [f"-fsanitize={','.join(self.tests[0].sanitize)}", "-fno-omit-frame-pointer"]
        wrapper = self.work / "cc"
        wrapper.write_text(
            "#!/bin/sh\n"
            f"lines={shlex.quote(str(lines.with_suffix('.c')))}\n"
            'for word; do case "$word" in -c|-S|-E|-M*|-v|--version|-) lines= ;; esac; done\n'
            # Debian's 32-bit libraries come without other packages' headers; the same serve.
            f'case " $* " in *" -m32 "*) set -- "$@" -idirafter {_HEADERS} ;; esac\n'
            f'eval "set -- \\"\\$@\\" $LAB_CFLAGS"\n'
            f'exec {shlex.quote(real)} "$@" {shlex.join(flags)} $lines\n'
        )
        wrapper.chmod(0o755)
        return wrapper

    def _make(self, words: Iterable[str], compiler: Path, repair: Iterable[str] = ()) -> str:
        """What make says; it goes on after an error, since another program may do without."""
        log = self.work / "make.log"
        argv = ["nice", "-n", "10", "make", "-k", "-j1", "-C", str(self.own), f"CC={compiler}"]
        fenced = walls.standing().fenced
        around = walls.around_build(DEADLINE, (self.source,), (self.work,), fenced=fenced)
        process.run(
            [*argv, *self.tests[0].make, *words], deadline=DEADLINE, log=log, check=False,
            env={"LAB_CFLAGS": shlex.join(repair), **around.env}, around=around.words,
        )  # fmt: skip
        text = log.read_text("utf-8", "replace") if log.exists() else ""
        trouble = host_trouble(text)
        if trouble is not None:
            raise HostError(f"the host tests' build stopped: {trouble[0]}", trouble[1])
        log.unlink(missing_ok=True)
        return text


def _lacks(test: HostTest, line: str) -> str:
    """What the host lacks, and the command that mends it."""
    if not test.packages or "-m32" in line:  # a compiler for another machine than x86
        return line
    return f"{line} (`{install_command(test.packages)}` installs it)"
