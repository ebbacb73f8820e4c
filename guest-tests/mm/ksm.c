// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KSM counts: pages_shared, pages_sharing, pages_unshared and ksm_zero_pages of /sys/kernel/mm/ksm, and
 * a process's own ksm_merging_pages, ksm_rmap_items and ksm_zero_pages, through merging, copy on write,
 * unmapping, MADV_UNMERGEABLE, fork(), exec and exit, and what prctl(PR_SET_MEMORY_MERGE) says.
 * The daemon scans only where a case lets it, so many rounds, and stands still when something is read: what
 * it has not seen yet is not counted (mm/ksm.c takes away an item when it comes by, not when its page goes).
 * Sources: Documentation/admin-guide/mm/ksm.rst (counters; run = 2 unmerges everything; a process of its
 * own), PR_SET_MEMORY_MERGE(2const) (inherited by fork(2) and kept by execve(2)), madvise(2), mseal(2);
 * v6.12: ksm_fork() and ksm_might_unmap_zero_page() in include/linux/ksm.h, ksm_madvise() and
 * unmerge_and_remove_all_rmap_items() in mm/ksm.c, proc_pid_ksm_stat() in fs/proc/base.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "knob.h"
#include "ktap.h"
#include "maps.h"
#include "mem.h"

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67 /* v6.4 */
#define PR_GET_MEMORY_MERGE 68
#endif
#define NR_MSEAL 462 /* v6.10 */

#define KSM "/sys/kernel/mm/ksm/"
#define PAGES 16
#define SEED 191
#define OTHER 192
#define LEN (PAGES * mem_page())
#define PATIENCE_MS 20000.0

/* Of the whole machine, in pages. */
struct counts {
	long shared, sharing, unshared, zero;
};
static long zero_before; /* 6.12 leaves pages counted that another program has moved */

static struct counts counts(void)
{
	return (struct counts){ knob_number(KSM "pages_shared"), knob_number(KSM "pages_sharing"),
				knob_number(KSM "pages_unshared"),
				knob_number(KSM "ksm_zero_pages") - zero_before };
}

static long process(pid_t pid, const char *name)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/ksm_stat", (int)pid);
	if (proc_read(path, text, sizeof(text)))
		maps_skip("no /proc/PID/ksm_stat (v6.1)");
	return proc_field(text, name);
}

static long mine(const char *name)
{
	return process(getpid(), name);
}

/* Through all that may be merged, so many times: to remember each page, to compare it, to settle. */
static void scan(int rounds)
{
	static const struct timespec pause = { 0, 1000 * 1000 };
	double begin = mem_now_ms();
	long until = knob_number(KSM "full_scans") + rounds + 1;

	CHECK_SYS(knob_set(KSM "run", "1"));
	while (knob_number(KSM "full_scans") < until && mem_now_ms() - begin < PATIENCE_MS)
		nanosleep(&pause, NULL);
	CHECK_SYS(knob_set(KSM "run", "0"));
	if (knob_number(KSM "full_scans") < until)
		maps_skip("KSM did not come through its scans");
}

static void expect(long shared, long sharing, long unshared, int line, const char *when)
{
	struct counts now = counts();

	if (now.shared != shared || now.sharing != sharing || now.unshared != unshared)
		ktap_fail(__FILE__, line,
			  "%s: got shared %ld sharing %ld unshared %ld, expected %ld %ld %ld", when,
			  now.shared, now.sharing, now.unshared, shared, sharing, unshared);
}

#define EXPECT(shared, sharing, unshared, when) expect(shared, sharing, unshared, __LINE__, when)

/*
 * The same after so many rounds, and after some more where a page was busy in one of them (the daemon does
 * not wait for a page that is locked or in a batch of another CPU).
 */
static void scanned(int rounds, long shared, long sharing, long unshared, int line, const char *when)
{
	struct counts now;

	scan(rounds);
	for (int more = 0; more < 20; more++) {
		now = counts();
		if (now.shared == shared && now.sharing == sharing && now.unshared == unshared)
			return;
		proc_write("/proc/sys/vm/drop_caches", "1");
		scan(1);
	}
	expect(shared, sharing, unshared, line, when);
}

#define SCANNED(rounds, shared, sharing, unshared, when)                                           \
	scanned(rounds, shared, sharing, unshared, __LINE__, when)

static char *mapped(void)
{
	char *area = mem_map(LEN, 0);

	mem_no_huge(area, LEN);
	return area;
}

static char *mergeable(unsigned int seed)
{
	char *area = mapped();

	mem_fill(area, LEN, seed);
	CHECK_SYS(madvise(area, LEN, MADV_MERGEABLE));
	return area;
}

static void twins_body(void *unused)
{
	char *one = mergeable(SEED), *two = mergeable(SEED), *alone;

	(void)unused;
	/* Each page once more than once: two of each. */
	SCANNED(3, PAGES, PAGES, 0, "pairs");
	CHECK_EQ(mine("ksm_merging_pages"), 2 * PAGES);
	CHECK_EQ(mine("ksm_rmap_items"), 2 * PAGES);
	alone = mergeable(OTHER);
	SCANNED(3, PAGES, PAGES, PAGES, "pairs, and pages like no other");
	CHECK_EQ(mine("ksm_merging_pages"), 2 * PAGES);
	CHECK_EQ(mine("ksm_rmap_items"), 3 * PAGES);
	/* Written to: a page of its own again, and the other one the last of a merged page. */
	mem_fill(one, LEN / 2, OTHER + 1);
	SCANNED(3, PAGES, PAGES / 2, PAGES + PAGES / 2, "half of the twins written to");
	CHECK_EQ(mine("ksm_merging_pages"), PAGES + PAGES / 2);
	CHECK_SYS(munmap(alone, LEN));
	CHECK_SYS(munmap(one, LEN));
	SCANNED(3, PAGES, 0, 0, "one of two unmapped");
	CHECK_SYS(munmap(two, LEN));
	SCANNED(3, 0, 0, 0, "all unmapped");
	CHECK_EQ(mine("ksm_merging_pages"), 0);
	CHECK_EQ(mine("ksm_rmap_items"), 0);
}

static void all_alike_body(void *unused)
{
	char *area = mapped();

	(void)unused;
	for (size_t at = 0; at < LEN; at += mem_page())
		mem_fill(area + at, mem_page(), SEED);
	CHECK_SYS(madvise(area, LEN, MADV_MERGEABLE));
	SCANNED(3, 1, PAGES - 1, 0, "alike");
	CHECK_EQ(mine("ksm_merging_pages"), PAGES);
	CHECK_SYS(madvise(area, LEN, MADV_DONTNEED));
	SCANNED(3, 0, 0, 0, "emptied");
	CHECK_EQ(mine("ksm_merging_pages"), 0);
}

static void unmergeable_body(void *unused)
{
	char *one = mergeable(SEED), *two = mergeable(SEED);

	(void)unused;
	SCANNED(3, PAGES, PAGES, 0, "pairs");
	CHECK_SYS(madvise(one, LEN, MADV_UNMERGEABLE));
	CHECK(!maps_flag(one, "mg"), "still mergeable (mg in VmFlags)");
	CHECK(maps_flag(two, "mg"), "not mergeable any more (mg in VmFlags)");
	mem_expect(one, LEN, SEED, "what was merged");
	SCANNED(3, PAGES, 0, 0, "one of two unmerged");
	CHECK_EQ(mine("ksm_merging_pages"), PAGES);
	/* All that is merged anywhere, at once, without a scan. */
	CHECK_SYS(knob_set(KSM "run", "2"));
	EXPECT(0, 0, 0, "all unmerged");
	CHECK_EQ(mine("ksm_merging_pages"), 0);
	CHECK_EQ(mine("ksm_rmap_items"), 0);
	mem_expect(two, LEN, SEED, "what was merged");
}

static void moved_body(void *unused)
{
	char *one = mergeable(SEED), *two = mergeable(SEED), *to = mapped();

	(void)unused;
	SCANNED(3, PAGES, PAGES, 0, "pairs");
	/* mremap() takes a merged page apart (move_vma()), and it is merged again where it is now. */
	CHECK(mremap(one, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap: %m");
	CHECK(maps_flag(to, "mg"), "not mergeable at its new place (mg in VmFlags)");
	SCANNED(3, PAGES, PAGES, 0, "moved");
	CHECK_EQ(mine("ksm_merging_pages"), 2 * PAGES);
	mem_expect(to, LEN, SEED, "what was moved");
	mem_expect(two, LEN, SEED, "what it was merged with");
	/* A split of the mapping leaves everything as it is. */
	CHECK_SYS(mprotect(to + LEN / 4, LEN / 4, PROT_READ));
	SCANNED(2, PAGES, PAGES, 0, "split");
}

/* One barrier: forked. */
static void heir(void *unused)
{
	(void)unused;
	CHECK_EQ(mine("ksm_merging_pages"), 0);
	CHECK_EQ(mine("ksm_rmap_items"), 0);
	child_barrier();
}

/* fork(): nothing of the child is counted until the daemon has seen it (ksm_fork()). */
static void forked_body(void *unused)
{
	char *one = mergeable(SEED), *two = mergeable(SEED);
	pid_t pid;

	(void)unused;
	SCANNED(3, PAGES, PAGES, 0, "pairs");
	pid = child_start(heir, NULL);
	child_meet(pid);
	EXPECT(PAGES, PAGES, 0, "forked");
	CHECK_EQ(mine("ksm_merging_pages"), 2 * PAGES);
	SCANNED(3, PAGES, 3 * PAGES, 0, "the child's were seen");
	CHECK_EQ(mine("ksm_merging_pages"), 2 * PAGES);
	CHECK_EQ(process(pid, "ksm_merging_pages"), 2 * PAGES);
	CHECK_EQ(process(pid, "ksm_rmap_items"), 2 * PAGES);
	child_end(pid);
	SCANNED(3, PAGES, PAGES, 0, "the child is gone");
	CHECK_EQ(mine("ksm_merging_pages"), 2 * PAGES);
	CHECK_SYS(munmap(one, LEN));
	CHECK_SYS(munmap(two, LEN));
	SCANNED(3, 0, 0, 0, "unmapped");
}

static char *zeros(void)
{
	char *area;

	if (counts().zero < 0)
		maps_skip("no " KSM "ksm_zero_pages (v6.6)");
	CHECK_SYS(knob_set(KSM "use_zero_pages", "1"));
	area = mapped();
	memset(area, 0, LEN);
	CHECK_SYS(madvise(area, LEN, MADV_MERGEABLE));
	scan(3);
	for (int more = 0; more < 20 && counts().zero != PAGES; more++)
		scan(1);
	return area;
}

static void zero_heir(void *area)
{
	child_barrier();
	/* Written to, read before and not: no zero pages any more. */
	memset(area, 1, LEN / 2);
	CHECK_EQ(mine("ksm_zero_pages"), PAGES / 2);
	child_barrier();
}

static void zero_pages_body(void *unused)
{
	char *area = zeros();
	pid_t pid;

	(void)unused;
	EXPECT(0, 0, 0, "pages of zeros");
	CHECK_EQ(counts().zero, PAGES);
	CHECK_EQ(mine("ksm_zero_pages"), PAGES);
	CHECK_EQ(mine("ksm_merging_pages"), 0);
	pid = child_start(zero_heir, area);
	child_meet(pid);
	CHECK_EQ(counts().zero, 2 * PAGES);
	CHECK_EQ(process(pid, "ksm_zero_pages"), PAGES);
	child_go(pid);
	child_meet(pid);
	CHECK_EQ(counts().zero, PAGES + PAGES / 2);
	child_end(pid);
	CHECK_EQ(counts().zero, PAGES);
	CHECK_SYS(madvise(area, LEN / 4, MADV_DONTNEED));
	CHECK_EQ(counts().zero, PAGES - PAGES / 4);
	CHECK(mremap(area, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, mapped()) != MAP_FAILED, "mremap: %m");
	/* mremap() takes them apart as it does merged pages. */
	CHECK_EQ(counts().zero, 0);
	CHECK_EQ(mine("ksm_zero_pages"), 0);
}

/* For a whole process: what it maps later too, its children's, and a new program's. */
static void merge_any_heir(void *unused)
{
	static char *const argv[] = { (char *)"ksm", (char *)"exec", NULL };

	(void)unused;
	CHECK_EQ(prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0), 1);
	(void)execv("/proc/self/exe", argv);
	FAIL("execv: %m");
}

static void merge_any_body(void *unused)
{
	char *one, *two;

	(void)unused;
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0))
		maps_skip("no PR_SET_MEMORY_MERGE (v6.4)");
	CHECK_EQ(prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0), 1);
	one = mapped();
	two = mapped();
	mem_fill(one, LEN, SEED);
	mem_fill(two, LEN, SEED);
	CHECK(maps_flag(one, "mg"), "what is mapped later is not mergeable (mg in VmFlags)");
	scan(3);
	for (int more = 0; more < 20 && mem_frame(one) != mem_frame(two); more++)
		scan(1);
	CHECK_ENTRY(mem_frame(one), mem_frame(two));
	child_reap(child_start(merge_any_heir, NULL));
	CHECK_SYS(prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0));
	CHECK_EQ(prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0), 0);
	CHECK(!maps_flag(one, "mg"), "still mergeable (mg in VmFlags)");
	CHECK(mem_frame(one) != mem_frame(two), "still merged");
	SCANNED(3, 0, 0, 0, "none merged any more");
	CHECK_EQ(mine("ksm_merging_pages"), 0);
}

/* The new program: this one.  It is scanned as its forefather was. */
static int executed(void)
{
	char *one = mapped(), *two = mapped();

	mem_fill(one, LEN, SEED);
	mem_fill(two, LEN, SEED);
	if (prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) != 1) {
		ktap_diag("PR_GET_MEMORY_MERGE says no after execve()");
		return 1;
	}
	for (int rounds = 0; rounds < 20 && mem_frame(one) != mem_frame(two); rounds++)
		scan(1);
	if (mem_frame(one) != mem_frame(two)) {
		ktap_diag("nothing is merged after execve()");
		return 1;
	}
	return 0;
}

/* MADV_UNMERGEABLE takes one flag of the mapping away and no other: what is sealed stays so (mseal(2)). */
static void flags_kept_body(void *unused)
{
	char *area = mergeable(SEED);

	(void)unused;
	if (syscall(NR_MSEAL, area, LEN, 0))
		maps_skip("no mseal() (v6.10)");
	CHECK_ERRNO(munmap(area, LEN) ? errno : 0, EPERM);
	CHECK_SYS(madvise(area, LEN, MADV_UNMERGEABLE));
	CHECK(!maps_flag(area, "mg"), "still mergeable (mg in VmFlags)");
	CHECK_ERRNO(munmap(area, LEN) ? errno : 0, EPERM);
}

/* Each case in a child that leaves nothing behind, but what the daemon has not seen yet. */
static void alone(void (*body)(void *))
{
	CHECK_SYS(knob_set(KSM "run", "2"));
	CHECK_SYS(knob_set(KSM "run", "0"));
	CHECK_SYS(knob_set(KSM "use_zero_pages", "0"));
	EXPECT(0, 0, 0, "before the case");
	maps_in_child(body);
	SCANNED(2, 0, 0, 0, "after the case");
	CHECK_EQ(counts().zero > 0, 0);
}

#define ALONE(name)                                                                                \
	static void name(void)                                                                     \
	{                                                                                          \
		alone(name##_body);                                                                \
	}

ALONE(twins)
ALONE(all_alike)
ALONE(unmergeable)
ALONE(moved)
ALONE(forked)
ALONE(zero_pages)
ALONE(merge_any)
ALONE(flags_kept)

static const struct ktap_case cases[] = {
	{ "twins", twins },
	{ "all-alike", all_alike },
	{ "unmergeable", unmergeable },
	{ "moved", moved },
	{ "forked", forked },
	{ "zero-pages", zero_pages },
	{ "merge-any", merge_any },
	{ "flags-kept", flags_kept },
};

int main(int argc, char **argv)
{
	int status;

	if (argc > 1 && argv[1])
		return executed();
	if (access(KSM "run", W_OK))
		return ktap_run(cases, KTAP_COUNT(cases), "no " KSM "run (CONFIG_KSM is off)");
	/* Some of these came after v6.6; what is not there is off. */
	(void)knob_set(KSM "advisor_mode", "none");
	(void)knob_set(KSM "smart_scan", "0");
	(void)knob_set(KSM "sleep_millisecs", "1");
	(void)knob_set(KSM "pages_to_scan", "4000");
	(void)knob_set(KSM "use_zero_pages", "0");
	(void)knob_set(KSM "run", "0");
	zero_before = counts().zero > 0 ? counts().zero : 0;
	/* An empty mapping of ours: without any process to scan the daemon sleeps, and no round ends. */
	CHECK_SYS(madvise(mapped(), LEN, MADV_MERGEABLE));
	status = ktap_run(cases, KTAP_COUNT(cases), NULL);
	knob_restore();
	return status;
}
