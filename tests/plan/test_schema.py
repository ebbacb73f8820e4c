# SPDX-License-Identifier: GPL-2.0-only
"""The schemas of lab.yaml and of manifests: documented, valid, and checked quickly."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from plan_files import LAB, MANIFEST, values

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.plan.schema import LAB_SCHEMA, MANIFEST_SCHEMA, fits, load_schema


@given(data=st.data())
def test_the_quick_check_never_lets_pass_what_jsonschema_refuses(data: st.DataObject) -> None:
    from jsonschema import Draft202012Validator

    name, text = data.draw(st.sampled_from([(LAB_SCHEMA, LAB), (MANIFEST_SCHEMA, MANIFEST)]))
    schema = load_schema(name)
    document = yaml.safe_load(text)
    assert fits(document, schema, schema)
    # Put anything in place of, or beside, any part of a right document.
    part = document
    while True:
        keys = sorted(part) if isinstance(part, dict) else list(range(len(part)))
        key = data.draw(st.sampled_from(keys)) if keys else None
        inner = part[key] if key is not None else None
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        part = inner
    if isinstance(part, list):
        part.append(data.draw(values))
    else:
        part[data.draw(st.sampled_from(sorted(part)) | st.text(max_size=3))] = data.draw(values)
    if fits(document, schema, schema):
        assert list(Draft202012Validator(schema).iter_errors(document)) == []


def test_the_quick_check_knows_every_keyword_of_the_schemas() -> None:
    assert not fits("x", {"type": "string", "format": "date"}, {})
    for name, text in ((LAB_SCHEMA, LAB), (MANIFEST_SCHEMA, MANIFEST)):
        assert fits(yaml.safe_load(text), load_schema(name), load_schema(name))


def documented(section: str) -> set[str]:
    """The keys that a section of docs/lab-yaml.md has in its tables."""
    text = (HOME / "docs/lab-yaml.md").read_text(encoding="utf-8")
    sections = re.split(r"^##+ ", text, flags=re.M)
    (body,) = [s for s in sections if s.splitlines()[0] == section]
    tables = [part for part in body.split("\n\n") if part.startswith("| key |")]
    return set(re.findall(r"^\| `([^`]+)` \|", "\n".join(tables), flags=re.M))


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    lab, manifest = load_schema(LAB_SCHEMA), load_schema(MANIFEST_SCHEMA)
    yield "Top level", lab
    yield "A manifest", manifest
    titles = {
        "kernel": "Kernels",
        "config": "Configs",
        "shape": "Shapes",
        "profile": "Profiles",
        "block": "Blocks of a matrix",
        "expectation": "Expected failures",
        "known_issue": "Known issues",
        "workload": "A workload",
        "judging": "Judging",
        "cluster": "Cluster",
        "nightly": "Nightly",
        "mail": "Mail of a night",
    }
    messages = {"lab.yaml": "Messages of the lab and of a config"}
    for schema in (lab, manifest):
        titles["messages"] = messages.get(schema["title"], "Message rules")
        for name, part in schema["$defs"].items():
            if part["type"] == "object":
                yield titles[name], part


@pytest.mark.parametrize(("section", "schema"), list(objects()))
def test_every_key_is_documented(section: str, schema: dict[str, Any]) -> None:
    assert documented(section) == set(schema["properties"])


def test_the_words_of_the_schema_are_documented() -> None:
    text = (HOME / "docs/lab-yaml.md").read_text(encoding="utf-8")
    for word in load_schema(MANIFEST_SCHEMA)["$defs"]["invariants"]["items"]["enum"]:
        assert f"`{word}`" in text
    for word in ("swap", "thp", "ksm", "numa", "hugepages", "root", "CONFIG_NAME", *ARCHES):
        assert f"`{word}`" in text


@pytest.mark.parametrize("name", [LAB_SCHEMA, MANIFEST_SCHEMA])
def test_schemas_are_valid_and_say_what_is_expected(name: str) -> None:
    from jsonschema import Draft202012Validator

    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)

    def walk(part: object) -> Iterator[dict[str, Any]]:
        if isinstance(part, dict):
            yield part
            part = list(part.values())
        for inner in part if isinstance(part, list) else []:
            yield from walk(inner)

    for part in walk(schema):
        if "pattern" in part:
            assert "x-expected" in part, part
            assert not part["pattern"].endswith("$"), "in Python $ lets a newline follow"
        if "properties" in part and "type" in part:
            assert part["additionalProperties"] is False
            for inner in part["properties"].values():
                assert "description" in inner, inner


def test_a_right_file_does_not_pay_for_jsonschema(lab: Path) -> None:
    code = (
        "import sys, pathlib, orchestrator.plan.matrix;"
        "from orchestrator.plan.lab_yaml import load_config;"
        f"load_config(pathlib.Path({str(lab)!r}), ['x86_64', 'arm64'], pathlib.Path('/'));"
        "print(*sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME
    ).stdout
    assert "orchestrator.plan.matrix" in out.split()
    assert "jsonschema" not in out.split()
