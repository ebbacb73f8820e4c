# SPDX-License-Identifier: GPL-2.0-only
"""What workloads ran when it was last counted, kept in the cache: a record a workload.

Beside them the functions that were counted at all, a record an architecture: one that nobody runs
is told from one that nobody looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from orchestrator.host.cache.files import Cache, load_record, load_records, save_record
from orchestrator.judge.coverage_map import Counted, Reach, of_workload
from orchestrator.model.coverage import Coverage, Function

_KIND, _COUNTED = "ran", "counted"


def remember(coverage: Coverage, arch: str, kernel: str, cache: Cache) -> None:
    """Keep what each workload of a cell ran, in place of what it ran before.

    :param kernel: its version.
    :raises HostError: when the disk is full.
    """
    for name in coverage.ran:
        reach = of_workload(coverage, name, arch, kernel)
        files = {file: _text(functions) for file, functions in reach.functions.items()}
        told = {"workload": name, "arch": arch, "kernel": kernel, "files": files}
        save_record(cache, _KIND, f"{arch} {name}", told)
    old = load_record(cache, _COUNTED, arch) or {}
    new = {file: _text(code.functions) for file, code in coverage.files.items() if code.functions}
    save_record(cache, _COUNTED, arch, {"files": {**old.get("files", {}), **new}})


def known(cache: Cache) -> tuple[Reach, ...]:
    """What is known of all workloads, by name; what cannot be read is left out."""
    found = []
    for record in load_records(cache, _KIND):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            functions = {file: tuple(_functions(text)) for file, text in record["files"].items()}
            found.append(Reach(record["workload"], record["arch"], record["kernel"], functions))
    return tuple(sorted(found, key=lambda reach: (reach.workload, reach.arch)))


def counted(cache: Cache) -> Counted:
    """The functions that were counted when each file was last, on any architecture."""
    found: dict[str, set[Function]] = {}
    for record in (*load_records(cache, _COUNTED), *load_records(cache, _KIND)):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            for file, text in record["files"].items():
                found.setdefault(file, set()).update(_functions(text))
    return {
        file: tuple(sorted(functions, key=lambda one: (one.first, one.name)))
        for file, functions in sorted(found.items())
    }


def _text(functions: Iterable[Function]) -> str:
    return " ".join(f"{one.name}:{one.first}-{one.last}" for one in functions)


def _functions(text: str) -> Iterator[Function]:
    for word in text.split(" "):
        name, _, span = word.rpartition(":")
        first, _, last = span.partition("-")
        yield Function(name, int(first), int(last))
