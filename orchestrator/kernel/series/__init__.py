# SPDX-License-Identifier: GPL-2.0-only
"""A series to a further tree, or the reason why not."""
