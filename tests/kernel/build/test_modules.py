# SPDX-License-Identifier: GPL-2.0-only
"""Modules are built where they are asked for, and packed as a guest has them."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.host.walls import Around
from orchestrator.kernel.build import modules
from orchestrator.model.errors import HostError
from orchestrator.model.spec import ConfigSpec

WITHOUT = ConfigSpec("c")
WITH = replace(WITHOUT, modules=True)

# modules_install of the kernel, in short: two links to this host, and lists for modprobe.
MAKEFILE = """
modules_install:
	@if [ -e refuse ]; then echo "modules: no space"; exit 2; fi
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/6.12.117/kernel/lib
	@ln -s /home/me/linux $(INSTALL_MOD_PATH)/lib/modules/6.12.117/build
	@echo kernel/lib/test_vmalloc.ko > $(INSTALL_MOD_PATH)/lib/modules/6.12.117/modules.order
	@echo "stripped $(INSTALL_MOD_STRIP), depmod $(DEPMOD)" \\
		> $(INSTALL_MOD_PATH)/lib/modules/6.12.117/kernel/lib/test_vmalloc.ko
"""


def test_only_a_config_that_asks_has_any() -> None:
    assert modules.targets(WITHOUT) == ()
    assert modules.targets(WITH) == ("modules",)


def test_a_kernel_that_loads_none_is_the_users_mistake() -> None:
    assert modules.problem(WITHOUT, {}) == ""
    assert modules.problem(WITH, {"MODULES": "y"}) == ""
    assert "CONFIG_MODULES came out n" in modules.problem(WITH, {})


def test_the_archive_has_what_belongs_below_lib_modules(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    work = tmp_path / "work"
    work.mkdir()
    modules.pack(["make", "-C", str(tmp_path)], work, tmp_path / "log", lambda _: Around())
    with tarfile.open(work / modules.ARCHIVE) as archive:
        names = archive.getnames()
        text = archive.extractfile("6.12.117/kernel/lib/test_vmalloc.ko")
        assert text is not None
        assert text.read() == b"stripped 1, depmod true\n"
    assert names == ["6.12.117/kernel/lib/test_vmalloc.ko", "6.12.117/modules.order"]


def test_the_same_modules_are_the_same_archive(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        modules.pack(
            ["make", "-C", str(tmp_path)], tmp_path / name, tmp_path / "log", lambda _: Around()
        )
        made.append((tmp_path / name / modules.ARCHIVE).read_bytes())
    assert made[0] == made[1]


def test_what_make_does_not_install_is_told(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "refuse").touch()
    with pytest.raises(HostError, match="modules_install"):
        modules.pack(["make", "-C", str(tmp_path)], tmp_path, tmp_path / "log", lambda _: Around())
    assert "no space" in (tmp_path / "log").read_text()
