// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger of ordinary anonymous memory: MM_ANONPAGES against a page walk while base pages are
 * faulted in, freed, moved by mremap(), shared by fork(), copied on write and torn down at exit.
 *
 * Source: MM_ANONPAGES in do_anonymous_page(), wp_page_copy(), zap_pte_range() and copy_pte_range() of
 * mm/memory.c, check_mm() in kernel/fork.c, v6.12; RssAnon in Documentation/filesystems/proc.rst.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"

#define PAGES 256
#define SEED 51

static char *area;
static struct rss base;

static char *fresh(size_t pages)
{
	char *start = mem_map(pages * mem_page(), 0);

	mem_no_huge(start, pages * mem_page());
	return start;
}

static size_t bytes(size_t pages)
{
	return pages * mem_page();
}

static void start(void)
{
	ktap_diag("RssAnon and VmSwap are %s here: tolerance %ld pages",
		  rss_tolerance() ? "approximate" : "exact", rss_tolerance());
	base = rss_check("start", getpid());
}

/* Half of them one by one: the counter is right at every page, not only at the end. */
static void fault_in(void)
{
	struct rss now;

	area = fresh(PAGES);
	for (size_t i = 0; i < 8; i++) {
		mem_fill(area + bytes(i), mem_page(), SEED);
		now = rss_read(getpid());
		rss_near("RssAnon", now.rss_anon, base.rss_anon + (long)i + 1);
		rss_agree("one more page", &now);
	}
	mem_fill(area, bytes(PAGES), SEED);
	now = rss_check("faulted-in", getpid());
	CHECK_EQ(now.walk_anon, base.walk_anon + PAGES);
	rss_near("RssAnon", now.rss_anon, base.rss_anon + PAGES);
}

/* The zero page below a read is not anonymous memory; the page of a later write is. */
static void zero_page(void)
{
	char *zero = fresh(PAGES);
	struct rss before = rss_read(getpid()), now;

	for (size_t i = 0; i < PAGES; i++)
		(void)*(volatile char *)(zero + bytes(i));
	now = rss_check("zero-page-read", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon);
	rss_near("RssAnon", now.rss_anon, before.rss_anon);
	mem_fill(zero, bytes(PAGES), SEED);
	now = rss_check("zero-page-written", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon + PAGES);
	CHECK_SYS(munmap(zero, bytes(PAGES)));
	now = rss_check("zero-page-unmapped", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon);
}

static void dontneed(void)
{
	struct rss before = rss_read(getpid()), now;

	CHECK_SYS(madvise(area, bytes(PAGES / 2), MADV_DONTNEED));
	now = rss_check("half-freed", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon - PAGES / 2);
	rss_near("RssAnon", now.rss_anon, before.rss_anon - PAGES / 2);
	mem_fill(area, bytes(PAGES), SEED);
	now = rss_check("refilled", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon);
}

/* To an address that differs in its last levels of page table: entries are moved one by one. */
static void mremap_conserves(void)
{
	char *target = fresh(PAGES + 8) + bytes(3), *got;
	struct rss before = rss_ledger("mremap-before-move", getpid()), now;

	got = mremap(area, bytes(PAGES), bytes(PAGES), MREMAP_MAYMOVE | MREMAP_FIXED, target);
	now = rss_ledger("mremap-after-move", getpid());
	CHECK(got == target, "mremap: %m");
	area = target;
	rss_agree("after mremap", &now);
	rss_conserved(&before, &now);
	mem_expect(area, bytes(PAGES), SEED, "after mremap");
}

static void cow_body(void *unused)
{
	(void)unused;
	child_barrier();
	mem_fill(area, bytes(PAGES / 2), SEED + 1);
	child_barrier();
	CHECK_SYS(munmap(area, bytes(PAGES)));
	child_barrier();
}

/* The child's mm starts as a copy of ours; a page copied on write replaces a shared one. */
static void fork_and_cow(void)
{
	struct rss before = rss_check("before-fork", getpid()), mine, child;
	pid_t pid = child_start(cow_body, NULL);
	long start;

	child_meet(pid);
	child = rss_check("child-forked", pid);
	mine = rss_check("parent-forked", getpid());
	CHECK_EQ(mine.walk_anon, before.walk_anon);
	start = child.walk_anon;
	CHECK(start >= PAGES, "child: got %ld anonymous pages, expected at least %d", start, PAGES);
	child_go(pid);
	child_meet(pid);
	child = rss_check("child-copied", pid);
	/* Its stack and data are copied as well, in place: nothing is added. */
	rss_near("child's RssAnon", child.rss_anon, child.walk_anon);
	CHECK(child.walk_anon >= start && child.walk_anon < start + PAGES / 2,
	      "child: got %ld anonymous pages after copy on write, expected about %ld",
	      child.walk_anon, start);
	child_go(pid);
	child_meet(pid);
	child = rss_check("child-unmapped", pid);
	CHECK(child.walk_anon <= start, "child: got %ld anonymous pages, expected at most %ld",
	      child.walk_anon, start);
	child_end(pid);
	mine = rss_check("parent-after-child", getpid());
	CHECK_EQ(mine.walk_anon, before.walk_anon);
	mem_expect(area, bytes(PAGES), SEED, "parent after the child's writes");
}

static void touch_body(void *unused)
{
	char *own = fresh(8 * PAGES);

	(void)unused;
	mem_fill(own, bytes(8 * PAGES), SEED + 2);
	child_barrier();
}

/* What a child had is the system's again once it is gone, give or take what others do. */
static void exit_gives_back(void)
{
	pid_t pid = child_start(touch_body, NULL);
	long during, after;
	struct rss child;

	child_meet(pid);
	child = rss_check("child-full", pid);
	CHECK(child.walk_anon >= 8 * PAGES, "child: got %ld anonymous pages, expected %d or more",
	      child.walk_anon, 8 * PAGES);
	sys_refresh();
	during = sys_meminfo("AnonPages");
	child_end(pid);
	sys_refresh();
	after = sys_meminfo("AnonPages");
	ktap_diag("AnonPages: %ld with the child, %ld without", during, after);
	CHECK(during - after >= 6 * PAGES, "AnonPages fell by %ld pages, expected about %d",
	      during - after, 8 * PAGES);
}

static void end(void)
{
	struct rss now;

	CHECK_SYS(munmap(area, bytes(PAGES)));
	now = rss_check("end", getpid());
	/* A few pages of stack and libc may have come since the start; the area has gone. */
	CHECK(now.walk_anon < base.walk_anon + 16, "got %ld anonymous pages, expected about %ld",
	      now.walk_anon, base.walk_anon);
}

static const struct ktap_case cases[] = {
	{ "start", start },
	{ "fault-in", fault_in },
	{ "zero-page", zero_page },
	{ "dontneed", dontneed },
	{ "mremap-conserves", mremap_conserves },
	{ "fork-and-cow", fork_and_cow },
	{ "exit-gives-back", exit_gives_back },
	{ "end", end },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), NULL);
}
