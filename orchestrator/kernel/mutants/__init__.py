# SPDX-License-Identifier: GPL-2.0-only
"""Small faults planted in a kernel's C, one at a time: where, which, and whether code changes."""
