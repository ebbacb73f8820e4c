# SPDX-License-Identifier: GPL-2.0-only
"""The order of the stages, once, and who carries it out."""
