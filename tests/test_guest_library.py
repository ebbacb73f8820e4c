# SPDX-License-Identifier: GPL-2.0-only
"""The guests' C library: who uses whom goes one way."""

from __future__ import annotations

import functools
import graphlib
import re
from pathlib import Path

LIB = Path(__file__).resolve().parent.parent / "guest-tests" / "lib"
# A function that others may call: its head begins the line, and its body is one of its own.
DEFINED = re.compile(r"^(?!static\b)\w[\w ]*[ *](\w+)\([^;{}]*\)\n\{", re.M)
# What a header has its users say: the bodies of its macros and of its inline functions.
BROUGHT = re.compile(
    r"^#define (?:[^\n]*\\\n)*[^\n]*|^static inline [^;{}]*\n\{.*?^\}", re.M | re.S
)
NO_CODE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", re.S)


@functools.cache
def included(path: Path) -> frozenset[Path]:
    """The headers of the library that a file sees, those of its headers among them."""
    own = {LIB / name for name in re.findall(r'^#include "(.+)"$', path.read_text(), re.M)}
    return frozenset(own).union(*map(included, own))


def code(path: Path) -> str:
    return NO_CODE.sub(" ", path.read_text())


def users(library: Path) -> dict[str, set[str]]:
    """Each C source, and those of which it uses a function that a header declares to it."""
    sources = sorted(library.glob("*.c"))
    owner = {name: path.stem for path in sources for name in DEFINED.findall(code(path))}
    graph: dict[str, set[str]] = {}
    for path in sources:
        headers = [code(header) for header in included(path)]
        said = [code(path), *(text for header in headers for text in BROUGHT.findall(header))]
        declared = {word for header in headers for word in re.findall(r"\b(\w+)\(", header)}
        used = declared & set(re.findall(r"\w+", " ".join(said))) & owner.keys()
        graph[path.stem] = {owner[name] for name in used} - {path.stem}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_sources_do_not_use_each_other_in_a_circle() -> None:
    graph = users(LIB)
    # By these one sees that the reading above is not blind.
    assert graph["race"] > {"race_arena", "race_base", "race_mover"}
    assert graph["trap"] == {"ktap"}  # by a macro alone
    assert graph["race_base"] == {"ktap"}
    assert graph["ktap"] == set()
    assert circle(graph) == []


def test_headers_do_not_include_each_other_in_a_circle() -> None:
    """Guards against a second inclusion would hide it from the compiler."""
    graph = {
        path.name: set(re.findall(r'^#include "(.+)"$', path.read_text(), re.M))
        for path in LIB.glob("*.h")
    }
    assert "race_base.h" in graph["race_arena.h"]
    assert circle(graph) == []


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})[0] in "abc"
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
