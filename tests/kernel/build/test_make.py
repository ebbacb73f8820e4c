# SPDX-License-Identifier: GPL-2.0-only
"""Building, with a real make and a real compiler on a kernel of one file."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.scratch import clean_scratch
from orchestrator.kernel.build import kconfig
from orchestrator.kernel.build import make as build
from orchestrator.kernel.build.folders import build_folder, building, workplace
from orchestrator.kernel.build.request import BuildRequest, build_request, compiler_version
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.model.toolchain import Toolchain

X86 = ARCHES["x86_64"]

# What the lab asks of Kbuild and no more: configuration targets, one object, an image, in O=.
# A file below steer/ makes it go wrong in one way or another.
MAKEFILE = r"""
SRC := $(CURDIR)
allnoconfig:
	@if [ -e $(SRC)/steer/config-error ]; then cat $(SRC)/steer/config-error >&2; exit 1; fi
	@if [ -e $(SRC)/steer/no-flex ]; then echo "/bin/sh: 1: flex: not found" >&2; exit 127; fi
	@echo "#" > $(O)/.config
	@cat $(KCONFIG_ALLCONFIG) >> $(O)/.config
	@if [ -e $(SRC)/steer/drop ]; then sed -i "/$$(cat $(SRC)/steer/drop)/d" $(O)/.config; fi
	@echo "configuration written to .config"
olddefconfig:
	@if [ -e $(SRC)/steer/drop ]; then sed -i "/$$(cat $(SRC)/steer/drop)/d" $(O)/.config; fi
	@echo "configuration written to .config"
modules:
	@echo "  CC [M]  lib/test_vmalloc.o"
modules_install:
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/6.12.117
	@echo built > $(INSTALL_MOD_PATH)/lib/modules/6.12.117/test_vmalloc.ko
bzImage Image: $(O)/mm/userfaultfd.o
	@echo "  LD      vmlinux"
	@cp $< $(O)/vmlinux
	@mkdir -p $(O)/arch/x86/boot
	@if [ -e $(SRC)/steer/disk-full ]; then \
		echo "cp: error writing: No space left on device"; exit 1; fi
	@sha256sum < $(O)/vmlinux > $(O)/arch/x86/boot/bzImage
$(O)/mm/userfaultfd.o: $(SRC)/mm/userfaultfd.c
	@echo "  CC      mm/userfaultfd.o"
	@mkdir -p $(O)/mm
	@$(CC) -Wall -c -o $@ $< $(EXTRA)
"""
GOOD = "int move(int n)\n{\n\treturn n + 1;\n}\n"
WARNS = "int move(int n)\n{\n\tint unused;\n\treturn n + 1;\n}\n"
BROKEN = "int move(int n)\n{\n\treturn moved;\n}\n"
KCONFIG = 'config A\n\tbool "A"\n\nconfig B\n\tbool "B"\n\tdepends on SMP && MMU\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "linux"
    (folder / "mm").mkdir(parents=True)
    (folder / "steer").mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "Kconfig").write_text(KCONFIG)
    (folder / "mm/userfaultfd.c").write_text(GOOD)
    return folder


@pytest.fixture
def fragment(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "base.config") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def ask(tmp_path: Path, fragment: Callable[..., Path]) -> Callable[..., BuildRequest]:
    """Make a request; each keyword replaces one of the things that decide a build's outcome."""
    base = fragment("CONFIG_A=y\nCONFIG_B=y\n")
    arch_fragment = fragment("CONFIG_ARCH=y\n", "arch.config")

    def work(
        *,
        tree: str = "t1",
        base_tree: str = "t1",
        fragments: tuple[Path, ...] = (base,),
        full: Path | None = None,
        touched: tuple[str, ...] = ("mm/userfaultfd.c",),
        config: str = "default",
        **more: Any,
    ) -> BuildRequest:
        kernel = KernelSpec("k", "path:linux")
        forced, modules = more.pop("forced", False), more.pop("modules", False)
        spec = ConfigSpec(config, fragments, full, build_mismatched=forced, modules=modules)
        spec = replace(spec, toolchain=more.pop("toolchain", spec.toolchain))
        made = KernelTree(kernel, "6.12.117", base_tree, tree, touched_files=touched)
        wanted = Build(f"k/{config}/x86_64", kernel, spec, "x86_64")
        arch = more.pop("arch", X86)
        return build_request(wanted, made, "slot-6.12", arch, arch_fragment, **more)

    return work


@pytest.fixture(autouse=True)
def names_of_trees_that_no_store_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trees here are names alone; test_stale.py has real ones."""
    monkeypatch.setattr(build.shadow, "includable", lambda _tree, _cache: "names")


@pytest.fixture
def make(source: Path, tmp_path: Path) -> Callable[..., BuildResult]:
    def work(wanted: BuildRequest, **more: Any) -> BuildResult:
        options = {"jobs": 1, "deadline": 60.0, **more}
        return build.build_kernel(wanted, source, Cache(tmp_path / "cache"), **options)

    return work


# ---------------------------------------------------------------- modules


def test_modules_are_kept_with_the_image_and_found_with_it(
    ask: Callable[..., BuildRequest],
    make: Callable[..., BuildResult],
    fragment: Callable[..., Path],
    tmp_path: Path,
) -> None:
    loads = fragment("CONFIG_A=y\nCONFIG_MODULES=y\n", "modules.config")
    wanted = ask(fragments=(loads,), modules=True, forced=True)
    assert wanted.identity != ask(fragments=(loads,), forced=True).identity
    built = make(wanted)
    assert built.verdict is Verdict.PASS
    assert built.modules
    found = build.find(wanted, Cache(tmp_path / "cache"))
    assert found is not None
    assert found.modules == built.modules
    with tarfile.open(built.modules) as archive:
        assert archive.getnames() == ["6.12.117/test_vmalloc.ko"]
    built.modules.unlink()
    assert build.find(wanted, Cache(tmp_path / "cache")) is None


def test_a_kernel_without_modules_is_not_compiled_for_a_config_with_them(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult]
) -> None:
    built = make(ask(modules=True, forced=True))
    assert built.verdict is Verdict.FAIL
    assert "`modules: true`, and CONFIG_MODULES came out n" in built.reason
    assert make(ask(forced=True)).modules is None


# ---------------------------------------------------------------- identity


def test_identity_is_stable_and_by_content(
    ask: Callable[..., BuildRequest], fragment: Callable[..., Path]
) -> None:
    same = ask().identity
    assert same == ask().identity
    one = fragment("CONFIG_B=y\n", "one.config")
    other = fragment("# a comment\nCONFIG_A=y\n", "other.config")
    assert ask(fragments=(one, other)).identity == same
    assert ask(fragments=(other, one), config="another-name").identity == same
    assert ask(base_tree="t0").identity == same


def test_identity_changes_with_what_decides(
    ask: Callable[..., BuildRequest], fragment: Callable[..., Path]
) -> None:
    full = fragment("CONFIG_A=y\nCONFIG_B=y\nCONFIG_ARCH=y\n", "full")
    found = [
        ask(),
        ask(tree="t2"),
        ask(fragments=(fragment("CONFIG_A=y\n", "less.config"),)),
        ask(full=full),
        ask(arch=replace(X86, name="other")),
        ask(make_args=("GCOV_PROFILE_userfaultfd.o=y",)),
    ]
    assert len({request.identity for request in found}) == len(found)


def test_identity_changes_with_the_compiler(
    ask: Callable[..., BuildRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ask().identity
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "gcc").write_text("#!/bin/sh\necho 'gcc (Other) 99.1.0'\necho more\n")
    (tools / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    assert ask().identity != before


def test_identity_of_builds_by_gcc_is_as_it_ever_was(ask: Callable[..., BuildRequest]) -> None:
    request = ask()
    compiler = subprocess.run(
        [X86.gcc, "--version"], capture_output=True, text=True, check=True
    ).stdout.partition("\n")[0]
    assert request.compiler == compiler
    asked = kconfig.digest(request.requests, "")
    words = ("2", "t1", asked, "x86_64", compiler)
    assert request.identity == hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


@pytest.fixture
def llvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put an LLVM on the PATH that says its version, and compiles by the host's gcc."""
    tools = tmp_path / "llvm"
    tools.mkdir()

    def write(version: str, *names: str) -> None:
        for name in names or ("clang-16", "ld.lld-16", "llvm-ar-16"):
            said = f'case "$1" in --version) echo "{name} version {version}"; exit ;; esac'
            # ccache adds a word of clang's.
            drop = 'for w; do shift; [ "$w" = -fcolor-diagnostics ] || set -- "$@" "$w"; done'
            (tools / name).write_text(f'#!/bin/sh\n{said}\n{drop}\nexec {X86.gcc} "$@"\n')
            (tools / name).chmod(0o755)
        compiler_version.cache_clear()

    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return write


CLANG = Toolchain.parse("clang-16")


def test_clang_makes_another_build_in_a_folder_of_its_own(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult],
    llvm: Callable[..., None], tmp_path: Path,
) -> None:  # fmt: skip
    llvm("16.0.1")
    first = ask(toolchain=CLANG)
    assert first.compiler == "clang-16 version 16.0.1"
    assert first.identity != ask().identity
    llvm("16.0.6", "ld.lld-16")  # the linker decides what comes out too
    assert ask(toolchain=CLANG).identity != first.identity
    make(ask())
    built = make(ask(toolchain=CLANG))
    assert built.verdict is Verdict.PASS
    assert "LLVM=-16" in shlex.split(built.command)
    assert any(w.endswith("clang-16") for w in shlex.split(built.command) if w.startswith("CC="))
    assert "CROSS_COMPILE" not in built.command
    names = sorted(path.name for path in Cache(tmp_path / "cache").objects.iterdir())
    assert names == ["slot-6.12-default-x86_64", "slot-6.12-default-x86_64--clang-16"]
    # Nothing that gcc made was taken for clang's, as another config's would have been.
    log = built.log
    assert log is not None
    assert "CC      mm/userfaultfd.o" in log.read_text()


def test_a_toolchain_that_is_missing(
    ask: Callable[..., BuildRequest], llvm: Callable[..., None]
) -> None:
    llvm("16.0.1", "clang-16")
    with pytest.raises(HostError, match=r"ld\.lld-16 and llvm-ar-16 are not installed") as caught:
        ask(toolchain=CLANG)
    assert caught.value.hint.endswith("clang-16 lld-16 llvm-16")


def test_a_compiler_that_is_too_old_for_the_kernel(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    llvm: Callable[..., None],
) -> None:  # fmt: skip
    llvm("16.0.1")
    # As scripts/cc-version.sh of 6.12 says it, and Kconfig after it.
    (source / "steer/config-error").write_text(
        "***\n*** C compiler is too old.\n***   Your Clang version:    11.0.1\n"
        "***   Minimum Clang version: 13.0.1\n***\n"
        "scripts/Kconfig.include:44: Sorry, this C compiler is not supported.\n"
    )
    with pytest.raises(HostError, match=r"Clang 11\.0\.1 is too old .* needs 13\.0\.1") as caught:
        make(ask(toolchain=CLANG))
    assert "--toolchain" in caught.value.hint


def test_identity_of_the_base_is_that_of_its_own_build(ask: Callable[..., BuildRequest]) -> None:
    assert ask(tree="t2", base_tree="t1").base_identity == ask(tree="t1").identity


def test_arch_fragment_comes_after_the_first(
    ask: Callable[..., BuildRequest], fragment: Callable[..., Path]
) -> None:
    first = fragment("CONFIG_ARCH=m\n", "first.config")
    second = fragment("CONFIG_ARCH=n\n", "second.config")

    def value(*fragments: Path, full: Path | None = None) -> list[str]:
        requests = ask(fragments=fragments, full=full).requests
        return [entry.value for entry in requests if entry.symbol == "ARCH"]

    assert value(first) == ["y"]
    assert value(first, second) == ["n"]
    # A complete .config of the user's is taken as it is.
    assert value(full=first) == []


def test_bad_fragment_is_the_users_mistake(
    ask: Callable[..., BuildRequest], fragment: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match=r"bad\.config:1"):
        ask(fragments=(fragment("A=y\n", "bad.config"),))


def test_missing_compiler(ask: Callable[..., BuildRequest]) -> None:
    with pytest.raises(HostError, match="no-such-gcc"):
        ask(arch=replace(X86, cross="no-such-"))


# ---------------------------------------------------------------- builds that work


def test_success_and_the_second_time(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    assert build.find(ask(), cache) is None
    told: list[tuple[float, str]] = []
    built = make(ask(), on_progress=lambda share, text: told.append((share, text)))
    assert (built.verdict, built.reason, built.cached) == (Verdict.PASS, "", False)
    assert built.image
    assert built.kernel_config
    assert built.log
    assert built.vmlinux
    assert built.image.read_text().endswith("-\n")
    assert built.kernel_config.read_text() == "#\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_ARCH=y\n"
    assert "CC      mm/userfaultfd.o" in built.log.read_text()
    assert built.vmlinux.read_bytes()[:4] == b"\x7fELF"
    assert built.mismatches == built.errors == built.new_warnings == ()
    assert built.seconds > 0
    assert built.cpu_seconds > 0
    assert built.command.startswith("make -C ")
    words = shlex.split(built.command)  # it can be pasted into a shell
    assert "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970" in words
    assert [text for _, text in told] == ["CC mm/userfaultfd.o", "LD vmlinux"]

    again = build.find(ask(), cache)
    assert again is not None
    assert again == replace(built, cached=True, seconds=0.0, cpu_seconds=0.0, steps=0)
    # Nothing half-made is left behind.
    assert [path.name for path in (cache.folder / "builds").iterdir()] == [ask().identity]


def test_a_lab_that_waited_takes_what_the_other_built(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path
) -> None:
    results: list[BuildResult] = []
    threads = [threading.Thread(target=lambda: results.append(make(ask()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(result.cached for result in results) == [False, True, True]
    assert len({result.image_sha256 for result in results}) == 1


def test_an_incremental_build_of_another_tree(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path
) -> None:
    first = make(ask())
    (source / "mm/userfaultfd.c").write_text(GOOD.replace("+ 1", "+ 2"))
    second = make(ask(tree="t2"))
    assert second.verdict is Verdict.PASS
    assert first.image_sha256 != second.image_sha256
    assert first.image
    assert first.image.exists()


def test_a_new_config_starts_from_another_ones_objects(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult],
    fragment: Callable[..., Path],
) -> None:  # fmt: skip
    make(ask())
    other = ask(config="no-thp", fragments=(fragment("CONFIG_A=y\n", "o.config"),))
    built = make(other)
    assert built.verdict is Verdict.PASS
    assert built.log
    assert "CC " not in built.log.read_text()
    assert built.kernel_config
    assert "CONFIG_B" not in built.kernel_config.read_text()


def test_complete_config_with_fragments_on_top(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult],
    fragment: Callable[..., Path],
) -> None:  # fmt: skip
    full = fragment("CONFIG_X=y\nCONFIG_A=n", "full")
    built = make(ask(full=full, forced=True))
    assert built.kernel_config
    assert built.kernel_config.read_text() == "CONFIG_X=y\nCONFIG_A=n\nCONFIG_A=y\nCONFIG_B=y\n"
    assert "base.config counts over full: CONFIG_A n -> y" in built.notes


# What a guest needs on x86_64, one symbol a line.
GUEST = "".join(
    f"CONFIG_{name}=y\n"
    for name in (
        "PRINTK", "TTY", "MULTIUSER", "BINFMT_ELF", "BINFMT_SCRIPT", "FUTEX", "EPOLL", "PROC_FS",
        "SYSFS", "TMPFS", "DEVTMPFS", "DEVTMPFS_MOUNT", "BLOCK", "VIRTIO_BLK", "EXT2_FS", "NET",
        "INET", "UNIX", "VIRTIO_NET", "UNIX98_PTYS", "PCI", "VIRTIO_PCI", "SERIAL_8250",
        "SERIAL_8250_CONSOLE",
    )
)  # fmt: skip


def test_a_packed_config_is_unpacked_and_has_the_name_of_what_is_in_it(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], tmp_path: Path,
    fragment: Callable[..., Path],
) -> None:  # fmt: skip
    plain = fragment(GUEST, "plain.config")
    packed = tmp_path / "config.gz"
    packed.write_bytes(gzip.compress(GUEST.encode()))
    wanted = ask(full=packed, fragments=())
    assert wanted.identity == ask(full=plain, fragments=()).identity
    built = make(wanted)
    assert (built.verdict, built.reason) == (Verdict.PASS, "")
    assert built.kernel_config
    assert built.kernel_config.read_text() == GUEST


def test_what_a_guest_lacks_stops_the_build(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], tmp_path: Path,
    fragment: Callable[..., Path],
) -> None:  # fmt: skip
    full = fragment(GUEST.replace("VIRTIO_BLK=y", "VIRTIO_BLK=m"), "my.config")
    built = make(ask(full=full, fragments=()))
    assert built.verdict is Verdict.FAIL
    assert built.reason.splitlines() == [
        "not compiled: a guest boots without modules or initramfs, and in my.config VIRTIO_BLK is "
        "m (disks); the fragment `guest` on top of it mends that: fragments: [guest]",
        "--build-mismatched builds it all the same",
    ]
    assert built.log
    assert "CONFIG_VIRTIO_BLK is m, asked for y (a guest's disks)" in built.log.read_text()
    assert "CC " not in built.log.read_text()
    forced = make(ask(full=full, fragments=(), forced=True))
    assert forced.verdict is Verdict.PASS
    assert [miss.symbol for miss in forced.mismatches] == ["VIRTIO_BLK"]
    again = build.find(ask(full=full, fragments=()), Cache(tmp_path / "cache"))
    assert again is not None
    assert (again.verdict, again.reason) == (Verdict.FAIL, built.reason)


def test_what_became_of_the_users_config_is_a_note(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path, fragment: Callable[..., Path],
) -> None:  # fmt: skip
    full = fragment(GUEST + "CONFIG_A=y\nCONFIG_B=y\nCONFIG_OLD=y\n", "my.config")
    (source / "steer/drop").write_text("CONFIG_B=\\|CONFIG_OLD")
    told: list[str] = []
    built = make(ask(full=full, fragments=()), on_note=told.append)
    assert built.verdict is Verdict.PASS
    assert built.mismatches == ()
    note = (
        "2 symbols of my.config are not in this kernel or came out otherwise: CONFIG_B y -> n "
        "(needs SMP && MMU (Kconfig)); CONFIG_OLD y -> n (this kernel has no such symbol)"
    )
    assert told == [note]
    assert built.notes == (note,)
    assert built.log
    assert "CONFIG_OLD y -> n (my.config:27): this kernel has no" in built.log.read_text()
    kept = build.find(ask(full=full, fragments=()), Cache(tmp_path / "cache"))
    assert kept is not None
    assert kept.notes == built.notes


@pytest.mark.parametrize(("version", "told"), [("6.1.9", " (made for 6.1.9)"), ("6.12.3", "")])
def test_a_config_of_another_kernel(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    fragment: Callable[..., Path], version: str, told: str,
) -> None:  # fmt: skip
    head = f"# Linux/x86 {version} Kernel Configuration\n"
    (source / "steer/drop").write_text("CONFIG_OLD")
    built = make(ask(full=fragment(f"{head}{GUEST}CONFIG_OLD=y\n", "my.config"), fragments=()))
    assert built.notes[0].startswith(f"1 symbol of my.config{told} is not in this kernel or")


def test_what_a_guest_needs_and_even_the_fragment_does_not_get(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    fragment: Callable[..., Path],
) -> None:  # fmt: skip
    full = fragment(GUEST, "my.config")
    guest = fragment("CONFIG_VIRTIO_BLK=y\n", "guest.config")
    (source / "steer/drop").write_text("CONFIG_VIRTIO_BLK")
    built = make(ask(full=full, fragments=(guest,)))
    assert built.reason.splitlines()[0] == (
        "not compiled: a guest boots without modules or initramfs, and in my.config VIRTIO_BLK is "
        "n (disks); CONFIG_VIRTIO_BLK: this kernel has no such symbol"
    )


def test_what_was_asked_for_all_the_same_needs_its_files_too(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult],
    fragment: Callable[..., Path],
) -> None:  # fmt: skip
    full = fragment('CONFIG_SYSTEM_TRUSTED_KEYS="no.pem"\n', "my.config")
    assert make(ask(full=full, fragments=())).reason.startswith("not compiled: a guest boots")
    with pytest.raises(UserError, match=r"no\.pem"):
        make(ask(full=full, fragments=(), forced=True))


def test_a_certificate_that_is_not_there_is_the_users_input(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult],
    fragment: Callable[..., Path],
) -> None:  # fmt: skip
    keys = 'CONFIG_SYSTEM_TRUSTED_KEYS="debian/certs/debian-uefi-certs.pem"\n'
    full = fragment(GUEST + keys, "my.config")
    with pytest.raises(UserError, match=r"debian-uefi-certs\.pem.*no such file") as caught:
        make(ask(full=full, fragments=()))
    assert 'CONFIG_SYSTEM_TRUSTED_KEYS=""' in caught.value.hint


def test_symbol_that_does_not_take(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    (source / "steer/drop").write_text("CONFIG_B")
    told: list[str] = []
    built = make(ask(forced=True), on_note=told.append)
    assert built.verdict is Verdict.PASS
    said = "CONFIG_B is n, asked for y (base.config:2): needs SMP && MMU (Kconfig)"
    assert told == [said]
    (missed,) = built.mismatches
    assert (missed.symbol, missed.wanted, missed.got) == ("B", "y", "n")
    assert missed.fragment == "base.config:2"
    assert missed.unmet == "needs SMP && MMU (Kconfig)"
    kept = build.find(ask(forced=True), Cache(tmp_path / "cache"))
    assert kept is not None
    assert kept.mismatches == built.mismatches
    assert kept.image is not None
    # Nobody asked for it this time: that it was built once excuses nothing.
    for refused in (build.find(ask(), Cache(tmp_path / "cache")), make(ask())):
        assert refused is not None
        assert (refused.verdict, refused.image, refused.image_sha256) == (Verdict.FAIL, None, "")
        assert refused.reason.startswith(f"not compiled: {said}\n")
        assert refused.mismatches == built.mismatches


def test_a_symbol_of_ones_own_that_does_not_take_stops_before_the_compile(
    ask: Callable[..., BuildRequest], fragment: Callable[..., Path], make: Callable[..., Any],
    source: Path, tmp_path: Path,
) -> None:  # fmt: skip
    (source / "Kconfig").write_text(f'{KCONFIG}\nconfig USERFAULTFD\n\tbool "uffd"\n')
    (source / "steer/drop").write_text("CONFIG_USERFAULTFDD")
    mine = fragment("CONFIG_A=y\nCONFIG_USERFAULTFDD=y\n", "mine.config")
    said = (
        "CONFIG_USERFAULTFDD is n, asked for y (mine.config:2): this kernel has no such symbol; "
        "did you mean CONFIG_USERFAULTFD?"
    )
    for _ in range(2):  # configured, and with the .config standing from before
        built = make(ask(fragments=(mine,)))
        assert built.verdict is Verdict.FAIL
        assert built.reason == f"not compiled: {said}\n--build-mismatched builds it all the same"
        assert [miss.symbol for miss in built.mismatches] == ["USERFAULTFDD"]
        assert said in built.log.read_text()
        assert "CC      mm/" not in built.log.read_text()
    assert build.find(ask(fragments=(mine,)), Cache(tmp_path / "cache")) is None


def test_a_symbol_of_the_labs_own_fragments_stops_nothing(
    ask: Callable[..., BuildRequest], fragment: Callable[..., Path], make: Callable[..., Any],
    source: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (source / "steer/drop").write_text("CONFIG_B")
    text = "CONFIG_A=y\nCONFIG_B=y\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setattr(kconfig, "shipped_digests", lambda: frozenset({digest}))
    told: list[str] = []
    built = make(ask(fragments=(fragment(text),)), on_note=told.append)
    assert (built.verdict, len(built.mismatches), len(told)) == (Verdict.PASS, 1, 1)
    # One letter more, and it is somebody's own.
    assert make(ask(fragments=(fragment(f"{text}# mine\n"),))).verdict is Verdict.FAIL


def test_make_arguments_reach_make(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult]
) -> None:
    built = make(ask(make_args=("EXTRA=-DNOTHING -g",)))
    assert built.verdict is Verdict.PASS
    assert "'EXTRA=-DNOTHING -g'" in built.command


# ---------------------------------------------------------------- builds that do not


def test_compile_error_blames_the_kernel(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    (source / "mm/userfaultfd.c").write_text(BROKEN)
    built = make(ask())
    assert built.verdict is Verdict.FAIL
    assert built.reason.startswith("mm/userfaultfd.c:3: error: ")
    assert "moved" in built.reason
    assert (built.errors[0].file, built.errors[0].line) == ("mm/userfaultfd.c", 3)
    assert built.image is None
    assert built.log
    assert "moved" in built.log.read_text()
    # Not kept: the next run builds again, and only this file.
    assert build.find(ask(), Cache(tmp_path / "cache")) is None
    (source / "mm/userfaultfd.c").write_text(GOOD)
    assert make(ask()).verdict is Verdict.PASS


def test_configuration_that_fails(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path
) -> None:
    make(ask())  # leaves a .config that must not be taken for the new one's
    (source / "steer/config-error").write_text("mm/Kconfig:3: syntax error\n")
    built = make(ask(tree="t2"))
    assert built.verdict is Verdict.FAIL
    assert built.reason == "the configuration failed: mm/Kconfig:3: syntax error"
    assert built.mismatches == ()


@pytest.mark.parametrize(
    ("steer", "message"), [("disk-full", "No space left on device"), ("no-flex", "flex: not found")]
)
def test_the_hosts_trouble_is_not_the_kernels(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path, steer: str, message: str,
) -> None:  # fmt: skip
    (source / "steer" / steer).touch()
    with pytest.raises(HostError, match=message) as caught:
        make(ask())
    assert caught.value.hint
    left = [path.name for path in (tmp_path / "cache/builds").iterdir()]
    assert left == [f"{ask().identity}.failed.log"]


def test_deadline_is_the_hosts_trouble(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path
) -> None:
    makefile = source / "Makefile"
    makefile.write_text(MAKEFILE.replace('@echo "  LD', '@sleep 60; echo "  LD'))
    with pytest.raises(HostError, match="did not end"):
        make(ask(), deadline=1.0)


# ---------------------------------------------------------------- builds that are cut short

# As in Kbuild each file is a target, and the link writes its target bit by bit.
LINK = r"""
bzImage Image: $(O)/arch/x86/boot/bzImage
$(O)/arch/x86/boot/bzImage: $(O)/vmlinux
	@mkdir -p $(O)/arch/x86/boot
	@sha256sum < $< > $@
$(O)/vmlinux: $(O)/mm/userfaultfd.o
	@echo "  LD      vmlinux"
	@head -c 100 $< > $@
	@if [ -e $(SRC)/steer/slow ]; then echo slow; sleep 60; fi
	@tail -c +101 $< >> $@
"""
HEAD, _, TAIL = MAKEFILE.partition("bzImage Image:")
LINKING = HEAD + LINK.lstrip() + TAIL[TAIL.index("$(O)/mm/userfaultfd.o: $(SRC)") :]


def kill_make_at(word: str) -> Callable[[float, str], None]:
    """What nobody can catch, as the out-of-memory killer or a killed lab's reaper sends it."""

    def work(_share: float, text: str) -> None:
        if word in text:
            time.sleep(0.2)  # the line comes before the deed
            for group in tuple(process._live):
                os.killpg(group, signal.SIGKILL)

    return work


def test_a_link_that_was_cut_short_is_made_again(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    (source / "Makefile").write_text(LINKING)
    good = make(ask())
    shutil.rmtree(tmp_path / "cache")
    (source / "steer/slow").touch()
    with pytest.raises(HostError, match="killed by signal 9"):
        make(ask(), on_progress=kill_make_at("LD vmlinux"))
    (objects,) = (tmp_path / "cache/obj").iterdir()
    assert (objects / "vmlinux").stat().st_size == 100  # newer than what it is made from
    (source / "steer/slow").unlink()
    again = make(ask())
    assert again.verdict is Verdict.PASS
    assert again.image_sha256 == good.image_sha256
    assert not (objects / ".lab-building").exists()


def test_deadline_in_a_link(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path
) -> None:
    (source / "Makefile").write_text(LINKING)
    (source / "steer/slow").touch()
    with pytest.raises(HostError, match="did not end"):
        make(ask(), deadline=1.0)
    (source / "steer/slow").unlink()
    built = make(ask())
    assert built.image
    assert built.vmlinux
    digest = hashlib.sha256(built.vmlinux.read_bytes()).hexdigest()
    assert built.image.read_text() == f"{digest}  -\n"


def test_what_a_cut_short_build_wrote_is_not_believed(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    make(ask())
    (objects,) = (tmp_path / "cache/obj").iterdir()
    began = time.time() - 100
    old = ("mm/old.o", "mm/.old.o.cmd", "lib/built-in.a")
    linked = ("vmlinux", ".tmp_vmlinux1", "arch/x86/boot/compressed/vmlinux.bin")
    # Kconfig's: the only trace of which symbols changed.
    kconfig = ("include/config/auto.conf", "include/config/SWAP", "include/generated/autoconf.h")
    new = ("mm/new.o", "mm/.new.o.cmd", "include/generated/bounds.h", ".config")
    for name in (*old, *linked, *kconfig, *new):
        (objects / name).parent.mkdir(parents=True, exist_ok=True)
        (objects / name).write_text("half")
        age = -50 if name in (*kconfig, *new) else 50
        os.utime(objects / name, (began - age, began - age))
    (objects / "source").symlink_to(source)
    (objects / ".lab-building").touch()
    os.utime(objects / ".lab-building", (began, began))
    with building(objects) as whole:
        left = {str(path.relative_to(objects)) for path in objects.rglob("*")}
        assert left.issuperset((*old, *kconfig, "source", ".lab-lock", ".lab-building"))
        assert left.isdisjoint((*linked, *new))
        assert (objects / ".lab-building").stat().st_mtime > began + 50
        whole()
    assert (source / "mm/userfaultfd.c").exists()
    assert make(ask(tree="t2")).verdict is Verdict.PASS


def test_a_compile_error_is_no_reason_for_distrust(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    (source / "mm/userfaultfd.c").write_text(BROKEN)
    make(ask())
    assert not list((tmp_path / "cache/obj").glob("*/.lab-building"))
    (source / "steer/disk-full").touch()
    (source / "mm/userfaultfd.c").write_text(GOOD)
    with pytest.raises(HostError):
        make(ask())
    assert list((tmp_path / "cache/obj").glob("*/.lab-building"))


def test_a_build_that_was_cut_short_is_no_model(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    make(ask())
    (objects,) = (tmp_path / "cache/obj").iterdir()
    (objects / "mm/userfaultfd.o").write_bytes(b"half")
    (objects / ".lab-building").touch()
    built = make(ask(config="no-thp", make_args=("EXTRA=-O1",)))
    assert built.verdict is Verdict.PASS
    assert built.log
    assert "CC " in built.log.read_text()


def test_the_kernels_own_tools_are_not_made_anew_in_a_copy(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    model, copy = (cache.build_folder("slot", name, "x86_64") for name in ("default", "default-2"))
    recipe = model / "tools/objtool/.check.o.cmd"
    recipe.parent.mkdir(parents=True)
    said = "cmd_{0}/tools/objtool/check.o := gcc -Wp,-MD,{0}/tools/objtool/.check.o.d {1}-2/x.c\n"
    recipe.write_text(said.format(model, model))
    os.utime(recipe, (1000, 1000))
    (model / "vmlinux").touch()
    assert build_folder(cache, "slot", "default-2", "x86_64", "", pytest.fail) == copy
    moved = copy / recipe.relative_to(model)
    assert moved.read_text() == said.format(copy, model)
    assert moved.stat().st_mtime == 1000
    assert recipe.read_text() == said.format(model, model)


def test_half_copies_of_a_killed_lab_go_and_others_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with workplace(cache.folder / "obj" / "x") as alive:
        for kind in ("obj", "builds"):
            (cache.folder / kind / "x.dead.new").mkdir(parents=True)
            (cache.folder / kind / "x.dead.new.lock").touch()
        assert clean_scratch(cache) == 2
        assert alive.is_dir()
        assert sorted(path.name for path in (cache.folder / "obj").iterdir()) == [
            alive.name,
            f"{alive.name}.lock",
        ]
    assert list((cache.folder / "obj").iterdir()) == list((cache.folder / "builds").iterdir()) == []


def test_cache_that_cannot_be_written(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/builds").write_text("a file where a folder should be")
    with pytest.raises(HostError):
        make(ask())


# ---------------------------------------------------------------- warnings


def test_only_warnings_that_the_series_brought(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    (source / "mm/userfaultfd.c").write_text(WARNS)
    base = make(ask(touched=()))
    assert base.new_warnings == ()  # an old warning in a file that nobody touched
    # A line further down, and one more: the first is known, wherever it stands now.
    more = "int other(void)\n{\n\tint fresh;\n\treturn 0;\n}\n"
    (source / "mm/userfaultfd.c").write_text("\n" + WARNS + more)
    wanted = ask(tree="t2", base_tree="t1")
    built = make(wanted)
    assert [(w.file, w.line, w.severity) for w in built.new_warnings] == [
        ("mm/userfaultfd.c", 9, "warning")
    ]
    assert "fresh" in built.new_warnings[0].text
    again = build.find(wanted, Cache(tmp_path / "cache"))
    assert again is not None
    assert again.new_warnings == built.new_warnings
    assert again.notes == built.notes == ()
    elsewhere = make(ask(tree="t3", base_tree="t1", touched=("mm/other.c",)))
    assert elsewhere.new_warnings == ()


def test_warnings_of_objects_that_are_not_compiled_again(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path
) -> None:
    make(ask(touched=()))
    (source / "mm/userfaultfd.c").write_text(WARNS)
    first = make(ask(tree="t2", base_tree="t1"))
    second = make(ask(tree="t3", base_tree="t1", touched=("mm/userfaultfd.c", "mm/other.c")))
    assert first.log is not None
    assert second.log is not None
    assert ("CC " in first.log.read_text(), "CC " in second.log.read_text()) == (True, False)
    assert first.new_warnings == second.new_warnings != ()
    (source / "mm/userfaultfd.c").write_text(BROKEN)
    assert make(ask(tree="t4", base_tree="t1")).verdict is Verdict.FAIL
    (source / "mm/userfaultfd.c").write_text(GOOD + "\n")
    assert make(ask(tree="t5", base_tree="t1")).new_warnings == ()


def test_warnings_whose_age_is_not_known(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    (source / "mm/userfaultfd.c").write_text(WARNS)
    alone = make(ask(tree="t2", base_tree="t1"))
    assert len(alone.new_warnings) == 1
    assert alone.notes == (build.BASE_UNKNOWN,)
    # The base: nothing to compile, so nothing to warn of, in a folder that an earlier lab made.
    for noted in tmp_path.glob("cache/obj/*/.lab-warnings"):
        noted.unlink()
    make(ask(touched=()))
    again = make(ask(tree="t2", base_tree="t1"))
    assert again.cached
    assert again.notes == (build.BASE_UNSEEN,)


# ---------------------------------------------------------------- what was kept and is damaged


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '"x"', "{}", '{"image_sha256": "0"}', "\x00\x00"],
)
def test_damaged_record(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], tmp_path: Path,
    content: str,
) -> None:  # fmt: skip
    wanted = ask()
    folder = tmp_path / "cache/builds" / wanted.identity
    folder.mkdir(parents=True)
    (folder / "build.json").write_text(content)
    (folder / "image").write_text("image")
    (folder / "config").write_text("")
    assert build.find(wanted, Cache(tmp_path / "cache")) is None


@pytest.mark.parametrize("damage", ["mismatches", "warnings", "image", "gone", "config"])
def test_damaged_parts(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], tmp_path: Path,
    damage: str,
) -> None:  # fmt: skip
    wanted = ask()
    built = make(wanted)
    assert built.image
    folder = built.image.parent
    record = folder / "build.json"
    if damage == "image":
        built.image.write_bytes(built.image.read_bytes()[:5])
    elif damage == "gone":
        built.image.unlink()
    elif damage == "config":
        (folder / "config").unlink()
    else:
        record.write_text(json.dumps(json.loads(record.read_text()) | {damage: [{"no": 1}]}))
    assert build.find(wanted, Cache(tmp_path / "cache")) is None
    assert make(wanted).verdict is Verdict.PASS
    assert build.find(wanted, Cache(tmp_path / "cache")) is not None


def test_what_was_built_from_a_changed_tree_is_not_kept(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], tmp_path: Path
) -> None:
    wanted = ask()
    with pytest.raises(HostError, match="somebody else changed files"):
        make(wanted, intact=lambda: False)
    assert build.find(wanted, Cache(tmp_path / "cache")) is None
    assert make(wanted).verdict is Verdict.PASS


def test_a_changed_tree_that_does_not_build_is_not_the_series_fault(
    ask: Callable[..., BuildRequest], make: Callable[..., BuildResult], source: Path
) -> None:
    (source / "mm/userfaultfd.c").write_text(BROKEN)
    with pytest.raises(HostError, match="somebody else changed files"):
        make(ask(), intact=lambda: False)
