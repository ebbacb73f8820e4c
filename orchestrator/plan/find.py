# SPDX-License-Identifier: GPL-2.0-only
"""Which lab.yaml a folder is worked on with: its own, or in a bare kernel tree the lab's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator import HOME
from orchestrator.model.errors import UserError

LAB_FILE = "lab.yaml"
ENV_FILE = "LAB_YAML"
#: Where workloads are where lab.yaml does not say so.
DEFAULT_WORKLOAD_FOLDERS = ("guest-tests",)

# The kernel's top Makefile begins with these, one a line, since 2.6 at the latest.
_VERSIONED = (rb"^VERSION *= *[0-9]", rb"^PATCHLEVEL *= *[0-9]")
_HEAD = 4096


@dataclass(frozen=True)
class Found:
    """A lab.yaml; ``serves`` is the folder that has none, so that the lab's own serves it.

    ``tree`` is that folder where it is a kernel tree.
    """

    lab_yaml: Path
    tree: Path | None = None
    serves: Path | None = None


def find_lab(
    start: Path,
    environ: Mapping[str, str] | None = None,
    home: Path = HOME,
    *,
    anywhere: bool = False,
) -> Found:
    """The lab.yaml to use: ``$LAB_YAML``, else the nearest one in ``start`` or a folder above.

    A kernel tree without one is tested with the lab's own, which is in ``home``.

    :param anywhere: the lab's own serves any other folder too, where the kernel is named.
    :raises UserError: if there is none.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(ENV_FILE)
    if named:
        path = (start / Path(named)).absolute()
        if not path.is_file():
            raise UserError(f"{ENV_FILE} names {named}, which is no file", f"unset {ENV_FILE}")
        return Found(path)
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / LAB_FILE).is_file():
            return Found(folder / LAB_FILE)
    tree = tree_above(start)
    if tree is not None or anywhere:
        return Found(home / LAB_FILE, tree, tree or start)
    raise UserError(
        f"no {LAB_FILE} in {start} or a folder above, and no kernel tree",
        f"`lab init` writes one; or change to a kernel tree or the lab's folder, or set {ENV_FILE}",
    )


def tree_above(start: Path) -> Path | None:
    """The kernel tree that a folder is in, or None."""
    start = start.absolute()
    return next((one for one in (start, *start.parents) if is_kernel_tree(one)), None)


def is_kernel_tree(folder: Path) -> bool:
    """Whether a folder is the top of a kernel tree: a Kconfig, and a Makefile with a version."""
    try:
        if not (folder / "Kconfig").is_file():
            return False
        with (folder / "Makefile").open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return all(re.search(line, head, re.M) for line in _VERSIONED)
