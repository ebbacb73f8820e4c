# SPDX-License-Identifier: GPL-2.0-only
"""Build a collection of a kernel tree's own selftests for a guest's architecture.

Only what the build reads leaves the object store: no work tree is needed or held.  What was built
is kept by the content of those files, so that a series that leaves them alone costs nothing here.
Everything is linked statically: the guest has the C library of its own distribution or none.

The collection's Makefile says what its programs are and builds them.  Installing is done here
(kselftest's own ``install`` gives up on the whole collection when one program does not build), by
the variables that ``tools/testing/selftests/lib.mk`` documents.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import Notice, locked, looking
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.build.log import host_trouble
from orchestrator.kernel.build.request import compiler_version
from orchestrator.kernel.source import store
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree, Selftest, Selftests
from orchestrator.workload import target_libs
from orchestrator.workload.selftest_log import (
    failures,
    first_failure,
    missing_library,
    parse_settings,
)

# Part of every identity: raise it when what comes out changes.
RECIPE = 4
SELFTESTS = "tools/testing/selftests"
DEADLINE = 1800.0
# What `make headers` reads, and what the selftests include besides; the rest is looked up.
_HEADERS = ("Makefile", "Kbuild", "scripts", "include/uapi", "include/asm-generic")
_ARCH_HEADERS = ("Makefile", "include", "entry/syscalls", "tools", "kernel/syscalls")
_TOOLS = (SELFTESTS, "tools/include", "tools/arch", "tools/scripts", "tools/build")
# Names that a collection had before: ``vm`` became ``mm`` in v6.3.
_FORMER = {"mm": "vm"}
_LISTS = (
    "TEST_PROGS", "TEST_PROGS_EXTENDED", "TEST_FILES", "TEST_GEN_PROGS", "TEST_CUSTOM_PROGS",
    "TEST_GEN_PROGS_EXTENDED", "TEST_GEN_FILES", "TEST_INCLUDES",
)  # fmt: skip
_TESTS = ("TEST_GEN_PROGS", "TEST_CUSTOM_PROGS", "TEST_PROGS")
_BESIDE = ("TEST_GEN_FILES", "TEST_GEN_PROGS_EXTENDED")
_SCRIPTS = ("module.sh", "runner.sh", "prefix.pl", "ktap_helpers.sh", "ksft.py")
_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.MULTILINE)
_ROUNDS = 6
# Headers of the kernel's own: a tree that lacks one of them is at fault, and no host.
_KERNELS = re.compile(r"(?:linux|asm|asm-generic|uapi|mtd|rdma|scsi|sound|video|drm|misc)/")


@dataclass(frozen=True)
class Repair:
    """Flags with which a program that fails to compile is tried once more; it is told."""

    program: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """One collection for one architecture: what it is made of, and what that is called."""

    tree: str
    folder: str
    arch: Arch
    files: Mapping[str, tuple[str, str]]
    identity: str


def build_selftests(
    tree: KernelTree,
    collection: str,
    arch: Arch,
    cache: Cache,
    *,
    jobs: int,
    repairs: Iterable[Repair] = (),
    tell: Notice = lambda _: None,
) -> Selftests:
    """Build a collection, or take what was built before.

    A collection that the tree lacks, and a program that does not build, are told in the value.

    :param collection: its folder below tools/testing/selftests.
    :param tell: told what is going on.
    :raises HostError: when a host tool is missing, the disk is full or make is killed.
    """
    folder = _folder_of(tree.tree, collection, cache)
    if folder is None:
        return Selftests(collection, missing=f"this kernel has no {SELFTESTS}/{collection}")
    repairs = tuple(repairs)
    libraries = target_libs.target_libraries(arch, cache, tell)
    job = _job(tree.tree, folder, arch, repairs, libraries, cache)
    kept = cache.selftests / job.identity
    lock = cache.lock_beside(kept)
    what = f"the selftests {collection}"
    with locked(lock, deadline=DEADLINE * 1.5, on_wait=tell, what=what):
        found = _find(kept, collection, cache)
        if found is None:
            with scratch(cache) as work:
                tell(f"building {SELFTESTS}/{folder}")
                _Maker(job, work, cache, jobs, libraries, tell).make(repairs)
                shutil.rmtree(kept, ignore_errors=True)
                kept.parent.mkdir(parents=True, exist_ok=True)
                (work / "new").rename(kept)
            found = _find(kept, collection, cache)
    if found is None:
        raise HostError(
            f"what was built of {SELFTESTS}/{folder} cannot be read", "is the cache's disk full?"
        )
    return found


def _find(kept: Path, collection: str, cache: Cache) -> Selftests | None:
    try:
        with looking(cache):
            record = json.loads((kept / "selftests.json").read_text())
            os.utime(kept)
        tests = tuple(Selftest(**entry) for entry in record.pop("tests"))
        return Selftests(collection=collection, files=kept / "files", tests=tests, **record)
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ---------------------------------------------------------------- what it is made of


def _folder_of(tree: str, collection: str, cache: Cache) -> str | None:
    for folder in (collection, _FORMER.get(collection)):
        if folder and store.read_file(tree, f"{SELFTESTS}/{folder}/Makefile", cache) is not None:
            return folder
    return None


def _job(
    tree: str,
    folder: str,
    arch: Arch,
    repairs: tuple[Repair, ...],
    libraries: target_libs.TargetLibraries,
    cache: Cache,
) -> _Job:
    own = f"arch/{arch.srcarch}"
    paths = [*_HEADERS, *(f"{own}/{path}" for path in _ARCH_HEADERS), *_TOOLS]
    files = store.list_entries(tree, paths, cache)
    files |= _included(tree, f"{SELFTESTS}/{folder}/", files, cache)
    words = [
        str(RECIPE), folder, arch.name, compiler_version(arch.gcc), target_libs.recipe(),
        libraries.missing, repr(repairs), *(f"{p} {m} {o}" for p, (m, o) in sorted(files.items())),
    ]  # fmt: skip
    digest = hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()
    return _Job(tree, folder, arch, files, f"{folder.replace('/', '-')}-{arch.name}-{digest[:24]}")


def _included(
    tree: str, under: str, have: Mapping[str, tuple[str, str]], cache: Cache
) -> dict[str, tuple[str, str]]:
    """Files from elsewhere in the tree that the sources in a folder include, by any way round."""
    found: dict[str, tuple[str, str]] = {}
    fresh = [path for path in have if path.startswith(under) and path.endswith((".c", ".h", ".S"))]
    for _ in range(_ROUNDS):
        wanted: set[str] = set()
        for path, text in store.read_files(tree, fresh, cache).items():
            for name in _INCLUDE.findall(text):
                named = os.fsdecode(name)
                beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), named))
                wanted |= {beside, posixpath.normpath(named)}
        wanted = {w for w in wanted if not w.startswith(("/", ".."))} - have.keys() - found.keys()
        # Names such as stdio.h are asked for as well: the tree has no such file at its top.
        new = store.list_entries(tree, sorted(wanted), cache) if wanted else {}
        new = {path: entry for path, entry in new.items() if path in wanted}
        if not new:
            break
        found |= new
        fresh = list(new)
    return found


# ---------------------------------------------------------------- making


class _Maker:
    """One build: its sources, headers and objects live in a scratch folder."""

    def __init__(
        self,
        job: _Job,
        work: Path,
        cache: Cache,
        jobs: int,
        libraries: target_libs.TargetLibraries,
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
        self._make([*top, f"O={self.objects}", "-k", "-O", "all"], compiler)
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
        """
        words = [process.find_tool(self.job.arch.gcc) or self.job.arch.gcc]
        # Programs that change the protection of their own read-only data expect no code beside it.
        extra = ["-static", "-s", "-Wl,-z,separate-code"]
        if self.libraries.include and self.libraries.lib:
            extra += ["-idirafter", str(self.libraries.include), f"-L{self.libraries.lib}"]
        folder = self.work / "bin"
        folder.mkdir()
        prefix = folder / (self.job.arch.cross or f"{self.job.arch.name}-linux-gnu-")
        quoted = shlex.join(extra)
        script = (
            f'#!/bin/sh\ncase " $* " in *" -shared "*) exec {shlex.join(words)} "$@" ;; esac\n'
            f'exec {shlex.join(words)} $LAB_CFLAGS "$@" {quoted}\n'
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
        process.run([*argv, *words], deadline=DEADLINE, env=env, log=self.log, check=False)
        trouble = host_trouble(self._text())
        if trouble is not None:
            raise HostError(f"the selftests' build stopped: {trouble[0]}", trouble[1])

    def _lists(self, compiler: str) -> dict[str, list[str]] | None:
        """What the collection's Makefile says its parts are, by lib.mk's names."""
        shown = " ".join(f"$(addprefix {name}=,$({name}))" for name in _LISTS)
        rule = f'lab-show: ;@printf "lab:%s\\n" {shown}'
        done = process.run(
            ["make", "-s", "-C", self.own, f"ARCH={self.job.arch.kernel_arch}",
             f"CROSS_COMPILE={compiler}", f"OUTPUT={self.output}", f"O={self.objects}",
             f"KHDR_INCLUDES=-isystem {self.objects}/usr/include", "--eval", rule, "lab-show"],
            deadline=120, check=False,
        )  # fmt: skip
        if done.status != 0:
            return None
        lists: dict[str, list[str]] = {name: [] for name in _LISTS}
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
