# SPDX-License-Identifier: GPL-2.0-only
"""C parsed into values: which functions there are, and where the parser did not understand."""

from __future__ import annotations

from orchestrator.kernel.mutants.ctree import Node, functions

# Heads as they stand in mm/ of v6.12.
HEADS = b"""\
static inline
struct vm_area_struct *find_dst_vma(struct mm_struct *dst_mm,
				unsigned long dst_start)
{
	return NULL;
}

static __always_inline
bool __must_check f_attributes(int a) __releases(x)
{
	return a;
}

#ifdef CONFIG_PER_VMA_LOCK
static int uffd_move_lock(struct mm_struct *mm)
{
	return 1;
}
#else
static int uffd_move_lock(struct mm_struct *mm)
{
	return 2;
}
#endif

SYSCALL_DEFINE1(userfaultfd, int, flags)
{
	return flags;
}

int prototype(void);
DEFINE_MUTEX(lock);
static int (*chosen(int a))(void)
{
	return 0;
}
"""

WALKS = b"""\
static void f(void)
{
	list_for_each_entry(a, b, c) {
		g(a);
	}
	h();
}
"""


def test_functions_are_found_by_their_names_and_lines() -> None:
    found = [(one.name, one.first, one.last) for one in functions(HEADS)]
    assert found == [
        ("find_dst_vma", 1, 6),
        ("f_attributes", 9, 12),  # what stands before is no C to the parser
        ("uffd_move_lock", 15, 18),
        ("uffd_move_lock", 20, 23),
        ("userfaultfd", 26, 29),
        ("chosen", 33, 36),
    ]


def test_a_body_is_its_block_alone() -> None:
    block = functions(HEADS)[0].block
    assert (block.kind, block.line, block.last_line) == ("compound_statement", 4, 6)
    assert block.text(HEADS).startswith("{\n\treturn NULL;")
    assert not block.broken  # the head of the second is, in part


def broken_lines(source: bytes) -> set[int]:
    """Where a node is broken and nothing in it is."""
    found = set()
    for body in functions(source):
        for node in body.block.walk():
            if node.broken and not any(one.broken for one in node.children):
                found.add(node.line)
    return found


def test_what_a_macro_makes_something_else_of_is_told() -> None:
    source = WALKS
    assert broken_lines(source) == {3}
    calls = [n.text(source) for n in functions(source)[0].block.walk() if n.kind.startswith("call")]
    assert calls == ["list_for_each_entry(a, b, c)", "g(a)", "h()"]


def test_a_node_knows_its_parts_by_name() -> None:
    source = b"int f(int a)\n{\n\tif (a < 1)\n\t\treturn 2;\n\treturn 3;\n}\n"
    branch = next(n for n in functions(source)[0].block.walk() if n.kind == "if_statement")
    condition = branch.child("condition")
    assert isinstance(condition, Node)
    assert (condition.text(source), condition.line, condition.column) == ("(a < 1)", 3, 5)
    assert branch.child("alternative") is None


def test_what_is_no_c_has_no_functions() -> None:
    assert functions(b"") == ()
    assert functions(b"\x00\xff{{{ ((( \xfe") == ()
    assert functions(b"int f(void) { return 1;")[0].block.broken
