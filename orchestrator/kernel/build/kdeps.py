# SPDX-License-Identifier: GPL-2.0-only
"""Why a Kconfig symbol did not take: the dependency that was not met, or what set it all the same.

A value below what was asked for is held down by dependencies; one above it was raised by a select,
or the request did not count and a default did (sym_calc_value() of scripts/kconfig/symbol.c, 6.12).
Kconfig itself has no command that answers it without a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.kernel.build import kexpr, ktree
from orchestrator.kernel.build.kexpr import MODULE, NO, YES, Expression, Values, Word
from orchestrator.model.kernel import ConfigMismatch
from orchestrator.model.names import nearest

UNKNOWN = "this kernel has no such symbol"
OVERRIDDEN = "overridden by a select, a choice or a default"
_MOST_NAMED = 4
# A letter or two of a symbol of some length; what is less alike is another symbol.
_ALIKE = 0.8


def explain(
    source: Path, srcarch: str, missed: Sequence[ConfigMismatch], dotconfig: Mapping[str, str]
) -> dict[str, str]:
    """For each symbol tell in a few words why it is not what was asked for.

    :param source: the kernel tree; :param srcarch: ``x86`` or ``arm64`` (the folder below arch/).
    :param missed: what was asked for and what came of it; :param dotconfig: the whole .config.
    """
    tree = ktree.read(source, srcarch, frozenset(miss.symbol for miss in missed))
    values = Values(dotconfig, tree.kinds, tree.modules)
    absent = {miss.symbol for miss in missed} - set(tree.definitions)
    others = ktree.elsewhere(source, srcarch, absent) if absent else {}
    reasons = {name: _unknown(name, tree, srcarch, others.get(name, [])) for name in absent}
    for miss in missed:
        if miss.symbol not in absent:
            reasons[miss.symbol] = _Reason(miss, tree, values).words()
    return reasons


def _unknown(name: str, tree: ktree.Tree, srcarch: str, others: list[str]) -> str:
    if others:
        return f"{UNKNOWN} for {srcarch}, only for {_list(others, 'and')}"
    near = nearest(name.upper().removeprefix("CONFIG_"), tree.kinds, cutoff=_ALIKE)
    return f"{UNKNOWN}; did you mean CONFIG_{near}?" if near else UNKNOWN


@dataclass(frozen=True)
class _Way:
    """One prompt of a symbol, and what must hold before the request counts there."""

    file: str
    terms: list[str]


@dataclass(frozen=True)
class _Reason:
    """One symbol that did not take."""

    miss: ConfigMismatch
    tree: ktree.Tree
    values: Values

    @property
    def definitions(self) -> list[ktree.Definition]:
        return self.tree.definitions[self.miss.symbol]

    @property
    def kind(self) -> str:
        return self.tree.kinds[self.miss.symbol]

    @property
    def files(self) -> str:
        return ", ".join(dict.fromkeys(one.file for one in self.definitions))

    def words(self) -> str:
        """The reason in a sentence or two."""
        wrong = _malformed(self.kind, self.miss.wanted)
        if wrong:
            return f"{wrong} ({self.files})"
        if self.kind not in kexpr.TRISTATES:
            return self._held(MODULE) or self._out_of_range() or f"{OVERRIDDEN} ({self.files})"
        wanted = kexpr.LEVELS[self.miss.wanted]
        found = kexpr.LEVELS.get(self.miss.got, NO)
        no_modules = self.values.level(Word("m")).most == NO
        if wanted == MODULE and no_modules:
            # Without modules a tristate is a bool, and m counts as y.
            held = self._held(MODULE) if found == NO else ""
            lacks = f"needs {self.tree.modules}"
            return held if held.startswith(lacks) else "; ".join(filter(None, (lacks, held)))
        if found > wanted:
            return self._raised(wanted)
        # A bool takes y where a dependency is m.
        need = MODULE if self.kind == "bool" or no_modules else wanted
        return self._held(need) or self._choice() or f"{OVERRIDDEN} ({self.files})"

    # ------------------------------------------------------------ below what was asked for

    def _ways(self) -> Iterator[_Way]:
        for one in self.definitions:
            for prompt in one.prompts:
                yield _Way(one.file, [*one.depends(), *one.visible(), prompt])

    def _held(self, need: int) -> str:
        """The terms below ``need`` at each of the prompts; nothing where one is free of them."""
        ways = list(self._ways())
        if not ways:
            return self._promptless(need)
        told: list[str] = []
        unsure: list[str] = []
        for way in ways:
            below, doubt = self._sentence(way.terms, need), self._doubt(way.terms, need)
            if not below and not doubt:
                return ""
            (told if below else unsure).append(f"{below or doubt} ({way.file})")
        return "; ".join(dict.fromkeys(unsure or told))

    def _doubt(self, terms: list[str], need: int) -> str:
        parts = self._below(terms, need, perhaps=True)
        return f"perhaps needs {' && '.join(map(str, parts))}" if parts else ""

    def _below(self, terms: list[str], need: int, perhaps: bool = False) -> list[Expression]:
        """Which parts are below ``need``; with ``perhaps`` those that may be, for all we know."""
        parts = [p for t in terms if t for p in kexpr.conjuncts(_condition(t))]
        spans = [kexpr.evaluate(part, self.values) for part in parts]
        return list(
            dict.fromkeys(
                part
                for part, span in zip(parts, spans, strict=True)
                if (span.least if perhaps else span.most) < need
            )
        )

    def _sentence(self, terms: list[str], need: int) -> str:
        below = self._below(terms, need)
        absent = [p for p in below if kexpr.evaluate(p, self.values).most == NO]
        halves = [p for p in below if p not in absent]
        said = []
        if absent:
            # A bare m is "m && MODULES".
            names = [self.tree.modules if str(p) == "m" else str(p) for p in absent]
            said.append("needs " + " && ".join(names))
        named = [str(part) for part in halves if str(part) != "m"]
        if named:
            verb = "is" if len(named) == 1 else "are"
            said.append(f"{' and '.join(named)} {verb} m, so m at most")
        elif halves:
            said.append("depends on m, so m at most")
        return ", and ".join(said)

    def _promptless(self, need: int) -> str:
        fixed = self.kind not in kexpr.TRISTATES
        reasons = []
        for one in self.definitions:
            for value, condition in map(kexpr.split_if, one.defaults):
                held = [
                    *one.depends(),
                    condition,
                    *([] if fixed or value in kexpr.LEVELS else [value]),
                ]
                below = self._below(held, need)
                if below:
                    reasons.append(f"its default needs {' && '.join(map(str, below))}")
                elif value == "m":
                    reasons.append("its default is m")
        pulls = [pull.by.name for pull in self.tree.selects.get(self.miss.symbol, [])]
        if pulls:
            reasons.append(f"only {_list(pulls, 'or')} can select it")
        if not reasons:
            reasons = ["its value is its default" if fixed else "nothing selects it"]
        told = list(dict.fromkeys(reasons))[-_MOST_NAMED:]
        return f"cannot be asked for: {'; '.join(told)} ({self.files})"

    def _choice(self) -> str:
        """Which other member of its choice was taken."""
        for one in self.definitions:
            choice = one.choice or ktree.Choice()
            for other in choice.members:
                if other != self.miss.symbol and self.values.level(Word(other)).most == YES:
                    return f"its choice {choice.prompt!r} takes {other} ({one.file})"
        return ""

    # ------------------------------------------------------------ above what was asked for

    def _raised(self, wanted: int) -> str:
        pulls = self._pulls(self.tree.selects, wanted)
        if pulls:
            return f"selected by {_list(pulls, 'and')}"
        held = [self._sentence(way.terms, MODULE) for way in self._ways()]
        if not all(held):
            for choice in filter(None, (one.choice for one in self.definitions)):
                return f"its choice {choice.prompt!r} takes one, and no other is y ({self.files})"
            held = [self._doubt(way.terms, MODULE) for way in self._ways()]
        if not all(held):
            return f"{OVERRIDDEN} ({self.files})"
        # The request did not count.
        why = [f"its prompt {held[0]}"] if held else ["has no prompt"]
        why += self._defaults(wanted)
        implied = self._pulls(self.tree.implies, wanted)
        why += [f"implied by {_list(implied, 'and')}"] if implied else []
        return f"{'; '.join(why)} ({self.files})"

    def _pulls(self, pulls: dict[str, list[ktree.Pull]], wanted: int) -> list[str]:
        """The symbols whose select or imply raises this one above ``wanted``."""
        names = []
        for pull in pulls.get(self.miss.symbol, []):
            terms = [*pull.by.depends(), pull.condition, pull.by.name]
            if not self._below(terms, wanted + 1):
                names.append(pull.by.name)
        return list(dict.fromkeys(names))

    def _defaults(self, wanted: int) -> list[str]:
        """The default that counts: the first whose condition holds."""
        for one in self.definitions:
            for text in one.defaults:
                value, condition = kexpr.split_if(text)
                if not self._below([*one.depends(), condition], MODULE):
                    most = kexpr.evaluate(kexpr.parse(value), self.values).most
                    # An m that is a default's value is so without MODULES too, and y for a bool.
                    most = max(most, MODULE) if value == "m" else most
                    return [f"its default is {text}"] if most > wanted else []
        return []

    # ------------------------------------------------------------ numbers

    def _out_of_range(self) -> str:
        base = kexpr.BASES.get(self.kind)
        asked = kexpr.number(self.miss.wanted, base) if base else None
        if base is None or asked is None:
            return ""
        for one in self.definitions:
            for limits, condition in map(kexpr.split_if, one.ranges):
                if self._below([*one.depends(), condition], MODULE):
                    continue
                ends = [self.values.text(word) for word in kexpr.words(limits)]
                numbers = [kexpr.number(end, base) for end in ends if end is not None]
                low, high = (*numbers, None, None)[:2]
                if low is not None and high is not None and not low <= asked <= high:
                    return f"outside its range {ends[0]} to {ends[1]} ({one.file})"
                return ""
        return ""


def _condition(text: str) -> Expression:
    """A term; ``A if B``, which newer kernels have, is ``A || !B``."""
    term, condition = kexpr.split_if(text)
    if not condition:
        return kexpr.parse(term)
    return kexpr.Joined("||", (kexpr.parse(term), kexpr.Not(kexpr.parse(condition))))


_TAKES = {
    "bool": "y or n",
    "tristate": "y, m or n",
    "int": "a whole number without leading zeros",
    "hex": "a hexadecimal number",
    "string": "a text in double quotes",
}


def _malformed(kind: str, wanted: str) -> str:
    """What is wrong with a request that Kconfig does not take for the symbol's type."""
    digits = wanted.removeprefix("-")
    good = {
        "bool": wanted in ("y", "n"),
        "tristate": wanted in kexpr.LEVELS,
        "int": kexpr.number(digits, 10) is not None and (digits[0] != "0" or digits == "0"),
        "hex": kexpr.number(wanted, 16) is not None,
        "string": wanted.startswith('"'),
    }
    return "" if good.get(kind, True) else f"a symbol of type {kind} takes {_TAKES[kind]}"


def _list(names: list[str], joint: str) -> str:
    """``A, B and C``; of many the first few and how many more."""
    names = list(dict.fromkeys(names))
    if len(names) > _MOST_NAMED:
        names = [*names[:_MOST_NAMED], f"{len(names) - _MOST_NAMED} more"]
    return f" {joint} ".join(filter(None, (", ".join(names[:-1]), names[-1])))
