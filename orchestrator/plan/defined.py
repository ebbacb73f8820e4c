# SPDX-License-Identifier: GPL-2.0-only
"""The names that a lab.yaml defines, whatever else is wrong with it: what a shell can complete."""

from __future__ import annotations

from pathlib import Path

from orchestrator import HOME
from orchestrator.plan.find import DEFAULT_WORKLOAD_FOLDERS
from orchestrator.plan.problems import Problems
from orchestrator.plan.yaml_reader import View, read_document

#: What tells one definition from the next, by kind.
_TOLD = {"kernels": "source", "profiles": "description"}


def defined(lab_yaml: Path, kind: str, home: Path = HOME) -> dict[str, str]:
    """Name and description ("" where there is none) of each definition of ``kind``.

    Reads and checks no more than that: the file may be wrong elsewhere.  One that is no YAML
    defines nothing.

    :param kind: ``kernels``, ``configs``, ``shapes``, ``profiles`` or ``workloads``.
    :param home: the lab's own folder, where workloads are that are not beside the file.
    :raises HostError: when a folder of workloads cannot be looked into.
    """
    document = read_document(lab_yaml, lab_yaml.name, Problems())
    if document is None:
        return {}
    top = View.of(document)
    if kind == "workloads":
        return _workloads(top, (lab_yaml.parent, home))
    told = _TOLD.get(kind, "")
    return {name: view.text(told) or "" for name, view in top.children(kind)}


def _workloads(top: View, bases: tuple[Path, ...]) -> dict[str, str]:
    # What it imports takes longer than reading the file, and only workloads need it.
    from orchestrator.plan.manifest import read_workloads

    names = top.words("workload_folders") or DEFAULT_WORKLOAD_FOLDERS
    places = [[base / Path(name).expanduser() for base in bases] for name in names]
    found = [next((path for path in each if path.is_dir()), None) for each in places]
    folders = tuple((path.name, path) for path in found if path is not None)
    return {spec.name: spec.description for spec in read_workloads(folders, Problems())[0]}
