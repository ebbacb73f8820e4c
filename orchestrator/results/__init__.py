# SPDX-License-Identifier: GPL-2.0-only
"""Stored runs, their folders, and the history of all."""
