# SPDX-License-Identifier: GPL-2.0-only
"""What many slices of exploration come to together: each find once, with how often.  Pure.

A slice is one run of a workload of random programs in a fresh guest; its cases are judged as those
of any workload.  A drawn program that fails is a case called by its find's signature: it has that
name in whatever slice, cell and run it comes again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from orchestrator.model.evidence import Measurement
from orchestrator.model.finds import Find
from orchestrator.model.formats import counted
from orchestrator.model.names import BOOT, Verdict
from orchestrator.model.results import CaseResult

#: The case of a corpus that was carried out without a find.
CORPUS = "corpus"
#: How the case of a program of the corpus is called; behind it stands the program's name.
OF_CORPUS = f"{CORPUS}-"
_WORST = (Verdict.FAIL, Verdict.ERROR, Verdict.PASS, Verdict.SKIP)
_PROGRAMS, _STEPS, _RATE = "programs", "steps", "rate"
_GUIDED, _PCS = "guided", "pcs"


def smaller(find: Find, other: Find) -> Find:
    """Of two equal finds the one with the smaller program, met as often as both."""
    least = other if len(other.program) < len(find.program) else find
    return replace(least, times=find.times + other.times)


@dataclass
class Swarm:
    """A swarm over all slices: how many programs and steps, and in how many s of a guest's time.

    ``guided`` of the programs were made of others.  ``pcs`` is how many places of the kernel were
    passed by the end of its last slice, by whatever swarm; 0 where nothing told.
    """

    programs: float = 0
    steps: float = 0
    seconds: float = 0
    guided: float = 0
    pcs: float = 0
    passed: bool = False
    slices: int = 0

    def take(self, case: CaseResult) -> None:
        """Count one slice of it."""
        values = {one.name: one.value for one in case.measurements}
        self.programs += values.get(_PROGRAMS, 0)
        self.steps += values.get(_STEPS, 0)
        if values.get(_RATE, 0) > 0:
            self.seconds += values.get(_STEPS, 0) / values[_RATE]
        self.guided += values.get(_GUIDED, 0)
        self.pcs = max(self.pcs, values.get(_PCS, 0))
        self.passed |= case.verdict is Verdict.PASS
        self.slices += 1

    @property
    def rate(self) -> float:
        """Steps a second of the guest's time."""
        return self.steps / self.seconds if self.seconds > 0 else 0.0

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """As a case has them."""
        found = (
            Measurement(_PROGRAMS, self.programs, "programs"),
            Measurement(_STEPS, self.steps, "steps"),
            Measurement(_RATE, round(self.rate, 1), "steps/s"),
        )
        if not self.pcs:
            return found
        guided = Measurement(_GUIDED, self.guided, "programs")
        return (*found, guided, Measurement(_PCS, self.pcs, "pcs"))


@dataclass
class Tally:
    """The slices so far.  ``finds`` are cases by their names, ``others`` the rest by name.

    ``pcs`` is how many places of the kernel are known to have been passed, 0 where nothing told.
    """

    finds: dict[str, CaseResult] = field(default_factory=dict)
    swarms: dict[str, Swarm] = field(default_factory=dict)
    others: dict[str, CaseResult] = field(default_factory=dict)
    apart: list[CaseResult] = field(default_factory=list)
    replayed: int = 0
    pcs: int = 0

    def take(self, cases: Iterable[CaseResult]) -> list[CaseResult]:
        """Take the cases of a slice; gives those finds among them that are new."""
        new = []
        for case in cases:
            measured = any(one.name == _PROGRAMS for one in case.measurements)
            if measured:
                self.swarms.setdefault(case.case, Swarm()).take(case)
            if case.workload == BOOT:
                if case.verdict in (Verdict.FAIL, Verdict.ERROR):
                    self.apart.append(case)
            elif case.find is not None and case.verdict is Verdict.FAIL:
                new += self._find(case)
            elif case.case.startswith(OF_CORPUS) and case.verdict is Verdict.PASS:
                self.replayed += 1
            elif not measured or case.verdict is not Verdict.PASS:
                self._other(case)
        return new

    def _find(self, case: CaseResult) -> list[CaseResult]:
        assert case.find is not None
        drawn = case.find.seed is not None or case.case.startswith(OF_CORPUS)
        name = case.find.signature if drawn else case.case
        before = self.finds.get(name)
        if before is None:
            # What the swarm counted stands at the swarm's own case.
            self.finds[name] = replace(case, case=name, measurements=())
            return [self.finds[name]]
        assert before.find is not None
        find = smaller(before.find, case.find)
        kept = before if find.program == before.find.program else case
        self.finds[name] = replace(kept, case=name, find=find, measurements=())
        return []

    def _other(self, case: CaseResult) -> None:
        before = self.others.get(case.case)
        if before is None or _WORST.index(case.verdict) < _WORST.index(before.verdict):
            self.others[case.case] = case

    @property
    def programs(self) -> int:
        """How many programs were drawn and carried out."""
        return int(sum(one.programs for one in self.swarms.values()))

    @property
    def steps(self) -> int:
        """How many steps those had."""
        return int(sum(one.steps for one in self.swarms.values()))

    @property
    def rate(self) -> float:
        """Steps a second of a guest's time."""
        seconds = sum(one.seconds for one in self.swarms.values())
        return self.steps / seconds if seconds > 0 else 0.0

    def told(self) -> str:
        """``180 programs, 7200 steps, 212 steps/s, 5000 pcs, 1 find``."""
        found = [counted(self.programs, "program"), counted(self.steps, "step")]
        found += [f"{self.rate:.0f} steps/s"] if self.rate else []
        found += [counted(self.pcs, "pc")] if self.pcs else []
        found.append(counted(len(self.finds), "find"))
        return ", ".join(found)

    def summed(self, like: CaseResult) -> list[CaseResult]:
        """The cases that are no finds: of each swarm one, of the corpus one, and what else was.

        :param like: a case of the workload, whose name is to be replaced.
        """
        found = []
        for name, swarm in self.swarms.items():
            if name in self.others:  # it failed, and not by a find
                continue
            verdict, reason = Verdict.PASS, counted(int(swarm.programs), "program")
            if not swarm.passed:
                verdict = Verdict.SKIP
                reason = f"a find ended it in each of {counted(swarm.slices, 'slice')}"
            found.append(replace(like, case=name, verdict=verdict, reason=reason, find=None,
                                 measurements=swarm.measurements))  # fmt: skip
        if self.replayed:
            told = f"{counted(self.replayed, 'program')} of the corpus"
            found.append(replace(like, case=CORPUS, verdict=Verdict.PASS, reason=told))
        return [*found, *self.others.values()]
