# SPDX-License-Identifier: GPL-2.0-only
"""A run as a check of Patchwork, as its REST API takes one for a patch.  Pure.

Fields and limits are those of Patchwork 3.2: ``class Check`` in patchwork/models.py and its
serializer in patchwork/api/check.py.  ``context`` is a slug, ``target_url`` a URL of the length
that Django's URLField has, ``description`` a text without a limit, shown in a cell of a table.
"""

from __future__ import annotations

import re
from dataclasses import replace

from orchestrator.judge.compare import kernel_regressed
from orchestrator.judge.outcome import summary_of
from orchestrator.model.errors import EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK, UserError
from orchestrator.model.results import Comparison, RunResult
from orchestrator.report.gist import gist
from orchestrator.report.text import printable, visible

MOST_CONTEXT = 255
MOST_URL = 200
MOST_DESCRIPTION = 255


def check(
    run: RunResult, comparison: Comparison | None, url: str = "", context: str = ""
) -> dict[str, str]:
    """``state``, ``context``, ``description`` and, where there is a URL, ``target_url``.

    :param context: what the check is called; ``lab-PROFILE`` where it is empty.
    :raises UserError: when Patchwork would refuse the URL or the context.
    """
    name = context or re.sub(r"[^A-Za-z0-9_-]+", "-", f"lab-{run.run.profile}").strip("-")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name, re.ASCII) or len(name) > MOST_CONTEXT:
        raise UserError(
            f"--context {name}: Patchwork takes up to {MOST_CONTEXT} letters, digits, - and _",
            "name it lab-mm, for instance",
        )
    if len(url) > MOST_URL:
        raise UserError(f"--url: Patchwork takes up to {MOST_URL} characters, not {len(url)}")
    what = state(run, comparison)
    if what == "fail":  # whatever the host did besides, that is told which makes it one
        run = replace(run, run=replace(run.run, exit_status=EXIT_KERNEL))
    told = {
        "state": what,
        "context": name,
        "description": _cut(visible(printable(gist(run, comparison)))),
    }
    return told | ({"target_url": url} if url else {})


def state(run: RunResult, comparison: Comparison | None) -> str:
    """``success``, ``fail``, ``warning`` or ``pending``.

    By the exit status: 0 is success, 1 fail.  A run that was cut, or goes on, is pending.  What the
    host or the input did is a warning, since nothing is known of the patch then, unless something
    failed (regressed, where there is a baseline) besides.
    """
    status = run.run.exit_status
    if not run.run.finished or status == EXIT_INTERRUPTED:
        return "pending"
    if status == EXIT_OK:
        return "success"
    failed = summary_of(run).failed > 0 if comparison is None else kernel_regressed(comparison)
    return "fail" if status == EXIT_KERNEL or failed else "warning"


def _cut(text: str) -> str:
    if len(text) <= MOST_DESCRIPTION:
        return text
    return f"{text[: MOST_DESCRIPTION - 6].rstrip()} [...]"
