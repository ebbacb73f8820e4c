// SPDX-License-Identifier: GPL-2.0-only
/*
 * A huge page that is swapped out in one piece: until the next reclaim it lies in the swap cache whole,
 * and its entries are of base pages.  A move of such an entry cannot take its page along, and says EBUSY
 * without touching anything, or moves it all the same; the folio is neither lost nor let go of twice.
 *
 * Source: move_pages_pte() in mm/userfaultfd.c of v6.12 (a large folio in the swap cache is EBUSY),
 * shrink_folio_list() and add_to_swap() in mm/vmscan.c and mm/swap_state.c (a huge page gets a cluster
 * of swap with CONFIG_THP_SWAP; what is written out stays in the cache until it is reclaimed again),
 * swapon() in mm/swapfile.c (there are clusters on disks that do not rotate only).  What is freed as
 * soon as it is written, as on zram, is not met in the cache: then these are moves like others.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include "knob.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "rss.h"
#include "swaps.h"
#include "uffd.h"

#define SEED 1

/* A swap device that is used anew, as one that does not rotate. */
static struct swap_device device;
static int anew;

static void takes_huge_pages(void)
{
	char knob[300];

	if (!swaps_devices(&device, 1) || strncmp(device.name, "/dev/", 5))
		return;
	snprintf(knob, sizeof(knob), "/sys/block/%s/queue/rotational", device.name + 5);
	if (knob_number(knob) != 1)
		return;
	CHECK_SYS(swapoff(device.name));
	CHECK_SYS(knob_set(knob, "0"));
	CHECK_SYS(swapon(device.name, device.flags));
	anew = 1;
}

static void as_it_was(void)
{
	if (!anew)
		return;
	CHECK_SYS(swapoff(device.name));
	knob_restore();
	CHECK_SYS(swapon(device.name, device.flags));
}

/* A huge page whose entries are of swap; how it lies in the cache is told. */
static struct uffd_pair swapped(void)
{
	struct uffd_pair pair = moved_pair_huge(SEED);
	long whole = sys_vmstat("thp_swpout");
	size_t pages = pair.len / mem_page();

	swaps_out(pair.src, pair.len);
	ktap_diag("%zu of %zu pages are in the swap cache, %s", mem_swap_cached_pages(pair.src, pair.len),
		  pages, sys_vmstat("thp_swpout") > whole ? "in one piece" : "in pieces");
	return pair;
}

/* As much as the pair has is moved, or nothing and EBUSY. */
static void try(const struct uffd_pair *pair, const char *name)
{
	struct rss before, after;
	struct uffd_result result;
	char step[64];

	snprintf(step, sizeof(step), "%s-before-move", name);
	before = rss_ledger(step, getpid());
	result = uffd_move(pair->fd, pair->dst, pair->src, pair->len, 0);
	snprintf(step, sizeof(step), "%s-after-move", name);
	after = rss_ledger(step, getpid());
	CHECK(!result.err || result.err == EBUSY, "the move failed with %s", ktap_errno(result.err));
	CHECK_EQ(result.moved, result.err ? -EBUSY : (int64_t)pair->len);
	rss_conserved(&before, &after);
	moved_holds(result.err ? pair->src : pair->dst, pair->len, SEED, 0, "where it is");
}

static void page_of_it(void)
{
	struct uffd_pair pair = swapped(), one = moved_slice(&pair, 0, mem_page());

	try(&one, "page");
	moved_holds(pair.src + mem_page(), pair.len - mem_page(), SEED, mem_page(), "the rest");
	rss_check("page-read", getpid());
	moved_drop(&pair);
}

static void all_of_it(void)
{
	struct uffd_pair pair = swapped();

	try(&pair, "all");
	rss_check("all-read", getpid());
	moved_drop(&pair);
}

/* Out of the cache it is 512 entries like others. */
static void out_of_the_cache(void)
{
	struct uffd_pair pair = swapped();

	mem_swap_out(pair.src, pair.len);
	moved_all(&pair, "out-of-cache");
	mem_expect(pair.dst, pair.len, SEED, "destination");
	rss_check("out-of-cache-read", getpid());
	moved_drop(&pair);
}

static const struct ktap_case cases[] = {
	{ "takes-huge-pages", takes_huge_pages },
	{ "page-of-it", page_of_it },
	{ "all-of-it", all_of_it },
	{ "out-of-the-cache", out_of_the_cache },
	{ "as-it-was", as_it_was },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_swap());
}
