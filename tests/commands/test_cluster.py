# SPDX-License-Identifier: GPL-2.0-only
"""``--scheduler``, ``cluster:`` of lab.yaml, ``lab worker``, ``lab cluster``: what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_lab import free_port
from in_process import run_lab

from orchestrator.commands.elsewhere import cluster_of
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import ClusterSpec, LabConfig
from orchestrator.plan.lab_yaml import init_text, load_config
from orchestrator.plan.problems import ConfigError


def config_of(folder: Path, cluster: str = "") -> LabConfig:
    path = folder / "lab.yaml"
    path.write_text(f"{init_text()}\n{cluster}")
    return load_config(path, tuple(ARCHES))


def test_without_a_cluster_a_run_is_this_machines(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert config.cluster == ClusterSpec()
    assert cluster_of(config, None, None, None) is None
    with pytest.raises(UserError, match="about a cluster"):
        cluster_of(config, None, "/srv/store", None)


def test_lab_yaml_names_one(tmp_path: Path) -> None:
    text = "cluster: {scheduler: 'tls://b:8786', store: st, tls: certificates, kvm: true}\n"
    config = config_of(tmp_path, text)
    folders = (str(tmp_path / "st"), tmp_path / "certificates")
    assert config.cluster == ClusterSpec("tls://b:8786", *folders, kvm=True)
    assert cluster_of(config, "local", None, None) is None
    with pytest.raises(UserError, match=r"certificates has no ca\.pem"):
        cluster_of(config, None, None, None)
    url = config_of(tmp_path, "cluster: {store: 's3://bucket/lab'}\n").cluster.store
    assert url == "s3://bucket/lab"


@pytest.mark.parametrize(
    "text", ["{scheduler: 8786}", "{scheduler: 'http://b'}", "{workers: 3}", "{kvm: maybe}"]
)
def test_what_lab_yaml_says_wrong_is_told_with_its_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lab\.yaml:\d+"):
        config_of(tmp_path, f"cluster: {text}\n")


def test_a_cluster_needs_a_store_and_a_scheduler(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    here = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match="needs a store"):
        cluster_of(config, here, None, None)
    with pytest.raises(UserError, match="can run any code"):
        cluster_of(config, "tcp://10.0.0.1:8786", "/srv/store", None)
    with pytest.raises(HostError, match="no scheduler answers"):
        cluster_of(config, here, str(tmp_path / "store"), None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("worker", "--scheduler", "tcp://10.0.0.1:8786"), "can run any code on every worker"),
        (("worker", "--scheduler", "tls://10.0.0.1:8786"), "needs certificates"),
        (("cluster", "scheduler", "--listen", "tcp://0.0.0.0:8786"), "can run any code"),
        (("cluster", "scheduler", "here"), "without a DIR"),
        (("cluster", "init"), "lab cluster init DIR"),
    ],
)
def test_what_is_refused(
    words: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = run_lab(monkeypatch, capsys, *words)
    assert done.status == 2
    assert told in done.err


def test_certificates_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "tls")
    done = run_lab(monkeypatch, capsys, "cluster", "init", folder)
    assert done.status == 0
    assert [Path(line).name for line in done.out.splitlines()] == [
        "ca.pem", "ca-key.pem", "node.pem", "node-key.pem",
    ]  # fmt: skip
    assert run_lab(monkeypatch, capsys, "cluster", "init", folder).status == 2
