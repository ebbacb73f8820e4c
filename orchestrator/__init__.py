# SPDX-License-Identifier: GPL-2.0-only
"""lab: a full-system test lab for people who change the Linux kernel's memory management."""

from pathlib import Path

__version__ = "0.1.0"
#: The folder the lab is installed from: its own lab.yaml, fragments and workloads are here.
HOME = Path(__file__).resolve().parent.parent
