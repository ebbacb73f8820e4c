# SPDX-License-Identifier: GPL-2.0-only
"""Read ``cluster:`` of lab.yaml; the schema has told what has the wrong type."""

from __future__ import annotations

from pathlib import Path

from orchestrator.model.spec import ClusterSpec
from orchestrator.plan.yaml_reader import View


def read_cluster(view: View) -> ClusterSpec:
    """Where runs are carried out; its paths are relative to lab.yaml's folder."""
    folder = view.document.path.parent
    tls, store = view.text("tls"), view.text("store") or ""
    if store and "://" not in store:
        store = str(folder / Path(store).expanduser())
    return ClusterSpec(
        scheduler=view.text("scheduler") or "",
        store=store,
        tls=None if tls is None else folder / Path(tls).expanduser(),
        kvm=view.flag("kvm", False),
    )
