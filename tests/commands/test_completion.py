# SPDX-License-Identifier: GPL-2.0-only
"""``lab completion``: printed, and put where the shells look."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.commands.completion import SCRIPTS, ZSH_SYSTEM, place


def test_where_each_shell_looks() -> None:
    env = {"HOME": "/h"}
    assert place("bash", env, False) == Path("/h/.local/share/bash-completion/completions/lab")
    assert place("fish", env, True) == Path("/h/.config/fish/completions/lab.fish")
    assert place("zsh", env, False) == Path("/h/.local/share/zsh/site-functions/_lab")
    assert place("zsh", env, True) == ZSH_SYSTEM / "_lab"
    env |= {"XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c"}
    assert place("bash", env, False) == Path("/d/bash-completion/completions/lab")
    assert place("fish", env, False) == Path("/c/fish/completions/lab.fish")
    env["BASH_COMPLETION_USER_DIR"] = "/b"
    assert place("bash", env, False) == Path("/b/completions/lab")


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_installed(lab, tmp_path, monkeypatch, shell) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = lab("completion", shell, "--install")
    (written,) = [path for path in tmp_path.rglob("lab*") if path.is_file() and "lab/" not in
                  str(path.relative_to(tmp_path))]  # fmt: skip
    assert (done.status, written.read_text()) == (0, SCRIPTS[shell])
    assert str(written) in done.out
    assert lab("completion", shell).out == SCRIPTS[shell]


def test_a_user_of_zsh_is_told_the_line(lab, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said = lab("completion", "zsh", "--install").out
    assert f"fpath+=({tmp_path}/.local/share/zsh/site-functions)" in said


def test_what_cannot_be_written_is_told(lab, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BASH_COMPLETION_USER_DIR", str(tmp_path / "file"))
    done = lab("completion", "bash", "--install")
    assert done.status == 3
    assert "cannot write" in done.err
