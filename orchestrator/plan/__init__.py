# SPDX-License-Identifier: GPL-2.0-only
"""lab.yaml, manifests, names and profiles to builds and cells."""
