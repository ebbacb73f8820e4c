# SPDX-License-Identifier: GPL-2.0-only
"""The cache: where things are in it, its locks, what is in it, and what goes first."""
