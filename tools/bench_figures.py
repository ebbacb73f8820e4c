# SPDX-License-Identifier: GPL-2.0-only
"""The figures of tools/bench.py: what each is called, its limit, and how samples answer it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench_growth import CELLS, REPORT_CASES, REPORT_CELLS, grow, large_report
from bench_measure import (
    Bench,
    Sample,
    Sampler,
    boot,
    cold_build,
    command_line,
    edit_loop,
    first_build,
    first_run,
    second_kernel,
)
from bench_peers import matrix, peer_boot, peer_build, peer_edit


@dataclass(frozen=True)
class Row:
    """A line of the table: what was asked for, and how samples answer it.

    ``measured`` and ``value`` take the samples; the figure is reached where ``value`` is at most
    ``limit`` (None: a figure without a limit).
    """

    title: str
    limit: float | None
    limit_text: str
    measured: Callable[[list[Sample]], str]
    value: Callable[[list[Sample]], float]

    def reached(self, samples: list[Sample]) -> str:
        """``yes``, ``no``, or nothing where there is no limit or no sample."""
        if self.limit is None or not samples:
            return ""
        return "yes" if self.value(samples) <= self.limit else "**no**"


@dataclass(frozen=True)
class Figure:
    """One thing to measure: its name for ``--only``, how often, and the rows it fills."""

    name: str
    about: str
    times: int
    prepare: Callable[[Bench], AbstractContextManager[Sampler]]
    rows: tuple[Row, ...]


def middle(samples: list[Sample], key: str) -> float:
    """The median of one number over the samples."""
    return statistics.median(sample[key] for sample in samples)


def least(samples: list[Sample], key: str) -> float:
    """The smallest of one number over the samples."""
    return min(sample[key] for sample in samples)


def ratio(samples: list[Sample], other: str = "bare") -> float:
    """The lab's median over the bare commands', or another tool's."""
    return middle(samples, "lab") / middle(samples, other)


def _answers(key: str) -> Row:
    return Row(
        f"`lab {'--help' if key == 'help' else 'plan'}` answers",
        0.3,
        "0.3 s",
        lambda s: (
            f"{middle(s, key):.2f} s (best {least(s, key):.2f} s); "
            f"a bare `python -c pass` {middle(s, 'python'):.2f} s"
        ),
        lambda s: middle(s, key),
    )


def _boots(arch: str) -> Row:
    return Row(
        f"boot to a usable SSH session, TCG, {arch}",
        5.0,
        "5 s",
        lambda s: (
            f"{middle(s, 'lab'):.2f} s (best {least(s, 'lab'):.2f} s); "
            f"bare QEMU to `lab: guest ready` {middle(s, 'bare'):.2f} s"
        ),
        lambda s: middle(s, "lab"),
    )


def _cells(count: int) -> Figure:
    """The figure of a run of so many cells."""
    return Figure(
        f"cells-{count}", f"{count} cells of a short workload in real guests", 1, grow(count),
        (Row(
            f"a run of {count} cell{'s' if count > 1 else ''}, one short workload each", None, "",
            lambda s: f"{middle(s, 'wall'):.0f} s, {middle(s, 'wall') / count:.1f} s a cell; "
            f"the lab itself {middle(s, 'memory'):.0f} MB, "
            f"{middle(s, 'own') / count:.2f} CPU s a cell",
            lambda s: middle(s, "wall"),
        ),),
    )  # fmt: skip


FIGURES = (
    Figure(
        "cli", "lab --help and lab plan", 10, command_line, (_answers("help"), _answers("plan"))
    ),
    Figure("boot-x86_64", "boots under TCG", 3, boot("x86_64"), (_boots("x86_64"),)),
    Figure("boot-arm64", "boots under TCG", 3, boot("arm64"), (_boots("arm64"),)),
    Figure(
        "second-kernel", "a build that differs in one mm file", 3, second_kernel,
        (Row(
            "build of a second kernel that differs in one mm file",
            60.0, "well under 60 s",
            lambda s: f"{middle(s, 'build'):.1f} s, the whole command {middle(s, 'whole'):.1f} s",
            lambda s: middle(s, "whole"),
        ),),
    ),
    Figure(
        "first-build", "the first build of a tree of one's own, against a series", 3, first_build,
        (Row(
            "first build of a tree of one's own that differs in one mm file",
            1.5, "1.5 x a series",
            lambda s: f"{middle(s, 'lab'):.1f} s, {ratio(s):.2f} x the series' "
            f"{middle(s, 'bare'):.1f} s; the whole command, import of the tree included, "
            f"{middle(s, 'whole'):.1f} s and {middle(s, 'series_whole'):.1f} s",
            ratio,
        ),),
    ),
    Figure(
        "edit-loop", "lab run after an edit (begins with a full bare build)", 3, edit_loop,
        (Row(
            "`lab run -p smoke --arch x86_64` after editing one mm file",
            1.25, "1.25 x bare",
            lambda s: f"{middle(s, 'lab'):.1f} s, {ratio(s):.2f} x the bare "
            f"{middle(s, 'bare'):.1f} s (make {middle(s, 'make'):.1f}, "
            f"boot {middle(s, 'boot'):.1f}, workloads {middle(s, 'workloads'):.1f})",
            ratio,
        ),),
    ),
    Figure(
        "cold-build", "the cold build against make (twice as many full builds)", 3, cold_build,
        (
            Row(
                "cold x86_64 build, config `default`, CPU seconds", 600.0, "600 s",
                lambda s: f"{middle(s, 'lab'):.0f} s (wall {middle(s, 'lab_wall'):.0f} s)",
                lambda s: middle(s, "lab"),
            ),
            Row(
                "the same against bare `make`, CPU seconds", 1.05, "1.05 x bare",
                lambda s: f"{ratio(s):.3f} x the bare {middle(s, 'bare'):.0f} s "
                f"(wall {middle(s, 'bare_wall'):.0f} s)",
                ratio,
            ),
        ),
    ),
    Figure(
        "first-run", "make run's run with an empty cache, and once more", 1, first_run,
        (
            Row(
                "first `lab run -p smoke`, empty cache, download included", None, "",
                lambda s: f"{middle(s, 'first') / 60:.1f} min ({middle(s, 'cpu'):.0f} CPU s)",
                lambda s: middle(s, "first"),
            ),
            Row(
                "the same again, nothing changed", None, "",
                lambda s: f"{middle(s, 'again'):.0f} s", lambda s: middle(s, "again"),
            ),
            Row(
                "kernels of these two that are not the same, bit for bit, as in the usual cache, "
                "built from another work tree", 0, "0",
                lambda s: f"{middle(s, 'other'):.0f} of {middle(s, 'kernels'):.0f}",
                lambda s: middle(s, "other"),
            ),
        ),
    ),
    Figure(
        "peer-build", "a cold build by the lab, virtme-ng and tuxmake", 1,
        peer_build,
        (Row(
            "cold x86_64 build, CPU seconds, against virtme-ng's", None, "",
            lambda s: f"{middle(s, 'lab'):.0f} s, {ratio(s, 'vng'):.2f} x virtme-ng's "
            f"{middle(s, 'vng'):.0f} s; tuxmake's of defconfig {middle(s, 'tuxmake'):.0f} s",
            lambda s: ratio(s, "vng"),
        ),),
    ),
    Figure(
        "peer-boot", "boots under TCG by the lab and virtme-ng", 3, peer_boot,
        (
            Row(
                "boot to a usable guest, TCG, x86_64, against virtme-ng's", 0.5, "0.5 x virtme-ng",
                lambda s: f"{middle(s, 'lab'):.2f} s, {ratio(s, 'vng'):.2f} x virtme-ng's "
                f"{middle(s, 'vng'):.2f} s",
                lambda s: ratio(s, "vng"),
            ),
            Row(
                "a further workload in a fresh guest, against a boot", 0.25, "0.25 x a boot",
                lambda s: f"{middle(s, 'restore'):.2f} s, "
                f"{middle(s, 'restore') / middle(s, 'lab'):.2f} x the lab's boot",
                lambda s: middle(s, "restore") / middle(s, "lab"),
            ),
        ),
    ),
    Figure(
        "peer-edit", "edit to verdict by the lab and virtme-ng, the same programs", 3, peer_edit,
        (Row(
            "edit of one mm file to the verdict of `smoke`, against virtme-ng's",
            0.7, "0.7 x virtme-ng",
            lambda s: f"{middle(s, 'lab'):.1f} s, {ratio(s, 'vng'):.2f} x virtme-ng's "
            f"{middle(s, 'vng'):.1f} s (build {middle(s, 'vng_build'):.1f}, boot and programs "
            f"{middle(s, 'vng_run'):.1f})",
            lambda s: ratio(s, "vng"),
        ),),
    ),
    Figure(
        "matrix", "what a matrix of eight cells makes of the machine", 1, matrix,
        (
            Row(
                "CPUs idle while a matrix runs", 0.1, "10 %",
                lambda s: f"{middle(s, 'idle'):.1%} of {middle(s, 'wall'):.0f} s",
                lambda s: middle(s, "idle"),
            ),
            Row(
                "memory of the lab itself, at most", 150.0, "150 MB",
                lambda s: f"{middle(s, 'memory'):.0f} MB", lambda s: middle(s, "memory"),
            ),
            Row(
                "CPU time of the lab itself", 0.05, "5 % of all",
                lambda s: f"{middle(s, 'share'):.1%}", lambda s: middle(s, "share"),
            ),
        ),
    ),
    Figure(
        "large-report", "lab report of a run of 256 x 200 cases", 3, large_report,
        (
            Row(
                f"`lab report` of {REPORT_CELLS} x {REPORT_CASES} cases, CPU seconds", 5.0, "5 s",
                lambda s: f"{middle(s, 'cpu'):.1f} s (best {least(s, 'cpu'):.1f} s, wall "
                f"{middle(s, 'wall'):.1f} s); {middle(s, 'size'):.0f} MB of page and JUnit",
                lambda s: middle(s, "cpu"),
            ),
            Row(
                "its memory, at most", 500.0, "500 MB",
                lambda s: f"{middle(s, 'memory'):.0f} MB", lambda s: middle(s, "memory"),
            ),
        ),
    ),
    *(_cells(count) for count in CELLS),
)  # fmt: skip
