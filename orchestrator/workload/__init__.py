# SPDX-License-Identifier: GPL-2.0-only
"""What runs in the guest: compiled, pushed, started, watched, fetched."""
