# SPDX-License-Identifier: GPL-2.0-only
"""The faults, on text as it stands in mm/userfaultfd.c and mm/huge_memory.c of v6.12."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.kernel.mutants.ctree import functions
from orchestrator.kernel.mutants.operators import OPERATORS, Edit, edits

PRESENT_PTE = b"""\
static int move_present_pte(struct mm_struct *mm, pte_t orig_dst_pte, pte_t orig_src_pte)
{
	int err = 0;

	double_pt_lock(dst_ptl, src_ptl);

	if (!pte_same(ptep_get(src_pte), orig_src_pte) ||
		!pte_same(ptep_get(dst_pte), orig_dst_pte)) {
		err = -EAGAIN;
		goto out;
	}

	folio_move_anon_rmap(src_folio, dst_vma);
	src_folio->index = linear_page_index(dst_vma, dst_addr);
	/* Set soft dirty bit so userspace can notice the pte was moved */
#ifdef CONFIG_MEM_SOFT_DIRTY
	orig_dst_pte = pte_mksoft_dirty(orig_dst_pte);
#endif
	if (pte_dirty(orig_src_pte))
		orig_dst_pte = pte_mkdirty(orig_dst_pte);
out:
	double_pt_unlock(dst_ptl, src_ptl);
	return err;
}
"""


def in_body(body: str, kind: str = "int") -> tuple[bytes, list[Edit]]:
    """A function's source, and all faults in it."""
    source = f"{kind} f(int a, int b)\n{{\n\t{body}\n}}\n".encode()
    return source, list(edits(functions(source)[0].block, source))


def made(body: str, operator: str | None = None) -> list[str]:
    """What the body becomes by each fault (of one operator), without the lines around it."""
    source, found = in_body(body)
    texts = []
    for edit in found:
        if operator in (None, edit.operator):
            text = source[: edit.node.start] + edit.text.encode() + source[edit.node.end :]
            texts.append(text.decode().split("{\n\t", 1)[1].rsplit("\n}", 1)[0])
    return texts


def test_a_function_of_the_kernel_has_these() -> None:
    found = list(edits(functions(PRESENT_PTE)[0].block, PRESENT_PTE))
    assert [(edit.node.line, edit.operator) for edit in found] == [
        (3, "constant+1"), (3, "constant-1"),
        (5, "call-left-out"),
        (7, "condition-negated"), (7, "branch-always"), (7, "branch-never"), (7, "logical"),
        (7, "negation-left-out"), (8, "negation-left-out"),
        (9, "assignment-left-out"), (9, "errno"),
        (10, "jump"),
        (13, "call-left-out"),
        (14, "assignment-left-out"),
        (17, "assignment-left-out"),
        (19, "condition-negated"), (19, "branch-always"), (19, "branch-never"),
        (20, "assignment-left-out"),
        (22, "call-left-out"),
        (23, "return-value"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "body", "becomes"),
    [
        ("condition-negated", "if (a) g();", ["if (!(a)) g();"]),
        ("condition-negated", "while (a < 3) g();", ["while (!(a < 3)) g();"]),
        ("condition-negated", "do g(); while (--a);", ["do g(); while (!(--a));"]),
        ("condition-negated", "for (;a;) g();", ["for (;(!(a));) g();"]),
        ("condition-negated", "b = a ? 1 : 2;", ["b = (!(a)) ? 1 : 2;"]),
        ("branch-always", "if (a) g();", ["if ((a) || 1) g();"]),
        ("branch-never", "if (a || b) g();", ["if ((a || b) && 0) g();"]),
        ("branch-never", "if (a) g(); else h();", []),
        ("relational", "b = a < 1;", ["b = a <= 1;"]),
        ("relational", "b = a >= 1;", ["b = a > 1;"]),
        ("relational", "b = a == 1;", ["b = a != 1;"]),
        ("relational", "if (a == 1) g();", []),  # that is the condition, negated
        ("relational", "if (a == 1 && b) g();", ["if (a != 1 && b) g();"]),
        ("logical", "b = a && b || a;", ["b = a && b && a;", "b = a || b || a;"]),
        ("arithmetic", "b = a + 8 * b % a;", ["b = a - 8 * b % a;", "b = a + 8 * b * a;",
                                              "b = a + 8 / b % a;"]),
        ("arithmetic", "a += PAGE_SIZE;", ["a -= PAGE_SIZE;"]),
        ("arithmetic", "a++;", ["a--;"]),
        ("bitwise", "b = a & VM_LOCKED | b;", ["b = a & VM_LOCKED & b;", "b = a | VM_LOCKED | b;"]),
        ("bitwise", "b = a & ~PMD_MASK;", ["b = a | ~PMD_MASK;", "b = a &  PMD_MASK;"]),
        ("bitwise", "b = 1 << a;", ["b = 1 >> a;"]),
        ("bitwise", "a |= VM_LOCKED;", ["a &= VM_LOCKED;"]),
        ("negation-left-out", "b = !a;", ["b =  a;"]),
        ("negation-left-out", "if (!a) g();", []),  # that is the condition, negated
        ("negation-left-out", "if (b && !a) g();", ["if (b &&  a) g();"]),
        ("constant+1", "g(0, 0x1fUL, 0644);", ["g(1, 0x1fUL, 0644);", "g(0, 0x20UL, 0644);",
                                               "g(0, 0x1fUL, 0645);"]),
        ("constant-1", "g(0, 1);", ["g((-1), 1);", "g(0, 0);"]),
        ("constant-1", "g(0UL);", []),  # there is no such number
        ("constant+1", "b = false;", ["b = true;"]),
        ("constant-1", "b = true;", ["b = false;"]),
        ("constant+1", "while (1) g();", []),
        ("errno", "return -EINVAL;", ["return -EFAULT;"]),
        ("errno", "a = -EAGAIN;", ["a = -EINVAL;"]),
        ("errno", "if (a == -EEXIST) g();", ["if (a == -EINVAL) g();"]),
        ("errno", "a = -EXCLUSIVE_MARKER_OF_SOME;", []),
        ("call-left-out", "folio_put(src_folio);", [";"]),
        ("call-left-out", "a = g();", []),
        ("assignment-left-out", "a = g();", [";"]),
        ("assignment-left-out", "a->index = b;", [";"]),
        ("assignment-left-out", "a++;", [";"]),
        ("return-value", "return moved ? moved : err;", ["return 0;"]),
        ("return-value", "return 0;", []),
        ("return-value", "return;", []),
        ("jump", "while (a) { if (b) break; }", ["while (a) { if (b) continue; }"]),
        ("jump", "while (a) { continue; }", ["while (a) { break; }"]),
        ("jump", "goto out; out: g();", ["; out: g();"]),
    ],
)  # fmt: skip
def test_an_operator_makes_this(operator: str, body: str, becomes: list[str]) -> None:
    assert made(body, operator) == becomes


@pytest.mark.parametrize(
    "body",
    [
        "VM_WARN_ON_ONCE(a != 1);",
        "BUG_ON(!a);",
        "BUILD_BUG_ON(a + 1);",
        "VM_BUG_ON_VMA(a < b, vma);",
        "lockdep_assert_held(a);",
        "mmap_assert_locked(mm);",
        "pr_warn_once(\"%d\", a + 1);",
        "might_sleep();",
        "#define X 3",
        "int x[4];",
        "asm volatile(\"nop\" : : \"i\" (3));",
        "/* a + 1 */",
    ],
)  # fmt: skip
def test_in_what_only_checks_or_tells_nothing_is_planted(body: str) -> None:
    assert made(body) == []


def test_a_number_that_says_which_case_it_is_stays() -> None:
    texts = made("switch (a) { case 1: g(2); }")
    assert texts == ["switch (a) { case 1: ; }", "switch (a) { case 1: g(3); }",
                     "switch (a) { case 1: g(1); }"]  # fmt: skip


def test_every_operator_is_documented_and_used() -> None:
    body = """if (!a && b) { a = -EINVAL; goto out; } a = b < 1 ? a + 1 : ~b; b = !a;
        while (b == 2 || true) break; g(a & b); out: return a;"""
    assert {edit.operator for edit in in_body(body)[1]} == set(OPERATORS)


def test_the_page_says_what_each_operator_does() -> None:
    page = (HOME / "docs" / "mutants.md").read_text()
    for name, told in OPERATORS.items():
        row = f"| `{name}` | {told.replace('|', chr(92) + '|')} |\n"
        assert row in page


def test_lines_behind_a_fault_stay_where_they_were() -> None:
    """A WARN_ON() knows its line's number, and that is code."""
    body = "a = g(a,\n\t\tb);\n\tif (a ||\n\t    b)\n\t\tWARN_ON(1);"
    source, found = in_body(body)
    assert {"assignment-left-out", "condition-negated", "branch-never"} <= {
        edit.operator for edit in found
    }
    for edit in found:
        text = source[: edit.node.start] + edit.text.encode() + source[edit.node.end :]
        assert text.count(b"\n") == source.count(b"\n")
        assert text.split(b"\n").index(b"\t\tWARN_ON(1);") == 6


def test_what_the_parser_does_not_understand_is_left_alone() -> None:
    body = "list_for_each_entry(a, b + 1, c) {\n\t\tg(a);\n\t}\n\th();"
    _, found = in_body(body)
    assert [(edit.operator, edit.node.line) for edit in found if "left" in edit.operator] == [
        ("call-left-out", 4), ("call-left-out", 6),
    ]  # fmt: skip


def test_no_two_faults_are_the_same() -> None:
    source, found = in_body("if (!a || b == 1) return -EINVAL; return a ? b++ : 3;")
    texts = Counter(
        source[: edit.node.start] + edit.text.encode() + source[edit.node.end :] for edit in found
    )
    assert set(texts.values()) == {1}
    assert source not in texts


@given(st.binary(max_size=200))
def test_no_text_breaks_it(noise: bytes) -> None:
    source = b"int f(int a)\n{\n\tif (a) return 1;\n" + noise + b"\n\treturn -EINVAL;\n}\n"
    for body in functions(source):
        for edit in edits(body.block, source):
            assert 0 <= edit.node.start < edit.node.end <= len(source)
            assert edit.told
            assert edit.operator in OPERATORS
