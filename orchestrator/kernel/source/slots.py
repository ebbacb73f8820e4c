# SPDX-License-Identifier: GPL-2.0-only
"""What the work tree of a source is called that is made for it where no other is near."""

from __future__ import annotations

import hashlib
from pathlib import Path


def own_slot(source: str) -> str:
    """The work tree that is a source's own, as far as its name tells it; "" where it does not.

    As :func:`.fetch.fetch_base` gives it with the sources.
    """
    scheme, _, rest = source.partition(":")
    if scheme == "debian":
        return f"debian-{rest.partition('=')[0]}"
    if scheme == "git":
        return f"git-{_short(rest.rpartition('#')[0] if '#' in rest else rest)}"
    if scheme == "path":
        return f"path-{_short(str(Path(rest).expanduser().resolve()))}"
    return ""


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]
