/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: userfaultfd, one a process, with UFFD_FEATURE_SIGBUS and without events.
 *
 * Sources: ioctl_userfaultfd(2); v6.12: fs/userfaultfd.c, mfill_atomic(), mwriteprotect_range(),
 * move_pages() and validate_move_areas() in mm/userfaultfd.c, change_pte_range() in mm/mprotect.c.
 *
 * Not modelled, so not carried out: registering memfds and, but for minor faults, shared memory, and registering anew without write
 * protection what has it.
 */
#ifndef LAB_EXPLORE_RULES_UFFD_H
#define LAB_EXPLORE_RULES_UFFD_H

#include "rules_fault.h"

static inline void unprotect(struct page *page)
{
	page->wp = NO;
	if (page->may & MARK)
		page->may = (uint8_t)((page->may & ~MARK) | NONE);
}

/* userfaultfd_clear_vma(): protection goes with the registration. */
static inline void unregister_page(struct page *page)
{
	if (page->attr.reg & REG_WP)
		unprotect(page);
	page->attr.reg = 0;
}

static inline void rule_uffd(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];

	out->skip = proc->uffd || (step->how == UFFD_MARKERS && !(model->can & CAN_MARKERS)) ||
		    (step->how == UFFD_ASYNC && !(model->can & CAN_ASYNC));
	proc->uffd = 1;
	/* "WP_ASYNC relies on WP_UNPOPULATED, choose it unconditionally": userfaultfd_api(). */
	proc->markers = step->how == UFFD_MARKERS || step->how == UFFD_ASYNC;
	proc->async = step->how == UFFD_ASYNC;
	may_be(out, 0);
}

/* userfaultfd_release_all(): every mapping that is registered with it. */
static inline void rule_close(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];

	for (int i = 0; i < PAGES; i++)
		unregister_page(&proc->pages[i]);
	mappings_changed(proc);
	proc->uffd = proc->async = 0;
	may_be(out, 0);
}

/* What is modelled: minor faults of shared memory, the other modes of anonymous memory. */
static inline int takes(const struct page *page, int mode)
{
	return mode & REG_MINOR ? page->attr.shared : !is_backed(page);
}

/* Holes do not matter, but for a range of nothing else; the new mode takes the old one's place. */
static inline void rule_register(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];

	out->skip = (step->how & REG_WP && !(model->can & CAN_WP)) || !step->how ||
		    (step->how & REG_MINOR && !(model->can & CAN_MINOR));
	for (int i = step->at; i < step->at + step->n; i++)
		if (proc->pages[i].attr.mapped && !takes(&proc->pages[i], step->how))
			out->skip = 1;
		else if (proc->pages[i].attr.reg & REG_WP && !(step->how & REG_WP))
			out->skip = 1;
	if (out->skip)
		return;
	may_be(out, any_mapped(proc, step->at, step->n) ? 0 : EINVAL);
	for (int i = step->at; i < step->at + step->n; i++) {
		struct attr *attr = &proc->pages[i].attr;

		if (attr->mapped && (attr->reg & step->how) != step->how)
			attr->reg = step->how;
	}
	mappings_changed(proc);
}

static inline void rule_unregister(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];

	/* Any memory is allowed that could be registered: vma_can_userfault(), shmem private or shared. */
	may_be(out, any_mapped(proc, step->at, step->n) ? 0 : EINVAL);
	for (int i = step->at; i < step->at + step->n; i++)
		unregister_page(&proc->pages[i]);
	mappings_changed(proc);
}

/*
 * Of a call that goes page by page: how far it may have come.  Where there is an answer, what was done is
 * `done` pages; err is what page `done` may say, or 0.  EAGAIN stands for an error behind the first page.
 */
static inline void may_stop(struct outcome *out, int page, int err)
{
	may_be(out, page && err ? EAGAIN : err);
}

/*
 * UFFDIO_COPY, UFFDIO_ZEROPAGE and UFFDIO_POISON: within one registered mapping (ENOENT), whatever its protection is; what
 * is there is not overwritten (EEXIST), but a marker is, by a copy.
 */
static inline void rule_fill(struct model *model, const struct step *step, const struct answer *got,
			     struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int copy = step->op == OP_COPY, free = NONE | (copy ? MARK : 0);
	/* A copy takes any marker's place (pte_none_mostly()), of which later kernels may think better. */
	int allowed = free | (copy ? POISON | GUARD : 0);
	int done = got ? got->done : step->n, i;

	out->skip = any_backed(proc, step->at, step->n);
	if (out->skip)
		return;
	if (!one_mapping(proc, step->at, step->n) || !proc->pages[step->at].attr.reg) {
		may_be(out, ENOENT);
		return;
	}
	if (copy && step->how && !(proc->pages[step->at].attr.reg & REG_WP)) {
		may_be(out, EINVAL);
		return;
	}
	for (i = 0; i < step->n; i++) {
		struct page *page = &proc->pages[step->at + i];

		page_reclaim(model, page);
		if (may(page, ~free))
			may_stop(out, i, EEXIST);
		if (!may(page, allowed) || i >= done)
			break;
		page_empty(page);
		page->may = step->op == OP_POISON ? POISON : ZERO;
		page->bytes = bytes_of(copy ? step->byte : 0);
		if (!copy)
			continue;
		page_fresh(model, page);
		page->dirty = YES;
		page->wp = step->how ? YES : NO;
	}
	if (i == step->n)
		may_be(out, 0);
}

/*
 * UFFDIO_CONTINUE: shared memory only (EINVAL); maps what the object has (EFAULT), within its end (EINVAL), where
 * nothing is mapped yet (EEXIST): mfill_atomic_pte_continue().
 */
static inline void rule_continue(struct model *model, const struct step *step, const struct answer *got,
				 struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int done = got ? got->done : step->n, i;

	if (!one_mapping(proc, step->at, step->n) || !proc->pages[step->at].attr.reg) {
		may_be(out, ENOENT);
		return;
	}
	if (!is_backed(&proc->pages[step->at])) {
		may_be(out, EINVAL);
		return;
	}
	for (i = 0; i < step->n; i++) {
		struct page *page = &proc->pages[step->at + i];
		uint8_t *has = object_has(model, page);

		page_reclaim(model, page);
		if (beyond(model, page)) {
			may_stop(out, i, EINVAL);
			break;
		}
		if (*has & NO)
			may_stop(out, i, EFAULT);
		if (*has & YES && page->may & SHMEM)
			may_stop(out, i, EEXIST);
		if (*has == NO || !(page->may & NONE) || i >= done)
			break;
		page->may = NONE | SHMEM;
		*has = YES;
	}
	if (i == step->n)
		may_be(out, 0);
}

/* Mappings one after another up to one that is not registered for it (ENOENT); holes do not matter. */
static inline void rule_protect(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int err = ENOENT;

	for (int i = step->at; i < step->at + step->n; i++) {
		struct page *page = &proc->pages[i];

		if (!page->attr.mapped)
			continue;
		err = page->attr.reg & REG_WP ? 0 : ENOENT;
		if (err)
			break;
		/* What is no page and no swap slot otherwise is passed over: change_pte_range(). */
		if (must(page, POISON | GUARD))
			continue;
		page_reclaim(model, page);
		if (step->op == OP_UNPROTECT) {
			unprotect(page);
			continue;
		}
		/* An entry that is empty is passed over without UFFD_FEATURE_WP_UNPOPULATED. */
		page->wp = !(page->may & NONE) || proc->markers ? YES : must(page, NONE) ? NO : EITHER;
		if (page->may & NONE && proc->markers)
			page->may = (uint8_t)((page->may & ~NONE) | MARK);
	}
	may_be(out, err);
}

/* One page of a move: what it may say. */
static inline void move_page_may(struct model *model, struct page *from, struct page *to, int holes, int i,
				 struct outcome *out, int *goes)
{
	page_reclaim(model, from);
	page_reclaim(model, to);
	*goes = may(to, NONE);
	if (may(to, ~NONE))
		may_stop(out, i, EEXIST);
	if (may(from, NONE) && !holes)
		may_stop(out, i, ENOENT);
	if (may(from, MARKERS))
		may_stop(out, i, EFAULT);
	/* "For large folios, return -EBUSY immediately", and what cannot be split now. */
	if (model->large && may(from, ANON | SWAP))
		may_stop(out, i, EBUSY);
	/* Not what is shared, and not what is pinned: move_present_pte(). */
	if (may(from, ANON | SWAP) && (from->own & NO || from->pinned))
		may_stop(out, i, EBUSY);
	*goes = *goes && (may(from, ZERO) || (may(from, NONE) && holes) ||
			  (may(from, ANON | SWAP) && from->own & YES && !from->pinned));
}

/* One page that was moved; the look tells what it was where that is not sure. */
static inline void move_page(struct model *model, struct page *from, struct page *to)
{
	struct attr attr = to->attr;
	uint8_t mapping_dirty = to->mapping_dirty, joined = to->joined;
	int was = from->may;

	*to = *from;
	to->attr = attr;
	to->mapping_dirty = mapping_dirty;
	to->joined = joined;
	to->may = (uint8_t)(was & ~MARKERS);
	/* move_present_pte() makes a new entry; move_swap_pte() takes it along (docs/findings.md). */
	to->wp = was & SWAP ? from->wp | NO : NO;
	/* move_zeropage_pte() makes a clean one. */
	to->dirty = was & ~(ANON | SWAP) ? EITHER : YES;
	/* It went, so it was its owner's alone: whoever else had it has another. */
	if (from->own != YES && may(to, ANON | SWAP)) {
		to->frame = ++model->frames;
		to->tied = must(to, ANON);
	}
	to->own = YES;
	to->merged = to->ksm_zero = 0;
	/* move_present_pte() makes the entry dirty only if it was. */
	page_empty(from);
}

/*
 * UFFDIO_MOVE: source and destination in one mapping each, of the same protection and lock, writable, the
 * destination registered with it (validate_move_areas()); then page by page.
 */
static inline void rule_move(struct model *model, const struct step *step, const struct answer *got,
			     struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	const struct page *from = &proc->pages[step->at], *to = &proc->pages[step->to];
	int done = got ? got->done : step->n, goes = 1, i;

	out->skip = !(model->can & CAN_MOVE) || step->to + step->n > PAGES ||
		    (step->at < step->to + step->n && step->to < step->at + step->n);
	/* A page that is swapped out takes its protection along, one of KSM's zeros stays counted (docs/findings.md). */
	for (i = 0; model->known && !out->skip && i < step->n; i++)
		out->skip = (from[i].may & SWAP && from[i].wp & YES) || (from[i].may & ZERO && from[i].ksm_zero);
	if (out->skip)
		return;
	if (!from->attr.mapped || !to->attr.mapped) {
		may_be(out, ENOENT);
		return;
	}
	if (is_backed(from) || is_backed(to) || !one_mapping(proc, step->at, step->n) ||
	    !one_mapping(proc, step->to, step->n) || from->attr.prot != PROT_RW ||
	    to->attr.prot != PROT_RW || !from->attr.lock != !to->attr.lock || !to->attr.reg) {
		may_be(out, EINVAL);
		return;
	}
	for (i = 0; i < step->n; i++) {
		move_page_may(model, &proc->pages[step->at + i], &proc->pages[step->to + i], step->how, i,
			      out, &goes);
		if (!goes || i >= done)
			break;
		move_page(model, &proc->pages[step->at + i], &proc->pages[step->to + i]);
	}
	if (i == step->n)
		may_be(out, 0);
}

static inline void rule_userfault(struct model *model, const struct step *step, const struct answer *got,
				  struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];

	out->skip = !(model->can & CAN_UFFD) || (step->op != OP_UFFD && !proc->uffd) ||
		    (step->op == OP_POISON && !(model->can & CAN_POISON)) ||
		    (step->op == OP_CONTINUE && !(model->can & CAN_MINOR));
	if (out->skip)
		return;
	switch (step->op) {
	case OP_UFFD:
		rule_uffd(model, step, out);
		break;
	case OP_REGISTER:
		rule_register(model, step, out);
		break;
	case OP_UNREGISTER:
		rule_unregister(model, step, out);
		break;
	case OP_COPY:
	case OP_ZEROPAGE:
	case OP_POISON:
		rule_fill(model, step, got, out);
		break;
	case OP_PROTECT:
	case OP_UNPROTECT:
		rule_protect(model, step, out);
		break;
	case OP_CONTINUE:
		rule_continue(model, step, got, out);
		break;
	case OP_MOVE:
		rule_move(model, step, got, out);
		break;
	case OP_WAKE:
		/* Nobody waits. */
		may_be(out, 0);
		break;
	default:
		rule_close(model, step, out);
	}
}

#endif
