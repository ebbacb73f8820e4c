# SPDX-License-Identifier: GPL-2.0-only
"""The user's files that a plan names, put into the store: workloads, fragments, programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orchestrator.cluster.goods import Good, Store, files_of
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import Build, Cell, ConfigSpec, Plan
from orchestrator.workload import programs

_LIBRARY = "lib"


class Inputs:
    """What a plan is made of beside kernels: ``goods`` have it, ``mine`` says where it is here."""

    def __init__(self, plan: Plan, fragments: Path, cache: Cache, store: Store) -> None:
        self.goods: list[Good] = []
        self.mine: dict[Path, str] = {}
        self._cache = cache
        self._store = store
        self._families(plan.cells)
        here = {path.name: path for path in sorted(fragments.iterdir()) if path.is_file()}
        self.mine[fragments] = self._share(here)
        for config in dict.fromkeys(build.config for build in _builds(plan)):
            self._files(config)

    def compiled(self, cells: Iterable[Cell]) -> dict[str, Good]:
        """The compiled workloads of some cells, by architecture: no worker compiles them again."""
        found = {}
        for name, arch in ARCHES.items():
            mine = (cell for cell in cells if cell.build.arch == name and not cell.on_host)
            specs = tuple(dict.fromkeys(spec for cell in mine for spec in cell.workloads))
            if specs:
                library = programs.library_folder(specs)
                kept = programs.kept_files(specs, library, arch, self._cache)
                place = self._cache.workloads.relative_to(self._cache.folder).as_posix()
                found[name] = Good(place, self._store.share({path.name: path for path in kept}))
        return found

    def _families(self, cells: Iterable[Cell]) -> None:
        """Each family's folder, and beside it the library that all families of a place share."""
        places: dict[Path, set[str]] = {}
        for folder in dict.fromkeys(spec.folder for cell in cells for spec in cell.workloads):
            places.setdefault(folder.parent, set()).add(folder.name)
        for parent, names in sorted(places.items()):
            files = {
                f"{name}/{told}": path
                for name in sorted({*names, _LIBRARY})
                for told, path in files_of(parent / name).items()
                if "__pycache__" not in told
            }
            place = self._share(files)
            self.mine |= {parent / name: f"{place}/{name}" for name in names}

    def _files(self, config: ConfigSpec) -> None:
        for path in (*config.fragments, *([config.full] if config.full else [])):
            if not any(path.is_relative_to(root) for root in self.mine):
                self.mine[path] = f"{self._share({path.name: path})}/{path.name}"

    def _share(self, files: dict[str, Path]) -> str:
        """The place in a worker's cache of files that are in the store now."""
        digest = self._store.share(files)
        folder = self._cache.inputs.relative_to(self._cache.folder) / digest[:32]
        self.goods.append(Good(folder.as_posix(), digest))
        return folder.as_posix()


def _builds(plan: Plan) -> tuple[Build, ...]:
    return (*plan.builds, *(cell.build for cell in plan.cells))
