# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel and its series come from, as lab.yaml names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.errors import UserError
from orchestrator.plan.kernels import SOURCE_FORMS, resolve_series, resolve_source


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "linux").mkdir()
    (tmp_path / "l.tar.xz").write_text("")
    assert resolve_source("path:linux", tmp_path) == f"path:{tmp_path}/linux"
    assert resolve_source("path:.", tmp_path / "linux") == f"path:{tmp_path}/linux"
    assert resolve_source("tar:l.tar.xz", tmp_path) == f"tar:{tmp_path}/l.tar.xz"
    assert resolve_source("git:linux#v6.12", tmp_path) == f"git:{tmp_path}/linux#v6.12"
    assert resolve_source("linux", tmp_path) == f"path:{tmp_path}/linux"
    assert resolve_source("../linux/", tmp_path / "linux") == f"path:{tmp_path}/linux"
    remote = "git:https://example.org/linux.git#master"
    assert resolve_source(remote, tmp_path) == remote
    assert resolve_source("git:git@example.org:linux#a/b", tmp_path).endswith("linux#a/b")
    assert (
        resolve_series("git:linux#v6.12..HEAD~2", tmp_path) == f"git:{tmp_path}/linux#v6.12..HEAD~2"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "linux",
        "path:",
        "tar:",
        "git:#x",
        "git:.#--upload-pack=x",
        "git:-x#y",
        "git:ext::sh#y",
        "git:.#a b",
        "debian:",
        "debian:6",
        "debian:6.12=",
        "debian:6.12=-o x",
        "path:a\0b",
        "path:a\nb",
        "path:~nobody-of-this-name/x",
        "path:" + "a" * 5000,
    ],
)
def test_no_sources(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        resolve_source(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("linuxx", "there is no folder linuxx"),
        ("linux/Makefile", "linux/Makefile is a file, not a kernel tree"),
        ("path:linux/Makefile", "linux/Makefile is a file, not a kernel tree"),
        ("ubuntu:6.12", "'ubuntu:6.12' is no kernel source"),
    ],
)
def test_what_is_no_tree_is_told_with_the_forms(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux/Makefile").touch()
    with pytest.raises(UserError) as error:
        resolve_source(text, tmp_path)
    assert error.value.message == told
    assert error.value.hint == f"write {SOURCE_FORMS}"


@pytest.mark.parametrize(
    "text", ["", "nope", "git:.#a", "git:.#..", "git:.#-a..b", "git:x#a..b", "\0"]
)
def test_no_series(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        resolve_series(text, tmp_path)
