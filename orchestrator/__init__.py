# SPDX-License-Identifier: GPL-2.0-only
"""lab: a full-system test lab for people who change the Linux kernel's memory management."""

__version__ = "0.1.0"
