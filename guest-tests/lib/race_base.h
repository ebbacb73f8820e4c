/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ground that the races stand on and that knows no case: what the program was given, random
 * numbers, whether the case has failed, CPU clocks.  See race.h.
 */
#ifndef LAB_RACE_BASE_H
#define LAB_RACE_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct race_options {
	uint64_t seed;
	double seconds;	/* for the whole program, shared evenly by its cases */
	int intensity;	/* threads of each kind, 1 to 8 */
};

/* Take them from the command line of a program with so many cases; wrong usage ends with status 2. */
void race_parse(int argc, char **argv, size_t cases);
const struct race_options *race_options(void);

/* The share of a case in milliseconds; prints the line with the seed if none was printed yet. */
double race_begin(void);

struct race_rng {
	uint64_t state;
};

uint64_t race_random(struct race_rng *rng);
size_t race_below(struct race_rng *rng, size_t limit); /* 0 to limit - 1 */

/* In any thread: the case has failed, for this reason (the first one counts). */
void race_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int race_failed(void);

#define RACE_WHY 512 /* bytes of a reason at most */

const char *race_why(void); /* once it has failed */
void race_clear(void);	    /* a new case, which has not failed */

/*
 * How much CPU time a thread or a process has used, in milliseconds, since it is watched; each look
 * adds no more than RACE_LOOK_MS, because the clock of a guest that was stopped meanwhile jumps.
 */
#define RACE_LOOK_MS 100.0

struct race_watch {
	clockid_t clock;
	double last, used;
};

void race_watch_begin(struct race_watch *watch, clockid_t clock);
double race_watch(struct race_watch *watch);

#endif
