// SPDX-License-Identifier: GPL-2.0-only
/*
 * Holes in the source range, and what a call that stops half way reports: an error on the first
 * page is that errno; after some progress the call answers EAGAIN, the last field tells the bytes
 * moved, and going on from there meets the errno.
 *
 * Source: the loop of move_pages() and the end of userfaultfd_move() in v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 32
#define SEED 7

/* A pair whose source lacks page number hole. */
static struct uffd_pair pair_with_hole(size_t hole)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	CHECK_SYS(madvise(pair.src + hole * mem_page(), mem_page(), MADV_DONTNEED));
	CHECK_ENTRY(mem_frame(pair.src + hole * mem_page()), 0);
	return pair;
}

/* Page i of the pattern that covers the whole source, wherever it is mapped now. */
static void expect_page(const struct uffd_pair *pair, const char *at, size_t i)
{
	char *copy = mem_map(pair->len, 0);

	mem_fill(copy, pair->len, SEED);
	for (size_t k = 0; k < mem_page(); k++)
		CHECK(at[k] == copy[i * mem_page() + k], "page %zu: wrong byte at offset %zu", i, k);
	munmap(copy, pair->len);
}

static void first_page_enoent(void)
{
	struct uffd_pair pair = pair_with_hole(0);
	struct uffd_result result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);

	CHECK_ERRNO(result.err, ENOENT);
	CHECK_EQ(result.moved, -ENOENT);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	CHECK_EQ(mem_present_pages(pair.src, pair.len), PAGES - 1);
	close(pair.fd);
}

static void empty_source_enoent(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	struct uffd_result result;

	CHECK_SYS(munmap(pair.src, pair.len));
	/* Never touched: there is not even a page table. */
	pair.src = mem_map(pair.len, 0);
	result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);
	CHECK_ERRNO(result.err, ENOENT);
	CHECK_EQ(result.moved, -ENOENT);
	close(pair.fd);
}

static void partial_eagain(void)
{
	const size_t hole = 5;
	struct uffd_pair pair = pair_with_hole(hole);
	struct rss before = rss_ledger("partial-before-move", getpid()), after;
	struct uffd_result result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);

	after = rss_ledger("partial-after-move", getpid());
	CHECK_ERRNO(result.err, EAGAIN);
	CHECK_EQ(result.moved, hole * mem_page());
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), hole);
	CHECK_EQ(mem_present_pages(pair.src, pair.len), PAGES - 1 - hole);
	for (size_t i = 0; i < hole; i++)
		expect_page(&pair, pair.dst + i * mem_page(), i);
	for (size_t i = hole + 1; i < PAGES; i++)
		expect_page(&pair, pair.src + i * mem_page(), i);
	rss_conserved(&before, &after);
	close(pair.fd);
}

static void going_on_meets_enoent(void)
{
	const size_t hole = 3;
	struct uffd_pair pair = pair_with_hole(hole);
	struct uffd_result result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);
	size_t moved;

	CHECK_ERRNO(result.err, EAGAIN);
	CHECK(result.moved > 0, "moved: got %lld, expected a positive count",
	      (long long)result.moved);
	moved = (size_t)result.moved;
	result = uffd_move(pair.fd, pair.dst + moved, pair.src + moved, pair.len - moved, 0);
	CHECK_ERRNO(result.err, ENOENT);
	CHECK_EQ(result.moved, -ENOENT);
	/* One page further the rest goes through. */
	moved += mem_page();
	result = uffd_move(pair.fd, pair.dst + moved, pair.src + moved, pair.len - moved, 0);
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, pair.len - moved);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), PAGES - 1);
	close(pair.fd);
}

/* Every other page is a hole; a hole counts as moved and stays a hole at the destination. */
static void holes_allowed(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	struct rss before, after;
	struct uffd_result result;

	for (size_t i = 0; i < PAGES; i += 2)
		CHECK_SYS(madvise(pair.src + i * mem_page(), mem_page(), MADV_DONTNEED));
	before = rss_ledger("holes-before-move", getpid());
	result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	after = rss_ledger("holes-after-move", getpid());
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, pair.len);
	CHECK_EQ(mem_present_pages(pair.src, pair.len), 0);
	for (size_t i = 0; i < PAGES; i++) {
		int present = (mem_entry(pair.dst + i * mem_page()) & MEM_PRESENT) != 0;

		CHECK(present == (int)(i % 2), "destination page %zu: present: got %d, expected %d",
		      i, present, (int)(i % 2));
		if (present)
			expect_page(&pair, pair.dst + i * mem_page(), i);
	}
	rss_conserved(&before, &after);
	close(pair.fd);
}

static void empty_source_allowed(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	struct uffd_result result;

	CHECK_SYS(munmap(pair.src, pair.len));
	pair.src = mem_map(pair.len, 0);
	result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, pair.len);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	rss_check("empty-source", getpid());
	close(pair.fd);
}

/*
 * A hole so big that it has no page table, between two pages.  A table maps as many pages as a page
 * holds entries of eight bytes.
 */
static void hole_without_page_table(void)
{
	size_t table = mem_page() / sizeof(uint64_t) * mem_page(), len = 4 * table;
	struct uffd_pair pair = { uffd_open(0), mem_map(len, table), mem_map(len, table), len };
	size_t last = len - mem_page();
	struct rss before, after;
	struct uffd_result result;

	mem_no_huge(pair.src, len);
	mem_no_huge(pair.dst, len);
	mem_fill(pair.src, mem_page(), SEED);
	mem_fill(pair.src + last, mem_page(), SEED + 1);
	uffd_register(pair.fd, pair.dst, len);
	before = rss_ledger("no-table-before-move", getpid());
	result = uffd_move(pair.fd, pair.dst, pair.src, len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	after = rss_ledger("no-table-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_conserved(&before, &after);
	CHECK_EQ(mem_present_pages(pair.src, len), 0);
	CHECK_EQ(mem_present_pages(pair.dst, len), 2);
	mem_expect(pair.dst, mem_page(), SEED, "first page");
	mem_expect(pair.dst + last, mem_page(), SEED + 1, "last page");
	close(pair.fd);
	munmap(pair.src, len);
	munmap(pair.dst, len);
}

/*
 * A hole in a part of the address space that nobody has used: even the directory above its page
 * table is not there (mm_find_pmd() finds none).  One maps as many tables as a page holds entries.
 */
static struct uffd_pair without_directory(void)
{
	size_t entries = mem_page() / sizeof(uint64_t), span = entries * entries * mem_page();
	struct uffd_pair pair = { uffd_open(0), NULL, mem_map(mem_page(), 0), mem_page() };
	char *area = mem_map(span, span);

	/* A page in its midst; nothing else may bring the directory, and a walk shall be short. */
	pair.src = area + span / 2;
	CHECK_SYS(munmap(area, span / 2));
	CHECK_SYS(munmap(pair.src + mem_page(), span / 2 - mem_page()));
	uffd_register(pair.fd, pair.dst, pair.len);
	return pair;
}

/* A part of its own for each: a move may leave a directory behind, and so would the first one. */
static void hole_without_directory(void)
{
	for (int allowed = 0; allowed < 2; allowed++) {
		struct uffd_pair pair = without_directory();
		struct uffd_result result;

		result = uffd_move(pair.fd, pair.dst, pair.src, pair.len,
				   allowed ? UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES : 0);
		if (allowed) {
			uffd_moved_all(&pair, result);
		} else {
			CHECK_ERRNO(result.err, ENOENT);
			CHECK_EQ(result.moved, -ENOENT);
		}
		CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
		rss_check("no-directory", getpid());
		close(pair.fd);
		munmap(pair.src, pair.len);
		munmap(pair.dst, pair.len);
	}
}

/* A hole at the destination's other end: pages that were there and are gone are holes as well. */
static void moved_is_a_hole(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	struct uffd_result result;

	uffd_move_all(&pair);
	result = uffd_try_all(&pair);
	CHECK(result.err == ENOENT || result.err == EEXIST, "got %s, expected ENOENT or EEXIST",
	      ktap_errno(result.err));
	CHECK_SYS(madvise(pair.dst, pair.len, MADV_DONTNEED));
	result = uffd_try_all(&pair);
	CHECK_ERRNO(result.err, ENOENT);
	CHECK_EQ(result.moved, -ENOENT);
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "first-page-enoent", first_page_enoent },
	{ "empty-source-enoent", empty_source_enoent },
	{ "partial-eagain", partial_eagain },
	{ "going-on-meets-enoent", going_on_meets_enoent },
	{ "holes-allowed", holes_allowed },
	{ "empty-source-allowed", empty_source_allowed },
	{ "hole-without-page-table", hole_without_page_table },
	{ "hole-without-directory", hole_without_directory },
	{ "moved-is-a-hole", moved_is_a_hole },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
