// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger of swap: a page that goes out leaves MM_ANONPAGES for MM_SWAPENTS and comes back the
 * same way; fork() copies entries, MADV_DONTNEED and exit free them.
 *
 * Source: MM_SWAPENTS in try_to_unmap_one() of mm/rmap.c, do_swap_page(), copy_nonpresent_pte() and
 * zap_pte_range() of mm/memory.c, v6.12; VmSwap in Documentation/filesystems/proc.rst.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"

#define PAGES 256
#define SEED 71

static char *area;
static size_t len;

static void fill(void)
{
	len = PAGES * mem_page();
	if (!area) {
		area = mem_map(len, 0);
		mem_no_huge(area, len);
		/* Who swaps out for the first time touches pages of its own. */
		mem_fill(area, len, SEED);
		mem_swap_out(area, len);
	}
	mem_fill(area, len, SEED);
	/* Read it all in and count once, so that only the area moves from here on. */
	rss_tolerance();
}

static void out_and_in(void)
{
	struct rss before, now;

	fill();
	before = rss_check("before-swap-out", getpid());
	mem_swap_out(area, len);
	now = rss_check("swapped-out", getpid());
	CHECK_EQ(now.walk_swap, before.walk_swap + PAGES);
	rss_near("VmSwap", now.vm_swap, before.vm_swap + PAGES);
	rss_near("RssAnon", now.rss_anon, before.rss_anon - PAGES);
	mem_expect(area, len, SEED, "after swap-in");
	now = rss_check("swapped-in", getpid());
	CHECK_EQ(now.walk_swap, before.walk_swap);
	CHECK_EQ(now.walk_anon, before.walk_anon);
}

static void write_fault(void)
{
	struct rss before, now;

	fill();
	before = rss_check("before-write", getpid());
	mem_swap_out(area, len);
	for (size_t i = 0; i < PAGES; i += 2)
		*(volatile char *)(area + i * mem_page()) ^= 1;
	now = rss_check("half-written", getpid());
	CHECK_EQ(now.walk_swap, before.walk_swap + PAGES / 2);
	rss_near("RssAnon", now.rss_anon, before.rss_anon - PAGES / 2);
}

static void dontneed_frees_entries(void)
{
	struct rss before, now;

	fill();
	before = rss_check("before-free", getpid());
	mem_swap_out(area, len);
	CHECK_SYS(madvise(area, len / 2, MADV_DONTNEED));
	now = rss_check("half-freed", getpid());
	CHECK_EQ(now.walk_swap, before.walk_swap + PAGES / 2);
	rss_near("VmSwap", now.vm_swap, before.vm_swap + PAGES / 2);
	CHECK_SYS(madvise(area, len, MADV_DONTNEED));
	now = rss_check("all-freed", getpid());
	CHECK_EQ(now.walk_swap, before.walk_swap);
	rss_near("VmSwap", now.vm_swap, before.vm_swap);
}

static void mremap_conserves(void)
{
	struct rss before, now;
	char *target;

	fill();
	mem_swap_out(area, len);
	target = mem_map(len + 8 * mem_page(), 0) + 3 * mem_page();
	before = rss_ledger("mremap-swapped-before-move", getpid());
	target = mremap(area, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	now = rss_ledger("mremap-swapped-after-move", getpid());
	CHECK(target != MAP_FAILED, "mremap: %m");
	area = target;
	rss_agree("after mremap", &now);
	rss_conserved(&before, &now);
	mem_expect(area, len, SEED, "after mremap");
}

static void child_body(void *unused)
{
	(void)unused;
	child_barrier();
	mem_expect(area, len, SEED, "the child's view");
	child_barrier();
	/* Leaves with what it swapped in; the other half of the story is the parent's. */
}

static void fork_copies_entries(void)
{
	struct rss before, child, now;
	pid_t pid;

	fill();
	mem_swap_out(area, len);
	before = rss_check("before-fork", getpid());
	pid = child_start(child_body, NULL);
	child_meet(pid);
	child = rss_check("child-forked", pid);
	CHECK_EQ(child.walk_swap, before.walk_swap);
	child_go(pid);
	child_meet(pid);
	child = rss_check("child-swapped-in", pid);
	CHECK(child.walk_swap <= before.walk_swap - PAGES,
	      "child: got %ld swap entries, expected %ld or less", child.walk_swap,
	      before.walk_swap - PAGES);
	now = rss_check("parent-beside-child", getpid());
	CHECK_EQ(now.walk_swap, before.walk_swap);
	child_end(pid);
	now = rss_check("parent-after-child", getpid());
	CHECK_EQ(now.walk_swap, before.walk_swap);
	mem_expect(area, len, SEED, "parent after the child");
	now = rss_check("parent-swapped-in", getpid());
	CHECK_EQ(now.walk_swap, before.walk_swap - PAGES);
}

static void leave_body(void *unused)
{
	(void)unused;
	fill();
	mem_swap_out(area, len);
	rss_check("child-leaves", getpid());
}

/* Entries that are never faulted in are freed with the mm. */
static void exit_frees_entries(void)
{
	long free_before, free_after, slack;

	if (mem_why_no_swap())
		ktap_skip("%s", mem_why_no_swap());
	/* Freed slots wait in per-CPU caches, 64 in and 64 out (mm/swap_slots.c, v6.12). */
	slack = 128 * sysconf(_SC_NPROCESSORS_ONLN);
	free_before = sys_meminfo("SwapFree");
	child_reap(child_start(leave_body, NULL));
	free_after = sys_meminfo("SwapFree");
	ktap_diag("SwapFree: %ld before the child, %ld after", free_before, free_after);
	CHECK(free_after + slack >= free_before,
	      "SwapFree: got %ld pages, expected about %ld (slack %ld)", free_after, free_before,
	      slack);
}

static const struct ktap_case cases[] = {
	{ "out-and-in", out_and_in },
	{ "write-fault", write_fault },
	{ "dontneed-frees-entries", dontneed_frees_entries },
	{ "mremap-conserves", mremap_conserves },
	{ "fork-copies-entries", fork_copies_entries },
	{ "exit-frees-entries", exit_frees_entries },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), mem_why_no_swap());
}
