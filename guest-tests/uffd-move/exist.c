// SPDX-License-Identifier: GPL-2.0-only
/*
 * A destination that is populated already: EEXIST, and nothing is overwritten or lost.  (Huge and
 * swapped-out destinations are in thp.c and swap.c.)
 *
 * Source: move_pages_pte() in mm/userfaultfd.c of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 16
#define SEED 11
#define OTHER 12

/* A pair whose destination was populated, up to pages, before it was registered. */
static struct uffd_pair populated_pair(size_t from, size_t pages)
{
	struct uffd_pair pair = { .len = PAGES * mem_page() };

	pair.fd = uffd_open(0);
	pair.src = mem_map(pair.len, 0);
	pair.dst = mem_map(pair.len, 0);
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len);
	mem_fill(pair.src, pair.len, SEED);
	mem_fill(pair.dst + from * mem_page(), pages * mem_page(), OTHER);
	uffd_register(pair.fd, pair.dst, pair.len);
	return pair;
}

static void populated(void)
{
	struct uffd_pair pair = populated_pair(0, PAGES);
	struct rss before = rss_ledger("populated-before-move", getpid()), after;
	struct uffd_result result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);

	after = rss_ledger("populated-after-move", getpid());
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(result.moved, -EEXIST);
	mem_expect(pair.dst, pair.len, OTHER, "destination after EEXIST");
	mem_expect(pair.src, pair.len, SEED, "source after EEXIST");
	rss_conserved(&before, &after);
	close(pair.fd);
}

static void allow_holes_no_excuse(void)
{
	struct uffd_pair pair = populated_pair(0, PAGES);
	struct uffd_result result;

	CHECK_SYS(madvise(pair.src, pair.len, MADV_DONTNEED));
	result = uffd_move(pair.fd, pair.dst, pair.src, mem_page(),
			   UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	/*
	 * Without a page table below the source the hole is found first; with one the destination
	 * is looked at first, and MADV_DONTNEED keeps the table.
	 */
	CHECK_ERRNO(result.err, EEXIST);
	mem_expect(pair.dst, pair.len, OTHER, "destination after EEXIST");
	close(pair.fd);
}

static void zero_page_destination(void)
{
	struct uffd_pair pair = { .len = mem_page() };
	struct uffd_result result;

	pair.fd = uffd_open(0);
	pair.src = mem_map(pair.len, 0);
	pair.dst = mem_map(pair.len, 0);
	mem_no_huge(pair.dst, pair.len);
	mem_fill(pair.src, pair.len, SEED);
	CHECK_EQ(*(volatile char *)pair.dst, 0);
	uffd_register(pair.fd, pair.dst, pair.len);
	result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(*(volatile char *)pair.dst, 0);
	mem_expect(pair.src, pair.len, SEED, "source after EEXIST");
	close(pair.fd);
}

static void half_way(void)
{
	const size_t first_taken = 6;
	struct uffd_pair pair = populated_pair(first_taken, 1);
	struct uffd_result result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);
	size_t moved = first_taken * mem_page();

	CHECK_ERRNO(result.err, EAGAIN);
	CHECK_EQ(result.moved, moved);
	mem_expect(pair.dst, moved, SEED, "what was moved");
	mem_expect(pair.dst + moved, mem_page(), OTHER, "the page in the way");
	CHECK_EQ(mem_present_pages(pair.src, pair.len), PAGES - first_taken);
	result = uffd_move(pair.fd, pair.dst + moved, pair.src + moved, pair.len - moved, 0);
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(result.moved, -EEXIST);
	close(pair.fd);
}

/* The second move to one place fails, and the page that lost the race is still at its source. */
static void second_move(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	char *late = mem_map(pair.len, 0);
	struct uffd_result result;

	mem_no_huge(late, pair.len);
	mem_fill(late, pair.len, OTHER);
	uffd_move_all(&pair);
	result = uffd_move(pair.fd, pair.dst, late, pair.len, 0);
	CHECK_ERRNO(result.err, EEXIST);
	mem_expect(pair.dst, pair.len, SEED, "destination after the second move");
	mem_expect(late, pair.len, OTHER, "source of the second move");
	rss_check("second-move", getpid());
	close(pair.fd);
}

/* After MADV_DONTNEED the destination is free again. */
static void freed_destination(void)
{
	struct uffd_pair pair = populated_pair(0, PAGES);

	CHECK_SYS(madvise(pair.dst, pair.len, MADV_DONTNEED));
	uffd_move_all(&pair);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "populated", populated },
	{ "allow-holes-no-excuse", allow_holes_no_excuse },
	{ "zero-page-destination", zero_page_destination },
	{ "half-way", half_way },
	{ "second-move", second_move },
	{ "freed-destination", freed_destination },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
