# SPDX-License-Identifier: GPL-2.0-only
"""Any source to a tree, and trees on disk."""
