# SPDX-License-Identifier: GPL-2.0-only
"""The table of host tools."""

import subprocess
import sys
from pathlib import Path

from orchestrator.host import tools as hosttools
from orchestrator.host.tools import Need, Tool
from orchestrator.model.arch import ARCHES


def test_every_architecture_has_its_compiler_and_qemu():
    for machine in ("x86_64", "aarch64"):
        names = {tool.name for tool in hosttools.tools(machine)}
        assert {arch.qemu for arch in ARCHES.values()} <= names
        assert any("gcc" in name and name != "gcc" for name in names)
    assert {arch.gcc for arch in ARCHES.values()} <= {tool.name for tool in hosttools.tools()}


def test_the_table_is_in_order():
    names = [tool.name for tool in hosttools.TOOLS]
    assert len(set(names)) == len(names)
    assert all(tool.why for tool in hosttools.TOOLS)
    optional = {tool.package for tool in hosttools.TOOLS if tool.need is Need.OPTIONAL}
    assert not optional & set(hosttools.packages())


def test_what_is_missing(monkeypatch):
    monkeypatch.setattr(Tool, "present", lambda self: self.package not in ("lz4", "dwarves"))
    assert hosttools.missing() == ("lz4",)


def test_how_a_tool_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not Tool("some-tool", "p", "w").present()
    (tmp_path / "some-tool").write_text("#!/bin/sh\n")
    (tmp_path / "some-tool").chmod(0o755)
    assert Tool("some-tool", "p", "w").present()
    assert Tool("headers", "p", "w", files=(f"{tmp_path}/some-*",)).present()
    assert not Tool("headers", "p", "w", files=(f"{tmp_path}/other-*",)).present()
    assert Tool("module", "p", "w", module="json").present()
    assert not Tool("module", "p", "w", module="no_such_module").present()


def test_setup_can_ask_before_anything_is_installed():
    script = Path(hosttools.__file__)

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-I", "-S", str(script), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=20)

    assert ask("--packages").stdout.split() == list(hosttools.packages())
    assert ask("--missing").stdout.split() == list(hosttools.missing())
    assert ask().stdout == ask("--missing").stdout
    assert ask("--bogus").returncode != 0
