# SPDX-License-Identifier: GPL-2.0-only
"""Who is passed over on the way down a trace, and that nobody else is."""

import re

import pytest

from orchestrator import HOME
from orchestrator.evidence.klog import roles
from orchestrator.evidence.klog.roles import hands_out, passed_over, plain_function

MM = HOME / "tests" / "data" / "mm-functions-6.12.txt"
ROWS = [*roles.REPORTING, roles.ENTRY, *roles.SERVING, roles.DISPATCH]
ROWS += [row for rows in roles.BY_KIND.values() for row in rows]


def test_of_the_functions_of_mm_only_helpers_have_a_role():
    lines = [line for line in MM.read_text().splitlines() if not line.startswith("#")]
    wanted = {line.split()[0] for line in lines if line.endswith(" helper")}
    found = {name for line in lines if passed_over(name := line.split()[0])}
    assert found == wanted
    assert len(lines) > 5000
    assert len(wanted) < 250


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_says_where_it_is_from_and_matches_whole_names(row):
    assert row.name
    assert re.search(r"\.[chS]\b|/", row.source), row
    assert re.compile(row.pattern).fullmatch("move_pages") is None
    assert re.compile(row.pattern).fullmatch("do_swap_page") is None
    assert re.compile(row.pattern).fullmatch("userfaultfd_ioctl") is None


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [
        # always
        ("", "dump_stack_lvl", True), ("", "kasan_report", True), ("", "asm_exc_page_fault", True),
        ("", "check_memory_region", True), ("", "__mutex_lock.constprop.0", True),
        ("", "rt_spin_lock", True), ("", "folio_unlock", True), ("", "lock_timer_base", True),
        ("", "__x86_indirect_thunk_array", True), ("", "memdup_user_nul", True),
        ("", "vzalloc_noprof", True), ("", "__phys_addr", True), ("", "rust_helper_BUG", True),
        ("", "do_syscall_64", True), ("", "smp_apic_timer_interrupt", True),
        ("", "atomic64_read", True), ("", "__list_del_entry_valid_or_report", True),
        ("", "rb_erase", True), ("", "strscpy", True), ("", "_copy_from_iter", True),
        # never
        ("", "copy_page_range", False), ("", "free_pgtables", False),
        ("", "free_huge_folio", False), ("", "free_swap_and_cache", False),
        ("", "clear_page_dirty_for_io", False), ("", "folio_lock_anon_vma_read", False),
        ("", "schedule_tail", False), ("", "vmalloc_to_page", False),
        ("", "slab_unmergeable", False), ("", "print_bad_pte", False),
        ("", "get_user_pages_fast", False), ("", "folio_alloc_swap", False),
        ("", "tick_handler", False), ("", "lock_mm_and_find_vma", False),
        # in one kind alone
        ("bad-page-state", "free_unref_page", True), ("null-deref", "free_unref_page", False),
        ("bad-page-map", "print_bad_pte", True), ("bad-page-map", "vm_normal_page", True),
        ("hung-task", "mmap_write_lock_killable", True), ("oops", "i_mmap_lock_write", False),
        ("odebug", "hrtimer_cancel", True), ("kernel-bug", "skb_put", True),
        ("memory-leak", "anon_vma_alloc", True), ("memory-leak", "anon_vma_clone", False),
    ],
)  # fmt: skip
def test_roles(kind, name, wanted):
    assert passed_over(name, kind) is wanted


def test_who_hands_out_work_is_guilty_only_where_the_cpu_stood_there():
    assert passed_over("process_one_work")
    assert not passed_over("process_one_work", stood=True)
    assert passed_over("kasan_report", stood=True)
    assert hands_out("vfs_write")
    assert hands_out("__x64_sys_ioctl")
    assert hands_out("kthread")
    assert not hands_out("move_pages")
    assert not hands_out("__x64_sys_madvise")


def test_plain_names():
    assert plain_function("f.constprop.0.isra.1") == "f"
    assert plain_function("__pfx_f") == "f"
    assert plain_function("f.llvm.123") == "f"
