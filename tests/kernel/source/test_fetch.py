# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from fake_kernel import commit_all, snapshot, user_git, write_kernel

from orchestrator.host.cache.files import Cache, need_space
from orchestrator.host.cache.locks import locked
from orchestrator.host.cache.scratch import clean_leftovers, scratch
from orchestrator.kernel.source import git, store
from orchestrator.kernel.source.fetch import fetch_base
from orchestrator.kernel.source.worktree import checkout
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import KernelSpec


def names(tree: str, cache: Cache) -> set[str]:
    return set(store.git(cache, "ls-tree", "-r", "--name-only", tree).text.splitlines())


# ---------------------------------------------------------------- path:


def test_a_tree_is_imported_and_never_written_to(kernel, fetch, cache):
    before = snapshot(kernel)
    base = fetch(f"path:{kernel}")
    assert (base.version, base.commit, base.notes) == ("6.12.117", "", ())
    assert base.slot.startswith("path-")
    assert fetch(f"path:{kernel}") == base
    assert snapshot(kernel) == before
    assert store.read_file(base.tree, "Kconfig", cache) == b'mainmenu "Linux"\n'
    assert store.read_file(base.tree, "nowhere", cache) is None
    assert store.read_file(base.tree, "mm", cache) is None


def test_a_users_repository_is_never_written_to(kernel, fetch):
    commit = commit_all(kernel, "all")
    (kernel / ".git/hooks").mkdir(exist_ok=True)
    hook = kernel / ".git/hooks/post-index-change"
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    user_git(kernel, "config", "core.fsmonitor", "touch ran; true")
    os.utime(kernel / "Makefile")  # git would like to refresh its index now
    before = snapshot(kernel)
    base = fetch(f"path:{kernel}")
    assert base.commit == commit
    assert snapshot(kernel) == before


def test_edits_are_seen_and_told(kernel, fetch, cache):
    commit = commit_all(kernel, "all")
    clean = fetch(f"path:{kernel}")
    (kernel / "mm/new.c").write_text("int x;\n")
    (kernel / "Kconfig").unlink()
    edited = fetch(f"path:{kernel}")
    assert edited.slot == clean.slot
    assert edited.commit == ""
    assert edited.notes == (f"the tree differs from its HEAD, {commit[:12]}",)
    assert store.touched_files(clean.tree, edited.tree, cache) == ("Kconfig", "mm/new.c")


def test_build_products_are_left_out_and_tracked_files_are_not(kernel, fetch, cache):
    (kernel / "scripts/firmware.o").write_text("tracked, although *.o is ignored")
    commit_all(kernel, "all")
    user_git(kernel, "add", "-f", "scripts/firmware.o")
    user_git(kernel, "commit", "-q", "-m", "more")
    for product in (".config", "vmlinux", "mm/userfaultfd.o", "mm/.userfaultfd.o.cmd"):
        (kernel / product).write_text("built")
    (kernel / ".git/info/exclude").write_text("/mine\n")
    (kernel / "mine").write_text("private")
    base = fetch(f"path:{kernel}")
    assert base.tree == user_git(kernel, "rev-parse", "HEAD^{tree}")
    assert base.commit
    assert "scripts/firmware.o" in names(base.tree, cache)


def test_a_gitignore_of_everything_is_not_followed(kernel, fetch, cache):
    # As Debian's source packages have it.
    (kernel / ".gitignore").write_text("*.o\n/*\n!/debian/\n")
    base = fetch(f"path:{kernel}")
    assert "mm/userfaultfd.c" in names(base.tree, cache)
    assert "not followed" in base.notes[0]
    (kernel / ".config").write_text("CONFIG_X=y\n")
    with pytest.raises(UserError, match="was built in"):
        fetch(f"path:{kernel}")


def test_a_linked_work_tree_is_a_tree(repo, tmp_path, fetch):
    user_git(repo, "worktree", "add", "-q", str(tmp_path / "linked"), "HEAD~1")
    base = fetch(f"path:{tmp_path}/linked")
    assert base.commit == user_git(repo, "rev-parse", "HEAD~1")


def test_the_store_may_vanish(kernel, fetch, cache):
    base = fetch(f"path:{kernel}")
    subprocess.run(["rm", "-rf", str(cache.folder / "kernels.git")], check=True)
    assert fetch(f"path:{kernel}").tree == base.tree
    assert store.read_file(base.tree, "mm/userfaultfd.c", cache)


def test_what_is_no_kernel(tmp_path, fetch, kernel):
    with pytest.raises(UserError, match="is no folder"):
        fetch(f"path:{tmp_path}/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no Makefile"):
        fetch(f"path:{tmp_path}/empty")
    (kernel / "Makefile").write_text("all:\n\techo hello\n")
    with pytest.raises(UserError, match=r"lab\.yaml:3: .* is no Linux source"):
        fetch(f"path:{kernel}")


@pytest.mark.parametrize("source", ["", "linux", "path:", "svn:x", ":x", "debian"])
def test_unknown_sources_name_the_known_ones(source, fetch):
    with pytest.raises(UserError, match=r"lab\.yaml:3: .* is no kernel source") as caught:
        fetch(source)
    assert "debian:6.12" in caught.value.hint


# ---------------------------------------------------------------- git:


def test_a_commit_of_a_repository(repo, fetch, cache):
    before = snapshot(repo)
    base = fetch(f"git:{repo}#main~1")
    assert base.commit == user_git(repo, "rev-parse", "main~1")
    assert base.tree == user_git(repo, "rev-parse", "main~1^{tree}")
    assert base.source == f"git:{repo}#{base.commit}"
    assert fetch(f"git:{repo}#main~1") == base
    newer = fetch(f"git:{repo}")
    assert newer.commit == user_git(repo, "rev-parse", "HEAD")
    assert newer.slot == base.slot
    assert {*snapshot(repo)} == {*before}
    assert store.touched_files(base.tree, newer.tree, cache) == ("mm/userfaultfd.c",)


def test_without_ref_the_base_commit_is_taken_if_there(repo, fetch):
    older = user_git(repo, "rev-parse", "HEAD~2")
    assert fetch(f"git:{repo}", base_commit=older).commit == older
    assert fetch(f"git:{repo}#main", base_commit=older).commit != older
    base = fetch(f"git:{repo}", base_commit="f" * 40)
    assert base.commit == user_git(repo, "rev-parse", "HEAD")
    assert "HEAD taken" in base.notes[0]


def test_a_bare_repository_and_a_file_url(repo, tmp_path, fetch):
    user_git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    user_git(tmp_path / "bare.git", "tag", "-a", "-m", "x", "v6.12.117", "main~1")
    commit = user_git(repo, "rev-parse", "main~1")
    assert fetch(f"git:{tmp_path}/bare.git#v6.12.117").commit == commit
    assert fetch(f"git:file://{tmp_path}/bare.git#v6.12.117").commit == commit


@pytest.mark.parametrize("ref", ["nowhere", "--upload-pack=x", "-x", "HEAD:mm", "main main"])
def test_a_ref_that_is_none(repo, fetch, ref):
    with pytest.raises(UserError, match="has no commit"):
        fetch(f"git:{repo}#{ref}")


def test_a_server_tells_its_refs(repo, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    user_git(repo, "tag", "-a", "-m", "x", "v6.12", "main~2")
    user_git(repo, "branch", "x/main", "main~1")
    url = f"file://{repo}"
    assert git.remote_commit(cache, url, "main", 30) == user_git(repo, "rev-parse", "main")
    tagged = user_git(repo, "rev-parse", "main~2")
    assert git.remote_commit(cache, url, "v6.12", 30) == tagged
    assert git.remote_commit(cache, url, "a" * 40, 30) == "a" * 40
    with pytest.raises(UserError, match="has no branch or tag 'nope'"):
        git.remote_commit(cache, url, "nope", 30)
    with pytest.raises(HostError):
        git.remote_commit(cache, f"file://{tmp_path}/none", "main", 30)
    with pytest.raises(UserError):
        git.fetch_commit(cache, url, "a" * 40, print, 30)


@pytest.mark.parametrize("url", ["ext::sh -c 'touch ran'", "-x", "--upload-pack=touch ran:x"])
def test_a_url_is_no_command(url, fetch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, HostError)):
        fetch(f"git:{url}#main")
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize(
    ("where", "local"),
    [
        ("/a/b", True), ("a/b", True), ("file:///a", True), ("https://x/y.git", False),
        ("git@x:y.git", False), ("./a:b", True),
    ],
)  # fmt: skip
def test_folder_or_url(where, local):
    assert git.is_local(where) is local


# ---------------------------------------------------------------- tar:


def make_tar(path: Path, folder: Path, top: str, mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as tar:
        tar.add(folder, arcname=top)
    return path


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


# ---------------------------------------------------------------- debian:

POLICY = """\
linux-source-6.12:
  Installed: (none)
  Candidate: 6.12.117-1~deb12u1
  Version table:
     6.12.117-1~deb12u1 500
"""
MADISON = "".join(
    f"linux-source-6.12 | {v} | http://deb.debian.org/debian-security Packages\n"
    for v in ("6.12.117-1~deb12u1", "6.12.115-2~deb12u1")
)


@pytest.fixture
def apt(tmp_path, kernel, monkeypatch) -> Path:
    """Stand-ins for apt-get and apt-cache that serve a real, small package; count downloads."""
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: linux-source-6.12\nVersion: 6.12.117-1~deb12u1\nArchitecture: all\n"
        "Maintainer: x <x@example.org>\nDescription: x\n"
    )
    (package / "usr/src").mkdir(parents=True)
    make_tar(package / "usr/src/linux-source-6.12.tar.xz", kernel, "linux-source-6.12")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", package, tmp_path / "served.deb"],
        check=True, capture_output=True,
    )  # fmt: skip
    tools = tmp_path / "bin"
    tools.mkdir()
    (tmp_path / "policy").write_text(POLICY)
    (tmp_path / "madison").write_text(MADISON)
    (tools / "apt-cache").write_text(
        f'#!/bin/sh\ncase "$1" in\npolicy) cat {tmp_path}/policy;;\n'
        f"madison) cat {tmp_path}/madison;;\n"
        "show) echo Size: 153476148;;\nsearch) echo 'linux-source-6.1 - source';;\nesac\n"
    )
    (tools / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/downloads\n'
        f"[ -e {tmp_path}/broken ] &&"
        " { echo 'E: Failed to fetch x  404  Not Found' >&2; exit 100; }\n"
        f"cp {tmp_path}/served.deb linux-source-6.12_6.12.117-1~deb12u1_all.deb\n"
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tmp_path


def test_the_candidate_is_fetched_once(apt, fetch, cache, kernel):
    base = fetch("debian:6.12")
    assert base.source == "debian:6.12=6.12.117-1~deb12u1"
    assert (base.slot, base.package_version) == ("debian-6.12", "6.12.117-1~deb12u1")
    assert base.tree == fetch(f"path:{kernel}").tree
    assert fetch("debian:6.12") == base
    assert fetch("debian:6.12=6.12.117-1~deb12u1") == base
    assert (apt / "downloads").read_text().count("linux-source-6.12=") == 1
    assert not list((cache.folder / "tmp").iterdir())


def test_a_version_apt_does_not_have(apt, fetch):
    with pytest.raises(UserError, match=r"it has 6\.12\.117-1~deb12u1, 6\.12\.115-2") as caught:
        fetch("debian:6.12=6.12.99-1")
    assert "apt-get update" in caught.value.hint


@pytest.mark.parametrize("policy", ["", "linux-source-6.12:\n  Candidate: (none)\n"])
def test_a_package_apt_does_not_know(apt, fetch, policy):
    (apt / "policy").write_text(policy)
    with pytest.raises(UserError, match=r"it knows linux-source-6\.1") as caught:
        fetch("debian:6.12")
    assert "apt-get update" in caught.value.hint


def test_a_download_that_fails(apt, fetch, cache):
    (apt / "broken").touch()
    with pytest.raises(HostError, match="404  Not Found") as caught:
        fetch("debian:6.12")
    assert "apt-get update" in caught.value.hint
    assert not list((cache.folder / "tmp").iterdir())


def test_no_apt(fetch, monkeypatch, tmp_path):
    monkeypatch.setattr("orchestrator.host.process.find_tool", lambda name: None)
    monkeypatch.setattr(
        "orchestrator.host.process.shutil.which",
        lambda name, path=None: None if name.startswith("apt") else f"/usr/bin/{name}",
    )
    with pytest.raises(HostError, match="need apt"):
        fetch("debian:6.12")


@pytest.mark.parametrize("text", ["6", "6.12=", "6.12=-x", "six", "6.12 ", "6.12=1;x", "../6.12"])
def test_what_is_no_debian_source(apt, fetch, text):
    if text == "6.12=":  # nothing pinned after all
        assert fetch(f"debian:{text}").package_version
        return
    with pytest.raises(UserError, match=r"lab\.yaml:3: 'debian:"):
        fetch(f"debian:{text}")
    assert not (apt / "downloads").exists()


# ---------------------------------------------------------------- housekeeping


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (b"VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\nEXTRAVERSION = -rc3\n", "6.12.0-rc3"),
        (b"VERSION=6\nPATCHLEVEL=1\n", "6.1"),
        (b"VERSION = 6\n", None),
        (b"VERSION = x\nPATCHLEVEL = 1\n", None),
        (b"\xff\x00", None),
    ],
)
def test_versions_of_makefiles(text, version):
    assert store.version_of_makefile(text) == version


def test_leftovers_of_a_killed_lab_are_removed_and_live_ones_are_not(cache):
    with scratch(cache) as live:
        dead = cache.folder / "tmp" / "kernel-dead"
        dead.mkdir()
        (dead / "junk").write_text("x")
        (cache.folder / "tmp" / "kernel-dead.lock").write_text("")
        packs = store.open_store(cache) / "objects" / "pack"
        packs.mkdir()
        (packs / "tmp_pack_x").write_text("x")
        with locked(cache.folder / "locks" / "import", deadline=1):
            assert clean_leftovers(cache) == 1
        assert clean_leftovers(cache) == 1
        assert not list(packs.iterdir())
        assert live.is_dir()
        assert not dead.exists()
    assert not list((cache.folder / "tmp").iterdir())


def test_a_lock_waits_for_its_deadline(tmp_path):
    path = tmp_path / "locks" / "x"
    told: list[str] = []
    with (
        locked(path, deadline=1),
        pytest.raises(HostError, match="in use by another lab"),
        locked(path, deadline=0.2, on_wait=told.append),
    ):
        pass
    assert len(told) == 1


def test_a_cache_that_cannot_be_written(tmp_path, kernel):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot use the cache"):
        fetch_base(KernelSpec("k", f"path:{kernel}"), Cache(tmp_path / "file"), print, 30)


def test_a_full_disk_is_said_before_the_work(cache):
    with pytest.raises(HostError, match="MiB are needed") as caught:
        need_space(cache, 1 << 60)
    assert "LAB_CACHE" in caught.value.hint


def test_two_imports_of_one_tree_at_once(tmp_path, cache):
    folder = write_kernel(tmp_path / "l")
    from concurrent.futures import ThreadPoolExecutor

    def work(_: int) -> str:
        return fetch_base(KernelSpec("k", f"path:{folder}"), cache, lambda _: None, 60).tree

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(work, range(4)))) == 1
