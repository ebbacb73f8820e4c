// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves of huge pages from a source that others zap, refault, unmap and map elsewhere meanwhile: the
 * page tables that a move has just looked at are gone, or huge, or another page's.  A move then sees
 * a hole (ENOENT), a page that has vanished while it was split (EBUSY), or starts over (EAGAIN); it
 * is never EFAULT.  What arrives at the destination is this page's, and of this round.
 *
 * Source: move_pages() in mm/userfaultfd.c ("MADV_DONTNEED can zap transparent huge pages under us,
 * or the transparent huge page fault can establish new"), move_pages_huge_pmd() in mm/huge_memory.c
 * of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "hugerace.h"
#include "knob.h"
#include "mem.h"

#define LOST (RACE_ERRNO(ENOENT) | RACE_ERRNO(EBUSY))

static void finish(struct race_arena *arena)
{
	(void)arena;
	ktap_diag("whole moves: %lu", huge_whole_moves());
}

static void touch(struct race_thread *self, size_t page, int writing)
{
	uint64_t word;

	if (writing)
		(void)huge_write_foreign(self->arena, page);
	else
		(void)race_read(race_at(self->arena, 0, page), &word, sizeof(word));
}

static void zap(struct race_thread *self, int side, size_t page, size_t count)
{
	if (madvise(race_at(self->arena, side, page), count * mem_page(), MADV_DONTNEED))
		race_fail("MADV_DONTNEED: %s", ktap_errno(errno));
	else
		self->acts++;
}

/* Some base pages of a huge page, and often one comes back at once. */
static void zap_some(struct race_thread *self)
{
	size_t unit = self->arena->unit, at = race_below(&self->rng, unit);
	size_t count = race_below(&self->rng, 4) ? 1 : 1 + race_below(&self->rng, unit - at);
	size_t first = huge_any(self);

	zap(self, 0, first + at, count);
	if (race_below(&self->rng, 4))
		touch(self, first + at, race_below(&self->rng, 4) != 0);
	race_nap(self, 300);
}

static void zap_page(void)
{
	huge_prepare(0);
	race_run(&(struct race_case){
		.name = "zap-page",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = LOST,
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.adversaries = { { "zapper", zap_some, NULL, 0 } },
		.prepare = huge_refill_prepare,
		.standstill = huge_refill_verify,
		.finish = finish,
	});
}

static void small_folios(struct race_arena *arena)
{
	huge_refill_prepare(arena);
	if (huge_small_folios())
		ktap_skip("no smaller huge pages here");
}

static void finish_small(struct race_arena *arena)
{
	(void)arena;
	knob_restore();
}

/* The source is of folios of 16 pages: each move splits one, and the zapper takes pages out of it. */
static void zap_mthp(void)
{
	huge_prepare(0);
	race_run(&(struct race_case){
		.name = "zap-mthp",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = LOST,
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.adversaries = { { "zapper", zap_some, NULL, 0 } },
		.prepare = small_folios,
		.standstill = huge_refill_verify,
		.finish = finish_small,
	});
}

/* Whole huge pages, on both sides; the source's come back by a fault. */
static void zap_whole(struct race_thread *self)
{
	size_t first = huge_any(self);
	int side = !race_below(&self->rng, 4);

	zap(self, side, first, self->arena->unit);
	if (!side && race_below(&self->rng, 4))
		touch(self, first + race_below(&self->rng, self->arena->unit),
		      (int)race_below(&self->rng, 2));
	race_nap(self, 300);
}

static void zap_huge(void)
{
	huge_prepare(HUGE_ZAPS_DST);
	race_run(&(struct race_case){
		.name = "zap-huge",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = LOST,
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.adversaries = { { "zapper", zap_whole, NULL, 0 } },
		.prepare = huge_refill_prepare,
		.standstill = huge_refill_verify,
		.finish = finish,
	});
}

/* Only reading: the source is the huge zero page, until the mover writes to it. */
static void zero(struct race_thread *self)
{
	size_t first = huge_any(self);

	zap(self, 0, first, self->arena->unit);
	touch(self, first + race_below(&self->rng, self->arena->unit), 0);
	race_nap(self, 100);
}

static void huge_zero(void)
{
	huge_prepare(0);
	race_run(&(struct race_case){
		.name = "huge-zero",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = LOST,
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.adversaries = { { "reader", zero, NULL, 0 } },
		.prepare = huge_refill_prepare,
		.standstill = huge_refill_verify,
		.finish = finish,
	});
}

/* One base page loses its mapping for a moment, which splits the huge page and the mapping. */
static void unmap(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t page = huge_any(self) + race_below(&self->rng, arena->unit);
	char *at = race_at(arena, 0, page);

	if (!munmap(at, mem_page()))
		self->acts++;
	race_nap(self, 200);
	if (mmap(at, mem_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) != at ||
	    madvise(at, mem_page(), MADV_HUGEPAGE))
		race_fail("a page cannot be mapped again: %s", ktap_errno(errno));
	touch(self, page, 1);
	race_nap(self, 300);
}

/* EINVAL: the range lies across two mappings. */
static void unmap_page(void)
{
	huge_prepare(HUGE_UNMAPS);
	race_run(&(struct race_case){
		.name = "unmap-page",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = LOST | RACE_ERRNO(EINVAL),
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.adversaries = { { "unmapper", unmap, NULL, 1 } },
		.prepare = huge_refill_prepare,
		.standstill = huge_refill_verify,
		.finish = finish,
	});
}

static char *elsewhere;

/* Nobody else is to be put there while it is free. */
static void keep_elsewhere(size_t len)
{
	if (mmap(elsewhere, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		 -1, 0) != elsewhere)
		race_fail("mmap: %s", ktap_errno(errno));
}

static void prepare_remap(struct race_arena *arena)
{
	huge_refill_prepare(arena);
	elsewhere = mem_map(arena->unit * mem_page(), mem_huge());
}

static void finish_remap(struct race_arena *arena)
{
	munmap(elsewhere, arena->unit * mem_page());
	finish(arena);
}

/* A huge page's range goes to another address, huge or not, and comes back. */
static void remap(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t len = arena->unit * mem_page();
	char *at = race_at(arena, 0, huge_any(self));

	/* EFAULT: a mover maps it anew just now, in several mappings. */
	if (mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == MAP_FAILED) {
		keep_elsewhere(len);
		return;
	}
	self->acts++;
	race_nap(self, 200);
	if (mremap(elsewhere, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
		race_fail("mremap back: %s", ktap_errno(errno));
	keep_elsewhere(len);
	race_nap(self, 500);
}

static void remap_huge(void)
{
	huge_prepare(HUGE_UNMAPS | HUGE_REMAPS);
	race_run(&(struct race_case){
		.name = "remap-huge",
		.flags = RACE_HUGE | RACE_ONE_WAY,
		.pages = huge_pages(),
		.errnos = LOST,
		.mover = { "mover", huge_refill, NULL, huge_movers() },
		.adversaries = { { "remapper", remap, NULL, 1 } },
		.prepare = prepare_remap,
		.standstill = huge_refill_verify,
		.finish = finish_remap,
	});
}

static const struct ktap_case cases[] = {
	{ "zap-page", zap_page },
	{ "zap-mthp", zap_mthp },
	{ "zap-huge", zap_huge },
	{ "huge-zero", huge_zero },
	{ "unmap-page", unmap_page },
	{ "remap-huge", remap_huge },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	return race_main(argc, argv, cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
