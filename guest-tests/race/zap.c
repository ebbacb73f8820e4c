// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that are taken away from the source and filled anew while a move is under way, and a
 * destination that is mapped anew.  The move takes what is there at one moment: the page of before,
 * or that of after, or it says ENOENT.  A retry that kept the page of its first look would map a
 * page that is no longer there.
 *
 * A filler writes words that tell page, filling and position.  What arrives must be of one filling,
 * of no filling older than what arrived before, and no word arrives twice.  While all stand still
 * no word of the last filling may be missing: it arrived, or it is still in the source.  A page that
 * is filled again after MADV_FREE, before it was dropped, and that moves in the middle of it, holds
 * words of the filling before as well.
 *
 * Source: move_pages_pte() of mm/userfaultfd.c of v6.12 (pte_same() under the page table locks, and
 * the retry loop above it); MADV_DONTNEED and MADV_FREE of madvise(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem.h"
#include "race.h"
#include "uffd_abi.h"

#define WORDS 8
#define PAGES 64

/* What is known of a page: by its filler, and by its mover of what arrived last. */
static struct {
	uint64_t filled;
	uint64_t arrived;
	unsigned int words; /* which words of the filling "arrived" arrived */
} book[PAGES];

enum { GONE = 1, LEFT_OVER = 2 };
static int volatile_dst; /* what arrived may be gone before it is looked at */
static int left_over; /* words of the filling before may stand beside the newest's */

static size_t place(size_t word)
{
	return word * (mem_page() / sizeof(uint64_t) - 1) / (WORDS - 1);
}

static uint64_t value(size_t page, uint64_t filling, size_t word)
{
	return (uint64_t)(page + 1) << 48 | filling << 8 | (word + 1);
}

static uint64_t filling_of(uint64_t word)
{
	return (word & (((uint64_t)1 << 48) - 1)) >> 8;
}

/* Which words a page holds, and of which filling (0: none); complains of anything else. */
static unsigned int decode(const uint64_t *words, size_t page, uint64_t *filling)
{
	unsigned int found = 0;

	*filling = 0;
	for (size_t i = 0; i < WORDS; i++)
		if (words[i] && filling_of(words[i]) > *filling)
			*filling = filling_of(words[i]);
	for (size_t i = 0; i < WORDS; i++) {
		uint64_t word = words[i], of = filling_of(word);

		if (!word)
			continue;
		if (word != value(page, of, i) ||
		    (of != *filling && !(left_over && of + 1 == *filling))) {
			race_fail("page %zu, word %zu: got %#llx, another word is of filling %llu", page,
				  i, (unsigned long long)word, (unsigned long long)*filling);
			return 0;
		}
		if (of == *filling)
			found |= 1u << i;
	}
	return found;
}

static int read_words(const char *page, uint64_t *words)
{
	int signal = 0;

	for (size_t i = 0; i < WORDS && !signal; i++)
		signal = race_read((const uint64_t *)page + place(i), &words[i], sizeof(*words));
	return signal;
}

static void fill(struct race_thread *self, size_t page)
{
	uint64_t filling = ++book[page].filled;

	for (size_t i = 0; i < WORDS; i++) {
		uint64_t word = value(page, filling, i);

		if (race_write((uint64_t *)race_at(self->arena, 0, page) + place(i), &word,
			       sizeof(word)))
			race_fail("page %zu of the source cannot be written", page);
	}
}

static void zap(struct race_thread *self)
{
	size_t start, count;

	race_pick_share(self, &start, &count);
	if (madvise(race_at(self->arena, 0, start), count * mem_page(), MADV_DONTNEED))
		race_fail("MADV_DONTNEED: %s", ktap_errno(errno));
	for (size_t i = start; i < start + count; i++) {
		/* Now and then a zero page first. */
		if (!race_below(&self->rng, 8))
			(void)*(volatile char *)race_at(self->arena, 0, i);
		fill(self, i);
	}
	self->acts++;
}

static void map_at(char *start, size_t len)
{
	void *got = mmap(start, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (got != start)
		race_fail("mmap: %s", ktap_errno(errno));
	mem_no_huge(start, len);
}

static void map_source_anew(struct race_thread *self)
{
	size_t start, count;
	char *at;

	race_pick_share(self, &start, &count);
	at = race_at(self->arena, 0, start);
	if (race_below(&self->rng, 2)) {
		munmap(at, count * mem_page());
		race_nap(self, 200);
	}
	map_at(at, count * mem_page());
	for (size_t i = start; i < start + count; i++)
		fill(self, i);
	self->acts++;
}

static void map_destination_anew(struct race_thread *self)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	size_t start, count;
	char *at;

	race_pick_share(self, &start, &count);
	at = race_at(self->arena, 1, start);
	if (race_below(&self->rng, 2)) {
		munmap(at, count * mem_page());
		race_nap(self, 200);
	}
	map_at(at, count * mem_page());
	if (race_below(&self->rng, 2))
		race_nap(self, 200);
	reg.range = (struct uffdio_range){ (uint64_t)(uintptr_t)at, count * mem_page() };
	if (ioctl(self->arena->uffd, UFFDIO_REGISTER, &reg))
		race_fail("UFFDIO_REGISTER: %s", ktap_errno(errno));
	self->acts++;
	race_nap(self, 1000);
}

/* Makes movers and others wait for page and rmap locks, where the retries are. */
static void page_out_source(struct race_thread *self)
{
	size_t start, count;

	race_pick(self, &start, &count);
	(void)madvise(race_at(self->arena, 0, start), count * mem_page(), MADV_PAGEOUT);
	self->acts++;
}

static void free_lazily(struct race_thread *self)
{
	size_t start, count;

	race_pick_share(self, &start, &count);
	if (madvise(race_at(self->arena, 0, start), count * mem_page(), MADV_FREE))
		race_fail("MADV_FREE: %s", ktap_errno(errno));
	if (race_below(&self->rng, 2))
		race_nap(self, 200);
	/* Written to again: what is written now must not be dropped with the rest. */
	for (size_t i = start; i < start + count; i++)
		fill(self, i);
	self->acts++;
}

static void arrived(struct race_thread *self, size_t page)
{
	uint64_t words[WORDS], filling;
	unsigned int found;

	if (read_words(race_at(self->arena, 1, page), words))
		return; /* a hole, or mapped anew */
	found = decode(words, page, &filling);
	if (!found)
		return;
	if (filling < book[page].arrived ||
	    (filling == book[page].arrived && (found & book[page].words)))
		race_fail("page %zu: words %#x of filling %llu arrived, after words %#x of filling %llu",
			  page, found, (unsigned long long)filling, book[page].words,
			  (unsigned long long)book[page].arrived);
	if (filling > book[page].arrived)
		book[page].words = 0;
	book[page].arrived = filling;
	book[page].words |= found;
}

/* Take what is in the source, look at it, drop it. */
static void take(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t start, count, moved, len;
	uint64_t mode = race_below(&self->rng, 2) ? UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES : 0;
	char *dst;

	race_pick(self, &start, &count);
	dst = race_at(arena, 1, start);
	len = count * mem_page();
	moved = race_judge(self, uffd_move(arena->uffd, dst, race_at(arena, 0, start), len, mode),
			   len) / mem_page();
	for (size_t i = 0; i < moved; i++)
		arrived(self, start + i);
	if (madvise(dst, len, MADV_DONTNEED) && !volatile_dst)
		race_fail("MADV_DONTNEED: %s", ktap_errno(errno));
}

static void nothing_missing(struct race_arena *arena)
{
	uint64_t words[WORDS], filling;
	unsigned int found;

	for (size_t page = 0; page < arena->pages && !volatile_dst; page++) {
		if (read_words(race_at(arena, 0, page), words)) {
			race_fail("page %zu of the source cannot be read", page);
			return;
		}
		found = decode(words, page, &filling);
		if (found && filling != book[page].filled)
			race_fail("page %zu: the source holds filling %llu, the last was %llu", page,
				  (unsigned long long)filling,
				  (unsigned long long)book[page].filled);
		if (book[page].arrived == book[page].filled) {
			if (found & book[page].words)
				race_fail("page %zu: words %#x arrived and %#x are still there", page,
					  book[page].words, found);
			found |= book[page].words;
		}
		if (book[page].filled && found != (1u << WORDS) - 1)
			race_fail("page %zu: of filling %llu words %#x are left of %#x", page,
				  (unsigned long long)book[page].filled, found, (1u << WORDS) - 1);
	}
}

static void conveyor(const char *name, int flags, uint64_t errnos, struct race_role first,
		     struct race_role second)
{
	volatile_dst = flags & GONE;
	left_over = flags & LEFT_OVER;
	memset(book, 0, sizeof(book));
	/* A zero page in the source: mapped anew by the merged shape, refused by that of 2023. */
	if (uffd_shape() == UFFD_V2)
		errnos |= RACE_ERRNO(EBUSY);
	race_run(&(struct race_case){
		.name = name,
		.flags = RACE_ONE_WAY,
		.pages = PAGES,
		.errnos = errnos | RACE_ERRNO(ENOENT),
		.mover = { "mover", take, NULL, 0 },
		.adversaries = { first, second },
		.standstill = nothing_missing,
	});
}

static const struct race_role nobody;
static const struct race_role pager = { "pageout", page_out_source, NULL, 1 };

static void dontneed(void)
{
	conveyor("dontneed", 0, 0, (struct race_role){ "zapper", zap, NULL, 0 }, nobody);
}

/* EBUSY: a page read in while it is written to swap may be mapped as one that is not ours alone. */
static void dontneed_pageout(void)
{
	conveyor("dontneed-pageout", 0, RACE_ERRNO(EBUSY),
		 (struct race_role){ "zapper", zap, NULL, 0 }, pager);
}

static void lazy_free(void)
{
	conveyor("lazy-free", LEFT_OVER, RACE_ERRNO(EBUSY),
		 (struct race_role){ "free", free_lazily, NULL, 0 }, pager);
}

/* EINVAL: a range that lies across two mappings. */
static void map_source(void)
{
	conveyor("map-source", 0, RACE_ERRNO(EINVAL),
		 (struct race_role){ "mapper", map_source_anew, NULL, 0 }, nobody);
}

/* EEXIST: looked at while it was not registered, the destination got a zero page. */
static void map_destination(void)
{
	conveyor("map-destination", GONE, RACE_ERRNO(EINVAL) | RACE_ERRNO(EEXIST),
		 (struct race_role){ "mapper", map_destination_anew, NULL, 1 },
		 (struct race_role){ "zapper", zap, NULL, 0 });
}

static const struct ktap_case cases[] = {
	{ "dontneed", dontneed },
	{ "dontneed-pageout", dontneed_pageout },
	{ "lazy-free", lazy_free },
	{ "map-source", map_source },
	{ "map-destination", map_destination },
};

int main(int argc, char **argv)
{
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
