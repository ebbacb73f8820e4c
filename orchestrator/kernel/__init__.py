# SPDX-License-Identifier: GPL-2.0-only
"""Kernel stage: sources, series, configs, builds."""
