# SPDX-License-Identifier: GPL-2.0-only
"""Repositories as people have them: what the user sees in her tree is what is taken, or it is told.

All are made by the real git; remotes are ``file://``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_kernel import commit_all, user_git, write_kernel

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source import store
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.model.errors import UserError

Fetch = Callable[..., BaseSource]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the user's, with her settings."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)
    (folder / ".gitconfig").write_text(
        '[user]\n\tname = Ann\n\temail = ann@example.org\n[protocol "file"]\n\tallow = always\n'
        "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n"
    )
    return folder


def her_git(folder: Path, *arguments: str) -> str:
    """Git as the user runs it, with her own settings."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


def seen(folder: Path) -> dict[str, bytes]:
    """What she sees: files that are tracked, or untracked and not ignored."""
    listed = her_git(folder, "ls-files", "-z", "-co", "--exclude-standard").split("\0")
    return {
        name: content(folder / name)
        for name in listed
        if name and os.path.lexists(folder / name) and not is_folder(folder / name)
    }


def content(path: Path) -> bytes:
    return os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()


def is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def taken(base: BaseSource, cache: Cache) -> dict[str, bytes]:
    """What the lab has of it."""
    listed = store.git(cache, "ls-tree", "-r", "-z", base.tree).stdout.decode().split("\0")
    names = [line.partition("\t")[2] for line in listed if line and " commit " not in line]
    return store.read_files(base.tree, names, cache)


def of_head(folder: Path, ref: str = "HEAD") -> str:
    return her_git(folder, "rev-parse", f"{ref}^{{tree}}")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository of two commits."""
    folder = write_kernel(tmp_path / "origin")
    (folder / "mm" / "old.c").write_text("int gone;\n")
    commit_all(folder, "first")
    (folder / "mm" / "old.c").unlink()
    (folder / "mm" / "new.c").write_text("int here;\n")
    commit_all(folder, "second")
    user_git(folder, "config", "uploadpack.allowFilter", "true")
    user_git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    return folder


def edited(folder: Path) -> Path:
    """A tree with work in it: a change, a new file, a product of a build."""
    (folder / "Kconfig").write_text('mainmenu "Mine"\n')
    (folder / "mm" / "mine.c").write_text("int mine;\n")
    (folder / "mm" / "mine.o").write_bytes(b"\x7fELF")
    return folder


def clone(origin: Path, to: Path, *options: str, local: bool = False) -> Path:
    her_git(origin.parent, "clone", "-q", *options, str(origin) if local else f"file://{origin}",
            str(to))  # fmt: skip
    return to


def alternates(origin: Path, to: Path) -> Path:
    """``git clone --shared``, with a relative path to the other's objects."""
    clone(origin, to, "--shared", local=True)
    objects = os.path.relpath(origin / ".git" / "objects", to / ".git" / "objects")
    (to / ".git" / "objects" / "info" / "alternates").write_text(f"{objects}\n")
    return to


def linked(origin: Path, to: Path) -> Path:
    her_git(origin, "worktree", "add", "-q", str(to))
    return to


def other_owner(origin: Path, to: Path) -> Path:
    clone(origin, to)
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in [to, *to.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    with (Path.home() / ".gitconfig").open("a") as file:  # for seen() alone
        file.write("[safe]\n\tdirectory = *\n")
    return to


def as_submodule(origin: Path, to: Path) -> Path:
    """The kernel tree is itself a submodule: its ``.git`` is a file."""
    around = to.with_name("around")
    around.mkdir()
    her_git(around, "init", "-q")
    her_git(around, "submodule", "--quiet", "add", f"file://{origin}", "linux")
    return around / "linux"


WHOLE = {
    "partial": lambda origin, to: clone(origin, to, "--filter=blob:none"),
    "treeless": lambda origin, to: clone(origin, to, "--filter=tree:0"),
    "shallow": lambda origin, to: clone(origin, to, "--depth=1"),
    "reference": lambda origin, to: clone(origin, to, "--reference", str(origin)),
    "shared": lambda origin, to: clone(origin, to, "--shared", local=True),
    "alternates": alternates,
    "linked": linked,
    "other owner": other_owner,
    "submodule": as_submodule,
}


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_a_tree_is_taken_as_she_sees_it(kind, origin, tmp_path, fetch, cache):
    tree = WHOLE[kind](origin, tmp_path / "tree")
    head = fetch(f"path:{tree}")
    assert head.commit == her_git(tree, "rev-parse", "HEAD")
    edited(tree)
    base = fetch(f"path:{tree}")
    assert taken(base, cache) == seen(tree)
    assert "mm/mine.c" in taken(base, cache)
    assert "mm/mine.o" not in taken(base, cache)


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_a_commit_is_taken_whole(kind, origin, tmp_path, fetch, cache):
    tree = edited(WHOLE[kind](origin, tmp_path / "tree"))
    base = fetch(f"git:{tree}#HEAD")
    assert base.tree == of_head(origin)
    assert len(taken(base, cache)) == 9


def test_a_bare_repository(origin, tmp_path, fetch):
    bare = clone(origin, tmp_path / "bare.git", "--bare")
    assert fetch(f"git:{bare}#HEAD").tree == of_head(origin)
    with pytest.raises(UserError) as refused:
        fetch(f"path:{bare}")
    assert "is a bare repository" in refused.value.message
    assert f"git:{bare}#" in refused.value.hint


@pytest.mark.parametrize("filter", ["blob:none", "tree:0"])
def test_a_commit_that_a_partial_clone_has_not(filter, origin, tmp_path, fetch):
    tree = clone(origin, tmp_path / "tree", f"--filter={filter}")
    objects = sum(1 for _ in (tree / ".git" / "objects").rglob("*"))
    with pytest.raises(UserError) as refused:
        fetch(f"git:{tree}#HEAD~1")
    assert "is a partial clone" in refused.value.message
    assert "fetch --refetch --no-filter" in refused.value.hint
    assert sum(1 for _ in (tree / ".git" / "objects").rglob("*")) == objects
    her_git(tree, "fetch", "-q", "--refetch", "--no-filter", "origin")
    assert fetch(f"git:{tree}#HEAD~1").tree == of_head(origin, "HEAD~1")


def test_a_commit_that_a_shallow_clone_has_not(origin, tmp_path, fetch):
    tree = clone(origin, tmp_path / "tree", "--depth=1")
    with pytest.raises(UserError) as refused:
        fetch(f"git:{tree}#HEAD~1")
    assert "shallow" in refused.value.message
    assert f"git -C {tree} fetch --unshallow" in refused.value.hint


@pytest.mark.parametrize("cone", ["--cone", "--no-cone"])
def test_a_sparse_checkout_is_refused_and_its_commit_is_not(cone, origin, tmp_path, fetch):
    tree = clone(origin, tmp_path / "tree")
    her_git(tree, "sparse-checkout", "set", cone, *(["mm"] if cone == "--cone" else ["/*", "!/mm"]))
    with pytest.raises(UserError) as refused:
        fetch(f"path:{tree}")
    assert "is a sparse checkout" in refused.value.message
    assert f"git -C {tree} sparse-checkout disable" in refused.value.hint
    assert fetch(f"git:{tree}#HEAD").tree == of_head(origin)
    her_git(tree, "sparse-checkout", "disable")
    assert fetch(f"path:{tree}").tree == of_head(origin)


def test_a_gitlink_is_left_out_and_told(origin, tmp_path, fetch, cache):
    other = write_kernel(tmp_path / "other")
    commit_all(other, "other")
    her_git(origin, "submodule", "--quiet", "add", f"file://{other}", "tools/other")
    her_git(origin, "commit", "-qm", "with a submodule")
    base = fetch(f"path:{origin}")
    files = taken(base, cache)
    assert not any(name.startswith("tools/other") for name in files)
    assert any("tools/other" in note for note in base.notes)
    assert files == taken(fetch(f"git:{origin}#HEAD"), cache)
    assert any("tools/other" in note for note in fetch(f"git:{origin}#HEAD").notes)


def test_a_sha256_repository(tmp_path, fetch, cache):
    tree = write_kernel(tmp_path / "tree")
    her_git(tree, "init", "-q", "--object-format=sha256")
    commit_all(tree, "first")
    edited(tree)
    assert taken(fetch(f"path:{tree}"), cache) == seen(tree)
    with pytest.raises(UserError) as refused:
        fetch(f"git:{tree}#HEAD")
    assert "names its objects by SHA-256" in refused.value.message
    assert f"git -C {tree} worktree add" in refused.value.hint


# ---------------------------------------------------------------- what is ignored


@pytest.mark.parametrize("kind", ["plain", "linked", "submodule"])
@pytest.mark.parametrize("where", ["configured", "default", "xdg"])
def test_her_own_ignore_rules_hold(kind, where, origin, home, tmp_path, fetch, cache, monkeypatch):
    tree = origin if kind == "plain" else WHOLE[kind](origin, tmp_path / "tree")
    if where == "xdg":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    ignore = {
        "configured": home / "ignore", "default": home / ".config/git/ignore",
        "xdg": home / "xdg/git/ignore",
    }[where]  # fmt: skip
    ignore.parent.mkdir(parents=True, exist_ok=True)
    ignore.write_text("*.mine\n/mm/new.c\nboth\n")
    if where == "configured":
        her_git(tree, "config", "--global", "core.excludesFile", "~/ignore")
    exclude = Path(her_git(tree, "rev-parse", "--git-path", "info/exclude"))
    exclude = exclude if exclude.is_absolute() else tree / exclude
    exclude.parent.mkdir(parents=True, exist_ok=True)
    exclude.write_text("notes\n!/mm/both\n")
    for name in ("a.mine", "mm/b.mine", "notes", "mm/c.c", "both", "mm/both"):
        (tree / name).write_text("x\n")
    base = fetch(f"path:{tree}")
    assert taken(base, cache) == seen(tree)
    files = taken(base, cache)
    assert {"mm/c.c", "mm/both", "mm/new.c"} <= set(files)  # new.c is tracked all the same
    assert not {"a.mine", "mm/b.mine", "notes", "both"} & set(files)
