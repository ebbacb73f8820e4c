// SPDX-License-Identifier: GPL-2.0-only
/*
 * The zero page, small and huge: what is mapped where memory was read and never written.  It
 * belongs to nobody and is counted nowhere.  Moved, it is at the destination and no longer at the
 * source; written to there, the writer gets a page of its own, and every other reader of the zero
 * page goes on reading zeros.
 *
 * Source: move_zeropage_pte() and move_pages() in mm/userfaultfd.c, the huge zero page in
 * move_pages_huge_pmd() in mm/huge_memory.c of v6.12.  The series of 2023 may say EBUSY instead,
 * and then nothing may have changed.
 *
 * With the argument "huge" it is the huge zero page (transparent_hugepage/use_zero_page).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "knob.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 16
#define SEED 111
#define USE_ZERO_PAGE "/sys/kernel/mm/transparent_hugepage/use_zero_page"

static int huge;

static void expect_zeros(const void *start, size_t len, const char *what)
{
	const volatile uint64_t *words = start;

	for (size_t i = 0; i < len / sizeof(*words); i++)
		CHECK(words[i] == 0, "%s: got %#llx at offset %zu, expected 0", what,
		      (unsigned long long)words[i], i * sizeof(*words));
}

static uint64_t zero_flags(void)
{
	return huge ? MEM_FLAG_ZERO_PAGE | MEM_FLAG_THP : MEM_FLAG_ZERO_PAGE;
}

/* Read a range and have nothing but zero pages there; 0 if there was no huge one to be had. */
static int read_zeros(char *start, size_t len)
{
	for (size_t at = 0; at < len; at += mem_page())
		(void)*(volatile char *)(start + at);
	if (huge && mem_page_flags(start) && !(mem_page_flags(start) & MEM_FLAG_THP))
		return 0;
	CHECK_EQ(mem_pages_with_all(start, len, zero_flags()), len / mem_page());
	return 1;
}

/* An empty range in which reading maps the zero page in question. */
static void prepare(char *start, size_t len)
{
	if (huge)
		CHECK_SYS(madvise(start, len, MADV_HUGEPAGE));
	else
		mem_no_huge(start, len);
}

static size_t size(void)
{
	return huge ? 2 * mem_huge() : PAGES * mem_page();
}

static struct uffd_pair pages(void)
{
	struct uffd_pair pair = { .len = size() };
	size_t align = huge ? mem_huge() : 0;

	if (huge && knob_set(USE_ZERO_PAGE, "1"))
		ktap_skip(USE_ZERO_PAGE ": %s", ktap_errno(errno));
	pair.fd = uffd_open(0);
	pair.dst = mem_map(pair.len, align);
	prepare(pair.dst, pair.len);
	uffd_register(pair.fd, pair.dst, pair.len);
	for (int attempt = 0; attempt < 6; attempt++) {
		if (attempt)
			mem_compact();
		pair.src = mem_map(pair.len, align);
		prepare(pair.src, pair.len);
		if (read_zeros(pair.src, pair.len))
			return pair;
		CHECK_SYS(munmap(pair.src, pair.len));
	}
	ktap_skip("no huge zero page could be had");
}

/* The shape of 2023: moved somehow, or refused; the kernel's own checks say whether that was well. */
static int old_shape(const struct uffd_pair *pair, const char *step)
{
	struct uffd_result result;

	if (uffd_shape() == UFFD_MAIN)
		return 0;
	result = uffd_try_all(pair);
	if (result.err)
		CHECK_ERRNO(result.err, result.moved > 0 ? EAGAIN : EBUSY);
	rss_check(step, getpid());
	return 1;
}

static void moves(void)
{
	struct uffd_pair pair = pages();

	if (old_shape(&pair, "moves"))
		return;
	moved_all(&pair, "zero-pages");
	CHECK_EQ(mem_pages_with_all(pair.dst, pair.len, zero_flags()), pair.len / mem_page());
	expect_zeros(pair.dst, pair.len, "destination");
	moved_drop(&pair);
}

static void written_at_destination(void)
{
	struct uffd_pair pair = pages(), other = pages();

	if (!old_shape(&pair, "written"))
		moved_all(&pair, "written");
	mem_fill(pair.dst, pair.len, SEED);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	/* Whoever has the zero page, before and from now on. */
	expect_zeros(pair.src, pair.len, "source");
	expect_zeros(other.src, other.len, "another mapping of the zero page");
	rss_check("zero-page-written", getpid());
	moved_drop(&pair);
	moved_drop(&other);
}

static void destination_eexist(void)
{
	struct uffd_pair pair = pages();
	char *src = mem_map(pair.len, huge ? mem_huge() : 0);

	/* What is in the way now is the zero page. */
	mem_no_huge(src, pair.len);
	mem_fill(src, pair.len, SEED);
	uffd_register(pair.fd, pair.src, pair.len);
	pair = (struct uffd_pair){ pair.fd, src, pair.src, pair.len };
	moved_nothing(&pair, "zero-page-in-the-way", EEXIST);
	expect_zeros(pair.dst, pair.len, "destination after EEXIST");
	mem_expect(src, pair.len, SEED, "source after EEXIST");
	close(pair.fd);
}

/* A child has the zero page too, like everybody: that does not keep it here. */
static void moves_after_fork(void)
{
	struct uffd_pair pair = pages();
	pid_t child = child_sharer();

	if (!old_shape(&pair, "after-fork"))
		moved_all(&pair, "after-fork");
	child_end(child);
	moved_drop(&pair);
}

static void there_and_back(void)
{
	struct uffd_pair pair = pages(), back = { pair.fd, pair.dst, pair.src, pair.len };

	uffd_register(pair.fd, pair.src, pair.len);
	if (old_shape(&pair, "there"))
		return;
	for (int i = 0; i < 3; i++) {
		moved_all(&pair, "there");
		moved_all(&back, "back");
	}
	CHECK_EQ(mem_pages_with_all(pair.src, pair.len, zero_flags()), pair.len / mem_page());
	moved_drop(&pair);
}

/* Pages, zero pages and holes take turns in one call. */
static void mixed_with_pages(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	for (size_t i = 0; i < PAGES; i++) {
		char *page = pair.src + i * mem_page();

		if (i % 3)
			CHECK_SYS(madvise(page, mem_page(), MADV_DONTNEED));
		if (i % 3 == 1)
			read_zeros(page, mem_page());
	}
	if (old_shape(&pair, "mixed"))
		return;
	moved_expect(&pair, "mixed", UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, pair.len, 0);
	for (size_t i = 0; i < PAGES; i++) {
		char *page = pair.dst + i * mem_page();

		CHECK_EQ(mem_entry(page) >> 63, i % 3 != 2);
		if (i % 3 == 0)
			moved_holds(page, mem_page(), SEED, i * mem_page(), "page");
		if (i % 3 == 1)
			expect_zeros(page, mem_page(), "zero page");
	}
	moved_drop(&pair);
}

/*
 * Less than all of a huge zero page: it becomes many small ones, other frames therefore, of which
 * some move.
 */
static void huge_in_part(void)
{
	struct uffd_pair pair = pages(), part = moved_slice(&pair, mem_page(), mem_huge() / 2);
	struct uffd_result result;
	struct rss before, after;

	if (old_shape(&part, "huge-in-part"))
		return;
	before = rss_ledger("huge-in-part-before-move", getpid());
	result = uffd_try_all(&part);
	after = rss_ledger("huge-in-part-after-move", getpid());
	uffd_moved_all(&part, result);
	rss_conserved(&before, &after);
	CHECK_EQ(mem_present_pages(part.src, part.len), 0);
	CHECK_EQ(mem_pages_with_all(part.dst, part.len, MEM_FLAG_ZERO_PAGE), part.len / mem_page());
	CHECK_EQ(mem_pages_with_any(part.dst, part.len, MEM_FLAG_THP), 0);
	mem_fill(part.dst, part.len, SEED);
	expect_zeros(pair.src, pair.len, "source");
	rss_check("huge-in-part-written", getpid());
	moved_drop(&pair);
}

/* The first one is about huge zero pages only, the last one about small ones. */
static const struct ktap_case cases[] = {
	{ "huge-in-part", huge_in_part },
	{ "moves", moves },
	{ "written-at-destination", written_at_destination },
	{ "destination-eexist", destination_eexist },
	{ "moves-after-fork", moves_after_fork },
	{ "there-and-back", there_and_back },
	{ "mixed-with-pages", mixed_with_pages },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	huge = argc > 1 && !strcmp(argv[1], "huge");
	if (!why && huge)
		why = mem_why_no_huge();
	return ktap_run(cases + !huge, KTAP_COUNT(cases) - 1, why);
}
