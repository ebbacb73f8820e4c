/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rules as one: model_step() says what a step may come to, and makes the model what it then has to be.
 */
#ifndef LAB_EXPLORE_RULES_H
#define LAB_EXPLORE_RULES_H

#include "rules_advice.h"
#include "rules_fault.h"
#include "rules_file.h"
#include "rules_ksm.h"
#include "rules_large.h"
#include "rules_map.h"
#include "rules_other.h"
#include "rules_pin.h"
#include "rules_uffd.h"

/*
 * "Page may be pinned, we have to copy": the parent keeps its own, and the child has another
 * (copy_present_page(), which makes the entry dirty, on x86 soft-dirty too).
 */
static inline void fork_pinned(struct model *model, const struct page *mine, struct page *theirs)
{
	theirs->pinned = 0;
	theirs->wp = NO;
	theirs->dirty = EITHER;
	theirs->frame = ++model->frames;
	theirs->tied = must(mine, ANON);
}

/*
 * fork(2), madvise(2): what MADV_DONTFORK says is not there in the child, MADV_WIPEONFORK's is empty; locks
 * and registrations are not inherited, and userfaultfd's protection neither (dup_userfaultfd() without
 * UFFD_FEATURE_EVENT_FORK, copy_present_pte()).  What is copied is nobody's alone any more.
 */
static inline void rule_fork(struct model *model, const struct step *step, struct outcome *out)
{
	struct process *parent = &model->procs[step->proc], *child = &model->procs[step->to];

	out->skip = child->alive;
	if (out->skip)
		return;
	may_be(out, 0);
	*child = *parent;
	child->uffd = child->async = child->pins = child->spliced = 0;
	for (int i = 0; i < PAGES; i++) {
		struct page *mine = &parent->pages[i], *theirs = &child->pages[i];

		if (!mine->attr.mapped)
			continue;
		page_reclaim(model, mine);
		*theirs = *mine;
		theirs->attr.lock = UNLOCKED;
		theirs->attr.reg = 0;
		/* What is counted is taken along as it is: ksm_fork(). */
		child->ksm_lost |= mine->ksm_zero && (mine->attr.dontfork || mine->attr.wipe);
		if (mine->attr.dontfork) {
			page_unmap(theirs);
			continue;
		}
		if (mine->attr.wipe) {
			page_empty(theirs);
			continue;
		}
		if (mine->attr.shared) {
			/* Its tables are not copied. */
			theirs->may |= NONE;
			continue;
		}
		if (mine->pinned) {
			fork_pinned(model, mine, theirs);
			continue;
		}
		if (must(mine, ANON | SWAP))
			mine->own = theirs->own = NO;
		else if (may(mine, ANON | SWAP))
			mine->own = theirs->own = EITHER;
		theirs->wp = NO;
		/* A marker is made anew: copy_nonpresent_pte(). */
		if (may(theirs, MARKERS))
			theirs->dirty |= NO;
		if (may(theirs, MARK))
			theirs->may = (uint8_t)((theirs->may & ~MARK) | NONE);
		/* Tables of a mapping that never had a page of its own are not copied: vma_needs_copy(). */
		if (may(theirs, ZERO | SHMEM)) {
			theirs->may |= NONE;
			theirs->dirty |= NO;
		}
	}
	/* vm_area_dup() takes the flag along, and neighbours without DONTFORK between them stay two. */
	mappings_changed(child);
}

/* Everything goes; the last process stays until the program's end. */
static inline void rule_exit(struct model *model, const struct step *step, struct outcome *out)
{
	out->skip = alive(model) == 1;
	if (out->skip)
		return;
	may_be(out, 0);
	memset(&model->procs[step->proc], 0, sizeof(struct process));
}

/*
 * clear_refs_write() in fs/proc/task_mmu.c: of each mapping and each entry.  Not while a page is pinned: that one stays
 * soft-dirty and writable (pte_is_pinned()), and what is then written to it the bit may not tell.
 */
static inline void rule_clear_dirty(struct model *model, const struct step *step, struct outcome *out)
{
	out->skip = !(model->can & CAN_SOFT_DIRTY);
	for (int i = 0; i < PAGES; i++)
		if (model->procs[step->proc].pages[i].pinned)
			out->skip = 1;
	if (out->skip)
		return;
	may_be(out, 0);
	for (int i = 0; i < PAGES; i++) {
		model->procs[step->proc].pages[i].dirty = NO;
		model->procs[step->proc].pages[i].mapping_dirty = NO;
	}
}

/*
 * Before the step, without an answer, on a copy of the model: whether it can be carried out, and what it may
 * come to.  After it, with the answer: the same, and the model as it is then.  Where the answer is not
 * allowed the model is worth nothing any more.
 */
static inline void model_step(struct model *model, const struct step *step, const struct answer *got,
			      struct outcome *out)
{
	memset(out, 0, sizeof(*out));
	if (!model->procs[step->proc].alive) {
		out->skip = 1;
		return;
	}
	if (step_splits(step))
		folios_split(model);
	switch (step->op) {
	case OP_MMAP:
	case OP_MAP_FILE:
		rule_mmap(model, step, out);
		break;
	case OP_MUNMAP:
		may_be(out, 0);
		unmap(&model->procs[step->proc], step->at, step->n);
		break;
	case OP_RESIZE:
		rule_resize(model, step, out);
		break;
	case OP_REMAP:
	case OP_LEAVE:
		rule_remap(model, step, out);
		break;
	case OP_MPROTECT:
		rule_mprotect(model, step, out);
		break;
	case OP_MLOCK:
	case OP_MLOCK_ONFAULT:
	case OP_MUNLOCK:
		rule_mlock(model, step, out);
		break;
	case OP_POPULATE_READ:
	case OP_POPULATE_WRITE:
		rule_populate(model, step, out);
		break;
	case OP_READ:
	case OP_WRITE:
	case OP_POKE:
		rule_access(model, step, got, out);
		break;
	case OP_VFORK:
	case OP_OTHER_READ:
	case OP_OTHER_WRITE:
	case OP_OTHER_ADVISE:
		rule_other(model, step, got, out);
		break;
	case OP_PIN:
	case OP_UNPIN:
		rule_pin(model, step, out);
		break;
	case OP_SPLICE:
	case OP_DRAIN:
		rule_splice(model, step, out);
		break;
	case OP_SCAN:
		rule_scan(model, step, out);
		break;
	case OP_TRUNCATE:
	case OP_PUNCH:
	case OP_FILE_WRITE:
	case OP_FILE_READ:
		rule_file(model, step, out);
		break;
	case OP_FORK:
		rule_fork(model, step, out);
		break;
	case OP_EXIT:
	case OP_KILL:
		rule_exit(model, step, out);
		break;
	case OP_RECLAIM:
		/* cgroup-v2.rst: as much as it finds; how much that was is not said here. */
		out->skip = !(model->can & CAN_GROUP);
		may_be(out, 0);
		reclaim_any(model);
		break;
	case OP_KSM:
		rule_ksm(model, step, out);
		break;
	case OP_FOLIOS:
	case OP_SPLIT:
		rule_large(model, step, out);
		break;
	case OP_CLEAR_DIRTY:
		rule_clear_dirty(model, step, out);
		break;
	default:
		if (step->op >= OP_UFFD)
			rule_userfault(model, step, got, out);
		else
			rule_advise(model, step, out);
	}
}

/* What a step may come to, before it is carried out; the model stays as it is. */
static inline struct outcome model_ahead(const struct model *model, const struct step *step)
{
	static struct model ahead;
	struct outcome out;

	ahead = *model;
	model_step(&ahead, step, NULL, &out);
	return out;
}

#endif
