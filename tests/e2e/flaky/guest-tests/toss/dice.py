# SPDX-License-Identifier: GPL-2.0-only
"""Fail by chance: twelve cases, each of them in a fifth of its runs."""

import os

CASES, SIDES = 12, 5

print(f"KTAP version 1\n1..{CASES}", flush=True)
for number in range(1, CASES + 1):
    drawn = int.from_bytes(os.urandom(8), "little") % SIDES
    print(f"{'ok' if drawn else 'not ok'} {number} case-{number}", flush=True)
