// SPDX-License-Identifier: GPL-2.0-only
/* See hugerace.h. */
#define _GNU_SOURCE
#include "hugerace.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include "knob.h"
#include "mem.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define THP_DIR "/sys/kernel/mm/transparent_hugepage/"

#define MOST_UNITS 64

/* How often a refused move is tried again before the mover goes on with another huge page. */
#define TRIES 8

#define REST_US 60000
#define CALLS 16 /* of a refilling mover in one round */

static struct {
	unsigned int flags;
	/* Of each huge page: its rounds so far, and how many halves of it are through with this
	 * one; of each mover the rounds it has done its half in. */
	atomic_uint rounds[MOST_UNITS], arrived[MOST_UNITS];
	atomic_int home[MOST_UNITS]; /* the side they rest on between two rounds */
	unsigned int mine[8][MOST_UNITS];
	unsigned int round[MOST_UNITS]; /* refilling */
	atomic_size_t hot[8]; /* what each mover is busy with */
	atomic_ulong whole, collapses;
} state;

void huge_prepare(unsigned int flags)
{
	state.flags = flags;
	for (size_t i = 0; i < MOST_UNITS; i++) {
		state.rounds[i] = state.arrived[i] = state.round[i] = 0;
		state.home[i] = 0;
		for (size_t k = 0; k < KTAP_COUNT(state.mine); k++)
			state.mine[k][i] = 0;
	}
	for (size_t k = 0; k < KTAP_COUNT(state.hot); k++)
		state.hot[k] = 0;
	state.whole = state.collapses = 0;
}

int huge_movers(void)
{
	int movers = race_options()->intensity;

	return state.flags & HUGE_HALVES ? movers + movers % 2 : movers;
}

size_t huge_pages(void)
{
	int units = state.flags & HUGE_HALVES ? huge_movers() / 2 : huge_movers();

	return (size_t)(units < 2 ? 2 : units) * (mem_huge() / mem_page());
}

unsigned long huge_whole_moves(void)
{
	return state.whole;
}

unsigned long huge_collapses(void)
{
	return state.collapses;
}

size_t huge_any(struct race_thread *self)
{
	size_t unit = self->arena->unit;

	if (race_below(&self->rng, 4))
		return state.hot[race_below(&self->rng, (size_t)huge_movers())] * unit;
	return race_below(&self->rng, self->arena->pages / unit) * unit;
}

int huge_small_folios(void)
{
	char path[128];

	snprintf(path, sizeof(path), THP_DIR "hugepages-%zukB/enabled", mem_page() * 16 / 1024);
	if (knob_set(path, "always"))
		return -1;
	snprintf(path, sizeof(path), THP_DIR "hugepages-%zukB/enabled", mem_huge() / 1024);
	return knob_set(path, "never");
}

int huge_collapse(void *start, size_t len)
{
	return madvise(start, len, MADV_COLLAPSE) ? errno : 0;
}

static int map_over(char *at, size_t len, int protection)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	return mmap(at, len, protection, flags, -1, 0) == at && !madvise(at, len, MADV_HUGEPAGE);
}

/*
 * Give a huge page's place page tables as if new: without any, a huge page can move there.  One that
 * is to be registered is without access until it is, so that nobody's touch fills it in between.
 */
static void renew(struct race_arena *arena, size_t first, int side)
{
	size_t len = arena->unit * mem_page();
	struct uffdio_register reg = {
		.range = { (uint64_t)(uintptr_t)race_at(arena, side, first), len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	char *at = race_at(arena, side, first);
	int good;

	if (!side && arena->flags & RACE_ONE_WAY)
		good = map_over(at, len, PROT_READ | PROT_WRITE) || state.flags & HUGE_UNMAPS;
	else
		good = map_over(at, len, PROT_NONE) && !ioctl(arena->uffd, UFFDIO_REGISTER, &reg) &&
		       !mprotect(at, len, PROT_READ | PROT_WRITE);
	if (!good)
		race_fail("a huge page's place cannot be mapped anew: %s", ktap_errno(errno));
}

/* How many of `most` pages the next call takes. */
static size_t choose_run(struct race_thread *self, size_t manner, size_t most)
{
	if (manner < 2)
		return most;
	if (manner == 2)
		return 1 + race_below(&self->rng, most);
	return race_below(&self->rng, 8) ? 1 : most;
}

/* Carry the pages that are not on a side to it; whether all have arrived. */
static int carry_all(struct race_thread *self, size_t first, size_t count, int to, size_t manner)
{
	const unsigned char *on = self->arena->at;
	size_t at = first, end = first + count, most, run, moved;
	int tries = 0;

	while (at < end) {
		if (on[at] == to) {
			at++;
			continue;
		}
		for (most = 1; at + most < end && on[at + most] != to; most++)
			;
		run = choose_run(self, tries < TRIES / 2 ? manner : 3, most);
		if (race_over())
			return 0;
		moved = race_carry(self, at, run, 0);
		state.whole += moved && moved == self->arena->unit;
		if (!moved && ++tries == TRIES)
			return 0;
		at += moved;
	}
	return 1;
}

/* A few pages go over, which splits the huge page; and come back; whether they have. */
static int excursion(struct race_thread *self, size_t first, size_t count, int home)
{
	size_t at = first + race_below(&self->rng, count), run = 1 + race_below(&self->rng, 8);

	if (run > first + count - at)
		run = first + count - at;
	/* What was left away last time comes back first. */
	if (!carry_all(self, first, count, home, 2) || race_over())
		return 0;
	(void)race_carry(self, at, run, 0);
	return carry_all(self, first, count, home, 2 + race_below(&self->rng, 2));
}

/* All that is to happen in a round has happened: put the huge page together, clear the other side. */
static void end_round(struct race_thread *self, size_t first, int home)
{
	struct race_arena *arena = self->arena;

	if (!(state.flags & HUGE_NO_COLLAPSE) && race_below(&self->rng, 8) &&
	    !huge_collapse(race_at(arena, home, first), arena->unit * mem_page()))
		state.collapses++;
	if ((state.flags & HUGE_RESTS) && race_below(&self->rng, 2))
		race_nap(self, REST_US);
	if (race_below(&self->rng, 4))
		renew(arena, first, !home);
}

/* Two movers of one huge page: each has its half, and a round ends with the later of them. */
static void carry_half(struct race_thread *self, size_t unit)
{
	struct race_arena *arena = self->arena;
	size_t half = self->number % 2, first = unit * arena->unit, count = arena->unit / 2;
	unsigned int round = state.rounds[unit];
	int home = state.home[unit], leaving = round % 8 == 7;

	if (state.mine[self->number][unit] > round)
		return;
	if (leaving ? !carry_all(self, first + half * count, count, !home, 2) :
		      !excursion(self, first + half * count, count, home))
		return;
	state.mine[self->number][unit] = round + 1;
	if (++state.arrived[unit] < 2)
		return;
	home ^= leaving;
	end_round(self, first, home);
	state.home[unit] = home;
	state.arrived[unit] = 0;
	state.rounds[unit]++;
}

/* One mover of a huge page: to and fro in one call each, over in several, or some pages only. */
static void carry_whole(struct race_thread *self, size_t unit)
{
	struct race_arena *arena = self->arena;
	size_t first = unit * arena->unit, what = race_below(&self->rng, 16), often = 1;
	int home = state.home[unit];

	if (what < 3) {
		if (!excursion(self, first, arena->unit, home))
			return;
	} else {
		/* Cheap as long as it is huge, and most is to be met by whoever splits it. */
		if (what > 3)
			often += race_below(&self->rng, 24);
		for (; often && !race_over(); often--) {
			if (!carry_all(self, first, arena->unit, !home, what > 3 ? 0 : 2))
				return;
			home = !home;
			state.home[unit] = home;
		}
	}
	end_round(self, first, home);
}

void huge_carry(struct race_thread *self)
{
	size_t parts = state.flags & HUGE_HALVES ? 2 : 1, groups = (size_t)huge_movers() / parts;
	size_t units = self->arena->pages / self->arena->unit;

	/* The movers are the first threads of a case. */
	for (size_t unit = self->number / parts; unit < units && !race_over(); unit += groups) {
		state.hot[self->number] = unit;
		if (parts == 2)
			carry_half(self, unit);
		else
			carry_whole(self, unit);
	}
}

/*
 * Refilling.  A word of a page: the round in bits 0-15, the page in 16-35, which word it is in
 * 36-37, whether an adversary wrote it in 38, and above that a hash of those.
 */
#define WORDS 3
#define FOREIGN ((uint64_t)1 << 38)
#define FIELDS (((uint64_t)1 << 39) - 1)

static uint64_t make_word(size_t page, int k, uint64_t rest)
{
	uint64_t fields = (uint64_t)k << 36 | (uint64_t)page << 16 | rest;

	return fields | ((fields + 1) * 0x9e3779b97f4a7c15u & ~FIELDS);
}

/* The first word of a page, one in the middle, the last. */
static uint64_t *word_at(struct race_arena *arena, int side, size_t page, int k)
{
	size_t words = mem_page() / sizeof(uint64_t);

	return (uint64_t *)race_at(arena, side, page) + (k == 0 ? 0 : k == 1 ? words / 2 : words - 1);
}

static int write_words(struct race_arena *arena, size_t page, uint64_t rest)
{
	int signal = 0;

	for (int k = 0; k < WORDS && !signal; k++) {
		uint64_t word = make_word(page, k, rest);

		signal = race_write(word_at(arena, 0, page, k), &word, sizeof(word));
	}
	return signal;
}

int huge_write_foreign(struct race_arena *arena, size_t page)
{
	return write_words(arena, page, FOREIGN);
}

/* Zeros, an adversary's words or this round's; 0 or the signal. */
static int look(struct race_arena *arena, int side, size_t page, const char *when)
{
	unsigned int round = state.round[page / arena->unit] & 0xffff;
	uint64_t got, own;
	int signal;

	for (int k = 0; k < WORDS; k++) {
		signal = race_read(word_at(arena, side, page, k), &got, sizeof(got));
		if (signal)
			return signal;
		own = make_word(page, k, state.flags & HUGE_REMAPS ? got & 0xffff : round);
		if (!got || got == own || got == make_word(page, k, FOREIGN))
			continue;
		race_fail("%s: page %zu on side %d, word %d: got %#llx (%s page %llu, word %llu, "
			  "round %llu), expected round %u",
			  when, page, side, k, (unsigned long long)got,
			  make_word(got >> 16 & 0xfffff, (int)(got >> 36 & 3),
				    got & (FOREIGN | 0xffff)) == got ?
				  "a word of" :
				  "no word of ours:",
			  (unsigned long long)(got >> 16 & 0xfffff),
			  (unsigned long long)(got >> 36 & 3), (unsigned long long)(got & 0xffff),
			  round);
		return 0;
	}
	return 0;
}

/* Fill a huge page's range: all of it, a part, or by reading only (the huge zero page). */
static void fill(struct race_thread *self, size_t first, size_t unit)
{
	struct race_arena *arena = self->arena;
	size_t step = race_below(&self->rng, 4) ? 1 : 1 + race_below(&self->rng, 7);
	int reading = !race_below(&self->rng, 8), signal;
	uint64_t word;

	for (size_t page = first; page < first + arena->unit; page += step) {
		signal = reading ? race_read(word_at(arena, 0, page, 0), &word, sizeof(word)) :
				   write_words(arena, page, state.round[unit] & 0xffff);
		if (signal && !(state.flags & HUGE_UNMAPS)) {
			race_fail("page %zu of the source cannot be %s: signal %d", page,
				  reading ? "read" : "written", signal);
			return;
		}
	}
}

/* Empty a place, with or without its page tables. */
static void empty(struct race_thread *self, size_t first, int side)
{
	struct race_arena *arena = self->arena;

	if (race_below(&self->rng, 2))
		renew(arena, first, side);
	else if (madvise(race_at(arena, side, first), arena->unit * mem_page(), MADV_DONTNEED) &&
		 !(state.flags & HUGE_UNMAPS))
		race_fail("MADV_DONTNEED: %s", ktap_errno(errno));
}

static void refill_one(struct race_thread *self, size_t unit)
{
	struct race_arena *arena = self->arena;
	size_t first = unit * arena->unit, end = first + arena->unit, at = first, run, moved;
	size_t manner = race_below(&self->rng, 4);
	uint64_t holes = race_below(&self->rng, 2) ? UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES : 0;
	struct uffd_result result;

	state.round[unit]++;
	fill(self, first, unit);
	/*
	 * Calls that split need not go on for long: splitting is what matters.  One at least, however
	 * long the filling took.
	 */
	for (int calls = 0; at < end && calls < CALLS && (!calls || !race_over()); calls++) {
		run = choose_run(self, manner, manner < 2 ? end - at : (end - at + 15) / 16);
		result = uffd_move(arena->uffd, race_at(arena, 1, at), race_at(arena, 0, at),
				   run * mem_page(), holes);
		moved = race_judge(self, result, run * mem_page()) / mem_page();
		state.whole += moved == arena->unit;
		for (size_t page = at; page < at + moved; page++)
			if (look(arena, 1, page, "after a move") && !holes &&
			    !(state.flags & HUGE_ZAPS_DST))
				race_fail("page %zu was moved and is not there: SIGBUS", page);
		at += moved;
		if (moved)
			continue;
		/* What is refused in one piece may do in parts; a page alone is left. */
		if (run > 1)
			manner = 2 + race_below(&self->rng, 2);
		else
			at++;
	}
	/* Once more, some of it: nothing came later. */
	for (int i = 0; i < CALLS && at > first; i++)
		(void)look(arena, 1, first + race_below(&self->rng, at - first),
			   "at the end of a round");
	empty(self, first, 1);
	empty(self, first, 0);
}

void huge_refill(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t units = arena->pages / arena->unit, movers = (size_t)huge_movers();

	for (size_t unit = self->number; unit < units && !race_over(); unit += movers) {
		state.hot[self->number] = unit;
		refill_one(self, unit);
	}
}

void huge_refill_prepare(struct race_arena *arena)
{
	CHECK_SYS(madvise(arena->side[0], arena->pages * mem_page(), MADV_DONTNEED));
}

void huge_refill_verify(struct race_arena *arena)
{
	uint64_t entry;

	for (size_t page = 0; page < arena->pages; page++) {
		for (int side = 0; side < 2; side++) {
			race_entries(arena, side, page, 1, &entry);
			if (race_populated(entry))
				(void)look(arena, side, page, "at a standstill");
		}
	}
}
