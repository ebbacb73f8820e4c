// SPDX-License-Identifier: GPL-2.0-only
/*
 * Swapped-out pages among others, and swap entries that are not ours alone.
 *
 * A swap entry carries the mark of an exclusive page (pte_swp_exclusive()); fork() takes it away
 * on both sides, and then it does not move, with EBUSY, until it was written.  Entries, pages, zero
 * pages and holes may stand side by side in one range, and a call that stops between them has moved
 * what is before.  A page that is mapped and also in the swap cache has to be found there by its
 * new address: it is dropped without being written and read in again.
 *
 * Source: move_pages_pte(), move_swap_pte() and move_present_pte() in mm/userfaultfd.c of v6.12;
 * the series of 2023 has the same check of the entry's mark.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 32
#define SEED 121
#define OTHER 122

/* KPF_SWAPCACHE of include/uapi/linux/kernel-page-flags.h. */
#define FLAG_SWAP_CACHE ((uint64_t)1 << 13)

static struct uffd_pair swapped(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	mem_swap_out(pair.src, pair.len);
	return pair;
}

static void shared_entry_busy(void)
{
	struct uffd_pair pair = swapped();
	pid_t child = child_sharer();

	for (int i = 0; i < 3; i++)
		moved_nothing(&pair, "shared-entry", EBUSY);
	child_end(child);
	/* The other side is gone, and the mark is not back. */
	moved_nothing(&pair, "once-shared-entry", EBUSY);
	CHECK_EQ(mem_swapped_pages(pair.src, pair.len), PAGES);
	mem_fill(pair.src, pair.len, OTHER);
	moved_all(&pair, "written-entry");
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	moved_drop(&pair);
}

/* The child still reads what was swapped out; the parent wrote and moved pages of its own. */
static void read_by_child(void *argument)
{
	struct uffd_pair *pair = argument;

	child_barrier();
	mem_expect(pair->src, pair->len, SEED, "child's pages");
	rss_check("child", getpid());
}

static void written_while_shared(void)
{
	struct uffd_pair pair = swapped();
	pid_t child = child_start(read_by_child, &pair);

	child_meet(child);
	mem_fill(pair.src, pair.len, OTHER);
	moved_all(&pair, "written-while-shared");
	child_end(child);
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	moved_drop(&pair);
}

/* Entries that moved are shared by a fork() like others: both sides read the same bytes. */
static void fork_after_move(void)
{
	struct uffd_pair pair = swapped(), back = { pair.fd, pair.dst, pair.src, pair.len };
	pid_t child;

	uffd_register(pair.fd, pair.src, pair.len);
	moved_all(&pair, "before-fork");
	child = child_start(read_by_child, &back);
	child_meet(child);
	moved_nothing(&back, "after-fork", EBUSY);
	child_end(child);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	rss_check("moved-and-forked", getpid());
	moved_drop(&pair);
}

static void dontfork_moves(void)
{
	struct uffd_pair pair = swapped();
	pid_t child;

	CHECK_SYS(madvise(pair.src, pair.len, MADV_DONTFORK));
	child = child_sharer();
	moved_all(&pair, "dontfork");
	mem_expect(pair.dst, pair.len, SEED, "destination");
	child_end(child);
	moved_drop(&pair);
}

/* The first half was written and swapped out again, and is ours; the rest is still shared. */
static void half_shared(void)
{
	struct uffd_pair pair = swapped(), rest;
	size_t half = pair.len / 2;
	pid_t child = child_sharer();

	mem_fill(pair.src, half, SEED);
	mem_swap_out(pair.src, half);
	moved_expect(&pair, "half-shared", 0, half, EAGAIN);
	rest = moved_rest(&pair, half);
	moved_nothing(&rest, "shared-rest", EBUSY);
	moved_holds(pair.dst, half, SEED, 0, "half that is not shared");
	moved_holds(rest.src, half, SEED, half, "half that is shared");
	child_end(child);
	moved_drop(&pair);
}

enum { ENTRY, PAGE, ZERO, HOLE, KINDS };

/* A pair whose source is all four in turn. */
static struct uffd_pair motley(void)
{
	struct uffd_pair pair = swapped();

	for (size_t i = 0; i < PAGES; i++) {
		volatile char *page = pair.src + i * mem_page();

		if (i % KINDS == ENTRY)
			continue;
		if (i % KINDS == PAGE) {
			*page = *page;
			continue;
		}
		CHECK_SYS(madvise((void *)(uintptr_t)page, mem_page(), MADV_DONTNEED));
		if (i % KINDS == ZERO)
			(void)*page;
	}
	CHECK_EQ(mem_swapped_pages(pair.src, pair.len), PAGES / KINDS);
	CHECK_EQ(mem_present_pages(pair.src, pair.len), 2 * PAGES / KINDS);
	return pair;
}

static void expect_motley(const char *start)
{
	for (size_t i = 0; i < PAGES; i++) {
		const char *page = start + i * mem_page();

		if (i % KINDS == ENTRY || i % KINDS == PAGE)
			moved_holds(page, mem_page(), SEED, i * mem_page(), "page");
		else if (i % KINDS == ZERO)
			CHECK_EQ(*(const volatile uint64_t *)page, 0);
		else
			CHECK_ENTRY(mem_frame(page), 0);
	}
}

static void all_kinds(void)
{
	struct uffd_pair pair = motley();

	/* There zero pages may stay; what they do to the rest is zero.c's. */
	if (uffd_shape() == UFFD_V2)
		return;
	moved_expect(&pair, "all-kinds", UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, pair.len, 0);
	CHECK_EQ(mem_swapped_pages(pair.dst, pair.len), PAGES / KINDS);
	expect_motley(pair.dst);
	rss_check("all-kinds-read", getpid());
	moved_drop(&pair);
}

/* Up to the hole, around it, and up to the next one. */
static void all_kinds_by_parts(void)
{
	struct uffd_pair pair = motley(), rest = pair;

	while (rest.len && uffd_shape() == UFFD_MAIN) {
		moved_expect(&rest, "up-to-hole", 0, HOLE * mem_page(), EAGAIN);
		rest = moved_rest(&rest, HOLE * mem_page());
		moved_nothing(&rest, "hole", ENOENT);
		rest = moved_rest(&rest, mem_page());
	}
	if (uffd_shape() == UFFD_MAIN)
		expect_motley(pair.dst);
	moved_drop(&pair);
}

static void entries_up_to_taken_page(void)
{
	struct uffd_pair pair = swapped(), rest;
	size_t taken = 5 * mem_page();

	CHECK_SYS(munmap(pair.dst, pair.len));
	pair.dst = mem_map(pair.len, 0);
	mem_no_huge(pair.dst, pair.len);
	mem_fill(pair.dst + taken, mem_page(), OTHER);
	uffd_register(pair.fd, pair.dst, pair.len);
	moved_expect(&pair, "up-to-taken", 0, taken, EAGAIN);
	rest = moved_rest(&pair, taken);
	moved_nothing(&rest, "taken", EEXIST);
	mem_expect(pair.dst + taken, mem_page(), OTHER, "page in the way");
	moved_holds(pair.dst, taken, SEED, 0, "what was moved");
	moved_holds(rest.src, rest.len, SEED, taken, "what was not");
	moved_drop(&pair);
}

static void there_and_back(void)
{
	struct uffd_pair pair = swapped(), back = { pair.fd, pair.dst, pair.src, pair.len };

	uffd_register(pair.fd, pair.src, pair.len);
	for (int i = 0; i < 3; i++) {
		moved_all(&pair, "there");
		moved_all(&back, "back");
	}
	mem_expect(pair.src, pair.len, SEED, "source");
	moved_drop(&pair);
}

/* Moved entries that are thrown away free their slots. */
static void dropped_at_destination(void)
{
	struct rss before = rss_read(getpid()), after;
	struct uffd_pair pair = swapped();

	moved_all(&pair, "dropped");
	CHECK_SYS(madvise(pair.dst, pair.len, MADV_DONTNEED));
	after = rss_read(getpid());
	CHECK_EQ(after.walk_swap, before.walk_swap);
	rss_near("VmSwap", after.vm_swap, before.vm_swap);
	moved_drop(&pair);
}

/* Map all of a swapped-out range and leave it in the swap cache too. */
static void map_cached(const struct uffd_pair *pair)
{
	size_t cached = 0;

	for (int attempt = 0; attempt < 10; attempt++) {
		mem_swap_cache(pair->src, pair->len);
		for (size_t at = 0; at < pair->len; at += mem_page())
			(void)*(volatile char *)(pair->src + at);
		cached = mem_pages_with_all(pair->src, pair->len, FLAG_SWAP_CACHE);
		if (cached == PAGES)
			return;
		mem_swap_out(pair->src, pair->len);
	}
	/* The kernel drops a page from there when it is mapped where swap is half full. */
	ktap_skip("only %zu of %d mapped pages stayed in the swap cache", cached, PAGES);
}

/* Mapped and in the swap cache, and clean: reclaim drops it and relies on what is in the slot. */
static void mapped_and_cached(void)
{
	struct uffd_pair pair = swapped();

	map_cached(&pair);
	CHECK_EQ(mem_present_pages(pair.src, pair.len), PAGES);
	moved_all(&pair, "mapped-and-cached");
	mem_expect(pair.dst, pair.len, SEED, "destination");
	mem_swap_out(pair.dst, pair.len);
	mem_expect(pair.dst, pair.len, SEED, "destination after reclaim");
	/* Written now, so that it has to be written out. */
	mem_fill(pair.dst, pair.len, OTHER);
	mem_swap_out(pair.dst, pair.len);
	mem_expect(pair.dst, pair.len, OTHER, "destination after it was written and reclaimed");
	rss_check("mapped-and-cached", getpid());
	moved_drop(&pair);
}

static void shared_entry_in_cache_busy(void)
{
	struct uffd_pair pair = swapped();
	pid_t child = child_sharer();

	mem_swap_cache(pair.src, pair.len);
	moved_nothing(&pair, "shared-cached", EBUSY);
	mem_expect(pair.src, pair.len, SEED, "source after EBUSY");
	child_end(child);
	moved_drop(&pair);
}

static const struct ktap_case cases[] = {
	{ "shared-entry-busy", shared_entry_busy },
	{ "written-while-shared", written_while_shared },
	{ "shared-at-destination", fork_after_move },
	{ "dontfork-moves", dontfork_moves },
	{ "half-shared", half_shared },
	{ "all-kinds", all_kinds },
	{ "all-kinds-by-parts", all_kinds_by_parts },
	{ "entries-up-to-taken-page", entries_up_to_taken_page },
	{ "there-and-back", there_and_back },
	{ "dropped-at-destination", dropped_at_destination },
	{ "mapped-and-cached", mapped_and_cached },
	{ "shared-entry-in-cache-busy", shared_entry_in_cache_busy },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_swap());
}
