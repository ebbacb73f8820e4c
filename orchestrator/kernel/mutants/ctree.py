# SPDX-License-Identifier: GPL-2.0-only
"""C parsed into values; the only importer of tree-sitter.

The grammar knows no macros: where the kernel's make something that is no C by itself, the parser
puts an error, or a token that is missing, and goes on behind it.  A node tells whether there is one
in it, and what depends on it is nobody's to guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tree_sitter

# SYSCALL_DEFINE2(name, ...) and its kin (include/linux/syscalls.h of v6.12) are parsed as a call
# and a block behind it.
_DEFINES = ("SYSCALL_DEFINE", "COMPAT_SYSCALL_DEFINE")


@dataclass(frozen=True)
class Node:
    """A piece of C: its ``kind`` by the grammar, the bytes ``start`` to ``end``, what is in it.

    Lines count from 1, ``column`` from 1 too, in bytes.  ``field`` is what its parent calls it,
    empty for most.  ``broken`` says that it has an error of the parser in it, or is one.
    """

    kind: str
    start: int
    end: int
    line: int
    last_line: int
    column: int
    field: str = ""
    children: tuple[Node, ...] = ()
    broken: bool = False

    def child(self, field: str) -> Node | None:
        """The first child that this node calls so."""
        return next((one for one in self.children if one.field == field), None)

    def text(self, source: bytes) -> str:
        """What stands there."""
        return source[self.start : self.end].decode(errors="replace")

    def walk(self) -> Iterator[Node]:
        """This node and all in it, in their order."""
        yield self
        for one in self.children:
            yield from one.walk()


@dataclass(frozen=True)
class Body:
    """A function's definition: its name, the lines from its head to its end, and its block."""

    name: str
    first: int
    last: int
    block: Node

    def has(self, line: int) -> bool:
        """Whether a line is of it."""
        return self.first <= line <= self.last


def functions(source: bytes) -> tuple[Body, ...]:
    """The functions that a file of C defines, in their order.

    One of several definitions under ``#ifdef`` is one of several here.  One whose head the parser
    does not understand is not among them.
    """
    return tuple(_functions(_parser().parse(source).root_node, source))


@cache
def _parser() -> tree_sitter.Parser:
    import tree_sitter  # a library of machine code: who mutates nothing does not pay for it
    import tree_sitter_c

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_c.language()))


def _functions(node: tree_sitter.Node, source: bytes) -> Iterator[Body]:
    """The definitions among what stands at the top of a file, or under an ``#if`` there."""
    before: tree_sitter.Node | None = None
    for child in node.children:
        if child.type == "function_definition":
            block = child.child_by_field_name("body")
            name = _name_of(child, source)
            if block is not None and block.type == "compound_statement" and name:
                yield _body(name, child, block)
        elif child.type == "compound_statement" and before is not None:
            name = _defined(before, source)
            if name:
                yield _body(name, before, child)
        elif child.type.startswith(("preproc_if", "preproc_el", "linkage_", "ERROR")):
            yield from _functions(child, source)
        if child.type != "comment":
            before = child


def _body(name: str, head: tree_sitter.Node, block: tree_sitter.Node) -> Body:
    return Body(name, head.start_point[0] + 1, block.end_point[0] + 1, _value(block, ""))


def _name_of(definition: tree_sitter.Node, source: bytes) -> str:
    """The function's name: the innermost declarator's, behind stars and parentheses."""
    node = definition.child_by_field_name("declarator")
    while node is not None and node.type != "identifier":
        inner = node.child_by_field_name("declarator")
        if inner is None:
            inner = next((c for c in node.children if c.type.endswith("declarator")), None)
        node = inner
    return "" if node is None else _text(node, source)


def _defined(statement: tree_sitter.Node, source: bytes) -> str:
    """``name`` of ``SYSCALL_DEFINE2(name, ...)``; empty for anything else."""
    call = statement.children[0] if statement.children else None
    if statement.type != "expression_statement" or call is None or call.type != "call_expression":
        return ""
    macro, words = call.child_by_field_name("function"), call.child_by_field_name("arguments")
    if macro is None or words is None or not _text(macro, source).startswith(_DEFINES):
        return ""
    return next((_text(one, source) for one in words.children if one.type == "identifier"), "")


def _text(node: tree_sitter.Node, source: bytes) -> str:
    return source[node.start_byte : node.end_byte].decode(errors="replace")


def _value(node: tree_sitter.Node, field: str) -> Node:
    """The tree below a node as a value of our own."""
    children = tuple(
        _value(child, node.field_name_for_child(at) or "") for at, child in enumerate(node.children)
    )
    broken = node.type == "ERROR" or node.is_missing or any(one.broken for one in children)
    row, column = node.start_point
    return Node(
        node.type, node.start_byte, node.end_byte, row + 1, node.end_point[0] + 1, column + 1,
        field, children, broken,
    )  # fmt: skip
