// SPDX-License-Identifier: GPL-2.0-only
/*
 * Movers against each other and against threads that use the pages.  A move is atomic for all
 * other threads: who writes to a page writes to it in one place or in the other, or faults, and no
 * update is lost.  Two movers that want the same page or the same place: one of them moves, the
 * other is told ENOENT or EEXIST; nothing is lost, nothing doubled, nothing overwritten.
 *
 * Source: move_pages() and its comment, move_present_pte() in mm/userfaultfd.c of v6.12, and
 * Documentation/admin-guide/mm/userfaultfd.rst of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>

#include "mem.h"
#include "race.h"

static void alone(void)
{
	race_run(&(struct race_case){ .name = "alone", .flags = RACE_IDENTITY });
}

/* Count up a page wherever it may be; an access to the empty side must be SIGBUS. */
static void write_anywhere(struct race_thread *self)
{
	size_t page = race_below(&self->rng, self->arena->pages);
	int side = (int)race_below(&self->rng, 2);

	switch (race_bump(self->arena, side, page)) {
	case 0:
		self->acts++;
		break;
	case SIGBUS:
		self->conflicts++;
		break;
	default:
		race_fail("page %zu: a write to side %d raised SIGSEGV", page, side);
	}
}

static void writers(void)
{
	race_run(&(struct race_case){
		.name = "writers",
		.flags = RACE_IDENTITY | RACE_COUNTED,
		.pages = 32,
		.adversaries = { { "writer", write_anywhere, NULL, 0 } },
	});
}

static void overlapping(void)
{
	race_run(&(struct race_case){
		.name = "overlapping",
		.flags = RACE_SHARED | RACE_COUNTED,
		.pages = 32,
		.errnos = RACE_ERRNO(ENOENT) | RACE_ERRNO(EEXIST),
		.adversaries = { { "writer", write_anywhere, NULL, 1 } },
	});
}

static const struct ktap_case cases[] = {
	{ "alone", alone },
	{ "writers", writers },
	{ "overlapping", overlapping },
};

int main(int argc, char **argv)
{
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
