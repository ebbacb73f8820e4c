# SPDX-License-Identifier: GPL-2.0-only
"""What a memory dump of a lost guest says."""
