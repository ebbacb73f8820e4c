# SPDX-License-Identifier: GPL-2.0-only
"""What is known of a build once Kconfig has run, before anything is compiled.

Which requests did not take and why, what a guest lacks, which files and programs are missing; and
as notes, what became of a complete .config of the user's and of the kernel's own requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.kernel.build import cmdline, inputs, kconfig, kdeps, ktree, needs
from orchestrator.kernel.build.kfile import Complete
from orchestrator.kernel.build.request import BuildRequest
from orchestrator.model.formats import counted
from orchestrator.model.kernel import ConfigMismatch

_MOST_TOLD = 3
# Reasons cost a look at the whole Kconfig tree for each symbol; the first so many have one.
_EXPLAINED = 60
_SHORT = 120


@dataclass(frozen=True)
class Foretold:
    """``missed`` is what was asked for and did not take, ``notes`` what is told beside.

    ``lines`` is all of it for the log, a line for each symbol.
    """

    missed: tuple[ConfigMismatch, ...] = ()
    notes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def foretell(
    wanted: BuildRequest, source: Path, objects: Path, dotconfig: Mapping[str, str]
) -> Foretold:
    """Look at what Kconfig made of a request.

    :param dotconfig: the whole .config, symbol to value.
    :raises UserError: where the configuration names a file that is not there.
    :raises HostError: where it needs a program that the host lacks.
    """
    full, srcarch = wanted.full, wanted.arch.srcarch
    asked = kconfig.mismatches([r for r in wanted.requests if not r.trees], dotconfig)
    lacking = needs.unmet(wanted.arch, dotconfig) if full else ()
    if lacking:  # a request of a fragment's that is a need as well is told as the need
        names = {miss.symbol for miss in asked}
        tried = [miss for miss in lacking if miss.symbol in names]
        why = {miss.symbol: miss for miss in _explained(tried, source, srcarch, dotconfig)}
        lacking = tuple(why.get(miss.symbol, miss) for miss in lacking)
        needed = {miss.symbol for miss in lacking}
        asked = tuple(miss for miss in asked if miss.symbol not in needed)
    trees = kconfig.mismatches([r for r in wanted.requests if r.trees], dotconfig)
    changed = _users(full, wanted, source, dotconfig) if full else ()
    told = _explained((*asked, *trees, *changed[:_EXPLAINED]), source, srcarch, dotconfig)
    missed = (*lacking, *told[: len(asked)])
    trees = told[len(asked) : len(asked) + len(trees)]
    changed = (*told[len(asked) + len(trees) :], *changed[_EXPLAINED:])
    notes = [*wanted.notes, *cmdline.told(wanted.arch, dotconfig)] if full else [*wanted.notes]
    if trees:
        notes.append(_list(f"{_count(trees)} of the selftests' own did not take", trees))
    if full and changed:
        name = f"{full.path.name}{_age(full, wanted.tree.version)}"
        head = f"{_count(changed)} of {name} {_are(changed)} not in this kernel"
        notes.append(_list(f"{head} or came out otherwise", changed))
        notes += inputs.lacking([miss.symbol for miss in changed if miss.got == "n"])
    config = wanted.build.config
    if not lacking or config.build_mismatched:
        inputs.check(wanted.arch, dotconfig, source, objects, config.name)
    lines = (*map(kconfig.tell, missed), *map(_line, (*trees, *changed)))
    return Foretold(missed, tuple(notes), lines)


def _users(
    full: Complete, wanted: BuildRequest, source: Path, dotconfig: Mapping[str, str]
) -> tuple[ConfigMismatch, ...]:
    """What of the user's own choices in a complete .config came out otherwise, those gone last.

    A symbol without a prompt is no choice: Kconfig writes what follows from compiler and host.
    """
    requested = {request.symbol for request in wanted.requests}
    file = full.path.name
    missed = [
        ConfigMismatch(symbol, one.value, dotconfig.get(symbol, "n"), f"{file}:{one.line}")
        for symbol, one in full.settings.items()
        if symbol not in requested and not kconfig.same_value(one.value, dotconfig.get(symbol, "n"))
    ]
    if not missed:
        return ()
    names = frozenset(miss.symbol for miss in missed)
    tree = ktree.read(source, wanted.arch.srcarch, names)
    known = {name: any(one.prompts for one in all_) for name, all_ in tree.definitions.items()}
    gone = [replace(m, unmet=kdeps.UNKNOWN) for m in missed if m.symbol not in known]
    return (*[m for m in missed if known.get(m.symbol)], *gone)


def _explained(
    missed: Sequence[ConfigMismatch], source: Path, srcarch: str, dotconfig: Mapping[str, str]
) -> tuple[ConfigMismatch, ...]:
    unknown = [miss for miss in missed if not miss.unmet]
    if not unknown:
        return tuple(missed)
    reasons = kdeps.explain(source, srcarch, unknown, dotconfig)
    return tuple(m if m.unmet else replace(m, unmet=reasons[m.symbol]) for m in missed)


def _list(head: str, missed: Sequence[ConfigMismatch]) -> str:
    most = _MOST_TOLD + (len(missed) == _MOST_TOLD + 1)
    shown = [_short(miss) for miss in missed[:most]]
    more = len(missed) - len(shown)
    tail = f"; {more} more, all in build.log" if more else ""
    return f"{head}: {'; '.join(shown)}{tail}"


def _short(miss: ConfigMismatch) -> str:
    why = miss.unmet if len(miss.unmet) <= _SHORT else f"{miss.unmet[: _SHORT - 3]}..."
    return f"CONFIG_{miss.symbol} {miss.wanted} -> {miss.got}" + (f" ({why})" if why else "")


def _line(miss: ConfigMismatch) -> str:
    why = f": {miss.unmet}" if miss.unmet else ""
    return f"CONFIG_{miss.symbol} {miss.wanted} -> {miss.got} ({miss.fragment}){why}"


def _count(missed: Sequence[ConfigMismatch]) -> str:
    return counted(len(missed), "symbol")


def _age(full: Complete, version: str) -> str:
    """For which kernel a .config was made, where that is another than this one."""
    mine, its = (kconfig.version_key(text)[:2] for text in (version, full.version))
    return f" (made for {full.version})" if its and its != mine else ""


def _are(missed: Sequence[ConfigMismatch]) -> str:
    return "are" if len(missed) > 1 else "is"
