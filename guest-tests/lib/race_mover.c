// SPDX-License-Identifier: GPL-2.0-only
/* See race_mover.h. */
#define _GNU_SOURCE
#include "race_mover.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "uffd_abi.h"

#define LOOKS 50 /* 20 ms apart */

void race_thread_make(struct race_thread *self, struct race_arena *arena,
		      const struct race_role *role, const char *name, size_t number)
{
	struct race_rng rng = { race_options()->seed };
	size_t run = arena->unit > RACE_RUN ? arena->unit : RACE_RUN;

	memset(self, 0, sizeof(*self));
	for (; *name; name++)
		rng.state = race_random(&rng) ^ (unsigned char)*name;
	rng.state = race_random(&rng) + number;
	self->rng.state = race_random(&rng);
	self->arena = arena;
	self->role = role;
	self->number = number;
	self->peers = 1;
	self->before = calloc(3 * run, sizeof(*self->before));
	CHECK(self->before, "out of memory");
	self->after = self->before + run;
	self->left = self->after + run;
}

void race_pick(struct race_thread *self, size_t *start, size_t *count)
{
	size_t unit = self->arena->unit, first = self->first, pages = self->count;
	size_t run = unit > RACE_RUN ? unit : RACE_RUN;

	if (!pages) { /* an adversary: anywhere */
		first = 0;
		pages = self->arena->pages;
	}
	if (unit > 1 && race_below(&self->rng, 4)) {
		*start = first + race_below(&self->rng, pages / unit) * unit;
		*count = unit;
		return;
	}
	*start = first + race_below(&self->rng, pages);
	*count = 1 + race_below(&self->rng, run);
	if (*count > first + pages - *start)
		*count = first + pages - *start;
}

void race_pick_share(struct race_thread *self, size_t *start, size_t *count)
{
	size_t units = self->arena->pages / self->arena->unit;
	size_t first = units * self->index / self->peers * self->arena->unit;
	size_t end = units * (self->index + 1) / self->peers * self->arena->unit;

	*start = first + race_below(&self->rng, end - first);
	*count = 1 + race_below(&self->rng, RACE_RUN);
	if (*count > end - *start)
		*count = end - *start;
}

size_t race_judge(struct race_thread *self, struct uffd_result result, size_t len)
{
	struct race_arena *arena = self->arena;
	int64_t moved = result.moved;

	if (!result.err) {
		if (moved != (int64_t)len)
			race_fail("a move of %zu bytes succeeded but says it moved %lld", len,
				  (long long)moved);
		self->acts++;
		self->pages += len / mem_page();
		return len;
	}
	self->conflicts++;
	if (result.err == EAGAIN) {
		if (moved == -EAGAIN)
			return 0;
		if (moved <= 0 || moved >= (int64_t)len || moved % (int64_t)mem_page()) {
			race_fail("EAGAIN from a move of %zu bytes: the last field says %lld", len,
				  (long long)moved);
			return 0;
		}
		self->acts++;
		self->pages += (size_t)moved / mem_page();
		return (size_t)moved;
	}
	if (result.err >= 64 || !(arena->errnos & RACE_ERRNO(result.err)))
		race_fail("a move failed with %s, which nothing in this case explains (last field "
			  "%lld)",
			  ktap_errno(result.err), (long long)moved);
	/* Arguments are refused before the last field is written. */
	if (moved != -result.err &&
	    !(moved == UFFD_UNTOUCHED && (result.err == EINVAL || result.err == EBADF)))
		race_fail("a move failed with %s but the last field says %lld",
			  ktap_errno(result.err), (long long)moved);
	return 0;
}

void race_await_drops(struct race_thread *self, int side, size_t page)
{
	while (race_dropping(self->arena, side, page) && !race_failed())
		sched_yield();
}

/*
 * Look at a page of the mover's own.  Before it goes on it waits for whose drop is under way there: what
 * it wrote next might go to the page of before.
 */
static int look(struct race_thread *self, int side, size_t page, int *whole, uint64_t *count)
{
	int dropping = race_dropping(self->arena, side, page);
	int signal = race_look(self->arena, side, page, whole, count);

	race_await_drops(self, side, page);
	if (!dropping || (!signal && *whole))
		return signal;
	self->stale++;
	return race_look(self->arena, side, page, whole, count);
}

/*
 * Whether anybody gave pages other frames since the case began.  That is counted when a whole batch is
 * done, a little after the entries are there (the end of migrate_pages(), mm/migrate.c of v6.12).
 */
static int migrated(struct race_thread *self)
{
	for (int looks = 0; looks < LOOKS; looks++) {
		if (race_migrations() != self->arena->migrations)
			return 1;
		usleep(20 * 1000);
	}
	return race_migrations() != self->arena->migrations;
}

/* What the owner of a page expects after it moved it to a side. */
static void check_moved(struct race_thread *self, size_t page, int to, uint64_t before,
			uint64_t after, uint64_t left)
{
	struct race_arena *arena = self->arena;
	const uint64_t frame = MEM_FRAME | MEM_PRESENT | MEM_SWAPPED;
	uint64_t count = 0, hits;
	int whole = 0, signal;

	if (race_populated(left) && !(arena->flags & RACE_REFILLED))
		race_fail("page %zu was moved, but its source is not empty: entry %#llx", page,
			  (unsigned long long)left);
	if ((arena->flags & RACE_IDENTITY) && (before & MEM_PRESENT) && (after & MEM_PRESENT) &&
	    (before & frame) != (after & frame) && !migrated(self))
		race_fail("page %zu was moved and has another frame: entry %#llx before, %#llx after",
			  page, (unsigned long long)before, (unsigned long long)after);
	signal = look(self, to, page, &whole, &count);
	if (signal) {
		if (!(arena->flags & RACE_UNREADABLE))
			race_fail("page %zu was moved, but reading it there raises %s (entry %#llx)",
				  page, signal == SIGBUS ? "SIGBUS" : "SIGSEGV",
				  (unsigned long long)after);
		return;
	}
	hits = __atomic_load_n(&arena->hits[page], __ATOMIC_SEQ_CST);
	if (!whole)
		race_fail("page %zu was moved and has lost its stamps (entry %#llx before, %#llx "
			  "after)",
			  page, (unsigned long long)before, (unsigned long long)after);
	else if (!(arena->flags & RACE_COUNTED) && count != hits)
		race_fail("page %zu was moved: counter %llu, expected %llu", page,
			  (unsigned long long)count, (unsigned long long)hits);
}

/* What a move says it did not move is where it was: nothing moves untold, nothing vanishes. */
static void check_stayed(struct race_thread *self, int from, size_t start, size_t count,
			 struct uffd_result result)
{
	struct race_arena *arena = self->arena;

	if (arena->flags & (RACE_UNREADABLE | RACE_REFILLED))
		return;
	race_entries(arena, from, start, count, self->left);
	race_entries(arena, !from, start, count, self->after);
	for (size_t i = 0; i < count; i++)
		if (!race_populated(self->left[i]) || race_populated(self->after[i]))
			race_fail("page %zu: the move says %s (last field %lld) and did not leave it "
				  "where it was: entry %#llx before; now source %#llx, destination %#llx",
				  start + i, ktap_errno(result.err), (long long)result.moved,
				  (unsigned long long)self->before[i],
				  (unsigned long long)self->left[i],
				  (unsigned long long)self->after[i]);
}

size_t race_carry(struct race_thread *self, size_t start, size_t count, uint64_t mode)
{
	struct race_arena *arena = self->arena;
	int from = arena->at[start];
	size_t moved, bumps = race_below(&self->rng, 4) ? 1 : count;
	struct uffd_result result;

	/* Written by its owner on the way, so that a stale copy shows. */
	for (size_t i = 0; i < bumps; i++)
		(void)race_bump(arena, from, start + i);
	race_entries(arena, from, start, count, self->before);
	result = uffd_move(__atomic_load_n(&arena->uffd, __ATOMIC_ACQUIRE),
			   race_at(arena, !from, start), race_at(arena, from, start),
			   count * mem_page(), mode);
	if (result.err && (result.err != EAGAIN || result.moved < 0))
		check_stayed(self, from, start, count, result);
	moved = race_judge(self, result, count * mem_page()) / mem_page();
	if (!moved)
		return 0;
	race_entries(arena, !from, start, moved, self->after);
	race_entries(arena, from, start, moved, self->left);
	for (size_t i = 0; i < moved; i++) {
		arena->at[start + i] = !from;
		check_moved(self, start + i, !from, self->before[i], self->after[i],
			    self->left[i]);
	}
	return moved;
}

/* A mover of pages that are not its own: who else moves them meanwhile, the flips tell. */
static void carry_shared(struct race_thread *self, size_t start, size_t count, uint64_t mode)
{
	struct race_arena *arena = self->arena;
	int from = (int)race_below(&self->rng, 2);
	struct uffd_result result;
	size_t moved;

	result = uffd_move(__atomic_load_n(&arena->uffd, __ATOMIC_ACQUIRE),
			   race_at(arena, !from, start), race_at(arena, from, start),
			   count * mem_page(), mode);
	moved = race_judge(self, result, count * mem_page()) / mem_page();
	for (size_t i = 0; i < moved; i++)
		__atomic_fetch_add(&arena->flips[start + i], from ? -1 : 1, __ATOMIC_SEQ_CST);
}

void race_shuttle(struct race_thread *self)
{
	const unsigned char *at = self->arena->at;
	size_t start, count, same = 1;
	uint64_t mode = race_below(&self->rng, 2) ? UFFDIO_MOVE_MODE_DONTWAKE : 0;

	race_pick(self, &start, &count);
	if (self->arena->flags & RACE_SHARED) {
		carry_shared(self, start, count, mode);
		return;
	}
	while (same < count && at[start + same] == at[start])
		same++;
	if (race_below(&self->rng, 2))
		mode |= UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES;
	(void)race_carry(self, start, same, mode);
}
