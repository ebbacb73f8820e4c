# SPDX-License-Identifier: GPL-2.0-only
"""`lab doctor`: what is looked at, and what is told."""

import json
import platform
from types import SimpleNamespace

import pytest

from orchestrator import HOME
from orchestrator.commands import asking, doctor, doctor_cache, doctor_guests, doctor_walls
from orchestrator.commands.asking import Check
from orchestrator.host import process
from orchestrator.host import tools as hosttools
from orchestrator.host.tools import Need, Tool
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.walls import WallsSpec

MINE = next(arch for arch in ARCHES.values() if platform.machine() in arch.kvm_hosts)


@pytest.fixture
def healthy(monkeypatch):
    """A host on which everything that would be asked answers well."""
    monkeypatch.setattr(Tool, "present", lambda _self: True)
    monkeypatch.setattr(process, "find_tool", lambda name: f"/usr/bin/{name}")
    answers = {"netdev": "Available netdev backend types:\nsocket\nuser\n"}

    def ask(argv, _input=None):
        return SimpleNamespace(text=answers["netdev"] if "-netdev" in argv else "")

    monkeypatch.setattr(asking, "ask", ask)
    monkeypatch.setattr(doctor.debian, "candidate", lambda _name: "6.12.1-1")
    monkeypatch.setattr(
        "orchestrator.guest.accel.choose", lambda *_: SimpleNamespace(name="tcg", reason="no KVM")
    )
    monkeypatch.setattr(doctor_cache, "orphans", lambda: ())
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    free = SimpleNamespace(free=100 << 30)
    monkeypatch.setattr(doctor_cache.shutil, "disk_usage", lambda _path: free)
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


@pytest.mark.parametrize("lacking", [Need.REQUIRED, Need.USEFUL])
def test_the_last_line_counts_the_lines_above(lacking, lab, healthy, monkeypatch):
    needs = (lacking, Need.OPTIONAL)
    monkeypatch.setattr(Tool, "present", lambda self: self.need not in needs)
    *lines, last = lab("doctor").out.splitlines()
    heads = [line.split(" ")[0] for line in lines]
    told = heads.count("warn") + heads.count("note")
    assert heads.count("note") > 1
    assert last == f"{heads.count('bad')} to mend, {told} to know about"


def test_a_wrong_lab_yaml_is_one_of_its_findings(lab, healthy, folder):
    (folder / "lab.yaml").write_text("version: 1\nbogus: 2\n")
    check = found(lab, "lab.yaml")
    assert check["state"] == "bad"
    assert check["fix"] == f"${{EDITOR:-vi}} {folder}/lab.yaml"
    assert lab("doctor").status == 3


def test_without_a_lab_yaml_the_labs_own_serves(lab, healthy, folder, monkeypatch):
    (folder / "lab.yaml").unlink()
    check = found(lab, "lab.yaml")
    assert (check["state"], check["fix"]) == ("note", "")
    assert f"the lab's own, {HOME / 'lab.yaml'}, serves with --source" in check["text"]
    assert "lab init" in check["text"]
    assert lab("doctor").status == 0
    monkeypatch.setenv("LAB_YAML", "gone.yaml")
    check = found(lab, "lab.yaml")
    assert (check["state"], check["fix"]) == ("bad", "unset LAB_YAML")
    assert lab("doctor").status == 3


def test_qemu_without_user_network(lab, healthy):
    healthy.answers["netdev"] = "Available netdev backend types:\nsocket\n"
    assert "slirp" in found(lab, "qemu-system-x86_64 network")["text"]


def test_the_walls_are_told(lab, healthy, folder, monkeypatch):
    monkeypatch.setattr(doctor_walls.walls, "bubblewrap_works", lambda: True)
    assert found(lab, "wall: qemu-system-x86_64")["state"] == "ok"
    assert found(lab, "wall: limits")["state"] == "ok"
    assert "as root" in found(lab, "wall: user")["text"]
    assert found(lab, "wall: builds")["state"] == "note"
    text = (folder / "lab.yaml").read_text()
    (folder / "lab.yaml").write_text(f"{text}\nrun_as: nobody\nbuild_sandbox: bubblewrap\n")
    assert found(lab, "wall: user") == {
        "name": "wall: user", "state": "ok", "text": "guests and builds run as nobody", "fix": "",
    }  # fmt: skip
    assert found(lab, "wall: builds")["state"] == "ok"
    assert doctor_walls.walls.standing() == WallsSpec(), "doctor builds nothing"


def test_walls_that_cannot_be_had_are_to_be_mended(lab, healthy, folder, monkeypatch):
    monkeypatch.setattr(doctor_walls.walls, "bubblewrap_works", lambda: False)
    text = (folder / "lab.yaml").read_text()
    (folder / "lab.yaml").write_text(f"{text}\nrun_as: no-such\nbuild_sandbox: bubblewrap\n")
    monkeypatch.setattr(asking, "ask", lambda *_: "-sandbox support is not enabled")
    assert "not enabled" in found(lab, "wall: qemu-system-aarch64")["text"]
    assert "adduser --system no-such" in found(lab, "wall: user")["fix"]
    assert "bubblewrap" in found(lab, "wall: builds")["fix"]
    assert lab("doctor").status == 3


def test_programs_that_do_not_work(lab, healthy, monkeypatch):
    monkeypatch.setattr(asking, "ask", lambda *_: "cannot find -lc")
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
    monkeypatch.setattr(doctor_cache, "orphans", lambda: (17, 18))
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
    monkeypatch.setattr(asking, "user_name", lambda: "me")
    monkeypatch.setattr(asking, "read", lambda path: files.get(str(path), ""))
    (check,) = doctor_guests._user_namespaces()
    assert check == Check("user namespaces", "bad" if fix else "ok", check.text, fix)
    assert text in check.text


def test_who_may_open_kvm(lab, healthy, monkeypatch):
    name = f"accelerator {MINE.name}"
    assert found(lab, name) == {"name": name, "state": "note", "text": "tcg (no KVM)", "fix": ""}
    monkeypatch.setattr("orchestrator.guest.accel.device_problem", lambda: "not yours")
    monkeypatch.setattr("orchestrator.guest.accel.device_group", lambda: "kvm")
    monkeypatch.setattr(asking, "user_name", lambda: "me")
    check = found(lab, name)
    assert (check["state"], check["fix"]) == (
        "warn", "sudo usermod -aG kvm me  # then log in anew",
    )  # fmt: skip
    monkeypatch.setattr(asking, "members", lambda _group: ["me"])
    assert found(lab, name)["fix"] == "newgrp kvm"
    assert lab("doctor").status == 0


def test_without_loopback_no_guest_is_reached(lab, healthy, monkeypatch):
    def refuse():
        raise HostError("guests are reached over 127.0.0.1, and nothing is here", "ip link")

    assert found(lab, "loopback")["state"] == "ok"
    monkeypatch.setattr(doctor_guests, "check_loopback", refuse)
    assert found(lab, "loopback")["state"] == "bad"
    assert lab("doctor").status == 3


@pytest.mark.parametrize("name", ["my cache", "a:b", "file", "~nobody-of-that-name"])
def test_a_place_where_no_cache_can_be(name, lab, healthy, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("LAB_CACHE", name if name[0] == "~" else str(tmp_path / name))
    before = sorted(tmp_path.rglob("*"))
    assert found(lab, "cache")["state"] == "bad"
    assert "LAB_CACHE" in found(lab, "cache")["fix"]
    assert sorted(tmp_path.rglob("*")) == before
    for command in (
        ("run", "--arch", "x86_64"),
        ("shell",),
        ("build",),
        ("gc",),
        ("gc", "--dry-run"),
    ):
        done = lab(*command)
        assert done.status == 2, done.err
        assert "LAB_CACHE" in done.err
    assert (tmp_path / "file").read_text() == "x"


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


def test_what_configs_name_beside_gcc(lab, healthy, folder, monkeypatch):
    text = (folder / "lab.yaml").read_text()
    assert "toolchain" not in lab("doctor").out
    config = "  by-clang: {fragments: [base], toolchain: clang-16, only_arch: [x86_64]}"
    (folder / "lab.yaml").write_text(text.replace("\nconfigs:\n", f"\nconfigs:\n{config}\n"))
    assert found(lab, "toolchain clang-16")["state"] == "ok"
    have = process.find_tool
    monkeypatch.setattr(process, "find_tool", lambda name: None if "lld" in name else have(name))
    check = found(lab, "toolchain clang-16")
    # No profile has it: whoever needs it asks for it by name.
    assert check["state"] == "note"
    assert check["text"].startswith("ld.lld-16 not installed (packages clang-16, lld-16, llvm-16)")
    assert check["text"].endswith("the configs by-clang")
    assert check["fix"].endswith("clang-16 lld-16 llvm-16")
