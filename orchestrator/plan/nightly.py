# SPDX-License-Identifier: GPL-2.0-only
"""Read ``nightly:`` of lab.yaml; the schema has told what has the wrong type."""

from __future__ import annotations

import shlex
from pathlib import Path

from orchestrator.model.nightly import SECURITY, MailSpec, NightlySpec
from orchestrator.plan.problems import KeyPath, Problems
from orchestrator.plan.yaml_reader import View


def read_nightly(view: View, problems: Problems) -> NightlySpec:
    """What a night is; its paths are relative to lab.yaml's folder."""

    def words(text: str, path: KeyPath) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(text))
        except ValueError as error:
            problems.add(view.document.problem(path, f"no command line: {error}"))
            return ()

    return NightlySpec(
        profile=view.text("profile") or NightlySpec.profile,
        time_budget=view.seconds("time_budget", problems),
        update=tuple(words(text, path) for text, path in view.strings("update")),
        keep_reports=view.integer("keep_reports", NightlySpec.keep_reports),
        keep_baseline=_path(view, "keep_baseline"),
        url=view.text("url") or "",
        always=view.flag("always", False),
        command=words(view.text("command") or "", view.at("command")),
        mail=_mail(view.child("mail")) if "mail" in view else None,
    )


def _mail(view: View) -> MailSpec:
    security = view.text("security") or MailSpec.security
    return MailSpec(
        server=view.text("server") or "localhost",
        sender=view.text("from") or "",
        to=view.words("to"),
        security=security,
        port=view.integer("port", SECURITY.get(security, MailSpec.port)),
        user=view.text("user") or "",
        password_file=_path(view, "password_file"),
    )


def _path(view: View, key: str) -> Path | None:
    text = view.text(key)
    return None if text is None else view.document.path.parent / Path(text).expanduser()
