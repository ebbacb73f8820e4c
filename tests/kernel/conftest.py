# SPDX-License-Identifier: GPL-2.0-only
"""A fake kernel, a repository of it and a cache for each test."""

from kernel_fixtures import base, cache, fetch, kernel, repo

__all__ = ["base", "cache", "fetch", "kernel", "repo"]
