/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: mappings.
 *
 * Sources: mmap(2), mremap(2), mprotect(2), mlock(2); v6.12: mmap_region() in mm/mmap.c, mremap_to(),
 * move_vma() and move_ptes() in mm/mremap.c, do_mprotect_pkey() and mprotect_fixup() in mm/mprotect.c,
 * apply_vma_lock_flags() in mm/mlock.c.
 */
#ifndef LAB_EXPLORE_RULES_MAP_H
#define LAB_EXPLORE_RULES_MAP_H

#include "rules_fault.h"
#include "rules_file.h"
#include "rules_ksm.h"

static inline void unmap(struct process *proc, int at, int n)
{
	for (int i = at; i < at + n; i++)
		page_unmap(&proc->pages[i]);
	mappings_changed(proc);
}

/* Where no process maps an object any more, its number is free. */
static inline void objects_collect(struct model *model)
{
	uint8_t seen[OBJECTS] = { 0 };

	for (int i = 0; i < PROCESSES; i++)
		for (int k = 0; model->procs[i].alive && k < PAGES; k++)
			if (is_backed(&model->procs[i].pages[k]))
				seen[model->procs[i].pages[k].object] = 1;
	for (int i = FILES; i < OBJECTS; i++)
		model->objects[i].used = seen[i];
}

static inline int object_new(struct model *model, int pages)
{
	objects_collect(model);
	for (int i = 0; i < OBJECTS; i++) {
		if (model->objects[i].used)
			continue;
		memset(&model->objects[i], 0, sizeof(model->objects[i]));
		model->objects[i].used = 1;
		model->objects[i].pages = (uint8_t)pages;
		memset(model->objects[i].has, NO, sizeof(model->objects[i].has));
		return i;
	}
	return -1;
}

/* MAP_FIXED takes the place of what was there; MAP_FIXED_NOREPLACE is EEXIST; populating may fail unsaid. */
static inline void rule_mmap(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int file = step->op == OP_MAP_FILE, object = step->file, failed = 0;
	int how = file ? file_how[step->how] : step->how;

	if (how & MAP_HOW_NOREPLACE && any_mapped(proc, step->at, step->n)) {
		may_be(out, EEXIST);
		return;
	}
	may_be(out, 0);
	unmap(proc, step->at, step->n);
	if (!file && how & MAP_HOW_SHARED)
		object = object_new(model, step->n);
	if (object < 0) {
		out->skip = 1;
		return;
	}
	for (int i = step->at; i < step->at + step->n; i++) {
		struct page *page = &proc->pages[i];

		page->attr.mapped = 1;
		page->attr.prot = (uint8_t)step_prot_of(step);
		page->attr.shared = how & MAP_HOW_SHARED;
		page->attr.file = (uint8_t)(file ? step->file + 1 : 0);
		page->object = (uint8_t)object;
		page->offset = (uint8_t)(step->from + i - step->at);
		/* "New (or expanded) vma always get soft dirty status": mmap_region(). */
		page->mapping_dirty = YES;
	}
	for (int i = step->at; how & MAP_HOW_POPULATE && i < step->at + step->n; i++)
		(void)populate_next(model, proc, i, &failed);
}

/* mprotect(2), mlock(2): ENOMEM at the first hole, and what lies before it is done. */
static inline int mapped_pages(const struct process *proc, int at, int n)
{
	int count = 0;

	while (count < n && proc->pages[at + count].attr.mapped)
		count++;
	return count;
}

static inline void rule_mprotect(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int pages = mapped_pages(proc, step->at, step->n), failed = 0;

	may_be(out, pages == step->n ? 0 : ENOMEM);
	for (int i = step->at; i < step->at + pages; i++) {
		struct attr *attr = &proc->pages[i].attr;
		int was = attr->prot;

		attr->prot = (uint8_t)step_prot_of(step);
		/* "Private VM_LOCKED VMA becoming writable: trigger COW to avoid major fault on access" */
		if (i == step->at || !proc->pages[i].joined)
			failed = 0;
		if (attr->lock && !attr->shared && was != PROT_RW && attr->prot == PROT_RW)
			(void)populate_next(model, proc, i, &failed);
	}
	mappings_changed(proc);
}

/* A failed fault is ENOMEM too (__mlock_posix_error_return()), and then the range is locked all the same. */
static inline void rule_mlock(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int pages = mapped_pages(proc, step->at, step->n), failed = 0, ends = FAULT_OK;

	for (int i = step->at; i < step->at + pages; i++)
		proc->pages[i].attr.lock = step->op == OP_MLOCK	       ? LOCKED :
					   step->op == OP_MLOCK_ONFAULT ? LOCKED_ONFAULT :
									  UNLOCKED;
	mappings_changed(proc);
	for (int i = step->at; pages == step->n && step->op != OP_MUNLOCK && i < step->at + pages; i++) {
		ends = populate_next(model, proc, i, &failed);
		if (!(ends & FAULT_OK))
			break;
	}
	if (pages == step->n && ends & FAULT_OK)
		may_be(out, 0);
	if (pages < step->n || failed)
		may_be(out, ENOMEM);
}

/* New pages of a mapping that grows, after a page of it. */
static inline void grow(struct process *proc, int last, int n)
{
	const struct page *from = &proc->pages[last];

	for (int i = 1; i <= n; i++) {
		struct page *page = &proc->pages[last + i];

		page_unmap(page);
		page->attr = from->attr;
		page->object = from->object;
		page->offset = (uint8_t)(from->offset + i);
	}
}

/* What is locked is populated where it grew: mm_populate(), whose failures nobody hears of. */
static inline void grown(struct model *model, struct process *proc, int at, int n)
{
	int failed = 0;

	for (int i = at; i < at + n; i++)
		if (proc->pages[i].attr.lock)
			(void)populate_next(model, proc, i, &failed);
}

/*
 * Without MREMAP_MAYMOVE: a shrinking one unmaps the rest, whatever mappings that is in; a growing one has
 * to be within one mapping (EFAULT), at its end, before free space (ENOMEM).
 */
static inline void rule_resize(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int end = step->at + step->n, more = step->len - step->n;

	if (!proc->pages[step->at].attr.mapped) {
		may_be(out, EFAULT);
		return;
	}
	if (more <= 0) {
		may_be(out, 0);
		unmap(proc, step->at + step->len, -more);
		return;
	}
	if (!one_mapping(proc, step->at, step->n)) {
		may_be(out, EFAULT);
		return;
	}
	/* The space beyond the arena is free, but nobody would look there. */
	out->skip = end + more > PAGES;
	if (out->skip)
		return;
	if (any_mapped(proc, end, more)) {
		may_be(out, ENOMEM);
		return;
	}
	may_be(out, 0);
	grow(proc, end - 1, more);
	mappings_changed(proc);
	grown(model, proc, end, more);
}

/*
 * A page at its new place: its entry counts as written (move_soft_dirty_pte()); userfaultfd is left behind
 * without UFFD_FEATURE_EVENT_REMAP, and its protection with it (vma_has_uffd_without_event_remap()).
 */
static inline void moved_page(struct page *page)
{
	if (page->attr.reg) {
		page->wp = NO;
		if (page->may & MARK)
			page->may = (uint8_t)((page->may & ~MARK) | NONE);
	}
	page->attr.reg = 0;
	if (must(page, ANON | SWAP | ZERO | SHMEM))
		page->dirty = YES;
	else if (!must(page, NONE))
		page->dirty |= YES;
}

/*
 * Defects of mremap() that docs/findings.md has; where they are known what would meet them is not done.
 * v6.12 takes the registration from all of the mapping that the moved range becomes part of, a neighbour's
 * too (mremap_userfaultfd_prep()); v6.18 counts what is locked twice with MREMAP_DONTUNMAP, and takes the lock
 * from the whole mapping.
 */
static inline int known_defect(const struct model *model, const struct process *proc,
			       const struct step *step, int len)
{
	const struct attr *attr = &proc->pages[step->at].attr;
	int end = step->to + len;

	if (!model->known)
		return 0;
	if (step->op == OP_LEAVE && model->can & CAN_REMAP_MANY && attr->lock)
		return 1;
	return attr->reg && ((step->to > 0 && proc->pages[step->to - 1].attr.reg) ||
			     (end < PAGES && proc->pages[end].attr.reg));
}

/*
 * Several mappings at once, since v6.17 (mremap(2)): where no length changes.  Only what is surely allowed:
 * private anonymous memory without holes and registrations (vma_multi_allowed(), remap_move()).
 */
static inline int moves_many(const struct process *proc, const struct step *step)
{
	for (int i = step->at; i < step->at + step->n; i++)
		if (!proc->pages[i].attr.mapped || is_backed(&proc->pages[i]) || proc->pages[i].attr.reg)
			return 0;
	return step->op == OP_REMAP && step->n == step->len;
}

/*
 * To a fixed place: what is there is unmapped first, and stays so where the source then turns out to be
 * more than one mapping (EFAULT): mremap_to().
 */
static inline void rule_remap(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *proc = &model->procs[step->proc];
	int leave = step->op == OP_LEAVE, len = leave ? step->n : step->len;
	int n = step->n < len ? step->n : len;
	struct page moving[PAGES];

	out->skip = step->to + len > PAGES || known_defect(model, proc, step, len) ||
		    (model->can & CAN_REMAP_MANY && !one_mapping(proc, step->at, step->n) &&
		     !moves_many(proc, step));
	if (out->skip)
		return;
	if (!proc->pages[step->at].attr.mapped) {
		may_be(out, EFAULT);
		return;
	}
	if (step->at + step->n > step->to && step->to + len > step->at) {
		may_be(out, EINVAL);
		return;
	}
	unmap(proc, step->to, len);
	unmap(proc, step->at + n, step->n - n);
	if (!one_mapping(proc, step->at, n) && !(model->can & CAN_REMAP_MANY)) {
		may_be(out, EFAULT);
		return;
	}
	may_be(out, 0);
	memcpy(moving, &proc->pages[step->at], sizeof(moving[0]) * (size_t)n);
	for (int i = 0; i < n; i++) {
		struct page *old = &proc->pages[step->at + i];

		/* "Advise KSM to break any KSM pages in the area to be moved" */
		if (moving[i].attr.mergeable)
			page_unmerge(model, &moving[i]);
		moved_page(&moving[i]);
		if (leave) {
			/* "We always clear VM_LOCKED[ONFAULT] on the old vma" */
			old->attr.lock = UNLOCKED;
			page_empty(old);
		} else {
			page_unmap(old);
		}
	}
	memcpy(&proc->pages[step->to], moving, sizeof(moving[0]) * (size_t)n);
	grow(proc, step->to + n - 1, len - n);
	mappings_changed(proc);
	grown(model, proc, step->to + n, len - n);
}

#endif
