/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs that say the same of several kinds of pages take the kind as their argument: "base"
 * (the default), "swap" (swapped out before the move) or "huge" (one aligned huge page).
 */
#ifndef LAB_KIND_H
#define LAB_KIND_H

#include <stddef.h>
#include <stdint.h>

#include "uffd.h"

enum kind { KIND_BASE, KIND_SWAP, KIND_HUGE };

/* Take it from the command line; leaves with status 2 where it is none of them. */
void kind_parse(int argc, char **argv);
enum kind kind(void);

/* Why there are no pages of that kind, as a skip reason, or NULL. */
const char *kind_why_no_pages(void);

/* Why the kernel cannot move pages of that kind, as a skip reason, or NULL. */
const char *kind_why_not(void);

/* Bytes of what kind_pair() makes: some base pages, or a huge page. */
size_t kind_len(void);

/* A source that holds mem_fill(seed), still in memory, and an empty destination, unregistered. */
struct uffd_pair kind_pages(unsigned int seed);

/* The same with a userfaultfd of these features, and the destination registered for these modes. */
struct uffd_pair kind_pair(uint64_t features, uint64_t mode, unsigned int seed);

/* What has to be done before the move: swaps a range out where that is the kind. */
void kind_settle(char *start, size_t len);

/* uffd_pair() of so many pages, or uffd_pair_huge(), with that done: its source can be moved. */
struct uffd_pair kind_settled(size_t pages, unsigned int seed);

/*
 * Move all of it and check all that holds of every move: success, the last field, the same frame
 * or swap slot in each page of the destination, an empty source, a huge page that stays huge,
 * counters that agree with the page tables and are conserved.  The steps are a pair for the ledger.
 */
void kind_move(const struct uffd_pair *pair, const char *before_move, const char *after_move);

/*
 * Whether huge pages move whole: huge is what was chosen, and no fault since kind_pages() failed to get
 * a huge page.  Such a fault, a missing one too, leaves a page table behind, and then the move splits
 * (do_huge_pmd_anonymous_page() of v6.12 allocates before it calls the userfault).
 */
int kind_stays_huge(void);

#endif
