/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The threads of the races, and what a mover is made of: which pages, the call, what has to hold after
 * it.  See race.h.
 */
#ifndef LAB_RACE_MOVER_H
#define LAB_RACE_MOVER_H

#include <stddef.h>
#include <stdint.h>

#include "race_arena.h"
#include "race_base.h"
#include "uffd.h"

struct race_thread;
typedef void (*race_step)(struct race_thread *self);

struct race_role {
	const char *name;
	race_step step;	  /* one act; must come back within a second or so */
	race_step settle; /* before it stands still: put back what others rely on; may be NULL */
	int threads;	  /* 0: as many as the intensity */
};

struct race_thread {
	struct race_rng rng;
	struct race_arena *arena;
	const struct race_role *role;
	size_t number;	     /* among all threads of the case */
	size_t index, peers; /* among those of its role, and how many these are */
	size_t first, count; /* the pages a mover owns */
	unsigned long tries; /* steps taken */
	unsigned long acts;  /* those that did something; for a mover: moves that moved something */
	unsigned long pages; /* pages moved */
	unsigned long conflicts; /* moves refused or cut short; an adversary counts its own */
	unsigned long stale; /* looks that saw what a drop under way was taking away */
	uint64_t *before, *after, *left; /* pagemap entries, a unit or RACE_RUN of each */
	void *own;	     /* the step's */
};

#define RACE_RUN 16 /* pages of a move at most, where a unit is one page */

/* Make a thread's state; for cases that run threads of their own in a child. */
void race_thread_make(struct race_thread *self, struct race_arena *arena,
		      const struct race_role *role, const char *name, size_t number);

/* The mover that carries pages back and forth, and its parts. */
void race_shuttle(struct race_thread *self);
/* Move pages of the mover's own, all on the same side, to the other and check; how many moved. */
size_t race_carry(struct race_thread *self, size_t start, size_t count, uint64_t mode);
/* A run of pages to act on: whole units three times of four. */
void race_pick(struct race_thread *self, size_t *start, size_t *count);
/* A run of pages of this thread's share, where the threads of a role must not meet. */
void race_pick_share(struct race_thread *self, size_t *start, size_t *count);
/* Wait until nobody's drop is under way at a place that this thread holds: it stays so. */
void race_await_drops(struct race_thread *self, int side, size_t page);
/* Judge what a move of len bytes returned; gives how many bytes it moved. */
size_t race_judge(struct race_thread *self, struct uffd_result result, size_t len);

#endif
