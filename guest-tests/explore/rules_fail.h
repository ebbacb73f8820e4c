/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a step may come to for want of memory: which errors, and whether it leaves everything as it was.
 */
#ifndef LAB_EXPLORE_RULES_FAIL_H
#define LAB_EXPLORE_RULES_FAIL_H

#include "model.h"

/* Whether an allocation of a step can be made to fail: it has some, and its process is there afterwards. */
static inline int fail_tried(const struct step *step)
{
	return step->op != OP_EXIT && step->op != OP_KILL && step->op != OP_CLEAR_DIRTY && step->op != OP_KSM &&
	       step->op != OP_FOLIOS && step->op != OP_SPLIT && step->op != OP_WAKE && step->op != OP_CLOSE;
}

/*
 * ENOMEM, which madvise() turns into EAGAIN where it is about mappings (madvise_walk_vmas(), madvise_vma_behavior()
 * of v6.12), and mlock() into EAGAIN (__mlock_posix_error_return()).  What is copied for another process, or out of
 * a page that cannot be had, is EFAULT (process_vm_rw_single_vec(), __get_user_pages() of a fault that failed).
 */
static inline int fail_allowed(const struct step *step, int err)
{
	switch (step->op) {
	case OP_OTHER_READ:
	case OP_OTHER_WRITE:
	case OP_POPULATE_READ:
	case OP_POPULATE_WRITE:
	case OP_FILE_WRITE:
	case OP_FILE_READ:
		return err == ENOMEM || err == EFAULT;
	case OP_MMAP:
		/* No memory for a tmpfs inode is ENOSPC (__shmem_get_inode() of v6.12), which mmap(2) does not know. */
		return err == ENOMEM || (err == ENOSPC && step->how & MAP_HOW_SHARED);
	default:
		return err == ENOMEM || err == EAGAIN;
	}
}

/* Whether a step may say ENOMEM or EAGAIN though it has all the memory it wants: which it was nobody can tell. */
static inline int fail_ambiguous(const struct outcome *out)
{
	return is_allowed(out, ENOMEM) || is_allowed(out, EAGAIN);
}

/*
 * Whether a step that was done in spite of an allocation that failed is done whole.  mremap() that cannot split what
 * it has moved leaves it mapped, on purpose (move_vma() of v6.12: "OOM: unable to split vma, just get accounts right").
 */
static inline int fail_done_whole(const struct step *step)
{
	return !step_populates(step) && step->op != OP_REMAP && step->op != OP_LEAVE;
}

/*
 * Whether a step that could not get memory has changed nothing.  Otherwise a part of it may have been done:
 *
 * - what goes from mapping to mapping or from page to page ends where it could not go on (mprotect(2), madvise(2),
 *   mlock(2), MADV_POPULATE_READ, MADV_GUARD_INSTALL, UFFDIO_WRITEPROTECT);
 * - MAP_FIXED and MREMAP_FIXED have taken away what was there before (mmap(2): "the overlapped part of the existing
 *   mapping(s) will be discarded"; mremap_to() of v6.12);
 * - MAP_POPULATE says nothing of pages that it could not get (mmap(2)).
 */
static inline int fail_whole(const struct model *model, const struct step *step)
{
	const struct process *proc = &model->procs[step->proc];

	switch (step->op) {
	case OP_MMAP:
	case OP_MAP_FILE:
		return !step_populates(step) && !any_mapped(proc, step->at, step->n);
	case OP_REMAP:
		return step->len >= step->n && !any_mapped(proc, step->to, step->len);
	case OP_LEAVE:
		return !any_mapped(proc, step->to, step->n);
	case OP_MLOCK:
	case OP_MLOCK_ONFAULT:
	case OP_POPULATE_READ:
	case OP_POPULATE_WRITE:
	case OP_GUARD:
	case OP_UNGUARD:
	case OP_PROTECT:
	case OP_OTHER_READ:
	case OP_OTHER_WRITE:
	case OP_SCAN:
		return 0;
	case OP_MPROTECT:
	case OP_MUNLOCK:
	case OP_HUGEPAGE:
	case OP_NOHUGEPAGE:
	case OP_MERGEABLE:
	case OP_UNMERGEABLE:
	case OP_DONTFORK:
	case OP_DOFORK:
	case OP_WIPEONFORK:
	case OP_KEEPONFORK:
	case OP_REGISTER:
		return one_mapping(proc, step->at, step->n);
	case OP_UNREGISTER:
		/* Protection is taken away before the mapping is split (userfaultfd_unregister() of v6.12). */
		return one_mapping(proc, step->at, step->n) && !(proc->pages[step->at].attr.reg & REG_WP);
	default:
		return 1;
	}
}

/*
 * What a step that failed leaves behind all the same: pages that a fork() got to are nobody's alone any more
 * (copy_present_pte() of v6.12 clears PageAnonExclusive of the parent's).
 */
static inline void fail_traces(struct model *model, const struct step *step)
{
	for (int i = 0; step->op == OP_FORK && i < PAGES; i++) {
		struct page *page = &model->procs[step->proc].pages[i];

		page_reclaim(model, page);
		if (page->attr.mapped && !page->attr.shared && may(page, ANON | SWAP))
			page->own |= NO;
	}
}

#endif
