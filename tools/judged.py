# SPDX-License-Identifier: GPL-2.0-only
"""What the proof of judging has the lab do, and what the lab then says: each command kept, once.

Facts are read from what a command printed, as who typed it would read them, and from nothing else.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from marks import HOME, git, keep

LAB = HOME / ".venv" / "bin" / "lab"
#: How many lines from the end of what a command printed are kept: its summary, and more.
KEPT = 600
#: How long a command has to end after it was asked to (s).
_PATIENCE = 120.0
_INTERRUPTED, _USAGE, _HOST = 130, 2, 3


@dataclass(frozen=True)
class Row:
    """A row of a table: ``held`` tells whether what it is about is as promised; None: not run."""

    cells: tuple[str, ...]
    held: bool | None


@dataclass(frozen=True)
class Table:
    """What a part of the proof came to."""

    head: tuple[str, ...]
    rows: tuple[Row, ...]
    date: str
    commit: str

    @property
    def held(self) -> bool | None:
        """Whether all is as promised; None where something was not run and nothing is wrong."""
        states = [row.held for row in self.rows]
        return False if False in states else None if None in states else True

    def lines(self) -> list[str]:
        """It in Markdown, the last column being whether it held."""
        words = {True: "yes", False: "**no**", None: "not run"}
        told = [f"| {' | '.join(self.head)} | held |", "|---" * (len(self.head) + 1) + "|"]
        for row in self.rows:
            cells = (cell.replace("|", "\\|") for cell in row.cells)
            told.append(f"| {' | '.join(cells)} | {words[row.held]} |")
        return told


@dataclass(frozen=True)
class Said:
    """What a command printed on its standard output, and how it ended."""

    status: int
    out: str
    seconds: float
    date: str
    commit: str


@dataclass(frozen=True)
class Finding:
    """What a summary says under one headline."""

    head: str
    body: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join((self.head, *self.body))

    @property
    def places(self) -> set[str]:
        """The ``CONFIG/ARCH`` that it names."""
        return set(
            re.findall(r"\b([\w-]+/(?:x86_64|arm64))(?=,|$| and )", "\n".join(self.body), re.M)
        )

    @property
    def again(self) -> str:
        """The case that its command repeats, or nothing."""
        found = re.search(r"^again: lab rerun \S+ (\S+)$", "\n".join(self.body), re.MULTILINE)
        return found[1] if found else ""


def findings(out: str) -> list[Finding]:
    """The findings of a summary: each begins with its verdict, and what follows is indented."""
    found: list[list[str]] = []
    inside = False
    for line in out.splitlines():
        if re.match(r"(FAIL|WARN|ERROR) {1,3}\S", line):
            found.append([line.split(maxsplit=1)[1]])
            inside = True
        elif inside and line.startswith("       "):
            found[-1].append(line.strip())
        else:
            inside = False
    return [Finding(lines[0], tuple(lines[1:])) for lines in found]


class Part:
    """A part of the proof at work: its folder, what its results depend on, whether it may go on."""

    def __init__(
        self, folder: Path, paths: Sequence[str], may_begin: Callable[[], bool] = lambda: True
    ) -> None:
        self.folder = folder
        self.key = key_of(paths)
        self.may_begin = may_begin

    def lab(
        self, name: str, *words: str, deadline: float, folder: bool = True, home: Path = HOME
    ) -> Said | None:
        """What ``lab WORDS`` said, then or now; None where it may not begin, or told nothing.

        That is where it did not come to its end, or the host failed.

        A run that was cut goes on where it stood.

        :param name: what it is called in this part; with ``folder`` its run is kept under it.
        :param deadline: after how long it is asked to end (s).
        :param home: where the lab.yaml is.
        """
        words = (*words, "--plain")
        kept = self._read(name)
        if kept is not None and kept["words"] == list(words):
            return Said(**kept["said"])
        if not self.may_begin():
            return None
        out = self.run_folder(name)
        argv = [*words, "--out", str(out)] if folder else list(words)
        said = None
        if folder and out.is_dir():
            said = self._start(name, [words[0], "--resume", str(out), "--plain"], deadline, home)
            if said.status == _USAGE:  # nothing of it was kept
                shutil.rmtree(out)
                said = None
        said = said or self._start(name, argv, deadline, home)
        if said.status in (-1, _INTERRUPTED, _HOST):
            print(f"    {name} ended with {said.status}, see {self.folder / name}.log", flush=True)
            if said.status == _HOST:  # nothing that can go on
                shutil.rmtree(out, ignore_errors=True)
            return None
        self._write(name, {"words": list(words), "said": asdict(said)})
        return said

    def table(self, name: str, make: Callable[[], Table]) -> Table | None:
        """A table that is made here, then or now; None where it may not begin."""
        kept = self._read(name)
        if kept is not None:
            rows = tuple(Row(tuple(row["cells"]), row["held"]) for row in kept["table"]["rows"])
            return Table(tuple(kept["table"]["head"]), rows, kept["table"]["date"],
                         kept["table"]["commit"])  # fmt: skip
        if not self.may_begin():
            return None
        print(f"{datetime.now(UTC):%H:%M:%S} {self.folder.name}", flush=True)
        made = make()
        self._write(name, {"table": asdict(made)})
        return made

    def run_folder(self, name: str) -> Path:
        """Where a run of this part is kept."""
        return self.folder / name

    def _start(self, name: str, argv: Sequence[str], deadline: float, home: Path) -> Said:
        self.folder.mkdir(parents=True, exist_ok=True)
        print(f"{datetime.now(UTC):%H:%M:%S} lab {' '.join(argv)}", flush=True)
        began = time.monotonic()
        log = self.folder / f"{name}.log"
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen([str(LAB), *argv], cwd=home, stdout=out, stderr=err)
            try:
                status = process.wait(deadline)
            except BaseException as error:
                process.terminate()
                process.wait(_PATIENCE)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                status = -1
        lines = log.read_text(errors="replace").splitlines()[-KEPT:]
        lines += log.with_suffix(".err").read_text(errors="replace").splitlines()[-KEPT:]
        return Said(status, "\n".join(lines), round(time.monotonic() - began, 1), today(), commit())

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            kept: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None
        return kept if kept.get("key") == self.key else None

    def _write(self, name: str, told: dict[str, Any]) -> None:
        keep(self.folder / f"{name}.json", {"key": self.key, **told})


def key_of(paths: Sequence[str]) -> str:
    """What results depend on: the committed state of some files and folders of this tree."""
    return git("rev-parse", *(f"HEAD:{path}" for path in paths)).replace("\n", " ")


def today() -> str:
    """The date, as the docs have it."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def commit() -> str:
    """The commit that this tree stands on."""
    return git("rev-parse", "--short=12", "HEAD")
