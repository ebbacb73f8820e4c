# SPDX-License-Identifier: GPL-2.0-only
"""Read the workload families' manifests: ``guest-tests/FAMILY/manifest.yaml`` -> WorkloadSpec."""

from __future__ import annotations

from pathlib import Path

from orchestrator.model.errors import HostError
from orchestrator.model.names import BOOT, BUILD, CONFIG, COUNTERS, GUEST, KERNEL, SERIES
from orchestrator.model.spec import MessageRules, SelftestSpec, WorkloadSpec
from orchestrator.plan.host_table import read_host_table
from orchestrator.plan.problems import Problem, Problems, suggest
from orchestrator.plan.schema import MANIFEST_SCHEMA, check
from orchestrator.plan.selftest_table import read_table
from orchestrator.plan.yaml_reader import View, read_document, regexes

MANIFEST = "manifest.yaml"

#: What a workload may need besides ``CONFIG_X``.
CAPABILITIES = ("swap", "thp", "ksm", "numa", "hugepages", "root")

#: Workload names of synthetic cases: no family may be called so.
RESERVED_FAMILIES = (BUILD, BOOT, CONFIG, COUNTERS, GUEST, KERNEL, SERIES)

# Sources that several families share, and the lab's own programs: without a manifest, no families.
_SHARED = ("lib", "agent")
_PROGRAMS = (".c", ".py", ".sh")


def read_workloads(
    folders: tuple[tuple[str, Path], ...], problems: Problems
) -> tuple[tuple[WorkloadSpec, ...], bool]:
    """The workloads of all families in ``folders``, sorted by family, in manifest order.

    The flag tells whether all were read: where a family is missing, a pattern that selects nothing
    may be right.

    :param folders: (name for messages, folder of families) pairs.
    :param problems: gets what is wrong with the manifests.
    """
    found: list[WorkloadSpec] = []
    complete = True
    families: dict[str, str] = {}
    for shown, folder in folders:
        for family_folder in sorted(path for path in _listed(folder) if path.is_dir()):
            family = family_folder.name
            if not _holds_programs(family_folder):
                continue
            name = f"{shown}/{family}/{MANIFEST}"
            if family in families:
                problems.add(
                    Problem(name, 0, "", f"family {family!r} is in {families[family]} too")
                )
                continue
            families[family] = shown
            workloads = _read_manifest(family_folder, name, problems)
            complete = complete and bool(workloads)
            found += workloads
    return tuple(found), complete


def _holds_programs(folder: Path) -> bool:
    """A folder with a program but no manifest is a mistake; one with neither is not ours."""
    if folder.name.startswith((".", "_")):
        return False
    programs = () if folder.name in _SHARED else _PROGRAMS
    return any(f.suffix in programs or f.name == MANIFEST for f in _listed(folder))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise HostError(f"cannot look into {folder}: {error.strerror}") from error


def _read_manifest(folder: Path, name: str, problems: Problems) -> list[WorkloadSpec]:
    document = read_document(folder / MANIFEST, name, problems)
    if document is None:
        return []
    check(document, MANIFEST_SCHEMA, problems)
    top = View.of(document)
    family = folder.name
    if top.text("family") != family:
        problems.add(document.problem(("family",), f"expected {family!r}, the name of the folder"))
    if family in RESERVED_FAMILIES:
        problems.add(document.problem(("family",), f"{family!r} names the lab's own cases"))
    found: list[WorkloadSpec] = []
    lines: dict[str, int] = {}
    for view in top.items("workloads"):
        short = view.text("name")
        if short is None:
            continue
        line = document.line(view.path)
        if short in lines:
            problems.add(
                document.problem(view.at("name"), f"{short!r} is on line {lines[short]} already")
            )
            continue
        lines[short] = line
        workload = _workload(short, view, top, folder, problems)
        table = view.text("host")
        if table is None:
            found.append(workload)
        else:
            shown = f"{folder.parent.name}/{family}/{table}"
            found += read_host_table(folder / table, shown, workload, problems)
    return found


def _workload(short: str, view: View, top: View, folder: Path, problems: Problems) -> WorkloadSpec:
    holder = view.under(top)
    args, suite = view.raw("args"), top.flag("kunit", False)
    description = view.text("description") or top.text("description") or ""
    return WorkloadSpec(
        name=f"{folder.name}/{short}",
        family=folder.name,
        folder=folder,
        program=_program(view, holder("program"), folder, problems),
        args=(short,) * suite + (tuple(str(arg) for arg in args) if isinstance(args, list) else ()),
        description=" ".join(description.split()),
        needs=holder("needs").words("needs"),
        exercises=holder("exercises").words("exercises"),
        timeout=holder("timeout").seconds("timeout", problems) or WorkloadSpec.timeout,
        deterministic=holder("deterministic").flag("deterministic", True),
        messages=_messages(view.child("messages"), top.child("messages"), problems),
        counters=holder("counters").words("counters"),
        selftests=_selftests(short, view, folder, problems),
        invariants=holder("invariants").words("invariants"),
        kunit=suite,
        where=view.where(),
        budget=holder("budget").seconds("budget", problems) or WorkloadSpec.budget,
        longest_call=holder("longest_call").seconds("longest_call", problems)
        or WorkloadSpec.longest_call,
    )


def _selftests(short: str, view: View, folder: Path, problems: Problems) -> SelftestSpec | None:
    name = view.text("selftests")
    if name is None:
        return None
    shown = f"{folder.parent.name}/{folder.name}/{name}"
    return read_table(folder / name, shown, f"{folder.name}/{short}", problems)


def _program(view: View, holder: View, folder: Path, problems: Problems) -> str:
    program = holder.text("program")
    if program is None:
        if "program" not in holder and "host" not in view:
            problems.add(
                view.document.problem(
                    view.at("program"), "is missing: expected a .c or .py file of this folder"
                )
            )
        return ""
    if "/" not in program and "\0" not in program and not (folder / program).is_file():
        present = {f.name for f in _listed(folder) if f.suffix in _PROGRAMS}
        problems.add(
            holder.document.problem(
                holder.at("program"), f"no file {program!r} here; {suggest(program, present)}"
            )
        )
    return program


def _messages(own: View, family: View, problems: Problems) -> MessageRules:
    holder = own.under(family)

    def rules(key: str) -> tuple[str, ...]:
        return regexes(holder(key), key, problems)

    return MessageRules(rules("requires"), rules("allows"), rules("forbids"))
