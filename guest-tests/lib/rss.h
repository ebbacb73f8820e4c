/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ledger: what the kernel counts for a process against what its page tables hold.
 *
 * RssAnon and VmSwap of /proc/PID/status are the mm's counters MM_ANONPAGES and MM_SWAPENTS; the
 * walk is smaps_rollup's Anonymous and the swap slots in pagemap.  (smaps_rollup's own Swap also
 * counts swapped shmem, which VmSwap does not.)  The two are comparable only while the process
 * stands still: at a barrier of its own, or stopped.
 *
 * Whether status is exact depends on the kernel.  v6.12's task_mem() sums every CPU's share
 * (get_mm_counter_sum()) and prints exact numbers.  Kernels from v6.2 on without that read a
 * per-CPU counter cheaply and may be off by its batch, max(32, 2 * CPUs), on every CPU; before
 * v6.2 each thread kept up to 64 events to itself (TASK_RSS_EVENTS_THRESH).  rss_tolerance()
 * measures which it is by touching pages one by one: a batched counter stands still and then
 * jumps, an exact one moves at every touch.  A counter that moves wrongly at every touch is exact
 * in this sense, and the ledger shows that it is wrong.
 *
 * Counters print clamped at zero: a negative drift reads as 0.
 */
#ifndef LAB_RSS_H
#define LAB_RSS_H

#include <sys/types.h>

/* Pages of mem_page() bytes.  A walk is -1 where the kernel has no CONFIG_PROC_PAGE_MONITOR. */
struct rss {
	long rss_anon;
	long vm_swap;
	long walk_anon;
	long walk_swap;
};

/* How far counter and walk may lie apart, in pages; 0 where status is exact. */
long rss_tolerance(void);

/* Read both sides of a process that stands still; a torn reading is taken again. */
struct rss rss_read(pid_t pid);

/*
 * rss_read() and a line
 *   # LEDGER step=STEP pid=PID rss_anon=N walk_anon=N vm_swap=N walk_swap=N tolerance=N
 * Steps around a move are named "X-before-move" and "X-after-move", once for each process
 * involved, so that a reader can pair them.
 */
struct rss rss_ledger(const char *step, pid_t pid);

/* Fail the case where counter and walk differ by more than the tolerance. */
void rss_agree(const char *step, const struct rss *rss);

/* rss_ledger() and rss_agree(). */
struct rss rss_check(const char *step, pid_t pid);

/* Fail the case unless got lies within the tolerance of expected. */
void rss_near(const char *what, long got, long expected);

/* Fail the case unless anon and swap, counted and walked, are what they were. */
void rss_conserved(const struct rss *before, const struct rss *after);

/* A counter of /proc/vmstat, and a line of /proc/meminfo in pages; -1 where there is none. */
long sys_vmstat(const char *name);
long sys_meminfo(const char *name);

/* Fold the per-CPU parts of vmstat, so that the next reading is exact (root; vm.stat_refresh). */
void sys_refresh(void);

#endif
