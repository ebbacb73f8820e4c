# SPDX-License-Identifier: GPL-2.0-only
"""`lab doctor`, the table of host tools, and orphans."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.commands import doctor
from orchestrator.commands.doctor import Check
from orchestrator.host import process, reaper
from orchestrator.host import tools as hosttools
from orchestrator.host.tools import Need, Tool
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError


@pytest.fixture
def healthy(monkeypatch):
    """A host on which everything that would be asked answers well."""
    monkeypatch.setattr(Tool, "present", lambda _self: True)
    monkeypatch.setattr(process, "find_tool", lambda name: f"/usr/bin/{name}")
    answers = {"netdev": "Available netdev backend types:\nsocket\nuser\n"}

    def ask(argv, _input=None):
        return SimpleNamespace(text=answers["netdev"] if "-netdev" in argv else "")

    monkeypatch.setattr(doctor, "_ask", ask)
    monkeypatch.setattr(doctor.debian, "candidate", lambda _name: "6.12.1-1")
    monkeypatch.setattr(
        "orchestrator.guest.accel.choose", lambda *_: SimpleNamespace(name="tcg", reason="no KVM")
    )
    monkeypatch.setattr(doctor, "orphans", lambda: ())
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    free = SimpleNamespace(free=100 << 30)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: free)
    return SimpleNamespace(answers=answers, free=free)


def found(lab, name: str) -> dict[str, str]:
    checks = json.loads(lab("doctor", "--json").out)["checks"]
    return next(check for check in checks if check["name"] == name)


def test_all_is_well(lab, healthy):
    done = lab("doctor")
    assert done.status == 0, done.out
    assert done.out.splitlines()[-1] == "all is well"


@pytest.mark.parametrize("need", list(Need))
def test_each_missing_program_is_named_with_its_command(need, lab, healthy, monkeypatch):
    tools = [tool for tool in hosttools.tools() if tool.need is need]
    names = {tool.name for tool in tools}
    monkeypatch.setattr(Tool, "present", lambda self: self.name not in names)
    done = lab("doctor")
    for tool in tools:
        assert f" {tool.name}: not installed" in done.out
        if need is not Need.OPTIONAL:
            assert f"mend it with: apt-get install -y --no-install-recommends {tool.package}\n" in (
                done.out
            )
    assert done.status == (3 if need is Need.REQUIRED else 0)
    if need is not Need.OPTIONAL and len(names) > 1:
        assert "all packages at once: " in done.out


def test_a_wrong_lab_yaml_is_one_of_its_findings(lab, healthy, folder):
    (folder / "lab.yaml").write_text("version: 1\nbogus: 2\n")
    assert found(lab, "lab.yaml")["state"] == "bad"
    (folder / "lab.yaml").unlink()
    assert "lab init" in found(lab, "lab.yaml")["fix"]
    assert lab("doctor").status == 3


def test_qemu_without_user_network(lab, healthy):
    healthy.answers["netdev"] = "Available netdev backend types:\nsocket\n"
    assert "slirp" in found(lab, "qemu-system-x86_64 network")["text"]


def test_programs_that_do_not_work(lab, healthy, monkeypatch):
    monkeypatch.setattr(doctor, "_ask", lambda *_: "cannot find -lc")
    assert found(lab, "gcc -static")["state"] == "bad"
    assert "libc6-dev" in found(lab, "gcc -static")["fix"]
    assert "--reinstall" in found(lab, "qemu-system-aarch64 starts")["fix"]
    assert lab("doctor").status == 3


def test_which_accelerator_is_a_note(lab, healthy, monkeypatch):
    assert found(lab, "accelerator arm64")["text"] == "tcg (no KVM)"

    def fail(*_):
        raise HostError("no room for the probe")

    monkeypatch.setattr("orchestrator.guest.accel.choose", fail)
    assert found(lab, "accelerator arm64")["state"] == "warn"


def test_a_kernel_that_apt_does_not_know(lab, healthy, monkeypatch):
    def unknown(name):
        raise UserError(f"apt knows no package {name}")

    monkeypatch.setattr(doctor.debian, "candidate", unknown)
    check = found(lab, "linux-source-6.12")
    assert (check["state"], check["fix"]) == ("bad", "apt-get update")


def test_a_disk_that_is_too_small(lab, healthy, tmp_path):
    healthy.free.free = 5 << 30
    assert found(lab, "disk")["state"] == "bad"
    (tmp_path / "cache" / "kernels.git").mkdir(parents=True)
    assert found(lab, "disk")["state"] == "ok"
    healthy.free.free = 1 << 30
    assert "lab gc" in found(lab, "disk")["fix"]


def test_a_cache_that_cannot_be_written(lab, healthy, monkeypatch):
    monkeypatch.setenv("LAB_CACHE", "/proc/lab")
    check = found(lab, "cache")
    assert check["state"] == "bad"
    assert "LAB_CACHE" in check["fix"]


def test_what_killed_labs_left(lab, healthy, monkeypatch, tmp_path):
    (tmp_path / "cache" / "tmp" / "kernel-dead").mkdir(parents=True)
    monkeypatch.setattr(doctor, "orphans", lambda: (17, 18))
    assert found(lab, "leftover files")["fix"] == "lab gc"
    assert found(lab, "leftover processes")["fix"] == "kill -9 17 18"
    assert lab("doctor").status == 0


@pytest.mark.parametrize(
    ("files", "text", "fix"),
    [
        (
            {"/proc/sys/kernel/unprivileged_userns_clone": "0\n"},
            "switched off",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"},
            "switched off",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({}, "/etc/subuid gives me no ids", "sudo usermod --add-subuids 100000-165535 me"),
        (
            {"/etc/subuid": "me:100000:65536\n"},
            "/etc/subgid gives me no ids",
            "sudo usermod --add-subgids 100000-165535 me",
        ),
        ({"/etc/subuid": "me:1:2\n", "/etc/subgid": "me:1:2\n"}, "usable", ""),
    ],
)
def test_roots_without_being_root(files, text, fix, lab, healthy, monkeypatch):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "_user_name", lambda: "me")
    monkeypatch.setattr(doctor, "_read", lambda path: files.get(str(path), ""))
    (check,) = doctor._user_namespaces()
    assert check == Check("user namespaces", "bad" if fix else "ok", check.text, fix)
    assert text in check.text


@pytest.mark.parametrize(
    ("have", "wanted", "fits"),
    [
        ("8.1", ">=8.1", True),
        ("8.1.7", ">=8.1", True),
        ("10.0", ">=8.1", True),
        ("8.0.9", ">=8.1", False),
        ("1.9", "==1.9", True),
        ("1.9.1", "==1.9", True),
        ("1.8", "==1.9", False),
        ("3.2", "", True),
        ("3.2", ">=3,<4", True),
    ],
)
def test_versions(have, wanted, fits):
    assert doctor._fits(have, wanted) is fits


def test_for_scripts(lab, healthy):
    told = json.loads(lab("doctor", "--json").out)
    assert told["exit_status"] == 0
    assert {"name", "state", "text", "fix"} == set(told["checks"][0])
    assert lab("doctor", "--packages").out.split() == list(hosttools.packages())


# ---------------------------------------------------------------- the table


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


# ---------------------------------------------------------------- orphans


def test_orphans_are_those_whose_reaper_is_gone(tmp_path):
    def put(pid: int, cmdline: bytes, environ: bytes) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(cmdline)
        (folder / "environ").write_bytes(environ)

    put(10, b"python3\0-I\0-S\0/lab/orchestrator/reaper.py\0aaaa\0", b"PATH=/bin\0")
    put(11, b"qemu-system-x86_64\0-name\0lab\0", b"PATH=/bin\0LAB_TOKEN=aaaa\0")
    put(12, b"qemu-system-x86_64\0-name\0lab\0", b"LAB_TOKEN=bbbb\0PATH=/bin\0")
    put(13, b"cc1\0", b"LAB_TOKEN=bbbb")
    put(14, b"bash\0", b"NOT_LAB_TOKEN=bbbb\0")
    put(15, b"", b"")
    (tmp_path / "16").mkdir()  # gone between listing and reading
    assert reaper.orphans(tmp_path) == (12, 13)


def test_a_living_labs_children_are_no_orphans():
    with process.start(["sleep", "20"]) as child:
        assert child.pid not in reaper.orphans()
    assert os.getpid() not in reaper.orphans()
