# SPDX-License-Identifier: GPL-2.0-only
"""The commands of ``lab``, one module each; :mod:`orchestrator.cli` knows their arguments."""
