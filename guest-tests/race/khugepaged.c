// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves while base pages are collapsed into huge pages, by khugepaged and by MADV_COLLAPSE: page
 * tables vanish under a move that has looked at them, and come back.  A collapse needs the mapping
 * for itself, so a move waits for it, finds a huge page then, and splits it; that is no error.  Where
 * the source is not registered, MADV_COLLAPSE may fill holes with zeros.
 *
 * Source: collapse_huge_page() in mm/khugepaged.c ("UFFDIO_MOVE is prevented to race as well"),
 * move_pages_pte() in mm/userfaultfd.c ("Retry if a huge pmd materialized from under us") of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "hugerace.h"
#include "knob.h"
#include "mem.h"

#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"

static long collapsed;

static void finish(struct race_arena *arena)
{
	(void)arena;
	ktap_diag("whole moves: %lu", huge_whole_moves());
	knob_restore();
}

static void hurry(struct race_arena *arena)
{
	collapsed = knob_number(KHUGEPAGED "pages_collapsed");
	if (knob_set_number(KHUGEPAGED "scan_sleep_millisecs", 1) ||
	    knob_set_number(KHUGEPAGED "alloc_sleep_millisecs", 10) ||
	    knob_set_number(KHUGEPAGED "pages_to_scan", (long)(4 * arena->pages)))
		ktap_skip("khugepaged cannot be hurried: %s", ktap_errno(errno));
}

/* khugepaged is the adversary; this tells what it does. */
static void watch(struct race_thread *self)
{
	long now = knob_number(KHUGEPAGED "pages_collapsed");

	if (now > collapsed)
		self->acts += (unsigned long)(now - collapsed);
	collapsed = now;
	race_nap(self, 20000);
}

static void khugepaged(void)
{
	huge_prepare(HUGE_HALVES | HUGE_NO_COLLAPSE | HUGE_RESTS);
	race_run(&(struct race_case){
		.name = "khugepaged",
		.flags = RACE_HUGE,
		.pages = huge_pages(),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.adversaries = { { "khugepaged", watch, NULL, 1 } },
		.prepare = hurry,
		.finish = finish,
	});
}

static void collapse(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	int side = arena->flags & RACE_ONE_WAY ? 0 : (int)race_below(&self->rng, 2);

	if (huge_collapse(race_at(arena, side, huge_any(self)), arena->unit * mem_page()))
		self->conflicts++;
	else
		self->acts++;
	race_nap(self, 1000);
}

static void collapse_parts(void)
{
	huge_prepare(HUGE_HALVES | HUGE_NO_COLLAPSE | HUGE_RESTS);
	race_run(&(struct race_case){
		.name = "collapse-parts",
		.flags = RACE_HUGE,
		.pages = huge_pages(),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.adversaries = { { "collapser", collapse, NULL, 0 } },
		.finish = finish,
	});
}

static void collapse_whole(void)
{
	huge_prepare(HUGE_NO_COLLAPSE | HUGE_RESTS);
	race_run(&(struct race_case){
		.name = "collapse-whole",
		.flags = RACE_HUGE,
		.pages = huge_pages(),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.adversaries = { { "collapser", collapse, NULL, 0 } },
		.finish = finish,
	});
}

/* Holes in an unregistered source are filled with zeros, which then move like any page. */
static void zap_and_collapse(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t first = huge_any(self), page = first + race_below(&self->rng, arena->unit);

	if (madvise(race_at(arena, 0, page), mem_page(), MADV_DONTNEED))
		race_fail("MADV_DONTNEED: %s", ktap_errno(errno));
	if (huge_collapse(race_at(arena, 0, first), arena->unit * mem_page()))
		self->conflicts++;
	else
		self->acts++;
	race_nap(self, 1000);
}

static void collapse_holes(void)
{
	huge_prepare(0);
	race_run(&(struct race_case){
		.name = "collapse-holes",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = RACE_ERRNO(ENOENT) | RACE_ERRNO(EBUSY),
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.adversaries = { { "collapser", zap_and_collapse, NULL, 0 } },
		.prepare = huge_refill_prepare,
		.standstill = huge_refill_verify,
		.finish = finish,
	});
}

static const struct ktap_case cases[] = {
	{ "khugepaged", khugepaged },
	{ "collapse-parts", collapse_parts },
	{ "collapse-whole", collapse_whole },
	{ "collapse-holes", collapse_holes },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	return race_main(argc, argv, cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
