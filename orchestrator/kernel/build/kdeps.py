# SPDX-License-Identifier: GPL-2.0-only
"""Why a Kconfig symbol did not take: find its definition and the dependency that is not met.

A reader for the part of Kconfig that matters to that question (``config``, ``menu``, ``choice``,
``if``, ``depends on``, ``source``; see Documentation/kbuild/kconfig-language.rst).  Kconfig itself
has no command that answers it without a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(
    r"\s*(&&|\|\||!=|<=|>=|=|<|>|!|\(|\)|\"[^\"]*\"|'[^']*'|\$\([^()]*(?:\([^()]*\)[^()]*)*\)|[\w.-]+)"
)


_NUMBER = re.compile(r"\d+|0x[0-9a-fA-F]+")
_COMPARE = ("=", "!=", "<", ">", "<=", ">=")


@dataclass
class _Definition:
    file: str
    depends: list[str] = field(default_factory=list)
    prompt: bool = False
    prompt_if: str = ""


def explain(
    source: Path, srcarch: str, symbols: Sequence[str], dotconfig: Mapping[str, str]
) -> dict[str, str]:
    """For each symbol tell the unmet dependency, or that it does not exist or has no prompt.

    :param source: the kernel tree; :param srcarch: ``x86`` or ``arm64`` (the folder below arch/).
    """
    search = _Search(source, srcarch, set(symbols))
    found: dict[str, list[_Definition]] = {symbol: [] for symbol in symbols}
    for name, definition in _File(search, source / "Kconfig", []).definitions():
        found[name].append(definition)
    return {name: _reason(definitions, dotconfig) for name, definitions in found.items()}


def _reason(definitions: list[_Definition], dotconfig: Mapping[str, str]) -> str:
    if not definitions:
        return "this kernel has no such symbol"
    reasons = []
    for definition in definitions:
        terms = [*definition.depends, *([definition.prompt_if] if definition.prompt_if else [])]
        parts = [part for term in terms for part in _conjuncts(term)]
        false = list(dict.fromkeys(part for part in parts if evaluate(part, dotconfig) is False))
        if false:
            reasons.append(f"needs {' && '.join(false)} ({definition.file})")
        elif not definition.prompt:
            reasons.append(
                f"cannot be asked for: only another symbol selects it ({definition.file})"
            )
        else:
            reasons.append(f"overridden by a select, a choice or a default ({definition.file})")
    return "; ".join(dict.fromkeys(reasons))


def _conjuncts(expression: str) -> list[str]:
    """Split at the ``&&`` outside parentheses, so that only the false parts are named."""
    parts, depth, begin = [], 0, 0
    for found in _TOKEN.finditer(expression):
        token = found[1]
        depth += (token == "(") - (token == ")")
        if token == "||" and depth == 0:
            return [expression.strip()]
        if token == "&&" and depth == 0:
            parts.append(expression[begin : found.start(1)].strip())
            begin = found.end(1)
    return [*parts, expression[begin:].strip()]


def evaluate(expression: str, dotconfig: Mapping[str, str]) -> bool | None:
    """Evaluate a ``depends on`` expression; None where this reader cannot tell."""
    tokens = _TOKEN.findall(expression)
    try:
        value, rest = _or(tokens, dotconfig)
    except (IndexError, ValueError):
        return None
    return None if rest else value


def _or(tokens: list[str], config: Mapping[str, str]) -> tuple[bool | None, list[str]]:
    value, tokens = _and(tokens, config)
    while tokens and tokens[0] == "||":
        other, tokens = _and(tokens[1:], config)
        value = True if True in (value, other) else (None if None in (value, other) else False)
    return value, tokens


def _and(tokens: list[str], config: Mapping[str, str]) -> tuple[bool | None, list[str]]:
    value, tokens = _not(tokens, config)
    while tokens and tokens[0] == "&&":
        other, tokens = _not(tokens[1:], config)
        value = False if False in (value, other) else (None if None in (value, other) else True)
    return value, tokens


def _not(tokens: list[str], config: Mapping[str, str]) -> tuple[bool | None, list[str]]:
    if tokens[0] == "!":
        value, rest = _not(tokens[1:], config)
        return (None if value is None else not value), rest
    if tokens[0] == "(":
        value, rest = _or(tokens[1:], config)
        if not rest or rest[0] != ")":
            raise ValueError("unbalanced parenthesis")
        return value, rest[1:]
    left, rest = tokens[0], tokens[1:]
    compared = rest[0] if rest and rest[0] in _COMPARE else ""
    right = rest[1] if compared else ""
    rest = rest[2:] if compared else rest
    if "$(" in left + right or compared not in ("", "=", "!="):
        return None, rest  # a shell or compiler probe, make's variables, an order: not for us
    if compared:
        same = _value(left, config) == _value(right, config)
        return (same if compared == "=" else not same), rest
    return _value(left, config) in ("y", "m"), rest


def _value(token: str, config: Mapping[str, str]) -> str:
    if token[0] in "\"'":
        return token[1:-1]
    if token in ("y", "m", "n"):
        return token
    # A word that is no symbol stands for itself, as in "HZ = 250" (but 64BIT is a symbol).
    return config.get(token, token if _NUMBER.fullmatch(token) else "n").strip('"')


@dataclass(frozen=True)
class _Search:
    """Which symbols are looked for, and in which tree."""

    top: Path
    srcarch: str
    wanted: set[str]


class _File:
    """One Kconfig file while it is read: the entry at hand, and the conditions that surround it."""

    def __init__(self, search: _Search, path: Path, outer: list[str]) -> None:
        self.search = search
        self.path = path
        self.outer = outer
        self.blocks: list[list[str]] = []
        self.entry: _Definition | None = None
        self.name = ""
        self.menu_open = False

    def definitions(self) -> Iterator[tuple[str, _Definition]]:
        """The definitions of wanted symbols here and in what the file sources, in order."""
        try:
            lines = _logical_lines(self.path.read_text(errors="replace"))
        except OSError:
            return
        for line in lines:
            word, _, rest = line.strip().partition(" ")
            rest = rest.strip()
            if word in _STARTERS:
                yield from self._close()
            if word in ("source", "rsource"):
                yield from self._sourced(word, rest)
            else:
                self._take(word, rest)
        yield from self._close()

    def _close(self) -> Iterator[tuple[str, _Definition]]:
        if self.entry is not None and self.name in self.search.wanted:
            yield self.name, self.entry
        self.entry, self.name, self.menu_open = None, "", False

    def _around(self) -> list[str]:
        return self.outer + [term for terms in self.blocks for term in terms]

    def _sourced(self, word: str, rest: str) -> Iterator[tuple[str, _Definition]]:
        srcarch = self.search.srcarch
        target = rest.strip('"').replace("$(SRCARCH)", srcarch).replace("$SRCARCH", srcarch)
        base = self.path.parent if word == "rsource" else self.search.top
        yield from _File(self.search, base / target, self._around()).definitions()

    def _take(self, word: str, rest: str) -> None:
        if word in ("config", "menuconfig"):
            self.entry = _Definition(str(self.path.relative_to(self.search.top)), self._around())
            self.name = rest
        elif word in ("menu", "choice", "if"):
            self.blocks.append([rest] if word == "if" else [])
            self.menu_open = word != "if"
        elif word in ("endmenu", "endchoice", "endif"):
            del self.blocks[-1:]
        elif word == "depends" and rest.startswith("on "):
            self._depend(rest[3:].strip())
        elif self.entry is not None and word in _TYPES and rest.startswith(('"', "'")):
            self.entry.prompt = True
            self.entry.prompt_if = _after_if(rest)

    def _depend(self, term: str) -> None:
        if self.entry is not None:
            self.entry.depends.append(term)
        elif self.menu_open and self.blocks:
            self.blocks[-1].append(term)


_TYPES = frozenset(("bool", "tristate", "int", "hex", "string", "prompt"))
_STARTERS = frozenset(
    ("config", "menuconfig", "choice", "endchoice", "menu", "endmenu", "if", "endif", "source")
) | {"rsource", "comment", "mainmenu"}


def _after_if(rest: str) -> str:
    closing = rest.find(rest[0], 1)
    tail = rest[closing + 1 :].strip()
    return tail[3:].strip() if tail.startswith("if ") else ""


def _logical_lines(text: str) -> list[str]:
    """Join continued lines; drop comments, blank lines and help texts."""
    lines: list[str] = []
    help_indent: int | None = None
    pending = ""
    for raw in text.splitlines():
        line = raw.expandtabs()
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if help_indent is not None:
            if not bare or (help_indent == -1 and indent > 0) or indent >= max(help_indent, 1):
                help_indent = indent if help_indent == -1 and bare else help_indent
                continue
            help_indent = None
        if pending:
            line, pending = pending + bare, ""
        if line.rstrip().endswith("\\"):
            pending = line.rstrip()[:-1] + " "
            continue
        if not line.strip() or line.strip().startswith("#"):
            continue
        if line.strip() in ("help", "---help---"):
            help_indent = -1
            continue
        lines.append(line)
    return lines
