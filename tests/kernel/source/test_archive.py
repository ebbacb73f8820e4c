# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources from an archive, which may be hostile."""

# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import io
import tarfile

import pytest
from fake_kernel import make_tar

from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.scratch import clean_leftovers
from orchestrator.kernel.source import store
from orchestrator.kernel.source.fetch import fetch_base
from orchestrator.kernel.source.worktree import checkout
from orchestrator.model.errors import UserError
from orchestrator.model.spec import KernelSpec


def names(tree: str, cache: Cache) -> set[str]:
    return set(store.git(cache, "ls-tree", "-r", "--name-only", tree).text.splitlines())


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives_of_any_compression(kernel, tmp_path, fetch, cache, mode):
    archive = make_tar(tmp_path / "a.tar", kernel, "linux-6.12.117", mode)
    base = fetch(f"tar:{archive}")
    assert base.tree == fetch(f"path:{kernel}").tree
    assert (base.version, base.slot) == ("6.12.117", "tar-6.12")
    with checkout(base.tree, base.slot, cache) as folder:
        assert (folder / "scripts/run.sh").stat().st_mode & 0o100


def test_an_archive_without_top_folder(kernel, tmp_path, fetch):
    archive = make_tar(tmp_path / "a.tar", kernel, ".")
    assert fetch(f"tar:{archive}").tree == fetch(f"path:{kernel}").tree


def test_the_second_time_reads_nothing_and_a_new_file_is_new(kernel, tmp_path, cache, fetch):
    archive = make_tar(tmp_path / "a.tar", kernel, "l")
    one = fetch(f"tar:{archive}")
    told: list[str] = []
    assert fetch_base(KernelSpec("k", f"tar:{archive}"), cache, told.append, 30) == one
    assert told == []
    (kernel / "Kconfig").write_text("changed\n")
    make_tar(archive, kernel, "l")
    assert fetch(f"tar:{archive}").tree != one.tree


def add(tar: tarfile.TarFile, name: str, data: bytes = b"x", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data) if "type" not in fields else 0
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("../evil", {}),
        ("l/../../evil", {}),
        ("/evil", {}),
        ("l/.git/config", {}),
        ("l/x", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("l/x", {"type": tarfile.SYMTYPE, "linkname": "../x"}),
        ("l/x", {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"}),
    ],
)
def test_hostile_archives_are_refused(kernel, tmp_path, fetch, name, fields):
    archive = tmp_path / "in/a.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as tar:
        tar.add(kernel, arcname="l")
        add(tar, name, **fields)
    with pytest.raises(UserError):
        fetch(f"tar:{archive}")
    assert not list(tmp_path.rglob("evil"))


def test_odd_but_honest_members(kernel, tmp_path, fetch, cache):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(kernel, arcname="l")
        add(tar, 'l/a "quoted"\\ name\nä', b"odd")
        add(tar, "l/hard", type=tarfile.LNKTYPE, linkname="l/Kconfig")
        add(tar, "l/fifo", type=tarfile.FIFOTYPE)
        add(tar, "l/way", type=tarfile.SYMTYPE, linkname="mm")
        add(tar, "l/way/evil", b"a file below what was a link")
    base = fetch(f"tar:{archive}")
    assert store.read_file(base.tree, 'a "quoted"\\ name\nä', cache) == b"odd"
    assert store.read_file(base.tree, "hard", cache) == b'mainmenu "Linux"\n'
    assert store.read_file(base.tree, "mm/evil", cache) is None
    assert "fifo" not in names(base.tree, cache)


@pytest.mark.parametrize("cut", [0, 100, 700, -300])
def test_a_cut_archive_is_the_users_error(kernel, tmp_path, fetch, cache, cut):
    archive = make_tar(tmp_path / "a.tar.xz", kernel, "l")
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"a\.tar\.xz"):
        fetch(f"tar:{archive}")
    assert clean_leftovers(cache) == 0


def test_an_archive_cut_between_two_members_is_noticed(kernel, tmp_path, fetch):
    archive = make_tar(tmp_path / "a.tar", kernel, "l", "w")
    with tarfile.open(archive) as tar:
        last = tar.getmembers()[-1]
    archive.write_bytes(archive.read_bytes()[: last.offset])
    with pytest.raises(UserError, match="cut short"):
        fetch(f"tar:{archive}")


def test_no_archive_at_all(tmp_path, fetch):
    (tmp_path / "x").write_text("hello " * 1000)
    for source, said in (("x", "cannot be read as an archive"), ("y", "cannot be read: No such")):
        with pytest.raises(UserError, match=said):
            fetch(f"tar:{tmp_path}/{source}")
    with pytest.raises(UserError, match="is no file"):
        fetch(f"tar:{tmp_path}")
