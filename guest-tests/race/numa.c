// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves while the pages migrate between two NUMA nodes: base pages and whole huge pages, whose
 * migration entries stand in the PMD.  A move waits for the end of a migration and starts over, and
 * splits a PMD that is one without looking at a page that is not there; the mover sees no error.
 *
 * v6.12 on x86_64 does say ENOENT of a huge page that is just being migrated: move_pages() asks
 * pmd_devmap() first, whose bit is set in a migration entry.  The case migration-entry is for that
 * alone, and so the other cases bear with it: there a page must only stay where it is.
 *
 * Source: move_pages() ("Can be a migration entry") in mm/userfaultfd.c, move_pages_huge_pmd() in
 * mm/huge_memory.c of v6.12; move_pages(2), mbind(2), migrate_pages(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hugerace.h"
#include "mem.h"
#include "rss.h"

/* <linux/mempolicy.h>, which not every build host has. */
#define BIND 2
#define MOVE_MINE (1u << 1)

#define BATCH 32

static long huge_migrations;

static void begin(struct race_arena *arena)
{
	(void)arena;
	huge_migrations = sys_vmstat("thp_migration_success");
}

static void finish(struct race_arena *arena)
{
	(void)arena;
	ktap_diag("whole moves: %lu, put together again: %lu, huge pages migrated: %ld",
		  huge_whole_moves(), huge_collapses(),
		  sys_vmstat("thp_migration_success") - huge_migrations);
}

/* Some pages, or some of one huge page, to either node; those that arrived count. */
static void move_some(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	int node = (int)race_below(&self->rng, 2), side = (int)race_below(&self->rng, 2);
	int nodes[BATCH], status[BATCH] = { 0 };
	size_t first = arena->unit > 1 ? huge_any(self) : race_below(&self->rng, arena->pages);
	size_t count = arena->unit > 1 ? 1 : BATCH;
	void *pages[BATCH];

	if (count > arena->pages - first)
		count = arena->pages - first;
	for (size_t i = 0; i < count; i++) {
		pages[i] = race_at(arena, side, first + i);
		nodes[i] = node;
		status[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, count, pages, nodes, status, MOVE_MINE) < 0)
		self->conflicts++;
	for (size_t i = 0; i < count; i++)
		self->acts += status[i] == node;
	race_nap(self, 500);
}

/* A policy for a range that its pages have to follow at once. */
static void bind_some(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	unsigned long mask = 1ul << race_below(&self->rng, 2);
	size_t count = arena->unit > 1 ? arena->unit : BATCH;
	size_t first = arena->unit > 1 ? huge_any(self) :
					 race_below(&self->rng, arena->pages / BATCH) * BATCH;
	int side = (int)race_below(&self->rng, 2);

	if (syscall(SYS_mbind, race_at(arena, side, first), count * mem_page(), BIND, &mask,
		    8 * sizeof(mask), MOVE_MINE))
		self->conflicts++;
	else
		self->acts++;
	/* Back to the default: the mappings become one again. */
	(void)syscall(SYS_mbind, race_at(arena, side, first), count * mem_page(), 0, NULL, 0, 0);
	race_nap(self, 500);
}

static void migrate_all(struct race_thread *self)
{
	unsigned long from = 1ul << race_below(&self->rng, 2), to = 3 ^ from;

	/* How many pages could not be migrated, or -1. */
	if (syscall(SYS_migrate_pages, 0, 8 * sizeof(from), &from, &to) < 0)
		self->conflicts++;
	else
		self->acts++;
	race_nap(self, 5000);
}

static void base_pages(void)
{
	race_run(&(struct race_case){
		.name = "base-pages",
		.pages = 512,
		.adversaries = { { "move_pages", move_some, NULL, 0 } },
	});
}

static void huge(const char *name, unsigned int flags, race_step adversary, uint64_t errnos)
{
	huge_prepare(flags);
	race_run(&(struct race_case){
		.name = name,
		.flags = RACE_HUGE,
		.pages = huge_pages(),
		.errnos = errnos,
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.adversaries = { { "migrator", adversary, NULL, 0 } },
		.prepare = begin,
		.finish = finish,
	});
}

static void huge_pages_move(void)
{
	huge("huge-pages", 0, move_some, RACE_ERRNO(ENOENT));
}

static void huge_halves(void)
{
	huge("huge-halves", HUGE_HALVES, move_some, RACE_ERRNO(ENOENT));
}

static void huge_mbind(void)
{
	huge("huge-mbind", 0, bind_some, RACE_ERRNO(ENOENT));
}

static void huge_migrate(void)
{
	huge("huge-migrate", 0, migrate_all, RACE_ERRNO(ENOENT));
}

/*
 * Whole huge pages to and fro, by one mover that owns them all and never looks at them, because a
 * look would wait for the end of a migration: nothing may be refused.
 */
static void to_and_fro(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t len = arena->unit * mem_page(), moved;

	for (size_t first = 0; first < arena->pages && !race_over(); first += arena->unit) {
		int from = arena->flips[first];

		moved = race_judge(self,
				   uffd_move(arena->uffd, race_at(arena, !from, first),
					     race_at(arena, from, first), len, 0),
				   len);
		for (size_t i = 0; i < moved / mem_page(); i++)
			arena->flips[first + i] = !from;
	}
}

/* Each huge page to the other node, wherever it is. */
static void migrate_each(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t units = arena->pages / arena->unit, unit = race_below(&self->rng, units);

	for (int both = 0; both < 4 && !race_over(); both++) {
		void *page = race_at(arena, both & 1, unit * arena->unit);
		int node = both >> 1, status = -1;

		if (syscall(SYS_move_pages, 0, 1ul, &page, &node, &status, MOVE_MINE) < 0)
			self->conflicts++;
		self->acts += status == node;
	}
}

static void migration_entry(void)
{
	huge_prepare(0);
	race_run(&(struct race_case){
		.name = "migration-entry",
		.flags = RACE_HUGE | RACE_SHARED,
		.pages = mem_huge() / mem_page(),
		.mover = { "mover", to_and_fro, NULL, 1 },
		.adversaries = { { "migrator", migrate_each, NULL, 1 } },
		.prepare = begin,
		.finish = finish,
	});
}

static const struct ktap_case cases[] = {
	{ "base-pages", base_pages },
	{ "huge-pages", huge_pages_move },
	{ "huge-halves", huge_halves },
	{ "huge-mbind", huge_mbind },
	{ "huge-migrate", huge_migrate },
	{ "migration-entry", migration_entry },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	return race_main(argc, argv, cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
