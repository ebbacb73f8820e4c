# SPDX-License-Identifier: GPL-2.0-only
"""Regular expressions that people write into lab.yaml, manifests and tables, checked."""

from __future__ import annotations

import re
import warnings

from orchestrator.plan.problems import KeyPath, Problems
from orchestrator.plan.yaml_reader import View


def regexes(view: View, key: str, problems: Problems) -> tuple[str, ...]:
    """The list of regular expressions under ``key``, those left out that are none."""
    found = view.strings(key)
    return tuple(text for text, path in found if check_regex(text, view, path, problems))


def check_regex(text: str, view: View, path: KeyPath, problems: Problems) -> bool:
    """Whether ``text`` is a regular expression that tells lines apart; else a problem is added."""
    try:
        with warnings.catch_warnings():
            # A pattern that re only warns about will mean something else one day.
            warnings.simplefilter("error")
            if re.compile(text).search("") is not None:
                told = f"{text!r} matches everything, an empty line too"
                problems.add(view.document.problem(path, told))
                return False
    except (re.error, OverflowError, RecursionError, Warning) as error:
        problems.add(view.document.problem(path, f"bad regular expression {text!r}: {error}"))
        return False
    return True
