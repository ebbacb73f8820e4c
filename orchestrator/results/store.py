# SPDX-License-Identifier: GPL-2.0-only
"""Store and load runs: results.json (schema 1) and what lies beside it.

results.json holds the facts; what is bulky (texts of hits, pieces of sources, live samples) lies in
one ``evidence.json`` per cell, written before results.json names it.  Both are replaced atomically,
so that a run may be saved as often as there is news and a killed one still reports.  The format is
documented in docs/results.md.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.model import codec
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.evidence import Excerpt, Hit, Sample
from orchestrator.model.results import CellRecord, RunResult
from orchestrator.model.uncollected import uncollected
from orchestrator.results import searches, series_mutants
from orchestrator.results.runs import RESULTS, cell_folder

SCHEMA = 1
EVIDENCE = "evidence.json"


# ---------------------------------------------------------------- save


def save(run: RunResult, folder: Path) -> Path:
    """Write ``folder/results.json`` and the cells' evidence files; return results.json's path.

    May be called again and again while the run goes on (``run.finished`` is empty until it ends):
    each file is replaced in one step, a reader sees the old or the new one and never a part.

    :raises HostError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for cell in run.cells:
            _save_evidence(cell, folder)
        target = folder / RESULTS
        _replace_file(target, codec.dumps(codec.plain(run), indent=1))
    except OSError as error:
        raise HostError(
            f"cannot write the results to {folder}: {error.strerror or error}",
            "free some space, or choose another folder with --out",
        ) from error
    return target


def _save_evidence(cell: CellRecord, folder: Path) -> None:
    """Write the bulky part of a cell; the same text or samples are stored once."""
    texts: dict[str, int] = {}
    samples: dict[str, int] = {}
    excerpts: dict[str, Any] = {}
    cases: dict[str, dict[str, Any]] = {}
    for case in cell.cases:
        for hit in case.hits:
            excerpts |= _excerpts(hit)
        entry: dict[str, Any] = {}
        if case.hits:
            entry["hits"] = [texts.setdefault(hit.text, len(texts)) for hit in case.hits]
        if case.samples:
            block = codec.dumps(_columns(case.samples))
            entry["samples"] = samples.setdefault(block, len(samples))
        if entry:
            cases[case.id] = entry
    target = folder / cell_folder(cell.id) / EVIDENCE
    if not cases:
        target.unlink(missing_ok=True)
        return
    content = (
        f'{{"schema": {SCHEMA},\n"cell": {codec.dumps(cell.id)},\n"cases": {codec.dumps(cases)},\n'
        f'"texts": {codec.dumps(list(texts))},\n"excerpts": {codec.dumps(excerpts)},\n'
        f'"samples": [{", ".join(samples)}]}}\n'
    )
    # Most cells have not changed since the last save: reading is cheaper than an fsync.
    if target.is_file() and target.read_text(encoding="utf-8", errors="replace") == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    _replace_file(target, content)


def _excerpts(hit: Hit) -> dict[str, Any]:
    """The pieces of source of a hit's trace, by the line that they surround."""
    return {
        f"{place.file}:{place.line}": codec.plain(place.excerpt)
        for frame in hit.frames
        for place in frame.places
        if place.excerpt.text
    }


def _columns(samples: tuple[Sample, ...]) -> dict[str, Any]:
    """Samples by column: a third of the size of a list of objects."""
    names = sorted({name for sample in samples for name in sample.values})
    return {
        "seconds": [codec.number(sample.seconds) for sample in samples],
        "values": {name: [sample.values.get(name) for sample in samples] for name in names},
    }


def _replace_file(target: Path, content: str) -> None:
    """Replace ``target`` in one step; what a power cut leaves is the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would hide the report from a CI's web server
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


# ---------------------------------------------------------------- load


def load(where: Path, *, evidence: bool = True) -> RunResult:
    """Read a run back from its folder or its results.json.

    A missing or unfit evidence file costs the traces and plots, not the run: it is told in
    ``problems``.

    :param evidence: False leaves out the texts of hits and the samples, which are most of it.

    :raises UserError: no such file, not ours, cut short, or written by a newer lab.
    """
    with uncollected():
        return _load(where / RESULTS if where.is_dir() else where, evidence)


def _load(path: Path, evidence: bool) -> RunResult:
    data = _read_json(path)
    if not isinstance(data, dict) or "schema" not in data or "run" not in data:
        raise UserError(
            f"{path} is no results.json of this lab: it has no 'schema' and 'run'",
            "name a folder that `lab run` wrote",
        )
    schema = data["schema"]
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise UserError(
            f"{path}: schema is {str(schema)[:40]!r}, expected {SCHEMA}",
            "name a folder that `lab run` wrote",
        )
    if schema > SCHEMA:
        raise UserError(
            f"{path} was written by a newer lab (schema {schema}, this one reads up to {SCHEMA})",
            "read it with the lab that wrote it, or update this one",
        )
    try:
        run = codec.build(RunResult, data)
    except codec.MismatchError as error:
        raise UserError(
            f"{path}: {error}", "the file was changed or damaged: run again, or restore it"
        ) from error
    beside = path.parent
    run = replace(run, searches=searches.read(beside), mutants=series_mutants.read(beside))
    return _with_evidence(run, path.parent) if evidence else run


def _read_json(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(
            f"there is no {path}", "name a run's id, its folder, or `latest`; see `lab history`"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not text (byte {error.start})", "name a folder that `lab run` wrote"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror or error}", "check the path and its permissions"
        ) from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}",
            "the file was cut or changed after it was written: run again, or restore it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not a results file: {error}", "name a folder that `lab run` wrote"
        ) from error


_UNFIT = (
    OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError,
    codec.MismatchError,
)  # fmt: skip


def _with_evidence(run: RunResult, folder: Path) -> RunResult:
    cells: list[CellRecord] = []
    problems = list(run.problems)
    for cell in run.cells:
        relative = f"{cell_folder(cell.id)}/{EVIDENCE}"
        try:
            cells.append(_read_evidence(cell, folder / relative))
        except _UNFIT:
            cells.append(cell)
            note = f"{relative} is missing or unreadable: traces and plots of {cell.id} are lost"
            if note not in problems:
                problems.append(note)
    return replace(run, cells=tuple(cells), problems=tuple(problems))


def _read_evidence(cell: CellRecord, path: Path) -> CellRecord:
    if not path.is_file() and not any(case.hits for case in cell.cases):
        return cell
    data = json.loads(path.read_text(encoding="ascii"))
    if data["schema"] != SCHEMA:
        raise ValueError("unknown schema")
    texts: list[str] = data["texts"]
    blocks = [tuple(_rows(block)) for block in data["samples"]]
    kept = data.get("excerpts", {})  # an older lab wrote none
    excerpts = {place: codec.build(Excerpt, kept[place]) for place in kept}
    cases = []
    for case in cell.cases:
        entry = data["cases"].get(case.id, {})
        indices = entry.get("hits", [])
        if len(indices) != len(case.hits):
            # evidence.json is written first: a lab killed in between leaves a newer one.
            raise ValueError("evidence and results are of different saves")
        hits = tuple(
            _with_excerpts(replace(hit, text=str(texts[at])), excerpts)
            for hit, at in zip(case.hits, indices, strict=True)
        )
        samples = blocks[entry["samples"]] if "samples" in entry else ()
        # Most have neither, and to copy 50,000 for nothing takes its time.
        cases.append(replace(case, hits=hits, samples=samples) if hits or samples else case)
    return replace(cell, cases=tuple(cases))


def _with_excerpts(hit: Hit, excerpts: dict[str, Excerpt]) -> Hit:
    frames = tuple(
        replace(
            frame,
            places=tuple(
                replace(place, excerpt=excerpts.get(f"{place.file}:{place.line}", Excerpt()))
                for place in frame.places
            ),
        )
        for frame in hit.frames
    )
    return replace(hit, frames=frames) if frames else hit


def _rows(block: dict[str, Any]) -> Iterator[Sample]:
    for at, seconds in enumerate(block["seconds"]):
        values = {
            str(name): int(column[at])
            for name, column in block["values"].items()
            if column[at] is not None
        }
        yield Sample(seconds=math.nan if seconds is None else float(seconds), values=values)
