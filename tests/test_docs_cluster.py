# SPDX-License-Identifier: GPL-2.0-only
"""What docs/cluster.md ships for Slurm and Kubernetes: parsed, and its commands are the lab's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from orchestrator import HOME
from orchestrator.commands.arguments import cli

FOLDER = HOME / "docs" / "cluster"


def check_command(words: list[str]) -> None:
    """The words after ``lab`` are a command's, its options among them."""
    command = cli.commands[words[0]]
    options = {o for p in command.params if isinstance(p, click.Option) for o in p.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= options


def test_the_slurm_script() -> None:
    script = FOLDER / "lab-worker.slurm"
    subprocess.run(["sh", "-n", script], check=True, timeout=20)
    text = script.read_text()
    head = text[: text.index("\nexport")]
    assert re.search(r"^#SBATCH --array=", head, re.MULTILINE)  # before the first command
    command = text[text.index(" worker ") :].replace("\\\n", " ")
    check_command([word.strip('"') for word in command.split()])


# The oldest that its own project still mended when the manifests were written, and a newer one.
@pytest.mark.parametrize("version", ["1.33", "1.36"])
def test_the_kubernetes_manifests_fit_the_schemas_of_their_kinds(version: str) -> None:
    text = (FOLDER / "kubernetes.yaml").read_text()
    for one in yaml.safe_load_all(text):
        kubernetes_validate.validate(one, version, strict=True)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(one | {"specs": {}}, version, strict=True)


def test_the_kubernetes_manifests() -> None:
    objects: list[dict[str, Any]] = list(
        yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    )
    kinds = {(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in objects}
    assert kinds == {
        ("v1", "Service", "lab-scheduler"),
        ("apps/v1", "Deployment", "lab-scheduler"),
        ("apps/v1", "Deployment", "lab-worker"),
    }
    labels = set()
    for one in objects:
        if one["kind"] != "Deployment":
            continue
        spec = one["spec"]
        pod = spec["template"]
        # What the API server refuses: a selector that its own pods do not match.
        assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        labels.add(pod["metadata"]["labels"]["app"])
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert all(isinstance(word, str) for word in container["command"])
            assert container["command"][0].endswith("/lab")
            check_command(container["command"][1:])
    (service,) = (one for one in objects if one["kind"] == "Service")
    assert service["spec"]["selector"]["app"] in labels
    scheduler = f"tls://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert scheduler in Path(FOLDER / "kubernetes.yaml").read_text()
