# SPDX-License-Identifier: GPL-2.0-only
"""Frozen dataclasses to plain JSON values and back, checked against their type hints.

What a reader does not know it passes over, so that a later lab may add fields within a schema;
what it needs and does not find, or finds in another shape, it names by its way (``cells[2].arch``).
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
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
    found = _build_dataclass(cls, value, "")
    assert isinstance(found, cls)
    return found


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _build(hint: Any, value: Any, at: str) -> Any:
    origin = get_origin(hint)
    if origin is Union or origin is UnionType:
        inner = next(arg for arg in get_args(hint) if arg is not type(None))
        return None if value is None else _build(inner, value, at)
    if origin is tuple:
        if not isinstance(value, list):
            raise MismatchError(f"{at}: expected a list, found {_kind(value)}")
        inner = get_args(hint)[0]
        return tuple(_build(inner, item, f"{at}[{n}]") for n, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise MismatchError(f"{at}: expected an object, found {_kind(value)}")
        inner = get_args(hint)[1]
        return {key: _build(inner, item, f"{at}.{key}") for key, item in value.items()}
    if is_dataclass(hint) and isinstance(hint, type):
        return _build_dataclass(hint, value, at)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError as error:
            wanted = ", ".join(str(member.value) for member in hint)
            found = str(value)[:40]
            raise MismatchError(f"{at}: expected one of {wanted}, found {found!r}") from error
    return _build_scalar(hint, value, at)


def _build_scalar(hint: type, value: Any, at: str) -> Any:
    if hint is float:
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                return math.inf
    # bool is an int to Python, and is none in JSON.
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise MismatchError(f"{at}: expected {_WORDS.get(hint, hint.__name__)}, found {_kind(value)}")


def _build_dataclass(cls: type, value: Any, at: str) -> Any:
    place = at or "the file"
    if not isinstance(value, dict):
        raise MismatchError(f"{place}: expected an object, found {_kind(value)}")
    renamed = _RENAMED.get(cls, {})
    found: dict[str, Any] = dict(_ELSEWHERE.get(cls, {}))
    for field in fields(cls):
        if field.name in found:
            continue
        name = renamed.get(field.name, field.name)
        if name in value:
            way = f"{at}.{name}" if at else name
            found[field.name] = _build(_hints(cls)[field.name], value[name], way)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise MismatchError(f"{place}: {name!r} is missing")
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
