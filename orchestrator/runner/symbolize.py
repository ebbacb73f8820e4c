# SPDX-License-Identifier: GPL-2.0-only
"""The traces of a cell's hits with file and line, and with what the series touched marked.

Done once a cell, after its guest is gone, and only where there is a trace.  Whatever goes wrong
here costs the lines and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.evidence.klog.frames import Frame, find_frames, worth_looking_up
from orchestrator.evidence.klog.titles import source_path
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.lines.excerpts import PatchedSource, Place
from orchestrator.kernel.lines.lookup import resolve
from orchestrator.kernel.lines.objects import Linked
from orchestrator.kernel.lines.symbols import Address, Answer
from orchestrator.kernel.lines.vmlinux import Vmlinux
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import Interrupted
from orchestrator.model.evidence import FrameLines, Hit, SourceLine
from orchestrator.model.kernel import BuildResult
from orchestrator.model.results import CellRecord
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.state import reason_of

log = logging.getLogger("lab.symbolize")

#: Where the sources have changed since the image was built.
OTHER_SOURCES = (
    "traces have no source text: the sources are no longer those that this image was built of"
)
# Reports of one cell that are looked at, and places of each.
MAX_HITS = 40
MAX_FRAMES = 12
# Where a vmlinux has the lines itself, a place costs next to nothing.
MAX_FRAMES_OF_LOG = 64


def with_lines(
    record: CellRecord, built: BuildResult, kernel: Kernel, context: Context
) -> CellRecord:
    """Give a cell's record with the source lines of its hits' traces.

    Takes some seconds where there is a trace, up to two minutes on a busy machine, and no time
    where there is none.  Never fails: a note of the record tells what could not be done.

    :raises Interrupted: when the lab is being stopped.
    """
    if built.vmlinux is None:
        return record
    try:
        traces = _traces(record)
        if not traces:
            return record
        context.listener(Event("cell", record.id, "lines", "looking up source lines"))
        arch = ARCHES[built.build.arch]
        slot, objects = build_folder_of(built, kernel, context.cache)
        linked = Linked(
            built.vmlinux, objects, kernel.tree, slot, arch, context.cache,
            built.build.config.toolchain,
        )  # fmt: skip
        answers = resolve(linked, _wanted(traces))
        source = PatchedSource(kernel.tree if kernel.exact else None, context.cache)
        told = {
            text: _frame_lines(frames, answers, source.describe) for text, frames in traces.items()
        }
    except Interrupted:
        raise
    except Exception as error:
        why = reason_of(error, f"source lines of {record.id}", log)
        return replace(record, notes=(*record.notes, f"no source lines in traces: {why}"))
    cases = tuple(
        replace(case, hits=tuple(_with(hit, told) for hit in case.hits)) if case.hits else case
        for case in record.cases
    )
    notes = record.notes if kernel.exact else (*record.notes, OTHER_SOURCES)
    return replace(record, cases=cases, notes=notes)


def build_folder_of(built: BuildResult, kernel: Kernel, cache: Cache) -> tuple[str, Path]:
    """The slot and the build folder whose objects an image was linked of, by now or once.

    Where equal sources were built in another slot, the kernel's own may hold nothing.
    """
    arch, by = built.build.arch, built.build.config.toolchain.folder
    own = (kernel.slot, built.build.config.folder)
    slot, config = built.made_in if len(built.made_in) == 2 else own
    if not cache.build_folder(slot, config, arch, by).is_dir():
        slot, config = own
    return slot, cache.build_folder(slot, config, arch, by)


def lines_of_vmlinux(hits: Sequence[Hit], vmlinux: Vmlinux) -> tuple[Hit, ...]:
    """Give hits of any machine's log with the source lines of their traces.

    :raises HostError: when binutils are missing, or fail.
    """
    traces = {hit.text: worth_looking_up(find_frames(hit.text), MAX_FRAMES_OF_LOG) for hit in hits}
    answers = vmlinux.places(_wanted(traces))
    told = {text: _frame_lines(frames, answers, _no_text) for text, frames in traces.items()}
    return tuple(_with(hit, told) for hit in hits)


def _no_text(place: Place) -> SourceLine:
    return SourceLine(place.function, place.file, place.line)


def _traces(record: CellRecord) -> dict[str, tuple[Frame, ...]]:
    """The frames to look up, by the text of the report; one text may belong to several cases."""
    texts = dict.fromkeys(hit.text for case in record.cases for hit in case.hits)
    found = {
        text: worth_looking_up(find_frames(text), MAX_FRAMES) for text in list(texts)[:MAX_HITS]
    }
    return {text: frames for text, frames in found.items() if frames}


def _address(frame: Frame) -> Address:
    return Address(frame.function, frame.offset, frame.size, frame.exact)


def _wanted(traces: dict[str, tuple[Frame, ...]]) -> dict[Address, bool]:
    """Every address, and whether it is worth compiling for, the first report's first."""
    wanted: dict[Address, bool] = {}
    for frames in traces.values():
        for frame in frames:
            worth = not frame.generic and not frame.guess
            wanted[_address(frame)] = wanted.get(_address(frame), False) or worth
    return wanted


def _frame_lines(
    frames: tuple[Frame, ...],
    answers: dict[Address, Answer],
    describe: Callable[[Place], SourceLine],
) -> tuple[FrameLines, ...]:
    found = []
    for frame in sorted(frames, key=lambda frame: frame.row):
        answer = answers.get(_address(frame))
        if answer is None:
            continue
        places: list[SourceLine] = []
        for place in answer.places:
            file = source_path(place.file) if place.file.startswith("/") else place.file
            places.append(describe(replace(place, file=file)))
        found.append(
            FrameLines(frame.row, frame.function, frame.offset, tuple(places), answer.note)
        )
    return tuple(found)


def _with(hit: Hit, told: dict[str, tuple[FrameLines, ...]]) -> Hit:
    return replace(hit, frames=told[hit.text]) if hit.text in told else hit
