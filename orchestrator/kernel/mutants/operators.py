# SPDX-License-Identifier: GPL-2.0-only
"""The faults that can be planted in a piece of C: one edit each, of the size of a slip.  Pure.

Nothing is planted in an assertion or a message: leaving one out is no fault that a test could see.
Where two operators would make the same of a place, one of them does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.kernel.mutants.ctree import Node

#: What each operator does, for the documentation and the reports.
OPERATORS = {
    "condition-negated": "a condition is negated",
    "branch-always": "an `if` without `else` is always taken; its condition is still evaluated",
    "branch-never": "an `if` without `else` is never taken; its condition is still evaluated",
    "relational": "`<` and `<=`, `>` and `>=`, `==` and `!=` change places",
    "logical": "`&&` and `||` change places",
    "arithmetic": "`+` and `-`, `*` and `/`, `++` and `--` change places, `%` becomes `*`",
    "bitwise": "`&` and `|`, `<<` and `>>` change places, `^` becomes `&`, a `~` is left out",
    "negation-left-out": "a `!` is left out",
    "constant+1": "a number is one more; `false` is `true`",
    "constant-1": "a number is one less; `true` is `false`",
    "errno": "an errno is another one",
    "call-left-out": "a statement that only calls a function is left out",
    "assignment-left-out": "a statement that only assigns, or counts up or down, is left out",
    "return-value": "0 is returned in place of a value",
    "jump": "`break` and `continue` change places, a `goto` is left out",
}

_RELATIONAL = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
_LOGICAL = {"&&": "||", "||": "&&"}
_ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "++": "--", "--": "++"}
_BITWISE = {"&": "|", "|": "&", "^": "&", "<<": ">>", ">>": "<<"}
_BINARY = {
    word: (name, other)
    for name, table in (
        ("relational", _RELATIONAL), ("logical", _LOGICAL), ("arithmetic", _ARITHMETIC),
        ("bitwise", _BITWISE),
    )
    for word, other in table.items()
}  # fmt: skip
# What checks or tells and changes nothing: include/linux/{bug,mmdebug,build_bug,lockdep,printk,
# kernel}.h of v6.12.
_ASSERTS = re.compile(
    r"(VM_)?(BUG|WARN)(_ON)?(_[A-Z_]+)?|BUILD_BUG(_ON)?(_[A-Z_]+)?|static_assert|"
    r"lockdep_(assert|is)_\w+|might_(sleep|fault|lock\w*)|pr_[a-z_]+|printk\w*|dump_page|"
    r"trace_\w+|mmap_assert_\w+|vma_assert_\w+|ASSERT_\w+"
)
_ERRNO = re.compile(r"E[A-Z][A-Z0-9]{1,14}")
_NUMBER = re.compile(r"(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)([uUlL]*)")
# Of these a number is no value that code works with.
_NO_CODE = ("preproc_def", "preproc_function_def", "preproc_include", "preproc_call", "comment",
            "array_declarator", "enumerator", "bitfield_clause", "attribute_specifier",
            "gnu_asm_expression", "type_descriptor", "string_literal")  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """One fault: ``text`` in place of ``node``; ``told`` says what is changed."""

    operator: str
    node: Node
    text: str
    told: str


def edits(block: Node, source: bytes) -> Iterator[Edit]:
    """Every fault that can be planted in a function's block, in the order of its text.

    A node with an error of the parser in it is not replaced; what is whole within it is not touched
    either where the error stands around it.
    """
    yield from _Finder(source).below(block, None)


class _Finder:
    """Walks the tree; what the faults stand in is known by then."""

    def __init__(self, source: bytes) -> None:
        self.source = source

    def below(self, node: Node, parent: Node | None) -> Iterator[Edit]:
        """The edits of a node and of all in it."""
        if node.kind in ("ERROR", *_NO_CODE) or self._asserts(node):
            return
        if not node.broken:
            yield from self._own(node, parent)
        for child in node.children:
            if node.kind in ("preproc_if", "preproc_elif") and child.field == "condition":
                continue
            if node.kind == "case_statement" and child.field == "value":
                continue
            yield from self.below(child, node)

    def _asserts(self, node: Node) -> bool:
        call = node.children[0] if node.kind == "expression_statement" and node.children else node
        name = call.child("function") if call.kind == "call_expression" else None
        return name is not None and _ASSERTS.fullmatch(name.text(self.source)) is not None

    def _own(self, node: Node, parent: Node | None) -> Iterator[Edit]:
        make = _MAKERS.get(node.kind)
        if make is not None:
            yield from make(self, node, parent)

    # ------------------------------------------------------------ conditions

    def _branch(self, node: Node, parent: Node | None) -> Iterator[Edit]:  # noqa: ARG002
        condition = node.child("condition")
        if condition is None or not condition.text(self.source).strip("() \t\n"):
            return
        inner = self._inside(condition)
        was = inner.text(self.source)
        yield self._edit("condition-negated", condition, f"(!({was}))", f"`{_short(was)}` negated")
        if node.kind == "if_statement" and node.child("alternative") is None:
            for name, more, word in (("branch-always", "|| 1", "always"),
                                     ("branch-never", "&& 0", "never")):  # fmt: skip
                told = f"taken {word}, whatever `{_short(was)}`"
                yield self._edit(name, condition, f"(({was}) {more})", told)

    def _choice(self, node: Node, parent: Node | None) -> Iterator[Edit]:  # noqa: ARG002
        condition = node.child("condition")
        if condition is not None:
            was = self._inside(condition).text(self.source)
            told = f"`{_short(was)}` negated"
            yield self._edit("condition-negated", condition, f"(!({was}))", told)

    @staticmethod
    def _inside(condition: Node) -> Node:
        """What stands in the parentheses of a condition."""
        if condition.kind == "parenthesized_expression" and len(condition.children) == 3:
            return condition.children[1]
        return condition

    # ------------------------------------------------------------ expressions

    def _binary(self, node: Node, parent: Node | None) -> Iterator[Edit]:
        operator = node.child("operator")
        if operator is None:
            return
        was = operator.text(self.source)
        name, other = _BINARY.get(was, ("", ""))
        if not name or (was in ("==", "!=") and _is_condition(node, parent)):
            return  # of a whole condition that is its negation
        yield self._edit(name, operator, other, self._swapped(node, operator, other))

    def _assigned(self, node: Node, parent: Node | None) -> Iterator[Edit]:  # noqa: ARG002
        """Of ``a += b`` the operator; a plain assignment is left to its statement."""
        operator = node.child("operator")
        if operator is None or operator.text(self.source) == "=":
            return
        name, other = _BINARY.get(operator.text(self.source).removesuffix("="), ("", ""))
        if name in ("arithmetic", "bitwise"):
            yield self._edit(
                name, operator, f"{other}=", self._swapped(node, operator, f"{other}=")
            )

    def _update(self, node: Node, parent: Node | None) -> Iterator[Edit]:  # noqa: ARG002
        operator = node.child("operator")
        if operator is not None and operator.text(self.source) in _ARITHMETIC:
            other = _ARITHMETIC[operator.text(self.source)]
            yield self._edit("arithmetic", operator, other, self._swapped(node, operator, other))

    def _unary(self, node: Node, parent: Node | None) -> Iterator[Edit]:
        operator, argument = node.child("operator"), node.child("argument")
        if operator is None or argument is None:
            return
        word, was = operator.text(self.source), node.text(self.source)
        if word == "-" and argument.kind == "identifier":
            name = argument.text(self.source)
            if _ERRNO.fullmatch(name):
                other = "EINVAL" if name != "EINVAL" else "EFAULT"
                yield self._edit("errno", argument, other, f"`-{name}` becomes `-{other}`")
        names = {"!": "negation-left-out", "~": "bitwise"}
        if word in names and not (word == "!" and _is_condition(node, parent)):
            told = f"`{word}` of `{_short(was)}` left out"
            # A blank in its place: what stood apart must not become one word.
            yield self._edit(names[word], operator, " ", told)

    def _number(self, node: Node, parent: Node | None) -> Iterator[Edit]:
        was = node.text(self.source)
        found = _NUMBER.fullmatch(was)
        if found is None or _is_condition(node, parent):
            return
        digits = found[2]
        base = 16 if digits[:2].lower() == "0x" else 8 if digits[:1] == "0" else 10
        value = int(digits, base)
        value = -value if found[1] else value
        for name, other in (("constant+1", value + 1), ("constant-1", value - 1)):
            if other < 0 <= value and "u" in found[3].lower():
                continue
            if base == 16:
                size = hex(other)
            else:  # 0444, and not a 0
                size = f"0{other:o}" if base == 8 and len(digits) > 1 and other >= 0 else str(other)
            text = f"{size}{found[3]}"
            text = f"({text})" if other < 0 <= value else text
            yield self._edit(name, node, text, f"`{was}` becomes `{text}`")

    def _truth(self, node: Node, parent: Node | None) -> Iterator[Edit]:
        if _is_condition(node, parent):
            return
        was = node.text(self.source)
        name, other = ("constant-1", "false") if was == "true" else ("constant+1", "true")
        yield self._edit(name, node, other, f"`{was}` becomes `{other}`")

    # ------------------------------------------------------------ statements

    def _statement(self, node: Node, parent: Node | None) -> Iterator[Edit]:  # noqa: ARG002
        if not node.children:
            return
        kind = node.children[0].kind
        was = _short(node.text(self.source))
        if kind == "call_expression":
            yield self._edit("call-left-out", node, ";", f"`{was}` left out")
        elif kind in ("assignment_expression", "update_expression"):
            yield self._edit("assignment-left-out", node, ";", f"`{was}` left out")

    def _return(self, node: Node, parent: Node | None) -> Iterator[Edit]:  # noqa: ARG002
        values = [one for one in node.children if one.kind not in ("return", ";", "comment")]
        if len(values) != 1 or values[0].kind in ("number_literal", "true", "false", "null"):
            return  # what a number is off by is planted in the number
        was = _short(values[0].text(self.source))
        yield self._edit("return-value", values[0], "0", f"0 returned in place of `{was}`")

    def _jump(self, node: Node, parent: Node | None) -> Iterator[Edit]:  # noqa: ARG002
        was = node.text(self.source)
        if node.kind == "goto_statement":
            yield self._edit("jump", node, ";", f"`{_short(was)}` left out")
        else:
            other = "continue;" if node.kind == "break_statement" else "break;"
            yield self._edit("jump", node, other, f"`{was}` becomes `{other}`")

    # ------------------------------------------------------------ in words

    def _edit(self, operator: str, node: Node, text: str, told: str) -> Edit:
        """An edit that leaves every line behind it where it was: code may know its number."""
        lost = node.text(self.source).count("\n") - text.count("\n")
        return Edit(operator, node, text + "\n" * lost, told)

    def _swapped(self, node: Node, operator: Node, other: str) -> str:
        was = _short(node.text(self.source))
        return f"`{operator.text(self.source)}` becomes `{other}` in `{was}`"


def _is_condition(node: Node, parent: Node | None) -> bool:
    """Whether an expression is all that a condition consists of."""
    if node.field == "condition":
        return True
    return parent is not None and parent.field == "condition" and (
        parent.kind == "parenthesized_expression"
    )  # fmt: skip


def _short(text: str) -> str:
    """On one line, and no longer than it can be read."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


_Make = Callable[[_Finder, Node, "Node | None"], Iterator[Edit]]
_MAKERS: dict[str, _Make] = {
    "if_statement": _Finder._branch,
    "while_statement": _Finder._branch,
    "do_statement": _Finder._branch,
    "for_statement": _Finder._choice,
    "conditional_expression": _Finder._choice,
    "binary_expression": _Finder._binary,
    "assignment_expression": _Finder._assigned,
    "update_expression": _Finder._update,
    "unary_expression": _Finder._unary,
    "number_literal": _Finder._number,
    "true": _Finder._truth,
    "false": _Finder._truth,
    "expression_statement": _Finder._statement,
    "return_statement": _Finder._return,
    "break_statement": _Finder._jump,
    "continue_statement": _Finder._jump,
    "goto_statement": _Finder._jump,
}
