# SPDX-License-Identifier: GPL-2.0-only
"""When Kconfig is asked again, and when what stands there is believed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.host.walls import Around
from orchestrator.kernel.build import configure
from orchestrator.kernel.build.kconfig import Request
from orchestrator.kernel.build.request import BuildRequest
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec

MAKE = """#!/bin/sh
echo run >> "$COUNT"
[ -e "$FAILS" ] && { echo "mm/Kconfig:3: syntax error"; exit 1; }
for word; do case $word in KCONFIG_ALLCONFIG=*) from=${word#*=};; esac; done
cp "$from" "$OBJECTS/.config"
"""
BUILD = Build("k/default/x86_64", KernelSpec("k", "path:x"), ConfigSpec("default"), "x86_64")
ASKED = (Request("A", "y", "base.config", 1),)


class Bench:
    """A build folder, a tree that can be edited, and a make that counts how often it ran."""

    def __init__(self, folder: Path, cache: Cache, tree: Callable[[], str]) -> None:
        self.folder = folder
        self.cache = cache
        self.tree = tree
        self.intact = True
        self.objects = folder / "objects"
        self.objects.mkdir()
        self.make = folder / "make"
        self.make.write_text(MAKE)
        self.make.chmod(0o755)

    def ran(self) -> int:
        count = self.folder / "count"
        return len(count.read_text().split()) if count.exists() else 0

    def __call__(
        self, key: str = "k", requests: tuple[Request, ...] = ASKED, tree: str = ""
    ) -> str:
        wanted = BuildRequest(
            BUILD, KernelTree(BUILD.kernel, "6.12", "", tree or self.tree()), "slot",
            ARCHES["x86_64"], requests, "identity", "", key,
        )  # fmt: skip
        command = [
            "env", f"COUNT={self.folder}/count", f"FAILS={self.folder}/fails",
            f"OBJECTS={self.objects}", str(self.make),
        ]  # fmt: skip
        log = self.folder / "log"
        problem = configure.configure(wanted, command, self.objects, self.cache, log, Around())
        if self.intact:
            configure.vouch(self.objects)
        return problem


@pytest.fixture
def bench(tmp_path: Path, cache, fetch, kernel) -> Bench:
    (tmp_path / "bench").mkdir()
    return Bench(tmp_path / "bench", cache, lambda: fetch(f"path:{kernel}").tree)


def test_asked_once_for_one_tree(bench: Bench) -> None:
    assert (bench(), bench()) == ("", "")
    assert bench.ran() == 1
    assert (bench.objects / ".config").read_text() == "CONFIG_A=y\n"


@pytest.mark.parametrize("name", ["mm/userfaultfd.c", "include/linux/new.h", "Documentation/x.rst"])
def test_not_asked_again_after_an_edit_of_code(bench: Bench, kernel: Path, name: str) -> None:
    bench()
    (kernel / name).parent.mkdir(parents=True, exist_ok=True)
    (kernel / name).write_text("/* another */\n")
    bench()
    assert bench.ran() == 1


@pytest.mark.parametrize(
    "name", ["Kconfig", "mm/Kconfig.debug", "Makefile", "scripts/cc-version.sh", "scripts/x.c",
             "scripts/Kconfig.include", "tools/x.h", "arch/x86/Makefile"],
)  # fmt: skip
def test_asked_again_when_what_it_reads_changed(bench: Bench, kernel: Path, name: str) -> None:
    bench()
    file = kernel / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text((file.read_text() if file.exists() else "") + "# another\n")
    bench()
    assert bench.ran() == 2


def test_asked_again_when_a_kconfig_file_is_gone(bench: Bench, kernel: Path) -> None:
    bench()
    (kernel / "Kconfig").unlink()
    bench()
    assert bench.ran() == 2


def test_asked_again_for_another_key_or_a_touched_config(bench: Bench) -> None:
    bench()
    bench(key="other compiler")
    assert bench.ran() == 2
    (bench.objects / ".config").write_text("CONFIG_A=n\n")
    bench(key="other compiler")
    assert bench.ran() == 3
    (bench.objects / ".config").unlink()
    bench(key="other compiler")
    assert bench.ran() == 4


def test_asked_again_when_the_mark_says_nothing(bench: Bench) -> None:
    bench()
    mark = bench.objects / configure.MARK
    good = json.loads(mark.read_text())
    for text in ("", "[]", "{}", json.dumps(good | {"tree": "0" * 40}), json.dumps({"tree": 3})):
        mark.write_text(text)
        before = bench.ran()
        assert bench() == ""
        assert bench.ran() == before + 1


def test_what_failed_is_not_believed(bench: Bench) -> None:
    bench()
    (bench.folder / "fails").touch()
    assert bench(key="x") == "the configuration failed: mm/Kconfig:3: syntax error"
    assert bench() == "the configuration failed: mm/Kconfig:3: syntax error"
    (bench.folder / "fails").unlink()
    assert bench() == ""
    assert bench.ran() == 4


def test_what_nobody_vouched_for_is_asked_again(bench: Bench) -> None:
    """The lab was killed, or the source turned out to be changed by somebody."""
    bench.intact = False
    bench()
    bench()
    assert bench.ran() == 2
    bench.intact = True
    bench()
    bench()
    assert bench.ran() == 3


def test_a_killed_make_is_the_hosts_doing(bench: Bench) -> None:
    bench.make.write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(HostError, match="killed by signal 9"):
        bench()
    assert not os.path.lexists(bench.objects / configure.MARK)
