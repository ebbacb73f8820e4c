# SPDX-License-Identifier: GPL-2.0-only
"""How deep the tests of properties go."""

from __future__ import annotations

import os

from hypothesis import settings

# A property's examples: few while one works, many in ``make slow``.  Also ``--hypothesis-profile``.
# A deadline for each example would measure the other processes of the machine.
settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
