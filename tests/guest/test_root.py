# SPDX-License-Identifier: GPL-2.0-only
"""The guests' root image: made once, from a script that needs none of the user's files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.guest import root
from orchestrator.host import process
from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import locked
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What mmdebstrap was asked for; it is played by a function that writes its last argument."""
    made: list[list[str]] = []

    def run(argv: list[Any], **_: object) -> None:
        made.append([str(word) for word in argv])
        Path(argv[-1]).write_bytes(b"ext2")

    monkeypatch.setattr(process, "run", run)
    return made


def option(call: list[str], name: str) -> str:
    return next(word.partition("=")[2] for word in call if word.startswith(f"--{name}="))


@pytest.mark.parametrize("arch", ARCHES.values(), ids=list(ARCHES))
def test_made_once(arch: Any, tmp_path: Path, calls: list[list[str]]) -> None:
    image = root.ensure_root(arch, Cache(tmp_path))
    assert image.read_bytes() == b"ext2"
    assert root.ensure_root(arch, Cache(tmp_path)) == image
    (call,) = calls
    assert option(call, "architectures") == arch.debian
    assert "--variant=extract" in call  # no program of a foreign architecture runs
    assert call[-1].endswith(".ext2")
    assert sorted(path.suffix for path in (tmp_path / "roots").iterdir()) == [".ext2", ".lock"]


def test_an_image_that_is_there_waits_for_nobody(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    arch = ARCHES["x86_64"]
    image = root.ensure_root(arch, Cache(tmp_path))
    os.utime(image, (0, 0))
    monkeypatch.setattr(root, "LOCK_DEADLINE", 0.0)
    with locked(tmp_path / "roots/x86_64.lock", deadline=1):
        assert root.ensure_root(arch, Cache(tmp_path)) == image
        image.unlink()
        told: list[str] = []
        with pytest.raises(HostError, match="the x86_64 guest root was in use"):
            root.ensure_root(arch, Cache(tmp_path), told.append)
        assert told
        assert not image.exists()  # marking it as used makes no empty one
    image.parent.joinpath("x86_64-0.new.ext2").write_bytes(b"half")
    root.ensure_root(arch, Cache(tmp_path))
    assert sorted(path.name for path in image.parent.iterdir()) == [image.name, "x86_64.lock"]


def test_the_script_names_no_file_of_the_users(tmp_path: Path, calls: list[list[str]]) -> None:
    # mmdebstrap runs it, for a plain user, as somebody who may not look into a home folder.
    root.ensure_root(ARCHES["x86_64"], Cache(tmp_path))
    hook = option(calls[0], "extract-hook")
    assert str(tmp_path) not in hook
    assert str(Path(root.__file__).parent) not in hook
    assert subprocess.run(["sh", "-n", "-c", hook], check=False, timeout=10).returncode == 0
    init = Path(root.__file__).with_name("init.sh").read_text()
    assert f"<<'LAB_INIT_ENDS'\n{init}LAB_INIT_ENDS\n" in hook


def test_the_script_does_its_work(tmp_path: Path, calls: list[list[str]]) -> None:
    root.ensure_root(ARCHES["x86_64"], Cache(tmp_path))
    tree = tmp_path / "tree with a space"
    for folder in ("etc", "sbin", "bin", "usr/share/doc", "var/cache", "usr/lib/python3.99/test"):
        (tree / folder).mkdir(parents=True)
    done = subprocess.run(
        ["sh", "-c", option(calls[0], "extract-hook"), "exec", tree],
        capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tree / "sbin/lab-init").stat().st_mode & 0o777 == 0o755
    assert (tree / "sbin/lab-init").read_text() == (
        Path(root.__file__).with_name("init.sh").read_text()
    )
    assert (tree / "etc/passwd").read_text().startswith("root:*:")  # no password opens it
    assert not (tree / "usr/share/doc").exists()
    assert not (tree / "usr/lib/python3.99/test").exists()
    assert (tree / "bin/sh").is_symlink()


def test_another_recipe_is_another_image(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = root.ensure_root(ARCHES["x86_64"], Cache(tmp_path))
    monkeypatch.setattr(root, "PACKAGES", (*root.PACKAGES, "libnuma1"))
    assert root.ensure_root(ARCHES["x86_64"], Cache(tmp_path)) != first


def test_the_users_path_does_not_matter(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = root.ensure_root(ARCHES["x86_64"], Cache(tmp_path))
    monkeypatch.setattr(root.shutil, "which", lambda name: "/elsewhere/python3")
    assert root.ensure_root(ARCHES["x86_64"], Cache(tmp_path)) == first


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"I: ok\nE: apt-get update failed\nW: later\n", "E: apt-get update failed"),
        (b"something else\n", "something else"),
        (b"", "guest root: "),
    ],
)
def test_a_mirror_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, reason: str
) -> None:
    def run(argv: list[Any], **_: object) -> None:
        Path(argv[-1]).write_bytes(b"half")
        raise process.CommandFailed(process.Completed(("mmdebstrap",), 25, b"", said, 1.0))

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(HostError) as caught:
        root.ensure_root(ARCHES["arm64"], Cache(tmp_path))
    assert reason in caught.value.message
    assert "arm64" in caught.value.message
    assert [path.name for path in (tmp_path / "roots").iterdir()] == ["arm64.lock"]


@pytest.mark.parametrize("left", [b"ext1", b"ex", b""])
def test_a_damaged_image_is_made_again(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    image = root.ensure_root(ARCHES["x86_64"], Cache(tmp_path))
    monkeypatch.setattr(seals, "_sound", set())  # as the next lab finds it
    image.write_bytes(left)
    assert root.ensure_root(ARCHES["x86_64"], Cache(tmp_path)).read_bytes() == b"ext2"
    assert len(calls) == 2
