// SPDX-License-Identifier: GPL-2.0-only
/*
 * Soft-dirty tracking: who clears the bits with clear_refs and looks at pagemap later must see a
 * page that was moved in between as changed at its new place, and every write after that.
 *
 * Source: Documentation/admin-guide/mm/soft-dirty.rst; move_present_pte() and move_swap_pte() in
 * mm/userfaultfd.c set the bit in v6.12, and move_pages_huge_pmd() in mm/huge_memory.c by making
 * the entry dirty.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "track.h"
#include "uffd.h"

#define SEED 51

static struct uffd_pair tracked_pair(void)
{
	struct uffd_pair pair =
		kind_pair(UFFD_FEATURE_SIGBUS, UFFDIO_REGISTER_MODE_MISSING, SEED);

	kind_settle(pair.src, pair.len);
	track_clear_soft_dirty();
	CHECK_EQ(track_pages(pair.src, pair.len, TRACK_SOFT_DIRTY), 0);
	CHECK_EQ(track_pages(pair.dst, pair.len, TRACK_SOFT_DIRTY), 0);
	return pair;
}

static void moved_is_dirty(void)
{
	struct uffd_pair pair = tracked_pair();

	kind_move(&pair, "moved-is-dirty-before-move", "moved-is-dirty-after-move");
	CHECK_EQ(track_pages(pair.dst, pair.len, TRACK_SOFT_DIRTY), pair.len / mem_page());
	/* Nothing but the bit of the entry says so: the source has none any more. */
	CHECK_EQ(track_pages(pair.src, pair.len, TRACK_SOFT_DIRTY), 0);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(pair.fd);
}

/* A page was written to before the move, and the move must not make it clean. */
static void dirty_stays_dirty(void)
{
	struct uffd_pair pair = tracked_pair();

	mem_fill(pair.src, pair.len, SEED + 1);
	kind_settle(pair.src, pair.len);
	CHECK_EQ(track_pages(pair.src, pair.len, TRACK_SOFT_DIRTY), pair.len / mem_page());
	kind_move(&pair, "dirty-stays-before-move", "dirty-stays-after-move");
	CHECK_EQ(track_pages(pair.dst, pair.len, TRACK_SOFT_DIRTY), pair.len / mem_page());
	mem_expect(pair.dst, pair.len, SEED + 1, "destination");
	close(pair.fd);
}

/* A reading does not count as a change, whatever the page was mapped as by the move. */
static void read_stays_clean(void)
{
	struct uffd_pair pair = tracked_pair();

	kind_move(&pair, "read-before-move", "read-after-move");
	track_clear_soft_dirty();
	CHECK_EQ(track_pages(pair.dst, pair.len, TRACK_SOFT_DIRTY), 0);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	CHECK_EQ(track_pages(pair.dst, pair.len, TRACK_SOFT_DIRTY), 0);
	close(pair.fd);
}

/* The first write after the bits were cleared again, at the place the page was moved to. */
static void write_is_seen(void)
{
	struct uffd_pair pair = tracked_pair();
	char *page = pair.dst + pair.len - mem_page();

	kind_move(&pair, "write-before-move", "write-after-move");
	track_clear_soft_dirty();
	CHECK_EQ(track_pages(page, mem_page(), TRACK_SOFT_DIRTY), 0);
	*(volatile char *)page = 1;
	CHECK_EQ(track_pages(page, mem_page(), TRACK_SOFT_DIRTY), 1);
	CHECK_EQ(*(volatile char *)page, 1);
	close(pair.fd);
}

/* The source is written to anew: that is a change there. */
static void source_is_tracked(void)
{
	struct uffd_pair pair = tracked_pair();

	kind_move(&pair, "source-before-move", "source-after-move");
	track_clear_soft_dirty();
	mem_fill(pair.src, mem_page(), SEED + 2);
	CHECK_EQ(track_pages(pair.src, mem_page(), TRACK_SOFT_DIRTY), 1);
	CHECK_EQ(track_pages(pair.dst, pair.len, TRACK_SOFT_DIRTY), 0);
	rss_check("source-is-tracked", getpid());
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "moved-is-dirty", moved_is_dirty },
	{ "dirty-stays-dirty", dirty_stays_dirty },
	{ "read-stays-clean", read_stays_clean },
	{ "write-is-seen", write_is_seen },
	{ "source-is-tracked", source_is_tracked },
};

int main(int argc, char **argv)
{
	const char *why;

	kind_parse(argc, argv);
	why = kind_why_not();
	return ktap_run(cases, KTAP_COUNT(cases), why ? why : track_why_no_soft_dirty());
}
