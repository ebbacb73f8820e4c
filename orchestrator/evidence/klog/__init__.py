# SPDX-License-Identifier: GPL-2.0-only
"""Kernel-log reports out of what a guest printed."""
