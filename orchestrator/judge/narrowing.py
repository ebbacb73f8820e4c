# SPDX-License-Identifier: GPL-2.0-only
"""What of a guest a failure needs: which change to try next, and the sentence at the end.  Pure.

Changes are left out of the guest together as long as the case still fails: whole groups at a time,
then halves of those that matter, down to one change (after Zeller and Hildebrandt: Simplifying and
isolating failure-inducing input, 2002).  A change is needed only where it alone, in the guest as it
was, makes the failure go away.  One that does so only together with others stands for things of
which any is enough; which others is found by Junker's QuickXplain (2004).

What cannot be tried without a thing (the workload skips, the kernel does not boot) says nothing of
whether the failure needs it, and is told apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from orchestrator.judge.sequential import decide
from orchestrator.model.formats import listed
from orchestrator.model.judging import Decision, ErrorRates
from orchestrator.model.narrowing import ARCH, BOOT_ARGS, FRAGMENTS, SYMBOLS, WORKLOAD, Change

#: The names of changes that are made together; none is the guest as it was.
Names = frozenset[str]
# So many trials that tell nothing, among others that did, are enough.
_BLIND = 3


class Effect(str, Enum):
    """What changes do to a failure."""

    STILL = "still fails"
    RARER = "fails less often"
    GONE = "does not fail"
    CANNOT = "cannot be tried"


def effect_of(
    unchanged: Sequence[bool],
    changed: Sequence[bool | None],
    rates: ErrorRates = ErrorRates(),  # noqa: B008 (frozen)
    *,
    steady: bool = False,
) -> Effect | None:
    """What trials show that changes do; None where there are to be more.

    A failure that is seen again is not gone: one that comes at least half as often as before still
    stands.  That it is gone or rarer is decided at the error rates of a regression.

    :param unchanged: whether the case failed in the guest as it was, for each trial.
    :param changed: the same with the changes; None where a trial told nothing.
    :param steady: whether the workload comes to the same each time: then one trial is enough.
    """
    known = [one for one in changed if one is not None]
    if changed and (not known or len(changed) - len(known) >= _BLIND):
        return Effect.CANNOT
    if not known:
        return None
    if any(known) and (steady or _rate(known) >= _rate(unchanged) / 2):
        return Effect.STILL
    pairs = list(zip(unchanged, known, strict=False))
    decision = decide(pairs, rates, deterministic=steady).decision
    if decision is Decision.REGRESSION:  # it fails more often as it was
        return Effect.RARER if any(known) else Effect.GONE
    return None if decision is Decision.UNDECIDED else Effect.STILL


def _rate(trials: Sequence[bool]) -> float:
    return sum(trials) / len(trials) if trials else 1.0


# ---------------------------------------------------------------- the search


@dataclass(frozen=True)
class Narrowed:
    """What is known by now, each change in one place.  ``next`` is what to try, None at the end.

    Without what is ``needed`` the case does not fail, without what is ``rarer`` less often.  Of
    each group of ``either`` one is enough.  What is ``free`` does not matter; without ``cannot``
    the case cannot be tried.
    """

    needed: tuple[Change, ...] = ()
    rarer: tuple[Change, ...] = ()
    either: tuple[tuple[Change, ...], ...] = ()
    free: tuple[Change, ...] = ()
    cannot: tuple[Change, ...] = ()
    next: Names | None = None


def search(changes: Iterable[Change], effects: Mapping[Names, Effect]) -> Narrowed:
    """What is known of ``changes``, and which of them to try next.

    Those without a build come first, then what takes one; symbols last, of the fragments that
    matter.

    :param effects: of what was tried.
    """
    look = _Look(tuple(changes), effects)
    ahead: Names | None = None
    try:
        look.all()
    except _Ask as ask:
        ahead = ask.names
    return look.narrowed(ahead)


class _Ask(Exception):
    """What these changes do must be known first."""

    def __init__(self, names: Names) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = names


class _Look:
    """One pass over all that is known; it stops at the first gap."""

    def __init__(self, changes: tuple[Change, ...], effects: Mapping[Names, Effect]) -> None:
        self.changes = changes
        self.effects = dict(effects)
        self.sorted: dict[str, Effect] = {}
        self.either: list[tuple[str, ...]] = []

    def all(self) -> None:
        """Sort every change; of symbols those whose fragment matters."""
        self._block(one for one in self.changes if not one.of)
        guest = [one for one in self.changes if not one.builds]
        left_out = self._group([one for one in guest if not one.alone], frozenset())
        self._alone(one for one in guest if one.alone)
        fragments = [one for one in self.changes if one.axis == FRAGMENTS]
        # What takes away a thing that is needed would only spoil the group.
        apart = [one for one in fragments if one.alone or any(map(self._matters, one.includes))]
        self._group([one for one in fragments if one not in apart], left_out)
        self._alone(apart)
        self._alone(one for one in self.changes if one.axis == ARCH)
        for fragment in fragments:
            own = [one for one in self.changes if one.of == fragment.name]
            if own and self._matters(fragment.name):
                # All of them together is the fragment left out.
                self._block(own)
                effect = self.sorted[fragment.name]
                self.effects.setdefault(frozenset(one.name for one in own), effect)
                self._group(own, frozenset())

    def _matters(self, name: str) -> bool:
        """Whether a change by itself is known to be felt."""
        return self.sorted.get(name) in (Effect.GONE, Effect.RARER)

    def narrowed(self, ahead: Names | None) -> Narrowed:
        """What is known by now."""
        by_name = {one.name: one for one in self.changes}
        enough = {name for group in self.either for name in group}

        def those(effect: Effect) -> tuple[Change, ...]:
            return tuple(
                one
                for one in self.changes
                if self.sorted.get(one.name) is effect and one.name not in enough
            )

        either = tuple(tuple(by_name[name] for name in group) for group in self.either)
        return Narrowed(
            those(Effect.GONE), those(Effect.RARER), either, those(Effect.STILL),
            those(Effect.CANNOT), ahead,
        )  # fmt: skip

    def _ask(self, names: Names) -> Effect:
        if names not in self.effects:
            raise _Ask(names)
        return self.effects[names]

    def _block(self, changes: Iterable[Change]) -> None:
        self.sorted |= {one.name: Effect.CANNOT for one in changes if one.blocked}

    def _alone(self, changes: Iterable[Change]) -> None:
        for one in changes:
            if one.name not in self.sorted:
                self.sorted[one.name] = self._ask(frozenset({one.name}))

    def _group(self, changes: Sequence[Change], left_out: Names) -> Names:
        """Leave out what can be besides ``left_out``: gives all that is left out then."""
        return self._leave_out(tuple(one.name for one in changes if not one.blocked), left_out)

    def _leave_out(self, names: tuple[str, ...], left_out: Names) -> Names:
        if not names:
            return left_out
        if len(names) == 1:
            return self._one(names[0], left_out)
        together = left_out | frozenset(names)
        if self._ask(together) is Effect.STILL:
            self.sorted |= dict.fromkeys(names, Effect.STILL)
            return together
        half = len(names) // 2
        left_out = self._leave_out(names[:half], left_out)
        return self._leave_out(names[half:], left_out)

    def _one(self, name: str, left_out: Names) -> Names:
        """One change by itself first: only so it is known whether the failure needs it."""
        one = frozenset({name})
        self.sorted[name] = self._ask(one)
        if self.sorted[name] is not Effect.STILL:
            return left_out
        together = self._ask(left_out | one)
        if together is Effect.STILL:
            return left_out | one
        if together is not Effect.CANNOT:
            order = [change.name for change in self.changes if change.name in left_out]
            others = self._least(one, order, asked=False)
            self.either.append((name, *others))
        return left_out

    def _least(self, fixed: Names, rest: Sequence[str], *, asked: bool) -> tuple[str, ...]:
        """A smallest part of ``rest`` that together with ``fixed`` is no failure any more."""
        if asked and self._ask(fixed) is not Effect.STILL:
            return ()
        if len(rest) == 1:
            return tuple(rest)
        half = len(rest) // 2
        left, right = rest[:half], rest[half:]
        late = self._least(fixed | frozenset(left), right, asked=True)
        early = self._least(fixed | frozenset(late), left, asked=bool(late))
        return (*early, *late)


# ---------------------------------------------------------------- in words


_NOUNS = {
    FRAGMENTS: ("the fragment", "the fragments"),
    BOOT_ARGS: ("the boot argument", "the boot arguments"),
    WORKLOAD: ("the argument", "the arguments"),
    SYMBOLS: ("the symbol", "the symbols"),
}


def sentence(found: Narrowed) -> str:
    """``needs the swap disk; two CPUs and the fragments thp and ksm do not matter``."""
    needed = [*_things(_apart(found.needed)), *(_any_of(group) for group in found.either)]
    parts = []
    if needed:
        parts.append(f"needs {listed(needed)}")
    elif found.next is None:
        parts.append("needs nothing of what was tried")
    if rarer := _things(_apart(found.rarer)):
        parts.append(f"fails less often without {listed(rarer)}")
    free = _at_once(_apart(found.free))
    if free:
        parts.append(f"{listed(_things(free))} {'does' if _is_one(free) else 'do'} not matter")
    if cannot := _things(_apart(found.cannot)):
        parts.append(f"cannot be tried without {listed(cannot)}")
    return "; ".join([*parts, *_arches(found)])


def in_words(changes: Sequence[Change]) -> str:
    """The changes that are made together: ``one CPU, without the fragments thp and ksm``."""
    told = []
    for axis in dict.fromkeys(one.axis for one in changes):
        own = [one for one in changes if one.axis == axis]
        if axis in _NOUNS and len(own) > 1:
            told.append(f"without {_things(own)[0]}")
        else:
            told += [one.told for one in own]
    return ", ".join(told) or "as it was"


def _apart(changes: Iterable[Change]) -> list[Change]:
    """Without architectures, of which there are words of their own."""
    return [one for one in changes if one.axis != ARCH]


def _at_once(changes: Sequence[Change]) -> list[Change]:
    """Several changes to one thing as one: neither half nor twice the memory matters."""
    told = {}
    for one in changes:
        several = one.about and sum(other.about == one.about for other in changes) > 1
        told[one.about if several else one.name] = replace(one, thing=one.about) if several else one
    return list(told.values())


def _is_one(changes: Sequence[Change]) -> bool:
    # "two CPUs do not matter"
    return len(changes) == 1 and not changes[0].thing.endswith("CPUs")


def _arches(found: Narrowed) -> list[str]:
    told = []
    free = [one for one in found.free if one.axis == ARCH]
    if len(free) == 1:
        told.append("on both architectures")
    elif free:
        told.append(f"on {listed([free[0].thing, *(one.arch for one in free)])}")
    gone = [one for one in (*found.needed, *found.rarer) if one.axis == ARCH]
    for one in gone:
        how = "not" if one in found.needed else "less often"
        told.append(f"{how} on {one.arch}")
    told += [f"cannot be tried on {one.arch}" for one in found.cannot if one.axis == ARCH]
    return told


def _any_of(group: Collection[Change]) -> str:
    return " or ".join(word for one in group for word in _things([one]))


def _things(changes: Sequence[Change]) -> list[str]:
    """The things, those of one kind behind one noun: ``the fragments ksm and memcg``."""
    told = []
    for axis in dict.fromkeys(one.axis for one in changes):
        things = [one.thing for one in changes if one.axis == axis]
        if axis in _NOUNS:
            one, many = _NOUNS[axis]
            told.append(f"{one if len(things) == 1 else many} {listed(things)}")
        else:
            told += things
    return told
