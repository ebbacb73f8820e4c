# SPDX-License-Identifier: GPL-2.0-only
"""A developer's own defaults: which file they are in, and what it says; nothing is chosen here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.model.errors import UserError
from orchestrator.plan.problems import ConfigError, Problems

if TYPE_CHECKING:
    from orchestrator.plan.yaml_reader import Document, View

PERSONAL_SCHEMA = "personal.schema.json"
ENV_FILE = "LAB_CONFIG"
OFF = "none"
_NO_OPTIONS = ("cache", "commands")

#: Option without its dashes -> what is to stand behind it, once each; nothing for a flag, None for
#: a flag that is not to be given.
Defaults = Mapping[str, tuple[str, ...] | None]


@dataclass(frozen=True)
class Personal:
    """What the file at ``path`` says: for all commands, and by command; ``cache`` is a folder."""

    path: Path
    options: Defaults = field(default_factory=dict)
    commands: Mapping[str, Defaults] = field(default_factory=dict)
    cache: str = ""

    def of(self, command: str) -> dict[str, tuple[str, ...]]:
        """The options for a command; its own come in place of the general ones."""
        own = self.commands.get(command, {})
        general = dict(self.options)
        for one, other in (("source", "kernel"), ("kernel", "source")):
            if one in own:
                general.pop(other, None)
        both = {**general, **own}
        return {name: values for name, values in both.items() if values is not None}


def personal_file(environ: Mapping[str, str]) -> Path | None:
    """The file to read, whether it is there or not; None where there is to be none.

    ``$LAB_CONFIG`` names another or is ``none``; in CI (``$CI``) a run must not depend on whose
    machine it is.  Else ``lab.yaml`` in the XDG configuration folder (XDG Base Directory
    Specification 0.8).
    """
    named = environ.get(ENV_FILE)
    if named == OFF or (environ.get("CI") and not named):
        return None
    if named:
        return Path(named).expanduser()
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    return Path(base) / "lab.yaml"


def read_personal(path: Path) -> Personal:
    """Read and validate a file of defaults.

    :raises UserError: with every problem found, by file and line.
    """
    # Paid for by those who have such a file.
    from orchestrator.plan.schema import check
    from orchestrator.plan.yaml_reader import View, read_document

    problems = Problems()
    document = read_document(path, str(path), problems, may_be_empty=True)
    if document is not None:
        check(document, PERSONAL_SCHEMA, problems)
        _one_kernel(View.of(document), document, problems)
    try:
        problems.raise_if_any(path)
    except ConfigError as error:
        # Its hint speaks of manifests, which have no part in this.
        hint = f"mend it, or leave it out with --no-personal or {ENV_FILE}={OFF}"
        raise UserError(error.message, hint) from None
    assert document is not None  # or there was a problem
    top = View.of(document)
    return Personal(
        path=path,
        options=_options(top),
        commands={name: _options(view) for name, view in top.children("commands")},
        cache=top.text("cache") or "",
    )


def _one_kernel(top: View, document: Document, problems: Problems) -> None:
    for view in (top, *(view for _, view in top.children("commands"))):
        if "source" in view and "kernel" in view:
            told = "source and kernel both say which kernel to test; leave one of them out"
            problems.add(document.problem(view.at("kernel"), told))


def _options(view: View) -> Defaults:
    found: dict[str, tuple[str, ...] | None] = {}
    for key, value in view.data.items():
        if key in _NO_OPTIONS or value is None:
            continue
        if isinstance(value, bool):
            found[key] = () if value else None
        else:
            found[key] = tuple(map(str, value if isinstance(value, list) else [value]))
    return found
