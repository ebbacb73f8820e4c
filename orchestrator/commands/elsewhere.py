# SPDX-License-Identifier: GPL-2.0-only
"""On which machines a run is carried out, by the command line and by lab.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.model.errors import UserError

if TYPE_CHECKING:
    from orchestrator.cluster.engine import Cluster
    from orchestrator.model.spec import LabConfig

#: What ``--scheduler`` takes to run here although lab.yaml names a cluster.
HERE = "local"


def cluster_of(
    config: LabConfig, scheduler: str | None, store: str | None, tls: Path | None
) -> Cluster | None:
    """The cluster that a run is carried out on; None for this machine alone.

    What the command line says goes before ``cluster:`` of lab.yaml.

    :raises UserError: where the scheduler's address, the certificates or the store are wrong.
    :raises HostError: where no scheduler answers.
    """
    spec = config.cluster
    address = scheduler or spec.scheduler
    if not address or address == HERE:
        if store or tls:
            raise UserError("--store and --tls are about a cluster", "name its --scheduler")
        return None
    from orchestrator.cluster.engine import Cluster
    from orchestrator.cluster.tls import parse

    tls, store = tls or spec.tls, store or spec.store
    if not store:
        raise UserError(
            "a cluster needs a store, a folder or URL that all its workers reach",
            "--store DIR, or `store:` under `cluster:` in lab.yaml",
        )
    if "://" not in store:
        store = str(Path(store).expanduser().resolve())
    cluster = Cluster(parse(address, tls), store, tls, spec.kvm)
    cluster.check()
    return cluster
