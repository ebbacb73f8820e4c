# SPDX-License-Identifier: GPL-2.0-only
"""ccache for kernel builds: what it may keep and what it must never see."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache

# Objects that hold other files by `.incbin`, and so may be stale where ccache has seen them.
_HOLDERS = (
    "arch/x86/boot/compressed/piggy.o", "arch/arm64/kernel/vdso-wrap.o", "kernel/configs.o",
    "usr/initramfs_data.o",
)  # fmt: skip
_STAMP = ".lab-ccache"
# In depend mode ccache goes by the dependencies that the compiler writes, and no compiler names the
# files of `.incbin` among them: the compressed kernel in bzImage is one.  Two kernels of the same
# size would get the same image.  Without depend mode a miss costs a run of the preprocessor more.
_WRAPPER = """#!/bin/sh
# Assembly and kernel/configs.c may include files that ccache knows nothing of.
for word; do
	case $word in
	*.S | *.s | */configs.c) exec "$@" ;;
	esac
done
exec {ccache} "$@"
"""


def environment(cache: Cache, source: Path, names: str) -> dict[str, str]:
    """Settings for ccache, and a ``ccache`` before it on the PATH that keeps files from it.

    Depend mode hashes the dependency file that the compiler writes anyway, so that a miss costs no
    extra preprocessor run (ccache(1), "The depend mode").

    :param names: a digest of the names of all files that may be included.  ccache goes by the files
        an object was made of, and knows nothing of one that was not there and would now be found
        first (ccache(1), "The direct mode"): what other names were there for is kept apart.
    :raises OSError: when the cache cannot be written.
    """
    settings = {
        "CCACHE_DIR": str(cache.ccache),
        "CCACHE_DEPEND": "1",
        "CCACHE_BASEDIR": str(source),
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_MAXSIZE": "5G",
        "CCACHE_NAMESPACE": names,
    }
    ccache = process.find_tool("ccache")
    if ccache:
        folder = cache.ccache / "lab-bin"
        folder.mkdir(parents=True, exist_ok=True)
        text = _WRAPPER.format(ccache=ccache)
        wrapper = folder / "ccache"
        if not wrapper.exists() or wrapper.read_text() != text:
            new = folder / f"ccache.{os.getpid()}"
            new.write_text(text)
            new.chmod(0o755)
            new.rename(wrapper)
        settings["PATH"] = f"{folder}{os.pathsep}{process.environment()['PATH']}"
    return settings


def forget_stale(objects: Path) -> None:
    """Remove from a build folder, once, the objects that ccache may have given wrongly."""
    stamp = objects / _STAMP
    if stamp.exists():
        return
    for name in _HOLDERS:
        (objects / name).unlink(missing_ok=True)
    if objects.is_dir():
        stamp.touch()
