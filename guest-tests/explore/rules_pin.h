/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: holders of pages, a long-term pin (io_uring_register_buffers(2)) and a page in a pipe (vmsplice(2)).
 *
 * Sources: Documentation/core-api/pin_user_pages.rst; v6.12: io_sqe_buffer_register() in io_uring/rsrc.c,
 * folio_try_dup_anon_rmap_pte(), move_present_pte() in mm/userfaultfd.c, shrink_folio_list() in mm/vmscan.c and
 * try_to_unmap_one() in mm/rmap.c, of what is pinned; vmsplice_to_pipe() in fs/splice.c.
 *
 * Not modelled, so not carried out: pins of shared memory, of files, of what is registered with userfaultfd or
 * lazily freed.
 */
#ifndef LAB_EXPLORE_RULES_PIN_H
#define LAB_EXPLORE_RULES_PIN_H

#include "rules_fault.h"

static inline void unpin_all(struct model *model, int proc)
{
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		struct page *page = &model->procs[i / PAGES].pages[i % PAGES];

		if (page->pinned == proc + 1)
			page->pinned = 0;
	}
	model->procs[proc].pins = 0;
}

/* A pin writes: afterwards each page is the process's alone, and stays in its frame until it is unpinned. */
static inline void rule_pin(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];

	out->skip = !(model->can & CAN_PIN) || (model->large && step->op == OP_PIN) || !proc->pins == (step->op == OP_UNPIN);
	for (int i = step->at; step->op == OP_PIN && i < step->at + step->n; i++) {
		const struct page *page = &proc->pages[i];

		if (!page->attr.mapped || is_backed(page) || page->attr.prot != PROT_RW || page->attr.reg ||
		    page->lazy || may(page, MARKERS) || page->pinned)
			out->skip = 1;
	}
	if (out->skip)
		return;
	may_be(out, 0);
	if (step->op == OP_UNPIN) {
		unpin_all(model, step->proc);
		return;
	}
	for (int i = step->at; i < step->at + step->n; i++) {
		(void)fault(model, proc, i, 1);
		proc->pages[i].pinned = (uint8_t)(step->proc + 1);
	}
	proc->pins = 1;
}

/* A page in a pipe is read, and has one more reference: nothing that the model says of it changes. */
static inline void rule_splice(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	const struct attr *attr = &proc->pages[step->at].attr;
	int ends;

	if (step->op == OP_DRAIN) {
		out->skip = !proc->spliced;
		proc->spliced = 0;
		may_be(out, 0);
		return;
	}
	out->skip = proc->spliced >= SPLICED_MOST || model->large;
	if (out->skip)
		return;
	if (!attr->mapped || attr->prot == PROT_NO) {
		may_be(out, EFAULT);
		return;
	}
	ends = fault(model, proc, step->at, 0);
	if (ends & FAULT_OK) {
		proc->spliced++;
		may_be(out, 0);
	}
	if (ends & FAULT_FAILS)
		may_be(out, EFAULT);
}

#endif
