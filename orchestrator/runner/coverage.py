# SPDX-License-Identifier: GPL-2.0-only
"""What of the kernel a cell's workloads ran: counted in the guests, told by gcov, summed up.

The counts of each workload are kept as they come (:func:`keep`) and read once the guests are gone
(:func:`with_coverage`): that takes the host some seconds a workload.  Whatever goes wrong costs
the coverage and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

from orchestrator.evidence import gcov
from orchestrator.host import process
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.build.coverage import counted
from orchestrator.model.arch import ARCHES
from orchestrator.model.coverage import (
    Coverage,
    CoveredLine,
    FileCode,
    Function,
    Lines,
    as_text,
    from_text,
)
from orchestrator.model.errors import HostError, Interrupted
from orchestrator.model.kernel import AddedLine, BuildResult
from orchestrator.model.results import CellRecord
from orchestrator.results import runs
from orchestrator.runner import coverage_map
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.state import reason_of

log = logging.getLogger("lab.coverage")

#: In a cell's folder: the counts of each workload until they are read, and what came of them.
COUNTS, SUMMED = "coverage", "coverage.json"
_DEADLINE = 300.0
# Of the workloads that ran a line, so many are named.
_NAMED = 5


def keep(folder: Path, stem: str, archive: bytes) -> None:
    """Keep a workload's counts in the cell's folder.

    :param archive: as :func:`orchestrator.guest.coverage.fetch` gave it.
    """
    place = folder / COUNTS
    place.mkdir(exist_ok=True)
    (place / f"{stem}.tar").write_bytes(archive)


def with_coverage(
    record: CellRecord, workloads: Iterable[str], built: BuildResult, kernel: Kernel,
    context: Context,
) -> CellRecord:  # fmt: skip
    """Give a cell's record with the file that tells what its workloads ran.

    Never fails: a note of the record tells what could not be done.

    :raises Interrupted: when the lab is being stopped.
    """
    folder = context.folder / runs.cell_folder(record.id)
    if built.coverage is None or not (folder / COUNTS).is_dir():
        return record
    context.listener(Event("cell", record.id, "coverage", "reading what ran"))
    names = {runs.file_stem(name): name for name in workloads}
    try:
        files = set(counted(built.build.config, kernel.tree, context.cache))
        files |= {name for name in kernel.tree.touched_files if name.endswith(".h")}
        tool = built.build.config.toolchain.gcov(ARCHES[record.arch])
        found = _read(folder / COUNTS, names, built.coverage, tool, files, context)
        found = _with_earlier(folder / SUMMED, found)
        (folder / SUMMED).write_text(dumped(found), "utf-8")
        shutil.rmtree(folder / COUNTS)
        coverage_map.remember(found, record.arch, kernel.tree.version, context.cache)
    except Interrupted:
        raise
    except Exception as error:
        why = reason_of(error, f"coverage of {record.id}", log)
        return replace(record, notes=(*record.notes, f"no coverage: {why}"))
    file = f"{runs.cell_folder(record.id)}/{SUMMED}"
    return replace(record, coverage=file, covered=covered_lines(found, kernel.tree.added))


def covered_lines(found: Coverage, added: Iterable[AddedLine]) -> tuple[CoveredLine, ...]:
    """Of the lines that a series adds, those that have code in what was counted, and who ran them.

    A statement of several lines has its code at one of them, mostly the first.
    """
    told = []
    for one in added:
        code = found.files.get(one.file)
        if code is not None and one.line in code.lines:
            ran = found.workloads_of(one.file, (one.line,))
            told.append(
                CoveredLine(
                    one.patch, one.file, one.line, one.text, len(ran), ran[:_NAMED],
                    code.function_of(one.line),
                )
            )  # fmt: skip
    return tuple(told)


def _read(
    counts: Path, names: Mapping[str, str], notes: Path, tool: str, files: set[str],
    context: Context,
) -> Coverage:  # fmt: skip
    """Read the counts of each workload, some at a time."""
    archives = sorted(path for path in counts.glob("*.tar") if path.stem in names)
    code: dict[str, FileCode] = {}
    ran: dict[str, dict[str, Lines]] = {}
    with (
        scratch(context.cache) as unpacked,
        ThreadPoolExecutor(max(1, context.values.jobs)) as pool,
    ):
        with tarfile.open(notes) as packed:
            packed.extractall(unpacked, filter="data")
            known = packed.getnames()

        def one(archive: Path) -> tuple[str, dict[str, FileCode], dict[str, Lines]]:
            with scratch(context.cache) as folder:
                for note in known:  # gcov looks for it beside the counts
                    (folder / note).parent.mkdir(parents=True, exist_ok=True)
                    (folder / note).symlink_to(unpacked / note)
                return names[archive.stem], *_told(archive, known, tool, files, folder)

        for name, seen, lines in pool.map(one, archives):
            code.update({file: _joined(code.get(file), new) for file, new in seen.items()})
            ran[name] = lines
    order = [name for name in names.values() if name in ran]
    return Coverage(dict(sorted(code.items())), {name: ran[name] for name in order})


def _with_earlier(path: Path, found: Coverage) -> Coverage:
    """With what the cell's workloads ran before the run was ended, where it goes on here.

    Not where the kernel is another one by now: its lines are.
    """
    earlier = Coverage()
    with contextlib.suppress(OSError, ValueError):  # most have none
        earlier = loaded(path)
    both = earlier.files.keys() & found.files.keys()
    if any(earlier.files[file].functions != found.files[file].functions for file in both):
        return found
    files = {**earlier.files, **found.files}
    files |= {file: _joined(earlier.files[file], found.files[file]) for file in both}
    return Coverage(dict(sorted(files.items())), {**earlier.ran, **found.ran})


def _joined(old: FileCode | None, new: FileCode) -> FileCode:
    """A header has code in each file that includes it, and not always the same."""
    if old is None or old == new:
        return new
    functions = tuple(sorted({*old.functions, *new.functions}, key=lambda f: (f.first, f.name)))
    return FileCode(old.lines | new.lines, functions)


def _told(
    archive: Path, known: Sequence[str], tool: str, files: set[str], folder: Path
) -> tuple[dict[str, FileCode], dict[str, Lines]]:
    """What gcov tells of one workload's counts.

    :param known: the names of the compiler's notes.
    :param folder: where these are.
    :raises HostError: when gcov is missing or cannot read them.
    """
    with tarfile.open(archive) as given:
        members = {f"/{PurePosixPath(m.name)}": m for m in given if m.name.endswith(gcov.DATA)}
        root = gcov.folder_of(members, known)
        data = []
        for note in known:
            name = note.removesuffix(gcov.NOTES) + gcov.DATA
            member = members.get(root + name)
            content = given.extractfile(member) if member else None
            counts = content.read() if content else b""
            if counts and gcov.ran_at_all(counts):
                (folder / name).write_bytes(counts)
                data.append(name)
    if not members:
        raise HostError("the guest's kernel has no counts")
    argv = [tool, "--json-format", "--stdout", *data]
    done = process.run(argv, deadline=_DEADLINE, cwd=folder) if data else None
    code: dict[str, FileCode] = {}
    ran: dict[str, Lines] = {}
    for name, has, lines in gcov.told(done.text if done else ""):
        main = f"{name.removesuffix(gcov.DATA)}.c"
        top = next((file for file in has if file.endswith(f"/{main}")), "").removesuffix(main)
        for file, new in has.items():
            short = file.removeprefix(top) if top else file
            if short in files:
                code[short] = _joined(code.get(short), new)
                ran[short] = ran.get(short, Lines()) | lines[file]
    return code, {file: lines for file, lines in sorted(ran.items()) if lines}


# ---------------------------------------------------------------- as a file


def dumped(coverage: Coverage) -> str:
    """A coverage as the text of :data:`SUMMED`."""
    files = {
        name: {
            "lines": as_text(code.lines),
            "functions": [[one.name, one.first, one.last] for one in code.functions],
        }
        for name, code in coverage.files.items()
    }
    ran = {
        name: {file: as_text(lines) for file, lines in files.items()}
        for name, files in coverage.ran.items()
    }
    return json.dumps({"version": 1, "files": files, "ran": ran})


def loaded(path: Path) -> Coverage:
    """Read what :func:`dumped` gave.

    :raises OSError: when it cannot be read; :raises ValueError: when it is something else.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
        files = {
            name: FileCode(from_text(file["lines"]), tuple(Function(*f) for f in file["functions"]))
            for name, file in told["files"].items()
        }
        ran = {
            name: {file: from_text(lines) for file, lines in files.items()}
            for name, files in told["ran"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not tell what ran: {error}") from error
    return Coverage(files, ran)
