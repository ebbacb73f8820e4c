// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that KSM merged: read-only, and no longer anybody's alone.  They do not move, with EBUSY,
 * as often as it is tried; who writes to one gets a page of its own back and can move that.
 *
 * Source: PageAnonExclusive() in move_pages_pte() in mm/userfaultfd.c of v6.12, which a KSM page
 * never has; Documentation/admin-guide/mm/ksm.rst.  In the series of 2023 it is the number of
 * mappings, and so every page is merged with another one here.
 *
 * With the argument "zero" it is about pages of zeros that KSM replaced by the zero page
 * (use_zero_pages).  These move like other zero pages; ksm_zero_pages counts them for as long as they
 * are mapped, and ksm_might_unmap_zero_page() in include/linux/ksm.h is for whoever takes one away.
 *
 * Scanning is switched on until the pages are merged, and off before anything is looked at: what is
 * merged stays merged (run = 0), and nothing more is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "knob.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 16
#define SEED 131
#define OTHER 132
#define KSM "/sys/kernel/mm/ksm/"
#define ZERO_PAGES KSM "ksm_zero_pages"
#define PATIENCE_MS 20000.0

static const char *why_no_ksm(void)
{
	return access(KSM "run", W_OK) ? "no " KSM "run (CONFIG_KSM is off)" : NULL;
}

/*
 * How many pages of two ranges are merged: both map the same frame.  (/proc/kpageflags does not
 * say: in v6.12 every anonymous page has its KSM bit.)
 */
static size_t merged_pages(const char *a, const char *b, size_t len)
{
	size_t count = 0;

	for (size_t at = 0; at < len; at += mem_page()) {
		uint64_t frame = mem_frame(a + at);

		count += (frame & MEM_PRESENT) && frame == mem_frame(b + at);
	}
	return count;
}

static size_t zeroed_pages(const char *start, size_t len)
{
	return mem_pages_with_all(start, len, MEM_FLAG_ZERO_PAGE);
}

/*
 * Wait until all pages of two ranges of the same bytes are merged, or, without the second one, all
 * pages of the first one are the zero page.
 */
static void merge(const char *a, const char *b, size_t len)
{
	static const struct timespec pause = { 0, 5 * 1000 * 1000 };
	size_t pages = len / mem_page(), merged;
	double begin = mem_now_ms();

	if (!(mem_frame(a) & MEM_FRAME))
		ktap_skip("pagemap shows no frame numbers without CAP_SYS_ADMIN");
	/* Some of these came after v6.6; what is not there is off. */
	(void)knob_set(KSM "advisor_mode", "none");
	(void)knob_set(KSM "smart_scan", "0");
	CHECK_SYS(knob_set(KSM "use_zero_pages", b ? "0" : "1"));
	CHECK_SYS(knob_set(KSM "sleep_millisecs", "1"));
	CHECK_SYS(knob_set(KSM "pages_to_scan", "4000"));
	CHECK_SYS(knob_set(KSM "run", "1"));
	do {
		nanosleep(&pause, NULL);
		merged = b ? merged_pages(a, b, len) : zeroed_pages(a, len);
	} while (merged < pages && mem_now_ms() - begin < PATIENCE_MS);
	CHECK_SYS(knob_set(KSM "run", "0"));
	if (merged < pages)
		ktap_skip("KSM merged only %zu of %zu pages in %.0f s", merged, pages,
			  PATIENCE_MS / 1e3);
}

/* A pair whose source is merged with a twin of it, which begins at *twin. */
static struct uffd_pair merged(char **twin)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	*twin = mem_map(pair.len, 0);
	mem_no_huge(*twin, pair.len);
	mem_fill(*twin, pair.len, SEED);
	CHECK_SYS(madvise(pair.src, pair.len, MADV_MERGEABLE));
	CHECK_SYS(madvise(*twin, pair.len, MADV_MERGEABLE));
	merge(pair.src, *twin, pair.len);
	return pair;
}

static void drop(struct uffd_pair *pair, char *twin)
{
	CHECK_SYS(munmap(twin, pair->len));
	moved_drop(pair);
}

static void busy_while_merged(void)
{
	char *twin;
	struct uffd_pair pair = merged(&twin);

	for (int i = 0; i < 3; i++)
		moved_nothing(&pair, "merged", EBUSY);
	CHECK_EQ(merged_pages(pair.src, twin, pair.len), PAGES);
	mem_expect(pair.src, pair.len, SEED, "source after EBUSY");
	mem_expect(twin, pair.len, SEED, "twin after EBUSY");
	drop(&pair, twin);
}

static void moves_when_written(void)
{
	char *twin;
	struct uffd_pair pair = merged(&twin);

	moved_nothing(&pair, "unwritten", EBUSY);
	mem_fill(pair.src, pair.len, OTHER);
	CHECK_EQ(merged_pages(pair.src, twin, pair.len), 0);
	moved_all(&pair, "written");
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	mem_expect(twin, pair.len, SEED, "twin");
	drop(&pair, twin);
}

static void moves_when_unmergeable(void)
{
	char *twin;
	struct uffd_pair pair = merged(&twin);

	CHECK_SYS(madvise(pair.src, pair.len, MADV_UNMERGEABLE));
	moved_all(&pair, "unmerged");
	mem_expect(pair.dst, pair.len, SEED, "destination");
	mem_expect(twin, pair.len, SEED, "twin");
	drop(&pair, twin);
}

/* The twin is unmapped: this is the only mapping now, of a page that is still KSM's. */
static void busy_without_twin(void)
{
	char *twin;
	struct uffd_pair pair = merged(&twin);

	CHECK_SYS(munmap(twin, pair.len));
	if (uffd_shape() == UFFD_MAIN)
		moved_nothing(&pair, "without-twin", EBUSY);
	mem_fill(pair.src, pair.len, OTHER);
	moved_all(&pair, "without-twin-written");
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	moved_drop(&pair);
}

/* The first half was written: the call moves it and stops at the first merged page. */
static void half_merged(void)
{
	char *twin;
	struct uffd_pair pair = merged(&twin), rest;
	size_t half = pair.len / 2;

	mem_fill(pair.src, half, OTHER);
	moved_expect(&pair, "half", 0, half, EAGAIN);
	rest = moved_rest(&pair, half);
	moved_nothing(&rest, "merged-half", EBUSY);
	mem_expect(pair.dst, half, OTHER, "half that was written");
	moved_holds(rest.src, half, SEED, half, "half that is merged");
	drop(&pair, twin);
}

/* What moved can be merged at its new place: KSM finds it there. */
static void merged_after_move(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	char *twin = mem_map(pair.len, 0);

	mem_no_huge(twin, pair.len);
	mem_fill(twin, pair.len, SEED);
	moved_all(&pair, "before-merge");
	CHECK_SYS(madvise(pair.dst, pair.len, MADV_MERGEABLE));
	CHECK_SYS(madvise(twin, pair.len, MADV_MERGEABLE));
	merge(pair.dst, twin, pair.len);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	mem_fill(pair.dst, pair.len, OTHER);
	mem_expect(twin, pair.len, SEED, "twin");
	rss_check("moved-and-merged", getpid());
	drop(&pair, twin);
}

/* A pair whose source KSM replaced by the zero page. */
static struct uffd_pair zeroed(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	if (knob_number(ZERO_PAGES) < 0)
		ktap_skip("no " ZERO_PAGES " (v6.6)");
	memset(pair.src, 0, pair.len);
	CHECK_SYS(madvise(pair.src, pair.len, MADV_MERGEABLE));
	merge(pair.src, NULL, pair.len);
	return pair;
}

/* Counted while they were mapped, and no longer when they are unmapped. */
static void counted_until_unmapped(int and_move)
{
	long before = knob_number(ZERO_PAGES);
	struct uffd_pair pair = zeroed();

	CHECK_EQ(knob_number(ZERO_PAGES), before + PAGES);
	if (and_move && (uffd_shape() == UFFD_MAIN || !uffd_try_all(&pair).err)) {
		if (uffd_shape() == UFFD_MAIN)
			moved_all(&pair, "ksm-zero");
		CHECK_EQ(zeroed_pages(pair.dst, pair.len), PAGES);
		for (size_t at = 0; at < pair.len; at += sizeof(uint64_t))
			CHECK_EQ(*(volatile uint64_t *)(pair.dst + at), 0);
	}
	moved_drop(&pair);
	CHECK_EQ(knob_number(ZERO_PAGES), before);
}

static void zero_page_counted(void)
{
	counted_until_unmapped(0);
}

static void moved_zero_page_counted(void)
{
	counted_until_unmapped(1);
}

static void moved_zero_page_written(void)
{
	struct uffd_pair pair = zeroed();

	if (uffd_shape() == UFFD_MAIN)
		moved_all(&pair, "ksm-zero-written");
	else
		(void)uffd_try_all(&pair);
	mem_fill(pair.dst, pair.len, OTHER);
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	for (size_t at = 0; at < pair.len; at += sizeof(uint64_t))
		CHECK_EQ(*(volatile uint64_t *)(pair.src + at), 0);
	moved_drop(&pair);
}

static const struct ktap_case cases[] = {
	{ "busy-while-merged", busy_while_merged },
	{ "moves-when-written", moves_when_written },
	{ "moves-when-unmergeable", moves_when_unmergeable },
	{ "busy-without-twin", busy_without_twin },
	{ "half-merged", half_merged },
	{ "merged-at-destination", merged_after_move },
};

static const struct ktap_case zero_cases[] = {
	{ "zero-page-counted", zero_page_counted },
	{ "moved-zero-page-written", moved_zero_page_written },
	{ "moved-zero-page-counted", moved_zero_page_counted },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	if (!why)
		why = why_no_ksm();
	if (argc > 1 && !strcmp(argv[1], "zero"))
		return ktap_run(zero_cases, KTAP_COUNT(zero_cases), why);
	return ktap_run(cases, KTAP_COUNT(cases), why);
}
