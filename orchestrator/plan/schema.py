# SPDX-License-Identifier: GPL-2.0-only
"""Check a document against a shipped JSON Schema, in the lab's words; imports jsonschema.

``lab.schema.json`` and ``manifest.schema.json`` are the one statement of which keys exist and what
type they have; editors that know YAML schemas can use the same files.  A sub-schema says in
``x-expected`` what a person should have written there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.model.names import nearest
from orchestrator.plan.problems import KeyPath, Problems, suggest
from orchestrator.plan.yaml_reader import Document

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

LAB_SCHEMA = "lab.schema.json"
MANIFEST_SCHEMA = "manifest.schema.json"

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def load_schema(name: str) -> dict[str, Any]:
    """The shipped schema called ``name``."""
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _schema(name: str, only: tuple[str, ...] = ()) -> dict[str, Any]:
    schema = load_schema(name)
    if not only:
        return schema
    parts = {key: schema["properties"][key] for key in only}
    return {"$defs": schema["$defs"], "type": "object", "properties": parts}


_ANNOTATIONS = {"$schema", "$comment", "$defs", "title", "description", "x-expected"}


def fits(value: object, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether ``value`` is certainly right by ``schema``, a part of ``root``.

    False means that jsonschema must look: importing it takes 80 ms, which the everyday case of a
    right file need not pay.  A keyword that is not known here is never taken for met.
    """
    return all(
        keyword in _ANNOTATIONS or _meets(value, keyword, want, schema, root)
        for keyword, want in schema.items()
    )


def _meets(
    value: Any, keyword: str, want: Any, schema: dict[str, Any], root: dict[str, Any]
) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "$ref":
            return fits(value, root["$defs"][want.removeprefix("#/$defs/")], root)
        case "type":
            types = want if isinstance(want, list) else [want]
            return type(value) in {python for name in types for python in _PYTHON_TYPES[name]}
        case "const":
            return type(value) is type(want) and bool(value == want)
        case "enum":
            return isinstance(value, str) and value in want
        case "pattern":
            return not isinstance(value, str) or re.search(want, value) is not None
        case "minimum":
            return not number or value >= want
        case "exclusiveMinimum":
            return not number or value > want
        case "maximum":
            return not number or value <= want
        case "minItems" | "minLength" | "minProperties":
            return isinstance(value, list | str | dict) and len(value) >= want
        case "uniqueItems":
            return not isinstance(value, list) or all(
                x not in value[:i] for i, x in enumerate(value)
            )
        case "items":
            return not isinstance(value, list) or all(fits(item, want, root) for item in value)
        case "required":
            return isinstance(value, dict) and all(key in value for key in want)
        case "properties":
            return isinstance(value, dict) and all(
                fits(value[key], part, root) for key, part in want.items() if key in value
            )
        case "propertyNames":
            return isinstance(value, dict) and all(fits(key, want, root) for key in value)
        case "additionalProperties":
            if not isinstance(value, dict):
                return False
            extra = [item for key, item in value.items() if key not in schema.get("properties", {})]
            return not extra if want is False else all(fits(item, want, root) for item in extra)
    return False


@cache
def _validator(name: str, only: tuple[str, ...]) -> Draft202012Validator:
    # 80 ms of import: paid only where something is wrong.
    from jsonschema import Draft202012Validator

    return Draft202012Validator(_schema(name, only))


def check(document: Document, schema: str, problems: Problems, only: tuple[str, ...] = ()) -> None:
    """Add everything about ``document`` that the schema called ``schema`` refuses.

    :param only: look at these keys of the top alone; none of them has to be there.
    """
    wanted = _schema(schema, only)
    if fits(document.data, wanted, wanted):
        return
    found = [
        (where, message)
        for error in _validator(schema, only).iter_errors(document.data)
        for where, message in _explain(error, tuple(error.absolute_path))
    ]
    # In file order, so that what merge keys carry on is told where it was written.
    order = {path: number for number, path in enumerate(document.places)}
    for where, message in sorted(found, key=lambda item: order.get(item[0], len(order))):
        problems.add(document.problem(where, message))


def _explain(error: ValidationError, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    schema = error.schema if isinstance(error.schema, dict) else {}
    instance: Any = error.instance
    if "propertyNames" in error.absolute_schema_path:
        expected = schema.get("x-expected", "another name")
        yield (*path, instance), f"is no good name: expected {expected}"
    elif error.validator == "additionalProperties":
        known = schema.get("properties", {})
        for key in instance:
            if key not in known:
                yield (*path, key), f"unknown key; {suggest(key, known)}"
    elif error.validator == "required":
        known = schema.get("properties", {})
        meant = {nearest(key, known) for key in instance if key not in known}
        for key in schema["required"]:
            # A misspelt key is told as such, and not again as a missing one.
            if key not in instance and key not in meant:
                inner = schema.get("properties", {}).get(key, {})
                expected = inner.get("x-expected")
                tail = f": expected {expected}" if expected else ""
                yield (*path, key), f"is missing{tail}"
    elif error.validator == "uniqueItems":
        twice = [item for i, item in enumerate(instance) if item in instance[:i]]
        yield path, f"has {show(twice[0])} more than once"
    else:
        yield path, f"expected {_expected(schema, error)}, found {show(instance)}"


def _expected(schema: dict[str, Any], error: ValidationError) -> str:
    if "x-expected" in schema:
        return str(schema["x-expected"])
    if error.validator == "enum":
        return "one of " + ", ".join(str(word) for word in schema["enum"])
    if error.validator == "type":
        types = schema["type"]
        names = types if isinstance(types, list) else [types]
        return " or ".join(_TYPES[name] for name in names)
    if error.validator in ("minItems", "minLength", "minProperties"):
        return "at least one" if error.validator_value == 1 else f"{error.validator_value} or more"
    limits = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "const": "exactly",
    }
    if error.validator in limits:
        return f"{limits[str(error.validator)]} {error.validator_value}"
    return f"something that fits {error.validator} {error.validator_value!r}"


def show(value: object) -> str:
    """A value as a message names it, short and printable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, int | float):
        return f"the number {value}"
    text = str(value)
    short = text if len(text) <= 60 else text[:57] + "..."
    return f"the text {short!r}"
