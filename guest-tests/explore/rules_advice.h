/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: madvise().
 *
 * Sources: madvise(2); v6.12: madvise_walk_vmas() and madvise_vma_behavior() in mm/madvise.c, ksm_madvise()
 * in mm/ksm.c, hugepage_madvise() and madvise_collapse() in mm/huge_memory.c and mm/khugepaged.c.
 */
#ifndef LAB_EXPLORE_RULES_ADVICE_H
#define LAB_EXPLORE_RULES_ADVICE_H

#include "rules_fault.h"
#include "rules_file.h"
#include "rules_ksm.h"

/* MADV_DONTNEED: private memory is gone; a shared object keeps its pages. */
static inline int advise_dontneed(struct page *page)
{
	if (page->attr.lock)
		return EINVAL;
	/* "Ordinary zapping should not remove guard PTE markers" */
	if (!must(page, GUARD))
		page_empty(page);
	return 0;
}

/*
 * MADV_FREE: swap slots are given back at once, pages when they are needed; what is not the caller's alone
 * may be left as it is, which nobody is told (madvise_free_pte_range()).
 */
static inline int advise_free(struct model *model, struct page *page)
{
	/* madvise_free_single_vma() takes anonymous mappings only: not a memfd's copied pages. */
	if (page->attr.lock || is_backed(page))
		return EINVAL;
	page_reclaim(model, page);
	if (page->may & POISON)
		page->may = (uint8_t)((page->may & ~POISON) | NONE);
	if (page->may & (ANON | SWAP)) {
		page->lazy = 1;
		page->may |= NONE;
		/* Gone entries have no bits; what is there keeps its own. */
		page->wp |= NO;
		page->dirty |= NO;
	}
	return 0;
}

/* MADV_COLD, MADV_PAGEOUT: refused where can_madv_lru_vma() says so; what comes of them is reclaim's. */
static inline int advise_cold(struct model *model, struct page *page)
{
	if (page->attr.lock)
		return EINVAL;
	page_reclaim(model, page);
	return 0;
}

/* Advice that is a flag of the mapping. */
static inline int advise_flag(int op, struct attr *attr)
{
	switch (op) {
	case OP_DONTFORK:
		attr->dontfork = 1;
		break;
	case OP_DOFORK:
		attr->dontfork = 0;
		break;
	case OP_WIPEONFORK:
		/* "MADV_WIPEONFORK is only supported on anonymous memory." */
		if (attr->shared || attr->file)
			return EINVAL;
		attr->wipe = 1;
		break;
	case OP_KEEPONFORK:
		attr->wipe = 0;
		break;
	case OP_HUGEPAGE:
		attr->huge = HUGE_YES;
		break;
	case OP_NOHUGEPAGE:
		attr->huge = HUGE_NO;
		break;
	case OP_MERGEABLE:
		/* Shared memory is passed over unsaid: vma_ksm_compatible(). */
		attr->mergeable = !attr->shared;
		break;
	case OP_UNMERGEABLE:
		attr->mergeable = 0;
		break;
	case OP_COLLAPSE:
		/* No huge page fits into the arena: thp_vma_allowable_order(). */
		return EINVAL;
	}
	return 0;
}

/*
 * MADV_REMOVE: a hole in the object (rules_file.h); not where it is locked or private, and not in what is
 * mapped for reading only (madvise_remove(): vma_is_shared_maywrite() is of what mprotect() could allow, and
 * all of ours are open for writing).
 */
static inline int advise_remove(struct model *model, struct page *page)
{
	if (page->attr.lock || !is_backed(page))
		return EINVAL;
	if (!page->attr.shared)
		return EACCES;
	punch(model, page->object, page->offset, 1);
	return 0;
}

/*
 * MADV_GUARD_INSTALL takes away what is there; MADV_GUARD_REMOVE takes markers only, in locked memory too:
 * madvise(2), is_valid_guard_vma() since v6.13.
 */
static inline int advise_guard(int op, struct page *page)
{
	if (op == OP_GUARD && page->attr.lock)
		return EINVAL;
	if (op == OP_GUARD || must(page, GUARD))
		page_empty(page);
	if (op == OP_GUARD)
		page->may = GUARD;
	return 0;
}

static inline int advise_page(struct model *model, int op, struct page *page)
{
	switch (op) {
	case OP_DONTNEED:
		return advise_dontneed(page);
	case OP_FREE:
		return advise_free(model, page);
	case OP_COLD:
	case OP_PAGEOUT:
		return advise_cold(model, page);
	case OP_GUARD:
	case OP_UNGUARD:
		return advise_guard(op, page);
	case OP_REMOVE:
		return advise_remove(model, page);
	case OP_WILLNEED:
		/* Reads into the swap cache, not into the page table: swapin_walk_pmd_entry(). */
		return 0;
	case OP_UNMERGEABLE:
		if (page->attr.mergeable)
			page_unmerge(model, page);
		return advise_flag(op, &page->attr);
	default:
		return advise_flag(op, &page->attr);
	}
}

/* Whether this kernel has an advice at all: madvise_behavior_valid(). */
static inline int advice_known(const struct model *model, int op)
{
	if (op == OP_HUGEPAGE || op == OP_NOHUGEPAGE || op == OP_COLLAPSE)
		return model->can & CAN_THP;
	if (op == OP_MERGEABLE || op == OP_UNMERGEABLE)
		return model->can & CAN_KSM;
	return 1;
}

/* Holes are passed over, and ENOMEM in the end; a mapping that is refused ends it. */
static inline void rule_advise(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int err = 0, holes = 0;

	out->skip = !advice_known(model, step->op);
	/* Of files some kernels allow it and some do not (v6.15). */
	if (step->op == OP_GUARD || step->op == OP_UNGUARD)
		out->skip = !(model->can & CAN_GUARD) || any_backed(proc, step->at, step->n);
	/* What is merged into a page of KSM that was lazily freed is dropped with it (docs/findings.md). */
	for (int i = step->at; model->known && step->op == OP_FREE && i < step->at + step->n; i++)
		out->skip |= proc->pages[i].merged && may(&proc->pages[i], ANON);
	if (out->skip)
		return;
	for (int i = step->at; !err && i < step->at + step->n; i++) {
		if (proc->pages[i].attr.mapped)
			err = advise_page(model, step->op, &proc->pages[i]);
		else
			holes = 1;
	}
	if (step->op > OP_POPULATE_WRITE && step->op < OP_GUARD)
		mappings_changed(proc);
	may_be(out, err ? err : holes ? ENOMEM : 0);
}

/* MADV_POPULATE_*: in order, up to the first page that cannot: madvise_populate() and faultin_page_range(). */
static inline void rule_populate(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int write = step->op == OP_POPULATE_WRITE, failed = 0, ends = FAULT_OK, came = 0;

	for (int i = step->at; i < step->at + step->n; i++) {
		const struct attr *attr = &proc->pages[i].attr;

		if (!attr->mapped)
			may_be(out, ENOMEM);
		else if (attr->prot == PROT_NO || (write && attr->prot != PROT_RW))
			may_be(out, EINVAL);
		else
			ends = fault_next(model, proc, i, write, &failed);
		came |= ends;
		if (out->count || !(ends & FAULT_OK))
			break;
	}
	/* The end comes as an error of its own: EHWPOISON, since faultin_page_range() asks for it. */
	ends = !out->count && ends & FAULT_OK;
	if (came & (FAULT_BUS | FAULT_SEGV))
		may_be(out, EFAULT);
	if (came & FAULT_POISON)
		may_be(out, EHWPOISON);
	if (ends)
		may_be(out, 0);
}

#endif
