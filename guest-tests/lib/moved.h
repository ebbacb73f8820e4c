/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One call of the move ioctl and everything that has to hold after it, whatever kind of pages the
 * range is made of: present, swapped out, zero pages, holes.
 */
#ifndef LAB_MOVED_H
#define LAB_MOVED_H

#include <stddef.h>
#include <stdint.h>

#include "uffd.h"

/*
 * Move pair's range in one call, which has to move the first done bytes and then stop with err:
 * all of them and 0, a part and EAGAIN, or nothing and any errno; the last field is to the byte.
 *
 * Of what was moved the destination has the same frame (frames.h) or swap slot in each page, and the
 * source is empty.  Of the rest both sides are as they were.  The counters of the process are conserved
 * and agree with the page tables; the ledger's steps are "STEP-before-move" and "STEP-after-move".
 */
void moved_expect(const struct uffd_pair *pair, const char *step, uint64_t mode, size_t done,
		  int err);

/* All of it, and nothing of it. */
void moved_all(const struct uffd_pair *pair, const char *step);
void moved_nothing(const struct uffd_pair *pair, const char *step, int err);

/* What is left of a pair behind its first bytes, and a part of it from an offset. */
struct uffd_pair moved_rest(const struct uffd_pair *pair, size_t done);
struct uffd_pair moved_slice(const struct uffd_pair *pair, size_t from, size_t len);

/* A pair of len bytes, empty on both sides, the destination registered; base pages only if so. */
struct uffd_pair moved_pair(size_t len, size_t align, int base_pages);

/* uffd_pair_huge() that khugepaged keeps off: what gets split stays so. */
struct uffd_pair moved_pair_huge(unsigned int seed);

/* Unmap both sides and close the userfaultfd. */
void moved_drop(struct uffd_pair *pair);

/* Compare a range with mem_fill(seed) of a bigger range that it is a part of, from an offset on. */
void moved_holds(const void *start, size_t len, unsigned int seed, size_t from, const char *what);

#endif
