/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Races against the move ioctl: movers carry pages between the two sides of an arena while
 * adversaries, each a small function called in a loop by threads of its own, do something to the
 * same memory.  Contents, counters and places are verified all the time.
 *
 * Every page of the arena carries stamps that tell which page it is, and a counter that whoever
 * holds it may increase (race_bump()); hits[] keeps how often that succeeded.  A page is on one
 * side at a time, at the same offset on both.  Every few hundred milliseconds all threads stand
 * still: counters of the process against a page walk, each page on exactly one side, its stamps
 * whole and its counter equal to hits[].
 *
 * All that is random comes from the seed and the thread's number: the same seed makes the same
 * decisions in the same order, though the threads meet differently.
 */
#ifndef LAB_RACE_H
#define LAB_RACE_H

#include <stddef.h>
#include <stdint.h>

#include "ktap.h"
#include "race_arena.h"
#include "race_base.h"
#include "race_mover.h"
#include "uffd.h"

/*
 * main() of a racing program: --seed N --seconds S --intensity I, then ktap_run().  Wrong usage
 * ends with status 2.  Without --seed one is drawn; it is printed in any case.
 */
int race_main(int argc, char **argv, const struct ktap_case *cases, size_t count,
	      const char *skip_all);

#define RACE_ADVERSARIES 4

struct race_case {
	const char *name;
	unsigned int flags;
	size_t pages;	 /* 0: 256, or 4 huge pages */
	uint64_t errnos; /* RACE_ERRNO()s a move may fail with, beside EAGAIN */
	struct race_role mover; /* no step: race_shuttle() */
	struct race_role adversaries[RACE_ADVERSARIES]; /* up to the first without a step */
	void (*prepare)(struct race_arena *arena);
	/* While all stand still, after race_verify(), instead of it if RACE_ONE_WAY. */
	void (*standstill)(struct race_arena *arena);
	void (*finish)(struct race_arena *arena); /* after all threads have ended */
};

/* Run a case for its share of the time.  Fails, skips and reports like any ktap case. */
void race_run(const struct race_case *what);

int race_over(void); /* whether it is time to come back: standstill, end, or failure */
void race_nap(struct race_thread *self, unsigned int most_us);

#endif
