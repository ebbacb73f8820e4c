# SPDX-License-Identifier: GPL-2.0-only
"""Reports: JUnit and HTML from stored results."""
