# SPDX-License-Identifier: GPL-2.0-only
"""lab: a full-system test lab for people who change the Linux kernel's memory management."""

from pathlib import Path

__version__ = "0.1.0"
_PACKAGE = Path(__file__).resolve().parent
#: What the lab brings along: its own lab.yaml, fragments, workloads, series and docs.  A wheel has
#: them in a folder of the package (pyproject.toml), a source tree beside it.
HOME = _PACKAGE / "home" if (_PACKAGE / "home").is_dir() else _PACKAGE.parent
