# SPDX-License-Identifier: GPL-2.0-only
"""A fake kernel of a few small files, and repositories made of it, for the tests."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

MAKEFILE = """\
# SPDX-License-Identifier: GPL-2.0
VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 117
EXTRAVERSION =
NAME = Baby Opossum Posse
"""
USERFAULTFD = "".join(f"static int step_{n}(void)\n{{\n\treturn {n};\n}}\n\n" for n in range(1, 13))
GITIGNORE = ".*\n*.o\n/vmlinux\n/Module.symvers\n!.gitignore\n"


def write_kernel(folder: Path) -> Path:
    """Write the fake kernel into a folder."""
    files = {
        "Makefile": MAKEFILE,
        "Kconfig": 'mainmenu "Linux"\n',
        ".gitignore": GITIGNORE,
        "mm/Makefile": "obj-y += userfaultfd.o\n",
        "mm/userfaultfd.c": USERFAULTFD,
        "scripts/run.sh": "#!/bin/sh\n",
        "include/linux/mm.h": "#define MM 1\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "scripts/run.sh").chmod(0o755)
    (folder / "scripts/include").symlink_to("../include")
    return folder


def user_git(folder: Path, *arguments: str) -> str:
    """Run git as a user would, away from this machine's configuration."""
    settings = {
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ann Author", "GIT_AUTHOR_EMAIL": "ann@example.org",
        "GIT_COMMITTER_NAME": "Ann Author", "GIT_COMMITTER_EMAIL": "ann@example.org",
    }  # fmt: skip
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **settings},
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit_all(folder: Path, message: str) -> str:
    """Commit everything in a folder; give the commit id."""
    if not (folder / ".git").exists():
        user_git(folder, "init", "-q", "-b", "main")
    user_git(folder, "add", "-A")
    user_git(folder, "commit", "-q", "-m", message)
    return user_git(folder, "rev-parse", "HEAD")


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """Everything that a write into a folder would change."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        info = path.lstat()
        found[str(path)] = (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_mode)
    return found


def make_tar(path: Path, folder: Path, top: str, mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as tar:
        tar.add(folder, arcname=top)
    return path
