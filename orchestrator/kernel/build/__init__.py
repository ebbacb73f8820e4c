# SPDX-License-Identifier: GPL-2.0-only
"""A tree to a kernel image: .config, make, what is kept."""
