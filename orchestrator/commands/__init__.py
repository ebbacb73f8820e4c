# SPDX-License-Identifier: GPL-2.0-only
"""The commands of ``lab``, one module each; :mod:`.arguments` knows their arguments."""
