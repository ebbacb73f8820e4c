# SPDX-License-Identifier: GPL-2.0-only
"""Hold the reasons for symbols that did not take against Kconfiglib's evaluation of a whole tree.

    python tools/peers_kconfig.py TREE FOLDER [--arch arm64]

TREE is a kernel tree, FOLDER holds kconfiglib.py (``pip download --no-deps kconfiglib``, unpacked
or installed).  Every symbol of the tree is a question: a value is asked for that Kconfiglib says
cannot be had, and what the lab says of it is right when all that it names really is in the way.
Kconfiglib is no part of the lab's set-up; 14.1.0 reads 6.12 once ``modules`` is spelled
``option modules``.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.kernel.build import kdeps
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import ConfigMismatch

Explain = Callable[[Path, str, Sequence[ConfigMismatch], Mapping[str, str]], Mapping[str, str]]
#: What is counted, in the order of the rows.
QUESTIONS = {
    "m at most": "y asked of a tristate that a dependency holds at m",
    "unmet": "y or m asked, n by an unmet dependency",
    "no modules": "m asked without MODULES",
    "promptless": "y asked of a symbol without a prompt, n",
    "choice": "y asked of a member of a choice that another member has",
    "selected": "n or m asked, selected higher",
    "defaulted": "n or m asked, higher by a default or an imply",
    "out of range": "a number asked beyond its range",
}
_LETTER = "nmy"
_HALVES = "m, so m at most"
#: Environment that 6.12's Kconfig files ask for; the compiler's answers are the host's.
_TOOLS = {"CC": "gcc", "LD": "ld", "HOSTCC": "gcc", "RUSTC": "rustc", "BINDGEN": "bindgen"}
_TOOLS |= {"PAHOLE": "pahole", "NM": "nm", "OBJCOPY": "objcopy", "CLANG_FLAGS": ""}
_TOOLS |= {"CC_VERSION_TEXT": "gcc", "KERNELVERSION": "0"}


def measure(
    tree: Path, install: Path, arch: str = "x86_64", explain: Explain = kdeps.explain
) -> tuple[Counter[str], Counter[str], list[str]]:
    """Asked and right by question, and on each reason that is wrong ``STATE: QUESTION: WORDS``.

    Asked in four states of the tree: all that can be m or y set so, the same without MODULES,
    nothing set, and all off.  A reason is right when it names something, and all that it names is
    in the way by Kconfiglib's evaluation.

    :param tree: a kernel tree; :param install: the folder of kconfiglib.py.
    :raises UserError: when there is no Kconfiglib in ``install``.
    """
    library = load(install)
    kconf = _read(library, tree, arch)
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong = []
    for state in ("allmod", "no modules", "default", "alloff"):
        _set(library, kconf, state)
        config = {name: value for name, value in _dotconfig(kconf) if value}
        judge = _Judge(library, kconf)
        questions = list(judge.questions())
        # A symbol may be asked for several values, and explain() answers one at a time.
        for name in dict.fromkeys(name for name, _ in questions):
            mine = [miss for other, miss in questions if other == name]
            for part in _without_doubles(mine):
                reasons = explain(tree, ARCHES[arch].srcarch, part, config)
                for miss in part:
                    asked[name] += 1
                    if judge.right(name, miss, reasons[miss.symbol]):
                        right[name] += 1
                    else:
                        wrong.append(f"{state}: {name}: {_line(miss, reasons[miss.symbol])}")
    return asked, right, wrong


def load(install: Path) -> Any:
    """Import Kconfiglib from a folder.

    :raises UserError: when it is not there.
    """
    sys.path.insert(0, str(install))
    try:
        return importlib.import_module("kconfiglib")
    except ImportError as error:
        raise UserError(
            f"{install}: no kconfiglib.py there",
            "pip download --no-deps --no-binary :all: kconfiglib, and unpack it",
        ) from error
    finally:
        sys.path.remove(str(install))


def _read(library: Any, tree: Path, arch: str) -> Any:
    class Reader(library.Kconfig):  # type: ignore[misc]
        def _open(self, filename: str, mode: str) -> Any:
            with super()._open(filename, mode) as file:
                return io.StringIO(re.sub(r"(?m)^\tmodules$", "\toption modules", file.read()))

    mine = ARCHES[arch]
    tools = _TOOLS | {"ARCH": mine.kernel_arch, "SRCARCH": mine.srcarch, "srctree": str(tree)}
    tools |= {"CC": mine.gcc, "LD": f"{mine.cross}ld"}
    before = dict(os.environ)
    os.environ.update(tools)
    try:
        return Reader(str(tree / "Kconfig"), warn=False)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _set(library: Any, kconf: Any, state: str) -> None:
    kconf.unset_values()
    for symbol in kconf.unique_defined_syms if state != "default" else ():
        if state == "alloff":
            if symbol.orig_type in (library.BOOL, library.TRISTATE):
                symbol.set_value(0)
        elif symbol.orig_type == library.TRISTATE:
            symbol.set_value(1 if state == "allmod" else 2)
        elif symbol.orig_type == library.BOOL and not symbol.choice:
            symbol.set_value(0 if state == "no modules" and symbol is kconf.modules else 2)


def _dotconfig(kconf: Any) -> Iterator[tuple[str, str]]:
    for symbol in kconf.unique_defined_syms:
        line = symbol.config_string.strip()
        if line.startswith("CONFIG_"):
            yield symbol.name, line.partition("=")[2]


def _without_doubles(missed: list[ConfigMismatch]) -> Iterator[list[ConfigMismatch]]:
    while missed:
        part = list({miss.symbol: miss for miss in missed}.values())
        yield part
        missed = [miss for miss in missed if not any(miss is one for one in part)]


def _line(miss: ConfigMismatch, reason: str) -> str:
    return f"{miss.symbol} is {miss.got}, asked for {miss.wanted}: {reason}"


class _Judge:
    """What Kconfiglib has of a tree in one state, and what it makes of a reason."""

    def __init__(self, library: Any, kconf: Any) -> None:
        self.library = library
        self.kconf = kconf

    def questions(self) -> Iterator[tuple[str, ConfigMismatch]]:
        """Each question of this state: its name, and what was asked and got."""
        switches = (self.library.BOOL, self.library.TRISTATE)
        for symbol in self.kconf.unique_defined_syms:
            if symbol.orig_type in switches:
                for name, wanted, got in self._switch(symbol):
                    yield name, ConfigMismatch(symbol.name, _LETTER[wanted], _LETTER[got], "a:1")
            elif symbol.orig_type in (self.library.INT, self.library.HEX) and symbol.visibility:
                for asked, end in self._beyond(symbol):
                    yield "out of range", ConfigMismatch(symbol.name, asked, end, "a:1")

    def _switch(self, symbol: Any) -> Iterator[tuple[str, int, int]]:
        forced = self.library.expr_value(symbol.rev_dep)
        value = symbol.tri_value
        tristate = symbol.type == self.library.TRISTATE
        if not any(node.prompt for node in symbol.nodes):
            if value < (2 if tristate else 1):
                yield "promptless", 2, value
        elif symbol.visibility == 0 and value == 0:
            yield "unmet", 2, 0
            if tristate:
                yield "unmet", 1, 0
        elif symbol.visibility == 1 and tristate and forced < 2:
            yield "m at most", 2, 1
        elif symbol.choice and symbol.visibility and value == 0:
            yield "choice", 2, 0
        if symbol.orig_type == self.library.TRISTATE and not tristate and symbol.visibility:
            yield "no modules", 1, 2
        for wanted in (0, 1) if tristate else (0,):
            if forced > wanted:
                yield "selected", wanted, value
            elif value > wanted and symbol.visibility == 0 and not symbol.choice:
                yield "defaulted", wanted, value

    def _beyond(self, symbol: Any) -> Iterator[tuple[str, str]]:
        base = 10 if symbol.orig_type == self.library.INT else 16
        for low, high, condition in symbol.ranges:
            if self.library.expr_value(condition):
                for end, step in ((low.str_value, -1), (high.str_value, 1)):
                    number = int(end, base) + step
                    if base == 10 or number >= 0:
                        yield (str(number) if base == 10 else hex(number)), end
                return

    def right(self, name: str, miss: ConfigMismatch, reason: str) -> bool:
        """Whether all that a reason names is in the way, and it names something."""
        symbol = self.kconf.syms[miss.symbol]
        if name == "out of range":
            low, high, _ = next(r for r in symbol.ranges if self.library.expr_value(r[2]))
            return f"range {low.str_value} to {high.str_value} " in reason
        if name == "choice":
            return f"takes {symbol.choice.selection.name} " in reason
        if name == "no modules":
            return reason == "needs MODULES"
        wanted = _LETTER.index(miss.wanted)
        if name == "selected":
            return self._names(reason, "selected by ", symbol.rev_dep, wanted)
        if name == "defaulted":
            return self._by_default(symbol, reason, wanted)
        need = 1 if symbol.type == self.library.BOOL else wanted
        if name == "promptless":
            return self._promptless(symbol, reason, need)
        return self._all_below(_named(reason), self._prompt_terms(symbol), need)

    def _all_below(self, named: list[str], terms: set[str], need: int) -> bool:
        return bool(named) and all(
            self.kconf.eval_string(term) < need and _squeezed(term) in terms for term in named
        )

    def _promptless(self, symbol: Any, reason: str, need: int) -> bool:
        said = False
        for part in reason.partition("cannot be asked for: ")[2].rpartition(" (")[0].split("; "):
            if part.startswith("its default needs "):
                terms = {
                    self._plain(t) for d in symbol.defaults for e in d for t in self._and(e)
                }  # fmt: skip
                named = _terms(part.removeprefix("its default needs "))
                if not self._all_below(named, terms, need):
                    return False
            elif part.startswith("only "):
                if not self._names(part.replace(" can select it", ""), "only ", symbol.rev_dep, -1):
                    return False
            elif part == "its default is m":
                if not any(self._plain(default[0]) == "m" for default in symbol.defaults):
                    return False
            elif part != "nothing selects it" or symbol.rev_dep is not self.kconf.n:
                return False
            said = True
        return said

    def _names(self, reason: str, lead: str, pulls: Any, wanted: int) -> bool:
        """Whether exactly the symbols behind ``lead`` pull a symbol above ``wanted``."""
        if not reason.startswith(lead):
            return False
        pulling = set()
        for term in self.library.split_expr(pulls, self.library.OR):
            if self.library.expr_value(term) > wanted:
                pulling.add(self.library.split_expr(term, self.library.AND)[0].name)
        named = re.split(r", | and | or ", reason.removeprefix(lead).partition(" (")[0])
        more = re.fullmatch(r"(\d+) more", named[-1])
        if more:
            return set(named[:-1]) <= pulling and len(named) - 1 + int(more[1]) == len(pulling)
        return set(named) == pulling

    def _by_default(self, symbol: Any, reason: str, wanted: int) -> bool:
        parts = reason.rpartition(" (")[0].split("; ")
        lead = parts.pop(0)
        if lead.startswith("its prompt "):
            terms = self._prompt_terms(symbol)
            if not self._all_below(_named(lead.removeprefix("its prompt ") + " (x)"), terms, 1):
                return False
        elif lead != "has no prompt" or any(node.prompt for node in symbol.nodes):
            return False
        for part in parts:
            if part.startswith("implied by "):
                if not self._names(part, "implied by ", symbol.weak_rev_dep, wanted):
                    return False
            elif part.startswith("its default is "):
                value = re.split(r"\s+if\s", part.removeprefix("its default is "))[0]
                first = next(d[0] for d in symbol.defaults if self.library.expr_value(d[1]))
                # Kconfiglib has run a macro where the lab names it.
                if "$(" not in value and self._plain(first) != _squeezed(value):
                    return False
        return bool(parts)

    def _and(self, expression: Any) -> Iterator[Any]:
        """The parts that must all hold, !(A || B) as !A and !B."""
        kinds = self.library
        if expression.__class__ is tuple and expression[0] is kinds.AND:
            yield from self._and(expression[1])
            yield from self._and(expression[2])
        elif expression.__class__ is tuple and expression[0] is kinds.NOT:
            inner = expression[1]
            if inner.__class__ is tuple and inner[0] is kinds.OR:
                yield from self._and((kinds.NOT, inner[1]))
                yield from self._and((kinds.NOT, inner[2]))
            elif inner.__class__ is tuple and inner[0] is kinds.NOT:
                yield from self._and(inner[1])
            else:
                yield expression
        else:
            yield expression

    def _plain(self, expression: Any) -> str:
        """The text as it was written; Kconfiglib has ``m && MODULES`` for a bare m."""
        return _squeezed(self.library.expr_str(expression)).replace("m&&MODULES", "m")

    def _prompt_terms(self, symbol: Any) -> set[str]:
        """What must hold before a symbol can be asked for, a choice's own dependencies included."""
        found = [t for node in symbol.nodes if node.prompt for t in self._and(node.prompt[1])]
        for choice in [term for term in found if isinstance(term, self.library.Choice)]:
            found += [t for node in choice.nodes for t in self._and(node.dep)]
        return {self._plain(term) for term in found}


def _squeezed(text: str) -> str:
    """An expression without blanks and parentheses, which two writers may set differently."""
    return re.sub(r"[\s()]", "", text)


def _named(reason: str) -> list[str]:
    """The terms that a reason names as below what was asked for."""
    named: list[str] = []
    for piece in reason.split("; "):
        text = piece.rpartition(" (")[0]
        halves = ""
        if text.endswith(_HALVES):
            text, _, halves = text.rpartition(", and ")
        if text.startswith(("needs ", "perhaps needs ")):
            named += _terms(text.partition("needs ")[2])
        if halves.startswith("depends on m"):
            named.append("m")
        elif halves:
            halves = re.sub(r" (?:is|are) m, so m at most$", "", halves)
            named += _terms(halves.replace(" and ", " && "))
    return named


def _terms(text: str) -> list[str]:
    """Split at the ``&&`` outside parentheses."""
    terms, depth, last = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and text.startswith(" && ", at):
            terms.append(text[last:at])
            last = at + 4
    return [*terms, text[last:]]


def main() -> int:
    """Print a row for each question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tree", type=Path)
    parser.add_argument("install", type=Path)
    parser.add_argument("--arch", default="x86_64", choices=sorted(ARCHES))
    parser.add_argument("--wrong", type=Path, help="write the reasons that are wrong there")
    given = parser.parse_args()
    try:
        asked, right, wrong = measure(given.tree, given.install, given.arch, kdeps.explain)
    except UserError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return 2
    for name, what in QUESTIONS.items():
        print(f"{right[name]:6} of {asked[name]:6} right: {what}")
    if given.wrong:
        given.wrong.write_text("".join(f"{line}\n" for line in wrong))
    return 0


if __name__ == "__main__":
    sys.exit(main())
