# SPDX-License-Identifier: GPL-2.0-only
"""What random programs find: a program of steps, and the rule of the model that one of them breaks.

The text of a program is that of ``guest-tests/explore/step.h``, a step a line:
``[& ]PROCESS STEP [FIELD=VALUE]...``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# step.h: a word for the step, small numbers or words for its fields; the number of a process.
_STEP = re.compile(
    r"(& )?([0-9]) ([a-z0-9][a-z0-9-]{0,40})((?: [a-z]{1,12}=[\w+.-]{1,80})*)", re.ASCII
)
#: The field that names the allocation of a step which is made to fail.
FAIL = "fail"
#: More steps no program has (STEPS_MAX of step.h).
MOST_STEPS = 400


@dataclass(frozen=True)
class Step:
    """One step: the number of its process, its name, its fields as they are written.

    ``came_to`` is what its call failed with where that was told (``EINVAL``, ``SIGBUS``), else
    empty.  ``beside`` says that it is done at the same time as the step before it.
    """

    process: int
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    came_to: str = ""
    beside: bool = False

    @property
    def text(self) -> str:
        """The step as it is written, without what it came to."""
        words = (f"{name}={value}" for name, value in self.fields.items())
        return " ".join([f"{'& ' if self.beside else ''}{self.process} {self.name}", *words])


def parse_step(line: str) -> Step | None:
    """A line of a program; None where it is empty or a comment.

    :raises ValueError: when it is no step; whether a guest knows it is the guest's to say.
    """
    text, _, comment = line.partition("#")
    words = " ".join(text.split())
    if not words:
        return None
    match = _STEP.fullmatch(words)
    if match is None:
        raise ValueError(f"{words[:80]!r} is no step: [& ]PROCESS STEP [FIELD=VALUE]...")
    pairs = (part.partition("=")[::2] for part in match[4].split())
    return Step(int(match[2]), match[3], dict(pairs), comment.strip(), match[1] is not None)


def parse_program(lines: Iterable[str]) -> tuple[Step, ...]:
    """The steps of a program.

    :raises ValueError: with the number of the line that is no step; when there are none, or too
        many.
    """
    found = []
    for number, line in enumerate(lines, 1):
        try:
            step = parse_step(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if step is not None:
            found.append(step)
    if not 0 < len(found) <= MOST_STEPS:
        raise ValueError(f"{len(found)} steps: a program has 1 to {MOST_STEPS}")
    return tuple(found)


@dataclass(frozen=True)
class Find:
    """A rule of the model that a program broke.

    ``rule`` is its name (docs/exploration.md), ``step`` the name of the step after which it was
    seen, ``said`` what the machine showed and what the model has.  ``program`` are the lines of the
    smallest program so far, up to that step; a step's errno stands behind ``#``.  ``process`` is
    whose memory ``said`` is about, ``before`` each process's pages before the last step, a letter
    each (empty: there was no such process).  ``swarm`` and ``seed`` are what the program was drawn
    with, None of one that was not drawn.  ``times`` counts the programs in which it was met.
    """

    rule: str
    step: str
    said: str
    program: tuple[str, ...]
    process: int = 0
    before: tuple[str, ...] = ()
    swarm: str = ""
    seed: int | None = None
    times: int = 1

    @property
    def signature(self) -> str:
        """By which it is known again: the violated rule and the guilty step."""
        return f"{self.rule}-{self.step}"

    @property
    def title(self) -> str:
        """What is wrong, in one line."""
        return f"{self.rule} is wrong after {self.step}: {self.said}"


@dataclass(frozen=True)
class Kept:
    """A program that passed places of a kernel which none before it had passed.

    ``program`` are its lines, ``pcs`` all places that it passed: addresses of basic blocks, without
    KASLR's offset, that mean something for that very image.  ``swarm`` is what drew it, or its new
    steps; ``made`` says that it was made of other programs.
    """

    program: tuple[str, ...]
    pcs: frozenset[int]
    swarm: str = ""
    made: bool = False


def pcs_text(pcs: Iterable[int]) -> str:
    """Places as the guest's program writes and reads them (guide.h): ascending, as distances."""
    words, last = [], 0
    for pc in sorted(pcs):
        words.append(f"{pc - last:x}")
        last = pc
    return "+".join(words)


def parse_pcs(text: str) -> frozenset[int]:
    """The places of such a text.

    :raises ValueError: where it is none.
    """
    found, last = set(), 0
    for word in text.split("+"):
        last += int(word, 16)
        found.add(last)
    return frozenset(found)
