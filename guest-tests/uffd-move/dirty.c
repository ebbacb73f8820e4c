// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page whose copy in swap is older than the page: the move has to carry along that it was written
 * to, or reclaim drops the page and the old bytes come back from swap.
 *
 * Source: move_present_pte() in mm/userfaultfd.c of v6.12 copies the dirty bit; shrink_folio_list()
 * in mm/vmscan.c frees a clean page of the swap cache without writing it.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 32
#define SEED 81

/* Pages that were read in from swap and not written to since. */
static struct uffd_pair clean_pair(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	mem_swap_out(pair.src, pair.len);
	mem_expect(pair.src, pair.len, SEED, "source read in from swap");
	CHECK_EQ(mem_present_pages(pair.src, pair.len), PAGES);
	return pair;
}

static void expect_after_reclaim(const struct uffd_pair *pair, unsigned int seed)
{
	mem_swap_out(pair->dst, pair->len);
	mem_expect(pair->dst, pair->len, seed, "destination after it was swapped out");
	rss_check("after-reclaim", getpid());
}

static void written_before_move(void)
{
	struct uffd_pair pair = clean_pair();
	struct uffd_result result;
	struct rss before, after;

	mem_fill(pair.src, pair.len, SEED + 1);
	before = rss_ledger("written-before-before-move", getpid());
	result = uffd_try_all(&pair);
	after = rss_ledger("written-before-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_conserved(&before, &after);
	expect_after_reclaim(&pair, SEED + 1);
	close(pair.fd);
}

static void written_after_move(void)
{
	struct uffd_pair pair = clean_pair();

	uffd_move_all(&pair);
	mem_fill(pair.dst, pair.len, SEED + 2);
	expect_after_reclaim(&pair, SEED + 2);
	close(pair.fd);
}

/* Not written to at all: clean it moves, and clean it is still the same bytes. */
static void never_written(void)
{
	struct uffd_pair pair = clean_pair();

	uffd_move_all(&pair);
	expect_after_reclaim(&pair, SEED);
	close(pair.fd);
}

/* There and back: what was written at the far end survives the way home. */
static void there_and_back(void)
{
	struct uffd_pair pair = clean_pair(), back;

	uffd_move_all(&pair);
	mem_fill(pair.dst, pair.len, SEED + 3);
	uffd_register(pair.fd, pair.src, pair.len);
	back = (struct uffd_pair){ pair.fd, pair.dst, pair.src, pair.len };
	uffd_move_all(&back);
	expect_after_reclaim(&back, SEED + 3);
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "written-before-move", written_before_move },
	{ "written-after-move", written_after_move },
	{ "never-written", never_written },
	{ "there-and-back", there_and_back },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_swap());
}
