# SPDX-License-Identifier: GPL-2.0-only
"""A cache with something of every kind, for each test."""

from cache_files import cache

__all__ = ["cache"]
