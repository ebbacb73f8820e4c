# SPDX-License-Identifier: GPL-2.0-only
"""Evidence: pure parsers of kernel log, counters and KTAP."""
