# SPDX-License-Identifier: GPL-2.0-only
"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import fnmatch
import functools
import re
import subprocess
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.model import names

SOURCES = sorted((HOME / "orchestrator").rglob("*.py"))
#: Each heavy library and the only modules that may import it.
OWNERS = {
    "yaml": {"plan.yaml_reader"},
    "jsonschema": {"plan.schema"},
    "jinja2": {"report.pages"},
    "junit_xml": {"report.junit"},
    "sqlite3": {"results.history_file"},
    "fabric": {"guest.ssh"},
    "paramiko": {"guest.ssh"},
    "qemu": {"guest.qemu"},
    "rich": {"commands.live"},
    "watchfiles": {"commands.watch"},
    "drgn": {"evidence.vmcore.child"},
    "dask": {"cluster.remote"},
    "distributed": {"cluster.remote"},
    "fsspec": {"cluster.goods"},
    "cryptography": {"cluster.tls", "guest.seed"},
    "tree_sitter": {"kernel.mutants.ctree"},
    "tree_sitter_c": {"kernel.mutants.ctree"},
}
#: What each room may import besides itself: only what stands below it.  A module that stands in no
#: room of this table fails the test.
MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "host": {"model"},
    "plan": {"model"},
    "evidence": {"model", "host"},  # host: for the process that reads a memory dump alone
    "guest": {"model", "host"},
    "kernel": {"model", "host"},
    "workload": {"model", "host", "kernel", "guest", "evidence"},
    "judge": {"model", "evidence"},
    "results": {"model", "judge"},
    "report": {"model", "judge"},
    "runner": {
        "model", "host", "plan", "kernel", "guest", "evidence", "workload", "judge", "results",
        "report",
    },
    "cluster": {
        "model", "host", "plan", "kernel", "guest", "workload", "judge", "results", "runner",
    },
    "commands": {
        "model", "host", "plan", "kernel", "guest", "evidence", "workload", "judge", "results",
        "report", "runner", "cluster",
    },
    "cli": {"model", "commands"},
}  # fmt: skip
#: The package whose ``__init__`` offers what stands in it.
FACE = HOME / "orchestrator" / "runner" / "__init__.py"
#: The one module of ``evidence`` that may start a process.
READS_DUMPS = "evidence.vmcore.questions"
#: Modules without a test file of their own at the mirrored path, and the file that tests them.
TESTED_IN = {
    "commands.arguments": "commands/test_entry",
    "cluster.again": "cluster/test_engine",
    "cluster.duty": "cluster/test_engine",
    "cluster.inputs": "cluster/test_engine",
    "cluster.materials": "cluster/test_engine",
    "cluster.remote": "cluster/test_loss",
    "commands.elsewhere": "commands/test_cluster",
    "commands.chosen": "commands/test_rerun",
    "commands.asking": "commands/test_doctor",
    "commands.doctor_cache": "commands/test_doctor",
    "commands.doctor_guests": "commands/test_doctor",
    "commands.doctor_walls": "commands/test_doctor",
    "commands.init": "commands/test_history",
    "commands.list": "commands/test_history",
    "commands.options": "commands/test_entry",
    "commands.stored": "commands/test_entry",
    "commands.summary": "commands/test_run",
    "commands.telling": "commands/test_nightly",
    "commands.workspace": "commands/test_entry",
    "evidence.klog.damage": "evidence/klog/test_hits",
    "evidence.klog.facts": "evidence/klog/test_parse",
    "evidence.klog.headers": "evidence/klog/test_parse",
    "evidence.klog.lines": "evidence/klog/test_stream",
    "evidence.klog.report": "evidence/klog/test_parse",
    "evidence.klog.rules": "evidence/klog/test_parse",
    "evidence.klog.titles": "evidence/klog/test_signatures",
    "evidence.readings": "evidence/test_counters",
    "evidence.vmcore.child": "evidence/vmcore/test_questions",
    "evidence.vmcore.walk": "evidence/vmcore/test_questions",
    "guest.kdump": "guest/test_dump",
    "guest.mmdebstrap": "guest/test_root",
    "model.walls": "kernel/build/test_fenced",
    "host.cache.scratch": "kernel/source/test_fetch",
    "host.memory": "runner/test_cell",
    "host.pump": "host/test_process",
    "judge.signs": "judge/test_causes",
    "kernel.build.chosen": "kernel/build/test_coverage",
    "kernel.build.folders": "kernel/build/test_make",
    "kernel.build.foretold": "kernel/build/test_make",
    "kernel.build.request": "kernel/build/test_make",
    "kernel.lines.addr2line": "kernel/lines/test_lookup",
    "kernel.lines.elf": "kernel/lines/test_lookup",
    "kernel.lines.objects": "kernel/lines/test_lookup",
    "kernel.lines.symbols": "kernel/lines/test_lookup",
    "kernel.series.mail": "kernel/series/test_load",
    "kernel.series.misfit": "kernel/series/test_apply",
    "kernel.source.store": "kernel/source/test_fetch",
    "results.history_file": "results/test_mended",
    "model.codec": "results/test_store",
    "model.digest": "results/test_digests",
    "model.errors": "commands/test_entry",
    "model.evidence": "evidence/test_counters",
    "model.judging": "judge/test_retried",
    "model.kernel": "kernel/build/test_make",
    "model.mutants": "judge/test_mutants",
    "model.narrowing": "plan/test_changes",
    "model.nightly": "plan/test_nightly",
    "model.results": "report/test_html",
    "model.past": "results/test_history",
    "model.searched": "runner/test_bisect",
    "model.signs": "plan/test_first",
    "model.spec": "plan/test_lab_yaml",
    "judge.rates": "judge/test_sequential",
    "plan.cluster": "commands/test_cluster",
    "plan.defined": "commands/test_complete",
    "plan.known_issue": "judge/test_known_issues",
    "plan.select": "plan/test_matrix",
    "plan.selftest_table": "plan/test_selftests",
    "plan.template": "plan/test_lab_yaml",
    "report.covered_junit": "report/test_junit",
    "report.each_patch_junit": "report/test_each_patch_text",
    "report.finds_text": "commands/test_explore",
    "report.junit_text": "report/test_junit",
    "report.log_repeats": "commands/test_log",
    "report.log_text": "commands/test_log",
    "report.reproducer_checks": "report/test_reproducer",
    "report.reproducer_steps": "report/test_reproducer",
    "report.view": "report/test_html",
    "runner.collector": "runner/test_cell",
    "runner.doing": "runner/test_local",
    "runner.in_guest": "runner/test_cell",
    "runner.narrowed": "commands/test_narrow",
    "runner.find_files": "commands/test_explore",
    "runner.foreseeing": "commands/test_progress",
    "runner.repeat": "commands/test_rerun",
    "runner.searching": "runner/test_bisect",
    "runner.standing": "runner/test_cell",
    "runner.state": "runner/test_local",
    "runner.trying": "runner/test_trials",
    "workload.selftest_log": "workload/test_selftests",
    "workload.selftest_make": "workload/test_selftests",
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


def test_each_module_has_its_tests_where_one_looks_for_them() -> None:
    """At the mirrored path, or in the file that the table names; neither may be out of date."""
    tests = HOME / "tests"
    elsewhere = set()
    for path in SOURCES:
        place = path.relative_to(HOME / "orchestrator")
        if (
            path.name != "__init__.py"
            and not (tests / place.with_name(f"test_{place.name}")).exists()
        ):
            elsewhere.add(name_of(path))
    assert elsewhere == set(TESTED_IN)
    for module, file in TESTED_IN.items():
        assert (tests / f"{file}.py").is_file(), module


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
            assert name_of(path).split(".")[0] == "commands"


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
    assert guilty == {"host.process"}


def test_imports_have_no_circle() -> None:
    modules = {name_of(path): path for path in SOURCES}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        wanted = {n.removeprefix("orchestrator.") for n in imports_of(path) if "." in n}
        if path == FACE:  # what it offers is imported when it is asked for, and named for types
            wanted = set()
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


def rooms_imported(path: Path) -> set[str]:
    """The rooms whose modules a file imports; the package itself (``HOME``) is no room."""
    modules = {name_of(other) for other in SOURCES}
    found = {n.removeprefix("orchestrator.") for n in imports_of(path) if "orchestrator." in n}
    return {
        name.split(".")[0] for name in found if name.split(".")[0] in MAY_IMPORT or name in modules
    }


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_follow_the_arrow(path: Path) -> None:
    name = name_of(path)
    if name == "orchestrator":  # under all of them
        assert not any(imported.startswith("orchestrator") for imported in imports_of(path))
        return
    room = name.split(".")[0]
    assert room in MAY_IMPORT, f"{name} stands in no room"
    others = rooms_imported(path) - {room}
    assert others <= MAY_IMPORT[room], f"{name} imports {others - MAY_IMPORT[room]}"
    if room == "evidence" and name != READS_DUMPS:
        assert "host" not in others, f"{name}: only {READS_DUMPS} starts a process"


def test_the_table_of_rooms_has_no_circle() -> None:
    left = dict(MAY_IMPORT)
    while left:
        ground = {room for room, below in left.items() if not below & set(left)}
        assert ground, f"a circle among {sorted(left)}"
        left = {room: below for room, below in left.items() if room not in ground}


def test_the_report_side_starts_nothing() -> None:
    for path in SOURCES:
        if name_of(path).startswith(("judge.", "report.", "results.")):
            assert "orchestrator.host.process" not in imports_of(path), name_of(path)


def composed_names(source: str, names: set[str]) -> list[str]:
    """Which of the cache's names a source joins to the cache itself: ``cache / "builds"``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
            continue
        left, right = node.left, node.right
        if isinstance(left, ast.Attribute) and left.attr == "folder":
            left = left.value
        of = left.attr if isinstance(left, ast.Attribute) else getattr(left, "id", "")
        if of in ("cache", "_cache") and isinstance(right, ast.Constant) and right.value in names:
            found.append(str(right.value))
    return found


def test_one_module_knows_what_lies_in_the_cache() -> None:
    from orchestrator.host.cache.files import Cache

    top = Path("/c")
    properties = [name for name, kind in vars(Cache).items() if isinstance(kind, property)]
    names = {getattr(Cache(top), name).relative_to(top).parts[0] for name in properties}
    assert names > {"builds", "obj", "trees", "locks", "tmp", "kernels.git"}
    before = 'a = cache / "obj"; b = self.cache.folder / "tmp" / x; c = self._cache / "trees"'
    assert sorted(composed_names(before, names)) == ["obj", "tmp", "trees"]
    assert composed_names('cache.folder / kind; work / "obj"; store / "objects"', names) == []
    for path in [*SOURCES, *sorted((HOME / "tools").glob("*.py"))]:
        if path != HOME / "orchestrator" / "host" / "cache" / "files.py":
            assert composed_names(path.read_text(), names) == [], path


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_each_file_is_one_room(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# SPDX-License-Identifier: GPL-2.0-only\n")
    assert len(text.splitlines()) <= 430
    assert ast.get_docstring(ast.parse(text))


#: What takes the name of a case or workload as an argument.
TAKES_NAMES = {
    "CaseId",
    "CaseResult",
    "NotReady",
    "TestCase",
    "add",
    "case",
    "class_name",
    "judged",
}
#: The names of the lab's own cases, workloads and kernels: they stand in model/names.py alone.
OWN_NAMES = {
    *names.STAGES, *names.SYNTHETIC,
    names.APPLY, names.CASES, names.CLI_KERNEL, names.NEEDS, names.SHAPE,
}  # fmt: skip


def own_names_in(source: str) -> list[str]:
    """The lab's own names that stand as text where a case's or workload's name is meant."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            found += [node.left, *node.comparators] if isinstance(node.ops[0], EQUALS) else []
            found += [
                one
                for side in node.comparators
                if isinstance(side, ast.Tuple | ast.Set | ast.List)
                for one in side.elts
            ]
        elif isinstance(node, ast.Call) and called(node) in TAKES_NAMES and more_than_one(node):
            found += [*node.args, *(keyword.value for keyword in node.keywords)]
    texts = [one.value for one in found if isinstance(one, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and text in OWN_NAMES]


EQUALS = ast.Eq | ast.NotEq


def called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def more_than_one(call: ast.Call) -> bool:
    """Whether a call is no ``add()`` of a set, which takes one argument."""
    return len(call.args) + len(call.keywords) > 1


@pytest.mark.parametrize("room", ["judge", "report", "results", "runner"])
def test_the_labs_own_names_stand_once(room: str) -> None:
    for path in SOURCES:
        if name_of(path).startswith(f"{room}."):
            assert own_names_in(path.read_text()) == [], name_of(path)


def test_names_as_text_are_found() -> None:
    assert own_names_in('c.case == "hang"') == ["hang"]
    assert own_names_in('c.case in ("mine", "kernel-log")') == ["kernel-log"]
    assert own_names_in('out.add("counters", Verdict.PASS)') == ["counters"]
    assert own_names_in('CaseResult(i, workload="boot")') == ["boot"]
    assert own_names_in('retried.add("boot"); state == "seen"; c.case == HANG') == []


def test_pytest_looks_into_every_folder(pytestconfig: pytest.Config) -> None:
    skipped = pytestconfig.getini("norecursedirs")
    for path in (HOME / "tests").rglob("test_*.py"):
        for part in path.relative_to(HOME / "tests").parts[:-1]:
            assert not any(fnmatch.fnmatch(part, pattern) for pattern in skipped), path


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
