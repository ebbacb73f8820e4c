# SPDX-License-Identifier: GPL-2.0-only
"""Frozen dataclasses to plain JSON values and back, checked against their type hints.

What a reader does not know it passes over, so that a later lab may add fields within a schema;
what it needs and does not find, or finds in another shape, it names by its way (``cells[2].arch``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from orchestrator.model.evidence import Excerpt, Hit, SourceLine
from orchestrator.model.results import CaseResult, RunResult, Summary

T = TypeVar("T")

# The contract's names where they differ from the dataclass's (``pass`` is a word of Python).
_RENAMED: dict[type, dict[str, str]] = {
    Summary: {"passed": "pass", "failed": "fail", "skipped": "skip", "errors": "error"},
}
# Bulky, or told later: kept beside results.json and not in it.
_ELSEWHERE: dict[type, dict[str, Any]] = {
    Hit: {"text": ""},
    CaseResult: {"samples": ()},
    SourceLine: {"excerpt": Excerpt()},
    RunResult: {"searches": (), "mutants": ()},
}


class MismatchError(Exception):
    """A value of the wrong shape; its message begins with the way to it."""


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON text of plain values.

    ASCII only: kernel output holds lone surrogates (undecodable bytes), which UTF-8 cannot carry.
    """
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent)


def number(value: float) -> float | None:
    """JSON has no NaN and no infinity; null reads back as NaN."""
    return value if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """``value`` (a dataclass, or what one may hold) as dicts, lists, text and numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        renamed = _RENAMED.get(type(value), {})
        items = {
            renamed.get(field.name, field.name): plain(getattr(value, field.name))
            for field in fields(value)
            if field.name not in _ELSEWHERE.get(type(value), {})
        }
        # The first thing a reader should see.
        return {"schema": items.pop("schema"), **items} if "schema" in items else items
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Path):
        return str(value)
    return value


def build(cls: type[T], value: Any) -> T:
    """A ``cls`` from plain JSON values.

    :raises MismatchError: something needed is missing, or has another type than the dataclass says.
    """
    kind: Any = cls
    try:
        found = _builder(kind)(value)
    except _Misfit as error:
        way = "".join(reversed(error.way)).removeprefix(".")
        raise MismatchError(f"{way or 'the file'}: {error}") from error
    assert isinstance(found, cls)
    return found


class _Misfit(Exception):
    """A value of the wrong shape; ``way`` is what led to it, the last part first."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.way: list[str] = []


@cache
def _builder(hint: Any) -> Callable[[Any], Any]:
    """What makes values of a type hint of plain ones: a large run has a million of them."""
    origin = get_origin(hint)
    if origin is Union or origin is UnionType:
        inner = _builder(next(arg for arg in get_args(hint) if arg is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return partial(_build_tuple, _builder(get_args(hint)[0]))
    if origin is dict:
        return partial(_build_dict, _builder(get_args(hint)[1]))
    if is_dataclass(hint) and isinstance(hint, type):
        return partial(_build_dataclass, hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return partial(_build_enum, hint, {member.value: member for member in hint})
    return _build_float if hint is float else partial(_build_scalar, hint)


def _build_tuple(inner: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, list):
        raise _Misfit(f"expected a list, found {_kind(value)}")
    found: list[Any] = []
    try:
        found.extend(map(inner, value))
    except _Misfit as error:
        error.way.append(f"[{len(found)}]")
        raise
    return tuple(found)


def _build_dict(inner: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, dict):
        raise _Misfit(f"expected an object, found {_kind(value)}")
    found = {}
    for key, item in value.items():
        try:
            found[key] = inner(item)
        except _Misfit as error:
            error.way.append(f".{key}")
            raise
    return found


def _build_enum(hint: type[Enum], members: dict[Any, Enum], value: Any) -> Any:
    try:
        return members[value]
    except (KeyError, TypeError) as error:
        wanted = ", ".join(str(member.value) for member in hint)
        found = str(value)[:40]
        raise _Misfit(f"expected one of {wanted}, found {found!r}") from error


def _build_float(value: Any) -> Any:
    if value is None:
        return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    raise _Misfit(f"expected {_WORDS[float]}, found {_kind(value)}")


def _build_scalar(hint: type, value: Any) -> Any:
    # bool is an int to Python, and is none in JSON.
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise _Misfit(f"expected {_WORDS.get(hint, hint.__name__)}, found {_kind(value)}")


@cache
def _parts(cls: type) -> tuple[tuple[str, str, Callable[[Any], Any], bool], ...]:
    """Of each field its name, its name in the file, what makes it, and whether it must be there."""
    renamed, hints = _RENAMED.get(cls, {}), get_type_hints(cls)
    return tuple(
        (
            field.name,
            renamed.get(field.name, field.name),
            _builder(hints[field.name]),
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(cls)
        if field.name not in _ELSEWHERE.get(cls, {})
    )


def _build_dataclass(cls: type, value: Any) -> Any:
    if not isinstance(value, dict):
        raise _Misfit(f"expected an object, found {_kind(value)}")
    found: dict[str, Any] = dict(_ELSEWHERE.get(cls, {}))
    for name, key, make, needed in _parts(cls):
        if key in value:
            try:
                found[name] = make(value[key])
            except _Misfit as error:
                error.way.append(f".{key}")
                raise
        elif needed:
            raise _Misfit(f"{key!r} is missing")
    return cls(**found)


_WORDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def _kind(value: Any) -> str:
    return "null" if value is None else _WORDS.get(type(value), "something else")
