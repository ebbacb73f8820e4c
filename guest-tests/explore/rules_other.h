/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: what is done to a process from outside, and by a child in its memory.
 *
 * Sources: process_vm_readv(2), process_madvise(2), vfork(2), Documentation/admin-guide/mm/pagemap.rst; v6.12:
 * process_vm_rw_single_vec() in mm/process_vm_access.c, gup_must_unshare() in mm/internal.h, do_wp_page() and
 * wp_page_copy() in mm/memory.c, process_madvise() in mm/madvise.c, pagemap_scan_pmd_entry() in
 * fs/proc/task_mmu.c.
 */
#ifndef LAB_EXPLORE_RULES_OTHER_H
#define LAB_EXPLORE_RULES_OTHER_H

#include "rules_advice.h"

/*
 * A pin for reading: an anonymous page that is not its owner's alone is copied first, or becomes it where
 * nobody else has it any more, and keeps its bits either way (FAULT_FLAG_UNSHARE).
 */
static inline void unshared(struct model *model, struct page *page)
{
	if (!may(page, ANON) || page->own == YES)
		return;
	page->own = YES;
	page->frame = ++model->frames;
	page->tied = 1;
	page->merged = 0;
}

/* A page of another process, or of its own, by get_user_pages(): what raises a signal otherwise is EFAULT. */
static inline void rule_other_access(struct model *model, const struct step *step, const struct answer *got,
				     struct outcome *out)
{
	struct step access = { .proc = step->to, .at = step->at, .spot = step->spot, .byte = step->byte,
			       .op = step->op == OP_OTHER_READ ? OP_READ : OP_WRITE };
	struct outcome inner = { 0 };

	rule_access(model, &access, got, &inner);
	for (int i = 0; i < inner.count; i++)
		may_be(out, inner.err[i] ? EFAULT : 0);
	out->values = inner.values;
	memcpy(out->value, inner.value, sizeof(out->value));
	if (step->op == OP_OTHER_READ && is_allowed(out, 0))
		unshared(model, &model->procs[step->to].pages[step->at]);
}

static inline void rule_other(struct model *model, const struct step *step, const struct answer *got,
			      struct outcome *out)
{
	struct step inner = *step;

	if (step->op == OP_VFORK) {
		/* CLONE_VM: what the child does the parent has done, and its end takes nothing along. */
		inner.op = OP_POKE;
		rule_access(model, &inner, got, out);
		return;
	}
	out->skip = !model->procs[step->to].alive;
	if (out->skip)
		return;
	if (step->op != OP_OTHER_ADVISE) {
		rule_other_access(model, step, got, out);
		return;
	}
	/* One range: what madvise() says (do_madvise()). */
	inner.proc = step->to;
	inner.op = other_op[step->how];
	rule_advise(model, &inner, out);
}

/*
 * Without protecting nothing changes; look_scan() has what it must tell.  With it, and no place for an answer:
 * every page of what is registered for asynchronous write protection, one that is not there gets a marker;
 * all else is passed over (pagemap_scan_test_walk()).
 */
static inline void rule_scan(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];

	out->skip = !(model->can & CAN_SCAN);
	/* A marker of poison or guard is given the bit of a swap slot, which means nothing. */
	for (int i = step->at; step->how == SCAN_PROTECT && i < step->at + step->n; i++)
		if (proc->pages[i].may & (POISON | GUARD))
			out->skip = 1;
	if (out->skip)
		return;
	may_be(out, 0);
	for (int i = step->at; step->how == SCAN_PROTECT && i < step->at + step->n; i++) {
		struct page *page = &proc->pages[i];

		if (!page->attr.mapped || !proc->async || !(page->attr.reg & REG_WP))
			continue;
		page_reclaim(model, page);
		page->wp = YES;
		if (page->may & NONE)
			page->may = (uint8_t)((page->may & ~NONE) | MARK);
	}
}

#endif
