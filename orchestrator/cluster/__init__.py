# SPDX-License-Identifier: GPL-2.0-only
"""A plan carried out on many machines: Dask says who does what, a shared store has what is used."""
