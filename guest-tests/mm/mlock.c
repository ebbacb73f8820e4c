// SPDX-License-Identifier: GPL-2.0-only
/*
 * Locked memory, counted: VmLck of /proc/PID/status, which counts address space of locked mappings;
 * Mlocked of /proc/meminfo and Locked of smaps, which count pages; the flags of each page.  They follow
 * mremap(), splits and merges of mappings, munlock(), fork() and exit, and come back to what they were.
 *
 * Sources: mlock(2) (locks do not stack; not inherited by fork(); removed by munmap() and exit;
 * MLOCK_ONFAULT; RLIMIT_MEMLOCK), mremap(2) (a lock is kept when a mapping is resized or moved, and
 * removed from the old one by MREMAP_DONTUNMAP), mmap(2) (MAP_LOCKED);
 * Documentation/mm/unevictable-lru.rst, Documentation/filesystems/proc.rst; v6.12: mlock_fixup() in
 * mm/mlock.c, move_vma(), vma_to_resize() and mremap() in mm/mremap.c, dup_mmap() in kernel/fork.c,
 * expand_upwards() in mm/mmap.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "locked.h"
#include "maps.h"
#include "mem.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* v5.18 */
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* v5.7 */
#endif

#define PAGES 24
#define SEED 161
/* Each page of a range, and a third of them. */
#define LEN (PAGES * mem_page())
#define THIRD (LEN / 3)

/* VmLck and Mlocked before a case did anything. */
static long vm_before, pages_before;

static void begin(void)
{
	vm_before = maps_status("VmLck");
	pages_before = locked_pages();
}

/* How much more is locked since begin(): address space, and pages. */
static void expect(long vm, long pages, const char *when)
{
	long got_vm = maps_status("VmLck") - vm_before, got_pages = locked_pages() - pages_before;

	CHECK(got_vm == vm, "%s: VmLck: got %ld pages more than at first, expected %ld", when, got_vm, vm);
	CHECK(got_pages == pages, "%s: Mlocked: got %ld pages more than at first, expected %ld", when,
	      got_pages, pages);
}

/* Pages of a range that are there, all of them locked, and as many as smaps has. */
static void expect_pages(const char *start, size_t len, long pages)
{
	CHECK_EQ(mem_present_pages(start, len), pages);
	CHECK_EQ(mem_pages_with_all(start, len, MEM_FLAG_MLOCKED), pages);
	CHECK_EQ(mem_pages_with_all(start, len, MEM_FLAG_UNEVICTABLE), pages);
	CHECK_EQ(maps_sum(start, len, "Locked"), pages);
}

static void expect_unlocked(const char *start, size_t len)
{
	CHECK_EQ(mem_pages_with_any(start, len, MEM_FLAG_MLOCKED | MEM_FLAG_UNEVICTABLE), 0);
	CHECK_EQ(maps_sum(start, len, "Locked"), 0);
	CHECK(!maps_flag(start, "lo"), "the mapping still is a locked one (lo in VmFlags)");
}

static char *filled(size_t len)
{
	char *area = mem_map(len, 0);

	mem_no_huge(area, len);
	mem_fill(area, len, SEED);
	return area;
}

/* A locked range of so many bytes inside a reservation of room bytes, of which the rest is free. */
static char *locked_with_room(size_t len, size_t room)
{
	char *area = mem_map(room, 0);

	if (room > len)
		CHECK_SYS(munmap(area + len, room - len));
	mem_no_huge(area, len);
	mem_fill(area, len, SEED);
	CHECK_SYS(mlock(area, len));
	return area;
}

static char *moved(void *from, size_t len, size_t to_len, int flags, void *to)
{
	char *at = mremap(from, len, to_len, flags, to);

	CHECK(at != MAP_FAILED, "mremap: %m");
	return at;
}

static void lock_and_unlock_body(void *unused)
{
	long locked, unlocked;
	char *area;

	(void)unused;
	begin();
	area = filled(LEN);
	locked = sys_vmstat("unevictable_pgs_mlocked");
	CHECK_SYS(mlock(area, LEN));
	expect(PAGES, PAGES, "locked");
	expect_pages(area, LEN, PAGES);
	sys_refresh();
	/* locked_pages() locks a page of its own each time. */
	CHECK_EQ(sys_vmstat("unevictable_pgs_mlocked") - locked, PAGES + 1);
	CHECK_SYS(mlock(area, LEN));
	expect(PAGES, PAGES, "locked twice");
	unlocked = sys_vmstat("unevictable_pgs_munlocked");
	CHECK_SYS(munlock(area, LEN));
	expect(0, 0, "unlocked once");
	CHECK_EQ(sys_vmstat("unevictable_pgs_munlocked") - unlocked, PAGES + 1);
	expect_unlocked(area, LEN);
	mem_expect(area, LEN, SEED, "what was locked");
}
IN_CHILD(lock_and_unlock)

static void unlock_in_parts_body(void *unused)
{
	char *area;

	(void)unused;
	begin();
	area = filled(LEN);
	CHECK_SYS(mlock(area, LEN));
	CHECK_SYS(munlock(area + THIRD, THIRD));
	expect(PAGES / 3 * 2, PAGES / 3 * 2, "the middle is unlocked");
	CHECK_EQ(maps_count(area, LEN), 3);
	expect_unlocked(area + THIRD, THIRD);
	expect_pages(area, THIRD, PAGES / 3);
	CHECK_SYS(mlock(area + THIRD, THIRD));
	expect(PAGES, PAGES, "the middle is locked again");
	CHECK_EQ(maps_count(area, LEN), 1);
	CHECK_SYS(munlock(area, THIRD * 2));
	expect(PAGES / 3, PAGES / 3, "two parts are unlocked");
	CHECK_SYS(munmap(area, LEN));
	expect(0, 0, "unmapped");
}
IN_CHILD(unlock_in_parts)

/* Mappings that are split and merged for another reason: nothing is locked or unlocked. */
static void splits_and_merges_body(void *unused)
{
	char *area;

	(void)unused;
	begin();
	area = filled(LEN);
	CHECK_SYS(mlock(area, LEN));
	CHECK_SYS(mprotect(area + THIRD, THIRD, PROT_READ));
	CHECK_SYS(madvise(area, THIRD / 2, MADV_DONTFORK));
	CHECK_EQ(maps_count(area, LEN), 4);
	expect(PAGES, PAGES, "split");
	CHECK_SYS(mprotect(area + THIRD, THIRD, PROT_READ | PROT_WRITE));
	CHECK_SYS(madvise(area, THIRD / 2, MADV_DOFORK));
	CHECK_EQ(maps_count(area, LEN), 1);
	expect(PAGES, PAGES, "merged");
	expect_pages(area, LEN, PAGES);
	CHECK_SYS(munmap(area + THIRD, THIRD));
	expect(PAGES / 3 * 2, PAGES / 3 * 2, "the middle is unmapped");
	/* What is mapped over a locked range is not locked. */
	CHECK(mmap(area, THIRD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		      area,
	      "mmap: %m");
	expect(PAGES / 3, PAGES / 3, "one third is mapped anew");
}
IN_CHILD(splits_and_merges)

static void grow_body(void *unused)
{
	char *area;

	(void)unused;
	begin();
	area = locked_with_room(LEN, 2 * LEN);
	CHECK(moved(area, LEN, 2 * LEN, 0, NULL) == area, "it did not grow in place");
	CHECK_EQ(maps_count(area, 2 * LEN), 1);
	expect(2 * PAGES, 2 * PAGES, "grown in place");
	expect_pages(area, 2 * LEN, 2 * PAGES);
	mem_expect(area, LEN, SEED, "what was there before");
	CHECK_SYS(munmap(area, 2 * LEN));
	expect(0, 0, "unmapped");
}
IN_CHILD(grow)

/* No room behind it: it moves, and all of it is locked at its new place, the part that is new too. */
static void grow_elsewhere_body(void *unused)
{
	char *area, *to;

	(void)unused;
	begin();
	area = locked_with_room(LEN, LEN);
	to = moved(area, LEN, 2 * LEN, MREMAP_MAYMOVE, NULL);
	CHECK(to != area, "it did not move");
	expect(2 * PAGES, 2 * PAGES, "grown elsewhere");
	expect_pages(to, 2 * LEN, 2 * PAGES);
	mem_expect(to, LEN, SEED, "what was there before");
	CHECK_SYS(munmap(to, 2 * LEN));
	expect(0, 0, "unmapped");
}
IN_CHILD(grow_elsewhere)

static void shrink_body(void *unused)
{
	char *area;

	(void)unused;
	begin();
	area = filled(LEN);
	CHECK_SYS(mlock(area, LEN));
	CHECK(moved(area, LEN, THIRD, 0, NULL) == area, "shrinking moved it");
	expect(PAGES / 3, PAGES / 3, "shrunk");
	expect_pages(area, THIRD, PAGES / 3);
}
IN_CHILD(shrink)

static void move_whole_body(void *unused)
{
	char *area, *target;

	(void)unused;
	begin();
	area = filled(LEN);
	target = filled(LEN);
	CHECK_SYS(mlock(area, LEN));
	CHECK_SYS(mlock(target, LEN));
	expect(2 * PAGES, 2 * PAGES, "both locked");
	moved(area, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	expect(PAGES, PAGES, "one moved over the other");
	expect_pages(target, LEN, PAGES);
	mem_expect(target, LEN, SEED, "what was moved");
	CHECK_SYS(munlock(target, LEN));
	expect(0, 0, "unlocked");
	expect_unlocked(target, LEN);
}
IN_CHILD(move_whole)

/* The middle of a mapping, shrunk meanwhile, over unlocked memory. */
static void move_part_body(void *unused)
{
	char *area, *target;

	(void)unused;
	begin();
	area = filled(LEN);
	target = filled(LEN);
	CHECK_SYS(mlock(area, LEN));
	moved(area + THIRD, THIRD, THIRD, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	expect(PAGES, PAGES, "the middle moved");
	expect_pages(target, THIRD, PAGES / 3);
	CHECK_EQ(maps_count(area, LEN), 2);
	moved(area, THIRD, THIRD / 2, MREMAP_MAYMOVE | MREMAP_FIXED, target + THIRD);
	expect(PAGES - PAGES / 6, PAGES - PAGES / 6, "shrunk and moved");
	CHECK_SYS(munmap(target, LEN));
	expect(PAGES / 3, PAGES / 3, "unmapped where it moved to");
}
IN_CHILD(move_part)

/* mremap(2): the range stays mapped, empty, and is locked no longer. */
static void leave_mapped_body(void *unused)
{
	char *area, *to;

	(void)unused;
	begin();
	area = filled(LEN);
	CHECK_SYS(mlock(area, LEN));
	to = moved(area, LEN, LEN, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	expect(PAGES, PAGES, "moved, left mapped");
	expect_pages(to, LEN, PAGES);
	CHECK_EQ(mem_present_pages(area, LEN), 0);
	mem_fill(area, LEN, SEED);
	expect_unlocked(area, LEN);
	expect(PAGES, PAGES, "filled anew");
	CHECK_SYS(munmap(area, LEN));
	expect(PAGES, PAGES, "the old place is unmapped");
	CHECK_SYS(munmap(to, LEN));
	expect(0, 0, "both are unmapped");
}
IN_CHILD(leave_mapped)

static void leave_part_mapped_body(void *unused)
{
	char *area, *to;

	(void)unused;
	begin();
	area = filled(LEN);
	CHECK_SYS(mlock(area, LEN));
	to = moved(area + THIRD, THIRD, THIRD, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	expect(PAGES, PAGES, "the middle moved, left mapped");
	mem_fill(area + THIRD, THIRD, SEED);
	expect_unlocked(area + THIRD, THIRD);
	expect_pages(area, THIRD, PAGES / 3);
	expect_pages(area + 2 * THIRD, THIRD, PAGES / 3);
	expect(PAGES, PAGES, "the middle filled anew");
	CHECK_SYS(munmap(area, LEN));
	expect(PAGES / 3, PAGES / 3, "the old place is unmapped");
	CHECK_SYS(munmap(to, THIRD));
	expect(0, 0, "both are unmapped");
}
IN_CHILD(leave_part_mapped)

static void map_locked_body(void *unused)
{
	char *area;

	(void)unused;
	begin();
	area = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	CHECK(area != MAP_FAILED, "mmap: %m");
	expect(PAGES, PAGES, "mapped locked");
	CHECK_EQ(mem_present_pages(area, LEN), PAGES);
	CHECK_ERRNO(madvise(area, LEN, MADV_DONTNEED) ? errno : 0, EINVAL);
	CHECK_EQ(mem_present_pages(area, LEN), PAGES);
	if (!madvise(area, THIRD, MADV_DONTNEED_LOCKED))
		expect(PAGES, PAGES / 3 * 2, "one third dropped");
	CHECK_SYS(munmap(area, LEN));
	expect(0, 0, "unmapped");
}
IN_CHILD(map_locked)

static void lock_on_fault_body(void *unused)
{
	char *area;

	(void)unused;
	begin();
	area = mem_map(2 * LEN, 0);
	CHECK_SYS(munmap(area + LEN, LEN));
	mem_no_huge(area, LEN);
	CHECK_SYS(syscall(SYS_mlock2, area, LEN, MLOCK_ONFAULT));
	expect(PAGES, 0, "locked, untouched");
	mem_fill(area, THIRD, SEED);
	expect(PAGES, PAGES / 3, "one third touched");
	expect_pages(area, THIRD, PAGES / 3);
	/* What it grows by is faulted in by nobody either. */
	CHECK(moved(area, LEN, 2 * LEN, 0, NULL) == area, "it did not grow in place");
	expect(2 * PAGES, PAGES / 3, "grown");
	/* The other kind of lock fills it. */
	CHECK_SYS(mlock(area, 2 * LEN));
	expect(2 * PAGES, 2 * PAGES, "locked at once");
	CHECK_SYS(syscall(SYS_mlock2, area, LEN, MLOCK_ONFAULT));
	expect(2 * PAGES, 2 * PAGES, "half of it locked on fault again");
	CHECK_SYS(munlock(area, 2 * LEN));
	expect(0, 0, "unlocked");
}
IN_CHILD(lock_on_fault)

/* Address space that can be locked: all but the kernel's own special mappings. */
static void lock_everything_body(void *unused)
{
	char *area, *later;

	(void)unused;
	begin();
	area = filled(LEN);
	CHECK_SYS(mlockall(MCL_CURRENT));
	CHECK(maps_flag(area, "lo"), "mlockall() did not lock a mapping");
	expect_pages(area, LEN, PAGES);
	later = filled(LEN);
	expect_unlocked(later, LEN);
	CHECK_SYS(munlockall());
	expect(0, 0, "all unlocked");
	CHECK_SYS(mlockall(MCL_FUTURE));
	expect(0, 0, "future mappings only");
	later = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(later != MAP_FAILED, "mmap: %m");
	expect(PAGES, PAGES, "a mapping in that future");
	CHECK_SYS(mlockall(MCL_FUTURE | MCL_ONFAULT));
	later = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(later != MAP_FAILED, "mmap: %m");
	expect(2 * PAGES, PAGES, "another, on fault");
	CHECK_SYS(munlockall());
	expect(0, 0, "all unlocked again");
}
IN_CHILD(lock_everything)

static const struct ktap_case cases[] = {
	{ "lock-and-unlock", lock_and_unlock },
	{ "unlock-in-parts", unlock_in_parts },
	{ "splits-and-merges", splits_and_merges },
	{ "grow", grow },
	{ "grow-elsewhere", grow_elsewhere },
	{ "shrink", shrink },
	{ "move-whole", move_whole },
	{ "move-part", move_part },
	{ "leave-mapped", leave_mapped },
	{ "leave-part-mapped", leave_part_mapped },
	{ "map-locked", map_locked },
	{ "lock-on-fault", lock_on_fault },
	{ "lock-everything", lock_everything },
};

int main(void)
{
	locked_one_cpu();
	return ktap_run(cases, KTAP_COUNT(cases), NULL);
}
