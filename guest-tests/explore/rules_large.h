/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: folios of several pages (mTHP), once a program has switched them on.  A page's state does not depend on being part
 * of one: what they change is which pages a fault brings, and that some come back as the zero page.
 *
 * Sources: Documentation/admin-guide/mm/transhuge.rst; v6.12: alloc_anon_folio(), do_anonymous_page(),
 * alloc_swap_folio() and do_swap_page() in mm/memory.c, try_to_map_unused_to_zeropage() in mm/migrate.c,
 * __split_huge_page() in mm/huge_memory.c.
 */
#ifndef LAB_EXPLORE_RULES_LARGE_H
#define LAB_EXPLORE_RULES_LARGE_H

#include "model.h"

/* A page that came along with another one: all ptes of the folio are made alike, writable and dirty. */
static inline void page_brought(struct model *model, struct page *page)
{
	if (must(page, NONE)) {
		page->own = YES;
		page->wp = NO;
		page->dirty = YES;
		page->tied = 1;
	} else {
		page->own |= YES;
		page->wp |= NO;
		page->dirty |= YES;
		page->tied = 0;
		page->has_other = 1;
		page->other = bytes_of(0);
	}
	page->frame = ++model->frames;
	page->may |= ANON;
}

/* The same from swap, each with the bits that it had; written to is what a write was for, and dirty may be all. */
static inline void page_brought_back(struct page *page, int write)
{
	page->may |= ANON;
	page->own = EITHER;
	page->dirty |= write ? YES : 0;
	page->tied = 0;
}

/*
 * A fault of a private anonymous page that was in one of these states: those beside it that were in the same may come along, as
 * far as the mapping goes.  New pages only where MADV_HUGEPAGE was said, and not where userfaultfd wants to hear of each
 * (userfaultfd_armed()); what is in the swap cache as one folio comes as one wherever it is.
 */
static inline void fault_large(struct model *model, struct process *proc, int at, int states, int write)
{
	const struct attr attr = proc->pages[at].attr;
	int fresh = write && states & NONE && attr.huge == HUGE_YES && !attr.reg, back = states & SWAP;

	if (!model->large || is_backed(&proc->pages[at]))
		return;
	for (int way = -1; way <= 1; way += 2) {
		for (int i = at + way; i >= 0 && i < PAGES; i += way) {
			struct page *page = &proc->pages[i];
			int joins = way > 0 ? may_join(page, page - 1) : may_join(page + 1, page);

			if (!joins || !((fresh && may(page, NONE)) || (back && may(page, SWAP))))
				break;
			if (back && may(page, SWAP))
				page_brought_back(page, write);
			if (fresh && may(page, NONE))
				page_brought(model, page);
		}
	}
}

/*
 * Folios may have been split, whosever they are: "Try to map it to the shared zeropage if all bytes are zero", and the entry is
 * then a new one.
 */
static inline void folios_split(struct model *model)
{
	for (int i = 0; model->large && i < PROCESSES * PAGES; i++) {
		struct page *page = &model->procs[i / PAGES].pages[i % PAGES];

		if (!model->procs[i / PAGES].alive || !page->attr.mapped || is_backed(page) || !may(page, ANON) ||
		    !may_be_zeros(page))
			continue;
		page->may |= ZERO;
		page->wp |= NO;
		page->dirty = EITHER;
	}
}

/* Whether a step may split a folio of which it is about a part: madvise_cold_or_pageout_pte_range(), move_pages_pte(). */
static inline int step_splits(const struct step *step)
{
	switch (step->op) {
	case OP_FREE:
	case OP_COLD:
	case OP_PAGEOUT:
	case OP_OTHER_ADVISE:
	case OP_MOVE:
	case OP_RECLAIM:
	case OP_KSM:
	case OP_SPLIT:
		return 1;
	default:
		return 0;
	}
}

/* Nobody holds a page: a move of another one of its folio would try for ever (docs/findings.md). */
static inline int anything_held(const struct model *model)
{
	for (int i = 0; i < PROCESSES; i++)
		if (model->procs[i].alive && (model->procs[i].pins || model->procs[i].spliced))
			return 1;
	return 0;
}

static inline void rule_large(struct model *model, const struct step *step, struct outcome *out)
{
	out->skip = !(model->can & CAN_LARGE) || (step->op == OP_SPLIT) != model->large || anything_held(model);
	may_be(out, 0);
	model->large = 1;
}

#endif
