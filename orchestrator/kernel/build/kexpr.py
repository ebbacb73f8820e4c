# SPDX-License-Identifier: GPL-2.0-only
"""Kconfig's expressions: read one, evaluate it in n, m and y, and name the parts that hold it down.

n, m and y are 0, 1 and 2; ``&&`` is the least, ``||`` the greatest, ``!x`` is 2 - x.  The rules are
those of scripts/kconfig/{expr,symbol,menu}.c of 6.12: a bare ``m`` is ``m && MODULES``, and words
are compared as numbers where both are some, else as texts.  A macro such as ``$(cc-option,-g)``
is not run: what depends on it has a span of values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

NO, MODULE, YES = 0, 1, 2
#: What the three values are called in a .config.
LEVELS = {"n": NO, "m": MODULE, "y": YES}
#: Types whose values are n, m and y.
TRISTATES = ("bool", "tristate")
#: The base of a type's numbers, as strtoll() takes it; 0 is C's own notation.
BASES = {"int": 10, "hex": 16}

_WORD = re.compile(r"[\w./-]+")
_PLAIN = re.compile(rf"\s+|&&|\|\||[!<>]=|[=<>!()]|{_WORD.pattern}")
_NUMBERS = {
    10: re.compile(r"[+-]?[0-9]+", re.ASCII),
    16: re.compile(r"[+-]?(?:0[xX])?[0-9a-fA-F]+", re.ASCII),
    8: re.compile(r"[+-]?0[0-7]*", re.ASCII),
}
_ORDER: dict[str, Callable[[int], bool]] = {
    "=": lambda sign: sign == 0,
    "!=": lambda sign: sign != 0,
    "<": lambda sign: sign < 0,
    "<=": lambda sign: sign <= 0,
    ">": lambda sign: sign > 0,
    ">=": lambda sign: sign >= 0,
}
_LONGEST = 20  # digits and sign of a number of 64 bits
# No expression of a kernel is as deep; deeper ones would only exhaust Python's stack.
_DEEPEST = 100


@dataclass(frozen=True)
class Word:
    """A symbol, a number, or a text in quotes."""

    text: str
    quoted: bool = False

    def __str__(self) -> str:
        return f'"{self.text}"' if self.quoted else self.text


@dataclass(frozen=True)
class Relation:
    """Two words compared; its value is y or n."""

    left: Word
    sign: str
    right: Word

    def __str__(self) -> str:
        return f"{self.left}{self.sign}{self.right}"


@dataclass(frozen=True)
class Not:
    """What ``!`` makes of an expression."""

    of: Expression

    def __str__(self) -> str:
        return f"!{self.of}"


@dataclass(frozen=True)
class Joined:
    """Two or more parts joined by ``&&`` or ``||``; its text stands in parentheses."""

    sign: str
    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"({f' {self.sign} '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class Unread:
    """What this reader does not understand; it may have any value."""

    text: str

    def __str__(self) -> str:
        return self.text


Expression = Word | Relation | Not | Joined | Unread


class Span(NamedTuple):
    """The least and the greatest value that an expression may have."""

    least: int
    most: int


ANY = Span(NO, YES)


@dataclass(frozen=True)
class Values:
    """What symbols are: ``config`` as a .config has it, ``kinds`` symbol to type of all defined.

    ``modules`` is the symbol without which there is no m.
    """

    config: Mapping[str, str]
    kinds: Mapping[str, str]
    modules: str = "MODULES"

    def level(self, word: Word) -> Span:
        """The value of a word that stands for itself."""
        if "$" in word.text:
            return ANY
        if word.text == "m":
            return Span(*[min(MODULE, LEVELS.get(self.config.get(self.modules, "n"), NO))] * 2)
        value = word.text if word.quoted or word.text in LEVELS else self.config.get(word.text, "n")
        return Span(*[LEVELS.get(value, NO)] * 2)

    def text(self, word: Word) -> str | None:
        """What a word is compared as; None where that cannot be told."""
        if "$" in word.text:
            return None
        if word.quoted or word.text in LEVELS:
            return word.text
        value = self.config.get(word.text)
        if value is not None:
            return unquoted(value)
        # A symbol that nothing defines, and so any number, stands for its own name; the rest is
        # what calc_value() begins with.
        unset = {"": word.text, "string": "", "int": "0", "hex": "0x0"}
        return unset.get(self.kinds.get(word.text, ""), "n")

    def kind(self, word: Word) -> str:
        """A word's type, empty for what is no symbol."""
        if word.text in LEVELS:
            return "tristate"
        if word.quoted:
            return ""
        known = self.kinds.get(word.text, "")
        return known or ("tristate" if self.config.get(word.text) in LEVELS else "")


def unquoted(value: str) -> str:
    """A value without the quotes and backslashes of a .config."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def number(text: str, base: int) -> int | None:
    """A text as strtoll() reads it whole; None where it is no number, or too great for it."""
    if len(text) > _LONGEST:
        return None
    if base == 0:
        digits = text.lstrip("+-")
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[:1] == "0" else 10
    return int(text, base) if _NUMBERS[base].fullmatch(text) else None


def parse(text: str) -> Expression:
    """Read an expression; what cannot be read is :class:`Unread`."""
    try:
        tokens = [token for token, _ in _tokens(text)]
        found, rest = _or(tokens[::-1], 0)
    except (IndexError, ValueError):
        return Unread(text.strip())
    return Unread(text.strip()) if rest else found


def split_if(text: str) -> tuple[str, str]:
    """Split ``VALUE if CONDITION``; the condition is empty where there is none."""
    if "if" not in text:
        return text, ""
    try:
        for token, start in _tokens(text):
            if token == "if":
                return text[:start].strip(), text[start + 2 :].strip()
    except ValueError:
        pass
    return text, ""


def words(text: str) -> list[Word]:
    """The words of a text without operators, such as ``1 NR_CPUS`` of a range; none if unread."""
    try:
        return [_word(token) for token, _ in _tokens(text)]
    except ValueError:
        return []


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Each token and where it begins.

    :raises ValueError: at what is no token.
    """
    at = 0
    while at < len(text):
        end = _end_of_odd(text, at) or _end_of(_PLAIN, text, at)
        if not end:
            raise ValueError(f"no token: {text[at:]!r}")
        if text.startswith("$(", at) or _end_of(_WORD, text, at):
            while longer := _end_of(_WORD, text, end) or (  # "FOO_$(BITS)" is one word
                _end_of_odd(text, end) if text.startswith("$(", end) else 0
            ):
                end = longer
        if not text[at].isspace():
            yield text[at:end], at
        at = end


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else 0


def _end_of_odd(text: str, at: int) -> int:
    """Where a quoted text or a macro that begins at ``at`` ends; 0 where none does.

    :raises ValueError: where it has no end.
    """
    if text[at : at + 1] in ('"', "'"):
        end = at + 1
        while end < len(text) and text[end] != text[at]:
            end += 2 if text[end] == "\\" else 1
        if end >= len(text):
            raise ValueError("a quote is open")
        return end + 1
    if text.startswith("$(", at):
        depth = 0
        for end in range(at + 1, len(text)):
            depth += (text[end] == "(") - (text[end] == ")")
            if depth == 0:
                return end + 1
        raise ValueError("a macro is open")
    return 0


def _or(tokens: list[str], depth: int) -> tuple[Expression, list[str]]:
    """``tokens`` are in reverse, so that the next is the last."""
    return _joined("||", _and, tokens, depth)


def _and(tokens: list[str], depth: int) -> tuple[Expression, list[str]]:
    return _joined("&&", _not, tokens, depth)


def _joined(
    sign: str,
    part: Callable[[list[str], int], tuple[Expression, list[str]]],
    tokens: list[str],
    depth: int,
) -> tuple[Expression, list[str]]:
    first, tokens = part(tokens, depth)
    parts = [first]
    while tokens and tokens[-1] == sign:
        tokens.pop()
        other, tokens = part(tokens, depth)
        parts.append(other)
    return (Joined(sign, tuple(parts)) if len(parts) > 1 else first), tokens


def _not(tokens: list[str], depth: int) -> tuple[Expression, list[str]]:
    token = tokens.pop()
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if token == "!":
        inner, tokens = _not(tokens, depth + 1)
        return Not(inner), tokens
    if token == "(":
        inner, tokens = _or(tokens, depth + 1)
        if tokens.pop() != ")":
            raise ValueError("unbalanced parenthesis")
        return inner, tokens
    left = _word(token)
    if tokens and tokens[-1] in _ORDER:
        sign = tokens.pop()
        return Relation(left, sign, _word(tokens.pop())), tokens
    return left, tokens


def _word(token: str) -> Word:
    if token[0] in "\"'":
        return Word(token[1:-1], True)
    if not (token[0].isalnum() or token[0] in "_-./$"):
        raise ValueError(f"no word: {token}")
    return Word(token)


def evaluate(expression: Expression, values: Values) -> Span:
    """What an expression may be."""
    if isinstance(expression, Word):
        return values.level(expression)
    if isinstance(expression, Relation):
        return _compare(expression, values)
    if isinstance(expression, Not):
        of = evaluate(expression.of, values)
        return Span(YES - of.most, YES - of.least)
    if isinstance(expression, Joined):
        spans = [evaluate(part, values) for part in expression.parts]
        pick = min if expression.sign == "&&" else max
        return Span(pick(s.least for s in spans), pick(s.most for s in spans))
    return ANY


def _compare(relation: Relation, values: Values) -> Span:
    pair = (relation.left, relation.right)
    left, right = (values.text(word) for word in pair)
    if left is None or right is None:
        return ANY
    kinds = [values.kind(word) for word in pair]
    one, other = _ordinal(left, kinds[0]), _ordinal(right, kinds[1])
    if one is None or other is None or kinds == ["string", "string"]:
        sign = (left > right) - (left < right)
    else:
        sign = (one > other) - (one < other)
    return Span(*[YES if _ORDER[relation.sign](sign) else NO] * 2)


def _ordinal(text: str, kind: str) -> int | None:
    """What a value counts as in a comparison."""
    return LEVELS.get(text, -1) if kind in TRISTATES else number(text, BASES.get(kind, 0))


def conjuncts(expression: Expression) -> Iterator[Expression]:
    """The parts that must all hold, so that only those that do not are named."""
    if isinstance(expression, Joined) and expression.sign == "&&":
        for part in expression.parts:
            yield from conjuncts(part)
    elif isinstance(expression, Not) and isinstance(expression.of, Not):
        yield from conjuncts(expression.of.of)
    elif (
        isinstance(expression, Not)
        and isinstance(expression.of, Joined)
        and expression.of.sign == "||"
    ):
        for part in expression.of.parts:
            yield from conjuncts(Not(part))
    else:
        yield expression
