// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves while KSM scans both sides, merges pages alike, and lets go of them.  A merged page is not
 * ours alone: EBUSY, repeatably, until it is written; then it moves again.  A page that KSM has only
 * looked at moves as any other; it moves away under KSM's hands, and nothing is merged that differs.
 *
 * Source: PageAnonExclusive() in move_pages_pte() in mm/userfaultfd.c, try_to_merge_one_page() and
 * break_ksm() in mm/ksm.c, Documentation/admin-guide/mm/ksm.rst of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "knob.h"
#include "mem.h"
#include "race.h"
#include "uffd.h"

#define KSM "/sys/kernel/mm/ksm/"
#define KINDS 8 /* of page contents: each has many pages that KSM can merge */

/* All of a page's words are the same and tell its kind. */
static uint64_t kind_word(size_t page)
{
	return (page % KINDS + 1) * 0x9e3779b97f4a7c15u;
}

static void write_page(struct race_arena *arena, int side, size_t page)
{
	uint64_t word = kind_word(page);
	char *at = race_at(arena, side, page);

	for (size_t i = 0; i < mem_page(); i += sizeof(word))
		*(volatile uint64_t *)(at + i) = word;
}

static void check_page(struct race_arena *arena, int side, size_t page, const char *when)
{
	uint64_t want = kind_word(page), got = 0;
	size_t last = mem_page() - sizeof(want);
	int signal = 0;

	for (size_t at = 0; at <= last; at += last / 7 / sizeof(got) * sizeof(got)) {
		signal = race_read(race_at(arena, side, page) + at, &got, sizeof(got));
		if (signal || got != want) {
			race_fail("%s: page %zu on side %d at %zu: %s, got %#llx, expected %#llx",
				  when, page, side, at, signal ? "fault" : "no fault",
				  (unsigned long long)got, (unsigned long long)want);
			return;
		}
	}
}

static void begin(struct race_arena *arena)
{
	size_t len = arena->pages * mem_page();

	if (access(KSM "run", W_OK))
		ktap_skip("no " KSM "run (CONFIG_KSM is off)");
	for (size_t page = 0; page < arena->pages; page++)
		write_page(arena, 0, page);
	uffd_register(arena->uffd, arena->side[0], len);
	for (int side = 0; side < 2; side++)
		CHECK_SYS(madvise(arena->side[side], len, MADV_MERGEABLE));
	/* Not every kernel has each of these. */
	(void)knob_set(KSM "smart_scan", "0");
	(void)knob_set(KSM "advisor_mode", "none");
	CHECK_SYS(knob_set_number(KSM "sleep_millisecs", 2));
	CHECK_SYS(knob_set_number(KSM "pages_to_scan", (long)arena->pages));
	CHECK_SYS(knob_set(KSM "run", "1"));
}

static void finish(struct race_arena *arena)
{
	(void)arena;
	ktap_diag("sharing now: %ld", knob_number(KSM "pages_sharing"));
	knob_restore();
}

/* A mover of its own pages, which know nothing but their kind. */
static void carry(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t start, count, same = 1, moved;
	struct uffd_result result;
	int from;

	race_pick(self, &start, &count);
	from = arena->at[start];
	while (same < count && arena->at[start + same] == from)
		same++;
	result = uffd_move(arena->uffd, race_at(arena, !from, start), race_at(arena, from, start),
			   same * mem_page(), 0);
	moved = race_judge(self, result, same * mem_page()) / mem_page();
	for (size_t page = start; page < start + moved; page++) {
		uint64_t left;

		arena->at[page] = !from;
		race_entries(arena, from, page, 1, &left);
		if (race_populated(left))
			race_fail("page %zu was moved, but its source is not empty: %#llx", page,
				  (unsigned long long)left);
		check_page(arena, !from, page, "after a move");
	}
	/* Written with what it holds anyway, the merged page becomes ours again. */
	if (result.err == EBUSY && race_below(&self->rng, 4))
		write_page(arena, from, start);
	/* It takes two scans with the same contents to merge a page. */
	if (!race_below(&self->rng, 64))
		race_nap(self, 30000);
}

static void standstill(struct race_arena *arena)
{
	for (size_t page = 0; page < arena->pages; page++) {
		int side = arena->at[page];
		uint64_t here, there;

		race_entries(arena, side, page, 1, &here);
		race_entries(arena, !side, page, 1, &there);
		if (!race_populated(here) || race_populated(there))
			race_fail("page %zu is to be on side %d alone: entries %#llx and %#llx",
				  page, side, (unsigned long long)here, (unsigned long long)there);
		else
			check_page(arena, side, page, "at a standstill");
	}
}

/* KSM is the adversary; this tells whether it merges. */
static void watch(struct race_thread *self)
{
	if (knob_number(KSM "pages_sharing") > 0)
		self->acts++;
	race_nap(self, 20000);
}

/* Everything is taken apart, and KSM begins again. */
static void unmerge(struct race_thread *self)
{
	race_nap(self, 200000);
	if (race_over())
		return;
	if (knob_set(KSM "run", "2") || knob_set(KSM "run", "1"))
		race_fail(KSM "run: %s", ktap_errno(errno));
	else
		self->acts++;
}

static void run(const char *name, unsigned int flags, size_t pages, race_step second)
{
	race_run(&(struct race_case){
		.name = name,
		.flags = RACE_ONE_WAY | flags,
		.pages = pages,
		.errnos = RACE_ERRNO(EBUSY),
		.mover = { "mover", carry, NULL, 0 },
		.adversaries = { { "ksm", watch, NULL, 1 },
				 { second ? "unmerger" : NULL, second, NULL, 1 } },
		.prepare = begin,
		.standstill = standstill,
		.finish = finish,
	});
}

static void scanning(void)
{
	run("scanning", 0, 256, NULL);
}

static void unmerging(void)
{
	run("unmerging", 0, 256, unmerge);
}

/* KSM splits a huge page to merge pages of it. */
static void huge(void)
{
	if (mem_why_no_huge())
		ktap_skip("%s", mem_why_no_huge());
	run("huge", RACE_HUGE, (size_t)race_options()->intensity * mem_huge() / mem_page(), NULL);
}

static const struct ktap_case cases[] = {
	{ "scanning", scanning },
	{ "unmerging", unmerging },
	{ "huge", huge },
};

int main(int argc, char **argv)
{
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
