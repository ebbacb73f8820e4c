# SPDX-License-Identifier: GPL-2.0-only
"""``lab init``: write a commented lab.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.model.errors import UserError
from orchestrator.plan.find import LAB_FILE
from orchestrator.plan.lab_yaml import init_text


def init(folder: Path) -> int:
    """Write lab.yaml into a folder, made where it does not exist.

    :raises UserError: when there is one, or none can be written.
    """
    path = folder / LAB_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(init_text())
    except FileExistsError as error:
        if folder.is_dir():
            raise UserError(f"{path} exists", "edit it, or name another folder") from error
        raise UserError(f"{folder} is no folder", "name a folder") from error
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", "name a folder that you may write to"
        ) from error
    click.echo(f"wrote {path}; `lab plan` shows what a run would do")
    return 0
