// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a control group is charged for, to the page: anonymous memory, shared memory and swap through faults,
 * fork(), copy on write, mremap(), mlock(), holes, truncation, swapping and the end; a page stays with the
 * group that touched it first.  At the end the group has nothing left and can be removed, and dies.
 *
 * Sources: Documentation/admin-guide/cgroup-v2.rst (memory.current, memory.stat, memory.events,
 * memory.swap.current; "Memory Ownership": charged to who instantiates it until it is released);
 * v6.12: mm/memcontrol.c, folio_add_new_anon_rmap() and __folio_remove_rmap() in mm/rmap.c (anon),
 * shmem_add_to_page_cache() in mm/shmem.c (shmem, file), mem_cgroup_swapout().
 * cgroup.h tells what makes these counters inexact and how they are read all the same.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cgroup.h"
#include "charged.h"
#include "child.h"
#include "ktap.h"
#include "machine.h"
#include "maps.h"
#include "mem.h"

/* More than the batches of all CPUs would hide in memory.current. */
#define PAGES 64
#define SEED 201
#define LEN (PAGES * mem_page())
#define HALF (LEN / 2)
#define SLOTS 64 /* SWAP_SLOTS_CACHE_SIZE, mm/swap_slots.c */

static int file = -1;
static char *area;

static void make_file(void)
{
	file = memfd_create("lab-memcg", MFD_CLOEXEC);
	CHECK(file >= 0, "memfd_create: %m");
	CHECK_SYS(ftruncate(file, (off_t)LEN));
	area = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(area != MAP_FAILED, "mmap: %m");
	mem_no_huge(area, LEN);
}

static char *mapped(void)
{
	char *start = mem_map(LEN, 0);

	mem_no_huge(start, LEN);
	return start;
}

static void anon_body(void *unused)
{
	char *start;

	(void)unused;
	charged_enter();
	start = mapped();
	mem_fill(start, LEN, SEED);
	child_barrier();
	start = mremap(start, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, mapped());
	CHECK(start != MAP_FAILED, "mremap: %m");
	CHECK_SYS(mprotect(start, HALF, PROT_READ));
	child_barrier();
	CHECK_SYS(madvise(start + HALF, HALF, MADV_DONTNEED));
	child_barrier();
	CHECK_SYS(munmap(start, LEN));
	child_barrier();
}

static void anonymous(void)
{
	pid_t pid;

	charged_begin();
	pid = charged_start(anon_body);
	charged_next(pid);
	CHARGED(PAGES, 0, 0, "filled");
	charged_next(pid);
	CHARGED(PAGES, 0, 0, "moved and split");
	charged_next(pid);
	CHARGED(PAGES / 2, 0, 0, "half of it emptied");
	charged_next(pid);
	CHARGED(0, 0, 0, "unmapped");
	child_end(pid);
	charged_finish();
}

/* Of a process's own stack, less than the quarter that the copier copies. */
#define OWN_PAGES 8

/* The child of the child: shares, copies a quarter, leaves. */
static void copier(void *unused)
{
	(void)unused;
	/* First one page, and with it what writing and waiting take of the stack. */
	mem_fill(area + HALF, mem_page(), SEED + 1);
	child_barrier();
	mem_fill(area, LEN / 4, SEED + 1);
	child_barrier();
}

static void fork_body(void *unused)
{
	pid_t pid;

	(void)unused;
	charged_enter();
	area = mapped();
	mem_fill(area, LEN, SEED);
	pid = child_start(copier, NULL);
	child_meet(pid);
	child_barrier();
	charged_next(pid);
	child_barrier();
	child_end(pid);
	child_barrier();
}

/* What is shared is charged once, a copy once more. */
static void forked(void)
{
	struct charged shared, copied, gone;
	long own;
	pid_t pid;

	charged_begin();
	pid = charged_start(fork_body);
	charged_next(pid);
	shared = charged_read(CHARGED_GROUP);
	charged_next(pid);
	copied = charged_read(CHARGED_GROUP);
	CHECK_EQ(copied.all.anon - shared.all.anon, PAGES / 4);
	charged_next(pid);
	gone = charged_read(CHARGED_GROUP);
	/* Beside what it shared its parent may have written to a few pages of its stack since. */
	own = gone.all.anon - charged_first.all.anon - PAGES;
	CHECK(own >= 0 && own <= OWN_PAGES, "the copier is gone: anon is %ld pages off", own);
	CHECK(gone.all.current < copied.all.current, "memory.current does not fall at exit");
	child_end(pid);
	charged_finish();
}

static void shmem_body(void *unused)
{
	(void)unused;
	charged_enter();
	make_file();
	mem_fill(area, LEN, SEED);
	child_barrier();
	CHECK_SYS(munmap(area, LEN));
	child_barrier();
	CHECK_SYS(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)HALF / 2));
	child_barrier();
	CHECK_SYS(ftruncate(file, (off_t)HALF));
	child_barrier();
	CHECK_SYS(fallocate(file, 0, 0, (off_t)HALF));
	child_barrier();
	area = mmap(NULL, HALF, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	CHECK(area != MAP_FAILED, "mmap: %m");
	mem_fill(area, HALF, SEED);
	child_barrier();
	CHECK_SYS(ftruncate(file, 0));
	child_barrier();
}

static void shared_memory(void)
{
	struct charged now;
	pid_t pid;

	charged_begin();
	pid = charged_start(shmem_body);
	charged_next(pid);
	CHARGED(0, PAGES, 0, "filled");
	now = charged_read(CHARGED_GROUP);
	CHECK_EQ(now.mapped - charged_first.mapped, PAGES);
	charged_next(pid);
	CHARGED(0, PAGES, 0, "unmapped");
	now = charged_read(CHARGED_GROUP);
	CHECK_EQ(now.mapped - charged_first.mapped, 0);
	charged_next(pid);
	CHARGED(0, PAGES - PAGES / 4, 0, "a hole");
	charged_next(pid);
	CHARGED(0, PAGES / 4, 0, "truncated by half");
	charged_next(pid);
	CHARGED(0, PAGES / 2, 0, "allocated");
	charged_next(pid);
	CHARGED(PAGES / 2, PAGES / 2, 0, "copied");
	charged_next(pid);
	CHARGED(0, 0, 0, "truncated to nothing");
	child_end(pid);
	charged_finish();
}

static void locked_body(void *unused)
{
	char *start;

	(void)unused;
	charged_enter();
	start = mapped();
	CHECK_SYS(mlock(start, LEN));
	child_barrier();
	start = mremap(start, LEN, HALF, MREMAP_MAYMOVE | MREMAP_FIXED, mapped());
	CHECK(start != MAP_FAILED, "mremap: %m");
	child_barrier();
	CHECK_SYS(munlock(start, HALF));
	child_barrier();
}

static void locked(void)
{
	pid_t pid;

	charged_begin();
	pid = charged_start(locked_body);
	charged_next(pid);
	CHARGED(PAGES, 0, 0, "locked");
	CHECK_EQ(charged_read(CHARGED_GROUP).locked - charged_first.locked, PAGES);
	charged_next(pid);
	CHARGED(PAGES / 2, 0, 0, "shrunk and moved");
	CHECK_EQ(charged_read(CHARGED_GROUP).locked - charged_first.locked, PAGES / 2);
	charged_next(pid);
	CHARGED(PAGES / 2, 0, 0, "unlocked");
	CHECK_EQ(charged_read(CHARGED_GROUP).locked - charged_first.locked, 0);
	child_end(pid);
	charged_finish();
}

static void toucher(void *unused)
{
	(void)unused;
	charged_enter();
	make_file();
	mem_fill(area, HALF, SEED);
	child_barrier();
	/* Moves on, and what it touched stays. */
	cgroup_enter(CHARGED_OTHER);
	mem_fill(area + HALF, HALF, SEED);
	child_barrier();
	CHECK_SYS(madvise(area, LEN, MADV_REMOVE));
	child_barrier();
}

static void stays_with_first(void)
{
	struct charged other[3];
	pid_t pid;

	charged_begin();
	cgroup_make(CHARGED_OTHER);
	pid = charged_start(toucher);
	other[0] = charged_read(CHARGED_OTHER);
	charged_next(pid);
	CHARGED(0, PAGES / 2, 0, "touched in the first group");
	charged_next(pid);
	CHECK_EQ(charged_read(CHARGED_GROUP).shmem - charged_first.shmem, PAGES / 2);
	other[1] = charged_read(CHARGED_OTHER);
	CHECK_EQ(other[1].shmem - other[0].shmem, PAGES / 2);
	charged_next(pid);
	CHECK_EQ(charged_read(CHARGED_GROUP).shmem - charged_first.shmem, 0);
	other[2] = charged_read(CHARGED_OTHER);
	CHECK_EQ(other[2].shmem - other[0].shmem, 0);
	child_end(pid);
	machine_settle();
	CHECK_ERRNO(cgroup_remove(CHARGED_OTHER), 0);
	charged_finish();
}

static void swap_body(void *unused)
{
	char *start;

	(void)unused;
	charged_enter();
	start = mapped();
	mem_fill(start, LEN, SEED);
	mem_swap_out(start, LEN);
	child_barrier();
	mem_expect(start, HALF, SEED, "what was swapped out");
	/* Written to: its slots are given up. */
	mem_fill(start, HALF, SEED + 1);
	child_barrier();
	CHECK_SYS(munmap(start, LEN));
	/* Many more slots than all CPUs' caches take. */
	for (long round = 0; round < 2 * sysconf(_SC_NPROCESSORS_ONLN) + 2; round++) {
		start = mapped();
		mem_fill(start, LEN, SEED);
		mem_swap_out(start, LEN);
		CHECK_SYS(munmap(start, LEN));
	}
	child_barrier();
}

/*
 * Swapped-out pages are charged as swap and not as memory.  Slots that were given up may wait in a cache of
 * the CPU, charged (mm/swap_slots.c), and so only more than those is too much.
 */
static void swapped(void)
{
	long slots = SLOTS * sysconf(_SC_NPROCESSORS_ONLN);
	struct charged now;
	pid_t pid;

	if (mem_why_no_swap())
		ktap_skip("%s", mem_why_no_swap());
	charged_begin();
	pid = charged_start(swap_body);
	charged_next(pid);
	CHARGED(0, 0, PAGES, "swapped out");
	charged_next(pid);
	now = charged_read(CHARGED_GROUP);
	CHECK(now.all.anon - charged_first.all.anon >= PAGES / 2, "swapped in: anon: got %ld pages, expected %d",
	      now.all.anon - charged_first.all.anon, PAGES / 2);
	CHECK(now.all.swap - charged_first.all.swap >= PAGES / 2, "swapped in: swap: got %ld pages, expected %d",
	      now.all.swap - charged_first.all.swap, PAGES / 2);
	charged_next(pid);
	now = charged_read(CHARGED_GROUP);
	CHECK_EQ(now.all.anon - charged_first.all.anon, 0);
	CHECK(now.all.swap - charged_first.all.swap <= slots,
	      "memory.swap.current: got %ld pages more than at first, expected %ld at most",
	      now.all.swap - charged_first.all.swap, slots);
	child_end(pid);
}

static const struct ktap_case cases[] = {
	{ "anonymous", anonymous },
	{ "forked", forked },
	{ "shared-memory", shared_memory },
	{ "locked", locked },
	{ "stays-with-first", stays_with_first },
	{ "swapped", swapped },
};

int main(void)
{
	return charged_run(cases, KTAP_COUNT(cases));
}
