// SPDX-License-Identifier: GPL-2.0-only
/*
 * Swapped-out pages: they move as their swap entry, without being read in, and fault in at the
 * destination with their bytes; VmSwap is conserved.  Some moved entries are never faulted in, so
 * that the kernel's own check of the counters at exit (check_mm()) sees them.
 *
 * Source: move_swap_pte() in mm/userfaultfd.c of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "swaps.h"
#include "uffd.h"

#define PAGES 64
#define HELD 8 /* a pipe takes 16 pages by default */
#define SEED 31

/* The first four cases look at one and the same move of swapped-out pages. */
static struct {
	struct uffd_pair pair;
	struct rss before, after;
	uint64_t slots[PAGES];
	int done;
} first;

static void need_first(void)
{
	CHECK(first.done, "the first move did not happen");
}

static void moves_as_entry(void)
{
	struct uffd_pair *pair = &first.pair;
	struct uffd_result result;

	*pair = uffd_pair(PAGES, SEED);
	mem_swap_out(pair->src, pair->len);
	for (size_t i = 0; i < PAGES; i++)
		first.slots[i] = mem_frame(pair->src + i * mem_page());
	first.before = rss_ledger("swapped-before-move", getpid());
	result = uffd_move(pair->fd, pair->dst, pair->src, pair->len, 0);
	first.after = rss_ledger("swapped-after-move", getpid());
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, pair->len);
	first.done = 1;
	for (size_t i = 0; i < PAGES; i++) {
		uint64_t slot = mem_frame(pair->dst + i * mem_page());

		CHECK(slot == first.slots[i], "page %zu: got entry %s, expected %s", i,
		      mem_entry_text(slot), mem_entry_text(first.slots[i]));
	}
}

static void source_empty(void)
{
	need_first();
	for (size_t i = 0; i < PAGES; i++)
		CHECK_ENTRY(mem_frame(first.pair.src + i * mem_page()), 0);
}

static void swap_conserved(void)
{
	need_first();
	rss_agree("before the move", &first.before);
	rss_agree("after the move", &first.after);
	rss_conserved(&first.before, &first.after);
}

static void faults_in(void)
{
	struct rss now;

	need_first();
	mem_expect(first.pair.dst, first.pair.len, SEED, "destination after swap-in");
	now = rss_check("after-fault-in", getpid());
	CHECK_EQ(mem_present_pages(first.pair.dst, first.pair.len), PAGES);
	rss_near("VmSwap", now.vm_swap, first.after.vm_swap - PAGES);
	rss_near("RssAnon", now.rss_anon, first.after.rss_anon + PAGES);
}

/* Present and swapped-out pages take turns in one call. */
static void mixed(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED + 1);
	struct uffd_result result;
	struct rss before, after;

	mem_swap_out(pair.src, pair.len);
	for (size_t i = 0; i < PAGES; i += 2)
		(void)*(volatile char *)(pair.src + i * mem_page());
	/*
	 * Swap readahead may have put neighbours into the swap cache, never into the page table:
	 * the count of each kind is certain.
	 */
	CHECK_EQ(mem_swapped_pages(pair.src, pair.len), PAGES / 2);
	before = rss_ledger("mixed-before-move", getpid());
	result = uffd_try_all(&pair);
	after = rss_ledger("mixed-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_conserved(&before, &after);
	CHECK_EQ(mem_swapped_pages(pair.dst, pair.len), PAGES / 2);
	mem_expect(pair.dst, pair.len, SEED + 1, "destination");
	rss_check("mixed-after-fault-in", getpid());
	close(pair.fd);
}

/* A swap entry whose page was read ahead: page and entry have to arrive together. */
static void in_swap_cache(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED + 2);
	struct uffd_result result;
	struct rss before, after;

	mem_swap_out(pair.src, pair.len);
	mem_swap_cache(pair.src, pair.len);
	CHECK_EQ(mem_swapped_pages(pair.src, pair.len), PAGES);
	before = rss_ledger("swap-cache-before-move", getpid());
	/* Reclaim may drop a clean page of the swap cache at any time. */
	mem_swap_cache(pair.src, pair.len);
	result = uffd_try_all(&pair);
	after = rss_ledger("swap-cache-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_conserved(&before, &after);
	CHECK_EQ(mem_swapped_pages(pair.dst, pair.len), PAGES);
	mem_expect(pair.dst, pair.len, SEED + 2, "destination");
	/* Written to, swapped out again from its new place, and read back. */
	mem_fill(pair.dst, pair.len, SEED + 3);
	mem_swap_out(pair.dst, pair.len);
	mem_expect(pair.dst, pair.len, SEED + 3, "destination after another round of swap");
	rss_check("swap-cache-after-fault-in", getpid());
	close(pair.fd);
}

/*
 * Unmapped, and the frame still in the swap cache with a mapping and an index of the source: a pipe
 * holds it, so that reclaim cannot free it.  If these do not move along, the fault at the destination
 * maps a copy (ksm_might_need_to_copy() in mm/ksm.c of v6.12) or, in a kernel without KSM, a page that
 * reclaim does not find again.
 */
static void unmapped_but_held(void)
{
	struct uffd_pair pair = uffd_pair(HELD, SEED + 4);
	struct iovec all = { pair.src, pair.len };
	struct uffd_result result;
	uint64_t frames[HELD];
	int hold[2];

	CHECK_SYS(pipe2(hold, O_CLOEXEC | O_NONBLOCK));
	CHECK_EQ(vmsplice(hold[1], &all, 1, 0), pair.len);
	/* What somebody holds does not migrate: from here on the frames are certain. */
	for (size_t i = 0; i < HELD; i++)
		frames[i] = mem_frame(pair.src + i * mem_page());
	swaps_out(pair.src, pair.len);
	CHECK_EQ(mem_swap_cached_pages(pair.src, pair.len), HELD);
	result = uffd_try_all(&pair);
	uffd_moved_all(&pair, result);
	mem_expect(pair.dst, pair.len, SEED + 4, "destination");
	for (size_t i = 0; i < HELD && frames[0] & MEM_FRAME; i++) {
		uint64_t frame = mem_frame(pair.dst + i * mem_page());

		CHECK(frame == frames[i], "page %zu: got entry %s, expected %s", i,
		      mem_entry_text(frame), mem_entry_text(frames[i]));
	}
	close(hold[0]);
	close(hold[1]);
	mem_fill(pair.dst, pair.len, SEED + 5);
	mem_swap_out(pair.dst, pair.len);
	mem_expect(pair.dst, pair.len, SEED + 5, "destination after it was swapped out");
	rss_check("held-after-fault-in", getpid());
	close(pair.fd);
}

static void swapped_destination_eexist(void)
{
	struct uffd_pair pair = { .len = PAGES * mem_page() };
	struct uffd_result result;

	pair.fd = uffd_open(0);
	pair.src = mem_map(pair.len, 0);
	pair.dst = mem_map(pair.len, 0);
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len);
	mem_fill(pair.src, pair.len, SEED);
	mem_fill(pair.dst, pair.len, SEED + 4);
	mem_swap_out(pair.dst, pair.len);
	uffd_register(pair.fd, pair.dst, pair.len);
	result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(result.moved, -EEXIST);
	CHECK_EQ(mem_swapped_pages(pair.dst, pair.len), PAGES);
	mem_expect(pair.dst, pair.len, SEED + 4, "destination after EEXIST");
	mem_expect(pair.src, pair.len, SEED, "source after EEXIST");
	close(pair.fd);
}

static void other_process(void)
{
	struct peer peer = peer_start(PAGES);
	char *src = mem_map(peer.len, 0);
	struct rss mine[2], theirs[2];
	struct uffd_result result;

	mem_no_huge(src, peer.len);
	mem_fill(src, peer.len, SEED + 5);
	mem_swap_out(src, peer.len);
	mine[0] = rss_ledger("other-process-before-move", getpid());
	theirs[0] = rss_ledger("other-process-before-move", peer.pid);
	result = uffd_move(peer.uffd, peer.dst, src, peer.len, 0);
	mine[1] = rss_ledger("other-process-after-move", getpid());
	theirs[1] = rss_ledger("other-process-after-move", peer.pid);
	rss_agree("source process", &mine[1]);
	rss_agree("destination process", &theirs[1]);
	if (uffd_shape() == UFFD_MAIN) {
		CHECK_ERRNO(result.err, EINVAL);
		rss_conserved(&mine[0], &mine[1]);
		rss_conserved(&theirs[0], &theirs[1]);
		mem_expect(src, peer.len, SEED + 5, "source after a refused move");
	} else {
		CHECK_ERRNO(result.err, 0);
		CHECK_EQ(result.moved, peer.len);
		CHECK_EQ(mine[0].walk_swap - mine[1].walk_swap, PAGES);
		CHECK_EQ(theirs[1].walk_swap - theirs[0].walk_swap, PAGES);
		peer_expect(&peer, SEED + 5);
	}
	peer_end(&peer);
}

static void move_and_leave(void *unused)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED + 6);
	struct uffd_result result;
	struct rss before, after;

	(void)unused;
	mem_swap_out(pair.src, pair.len);
	before = rss_ledger("leave-before-move", getpid());
	result = uffd_try_all(&pair);
	after = rss_ledger("leave-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_agree("before the move", &before);
	rss_agree("after the move", &after);
	rss_conserved(&before, &after);
	/* No fault-in: the entries are freed from their new place when the mm goes. */
}

static void exit_with_moved_entries(void)
{
	if (mem_why_no_swap())
		ktap_skip("%s", mem_why_no_swap());
	child_reap(child_start(move_and_leave, NULL));
}

static const struct ktap_case cases[] = {
	{ "moves-as-entry", moves_as_entry },
	{ "source-empty", source_empty },
	{ "swap-conserved", swap_conserved },
	{ "faults-in", faults_in },
	{ "mixed", mixed },
	{ "in-swap-cache", in_swap_cache },
	{ "unmapped-but-held", unmapped_but_held },
	{ "swapped-destination-eexist", swapped_destination_eexist },
	{ "other-process", other_process },
	{ "exit-with-moved-entries", exit_with_moved_entries },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_swap());
}
