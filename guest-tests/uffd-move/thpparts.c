// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges that do not come out even: several huge pages in one call, one and a half of them, huge
 * pages beside base pages, pages missing from a huge page, huge pages that are mapped by pages, and
 * destinations that have a page table already.
 *
 * Source: the loop of move_pages() and move_splits_huge_pmd() in mm/userfaultfd.c of v6.12: a huge
 * page stays huge where both sides are aligned, the rest of the range is as long, and nothing is
 * in the destination's entry of the upper table; else it is split.  Which is what a comment before
 * move_pages() means by saving huge pages with UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES.
 *
 * In the shape of 2023 a huge page that needs splitting may be refused with EBUSY: there a call may
 * stop at any of them, and every byte has to be on one of the two sides.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "rss.h"
#include "uffd.h"

#define SEED 141
#define OTHER 142
#define HOLES UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES

/* Count huge pages, and room for one more on the other side. */
static struct uffd_pair pages(size_t count)
{
	struct uffd_pair pair = { .len = count * mem_huge() };

	pair.fd = uffd_open(0);
	pair.src = mem_map_huge(count, SEED);
	pair.dst = mem_map(pair.len + mem_huge(), mem_huge());
	/* khugepaged keeps off. */
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len + mem_huge());
	uffd_register(pair.fd, pair.dst, pair.len + mem_huge());
	return pair;
}

static void drop(struct uffd_pair *pair, size_t count)
{
	close(pair->fd);
	CHECK_SYS(munmap(pair->src, count * mem_huge()));
	CHECK_SYS(munmap(pair->dst, (count + 1) * mem_huge()));
}

/*
 * Move a part that begins from bytes into the pattern, which has to move done bytes.  1 where that
 * happened; 0 where the kernel may refuse, and did.
 */
static int move(const struct uffd_pair *part, const char *step, uint64_t mode, size_t from,
		size_t done, int err)
{
	struct uffd_result result;
	size_t moved;

	if (uffd_shape() == UFFD_MAIN) {
		moved_expect(part, step, mode, done, err);
		moved_holds(part->dst, done, SEED, from, "what was moved");
		return 1;
	}
	result = uffd_move(part->fd, part->dst, part->src, part->len, mode);
	moved = result.moved > 0 && result.moved != UFFD_UNTOUCHED ? (size_t)result.moved : 0;
	CHECK(moved == done || !moved || result.err == EAGAIN, "%s: got %s after %zu bytes", step,
	      ktap_errno(result.err), moved);
	moved_holds(part->dst, moved, SEED, from, "what was moved");
	rss_check(step, getpid());
	return result.err == err && moved == done;
}

static void several_stay_huge(void)
{
	struct uffd_pair pair = pages(3);

	if (move(&pair, "several", 0, 0, pair.len, 0))
		CHECK_EQ(mem_huge_bytes(pair.dst, pair.len), pair.len);
	drop(&pair, 3);
}

/* One and a half: the first page stays huge, the second one is split. */
static void tail_splits(void)
{
	struct uffd_pair pair = pages(2);
	struct uffd_pair part = moved_slice(&pair, 0, mem_huge() + mem_huge() / 2);

	if (move(&part, "tail", 0, 0, part.len, 0)) {
		CHECK_EQ(mem_huge_bytes(pair.dst, part.len), mem_huge());
		CHECK_EQ(mem_huge_bytes(pair.src, pair.len), 0);
		moved_holds(pair.src + part.len, pair.len - part.len, SEED, part.len, "tail");
	}
	drop(&pair, 2);
}

/* The second half of one and the first of the next: both are split, and their other halves stay. */
static void across_two(void)
{
	struct uffd_pair pair = pages(2);
	size_t half = mem_huge() / 2;
	struct uffd_pair part = moved_slice(&pair, half, mem_huge());

	if (move(&part, "across", 0, half, part.len, 0)) {
		CHECK_EQ(mem_huge_bytes(pair.src, pair.len), 0);
		CHECK_EQ(mem_huge_bytes(pair.dst, pair.len), 0);
		moved_holds(pair.src, half, SEED, 0, "first half");
		moved_holds(pair.src + half + part.len, half, SEED, half + part.len, "last half");
	}
	drop(&pair, 2);
}

/* Two huge pages to where the alignment is another: all of both is split. */
static void several_shifted(void)
{
	struct uffd_pair pair = pages(2), shifted = pair;

	shifted.dst += mem_page();
	if (move(&shifted, "shifted", 0, 0, shifted.len, 0))
		CHECK_EQ(mem_huge_bytes(pair.dst, pair.len + mem_huge()), 0);
	drop(&pair, 2);
}

/* A huge page, base pages, a huge page: what is huge stays so. */
static void beside_base_pages(void)
{
	struct uffd_pair pair = pages(3);
	uint64_t *middle = (uint64_t *)(pair.src + mem_huge());
	size_t words = mem_huge() / sizeof(*middle);

	/* The same bytes, on base pages. */
	CHECK_SYS(madvise(middle, mem_huge(), MADV_DONTNEED));
	for (size_t i = 0; i < words; i++)
		middle[i] = mem_pattern(words + i, SEED);
	CHECK_EQ(mem_huge_bytes(pair.src, pair.len), 2 * mem_huge());
	if (move(&pair, "beside", 0, 0, pair.len, 0))
		CHECK_EQ(mem_huge_bytes(pair.dst, pair.len), 2 * mem_huge());
	drop(&pair, 3);
}

/* A huge page is missing in the middle. */
static void hole_between(void)
{
	struct uffd_pair pair = pages(3), rest = moved_rest(&pair, mem_huge());

	CHECK_SYS(madvise(rest.src, mem_huge(), MADV_DONTNEED));
	if (move(&pair, "before-hole", 0, 0, mem_huge(), EAGAIN)) {
		moved_nothing(&rest, "hole", ENOENT);
		moved_expect(&rest, "over-hole", HOLES, rest.len, 0);
		CHECK_EQ(mem_huge_bytes(pair.dst, pair.len), 2 * mem_huge());
		CHECK_EQ(mem_present_pages(rest.dst, mem_huge()), 0);
		moved_holds(rest.dst + mem_huge(), mem_huge(), SEED, 2 * mem_huge(),
			    "page behind the hole");
	}
	drop(&pair, 3);
}

/* Some pages were dropped from a huge page: what is left of it is split and moves by pages. */
static void pages_missing(void)
{
	struct uffd_pair pair = pages(1), rest;
	size_t hole = 5 * mem_page();

	CHECK_SYS(madvise(pair.src + hole, mem_page(), MADV_DONTNEED));
	CHECK_EQ(mem_huge_bytes(pair.src, pair.len), 0);
	rest = moved_rest(&pair, hole);
	if (move(&pair, "up-to-missing", 0, 0, hole, EAGAIN)) {
		moved_nothing(&rest, "missing", ENOENT);
		moved_expect(&rest, "over-missing", HOLES, rest.len, 0);
		CHECK_ENTRY(mem_frame(rest.dst), 0);
		moved_holds(rest.dst + mem_page(), rest.len - mem_page(), SEED, hole + mem_page(),
			    "pages behind the missing one");
	}
	drop(&pair, 1);
}

/* Mapped by pages and complete: nothing says that it is one, and it moves by pages. */
static void mapped_by_pages(void)
{
	struct uffd_pair pair = pages(1);

	CHECK_SYS(mprotect(pair.src, mem_page(), PROT_READ));
	CHECK_SYS(mprotect(pair.src, mem_page(), PROT_READ | PROT_WRITE));
	CHECK_EQ(mem_huge_bytes(pair.src, pair.len), 0);
	CHECK_EQ(mem_pages_with_any(pair.src, pair.len, MEM_FLAG_LARGE), pair.len / mem_page());
	if (move(&pair, "by-pages", 0, 0, pair.len, 0))
		CHECK_EQ(mem_pages_with_any(pair.dst, pair.len, MEM_FLAG_LARGE), 0);
	drop(&pair, 1);
}

/* The destination had a page once: its page table, empty now, is kept, and the source is split. */
static void destination_with_page_table(void)
{
	struct uffd_pair pair = { .len = mem_huge() };

	pair.fd = uffd_open(0);
	pair.src = mem_map_huge(1, SEED);
	pair.dst = mem_map(2 * pair.len, mem_huge());
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, 2 * pair.len);
	mem_fill(pair.dst, mem_page(), OTHER);
	CHECK_SYS(madvise(pair.dst, pair.len, MADV_DONTNEED));
	uffd_register(pair.fd, pair.dst, 2 * pair.len);
	move(&pair, "page-table", 0, 0, pair.len, 0);
	drop(&pair, 1);
}

static void there_and_back(void)
{
	struct uffd_pair pair = pages(1), back = { pair.fd, pair.dst, pair.src, pair.len };

	uffd_register(pair.fd, pair.src, pair.len);
	for (int i = 0; i < 3; i++) {
		moved_all(&pair, "there");
		moved_all(&back, "back");
	}
	CHECK_EQ(mem_huge_bytes(pair.src, pair.len), pair.len);
	mem_expect(pair.src, pair.len, SEED, "source");
	drop(&pair, 1);
}

/* Source and destination in one mapping, whose middle is the huge page: it stays huge. */
static void same_mapping(void)
{
	size_t huge = mem_huge();
	char *area = mem_map_huge(3, SEED);
	struct uffd_pair up = { uffd_open(0), area + huge, area + 2 * huge, huge };
	struct uffd_pair down = { up.fd, up.dst, area, huge };

	CHECK_SYS(madvise(area, huge, MADV_DONTNEED));
	CHECK_SYS(madvise(area + 2 * huge, huge, MADV_DONTNEED));
	/* khugepaged keeps off. */
	mem_no_huge(area, 3 * huge);
	uffd_register(up.fd, area, 3 * huge);
	moved_all(&up, "upwards");
	CHECK_EQ(mem_huge_bytes(area, 3 * huge), huge);
	moved_all(&down, "downwards");
	CHECK_EQ(mem_huge_bytes(area, 3 * huge), huge);
	moved_holds(area, huge, SEED, huge, "the page");
	close(up.fd);
	CHECK_SYS(munmap(area, 3 * huge));
}

/* It is an ordinary huge page at its new place, and can be split there. */
static void split_after_move(void)
{
	struct uffd_pair pair = pages(1);

	moved_all(&pair, "before-split");
	CHECK_SYS(madvise(pair.dst, mem_page(), MADV_DONTNEED));
	CHECK_EQ(mem_huge_bytes(pair.dst, pair.len), 0);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), pair.len / mem_page() - 1);
	moved_holds(pair.dst + mem_page(), pair.len - mem_page(), SEED, mem_page(), "the rest of it");
	rss_check("moved-and-split", getpid());
	drop(&pair, 1);
}

static const struct ktap_case cases[] = {
	{ "several-stay-huge", several_stay_huge },
	{ "tail-splits", tail_splits },
	{ "across-two", across_two },
	{ "several-shifted", several_shifted },
	{ "beside-base-pages", beside_base_pages },
	{ "hole-between", hole_between },
	{ "pages-missing", pages_missing },
	{ "mapped-by-pages", mapped_by_pages },
	{ "destination-with-page-table", destination_with_page_table },
	{ "there-and-back", there_and_back },
	{ "split-at-destination", split_after_move },
	{ "same-mapping", same_mapping },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
