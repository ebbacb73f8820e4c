# SPDX-License-Identifier: GPL-2.0-only
"""The same again: the guest's shape and the kernel image as a run had them.

lab.yaml, the sources and the compiler may say something else by then.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from orchestrator.judge.trials import Subject
from orchestrator.kernel.build.kept import find_image
from orchestrator.model import codec
from orchestrator.model.errors import LabError
from orchestrator.model.values import BuildResult, KernelTree, Plan, ShapeSpec
from orchestrator.results.store import cell_folder
from orchestrator.runner import stages

SHAPE = "shape.json"


def keep_shapes(plan: Plan, folder: Path) -> None:
    """Keep each cell's shape beside its results: lab.yaml may say something else tomorrow.

    Where the disk is full there is none, and a rerun takes lab.yaml's.
    """
    for cell in plan.cells:
        target = folder / cell_folder(cell.id) / SHAPE
        text = codec.dumps(codec.plain(cell.shape), indent=1)
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text + "\n", encoding="ascii")


def stored_shape(folder: Path, cell_id: str) -> ShapeSpec | None:
    """A cell's shape as :func:`keep_shapes` kept it; None where there is none that can be read."""
    try:
        data = json.loads((folder / cell_folder(cell_id) / SHAPE).read_text(encoding="ascii"))
        return codec.build(ShapeSpec, data)
    except (OSError, ValueError, codec.MismatchError):
        return None


def same_kernel(
    subject: Subject, old: Path, settings: stages.Settings
) -> tuple[stages.Kernel, BuildResult | None, str]:
    """The kernel that the earlier run booted: the kept image, or one built anew where that is gone.

    Gives the kernel, its build (None where the series does not apply), and a note where the image
    is another one than that of the run.

    :param old: the earlier run's folder.
    :raises LabError: when it can neither be found nor built.
    """
    build = subject.cell.build
    kept = find_image(build, subject.image_sha256, settings.cache)
    if kept is not None and subject.record is not None:
        known = subject.record
        tree = KernelTree(build.kernel, known.version, "", "", known.series, known.series_digest)
        try:
            kernel = stages.prepare_kernel(build.kernel, settings)
        except (LabError, OSError):
            kernel = stages.Kernel(tree, "", known.source)  # gone or changed meanwhile
        if kernel.tree.series_digest != known.series_digest:
            kernel = stages.Kernel(tree, kernel.slot, known.source)
        return kernel, kept, ""
    kernel = stages.prepare_kernel(build.kernel, settings)
    if kernel.tree.failure is not None:
        return kernel, None, ""
    built = stages.build_one(build, kernel, settings)
    note = ""
    if subject.image_sha256 and built.image_sha256 not in ("", subject.image_sha256):
        note = (
            f"{build.id} is not the image of {old.name}: that one is no longer in the cache, and "
            f"what was built now differs ({built.image_sha256[:12]}, "
            f"not {subject.image_sha256[:12]})"
        )
    return kernel, built, note
