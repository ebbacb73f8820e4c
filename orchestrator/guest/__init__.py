# SPDX-License-Identifier: GPL-2.0-only
"""Guest stage: architectures, roots, QEMU, SSH."""
