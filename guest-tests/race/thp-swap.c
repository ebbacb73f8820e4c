// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves of huge pages while these are swapped out, whole or split, and faulted in again.  A large
 * folio in the swap cache cannot be moved (EBUSY), a swap entry can; a page under writeback to a
 * device that wants stable pages is read-only and not exclusive for a while (EBUSY).
 *
 * Source: move_pages_pte() ("For large folios, return -EBUSY immediately") and move_swap_pte() in
 * mm/userfaultfd.c, do_swap_page() in mm/memory.c of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "hugerace.h"
#include "knob.h"
#include "mem.h"
#include "procfile.h"
#include "rss.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static long swapped_out;

static void begin(struct race_arena *arena)
{
	if (arena->flags & RACE_ONE_WAY)
		huge_refill_prepare(arena);
	swapped_out = sys_vmstat("pswpout");
}

static void finish(struct race_arena *arena)
{
	(void)arena;
	swapped_out = sys_vmstat("pswpout") - swapped_out;
	ktap_diag("whole moves: %lu, swapped out: %ld pages, huge pages swapped out whole so far: %ld",
		  huge_whole_moves(), swapped_out, sys_vmstat("thp_swpout"));
	knob_restore();
}

/* sys_vmstat() is not for threads: a buffer of its own. */
static long written(void)
{
	char text[16 * 1024];

	return proc_read("/proc/vmstat", text, sizeof(text)) ? -1 : proc_field(text, "pswpout");
}

static void page_out(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t first = huge_any(self), count = arena->unit, page;
	int side = arena->flags & RACE_ONE_WAY ? 0 : (int)race_below(&self->rng, 2);
	long before;

	if (race_below(&self->rng, 2)) {
		first += race_below(&self->rng, count);
		count = 1 + race_below(&self->rng, 16);
		if (first + count > arena->pages)
			count = arena->pages - first;
	}
	/* A mover may map it anew just now: ENOMEM or EINVAL.  What counts is that something went out. */
	before = written();
	(void)madvise(race_at(arena, side, first), count * mem_page(), MADV_PAGEOUT);
	self->acts += written() > before;
	/* Some come back; SIGBUS is the answer of an empty place. */
	for (int i = 0; i < 8 && !race_over(); i++) {
		uint64_t word;

		page = first + race_below(&self->rng, count);
		(void)race_read(race_at(arena, side, page), &word, sizeof(word));
	}
	race_nap(self, 2000);
}

static void run(const struct race_case *what)
{
	struct race_case one = *what;

	if (mem_why_no_swap())
		ktap_skip("%s", mem_why_no_swap());
	one.adversaries[0] = (struct race_role){ "pager", page_out, NULL, 0 };
	one.finish = finish;
	if (!one.prepare)
		one.prepare = begin;
	race_run(&one);
}

static void pageout(void)
{
	huge_prepare(0);
	run(&(struct race_case){
		.name = "pageout",
		.flags = RACE_HUGE,
		.pages = huge_pages(),
		.errnos = RACE_ERRNO(EBUSY),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
	});
}

static void pageout_halves(void)
{
	huge_prepare(HUGE_HALVES);
	run(&(struct race_case){
		.name = "pageout-halves",
		.flags = RACE_HUGE,
		.pages = huge_pages(),
		.errnos = RACE_ERRNO(EBUSY),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
	});
}

static void pageout_refill(void)
{
	huge_prepare(0);
	run(&(struct race_case){
		.name = "pageout-refill",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = RACE_ERRNO(EBUSY) | RACE_ERRNO(ENOENT),
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.standstill = huge_refill_verify,
	});
}

static void small_folios(struct race_arena *arena)
{
	begin(arena);
	if (huge_small_folios())
		ktap_skip("no smaller huge pages here");
}

/* Folios of a size between a base page and a huge page are swapped in and out as such too. */
static void pageout_mthp(void)
{
	huge_prepare(0);
	run(&(struct race_case){
		.name = "pageout-mthp",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = RACE_ERRNO(EBUSY) | RACE_ERRNO(ENOENT),
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.prepare = small_folios,
		.standstill = huge_refill_verify,
	});
}

static const struct ktap_case cases[] = {
	{ "pageout", pageout },
	{ "pageout-halves", pageout_halves },
	{ "pageout-refill", pageout_refill },
	{ "pageout-mthp", pageout_mthp },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	return race_main(argc, argv, cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
