// SPDX-License-Identifier: GPL-2.0-only
/*
 * Locked memory that several processes map, and its end: fork() passes no lock on, a page that two have
 * locked is counted once and stays locked until the last of them lets go, and exit, exec, truncation and
 * holes in a file give it back.  What is refused for its limit (RLIMIT_MEMLOCK) counts nothing.
 *
 * Sources: mlock(2) and mremap(2); setrlimit(2); Documentation/mm/unevictable-lru.rst (mlock_count,
 * munlocking while truncating); v6.12: dup_mmap() in kernel/fork.c, __mlock_folio() and __munlock_folio()
 * in mm/mlock.c, zap_present_folio_ptes() in mm/memory.c, mlock_future_ok() in mm/mmap.c,
 * vma_to_resize() in mm/mremap.c, vma_supports_mlock() in mm/internal.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "locked.h"
#include "maps.h"
#include "mem.h"
#include "pool.h"

#define PAGES 24
#define SEED 171
#define LEN (PAGES * mem_page())
#define HALF (LEN / 2)

static char *area;
static long pages_before;
static int file;

static void begin(void)
{
	pages_before = locked_pages();
}

static void expect_mlocked(long pages, const char *when)
{
	long got = locked_pages() - pages_before;

	CHECK(got == pages, "%s: Mlocked: got %ld pages more than at first, expected %ld", when, got,
	      pages);
}

static void lock_filled(void)
{
	area = mem_map(LEN, 0);
	mem_no_huge(area, LEN);
	mem_fill(area, LEN, SEED);
	CHECK_SYS(mlock(area, LEN));
}

/* A memfd of LEN bytes, filled and mapped shared, in area. */
static void map_file(void)
{
	file = memfd_create("lab-mlock", MFD_CLOEXEC);
	CHECK(file >= 0, "memfd_create: %m");
	CHECK_SYS(ftruncate(file, (off_t)LEN));
	area = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(area != MAP_FAILED, "mmap: %m");
	mem_fill(area, LEN, SEED);
}

static void drop(void)
{
	CHECK_SYS(munmap(area, LEN));
	if (file > 0)
		close(file);
	file = 0;
	expect_mlocked(0, "in the end");
}

/* Barriers: forked; written to half of it; locked all of it. */
static void heir(void *unused)
{
	(void)unused;
	CHECK_EQ(maps_status("VmLck"), 0);
	CHECK(!maps_flag(area, "lo"), "the child's mapping is a locked one");
	child_barrier();
	mem_fill(area, HALF, SEED + 1);
	CHECK_EQ(mem_pages_with_any(area, HALF, MEM_FLAG_MLOCKED), 0);
	child_barrier();
	CHECK_SYS(mlock(area, LEN));
	CHECK_EQ(maps_status("VmLck"), PAGES);
	child_barrier();
}

static void not_inherited(void)
{
	pid_t pid;

	begin();
	lock_filled();
	pid = child_start(heir, NULL);
	child_meet(pid);
	expect_mlocked(PAGES, "after fork()");
	CHECK_EQ(maps_status("VmLck"), PAGES);
	child_go(pid);
	child_meet(pid);
	expect_mlocked(PAGES, "half was copied on write by the child");
	child_go(pid);
	child_meet(pid);
	/*
	 * mlock() faults for writing: the child copies the other half, too.  Its pages are its own, and
	 * the parent's are as locked as before.
	 */
	expect_mlocked(2 * PAGES, "locked by the child as well");
	child_end(pid);
	expect_mlocked(PAGES, "after the child's exit");
	CHECK_EQ(mem_pages_with_all(area, LEN, MEM_FLAG_MLOCKED), PAGES);
	CHECK_EQ(maps_status("VmLck"), PAGES);
	drop();
}

/* The child stays when the parent lets go: its pages are nobody's locked ones. */
static void parent_lets_go(void)
{
	pid_t pid;

	begin();
	lock_filled();
	pid = child_sharer();
	CHECK_SYS(munmap(area, LEN));
	expect_mlocked(0, "unmapped by who locked it");
	child_end(pid);
}

static void locker(void *unused)
{
	(void)unused;
	lock_filled();
	child_barrier();
	/* Leaves with all of it locked. */
}

static void exit_unlocks(void)
{
	pid_t pid;

	begin();
	pid = child_start(locker, NULL);
	child_meet(pid);
	expect_mlocked(PAGES, "locked by a child");
	CHECK_EQ(maps_status_of(pid, "VmLck"), PAGES);
	child_end(pid);
	expect_mlocked(0, "after its exit");
}

static void execs(void *unused)
{
	static char *const argv[] = { (char *)"mm-locked", (char *)"exec", NULL };

	(void)unused;
	lock_filled();
	CHECK_SYS(mlockall(MCL_CURRENT | MCL_FUTURE));
	(void)execv("/proc/self/exe", argv);
	FAIL("execv: %m");
}

/* mlock(2): locks are not preserved across execve(2).  The new program is this one; see main(). */
static void exec_unlocks(void)
{
	begin();
	maps_in_child(execs);
	expect_mlocked(0, "after exec and exit");
}

/* Barriers: the same file mapped and locked. */
static void second_locker(void *unused)
{
	(void)unused;
	area = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(area != MAP_FAILED, "mmap: %m");
	CHECK_SYS(mlock(area, LEN));
	child_barrier();
}

static void locked_by_two(void)
{
	pid_t pid;

	begin();
	map_file();
	CHECK_SYS(mlock(area, LEN));
	expect_mlocked(PAGES, "locked by one");
	pid = child_start(second_locker, NULL);
	child_meet(pid);
	expect_mlocked(PAGES, "locked by two");
	CHECK_SYS(munlock(area, HALF));
	expect_mlocked(PAGES, "half unlocked by one of two");
	CHECK_SYS(munlock(area, LEN));
	CHECK_SYS(mlock(area, HALF));
	child_end(pid);
	expect_mlocked(PAGES / 2, "after the exit of the other");
	drop();
}

/* Two mappings of one process: VmLck counts both, Mlocked each page once. */
static void locked_twice_here(void)
{
	long vm = maps_status("VmLck");
	char *second;

	begin();
	map_file();
	second = mmap(NULL, LEN, PROT_READ, MAP_SHARED, file, 0);
	CHECK(second != MAP_FAILED, "mmap: %m");
	CHECK_SYS(mlock(area, LEN));
	CHECK_SYS(mlock(second, LEN));
	CHECK_EQ(maps_status("VmLck") - vm, 2 * PAGES);
	expect_mlocked(PAGES, "locked in two mappings");
	CHECK_SYS(munmap(second, LEN));
	CHECK_EQ(maps_status("VmLck") - vm, PAGES);
	expect_mlocked(PAGES, "one of them unmapped");
	drop();
}

static void truncated(void)
{
	long vm = maps_status("VmLck");

	begin();
	map_file();
	CHECK_SYS(mlock(area, LEN));
	expect_mlocked(PAGES, "locked");
	CHECK_SYS(ftruncate(file, (off_t)HALF));
	expect_mlocked(PAGES / 2, "half of the file truncated");
	/* The address space is locked still. */
	CHECK_EQ(maps_status("VmLck") - vm, PAGES);
	CHECK_SYS(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)HALF / 2));
	expect_mlocked(PAGES / 4, "a hole");
	/* What is faulted in there is locked again. */
	mem_fill(area, HALF, SEED);
	expect_mlocked(PAGES / 2, "the hole filled");
	drop();
}

/* Pages of a file that were written to in a private mapping go with a truncation, and not with a hole. */
static void private_copies(void)
{
	char *copy;

	begin();
	map_file();
	copy = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	CHECK(copy != MAP_FAILED, "mmap: %m");
	/* Locking a private writable mapping copies all of it. */
	CHECK_SYS(mlock(copy, LEN));
	expect_mlocked(PAGES, "a private mapping");
	CHECK_EQ(maps_sum(copy, LEN, "Anonymous"), PAGES);
	CHECK_SYS(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)HALF));
	expect_mlocked(PAGES, "a hole in the file");
	mem_expect(copy, LEN, SEED, "the private mapping");
	CHECK_SYS(ftruncate(file, (off_t)HALF));
	expect_mlocked(PAGES / 2, "the file truncated");
	CHECK_SYS(munmap(copy, LEN));
	drop();
}

/* A user who may lock PAGES pages and no more. */
static void limited(void *unused)
{
	struct rlimit limit = { LEN, LEN };
	char *more;

	(void)unused;
	area = mem_map(2 * LEN, 0);
	CHECK_SYS(munmap(area + LEN, LEN));
	more = mem_map(LEN, 0);
	CHECK_SYS(setrlimit(RLIMIT_MEMLOCK, &limit));
	CHECK_SYS(setresuid(65534, 65534, 65534));
	CHECK_ERRNO(mlock(area, LEN) ? errno : 0, 0);
	CHECK_ERRNO(mlock(more, mem_page()) ? errno : 0, ENOMEM);
	CHECK_EQ(maps_status("VmLck"), PAGES);
	/* mremap(2): EAGAIN. */
	CHECK(mremap(area, LEN, LEN + mem_page(), 0) == MAP_FAILED, "it grew above the limit");
	CHECK_ERRNO(errno, EAGAIN);
	CHECK_EQ(maps_status("VmLck"), PAGES);
	/* mmap(2): EAGAIN. */
	CHECK(mmap(NULL, mem_page(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) ==
		      MAP_FAILED,
	      "it was mapped above the limit");
	CHECK_ERRNO(errno, EAGAIN);
	/* Locking again what is locked counts once (mm/mlock.c count_mm_mlocked_page_nr()). */
	CHECK_ERRNO(mlock(area, LEN) ? errno : 0, 0);
	CHECK_SYS(munlock(area, HALF));
	CHECK_ERRNO(mlock(more, HALF) ? errno : 0, 0);
	CHECK_EQ(maps_status("VmLck"), PAGES);
	CHECK_ERRNO(mlock(area, mem_page()) ? errno : 0, ENOMEM);
	/* Moving what is locked needs no room. */
	CHECK(mremap(more, HALF, HALF, MREMAP_MAYMOVE | MREMAP_FIXED, area) == area, "mremap: %m");
	CHECK_EQ(maps_status("VmLck"), PAGES);
}

static void limit_counts(void)
{
	begin();
	maps_in_child(limited);
	expect_mlocked(0, "after exit");
}

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* v6.11 */
#endif

static void not_counted(int flags, const char *what)
{
	long vm = maps_status("VmLck");
	size_t len = flags & MAP_HUGETLB ? pool_size() : LEN;
	char *start = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	if (start == MAP_FAILED) {
		ktap_diag("%s: %m", what);
		return;
	}
	/* It may find no page to fault in, but what it does first is to count. */
	(void)mlock(start, len);
	CHECK(maps_status("VmLck") == vm, "%s: VmLck: got %ld pages more than before, expected 0", what,
	      maps_status("VmLck") - vm);
	CHECK(!maps_flag(start, "lo"), "%s: the mapping is a locked one (lo in VmFlags)", what);
	CHECK_SYS(munmap(start, len));
	CHECK_EQ(maps_status("VmLck"), vm);
}

/* Huge pages of the pool are never swapped, and what the kernel may drop is not to stay. */
static void never_locked(void *unused)
{
	(void)unused;
	not_counted(MAP_DROPPABLE, "MAP_DROPPABLE");
	if (pool_size())
		not_counted(MAP_PRIVATE | MAP_HUGETLB | MAP_NORESERVE, "MAP_HUGETLB");
	CHECK_SYS(mlockall(MCL_FUTURE | MCL_ONFAULT));
	not_counted(MAP_DROPPABLE, "MAP_DROPPABLE, all of the future locked");
}

static void not_lockable(void)
{
	begin();
	maps_in_child(never_locked);
	expect_mlocked(0, "after exit");
}

static const struct ktap_case cases[] = {
	{ "not-inherited", not_inherited },
	{ "parent-lets-go", parent_lets_go },
	{ "exit-unlocks", exit_unlocks },
	{ "exec-unlocks", exec_unlocks },
	{ "locked-by-two", locked_by_two },
	{ "locked-twice-here", locked_twice_here },
	{ "truncated", truncated },
	{ "private-copies", private_copies },
	{ "limit-counts", limit_counts },
	{ "not-lockable", not_lockable },
};

int main(int argc, char **argv)
{
	(void)argv;
	/* What exec-unlocks starts. */
	if (argc > 1)
		return maps_status("VmLck") != 0;
	locked_one_cpu();
	return ktap_run(cases, KTAP_COUNT(cases), NULL);
}
