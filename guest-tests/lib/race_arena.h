/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The arena of the races: two sides with pages that can be told apart, and accesses to them that may
 * fault.  See race.h.
 */
#ifndef LAB_RACE_ARENA_H
#define LAB_RACE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "race_base.h"

/* Both sides are registered with uffd for missing faults (SIGBUS), unless RACE_ONE_WAY. */
struct race_arena {
	int uffd;
	int pagemap;
	size_t pages;		/* base pages of a side */
	size_t unit;		/* base pages of a unit of moving: 1, or those of a huge page */
	char *side[2];
	unsigned char *at;	/* the side each page is on, as its owner knows */
	int *flips;		/* RACE_SHARED: moves to side 1 minus moves to side 0; atomic */
	uint64_t *hits;		/* successful race_bump()s of each page; atomic */
	int *drops;		/* race_drop()s under way of each place, side 0 first; atomic */
	unsigned int flags;
	uint64_t errnos;
	long migrations;	/* frames changed behind our back when the case began */
};

#define RACE_HUGE 1u	   /* the arena is of huge pages, aligned; skips where there are none */
#define RACE_IDENTITY 2u   /* nobody migrates or swaps: a moved page keeps its frame */
#define RACE_SHARED 4u	   /* movers do not own pages: any may move any, in either direction */
#define RACE_COUNTED 8u	   /* others than the owner increase counters: compared at standstill only */
#define RACE_UNREADABLE 16u /* the new place may be unreadable just after a move */
#define RACE_ONE_WAY 32u   /* only side 1 is registered, nothing is stamped: the case's own mover */
#define RACE_WP 64u	   /* registered for write protection too, where the kernel has it */
#define RACE_REFILLED 128u /* others may put something where a page was moved away */

#define RACE_ERRNO(err) ((uint64_t)1 << (err))

/*
 * Make one with these RACE_ flags, of so many pages (0: 256, or 4 huge pages), for moves that may fail
 * with these RACE_ERRNO()s, beside EAGAIN.
 */
void race_arena_make(struct race_arena *arena, unsigned int flags, size_t pages, uint64_t errnos);
void race_arena_drop(struct race_arena *arena);

/* Once in a program, before the accesses below. */
void race_catch_signals(void);

char *race_at(const struct race_arena *arena, int side, size_t page);
void race_entries(const struct race_arena *arena, int side, size_t page, size_t count,
		  uint64_t *entries);
int race_populated(uint64_t entry); /* present, a swap entry or a migration entry */

/* Accesses that may fault: 0, or the signal (SIGBUS, SIGSEGV) that came instead. */
int race_add(uint64_t *word, uint64_t add, uint64_t *old);
int race_read(const void *from, void *to, size_t len);
int race_write(void *to, const void *from, size_t len);

/* Increase the counter of a page if it is on that side; 0 or the signal. */
int race_bump(struct race_arena *arena, int side, size_t page);

/* Write a page's stamps into a buffer of a page; whether a page read into a buffer has them. */
void race_stamp(void *buffer, size_t page);
int race_stamped(const void *buffer, size_t page);
uint64_t race_counter(const void *buffer);

/* Whether stamps are whole, and the counter, as read there; 0 or the signal. */
int race_look(const struct race_arena *arena, int side, size_t page, int *whole, uint64_t *count);

/*
 * Take away what is at a place: 0 or the errno.
 *
 * The page table's lock is let go before the TLBs are flushed (zap_pte_range() in mm/memory.c of v6.12):
 * until MADV_DONTNEED is back, what somebody else has put there since may be read, and written, through an
 * entry of before.  So whoever looks asks before it does whether a drop is under way there: only if none
 * is, what it reads is of now.
 */
int race_drop(struct race_arena *arena, int side, size_t page);
int race_dropping(const struct race_arena *arena, int side, size_t page);

/* How often anybody changed a page's frame behind our back since the machine started. */
long race_migrations(void);

/* All stand still: every page once, whole, with its counter. */
void race_verify(struct race_arena *arena);

#endif
