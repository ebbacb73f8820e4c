# SPDX-License-Identifier: GPL-2.0-only
"""Build folders as Kbuild leaves them: an object, and beside it what it was made of."""

from __future__ import annotations

from pathlib import Path

from orchestrator.host.cache.files import Cache


def built(
    cache: Cache,
    slot: str,
    objects: dict[str, list[str]],
    config: str = "default",
    arch: str = "x86_64",
) -> Path:
    """Make a whole build folder; ``objects`` gives the files of the work tree each is made of.

    The ``.cmd`` files are as scripts/basic/fixdep.c writes them.
    """
    folder = cache.build_folder(slot, config, arch)
    tree = cache.slot(slot).folder
    for name, (first, *others) in objects.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("object")
        lines = [
            f"savedcmd_{name} := gcc -I{tree}/include -c -o {name} {tree}/{first}",
            f"source_{name} := {tree}/{first}",
            f"deps_{name} := \\",
            "    $(wildcard include/config/SMP) \\",
            *(f"  {tree}/{other} \\" for other in others),
            "  include/generated/autoconf.h \\",
            f"{name}: $(deps_{name})",
            f"$(deps_{name}):",
        ]
        path.with_name(f".{path.name}.cmd").write_text("\n".join(lines) + "\n")
    (folder / "vmlinux").write_text("vmlinux")
    return folder
