/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: what an access does to a page.
 *
 * Sources, all v6.12: handle_pte_fault(), do_anonymous_page(), do_swap_page(), do_wp_page() and
 * pte_marker_handle_uffd_wp() in mm/memory.c; handle_userfault() in fs/userfaultfd.c, which raises SIGBUS
 * for a userfaultfd with UFFD_FEATURE_SIGBUS, ours; shmem_get_folio_gfp() in mm/shmem.c, SIGBUS beyond the
 * object's end, filemap_map_pages() in mm/filemap.c; the order, protection before everything else, is the architecture's fault handler's.
 */
#ifndef LAB_EXPLORE_RULES_FAULT_H
#define LAB_EXPLORE_RULES_FAULT_H

#include "rules_large.h"

/* How a fault may end: a set. */
enum { FAULT_OK = 1, FAULT_BUS = 2, FAULT_SEGV = 4, FAULT_POISON = 8 };
#define FAULT_FAILS (FAULT_BUS | FAULT_SEGV | FAULT_POISON)

/* What the page may be afterwards, put together from what it may have been. */
static inline void becomes(struct page *after, int state, int own, int wp, int dirty)
{
	after->may |= (uint8_t)state;
	after->own |= (uint8_t)own;
	after->wp |= (uint8_t)wp;
	after->dirty |= (uint8_t)dirty;
}

/* From one state that the page may be in, to what a fault makes of it. */
static inline int fault_from(int state, const struct page *was, struct page *after, int write, int async)
{
	int missing = was->attr.reg & REG_MISSING, result = 0;
	/* With UFFD_FEATURE_WP_ASYNC the kernel takes the protection away by itself: do_wp_page(). */
	int guarded = was->attr.reg & REG_WP && was->wp & YES && !async;

	switch (state) {
	case NONE:
		if (was->attr.file) {
			/* do_cow_fault(), do_read_fault(): a copy, or the object's own page. */
			if (write)
				becomes(after, ANON, YES, NO, YES);
			else
				becomes(after, SHMEM, EITHER, NO, NO);
			return FAULT_OK;
		}
		if (missing) {
			becomes(after, NONE, EITHER, NO, NO);
			return FAULT_BUS;
		}
		/* A read gets the zero page, which is clean: do_anonymous_page(). */
		if (write)
			becomes(after, ANON, YES, NO, YES);
		else
			becomes(after, ZERO, EITHER, NO, NO);
		return FAULT_OK;
	case MARK:
		/* One that was left behind is no more than nothing: pte_marker_handle_uffd_wp(). */
		if (!(was->attr.reg & REG_WP))
			return fault_from(NONE, was, after, write, async);
		if (missing) {
			becomes(after, MARK, EITHER, YES, NO);
			return FAULT_BUS;
		}
		/* The protection goes over to the page (vmf_orig_pte_uffd_wp()), and then stops the write. */
		if (write)
			becomes(after, ANON, YES, async ? NO : YES, YES);
		else
			becomes(after, ZERO, EITHER, YES, NO);
		return write && !async ? FAULT_BUS : FAULT_OK;
	case POISON:
		/* "Higher priority than uffd-wp": handle_pte_marker(). */
		becomes(after, POISON, EITHER, was->wp, was->dirty);
		return FAULT_POISON;
	case GUARD:
		becomes(after, GUARD, EITHER, was->wp, was->dirty);
		return FAULT_SEGV;
	case SWAP:
		/*
		 * One that was shared may turn out to be alone by now, and one that was alone may no longer
		 * count as that where it is still being written: "exclusive" in do_swap_page().
		 */
		if (!write || guarded)
			becomes(after, ANON, EITHER, was->wp, was->dirty);
		break;
	default:
		if (!write || guarded)
			becomes(after, state, was->own, was->wp, was->dirty);
	}
	if (!write)
		return FAULT_OK;
	/* do_wp_page(): userfaultfd_pte_wp() first, then reuse or a copy: the writer's alone either way. */
	if (guarded)
		result |= FAULT_BUS;
	if (!guarded || was->wp & NO) {
		becomes(after, ANON, YES, was->attr.reg & REG_WP ? NO : was->wp | NO, YES);
		result |= FAULT_OK;
	}
	return result;
}

/* A page of a shared mapping that its object does not have. */
static inline int beyond(const struct model *model, const struct page *page)
{
	return page->offset >= model->objects[page->object].pages;
}

/* do_fault_around() maps others beside it, even where the page itself is beyond the end. */
static inline void fault_around(const struct model *model, struct process *proc)
{
	for (int i = 0; i < PAGES; i++) {
		struct page *page = &proc->pages[i];

		/* uffd_disable_fault_around() */
		if (!is_backed(page) || !(page->may & (NONE | SHMEM)) || beyond(model, page) ||
		    page->attr.reg & REG_MINOR)
			continue;
		page->may |= NONE | SHMEM;
	}
}

/*
 * A page of shared memory.  Registered for minor faults: one that the object has, and that is not mapped, is for
 * userfaultfd; one that it does not have comes as ever (shmem_get_folio_gfp()).
 */
static inline int fault_shared(struct model *model, struct page *page, int write)
{
	uint8_t *has = object_has(model, page);
	int result = FAULT_OK;

	if (beyond(model, page))
		return FAULT_BUS;
	if (page->attr.reg & REG_MINOR && page->may & NONE && *has & YES)
		result = page->may == NONE && *has == YES ? FAULT_BUS : FAULT_OK | FAULT_BUS;
	/* What was only read is clean, and reclaim may drop it again. */
	if (result & FAULT_OK)
		*has = *has == YES ? YES : EITHER;
	if (write && result == FAULT_OK)
		*has = YES;
	if (page->attr.reg & REG_MINOR && result & FAULT_OK)
		page->may |= SHMEM;
	return result;
}

/* An access that the protection allows. */
static inline int fault(struct model *model, struct process *proc, int at, int write)
{
	struct page *page = &proc->pages[at], was;
	int result = 0;

	page_reclaim(model, page);
	if (is_backed(page) && (page->attr.shared || !write))
		fault_around(model, proc);
	if (page->attr.shared)
		return fault_shared(model, page, write);
	/* shmem_fault() comes before the copy. */
	if (page->attr.file && page->may == NONE && beyond(model, page))
		return FAULT_BUS;
	was = *page;
	/* do_read_fault(), do_cow_fault(): the file gets a page where it had none. */
	if (page->attr.file && may(&was, NONE))
		*object_has(model, page) = *object_has(model, page) == YES ? YES : EITHER;
	/* What was not its own is copied from the object; where that is not sure, it may be either. */
	if (page->attr.file && write && must(&was, NONE | SHMEM)) {
		page->bytes = *object_bytes(model, page);
		page->has_other = 0;
	} else if (page->attr.file && write && may(&was, NONE | SHMEM)) {
		page->other = *object_bytes(model, page);
		page->has_other = 1;
	}
	page->may = page->own = page->wp = page->dirty = 0;
	for (int state = 1; state < 1 << STATES; state <<= 1)
		if (was.may & state)
			result |= fault_from(state, &was, page, write, proc->async);
	fault_large(model, proc, at, was.may, write);
	/* What is pinned is written to where it is. */
	if (write && page->pinned && page->may == ANON)
		return result;
	if (write && result == FAULT_OK) {
		page->frame = ++model->frames;
		page->tied = 1;
		page->merged = 0;
	} else if (write || was.may & SWAP) {
		page->tied = was.own == YES && was.tied;
	}
	if (!page->frame && page->may & (ANON | SWAP))
		page->frame = ++model->frames;
	/* What was lazily freed may have been dropped until the write came, which keeps what is left. */
	if (write && was.lazy) {
		page->has_other = 1;
		page->other = bytes_of(0);
		if (result == FAULT_OK)
			page->lazy = 0;
	}
	return result;
}

/* A page that is either this or that. */
static inline void page_either(struct page *page, const struct page *or)
{
	page->may |= or->may;
	page->own |= or->own;
	page->wp |= or->wp;
	page->dirty |= or->dirty;
	page->lazy |= or->lazy;
	page->merged |= or->merged;
	page->ksm_zero |= or->ksm_zero;
	if (page->frame != or->frame) {
		page->tied = 0;
		page->frame = or->frame ? or->frame : page->frame;
	}
	if (or->has_other) {
		page->has_other = 1;
		page->other = or->other;
	}
}

/*
 * Faults on pages one after another until one fails, as get_user_pages() does; *failed says that one may
 * have failed before, and comes back set where one may have now.  How it may end: a set.
 */
static inline int fault_next(struct model *model, struct process *proc, int at, int write, int *failed)
{
	struct page before = proc->pages[at];
	uint8_t had = is_backed(&before) ? *object_has(model, &before) : NO;
	int result = fault(model, proc, at, write);

	if (*failed)
		page_either(&proc->pages[at], &before);
	if (*failed && is_backed(&before))
		*object_has(model, &before) |= had;
	if (result & FAULT_FAILS)
		*failed = 1;
	return result;
}

/*
 * What mlock(), MAP_POPULATE and mprotect() of locked memory do with one page: populate_vma_page_range() of
 * mm/gup.c.  A private writable mapping is written to, any other only read, and one without access or that
 * is locked on fault not at all.
 */
static inline int populate_next(struct model *model, struct process *proc, int at, int *failed)
{
	const struct attr *attr = &proc->pages[at].attr;

	if (attr->lock == LOCKED_ONFAULT)
		return FAULT_OK;
	if (attr->prot == PROT_NO) {
		*failed = 1;
		return FAULT_BUS;
	}
	return fault_next(model, proc, at, attr->prot == PROT_RW && !attr->shared, failed);
}

/* A reading, or a writing of a page or a byte, by the process itself. */
static inline void rule_access(struct model *model, const struct step *step, const struct answer *got,
			       struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	struct page *page = &proc->pages[step->at];
	int write = step->op != OP_READ, ends;
	struct bytes *bytes;

	if (!page->attr.mapped || page->attr.prot == PROT_NO || (write && page->attr.prot != PROT_RW)) {
		may_be(out, SIGNAL_SEGV);
		return;
	}
	bytes = page_bytes(model, page);
	if (!write) {
		out->value[out->values++] = bytes->spot[step->spot];
		if (page->has_other)
			out->value[out->values++] = page->other.spot[step->spot];
		else if (page->lazy)
			out->value[out->values++] = 0;
		else if (page->attr.file && may(page, NONE | SHMEM) && may(page, ANON | SWAP))
			out->value[out->values++] = object_bytes(model, page)->spot[step->spot];
	}
	ends = fault(model, proc, step->at, write);
	if (ends & FAULT_OK)
		may_be(out, 0);
	if (ends & (FAULT_BUS | FAULT_POISON))
		may_be(out, SIGNAL_BUS);
	if (ends & FAULT_SEGV)
		may_be(out, SIGNAL_SEGV);
	if (!write || !got || got->err)
		return;
	bytes = page_bytes(model, page);
	if (step->op == OP_WRITE) {
		*bytes = bytes_of(step->byte);
		page->has_other = 0;
	} else {
		bytes->spot[step->spot] = step->byte;
		page->other.spot[step->spot] = step->byte;
	}
	/* The write went through, whatever the bits were thought to be. */
	if (!page->attr.shared) {
		page->may = ANON;
		page->own = YES;
		page->wp &= page->attr.reg & REG_WP ? NO : EITHER;
		page->dirty = YES;
		page->lazy = 0;
		if (page->pinned)
			return;
		page->frame = ++model->frames;
		page->tied = 1;
		page->merged = 0;
	}
}

#endif
