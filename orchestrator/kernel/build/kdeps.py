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
    wanted = set(symbols)
    found: dict[str, list[_Definition]] = {symbol: [] for symbol in symbols}
    for name, definition in _definitions(source, source / "Kconfig", srcarch, wanted, []):
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


def _definitions(
    top: Path, file: Path, srcarch: str, wanted: set[str], outer: list[str]
) -> Iterator[tuple[str, _Definition]]:
    """Walk one Kconfig file and what it sources, with the conditions that surround each entry."""
    try:
        lines = _logical_lines(file.read_text(errors="replace"))
    except OSError:
        return
    stack: list[tuple[str, list[str]]] = []
    entry: _Definition | None = None
    name = ""
    menu_open = False
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word in _STARTERS:
            if entry is not None and name in wanted:
                yield name, entry
            entry, name, menu_open = None, "", False
        if word in ("config", "menuconfig"):
            around = outer + [term for _, terms in stack for term in terms]
            entry = _Definition(str(file.relative_to(top)), list(around))
            name = rest
        elif word in ("menu", "choice", "if"):
            stack.append((word, [rest] if word == "if" else []))
            menu_open = word != "if"
        elif word in ("endmenu", "endchoice", "endif"):
            if stack:
                stack.pop()
        elif word in ("source", "rsource"):
            inner = outer + [term for _, terms in stack for term in terms]
            target = rest.strip('"').replace("$(SRCARCH)", srcarch).replace("$SRCARCH", srcarch)
            base = file.parent if word == "rsource" else top
            yield from _definitions(top, base / target, srcarch, wanted, inner)
        elif word == "depends" and rest.startswith("on "):
            if entry is not None:
                entry.depends.append(rest[3:].strip())
            elif menu_open and stack:
                stack[-1][1].append(rest[3:].strip())
        elif entry is not None and word in _TYPES and rest.startswith(('"', "'")):
            entry.prompt = True
            entry.prompt_if = _after_if(rest)
    if entry is not None and name in wanted:
        yield name, entry


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
