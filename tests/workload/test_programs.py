# SPDX-License-Identifier: GPL-2.0-only
"""Workloads before any guest: compiled for its architecture, and packed."""

from __future__ import annotations

import os
import platform
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import HOME
from orchestrator.host import process
from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import WorkloadSpec
from orchestrator.plan.lab_yaml import load_config
from orchestrator.workload import programs

LIBRARY = HOME / "guest-tests" / "lib"


X86 = ARCHES["x86_64"]


needs_gcc = pytest.mark.skipif(not shutil.which(X86.gcc), reason=f"no {X86.gcc}")


def spec(program: str = "w.c", folder: Path = Path("/f"), **more: Any) -> WorkloadSpec:
    fields: dict[str, Any] = {"timeout": 10.0, "args": (), **more}
    return WorkloadSpec(name="family/w", family="family", folder=folder, program=program, **fields)


@needs_gcc
def test_each_family_that_ships_compiles(programs_cache: Cache) -> None:
    # All their programs, one by one and with all warnings, are compiled in test_guest_tests.
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    assert programs.library_folder(config.workloads) == LIBRARY
    kinds = {
        (entry.family, Path(entry.program).suffix): entry
        for entry in config.workloads
        if not entry.host
    }
    chosen = kinds.values()
    assert {Path(entry.program).suffix for entry in chosen} == {".c", ".py", ".sh"}
    files = programs.compile_all(chosen, LIBRARY, X86, programs_cache)
    for entry in chosen:
        assert f"{entry.family}/{entry.program.removesuffix('.c')}" in files
    for name, path in files.items():
        if path.suffix not in (".py", ".sh"):
            assert path.read_bytes()[:4] == b"\x7fELF", name
    if platform.machine() == "x86_64":
        done = process.run([files["sampler"], "--", "true"], deadline=20)
        assert b'"status":0' in done.stderr
    # The second time nothing is compiled.
    # (What others are compiling meanwhile, in the same cache, is not yet there.)
    kept = [
        path for path in programs_cache.folder.rglob("*") if path.suffix not in (".lock", ".new")
    ]
    inodes = {path: path.stat().st_ino for path in kept if path.is_file()}
    assert programs.compile_all(chosen, LIBRARY, X86, programs_cache) == files
    assert {path: path.stat().st_ino for path in inodes} == inodes


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "family"
    folder.mkdir()
    library = tmp_path / "lib"
    library.mkdir()
    agent = tmp_path / "agent"
    agent.mkdir()
    monkeypatch.setattr(programs, "AGENT", agent)
    (library / "shared.h").write_text("int shared(void);\n")
    (library / "shared.c").write_text("int shared(void)\n{\n\treturn 0;\n}\n")
    for tool in programs.TOOLS:
        (agent / f"{tool}.c").write_text("int main(void)\n{\n\treturn 0;\n}\n")
    (library / "ktap.py").write_text("")
    (folder / "w.c").write_text('#include "shared.h"\nint main(void)\n{\n\treturn shared();\n}\n')
    return folder


@needs_gcc
def test_a_changed_source_or_header_is_compiled_anew(family: Path, tmp_path: Path) -> None:
    def binary() -> Path:
        made = programs.compile_all(
            [spec(folder=family)], tmp_path / "lib", X86, Cache(tmp_path / "c")
        )
        return made["family/w"]

    first = binary()
    assert binary() == first
    with (tmp_path / "lib/shared.h").open("a") as header:
        header.write("#define NEW 1\n")
    second = binary()
    assert second != first
    (tmp_path / "lib/shared.c").write_text("int shared(void)\n{\n\treturn 1;\n}\n")
    assert binary() not in (first, second)


@needs_gcc
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("int main(void)\n{\n\treturn moved;\n}\n", r"w\.c:3:\d+: .*moved"),
        ('#include "gone.h"\n', r"w\.c:1:\d+: .*gone\.h"),
        ("int gone(void);\nint main(void)\n{\n\treturn gone();\n}\n", "gone"),
    ],
)
def test_a_workload_that_does_not_compile(
    family: Path, tmp_path: Path, text: str, reason: str
) -> None:
    (family / "w.c").write_text(text)
    with pytest.raises(UserError, match=reason):
        programs.compile_all([spec(folder=family)], tmp_path / "lib", X86, Cache(tmp_path / "c"))


def test_a_missing_compiler_is_the_hosts_trouble(family: Path, tmp_path: Path) -> None:
    arch = replace(X86, cross="no-such-")
    with pytest.raises(HostError, match="no-such-gcc"):
        programs.compile_all([spec(folder=family)], tmp_path / "lib", arch, Cache(tmp_path / "c"))


def test_a_full_disk_is_the_hosts_trouble() -> None:
    with pytest.raises(HostError, match="No space left"):
        programs._explain("cc1: fatal error: error writing to x: No space left on device\n", X86)


@needs_gcc
def test_python_comes_with_its_library(family: Path, tmp_path: Path) -> None:
    (family / "w.py").write_text("")
    library = tmp_path / "lib"
    files = programs.compile_all([spec("w.py", family)], library, X86, Cache(tmp_path / "c"))
    assert files["family/w.py"] == family / "w.py"
    assert files["family/ktap.py"] == library / "ktap.py"
    assert set(files) == {*programs.TOOLS, "family/w.py", "family/ktap.py"}


def test_a_family_elsewhere_has_the_labs_own_library(tmp_path: Path) -> None:
    elsewhere = [spec(folder=tmp_path / "family")]
    assert programs.library_folder(elsewhere) == LIBRARY
    own = tmp_path / "lib"
    own.mkdir()
    assert programs.library_folder(elsewhere) == LIBRARY
    (own / "ktap.h").write_text("")
    assert programs.library_folder(elsewhere) == own


@needs_gcc
def test_a_family_with_a_library_of_its_own_has_the_labs_agents(tmp_path: Path) -> None:
    for name, text in {
        "lib/ktap.h": "int own(void);\n",
        "lib/own.c": "int own(void)\n{\n\treturn 0;\n}\n",
        # A copy of an older library of the lab's holds the agents, which are no part of it.
        "lib/sampler.c": "int main(void) { return 7; }\n",
        "family/part.h": "#define PART own()\n",
        "family/w.c": '#include "ktap.h"\n#include "part.h"\nint main(void) { return PART; }\n',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    elsewhere = [spec(folder=tmp_path / "family")]
    library = programs.library_folder(elsewhere)
    assert library == tmp_path / "lib"
    files = programs.compile_all(elsewhere, library, X86, Cache(tmp_path / "cache"))
    assert set(files) == {*programs.TOOLS, "family/w"}
    if platform.machine() == "x86_64":
        done = process.run([files["sampler"], "--", files["family/w"]], deadline=20)
        assert b'"status":0' in done.stderr


@pytest.mark.parametrize(
    ("what", "file"),
    [("OWN_LIBRARY", r"guest-tests/lib/ktap\.h"), ("AGENT", r"guest-tests/agent/sampler\.c")],
)
def test_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, file: str) -> None:
    monkeypatch.setattr(programs, what, tmp_path / getattr(programs, what).name)
    with pytest.raises(HostError, match=file):
        programs.library_folder([spec(folder=tmp_path / "family")])
    with pytest.raises(HostError):
        programs.library_folder([])


def test_programs_are_packed_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"\x7fELF" * 1000)
    (tmp_path / "two").write_text("print()\n")
    files = {"family/b": tmp_path / "one", "sampler": tmp_path / "two"}
    archive = programs.pack(files, Cache(tmp_path / "cache"))
    with tarfile.open(archive, "r:xz") as tar:
        assert tar.getnames() == ["family/b", "sampler"]
        assert [(m.mode, m.size) for m in tar.getmembers()] == [(0o755, 4000), (0o755, 8)]
    before = archive.stat().st_ino
    assert programs.pack(files, Cache(tmp_path / "cache")) == archive
    assert archive.stat().st_ino == before
    (tmp_path / "two").write_text("print(1)")
    assert programs.pack(files, Cache(tmp_path / "cache")) != archive


@needs_gcc
@pytest.mark.parametrize("size", [0, 700])
def test_a_program_and_a_pack_that_are_damaged_are_made_again(
    family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    cache = Cache(tmp_path / "cache")
    wanted = [spec(folder=family)]

    def packed() -> tuple[Path, bytes, Path, bytes]:
        monkeypatch.setattr(seals, "_sound", set())  # as the next lab finds it
        files = programs.compile_all(wanted, tmp_path / "lib", X86, cache)
        program, pack = files["family/w"], programs.pack(files, cache)
        return program, program.read_bytes(), pack, pack.read_bytes()

    whole = packed()
    for path in whole[::2]:
        assert isinstance(path, Path)
        os.truncate(path, size)
    assert packed() == whole
