# SPDX-License-Identifier: GPL-2.0-only
"""A small complete lab for each test."""

from plan_files import lab

__all__ = ["lab"]
