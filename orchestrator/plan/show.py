# SPDX-License-Identifier: GPL-2.0-only
"""A plan for people (``lab plan``) and for scripts (``lab plan --json``).  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orchestrator.model.codec import plain
from orchestrator.model.formats import counted
from orchestrator.model.names import HOST_PLACE
from orchestrator.model.signs import Turn
from orchestrator.model.spec import (
    STRICT,
    Build,
    Cell,
    ConfigSpec,
    KnownIssue,
    MessageRules,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.capabilities import may_skip
from orchestrator.plan.first import workload_turns
from orchestrator.plan.kernels import STDIN

_LATER = (
    "A selection of selftests is found in the tree when it is read: a workload each program, in a\n"
    "guest of its own."
)

_THEN = "In each cell then what no run has tried yet, and the rest by how soon it was over."
# Of so many workloads of a cell it is told why they come first.
_MOST_FIRST = 8


def explain(plan: Plan) -> str:
    """The plan as tables of plain text: builds, cells, workloads and what is expected to fail."""
    all_runs = [workload for cell in plan.cells for workload in cell.workloads]
    head = (
        f"profile {plan.profile}: {counted(len(plan.builds), 'build')}, "
        f"{counted(len(plan.cells), 'cell')}, {_runs_text(all_runs)}"
    )
    if plan.baseline:
        head += f"; baseline {plan.baseline}"
    if plan.time_budget:
        what = "takes" if plan.spend_budget else "ends after"
        head += f"; {what} {plan.time_budget / 3600:g} h"
    groups = _groups(plan.cells)
    # What has no build has its source told all the same.
    builds = [*plan.builds, *(cell.build for cell in plan.cells if cell.on_host)]
    parts = [
        head,
        table([("BUILD", "SOURCE", "CONFIG"), *(_build_row(build) for build in builds)]),
        table([("CELL", "GUEST", "WORKLOADS"), *(_cell_row(c, groups) for c in plan.cells)]),
    ]
    for number, workloads in enumerate(groups, start=1):
        title = f"WORKLOADS {_letter(number)}" if len(groups) > 1 else "WORKLOADS"
        rows = [(title, "LIMIT", "NEEDS"), *(_workload_row(w) for w in workloads)]
        parts.append(table(rows))
    if plan.expectations:
        expected = [
            (f"{e.kernel}/{e.config}:{e.case}", "fails with", e.title) for e in plan.expectations
        ]
        parts.append(table([("EXPECTED TO FAIL", "", ""), *expected]))
    if plan.known_issues:
        known = [
            (_issue(issue), " or ".join(issue.kernels), issue.reason) for issue in plan.known_issues
        ]
        parts.append(table([("KNOWN ISSUE", "KERNELS", "REASON"), *known]))
    parts += _first(plan)
    if any(map(_is_selection, all_runs)):
        parts.append(_LATER)
    return "\n\n".join(parts) + "\n"


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as JSON has it; sizes in MiB, times in seconds."""
    return {
        "profile": plan.profile,
        "baseline": plan.baseline,
        "time_budget": plan.time_budget,
        "spend_budget": plan.spend_budget,
        "builds": [
            {
                "id": build.id,
                "kernel": build.kernel.name,
                "source": build.kernel.source,
                "series": build.kernel.series,
                "apply": build.kernel.apply,
                "patches": build.kernel.patches or None,
                "prefix_of": build.kernel.prefix_of or None,
                "config": build.config.name,
                "fragments": [path.stem for path in build.config.fragments],
                "dotconfig": str(build.config.full) if build.config.full else None,
                "toolchain": str(build.config.toolchain),
                "selftest_config": list(build.config.selftest_config),
                "modules": build.config.modules,
                "coverage": list(build.config.coverage),
                "kcov": list(build.config.kcov),
                "arch": build.arch,
            }
            for build in plan.builds
        ],
        "cells": [_cell_to_dict(cell) for cell in plan.cells],
        "turns": [_turn_to_dict(turn) for turn in plan.turns],
        "expectations": [
            {"kernel": e.kernel, "config": e.config, "case": e.case, "title": e.title}
            for e in plan.expectations
        ],
        "known_issues": [plain(issue) for issue in plan.known_issues],
    }


def _cell_to_dict(cell: Cell) -> dict[str, Any]:
    shape = cell.shape
    return {
        "id": cell.id,
        "build": cell.build.id,
        "shape": {
            "name": shape.name,
            "cpus": shape.cpus,
            "memory_mib": shape.memory_mib,
            "nodes": shape.nodes,
            "machine": shape.machine,
            "boot_args": list(shape.boot_args),
            "swap_disk_mib": shape.swap_disk_mib,
            "zram_mib": shape.zram_mib,
        },
        "workloads": [
            {"name": w.name, "timeout": w.timeout, "may_skip": may_skip(cell, w)}
            for w in cell.workloads
        ],
        "turns": [_turn_to_dict(turn) for turn in workload_turns(cell)],
    }


def _turn_to_dict(turn: Turn) -> dict[str, str]:
    return {"name": turn.name, "why": turn.why}


def _first(plan: Plan) -> list[str]:
    """A table of what comes first and why, cell by cell in their order; what the rest goes by."""
    if not any(cell.signs for cell in plan.cells):
        return []
    cells = {cell.id: cell for cell in plan.cells}
    rows: list[tuple[str, str]] = []
    for turn in plan.turns:
        likely = [one for one in workload_turns(cells[turn.name]) if one.why]
        more = len(likely) - _MOST_FIRST
        if turn.why or likely:
            rows.append((turn.name, turn.why))
        rows += [(f"  {one.name}", one.why) for one in likely[:_MOST_FIRST]]
        rows += [(f"  and {more} more", "")] if more > 0 else []
    return [table([("FIRST", "WHY"), *rows]), _THEN] if rows else [_THEN]


def _issue(issue: KnownIssue) -> str:
    if issue.case:
        return f"{issue.workload}:{issue.case}"
    return issue.signature or issue.title


def _letter(number: int) -> str:
    """1 is A, 26 is Z, 27 is AA."""
    text = ""
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def _groups(cells: Sequence[Cell]) -> list[tuple[WorkloadSpec, ...]]:
    """The different workload lists, in order of appearance; most plans have one.

    A cell that is there to see that it boots has none.
    """
    return list(filter(None, dict.fromkeys(map(_shown, cells))))


def _shown(cell: Cell) -> tuple[WorkloadSpec, ...]:
    """A cell's workloads without message rules, which may differ by config and are not shown."""
    return tuple(replace(workload, messages=MessageRules()) for workload in cell.workloads)


def _build_row(build: Build) -> tuple[str, str, str]:
    source = build.kernel.source
    if build.kernel.series:
        given = build.kernel.series
        source += f" + {'standard input' if given == STDIN else given}"
        if build.kernel.patches:
            source += f" (first {build.kernel.patches})"
        if build.kernel.apply != STRICT:
            source += f" ({build.kernel.apply})"
    return build.id, source, _config_text(build.config)


def _config_text(config: ConfigSpec) -> str:
    parts = [str(config.full)] if config.full else []
    parts += [path.stem for path in config.fragments]
    parts += [f"selftests/{name}" for name in config.selftest_config]
    if config.name == HOST_PLACE:
        return "not built"
    parts += ["(with modules)"] * config.modules
    parts += [f"(coverage of {', '.join(config.coverage)})"] if config.coverage else []
    parts += [f"(kcov of {', '.join(config.kcov)})"] if config.kcov else []
    return " ".join([*parts, f"(by {config.toolchain})"] if config.toolchain.folder else parts)


def _is_selection(workload: WorkloadSpec) -> bool:
    """Whether it stands for programs that are known only when the tree was looked at."""
    return workload.selftests is not None and workload.bundle is None


def _runs_text(workloads: Sequence[WorkloadSpec]) -> str:
    """``96 workload runs``, of which selections of selftests are none yet."""
    selections = sum(map(_is_selection, workloads))
    known = counted(len(workloads) - selections, "workload run")
    more = counted(selections, "selection") + " of selftests"
    if not selections:
        return known
    return f"{known} and {more}" if len(workloads) > selections else more


def _many(workloads: Sequence[WorkloadSpec]) -> str:
    """How many workloads a cell has, as a table says it."""
    selections = sum(map(_is_selection, workloads))
    if not selections:
        return str(len(workloads))
    known = f"{len(workloads) - selections} + " if len(workloads) > selections else ""
    return known + counted(selections, "selection")


def _cell_row(cell: Cell, groups: list[tuple[WorkloadSpec, ...]]) -> tuple[str, str, str]:
    many = _many(cell.workloads)
    if not cell.workloads:
        many = "none: it boots"
    elif len(groups) > 1:
        many += f" (list {_letter(groups.index(_shown(cell)) + 1)})"
    guest = "this machine, no guest" if cell.on_host else _shape_text(cell.shape)
    return cell.id, guest, many


def _shape_text(shape: ShapeSpec) -> str:
    parts = [counted(shape.cpus, "cpu"), _size(shape.memory_mib)]
    if shape.nodes > 1:
        parts.append(f"{shape.nodes} nodes")
    if shape.zram_mib:
        parts.append(f"zram {_size(shape.zram_mib)}")
    if shape.swap_disk_mib:
        parts.append(f"swap disk {_size(shape.swap_disk_mib)}")
    if shape.machine:
        parts.append(shape.machine)
    return ", ".join([*parts, *shape.boot_args])


def _size(mib: int) -> str:
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def _workload_row(workload: WorkloadSpec) -> tuple[str, str, str]:
    needs = " ".join(workload.needs) or "-"
    each = " each" if _is_selection(workload) else ""
    return workload.name, f"{workload.timeout:g} s{each}", needs


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of equally many cells, the first one the head, in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
