# SPDX-License-Identifier: GPL-2.0-only
"""What crosses from one stage to the next: frozen dataclasses, names, formats, errors.

Sizes are in the unit their name tells; times are seconds; instants are UTC ISO 8601 strings;
counters are pages of the guest's ``page_size`` bytes.
"""
