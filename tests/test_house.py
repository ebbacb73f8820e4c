# SPDX-License-Identifier: GPL-2.0-only
"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
SOURCES = sorted((HOME / "orchestrator").rglob("*.py"))
#: Each heavy library and the only modules that may import it.
OWNERS = {
    "yaml": {"config_yaml"},
    "jsonschema": {"config_schema"},
    "jinja2": {"report.html"},
    "junit_xml": {"report.junit"},
    "sqlite3": {"history"},
    "fabric": {"guest.ssh"},
    "paramiko": {"guest.ssh"},
    "qemu": {"guest.qemu"},
    "rich": {"progress"},
    "drgn": {"evidence.vmcore_child"},
}
#: The arrow: a stage imports only what stands before it, or itself.
STAGES = ("kernel", "guest", "evidence", "report", "commands")
MAY_IMPORT = {
    "kernel": {"kernel"},
    "guest": {"guest"},
    "evidence": {"evidence"},
    "report": {"report"},
    "commands": {"commands", "kernel", "guest", "evidence", "report"},
}


def name_of(path: Path) -> str:
    parts = path.relative_to(HOME / "orchestrator").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "orchestrator"


@functools.lru_cache(None)
def imports_of(path: Path, top_level_only: bool = False) -> set[str]:
    """Full names of what a module imports, those inside functions too unless told otherwise."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_each_heavy_library_has_one_room(library: str) -> None:
    users = {
        name_of(path)
        for path in SOURCES
        if any(name.split(".")[0] == library for name in imports_of(path))
    }
    assert users == OWNERS[library]


def test_only_commands_know_the_command_line() -> None:
    for path in SOURCES:
        if any(name.split(".")[0] == "click" for name in imports_of(path)):
            assert name_of(path).split(".")[0] in ("cli", "commands", "entry")


def test_one_module_starts_processes() -> None:
    starters = {"Popen", "run", "call", "check_call", "check_output", "getoutput"}
    guilty = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            if not isinstance(owner, ast.Name):
                continue
            if (owner.id == "subprocess" and node.func.attr in starters) or (
                owner.id == "os" and node.func.attr in {"system", "popen", "fork", "posix_spawn"}
            ):
                guilty.add(name_of(path))
    assert guilty == {"process"}


def test_imports_have_no_circle() -> None:
    modules = {name_of(path): path for path in SOURCES}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        wanted = {n.removeprefix("orchestrator.") for n in imports_of(path) if "." in n}
        graph[name] = {other for other in wanted if other in modules and other != name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("stage", STAGES)
def test_imports_follow_the_arrow(stage: str) -> None:
    for path in SOURCES:
        name = name_of(path)
        if not name.startswith(f"{stage}."):
            continue
        for imported in imports_of(path):
            parts = imported.split(".")
            if parts[0] == "orchestrator" and len(parts) > 1 and parts[1] in STAGES:
                assert parts[1] in MAY_IMPORT[stage], f"{name} imports {imported}"


def test_the_report_side_starts_nothing() -> None:
    for path in SOURCES:
        if name_of(path).startswith("report.") or name_of(path) in ("compare", "cases", "results"):
            assert "orchestrator.process" not in imports_of(path), name_of(path)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_each_file_is_one_room(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# SPDX-License-Identifier: GPL-2.0-only\n")
    limit = 950 if path.name == "model.py" else 420  # model.py holds all the values
    assert len(text.splitlines()) <= limit
    assert ast.get_docstring(ast.parse(text))


def test_no_command_goes_through_a_shell() -> None:
    for path in SOURCES:
        assert not re.search(r"shell\s*=\s*True", path.read_text()), path


def test_tracked_files_are_small() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=HOME, capture_output=True, check=False, timeout=30
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        path = HOME / name
        if path.is_file() and not path.is_symlink():
            assert path.stat().st_size < 2 << 20, name
