/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this kernel and machine can do: what they lack is told once, and left out.
 */
#ifndef LAB_EXPLORE_PROBE_H
#define LAB_EXPLORE_PROBE_H

#include "counters.h"
#include "fault.h"
#include "group.h"
#include "knob.h"
#include "ksm.h"
#include "mlocked.h"
#include "uffd.h"

/* A set of CAN_*, once prepare() was called. */
static unsigned int can;

/* Whether mremap() takes a range of two mappings, which v6.12 says EFAULT to. */
static int remaps_many(void)
{
	size_t len = 2 * mem_page();
	char *from = mem_map(len, 0), *to = mem_map(len, 0);
	int many;

	CHECK_SYS(mprotect(from, mem_page(), PROT_READ));
	many = mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to;
	if (!many)
		munmap(from, len);
	munmap(to, len);
	return many;
}

/* Whether there is ioctl(PAGEMAP_SCAN). */
static int scans(void)
{
	struct scan scan = { .size = sizeof(scan) };
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), has;

	CHECK(fd >= 0, "/proc/self/pagemap: %m");
	scan.start = (uint64_t)(uintptr_t)ARENA;
	scan.end = scan.start + mem_page();
	has = ioctl(fd, SCAN_IOCTL, &scan) >= 0;
	close(fd);
	return has;
}

/* Each that is missing is told once, with what it leaves out. */
static unsigned int probe(void)
{
	static const struct {
		unsigned int can;
		const char *what;
	} missing[] = {
		{ CAN_SWAP, "swap: no page is swapped out" },
		{ CAN_THP, "THP: hugepage, nohugepage, collapse" },
		{ CAN_KSM, "KSM: mergeable, unmergeable" },
		{ CAN_SOFT_DIRTY, "soft-dirty bits: clear-soft-dirty" },
		{ CAN_UFFD, "userfaultfd with SIGBUS: userfaultfd and all its ioctls" },
		{ CAN_WP, "userfaultfd's write protection: writeprotect, unprotect, how=wp" },
		{ CAN_MARKERS, "UFFD_FEATURE_WP_UNPOPULATED: userfaultfd how=markers" },
		{ CAN_MOVE, "UFFDIO_MOVE: move" },
		{ CAN_SCAN, "PAGEMAP_SCAN: pagemap-scan" },
		{ CAN_ASYNC, "UFFD_FEATURE_WP_ASYNC: userfaultfd how=async" },
		{ CAN_POISON, "UFFDIO_POISON: poison" },
		{ CAN_MINOR, "UFFD_FEATURE_MINOR_SHMEM: register how=minor, continue" },
		{ CAN_PIN, "io_uring: pin, unpin" },
		{ CAN_GROUP, "cgroup2 with memory.reclaim: reclaim, memory.stat" },
		{ CAN_GUARD, "MADV_GUARD_INSTALL: guard, unguard" },
	};
	uint64_t features = uffd_features();
	char *page = mem_map(mem_page(), 0);
	unsigned int has = 0;
	int ring;

	look_zero_frame = mem_frame(page) & MEM_FRAME;
	(void)*(volatile char *)page;
	look_zero_frame = mem_frame(page) & MEM_FRAME;
	if (!look_zero_frame)
		ktap_skip("pagemap shows no frames: not root");
	has |= !mem_why_no_swap() ? CAN_SWAP : 0;
	has |= !madvise(page, mem_page(), MADV_NOHUGEPAGE) ? CAN_THP : 0;
	has |= !madvise(page, mem_page(), MADV_UNMERGEABLE) ? CAN_KSM : 0;
	has |= mem_entry(page) & ENTRY_SOFT_DIRTY ? CAN_SOFT_DIRTY : 0;
	has |= !madvise(page, mem_page(), GUARD_INSTALL) ? CAN_GUARD : 0;
	has |= scans() ? CAN_SCAN : 0;
	ring = uring_open();
	has |= ring >= 0 ? CAN_PIN : 0;
	close(ring);
	has |= group_works() ? CAN_GROUP : 0;
	munmap(page, mem_page());
	if (features & UFFD_FEATURE_SIGBUS) {
		has |= CAN_UFFD;
		has |= features & UFFD_FEATURE_PAGEFAULT_FLAG_WP ? CAN_WP : 0;
		has |= features & UFFD_FEATURE_WP_UNPOPULATED ? CAN_MARKERS : 0;
		has |= features & UFFD_FEATURE_MOVE ? CAN_MOVE : 0;
		has |= features & UFFD_FEATURE_WP_ASYNC ? CAN_ASYNC : 0;
		has |= features & UFFD_FEATURE_POISON ? CAN_POISON : 0;
		has |= features & FEATURE_MINOR_SHMEM ? CAN_MINOR : 0;
	}
	if (remaps_many()) {
		has |= CAN_REMAP_MANY;
		ktap_diag("left out, since this kernel is newer than the model: mremap() of several mappings, but "
			  "for private anonymous ones that keep their lengths");
	}
	for (size_t i = 0; i < KTAP_COUNT(missing); i++)
		if (!(has & missing[i].can))
			ktap_diag("left out, for want of %s", missing[i].what);
	return has;
}

/* Whether a fault may bring pages beside the one it is for: the model does not know of that. */
static int large_folios(void)
{
	char path[96], text[128];

	for (size_t kib = 8; kib < mem_huge() / 1024; kib *= 2) {
		snprintf(path, sizeof(path), "/sys/kernel/mm/transparent_hugepage/hugepages-%zukB/enabled", kib);
		if (!proc_read(path, text, sizeof(text)) && !strstr(text, "[never]"))
			return 1;
	}
	return 0;
}

static void prepare(void)
{
	static int prepared;

	if (prepared++)
		return;
	can = probe();
	if (large_folios())
		ktap_skip("folios between a page and a huge page are switched on");
	look_tolerance = rss_tolerance();
	if (look_tolerance)
		ktap_diag("left out: this kernel's status is off by up to %ld pages: RssAnon, RssShmem, VmSwap",
			  look_tolerance);
	mlocked_counts = !others_lock();
	if (!mlocked_counts)
		ktap_diag("left out, since other processes lock memory: Mlocked of /proc/meminfo");
	/* What KSM merges between two steps nobody could foresee. */
	if (knob_number("/sys/kernel/mm/ksm/run") == 1)
		(void)knob_set("/sys/kernel/mm/ksm/run", "0");
}

/* For what lets KSM's daemon go; the whole case is skipped where it may not. */
static void prepare_merging(void)
{
	const char *why = can & CAN_KSMD ? NULL : ksm_prepare(can);

	if (why)
		ktap_skip("%s", why);
	can |= CAN_KSMD;
}

/* For what has an allocation fail; the whole case is skipped where none can. */
static void prepare_faults(void)
{
	const char *why = fault_prepare();

	if (why)
		ktap_skip("%s", why);
}

/* For what has large folios; the whole case is skipped where there are none. */
static void prepare_folios(void)
{
	const char *why = can & CAN_LARGE ? NULL : folios_prepare();

	if (why)
		ktap_skip("%s", why);
	can |= CAN_LARGE;
}

/* What a step needs beside what there is, once. */
static void prepare_step(const struct step *step)
{
	if (step->fail)
		prepare_faults();
	if (step->op == OP_KSM)
		prepare_merging();
	if (step->op == OP_FOLIOS)
		prepare_folios();
}

/* And a swarm. */
static void prepare_swarm(const struct swarm *swarm)
{
	if (swarm->weight[OP_KSM])
		prepare_merging();
	if (swarm->weight[OP_FOLIOS])
		prepare_folios();
}

#endif
