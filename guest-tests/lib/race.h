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
#include <time.h>

#include "ktap.h"
#include "uffd.h"

struct race_options {
	uint64_t seed;
	double seconds;	/* for the whole program, shared evenly by its cases */
	int intensity;	/* threads of each kind, 1 to 8 */
};

/*
 * main() of a racing program: --seed N --seconds S --intensity I, then ktap_run().  Wrong usage
 * ends with status 2.  Without --seed one is drawn; it is printed in any case.
 */
int race_main(int argc, char **argv, const struct ktap_case *cases, size_t count,
	      const char *skip_all);
const struct race_options *race_options(void);

struct race_rng {
	uint64_t state;
};

uint64_t race_random(struct race_rng *rng);
size_t race_below(struct race_rng *rng, size_t limit); /* 0 to limit - 1 */

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

struct race_thread;
typedef void (*race_step)(struct race_thread *self);

struct race_role {
	const char *name;
	race_step step;	  /* one act; must come back within a second or so */
	race_step settle; /* before it stands still: put back what others rely on; may be NULL */
	int threads;	  /* 0: as many as the intensity */
};

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

#define RACE_ERRNO(err) ((uint64_t)1 << (err))

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
	uint64_t *before, *after, *left; /* pagemap entries, a unit or RACE_RUN of each */
	void *own;	     /* the step's */
};

#define RACE_RUN 16 /* pages of a move at most, where a unit is one page */

/* The share of a case in milliseconds; prints the line with the seed if none was printed yet. */
double race_begin(void);

/* Make a thread's state; for cases that run threads of their own in a child. */
void race_thread_make(struct race_thread *self, struct race_arena *arena,
		      const struct race_role *role, const char *name, size_t number);

/* Run a case for its share of the time.  Fails, skips and reports like any ktap case. */
void race_run(const struct race_case *what);

/* In any thread: the case has failed, for this reason (the first one counts). */
void race_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int race_over(void); /* whether it is time to come back: standstill, end, or failure */
void race_nap(struct race_thread *self, unsigned int most_us);

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

/* The mover that carries pages back and forth, and its parts. */
void race_shuttle(struct race_thread *self);
/* Move pages of the mover's own, all on the same side, to the other and check; how many moved. */
size_t race_carry(struct race_thread *self, size_t start, size_t count, uint64_t mode);
/* A run of pages to act on: whole units three times of four. */
void race_pick(struct race_thread *self, size_t *start, size_t *count);
/* A run of pages of this thread's share, where the threads of a role must not meet. */
void race_pick_share(struct race_thread *self, size_t *start, size_t *count);
/* Judge what a move of len bytes returned; gives how many bytes it moved. */
size_t race_judge(struct race_thread *self, struct uffd_result result, size_t len);

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

/* How often anybody changed a page's frame behind our back since the machine started. */
long race_migrations(void);

/* All stand still: every page once, whole, with its counter. */
void race_verify(struct race_arena *arena);

/* Used by race_run(). */
void race_arena_make(struct race_arena *arena, const struct race_case *what);
void race_arena_drop(struct race_arena *arena);
void race_catch_signals(void);

#endif
