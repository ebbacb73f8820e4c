# SPDX-License-Identifier: GPL-2.0-only
"""Addresses of a kernel to files and lines."""
