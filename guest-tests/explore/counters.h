/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is counted of a process, held against its page tables and against the model; and all of a process in one
 * look.
 */
#ifndef LAB_EXPLORE_COUNTERS_H
#define LAB_EXPLORE_COUNTERS_H

#include "look.h"
#include "rss.h"

static long look_tolerance;

/* What a process is known by beside the model. */
struct subject {
	pid_t pid;
	long own_anon, own_swap, own_shmem; /* pages of its own, outside the arena; -1 before the first look */
	long own_file, tables; /* RssFile and VmPTE as they were, in pages */
	long reclaimed; /* what reclaim had looked at when own_shmem was noted */
};

/* Pages that reclaim looked at by itself: not for MADV_PAGEOUT, whose rule knows.  What a kernel lacks is -1. */
static inline long scanned_by_kernel(void)
{
	return sys_vmstat("pgscan_kswapd") + sys_vmstat("pgscan_direct") + sys_vmstat("pgscan_proactive");
}

/* What the kernel counts of pages that get another frame by themselves: migration, swapping. */
static inline long moved_by_kernel(void)
{
	return sys_vmstat("pgmigrate_success") + sys_vmstat("pswpin") + sys_vmstat("pswpout");
}

static inline struct subject subject_of(pid_t pid)
{
	return (struct subject){ .pid = pid, .own_anon = -1, .own_swap = -1, .own_shmem = -1, .own_file = -1,
				 .tables = -1 };
}

/* Page tables that a process may come to have of its own after its first look: of stack, libraries, brk. */
#define TABLES_OWN 8

/*
 * RssFile, where it changed: all of Rss against the walk, since no file is mapped in the arena.  VmPTE: the
 * arena is a few page tables at most, so that it does not wander.
 */
static inline int look_file(const struct sight *sight, struct subject *subject, struct finding *finding)
{
	static char text[4096];
	char path[64];
	long rss;

	if (subject->tables < 0)
		subject->tables = sight->tables;
	if (labs(sight->tables - subject->tables) > TABLES_OWN)
		return found(finding, "VmPTE", "VmPTE is %ld pages, and was %ld", sight->tables, subject->tables);
	if (sight->file == subject->own_file)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)subject->pid);
	if (proc_read(path, text, sizeof(text)))
		return 0;
	rss = proc_pages(text, "Rss");
	if (rss >= 0 && rss != sight->anon + sight->shmem + sight->file)
		return found(finding, "RssFile", "RssAnon, RssShmem and RssFile are %ld, %ld and %ld pages, expected %ld by page walk together",
			     sight->anon, sight->shmem, sight->file, rss);
	subject->own_file = sight->file;
	return 0;
}

/* Counters of the process against what its page tables show, and both against the model. */
static inline int look_counters(const struct process *proc, const struct sight *sight, struct subject *subject,
				struct finding *finding)
{
	long locked = 0, anon = 0, shmem = 0, swap = 0;
	struct rss rss;

	for (int i = 0; i < PAGES; i++) {
		locked += !!proc->pages[i].attr.lock;
		anon += sight->state[i] == ANON;
		shmem += sight->state[i] == SHMEM;
		swap += sight->state[i] == SWAP;
	}
	if (sight->locked != locked)
		return found(finding, "VmLck", "VmLck is %ld pages, expected %ld", sight->locked, locked);
	if (look_tolerance)
		return 0;
	/* The program's own file may be shared memory: as long as nothing is reclaimed, always the same. */
	if (sight->shmem - shmem != subject->own_shmem) {
		long reclaimed = scanned_by_kernel();

		if (subject->own_shmem < 0 || reclaimed != subject->reclaimed)
			subject->own_shmem = sight->shmem - shmem;
		subject->reclaimed = reclaimed;
	}
	if (sight->shmem - shmem != subject->own_shmem)
		return found(finding, "RssShmem", "RssShmem is %ld pages, expected %ld by page walk", sight->shmem,
			     shmem + subject->own_shmem);
	if (look_file(sight, subject, finding))
		return -1;
	if (sight->anon - anon == subject->own_anon && sight->swap - swap == subject->own_swap)
		return 0;
	/* Pages of its own came or went, or else a counter drifts: the walk over all of it tells. */
	rss = rss_read(subject->pid);
	if (rss.rss_anon != rss.walk_anon)
		return found(finding, "RssAnon", "RssAnon is %ld pages, expected %ld by page walk", rss.rss_anon,
			     rss.walk_anon);
	if (rss.vm_swap != rss.walk_swap)
		return found(finding, "VmSwap", "VmSwap is %ld pages, expected %ld by page walk", rss.vm_swap,
			     rss.walk_swap);
	subject->own_anon = rss.rss_anon - anon;
	subject->own_swap = rss.vm_swap - swap;
	return 0;
}

/* All of one process, once. */
static inline int look_once(struct model *model, int which, struct subject *subject, struct sight *sight,
			    struct finding *finding)
{
	struct process *proc = &model->procs[which];

	if (sight_take(sight, subject->pid))
		return found(finding, "gone", "process %d cannot be looked at: %m", which);
	for (int i = 0; i < PAGES; i++)
		if (look_mapping(&proc->pages[i], &proc->pages[i ? i - 1 : 0], sight, i, model, finding) ||
		    look_entry(&proc->pages[i], sight, i, model, finding))
			return -1;
	return look_bytes(model, proc, sight, subject->pid, finding) ||
			       look_counters(proc, sight, subject, finding) ?
		       -1 :
		       0;
}

#endif
