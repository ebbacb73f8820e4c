# SPDX-License-Identifier: GPL-2.0-only
"""The machine the lab runs on: processes, cores, tools."""
