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

/* The pages that a step is about, a bit each. */
static inline uint64_t race_pages(const struct step *step)
{
	uint64_t range = ((uint64_t)1 << (step->n ? step->n : 1)) - 1;

	return range << step->at | (step->op == OP_MOVE ? range << step->to : 0);
}

/*
 * Whether two of which one moves pages meet at more than a page.  move_pages_pte() looks at the destination, then at
 * the source, each under its lock, and takes both only for what it moves: what it found wrong may be of two moments.
 */
static inline int race_between(const struct step *move, const struct step *other)
{
	if (move->op != OP_MOVE || race_kind(other) != RACE_PAGES)
		return 0;
	return __builtin_popcountll(race_pages(move) & race_pages(other)) > 1 ||
	       __builtin_popcountll(race_pages(move)) < 2 * move->n;
}

/*
 * userfaultfd_clear_vma() takes the protection from the pages before vma_modify_flags_uffd() locks the mapping: mfill_atomic(),
 * which has that lock alone, may put one behind it that stays protected (v6.12, and seen in 6.18.44).
 */
static inline int race_stays_protected(const struct step *unregister, const struct step *copy)
{
	return unregister->op == OP_UNREGISTER && copy->op == OP_COPY && copy->how;
}

/*
 * Whether two steps may be beside each other.  Two that go from page to page may meet in another order at each
 * page, which is no order of the two: so one of them has to be about one page, and no two of them meet at two.  Two that
 * hold the lock for writing wait for each other, and which mappings there were in between nobody saw.  A process
 * forks in its first thread.
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
	if (race_between(first, second) || race_between(second, first) || race_stays_protected(first, second) ||
	    race_stays_protected(second, first))
		return 0;
	return a != b || race_single(first) || race_single(second);
}

/*
 * Whether a step may be beside so many others that are beside each other.  Each two of them may be.  Of three, one
 * holds the lock, goes over several pages or moves one; the others are about a page, so that each comes to pass at a moment,
 * and what those moments and the page of each say of before and after is one order.  With two that are about several
 * pages the first could be before the second at a page, which is before the third, which is before the first at another.
 * MADV_PAGEOUT unmaps what it took after it let go of the page's lock (shrink_folio_list()), which a third one could
 * have done things to.
 */
static inline int race_beside(const struct step *others, int count, const struct step *step)
{
	int several = 0, late = step->op == OP_PAGEOUT;

	for (int i = 0; i < count; i++) {
		if (!race_together(&others[i], step))
			return 0;
		several += race_kind(&others[i]) == RACE_PAGES && __builtin_popcountll(race_pages(&others[i])) > 1;
		late |= others[i].op == OP_PAGEOUT;
	}
	several += race_kind(step) == RACE_PAGES && __builtin_popcountll(race_pages(step)) > 1;
	return count < 2 || (!late && several < 2);
}

#endif
