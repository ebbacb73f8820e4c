// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger of huge pages: one fault adds a whole huge page to MM_ANONPAGES, splitting the mapping
 * changes nothing, unmapping a part of it takes off just that part.
 *
 * Source: MM_ANONPAGES in __do_huge_pmd_anonymous_page(), __split_huge_pmd_locked() and
 * zap_huge_pmd() of mm/huge_memory.c, v6.12; Documentation/mm/transhuge.rst.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"

#define SEED 61

static size_t huge;
static long huge_pages;

/* Everything mem_map_huge() touches besides the huge page (stdio) is touched once before. */
static void prepare(void)
{
	huge = mem_huge();
	huge_pages = (long)(huge / mem_page());
	CHECK_SYS(munmap(mem_map_huge(1, SEED), huge));
	rss_tolerance();
}

static void huge_fault(void)
{
	long faults = sys_vmstat("thp_fault_alloc");
	struct rss before, now;
	char *area;

	prepare();
	before = rss_check("before-fault", getpid());
	area = mem_map_huge(1, SEED);
	now = rss_check("huge-fault", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon + huge_pages);
	rss_near("RssAnon", now.rss_anon, before.rss_anon + huge_pages);
	CHECK(sys_vmstat("thp_fault_alloc") > faults, "thp_fault_alloc: got %ld, expected more than %ld",
	      sys_vmstat("thp_fault_alloc"), faults);
	CHECK_SYS(munmap(area, huge));
	now = rss_check("huge-unmapped", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon);
}

/* A different protection in the middle splits the mapping, not the page, and no counter moves. */
static void mapping_split(void)
{
	struct rss before, now;
	char *area;

	prepare();
	area = mem_map_huge(1, SEED);
	before = rss_check("before-split", getpid());
	CHECK_SYS(mprotect(area + huge / 2, mem_page(), PROT_READ));
	CHECK_EQ(mem_huge_bytes(area, huge), 0);
	now = rss_check("mapping-split", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon);
	rss_near("RssAnon", now.rss_anon, before.rss_anon);
	mem_expect(area, huge, SEED, "after the split");
	CHECK_SYS(munmap(area, huge));
	now = rss_check("split-unmapped", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon - huge_pages);
}

static void partial_dontneed(void)
{
	struct rss before, now;
	char *area;

	prepare();
	area = mem_map_huge(1, SEED);
	mem_no_huge(area, huge);
	before = rss_check("before-partial", getpid());
	CHECK_SYS(madvise(area + huge / 2, mem_page(), MADV_DONTNEED));
	now = rss_check("one-page-freed", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon - 1);
	rss_near("RssAnon", now.rss_anon, before.rss_anon - 1);
	CHECK_SYS(munmap(area, huge / 2));
	now = rss_check("half-unmapped", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon - 1 - huge_pages / 2);
	CHECK_SYS(munmap(area + huge / 2, huge / 2));
	now = rss_check("all-unmapped", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon - huge_pages);
}

static void mremap_conserves(void)
{
	struct rss before, now;
	char *area, *target;

	prepare();
	area = mem_map_huge(1, SEED);
	target = mem_map(huge, huge);
	before = rss_ledger("mremap-huge-before-move", getpid());
	target = mremap(area, huge, huge, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	now = rss_ledger("mremap-huge-after-move", getpid());
	CHECK(target != MAP_FAILED, "mremap: %m");
	rss_agree("after mremap", &now);
	rss_conserved(&before, &now);
	CHECK_EQ(mem_huge_bytes(target, huge), huge);
	mem_expect(target, huge, SEED, "after mremap");
	CHECK_SYS(munmap(target, huge));
}

static char *shared_area;

static void child_body(void *unused)
{
	(void)unused;
	child_barrier();
	*(volatile char *)(shared_area + huge / 2) ^= 1;
	child_barrier();
}

/* The child's write splits its mapping of the shared huge page and copies one base page. */
static void fork_and_cow(void)
{
	struct rss before, forked, copied, now;
	pid_t pid;

	prepare();
	shared_area = mem_map_huge(1, SEED);
	before = rss_check("before-fork", getpid());
	pid = child_start(child_body, NULL);
	child_meet(pid);
	forked = rss_check("child-forked", pid);
	CHECK(forked.walk_anon >= huge_pages, "child: got %ld anonymous pages, expected %ld or more",
	      forked.walk_anon, huge_pages);
	child_go(pid);
	child_meet(pid);
	copied = rss_check("child-copied", pid);
	CHECK(copied.walk_anon >= forked.walk_anon && copied.walk_anon < forked.walk_anon + 16,
	      "child: got %ld anonymous pages after copy on write, expected about %ld",
	      copied.walk_anon, forked.walk_anon);
	child_end(pid);
	now = rss_check("parent-after-child", getpid());
	CHECK_EQ(now.walk_anon, before.walk_anon);
	mem_expect(shared_area, huge, SEED, "parent after the child's write");
	CHECK_SYS(munmap(shared_area, huge));
}

static const struct ktap_case cases[] = {
	{ "huge-fault", huge_fault },
	{ "mapping-split", mapping_split },
	{ "partial-dontneed", partial_dontneed },
	{ "mremap-conserves", mremap_conserves },
	{ "fork-and-cow", fork_and_cow },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), mem_why_no_huge());
}
