// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages: an aligned move of a whole one keeps it huge, any other splits it, and a huge page
 * at the destination is in the way.
 *
 * Source: move_pages() and move_splits_huge_pmd() in mm/userfaultfd.c, move_pages_huge_pmd() in
 * mm/huge_memory.c of v6.12.  In the shape of 2023 a huge page that needs splitting is refused
 * with EBUSY (its loop splits the mapping and not the folio), which is accepted there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define SEED 21
#define OTHER 22

/* An empty registered destination of len bytes, aligned to a huge page. */
static char *destination(int fd, size_t len)
{
	char *dst = mem_map(len, mem_huge());

	uffd_register(fd, dst, len);
	return dst;
}

/* The pages after a split: pattern intact across both sides, page for page. */
static void expect_split_move(char *src, char *dst, size_t from, size_t len)
{
	size_t huge = mem_huge();
	char *copy = mem_map(huge, 0);

	/* Put the moved part back beside the rest and compare the whole. */
	for (size_t at = 0; at < huge; at += mem_page()) {
		const uint64_t *page = (const uint64_t *)(at >= from && at < from + len ?
								  dst + (at - from) :
								  src + at);

		for (size_t i = 0; i < mem_page() / sizeof(*page); i++)
			((uint64_t *)(copy + at))[i] = page[i];
	}
	mem_expect(copy, huge, SEED, "source and destination together");
	munmap(copy, huge);
}

static void aligned_stays_huge(void)
{
	size_t huge = mem_huge();
	char *src = mem_map_huge(1, SEED), *dst;
	int fd = uffd_open(0);
	uint64_t frame = mem_frame(src);
	struct rss before, after;
	struct uffd_result result;

	dst = destination(fd, huge);
	before = rss_ledger("aligned-before-move", getpid());
	result = uffd_move(fd, dst, src, huge, 0);
	after = rss_ledger("aligned-after-move", getpid());
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, huge);
	CHECK_EQ(mem_huge_bytes(dst, huge), huge);
	CHECK_EQ(mem_present_pages(src, huge), 0);
	CHECK_ENTRY(mem_frame(dst), frame);
	mem_expect(dst, huge, SEED, "destination");
	rss_conserved(&before, &after);
	rss_check("aligned", getpid());
	close(fd);
	munmap(src, huge);
	munmap(dst, huge);
}

/* Move part of a huge page, from the given offset, to an offset of the destination. */
static void move_part(const char *name, size_t from, size_t len, size_t to)
{
	char *src = mem_map_huge(1, SEED), *dst, step[64];
	size_t huge = mem_huge();
	int fd = uffd_open(0);
	struct rss before, after;
	struct uffd_result result;

	/* Keep khugepaged from putting together again what the move took apart. */
	mem_no_huge(src, huge);
	dst = destination(fd, 2 * huge);
	snprintf(step, sizeof(step), "%s-before-move", name);
	before = rss_ledger(step, getpid());
	result = uffd_move(fd, dst + to, src + from, len, 0);
	snprintf(step, sizeof(step), "%s-after-move", name);
	after = rss_ledger(step, getpid());
	rss_conserved(&before, &after);
	if (uffd_shape() == UFFD_V2 && result.err == EBUSY) {
		mem_expect(src, huge, SEED, "source after EBUSY");
	} else {
		CHECK_ERRNO(result.err, 0);
		CHECK_EQ(result.moved, len);
		CHECK_EQ(mem_huge_bytes(src, huge), 0);
		CHECK_EQ(mem_huge_bytes(dst, 2 * huge), 0);
		CHECK_EQ(mem_present_pages(src, huge), (huge - len) / mem_page());
		CHECK_EQ(mem_present_pages(dst, 2 * huge), len / mem_page());
		expect_split_move(src, dst + to, from, len);
	}
	close(fd);
	munmap(src, huge);
	munmap(dst, 2 * huge);
}

static void half_splits(void)
{
	move_part("half", 0, mem_huge() / 2, 0);
}

static void unaligned_source_splits(void)
{
	move_part("unaligned-source", mem_page(), mem_huge() - mem_page(), 0);
}

static void unaligned_destination_splits(void)
{
	move_part("unaligned-destination", 0, mem_huge(), mem_page());
}

static void one_page_splits(void)
{
	move_part("one-page", 3 * mem_page(), mem_page(), 5 * mem_page());
}

static void huge_destination_eexist(void)
{
	size_t huge = mem_huge();
	char *src = mem_map_huge(1, SEED), *dst = mem_map_huge(1, OTHER);
	int fd = uffd_open(0);
	struct rss before, after;
	struct uffd_result result;

	uffd_register(fd, dst, huge);
	before = rss_ledger("huge-destination-before-move", getpid());
	result = uffd_move(fd, dst, src, huge, 0);
	after = rss_ledger("huge-destination-after-move", getpid());
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(result.moved, -EEXIST);
	rss_conserved(&before, &after);
	/* A base page does not go below it either. */
	result = uffd_move(fd, dst + mem_page(), src + mem_page(), mem_page(), 0);
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(mem_huge_bytes(dst, huge), huge);
	mem_expect(dst, huge, OTHER, "destination after EEXIST");
	mem_expect(src, huge, SEED, "source after EEXIST");
	close(fd);
	munmap(src, huge);
	munmap(dst, huge);
}

/* One base page in an otherwise empty destination: the source has to be split to find it. */
static void page_in_destination_eexist(void)
{
	size_t huge = mem_huge(), taken = huge / 2;
	char *src = mem_map_huge(1, SEED), *dst = mem_map(huge, huge);
	int fd = uffd_open(0);
	struct uffd_result result;

	mem_no_huge(src, huge);
	mem_no_huge(dst, huge);
	mem_fill(dst + taken, mem_page(), OTHER);
	uffd_register(fd, dst, huge);
	result = uffd_move(fd, dst, src, huge, 0);
	if (uffd_shape() == UFFD_V2 && result.err == EBUSY) {
		mem_expect(src, huge, SEED, "source after EBUSY");
	} else {
		CHECK_ERRNO(result.err, EAGAIN);
		CHECK_EQ(result.moved, taken);
		mem_expect(dst, taken, SEED, "what was moved");
		CHECK_EQ(mem_present_pages(src, huge), (huge - taken) / mem_page());
	}
	mem_expect(dst + taken, mem_page(), OTHER, "the page in the way");
	rss_check("page-in-destination", getpid());
	close(fd);
	munmap(src, huge);
	munmap(dst, huge);
}

/* Unmapped room for a huge page so far from another that no table of huge pages maps both. */
static char *in_another_table(char *from)
{
	size_t huge = mem_huge(), span = huge * (mem_page() / sizeof(uint64_t));

	for (size_t i = 1; i <= 8 && (uintptr_t)from > (i + 1) * span; i++) {
		char *area = mmap(from - i * span, huge, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (area == from - i * span)
			return area;
		if (area != MAP_FAILED)
			munmap(area, huge);
	}
	ktap_skip("no room for a mapping in another table of huge pages");
}

/*
 * The page table that waits for a huge page's split hangs on the table of huge pages, so it is
 * missed only where the page moves to another one: both are split afterwards.
 */
static void to_another_table(void)
{
	size_t huge = mem_huge(), page = mem_page();
	char *src = mem_map_huge(1, SEED), *dst = in_another_table(src);
	int fd = uffd_open(0);
	struct uffd_result result;

	CHECK_SYS(madvise(dst, huge, MADV_HUGEPAGE));
	uffd_register(fd, dst, huge);
	result = uffd_move(fd, dst, src, huge, 0);
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(mem_huge_bytes(dst, huge), huge);
	mem_no_huge(dst, huge);
	CHECK_SYS(madvise(dst + huge - page, page, MADV_DONTNEED));
	CHECK_EQ(mem_present_pages(dst, huge), huge / page - 1);
	mem_expect(dst, huge - page, SEED, "destination after its split");
	rss_check("another-table", getpid());
	close(fd);
	munmap(src, huge);
	munmap(dst, huge);
}

static void throughput(void)
{
	struct uffd_pair pair = { .len = mem_huge() };

	pair.src = mem_map_huge(1, SEED);
	pair.fd = uffd_open(0);
	pair.dst = destination(pair.fd, pair.len);
	ktap_measure("huge-move-throughput", uffd_rate(&pair), "MB/s");
	CHECK_EQ(mem_huge_bytes(pair.src, pair.len), pair.len);
	mem_expect(pair.src, pair.len, SEED, "source after moving back and forth");
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "aligned-stays-huge", aligned_stays_huge },
	{ "half-splits", half_splits },
	{ "unaligned-source-splits", unaligned_source_splits },
	{ "unaligned-destination-splits", unaligned_destination_splits },
	{ "one-page-splits", one_page_splits },
	{ "huge-destination-eexist", huge_destination_eexist },
	{ "page-in-destination-eexist", page_in_destination_eexist },
	{ "to-another-table", to_another_table },
	{ "throughput", throughput },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
