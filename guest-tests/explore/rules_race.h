/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which steps of one process may be carried out at the same time: those of which the kernel promises that
 * it is as if one came after the other.
 */
#ifndef LAB_EXPLORE_RULES_RACE_H
#define LAB_EXPLORE_RULES_RACE_H

#include "step.h"

enum { RACE_NEVER, RACE_PAGES, RACE_WHOLE };

/*
 * How a step goes on beside others (v6.12).  RACE_WHOLE: it holds the mmap lock for writing from its begin to its
 * end, so that no fault and no other step comes into its midst.  RACE_PAGES: it holds it, or its mapping's, for
 * reading and goes from page to page, each under its page table's lock; nothing that changes mappings comes into
 * its midst.  Anything else lets go of the lock in between (UFFDIO_COPY, MADV_POPULATE_READ), writes more than a
 * byte, or does something after it (mlock(), MAP_POPULATE).
 */
static inline int race_kind(const struct step *step)
{
	switch (step->op) {
	case OP_MMAP:
		return step_populates(step) ? RACE_NEVER : RACE_WHOLE;
	case OP_MUNMAP:
	case OP_RESIZE:
	case OP_REMAP:
	case OP_LEAVE:
	case OP_MPROTECT:
	case OP_MUNLOCK:
	case OP_HUGEPAGE:
	case OP_NOHUGEPAGE:
	case OP_MERGEABLE:
	case OP_DONTFORK:
	case OP_DOFORK:
	case OP_WIPEONFORK:
	case OP_KEEPONFORK:
	case OP_FORK:
	case OP_REGISTER:
	case OP_UNREGISTER:
		return RACE_WHOLE;
	case OP_READ:
	case OP_POKE:
	case OP_DONTNEED:
	case OP_FREE:
	case OP_COLD:
	case OP_PAGEOUT:
	case OP_PROTECT:
	case OP_UNPROTECT:
	case OP_MOVE:
		return RACE_PAGES;
	case OP_COPY:
	case OP_ZEROPAGE:
		return step->n == 1 ? RACE_PAGES : RACE_NEVER;
	default:
		return RACE_NEVER;
	}
}

static inline int race_single(const struct step *step)
{
	return !(forms[step->op].fields & F_N) || step->n == 1;
}

/* Whether a step that moves pages has one of both its ranges in that of another, or the two meet. */
static inline int race_between(const struct step *move, const struct step *other)
{
	int gap = move->at > move->to ? move->at - move->to : move->to - move->at;
	int from = move->at < other->at + other->n && other->at < move->at + move->n;
	int to = move->to < other->at + other->n && other->at < move->to + move->n;

	return move->op == OP_MOVE && race_kind(other) == RACE_PAGES && (gap < move->n || (from && to));
}

/*
 * Whether two steps may be beside each other.  Two that go from page to page may meet in another order at each
 * page, which is no order of the two: so one of them has to be about one page.  UFFDIO_MOVE is about two at once, so
 * that the other one must not go over both: it may be at the one before it, and at the other after it.  Two that hold
 * the lock for writing wait for each other, and which mappings there were in between nobody saw.  A process forks
 * in its first thread.
 */
static inline int race_together(const struct step *first, const struct step *second)
{
	int a = race_kind(first), b = race_kind(second);

	if (first->proc != second->proc || a == RACE_NEVER || b == RACE_NEVER || second->op == OP_FORK)
		return 0;
	if (first->fail || second->fail)
		return 0;
	if (a == RACE_WHOLE && b == RACE_WHOLE)
		return 0;
	if (race_between(first, second) || race_between(second, first))
		return 0;
	return a != b || race_single(first) || race_single(second);
}

/*
 * Whether a step may be beside so many others that are beside each other.  Each two of them may be.  Of three, one
 * holds the lock or goes over several pages at most; the others are about a page, so that each comes to pass at a moment,
 * and what those moments and the page of each say of before and after is one order.  With UFFDIO_MOVE, which ties two
 * pages together, all are: else the one that goes over several could be before the first of the others at
 * its page, which is before the second, which is before it at another page.  MADV_PAGEOUT unmaps what it took after it let go
 * of the page's lock (shrink_folio_list()), which a third one could have done things to.
 */
static inline int race_beside(const struct step *others, int count, const struct step *step)
{
	int several = step->n > 1 && race_kind(step) == RACE_PAGES, moves = step->op == OP_MOVE, late = step->op == OP_PAGEOUT;

	for (int i = 0; i < count; i++) {
		if (!race_together(&others[i], step))
			return 0;
		several |= others[i].n > 1 && race_kind(&others[i]) == RACE_PAGES;
		moves |= others[i].op == OP_MOVE;
		late |= others[i].op == OP_PAGEOUT;
	}
	return count < 2 || (!late && !(several && moves));
}

#endif
