/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Movers for races over huge pages (see race.h; the arena is RACE_HUGE), of two kinds.
 *
 * Carrying: both sides are registered, and so each page is on one side and in one piece at every
 * moment, whatever becomes of the huge page it is part of.  Movers carry huge pages over whole or in
 * unaligned runs, or some of their pages over and back; then what has been split is often put
 * together again (MADV_COLLAPSE), and the other side often gets page tables as if new, because a
 * huge page can move only to where there is none.
 *
 * Refilling (RACE_ONE_WAY): the source is not registered, and adversaries may zap and refault it; a
 * mover fills it anew for every round.  Then a word may be gone or overwritten, but what is there
 * is of this page and of this round.
 */
#ifndef LAB_HUGERACE_H
#define LAB_HUGERACE_H

#include <stddef.h>

#include "race.h"

/* Carrying. */
#define HUGE_HALVES 1u /* two movers share each huge page, and no run crosses its middle */
#define HUGE_NO_COLLAPSE 2u
#define HUGE_RESTS 4u /* what has arrived often rests for a moment, so that others find it whole */
/* Refilling. */
#define HUGE_ZAPS_DST 8u /* what has been moved may vanish */
#define HUGE_UNMAPS 16u /* the source may be without a mapping */
#define HUGE_REMAPS 32u /* and may come back as it was in an earlier round */

/* Before race_run(): how the movers of the case behave. */
void huge_prepare(unsigned int flags);

/* How many threads the mover role is to have: as many as the intensity, an even number of halves. */
int huge_movers(void);

/* How many base pages the arena is to have: a huge page for each mover, but two at the least. */
size_t huge_pages(void);

/* The two movers, for struct race_role. */
void huge_carry(struct race_thread *self);
void huge_refill(struct race_thread *self);

/* A refilling case begins with an empty source, and at a standstill all of it is looked at. */
void huge_refill_prepare(struct race_arena *arena);
void huge_refill_verify(struct race_arena *arena);

/*
 * From now on faults make folios of 16 base pages and no huge pages, until knob_restore(); -1 where
 * the kernel has no such sizes (before v6.8).  Only for refilling cases.
 */
int huge_small_folios(void);

/* A write to the source as an adversary does it in a refilling case; 0 or the signal. */
int huge_write_foreign(struct race_arena *arena, size_t page);

/* A huge page of the arena, as the number of its first page: often one that is just being moved. */
size_t huge_any(struct race_thread *self);

/* MADV_COLLAPSE; 0 or errno. */
int huge_collapse(void *start, size_t len);

/* How many moves took a huge page whole, and how many were put together, since huge_prepare(). */
unsigned long huge_whole_moves(void);
unsigned long huge_collapses(void);

#endif
