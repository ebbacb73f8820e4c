# SPDX-License-Identifier: GPL-2.0-only
"""What ccache may keep, and that the kernel that runs is the one that was built."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.guest.facts import Facts
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import ccache
from orchestrator.kernel.lines import elf
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.runner import bootcheck

needs_ccache = pytest.mark.skipif(
    not (shutil.which("ccache") and shutil.which("gcc")), reason="no ccache or no gcc"
)


def compiled(source: Path, cache: Cache) -> bytes:
    target = source.with_suffix(".o")
    target.unlink(missing_ok=True)
    process.run(
        ["sh", "-c", 'exec "$@"', "sh", "ccache", "gcc", "-MD", "-c", "-o", target, source],
        deadline=30, env=ccache.environment(cache, source.parent, "names"), cwd=source.parent,
    )  # fmt: skip
    return target.read_bytes()


@needs_ccache
def test_an_included_file_is_never_taken_from_the_cache(tmp_path: Path) -> None:
    source, blob = tmp_path / "piggy.S", tmp_path / "blob"
    source.write_text('.section .rodata\n.incbin "blob"\n')
    blob.write_bytes(b"first kernel")
    assert b"first kernel" in compiled(source, Cache(tmp_path / "cache"))
    blob.write_bytes(b"other kernel")  # of the same size
    assert b"other kernel" in compiled(source, Cache(tmp_path / "cache"))


@needs_ccache
def test_what_includes_nothing_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "plain.c"
    source.write_text("int plain(void) { return 1; }\n")
    cache = Cache(tmp_path / "cache")
    assert compiled(source, cache) == compiled(source, cache)
    env = ccache.environment(cache, tmp_path, "names")
    stats = process.run(["ccache", "--print-stats"], deadline=30, env=env).stdout.decode()
    hits = dict(line.split() for line in stats.splitlines() if "\t" in line)
    assert int(hits["direct_cache_hit"]) == 1


def test_objects_that_may_be_stale_go_once(tmp_path: Path) -> None:
    stale = tmp_path / "arch/x86/boot/compressed/piggy.o"
    stale.parent.mkdir(parents=True)
    stale.touch()
    ccache.forget_stale(tmp_path)
    assert not stale.exists()
    stale.touch()
    ccache.forget_stale(tmp_path)
    assert stale.exists()


# ---------------------------------------------------------------- the kernel that runs


@pytest.fixture
def vmlinux(tmp_path: Path) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    source = tmp_path / "k.c"
    source.write_text("int main(void) { return 0; }\n")
    target = tmp_path / "vmlinux"
    process.run(["gcc", "-Wl,--build-id=0x00112233445566778899", "-o", target, source], deadline=30)
    return target


def note(name: str) -> bytes:
    """A note of somebody else, then the build's, as /sys/kernel/notes has them."""
    other = bytes.fromhex("060000000100000001010000") + b"Linux\0\0\0" + b"\0\0\0\0"
    made = bytes.fromhex(name)
    size = len(made).to_bytes(4, "little")
    pad = b"\0" * (-len(made) % 4)
    return other + b"\4\0\0\0" + size + b"\3\0\0\0" + b"GNU\0" + made + pad


def facts(notes: bytes) -> Facts:
    return Facts("", frozenset(), 4096, "6.12", notes=notes)


def built(vmlinux: Path | None) -> BuildResult:
    wanted = Build("k/c/x86_64", KernelSpec("k", "path:x"), ConfigSpec("c"), "x86_64")
    return BuildResult(wanted, Verdict.PASS, "", 1.0, False, "make", vmlinux=vmlinux)


def test_a_build_has_a_name(vmlinux: Path) -> None:
    with elf.opened(vmlinux) as file:
        assert file.build_id.hex() == "00112233445566778899"
    assert elf.build_id(note("00112233445566778899")).hex() == "00112233445566778899"
    assert elf.build_id(b"") == b""
    assert elf.build_id(b"\xff" * 40) == b""


def test_another_kernel_is_refused(vmlinux: Path) -> None:
    bootcheck.refuse_other_kernel(built(vmlinux), facts(note("00112233445566778899")))
    with pytest.raises(HostError, match=r"another kernel \(aabbccddeeff\) than was built"):
        bootcheck.refuse_other_kernel(built(vmlinux), facts(note("aabbccddeeff00112233")))


def test_a_kernel_without_a_name_is_not_looked_at(vmlinux: Path, tmp_path: Path) -> None:
    bootcheck.refuse_other_kernel(built(vmlinux), facts(b""))
    bootcheck.refuse_other_kernel(built(None), facts(note("aabb")))
    bootcheck.refuse_other_kernel(built(tmp_path / "gone"), facts(note("aabb")))


def test_objects_of_other_names_are_kept_apart(tmp_path):
    cache = Cache(tmp_path)
    one, two = (ccache.environment(cache, tmp_path, names) for names in ("one", "two"))
    assert (one.pop("CCACHE_NAMESPACE"), two.pop("CCACHE_NAMESPACE")) == ("one", "two")
    assert one == two
