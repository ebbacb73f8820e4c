# SPDX-License-Identifier: GPL-2.0-only
"""Evidence to verdicts, and runs beside each other; pure."""
