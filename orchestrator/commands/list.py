# SPDX-License-Identifier: GPL-2.0-only
"""``lab list``: what lab.yaml and the manifests define."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable
from typing import Any

import click

from orchestrator.commands.workspace import find_places, read
from orchestrator.model import lookup
from orchestrator.model.arch import ARCHES
from orchestrator.model.codec import plain
from orchestrator.model.errors import UserError
from orchestrator.model.spec import (
    STRICT,
    ConfigSpec,
    HostTest,
    KernelSpec,
    LabConfig,
    ProfileSpec,
    SelftestSpec,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.problems import suggest
from orchestrator.plan.select import match

KINDS = ("workloads", "kernels", "configs", "shapes", "profiles", "arches")


def listing(words: tuple[str, ...], as_json: bool) -> int:
    """List the definitions of one kind, or those that some names or globs select.

    :param words: a kind and then names, or names alone; none: all workloads.
    :raises UserError: when lab.yaml is missing or wrong, or a name selects nothing.
    """
    config = read(find_places(anywhere=True))
    kinds: tuple[str, ...] = KINDS if words else KINDS[:1]
    if words and words[0] in KINDS:
        kinds, words = words[:1], words[1:]
    what, items = _chosen(config, kinds, words)
    if as_json:
        click.echo(json.dumps([plain(item) for item in items], indent=1))
        return 0
    width = max(40, min(shutil.get_terminal_size().columns, 110))
    for item in items:
        click.echo("\n".join(_TEXTS[what](item, config, width)))
    return 0


def _chosen(
    config: LabConfig, kinds: tuple[str, ...], patterns: tuple[str, ...]
) -> tuple[str, tuple[Any, ...]]:
    """The first kind of which every pattern selects something, and what they select there."""
    defined = {kind: _defined(config, kind) for kind in kinds}
    for kind, items in defined.items():
        if all(match(kind, (pattern,), items) for pattern in patterns):
            names = match(kind, patterns, items) if patterns else tuple(items)
            return kind, tuple(items[name] for name in names)
    if "workloads" in kinds:  # the ends of their names, as for --workload
        items = defined["workloads"]
        ends = {name for pattern in patterns for name in lookup.fitting(pattern, items)}
        if all(lookup.fitting(pattern, items) for pattern in patterns):
            return "workloads", tuple(item for name, item in items.items() if name in ends)
    known = [name for items in defined.values() for name in items]
    known += KINDS if len(kinds) > 1 else ()
    wrong = next((p for p in patterns if not any(match(k, (p,), defined[k]) for k in kinds)), "")
    if not wrong:
        raise UserError(f"{' and '.join(patterns)} are of different kinds", "list them one by one")
    raise UserError(f"nothing is called {wrong!r}; {suggest(wrong, known)}")


def _defined(config: LabConfig, kind: str) -> dict[str, Any]:
    """The definitions of one kind by name."""
    if kind == "arches":
        return {name: name for name in ARCHES}
    return {item.name: item for item in getattr(config, kind)}


def _workload(item: WorkloadSpec, _config: LabConfig, width: int) -> list[str]:
    racing = "" if item.deterministic else ", races"
    if item.budget:
        racing += f", loops for {item.budget:g} s"
    lines = _head(item.name, item.description, width)
    if item.selftests is not None:
        return lines + _selftests(item.selftests, width)
    if item.host is not None:
        return lines + _host(item, item.host, racing, width)
    lines += _field("runs", f"{' '.join((item.program, *item.args))}, up to {item.timeout:g} s"
                    f"{racing}", width)  # fmt: skip
    lines += _field("needs", ", ".join(item.needs) or "nothing", width)
    lines += _field("exercises", ", ".join(item.exercises), width)
    lines += _field("counters", ", ".join(item.counters), width)
    lines += _field("invariants", ", ".join(item.invariants), width)
    for name in ("requires", "allows", "forbids"):
        lines += _field(f"{name}", "; ".join(getattr(item.messages, name)), width)
    return lines


def _host(item: WorkloadSpec, test: HostTest, racing: str, width: int) -> list[str]:
    """A program of the tree that runs on this machine."""
    runs = f"{' '.join((test.target, *item.args))} of {test.folder} on this machine"
    lines = _field("runs", f"{runs}, up to {item.timeout:g} s{racing}", width)
    lines += _field("built", f"with {' '.join(test.make)}" if test.make else "", width)
    lines += _field("sanitizers", ", ".join(test.sanitize), width)
    return lines + _field("packages", ", ".join(test.packages), width)


def _selftests(tests: SelftestSpec, width: int) -> list[str]:
    """What programs of the table need; which there are besides is the tree's to say."""
    text = f"the programs of tools/testing/selftests/{tests.collection}, each in a guest of its own"
    lines = _field("runs", text, width)
    needs: dict[str, dict[str, None]] = {}
    for run in tests.runs:
        for need in run.needs:
            needs.setdefault(need, {})[run.program] = None
    for need, programs in needs.items():
        lines += _field("needs", f"{need}: {', '.join(programs)}", width)
    return lines


def _kernel(item: KernelSpec, config: LabConfig, width: int) -> list[str]:
    default = " (default)" if item.name in _default_kernels(config) else ""
    lines = _head(item.name + default, item.source, width)
    lines += _field("series", item.series or "", width)
    lines += _field("apply", item.apply if item.apply != STRICT else "", width)
    return lines + _field("provides", ", ".join(item.provides), width)


def _config(item: ConfigSpec, _config: LabConfig, width: int) -> list[str]:
    parts = [path.stem for path in item.fragments]
    if item.full:
        parts.insert(0, str(item.full))
    parts += [f"selftests/{name}" for name in item.selftest_config]
    lines = _head(item.name, " + ".join(parts), width)
    lines += _field("provides", ", ".join(item.provides), width)
    lines += _field("lacks", ", ".join(item.lacks), width)
    lines += _field("by", item.toolchain.folder, width)
    lines += _field("modules", "in the guest" if item.modules else "", width)
    return lines + _field("only on", ", ".join(item.only_arch), width)


def _shape(item: ShapeSpec, _config: LabConfig, width: int) -> list[str]:
    parts = [f"{item.cpus} CPUs", f"{item.memory_mib} MiB"]
    parts += [f"{item.nodes} nodes"] if item.nodes > 1 else []
    parts += [f"{item.zram_mib} MiB zram"] if item.zram_mib else []
    parts += [f"{item.swap_disk_mib} MiB swap disk"] if item.swap_disk_mib else []
    parts += [f"machine {item.machine}"] if item.machine else []
    lines = _head(item.name, ", ".join(parts), width)
    lines += _field("boots with", " ".join(item.boot_args), width)
    return lines + _field("only on", ", ".join(item.only_arch), width)


def _profile(item: ProfileSpec, config: LabConfig, width: int) -> list[str]:
    default = " (default)" if item.name == config.default_profile else ""
    lines = _head(item.name + default, item.description, width)
    for entry in item.entries:
        block = " x ".join(
            " ".join(part)
            for part in (entry.kernels, entry.configs, entry.arches, entry.shapes)
            if part
        )
        workloads = " ".join(entry.workloads) + (
            ", deterministic ones" if entry.only_deterministic else ""
        )
        lines += _field("cells", f"{block}: {workloads}", width)
    if item.time_budget:
        lines += _field("ends after", f"{item.time_budget / 3600:g} h", width)
    return lines


def _default_kernels(config: LabConfig) -> tuple[str, ...]:
    return config.default_kernels or tuple(kernel.name for kernel in config.kernels[:1])


def _head(name: str, text: str, width: int) -> list[str]:
    lead = f"{name:<24} "
    return _wrap(lead + text, width, 25) if text else [name]


def _field(name: str, text: str, width: int) -> list[str]:
    if not text:
        return []
    return _wrap(f"    {name:<10} {text}", width, 15)


def _wrap(text: str, width: int, indent: int) -> list[str]:
    # Names and patterns are there to be copied: none is cut in two.
    return textwrap.wrap(
        text, width, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False
    )


_TEXTS: dict[str, Callable[[Any, LabConfig, int], list[str]]] = {
    "workloads": _workload,
    "kernels": _kernel,
    "configs": _config,
    "shapes": _shape,
    "profiles": _profile,
    "arches": lambda name, _config, _width: [f"{name:<24} QEMU machine {ARCHES[name].machine}"],
}
