# SPDX-License-Identifier: GPL-2.0-only
"""Read a YAML file into plain values that remember their lines; the only importer of PyYAML.

A YAML loader keeps the last of two equal keys and forgets where values stood.  Here the node graph
is walked instead, so that both are told to the user.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from orchestrator.model.formats import parse_seconds
from orchestrator.plan.problems import KeyPath, Problem, Problems, dotted

#: Far above any honest file; below what aliases of aliases ("billion laughs") blow up to.
MAX_BYTES = 1 << 20
MAX_VALUES = 50_000
MAX_DEPTH = 40

_PREFIX = "tag:yaml.org,2002:"
_MERGE = _PREFIX + "merge"
# A date is text to the lab: nothing in its files is a date, and `2023-99-99` must not raise.
_AS_TEXT = {_PREFIX + "str", _PREFIX + "timestamp", _PREFIX + "value"}
_AS_VALUE = {_PREFIX + name for name in ("int", "float", "bool", "null")}

# libyaml parses five times as fast; a PyYAML built without it has no such name.
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


#: Line and column, from 1.
Place = tuple[int, int]


@dataclass(frozen=True)
class Document:
    """A YAML file as plain values.  ``name`` is how messages call it."""

    path: Path
    name: str
    data: object
    places: Mapping[KeyPath, Place]

    def place(self, path: KeyPath) -> Place:
        """Where ``path``, or its nearest parent that stands in the file, is."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def line(self, path: KeyPath) -> int:
        """The line of ``path``, from 1."""
        return self.place(path)[0]

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A problem at ``path`` of this file."""
        line, column = self.place(path)
        return Problem(self.name, line, dotted(path), message, column)


@dataclass(frozen=True)
class View:
    """One mapping of a document, read without surprises: a value of the wrong type is absent.

    The schema has complained about such a value already; what is left can still be checked.
    """

    document: Document
    path: KeyPath = ()
    data: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> View:
        """The top mapping of ``document`` (empty if the top is none)."""
        return cls(document, (), document.data if isinstance(document.data, dict) else {})

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def raw(self, key: str) -> object:
        """The value as it stands, None if absent."""
        return self.data.get(key)

    def at(self, *keys: str | int) -> KeyPath:
        """The key path of something inside this mapping."""
        return (*self.path, *keys)

    def where(self) -> str:
        """``file:line`` of this mapping."""
        return f"{self.document.name}:{self.document.line(self.path)}"

    def text(self, key: str) -> str | None:
        """The text under ``key``."""
        value = self.data.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str, default: int) -> int:
        """The whole number under ``key``."""
        value = self.data.get(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)  # JSON Schema calls 2.0 an integer
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def flag(self, key: str, default: bool) -> bool:
        """The true or false under ``key``."""
        value = self.data.get(key)
        return value if isinstance(value, bool) else default

    def seconds(self, key: str, problems: Problems) -> float | None:
        """The duration under ``key`` (s), None if absent; one that is none is told as a problem."""
        if key not in self:
            return None
        try:
            return parse_seconds(self.raw(key))
        except ValueError as error:
            problems.add(self.document.problem(self.at(key), str(error)))
            return None

    def strings(self, key: str) -> list[tuple[str, KeyPath]]:
        """The texts of the list under ``key``, each with its key path."""
        value = self.data.get(key)
        items = value if isinstance(value, list) else []
        return [(v, self.at(key, i)) for i, v in enumerate(items) if isinstance(v, str)]

    def words(self, key: str) -> tuple[str, ...]:
        """The texts of the list under ``key``."""
        return tuple(word for word, _ in self.strings(key))

    def child(self, key: str) -> View:
        """The mapping under ``key``; an empty one if there is none."""
        value = self.data.get(key)
        return View(self.document, self.at(key), value if isinstance(value, dict) else {})

    def under(self, above: View) -> Callable[[str], View]:
        """Who has a key: this mapping, or ``above`` where only that has it."""

        def holder(key: str) -> View:
            return self if key in self or key not in above else above

        return holder

    def children(self, key: str) -> Iterator[tuple[str, View]]:
        """The named mappings inside the mapping under ``key``, in file order."""
        inner = self.child(key)
        for name in inner.data:
            yield name, inner.child(name)

    def items(self, key: str) -> Iterator[View]:
        """The mappings inside the list under ``key``."""
        value = self.data.get(key)
        for index, item in enumerate(value if isinstance(value, list) else []):
            if isinstance(item, dict):
                yield View(self.document, self.at(key, index), item)


class _Abort(Exception):
    """The file cannot be read any further; its problem is already recorded."""


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Reader:
    """Turns one node graph into values, places and problems."""

    def __init__(self, name: str, problems: Problems) -> None:
        self.name = name
        self.problems = problems
        self.places: dict[KeyPath, Place] = {(): (1, 1)}
        self._count = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def note(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        line, column = _place(node)
        self.problems.add(Problem(self.name, line, dotted(path), message, column))

    def _spend(self, node: yaml.Node, path: KeyPath) -> None:
        self._count += 1
        # Depth also ends an anchor that contains its own alias.
        if self._count > MAX_VALUES or len(path) > MAX_DEPTH:
            what = "too many values" if self._count > MAX_VALUES else "nested too deeply"
            self.note(node, path[:3], f"{what} (an alias inside its own anchor?)")
            raise _Abort

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self._spend(node, path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _item(self, node: yaml.Node, path: KeyPath) -> object:
        self.places[path] = _place(node)
        return self.value(node, path)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        if node.tag in _AS_TEXT:
            return node.value
        if node.tag in _AS_VALUE:
            try:
                return self._scalars.construct_object(node)
            except (ValueError, OverflowError, KeyError, yaml.YAMLError):
                # `0b_` is a number by YAML 1.1's grammar and to nobody else; likewise `!!bool x`.
                # An alias of one is taken for a value inside itself.
                return node.value
        self.note(node, path, f"the tag {node.tag} is not read here; write plain text or a number")
        return node.value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in self._pairs(node, path, 0):
            key = str(key_node.value)
            here = (*path, key)
            if key in found:  # a key that a merge brings in yields to the mapping's own
                continue
            self.places[here] = _place(key_node)
            found[key] = self.value(value_node, here)
        return found

    def _pairs(
        self, node: yaml.MappingNode, path: KeyPath, depth: int
    ) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The mapping's own pairs, then those its merge keys bring in."""
        if depth > MAX_DEPTH:
            self.note(node, path, "merges itself")
            raise _Abort
        first_line: dict[str, int] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                many = isinstance(value_node, yaml.SequenceNode)
                merges += value_node.value if many else [value_node]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.note(key_node, path, "a key must be text, not a list or a mapping")
                continue
            key = key_node.value
            if key_node.tag not in _AS_TEXT:
                kind = key_node.tag.removeprefix(_PREFIX)
                self.note(
                    key_node, (*path, key), f"YAML reads this key as {kind}; quote it: '{key}'"
                )
            if key in first_line:
                self.note(
                    key_node, (*path, key), f"is here twice; the first is on line {first_line[key]}"
                )
                continue
            first_line[key] = _place(key_node)[0]
            yield key_node, value_node
        for merged in merges:
            self._spend(node, path)
            if isinstance(merged, yaml.MappingNode):
                yield from self._pairs(merged, path, depth + 1)
            else:
                self.note(merged, (*path, "<<"), "expected a mapping to merge in")


def _decode(raw: bytes, name: str, problems: Problems) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start]
        problems.add(Problem(name, line, "", f"is not UTF-8: byte 0x{byte:02x} cannot be read"))
        raise _Abort from None


def _deep_line(text: str) -> int:
    """The line where ``text`` nests deeper than MAX_DEPTH, or 0.

    libyaml's event parser keeps its stack on the heap; PyYAML's composer recurses in C and ends the
    process with a segmentation fault some 30,000 brackets deep.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    return int(event.start_mark.line) + 1 if event.start_mark else 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.MarkedYAMLError as error:
        # A newer libyaml reads ahead and gives up by itself, some 1,000 brackets deep.
        if "maximum nesting depth" not in str(error.context) + str(error.problem):
            raise
        return int(error.problem_mark.line) + 1 if error.problem_mark else 1
    return 0


def _syntax(error: yaml.YAMLError, text: str, name: str) -> Problem:
    """What the parser stumbled over, in one line."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(name, line, "", f"YAML syntax: {error.reason}")
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(name, 0, "", f"YAML syntax: {error}")
    detail = str(error.problem or "cannot be read")
    if error.context:
        detail += f", {error.context}"
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(name, 0, "", f"YAML syntax: {detail}")
    lines = text.split("\n")
    if mark.line < len(lines) and "\t" in lines[mark.line]:
        detail += "; a tab stands in this line: YAML is indented with spaces"
    return Problem(name, mark.line + 1, "", f"YAML syntax: {detail}", mark.column + 1)


def _compose(text: str, name: str, problems: Problems) -> yaml.Node | None:
    try:
        deep = _deep_line(text)
        node: yaml.Node | None = None if deep else yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        problems.add(_syntax(error, text, name))
        raise _Abort from None
    if deep:
        problems.add(Problem(name, deep, "", f"is nested more than {MAX_DEPTH} levels deep"))
        raise _Abort
    return node


def read_document(
    path: Path, name: str, problems: Problems, *, may_be_empty: bool = False
) -> Document | None:
    """Read the YAML file at ``path``; messages call it ``name``.

    Returns None, with the reason in ``problems``, where there is nothing to go on with.

    :param may_be_empty: a file in which nothing stands is an empty mapping, and no problem.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        problems.add(Problem(name, 0, "", f"cannot be read: {error.strerror or error}"))
        return None
    if len(raw) > MAX_BYTES:
        problems.add(Problem(name, 0, "", f"is larger than {MAX_BYTES >> 20} MiB"))
        return None
    reader = _Reader(name, problems)
    try:
        node = _compose(_decode(raw, name, problems), name, problems)
        data = reader.value(node, ()) if node is not None else None
    except _Abort:
        return None
    if node is None and not may_be_empty:
        problems.add(Problem(name, 0, "", "is empty"))
        return None
    if data is None and may_be_empty:
        data = {}
    return Document(path, name, data, reader.places)


def regexes(view: View, key: str, problems: Problems) -> tuple[str, ...]:
    """The list of regular expressions under ``key``, those left out that are none."""
    found = view.strings(key)
    return tuple(text for text, path in found if check_regex(text, view, path, problems))


def check_regex(text: str, view: View, path: KeyPath, problems: Problems) -> bool:
    """Whether ``text`` is a regular expression that tells lines apart; else a problem is added."""
    try:
        with warnings.catch_warnings():
            # A pattern that re only warns about will mean something else one day.
            warnings.simplefilter("error")
            if re.compile(text).search("") is not None:
                told = f"{text!r} matches everything, an empty line too"
                problems.add(view.document.problem(path, told))
                return False
    except (re.error, OverflowError, RecursionError, Warning) as error:
        problems.add(view.document.problem(path, f"bad regular expression {text!r}: {error}"))
        return False
    return True
