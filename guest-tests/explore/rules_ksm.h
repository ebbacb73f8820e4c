/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: pages that KSM merges.  Its daemon stands still but in one step, which lets it go through all that may be
 * merged; what it merged there the kernel does not promise.
 *
 * Sources: Documentation/admin-guide/mm/ksm.rst, madvise(2); v6.12: cmp_and_merge_page(), write_protect_page(),
 * replace_page(), break_ksm() and unmerge_and_remove_all_rmap_items() in mm/ksm.c, wp_can_reuse_anon_folio() in
 * mm/memory.c, move_vma() in mm/mremap.c, ksm_might_unmap_zero_page() and ksm_fork() in include/linux/ksm.h.
 */
#ifndef LAB_EXPLORE_RULES_KSM_H
#define LAB_EXPLORE_RULES_KSM_H

#include "model.h"

/*
 * What is merged gets a copy of its own (FAULT_FLAG_UNSHARE), with its bits; the zero page of KSM a page of zeros.
 * Whether it was merged nobody knows, so it may also stay as it is.
 */
static inline void page_unmerge(struct model *model, struct page *page)
{
	if (page->merged && may(page, ANON)) {
		page->own |= YES;
		page->tied = 0;
	}
	if (page->ksm_zero && may(page, ZERO)) {
		page->may |= ANON;
		page->own = EITHER;
		page->frame = ++model->frames;
		page->tied = 0;
	}
}

/* Whether KSM may look at a page: anonymous, in memory, and nobody holds it (write_protect_page()). */
static inline int ksm_takes(const struct model *model, int proc, int at)
{
	const struct page *page = &model->procs[proc].pages[at];

	return model->procs[proc].alive && page->attr.mergeable && may(page, ANON) && !page->pinned;
}

/* Whether two pages may hold the same. */
static inline int may_be_alike(const struct page *a, const struct page *b)
{
	return bytes_same(&a->bytes, &b->bytes) || (a->has_other && bytes_same(&a->other, &b->bytes)) ||
	       (b->has_other && bytes_same(&a->bytes, &b->other)) ||
	       (a->has_other && b->has_other && bytes_same(&a->other, &b->other));
}

/*
 * What a page that may have been replaced may have lost: replace_page() makes a new entry that has neither bit, and clears
 * PageAnonExclusive() before.
 */
static inline void ksm_touched(struct page *page)
{
	page->own |= NO;
	page->wp |= NO;
	page->dirty |= NO;
	page->tied = 0;
}

/* Pages of either number, whoever has them, may now be in one frame, or in several. */
static inline void ksm_unite(struct model *model, uint32_t one, uint32_t other)
{
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		struct page *page = &model->procs[i / PAGES].pages[i % PAGES];

		if (!model->procs[i / PAGES].alive || !(page->may & (ANON | SWAP)) ||
		    (page->frame != one && page->frame != other))
			continue;
		page->frame = one;
		page->tied = 0;
		page->merged = 1;
		/* One that nobody held could be the one which the others are merged into. */
		if (page->attr.mergeable)
			page->own |= NO;
	}
}

/* The daemon goes through all of it, twice and more: pages that are alike may become one. */
static inline void ksm_merge(struct model *model, int zeros)
{
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		struct page *page = &model->procs[i / PAGES].pages[i % PAGES];

		if (!ksm_takes(model, i / PAGES, i % PAGES))
			continue;
		for (int k = i + 1; k < PROCESSES * PAGES; k++) {
			struct page *other = &model->procs[k / PAGES].pages[k % PAGES];

			if (!ksm_takes(model, k / PAGES, k % PAGES) || !may_be_alike(page, other))
				continue;
			ksm_unite(model, page->frame, other->frame);
			ksm_touched(page);
			ksm_touched(other);
		}
		if (zeros && may_be_zeros(page)) {
			ksm_touched(page);
			/* It is told from others by its dirty bit, and soft-dirty with it: pte_mkdirty() of x86. */
			page->dirty = EITHER;
			page->ksm_zero = 1;
			model->procs[i / PAGES].ksm_lost |= may(page, ZERO) ? 1 : 0;
			page->may |= ZERO;
		}
	}
}

static inline int any_mergeable(const struct model *model)
{
	for (int i = 0; i < PROCESSES * PAGES; i++)
		if (model->procs[i / PAGES].alive && model->procs[i / PAGES].pages[i % PAGES].attr.mergeable)
			return 1;
	return 0;
}

/* Without anything that may be merged no scan comes to an end, since none begins: scan_get_next_rmap_item(). */
static inline void rule_ksm(struct model *model, const struct step *step, struct outcome *out)
{
	out->skip = !(model->can & CAN_KSMD) || !any_mergeable(model);
	if (out->skip)
		return;
	may_be(out, 0);
	model->ksm = 1;
	if (step->how != KSM_UNMERGE) {
		ksm_merge(model, step->how == KSM_ZEROS);
		model->ksm_zeros |= step->how == KSM_ZEROS;
		return;
	}
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		struct page *page = &model->procs[i / PAGES].pages[i % PAGES];

		if (model->procs[i / PAGES].alive && page->attr.mergeable)
			page_unmerge(model, page);
	}
}

#endif
