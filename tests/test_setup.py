# SPDX-License-Identifier: GPL-2.0-only
"""tools/setup.sh, with players in the parts of apt, sudo and id."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator import HOME

KNOWN = "linux-source-6.12:\n  Installed: (none)\n  Candidate: 6.12.117-1\n"
UNKNOWN = "linux-source-6.12:\n  Installed: (none)\n  Candidate: (none)\n"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A copy of the tree as far as set-up looks at it; nothing is missing, .venv is there."""
    folder = tmp_path / "lab"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(HOME / "tools/setup.sh", folder / "tools")
    (folder / "orchestrator/host").mkdir(parents=True)
    (folder / "orchestrator/host/tools.py").write_text("")
    for name in ("pyproject.toml", "requirements.lock"):
        (folder / name).write_text("")
    (folder / ".venv").mkdir()
    (folder / ".venv/.lab-setup").touch()
    (tmp_path / "bin").mkdir()
    return folder


def play(lab: Path, ci: str = "", **programs: str) -> subprocess.CompletedProcess[str]:
    """Set up; what each program was asked for is in the output."""
    folder = lab.parent / "bin"
    for name, body in {"apt-get": "", "apt-cache": f"echo '{KNOWN}'", **programs}.items():
        script = f'#!/bin/sh\n[ {name} = id ] || echo "{name}: $*" >> {lab}/calls\n{body}\n'
        (folder / name.replace("_", "-")).write_text(script)
        (folder / name.replace("_", "-")).chmod(0o755)
    return subprocess.run(
        [lab / "tools/setup.sh"], env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin", "CI": ci},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def calls(lab: Path, program: str) -> list[str]:
    found = (lab / "calls").read_text().splitlines() if (lab / "calls").exists() else []
    return [line for line in found if line.startswith(f"{program}: ")]


def test_nothing_to_do(lab: Path) -> None:
    done = play(lab, id="echo 0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert calls(lab, "apt-get") == []


def test_an_image_without_package_lists_gets_them(lab: Path) -> None:
    (lab / ".venv/.lab-setup").unlink()
    (lab / ".venv/bin").mkdir()
    (lab / ".venv/bin/python").symlink_to("/bin/true")
    done = play(lab, **{"apt-cache": f"echo '{UNKNOWN}'", "id": "echo 0", "python3": ""})
    assert done.returncode == 0, done.stderr
    assert calls(lab, "apt-get") == ["apt-get: update -q"]


def test_lists_that_nobody_may_update_are_no_end(lab: Path) -> None:
    (lab / ".venv/.lab-setup").unlink()
    (lab / ".venv/bin").mkdir()
    (lab / ".venv/bin/python").symlink_to("/bin/true")
    programs = {"apt-cache": f"echo '{UNKNOWN}'", "id": "echo 1000", "python3": "", "sudo": "false"}
    done = play(lab, **programs)
    assert done.returncode == 0
    assert "as root, run apt-get update" in done.stderr
    assert calls(lab, "apt-get") == []


def test_sudo_without_a_password_needs_no_terminal(lab: Path) -> None:
    (lab / "orchestrator/host/tools.py").write_text("print('flex bison')")
    done = play(lab, id="echo 1000", sudo='[ "$1" != -n ] || shift; exec "$@"')
    assert done.returncode == 0, done.stderr
    assert calls(lab, "apt-get") == [
        "apt-get: update -q",
        "apt-get: install -y --no-install-recommends flex bison",
    ]


def test_sudo_with_a_password_and_no_terminal_says_what_to_do(lab: Path) -> None:
    (lab / "orchestrator/host/tools.py").write_text("print('flex')")
    done = play(lab, id="echo 1000", sudo='[ "$1" != -n ]')
    assert done.returncode == 3
    assert "apt-get install -y --no-install-recommends flex" in done.stderr
    assert calls(lab, "apt-get") == []


def test_an_installation_that_fails(lab: Path) -> None:
    (lab / "orchestrator/host/tools.py").write_text("print('flex')")
    done = play(lab, **{"id": "echo 0", "apt-get": "exit 100"})
    assert done.returncode == 3


def environment(lab: Path, ends: str = "") -> None:
    """No .venv yet; the python3 that makes it plays too, and knows of a missing package."""
    (lab / ".venv/.lab-setup").unlink()
    (lab / ".venv/bin").mkdir()
    (lab / ".venv/bin/python").write_text(f'#!/bin/sh\necho "venv: $*" >> {lab}/calls\n{ends}\n')
    (lab / ".venv/bin/python").chmod(0o755)


MISSING = 'case "$*" in *--missing) echo flex ;; esac'


def test_who_may_install_nothing_gets_an_environment_all_the_same(lab: Path) -> None:
    environment(lab)
    done = play(lab, id="echo 1000", sudo="false", python3=MISSING)
    assert done.returncode == 3
    assert "as root, run: apt-get update" in done.stderr
    assert "flex" in done.stderr
    assert ".venv/bin/lab plan" in done.stderr
    assert calls(lab, "python3")[-2] == "python3: -m venv .venv"
    locked, itself = calls(lab, "venv")
    assert "--require-hashes" in locked
    assert locked.endswith("--requirement requirements.lock")
    assert "--no-deps --no-build-isolation" in itself
    # It is there now: what is missing is asked for again, and the lists that never were looked at.
    done = play(lab, **{"id": "echo 0", "python3": MISSING, "apt-cache": f"echo '{UNKNOWN}'"})
    assert done.returncode == 0, done.stderr
    assert len(calls(lab, "venv")) == 2
    assert calls(lab, "apt-get") == [
        "apt-get: update -q",
        "apt-get: install -y --no-install-recommends flex",
        "apt-get: update -q",
    ]


def test_an_environment_that_fails_promises_nothing(lab: Path) -> None:
    environment(lab, "exit 1")
    done = play(lab, id="echo 0", python3=MISSING)
    assert done.returncode == 1
    assert "lab plan" not in done.stderr
    assert not (lab / ".venv/.lab-setup").exists()


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_change_of_what_is_needed_sets_up_again(lab: Path, name: str) -> None:
    environment(lab)
    (lab / ".venv/.lab-setup").touch()
    os.utime(lab / ".venv/.lab-setup", (1_000_000_000, 1_000_000_000))
    for other in ("requirements.lock", "pyproject.toml"):
        os.utime(lab / other, (999_999_999, 999_999_999))
    assert play(lab, id="echo 0", python3="").returncode == 0
    assert calls(lab, "venv") == []
    os.utime(lab / name, (1_000_000_001, 1_000_000_001))
    assert play(lab, id="echo 0", python3="").returncode == 0
    assert len(calls(lab, "venv")) == 2
    assert play(lab, id="echo 0", python3="").returncode == 0
    assert len(calls(lab, "venv")) == 2


def test_completion_is_installed_with_the_lab_and_where_there_is_the_shell(lab: Path) -> None:
    (lab / ".venv/.lab-setup").unlink()
    (lab / ".venv/bin").mkdir()
    (lab / ".venv/bin/python").symlink_to("/bin/true")
    (lab / ".venv/bin/lab").write_text(f'#!/bin/sh\necho "lab: $*" >> {lab}/calls\nexit 3\n')
    (lab / ".venv/bin/lab").chmod(0o755)
    done = play(lab, id="echo 0", python3="", fish="")
    assert done.returncode == 0, done.stderr
    asked = calls(lab, "lab")
    assert "lab: completion bash --install" in asked
    assert "lab: completion fish --install" in asked
    (lab / "calls").unlink()
    assert play(lab, id="echo 0", python3="", fish="").returncode == 0
    assert calls(lab, "lab") == []


def test_ci_gets_what_only_tests_ask(lab: Path) -> None:
    done = play(lab, ci="true", id="echo 0", zsh="", fish="", groff="")
    assert (done.returncode, calls(lab, "apt-get")) == (0, [])
    for name in ("zsh", "fish", "groff"):
        (lab.parent / "bin" / name).unlink()
    done = play(lab, ci="true", id="echo 0")
    assert done.returncode == 0
    missing = [name for name in ("zsh", "fish", "groff") if not Path(f"/usr/bin/{name}").exists()]
    assert len(calls(lab, "apt-get")) == (2 if missing else 0)


def test_the_man_page_is_put_where_man_looks(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(lab.parent / "my home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    (lab / "docs").mkdir()
    (lab / "docs/lab.1").write_text("page")
    own = lab / ".venv/share/man/man1/lab.1"
    users = lab.parent / "my home/.local/share/man/man1/lab.1"
    told = play(lab, id="echo 0").stdout
    assert told == f"setup: wrote .venv/share/man/man1/lab.1\nsetup: wrote {users}\n"
    assert own.read_text() == users.read_text() == "page"
    assert play(lab, id="echo 0").stdout == ""
    users.unlink()
    monkeypatch.delenv("HOME")
    assert play(lab, id="echo 0").stdout == ""


@pytest.mark.skipif(not shutil.which("man"), reason="needs man")
def test_man_finds_the_page_of_a_lab_that_is_on_path(lab: Path) -> None:
    (lab / "docs").mkdir()
    (lab / "docs/lab.1").write_text((HOME / "docs/lab.1").read_text())
    (lab / ".venv/bin").mkdir()
    assert play(lab, id="echo 0").returncode == 0
    env = {"PATH": f"{lab}/.venv/bin:/usr/bin:/bin", "HOME": str(lab)}
    found = subprocess.run(["man", "-w", "lab"], env=env, capture_output=True, text=True)
    assert found.stdout == f"{lab}/.venv/share/man/man1/lab.1\n"
