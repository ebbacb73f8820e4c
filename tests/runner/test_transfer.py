# SPDX-License-Identifier: GPL-2.0-only
"""Files into a guest and out of it, with a shell of the host in the guest's part."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.guest.seed import Keys
from orchestrator.model.errors import UserError
from orchestrator.runner import session, transfer
from orchestrator.runner.transfer import NotMoved, Pull, Push, parse_pull, parse_push


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A guest whose /root is a folder here, with a busybox that is the host's tar."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "bin/busybox").chmod(0o755)
    line = f"PATH={tmp_path}/bin:$PATH; cd {root}; "
    monkeypatch.setattr(
        session, "ssh_command", lambda _port, _key, _pin, words: ["sh", "-c", line + words[0]]
    )
    return SimpleNamespace(port=1, keys=Keys(tmp_path / "id", "QUJD"), root=root)


def test_what_a_push_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a:b").touch()
    Path("dir").mkdir()
    assert parse_push("a:b") == Push(Path("a:b"), "a:b")
    assert parse_push("a:b:/tmp/c") == Push(Path("a:b"), "/tmp/c")
    assert parse_push("dir:/tmp/") == Push(Path("dir"), "/tmp/dir")
    assert parse_push("./dir/") == Push(Path("dir"), "dir")
    with pytest.raises(UserError, match="--push none:/x: there is no none"):
        parse_push("none:/x")
    for nothing in (":x", ":", ""):  # would be the current folder
        with pytest.raises(UserError, match=f"--push {nothing}: which file of this machine"):
            parse_push(nothing)


def test_what_a_pull_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dir").mkdir()
    assert parse_pull("/var/log/x") == Pull("/var/log/x", Path("x"))
    assert parse_pull("out/:dir") == Pull("out/", Path("dir/out"))
    assert parse_pull("x:dir/y") == Pull("x", Path("dir/y"))
    assert parse_pull("/a/../x:dir").goal == Path("dir/x")
    for wrong in ("x:no/such/y", "x:no/such/", "", ":y", "/", ".."):
        with pytest.raises(UserError, match="--pull"):
            parse_pull(wrong)


def test_there_and_back(guest, tmp_path: Path) -> None:
    source = tmp_path / "my files"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a b").write_text("text")
    program = tmp_path / "prog"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    goal = "in/some 'where'"
    transfer.push(guest, tmp_path, [Push(source, goal), Push(program, "p")])
    assert (guest.root / goal / "sub" / "a b").read_text() == "text"
    assert (guest.root / "p").stat().st_mode & stat.S_IXUSR
    for _ in range(2):  # what is there is written over
        transfer.pull(guest, tmp_path, Pull(goal, tmp_path / "back"))
        transfer.pull(guest, tmp_path, Pull(f"{goal}/sub/a b", tmp_path / "one"))
    assert (tmp_path / "back" / "sub" / "a b").read_text() == "text"
    assert (tmp_path / "one").read_text() == "text"


def test_a_large_file_goes_whole(guest, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(80 << 20)
        file.write(b"end")
    transfer.push(guest, tmp_path, [Push(big, "big")])
    transfer.pull(guest, tmp_path, Pull("big", tmp_path / "again"))
    assert (tmp_path / "again").stat().st_size == big.stat().st_size


def test_what_cannot_be_moved_is_told(guest, tmp_path: Path) -> None:
    with pytest.raises(NotMoved, match=r"no none out of the guest: tar: .*none"):
        transfer.pull(guest, tmp_path, Pull("none", tmp_path / "x"))
    (guest.root / "file").touch()
    (tmp_path / "f").touch()
    with pytest.raises(NotMoved, match="the guest did not take"):
        transfer.push(guest, tmp_path, [Push(tmp_path / "f", "file/below")])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").mkdir()
    with pytest.raises(NotMoved, match="cannot write"):
        transfer.pull(guest, tmp_path, Pull("file", tmp_path / "f" / "x"))


def test_a_guests_names_stay_within(guest, tmp_path: Path) -> None:
    """A link out of the folder is taken as a link, and nothing is written through it."""
    out = guest.root / "out"
    out.mkdir()
    (out / "link").symlink_to(tmp_path)
    transfer.pull(guest, tmp_path, Pull("out", tmp_path / "got"))
    assert (tmp_path / "got" / "link").is_symlink()
    assert (tmp_path / "got" / "link").readlink() == tmp_path
