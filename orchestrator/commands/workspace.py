# SPDX-License-Identifier: GPL-2.0-only
"""Where a command finds lab.yaml, the cache, the reports and the history."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from orchestrator import HOME
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import LabConfig
from orchestrator.plan.lab_yaml import find_config, load_config
from orchestrator.runner.context import Places


def cache_folder() -> Cache:
    """``$LAB_CACHE``, else ``lab`` below the XDG cache folder."""
    chosen = os.environ.get("LAB_CACHE")
    if chosen:
        return Cache(Path(chosen).expanduser().resolve())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Cache(Path(base) / "lab")


def find_places(lab_yaml: Path | None = None) -> Places:
    """Find everything from lab.yaml's place.

    :raises UserError: when there is no lab.yaml.
    """
    path = lab_yaml or find_config(Path.cwd())
    fragments = path.parent / "kernel-configs"
    if not fragments.is_dir():
        fragments = HOME / "kernel-configs"
    cache = cache_folder()
    _clean_up(cache)
    return Places(path, path.parent / "reports", cache, fragments)


def places_here() -> Places:
    """The places of a folder without a lab.yaml: what only reads stored results needs no other."""
    here = Path.cwd()
    return Places(here / "lab.yaml", here / "reports", cache_folder(), here / "kernel-configs")


def _clean_up(cache: Cache) -> None:
    """Remove what a killed lab left; the import is only paid where there is something."""
    imports = cache.store / "objects" / "pack"
    with contextlib.suppress(OSError):
        if any(cache.tmp.glob("*")) or any(imports.glob("*tmp*")):
            from orchestrator.host.cache.scratch import clean_leftovers

            clean_leftovers(cache)


def load(places: Places) -> LabConfig:
    """Read and validate lab.yaml and the manifests.

    :raises ConfigError: with every problem found.
    """
    return load_config(places.lab_yaml, tuple(ARCHES))
