# SPDX-License-Identifier: GPL-2.0-only
"""Why lines of the move code never run under the deterministic workloads; tools/proof_coverage.py.

A line is named by its function and by the line of code that ran last above it, blanks as one: the
numbers of lines differ from kernel to kernel.  Each is read from the sources of 6.12.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why what stands behind the line ``behind`` of a function did not run."""

    function: str
    behind: str
    why: str

    @property
    def by_chance(self) -> bool:
        """Whether it may run all the same, now and then: a race that nobody tries for."""
        return self.why.startswith("a race:")


REASONS = (
    Reason(
        "move_present_pte",
        "!pte_same(ptep_get(dst_pte), orig_dst_pte)) {",
        "a race: an entry changes between the look without its lock and the one under it",
    ),
    Reason(
        "move_present_pte",
        "if (folio_maybe_dma_pinned(src_folio)) {",
        "a race: get_user_pages_fast() pins the page between the check above and the flush",
    ),
    Reason(
        "move_swap_pte",
        "!pte_same(ptep_get(dst_pte), orig_dst_pte)) {",
        "a race: an entry changes between the look without its lock and the one under it",
    ),
    Reason(
        "move_swap_pte",
        "if (READ_ONCE(si->swap_map[swp_offset(entry)]) & SWAP_HAS_CACHE) {",
        "a race: the page is read in from swap between the look into the swap cache and the lock",
    ),
    Reason(
        "move_zeropage_pte",
        "!pte_same(ptep_get(dst_pte), orig_dst_pte)) {",
        "a race: an entry changes between the look without its lock and the one under it",
    ),
    Reason(
        "move_pages_pte",
        "if (unlikely(!dst_pte)) {",
        "a race: a huge page comes to stand at the destination after move_pages() looked",
    ),
    Reason(
        "move_pages_pte",
        "if (unlikely(!src_pte)) {",
        "a race: a huge page comes, or MADV_DONTNEED takes the table, after move_pages() looked",
    ),
    Reason(
        "move_pages_pte",
        "WARN_ON_ONCE(pmd_trans_huge(*dst_pmd)) || WARN_ON_ONCE(pmd_trans_huge(*src_pmd))) {",
        "the kernel's own check of what cannot be (it warns); only a race leads there",
    ),
    Reason(
        "move_pages_pte",
        "if (src_folio && unlikely(!pte_same(src_folio_pte, orig_src_pte))) {",
        "a race: the entry changes while the folio's lock is waited for",
    ),
    Reason(
        "move_pages_pte",
        "if (!pte_same(orig_src_pte, ptep_get(src_pte))) {",
        "a race: the entry changes between two holds of its lock",
    ),
    Reason(
        "move_pages_pte",
        "if (!locked && folio_test_large(folio)) {",
        "a race: somebody else holds the lock of a large folio",
    ),
    Reason(
        "move_pages_pte",
        "if (!locked) {",
        "a race: somebody else holds the lock of the folio",
    ),
    Reason(
        "move_pages_pte",
        "if (WARN_ON_ONCE(!folio_test_anon(src_folio))) {",
        "the kernel's own check of what cannot be (it warns)",
    ),
    Reason(
        "move_pages_pte",
        "if (!src_anon_vma) {",
        "a race: the page is unmapped after its folio was locked",
    ),
    Reason(
        "move_pages_pte",
        "if (!anon_vma_trylock_write(src_anon_vma)) {",
        "a race: somebody else holds the lock of the anon_vma, as reclaim does",
    ),
    Reason(
        "move_pages_pte",
        "if (is_migration_entry(entry)) {",
        "a race: the page is being migrated at that moment",
    ),
    Reason(
        "move_pages_pte",
        "if (unlikely(!si)) {",
        "a race: swapoff takes the device at that moment",
    ),
    Reason(
        "move_pages_pte",
        "if (!folio_trylock(src_folio)) {",
        "a race: somebody else holds the lock of a folio in the swap cache",
    ),
    Reason(
        "find_vmas_mm_locked",
        "if (IS_ERR(vma))",
        "a race: the destination's mapping was locked a moment ago and is gone",
    ),
    Reason(
        "find_vmas_mm_locked",
        "if (src_start >= vma->vm_start && src_start < vma->vm_end)",
        "a race: source and destination come to be one mapping after uffd_move_lock() looked",
    ),
    Reason(
        "find_vmas_mm_locked",
        "if (!vma)",
        "a race: the source's mapping is there and a writer holds its lock at that moment",
    ),
    Reason(
        "uffd_move_lock",
        "mmap_read_lock(mm);",
        "a race: the source's mapping is there and a writer holds its lock at that moment",
    ),
    Reason(
        "move_pages",
        "WARN_ON_ONCE(len & ~PAGE_MASK))",
        "the kernel's own check of what userfaultfd_move() has refused (it warns)",
    ),
    Reason(
        "move_pages",
        "WARN_ON_ONCE(dst_start + len <= dst_start))",
        "the kernel's own check of what userfaultfd_move() has refused (it warns)",
    ),
    Reason(
        "move_pages",
        "if (likely(atomic_read(&ctx->mmap_changing)))",
        "a race: a mapping begins to change after userfaultfd_move() looked",
    ),
    Reason(
        "move_pages",
        "if (pmd_devmap(*src_pmd)) {",
        "anonymous memory is on no DAX device; a huge migration entry is taken for one on x86_64 "
        "(docs/findings.md), which is a race",
    ),
    Reason(
        "move_pages_huge_pmd",
        "WARN_ON_ONCE(dst_addr & ~HPAGE_PMD_MASK)) {",
        "the kernel's own check of what cannot be (it warns)",
    ),
    Reason(
        "move_pages_huge_pmd",
        "if (!pmd_trans_huge(src_pmdval)) {",
        "a race: the huge page is being migrated at that moment",
    ),
    Reason(
        "move_pages_huge_pmd",
        "if (!src_anon_vma) {",
        "a race: the huge page is unmapped before its folio is locked",
    ),
    Reason(
        "move_pages_huge_pmd",
        "if (unlikely(!pmd_same(*src_pmd, src_pmdval) ||",
        "a race: an entry changes between the look without its lock and the one under it",
    ),
    Reason(
        "move_pages_huge_pmd",
        "WARN_ON_ONCE(!folio_test_anon(src_folio))) {",
        "the kernel's own check of what cannot be (it warns)",
    ),
    Reason(
        "move_pages_huge_pmd",
        "if (folio_maybe_dma_pinned(src_folio)) {",
        "a race: get_user_pages_fast() pins the page between the check above and the flush",
    ),
)
