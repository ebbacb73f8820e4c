# SPDX-License-Identifier: GPL-2.0-only
"""What crosses from one stage to the next: values, names, formats, architectures, errors."""
