// SPDX-License-Identifier: GPL-2.0-only
/*
 * RssFile and RssShmem: what a process maps of files and of shared memory, beside a walk of its page
 * tables, through holes, truncation, MADV_REMOVE, MADV_DONTNEED, private copies, mremap(), fork() and swap.
 * And Shmem of /proc/meminfo and the blocks of the file, which count the pages themselves.
 *
 * Sources: Documentation/filesystems/proc.rst (RssAnon, RssFile, RssShmem add up to VmRSS; VmSwap is
 * anonymous private data only; statm's shared is RssFile and RssShmem), fallocate(2), madvise(2),
 * ftruncate(2) with mmap(2) (SIGBUS behind the end); v6.12: mm_counter_file() in include/linux/mm.h,
 * unmap_mapping_range() with even_cows in mm/memory.c, shmem_fallocate() and shmem_setattr() in
 * mm/shmem.c, vma_needs_copy() in mm/memory.c, task_mem() and task_statm() in fs/proc/task_mmu.c.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "maps.h"
#include "mem.h"
#include "rss.h"

#define PAGES 24
#define SEED 181
#define LEN (PAGES * mem_page())
#define HALF (LEN / 2)
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)


struct counts {
	long anon, file, shmem, swap;
};

static struct counts first;
static char *area;
static int file;

static struct counts counts(void)
{
	return (struct counts){ maps_status("RssAnon"), maps_status("RssFile"), maps_status("RssShmem"),
				maps_status("VmSwap") };
}

/* A memfd of LEN bytes with a shared mapping in area, filled. */
static void map_file(void)
{
	file = memfd_create("lab-rss", MFD_CLOEXEC);
	CHECK(file >= 0, "memfd_create: %m");
	CHECK_SYS(ftruncate(file, (off_t)LEN));
	area = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(area != MAP_FAILED, "mmap: %m");
	mem_no_huge(area, LEN);
	mem_fill(area, LEN, SEED);
}

/* The same bytes in a private mapping. */
static char *map_private(void)
{
	char *copy = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);

	CHECK(copy != MAP_FAILED, "mmap: %m");
	mem_no_huge(copy, LEN);
	return copy;
}

static void touch(const char *start, size_t len)
{
	for (size_t at = 0; at < len; at += mem_page())
		(void)*(const volatile char *)(start + at);
}

static void begin(void)
{
	maps_settle();
	first = counts();
}

static long blocks(void)
{
	struct stat info;

	CHECK_SYS(fstat(file, &info));
	return (long)((size_t)info.st_blocks * 512 / mem_page());
}

/* How much more than at first; and all of the process adds up, here and in the page tables. */
static void expect(long anon, long shmem, const char *when)
{
	struct counts now = counts();
	long rss = maps_status("VmRSS"), walk, walk_anon;
	long size, resident, shared;
	char text[4096];

	CHECK(!proc_read("/proc/self/smaps_rollup", text, sizeof(text)), "smaps_rollup: %m");
	walk = proc_pages(text, "Rss");
	walk_anon = proc_pages(text, "Anonymous");
	CHECK(now.anon - first.anon == anon, "%s: RssAnon: got %ld pages more than at first, expected %ld",
	      when, now.anon - first.anon, anon);
	CHECK(now.shmem - first.shmem == shmem,
	      "%s: RssShmem: got %ld pages more than at first, expected %ld", when,
	      now.shmem - first.shmem, shmem);
	CHECK(rss == now.anon + now.file + now.shmem, "%s: VmRSS: got %ld pages, expected %ld", when, rss,
	      now.anon + now.file + now.shmem);
	CHECK(walk == rss, "%s: VmRSS: got %ld pages, expected %ld by page walk", when, rss, walk);
	CHECK(walk_anon == now.anon, "%s: RssAnon: got %ld pages, expected %ld by page walk", when,
	      now.anon, walk_anon);
	CHECK(!proc_read("/proc/self/statm", text, sizeof(text)), "statm: %m");
	CHECK_EQ(sscanf(text, "%ld %ld %ld", &size, &resident, &shared), 3);
	CHECK_EQ(shared, now.file + now.shmem);
	CHECK_EQ(resident, rss);
}

static void shared_mapping_body(void *unused)
{
	long shmem;

	(void)unused;
	begin();
	sys_refresh();
	shmem = sys_meminfo("Shmem");
	map_file();
	expect(0, PAGES, "filled");
	CHECK_EQ(maps_sum(area, LEN, "Rss"), PAGES);
	CHECK_EQ(blocks(), PAGES);
	sys_refresh();
	CHECK_EQ(sys_meminfo("Shmem") - shmem, PAGES);
	CHECK_SYS(madvise(area, HALF, MADV_DONTNEED));
	expect(0, PAGES / 2, "half of the mapping emptied");
	CHECK_EQ(blocks(), PAGES);
	mem_expect(area, LEN, SEED, "read again");
	expect(0, PAGES, "read again");
	CHECK_SYS(munmap(area, LEN));
	expect(0, 0, "unmapped");
	close(file);
	sys_refresh();
	CHECK_EQ(sys_meminfo("Shmem") - shmem, 0);
}
IN_CHILD(shared_mapping)

static void hole_body(void *unused)
{
	char *second;

	(void)unused;
	begin();
	map_file();
	second = mmap(NULL, LEN, PROT_READ, MAP_SHARED, file, 0);
	CHECK(second != MAP_FAILED, "mmap: %m");
	touch(second, LEN);
	expect(0, 2 * PAGES, "mapped twice");
	CHECK_SYS(fallocate(file, PUNCH, 0, (off_t)HALF));
	expect(0, PAGES, "a hole");
	CHECK_EQ(blocks(), PAGES / 2);
	CHECK_EQ(*(volatile char *)second, 0);
	expect(0, PAGES + 1, "one page of the hole read");
	CHECK_EQ(blocks(), PAGES / 2 + 1);
	/* A part of a page is cleared, not taken away. */
	CHECK_SYS(fallocate(file, PUNCH, (off_t)HALF + 8, 8));
	expect(0, PAGES + 1, "a hole in a page");
	CHECK_EQ(*(volatile char *)(second + HALF + 8), 0);
}
IN_CHILD(hole)

static void remove_case_body(void *unused)
{
	(void)unused;
	begin();
	map_file();
	CHECK_SYS(madvise(area + HALF, HALF, MADV_REMOVE));
	expect(0, PAGES / 2, "MADV_REMOVE");
	CHECK_EQ(blocks(), PAGES / 2);
	mem_expect(area, HALF, SEED, "the other half");
	for (size_t at = HALF; at < LEN; at += mem_page())
		CHECK_EQ(*(volatile char *)(area + at), 0);
	expect(0, PAGES, "read again");
}
IN_CHILD(remove_case)

static void truncation_body(void *unused)
{
	(void)unused;
	begin();
	map_file();
	CHECK_SYS(ftruncate(file, (off_t)HALF));
	expect(0, PAGES / 2, "truncated");
	CHECK_EQ(blocks(), PAGES / 2);
	/* In the middle of a page: the rest of it is zero when it is file again. */
	CHECK_SYS(ftruncate(file, (off_t)(HALF - mem_page() / 2)));
	expect(0, PAGES / 2, "truncated by half a page");
	CHECK_SYS(ftruncate(file, (off_t)LEN));
	expect(0, PAGES / 2, "extended");
	CHECK_EQ(*(volatile char *)(area + HALF - 1), 0);
	CHECK_EQ(*(volatile char *)(area + HALF), 0);
	expect(0, PAGES / 2 + 1, "one page of it read");
	CHECK_SYS(ftruncate(file, 0));
	expect(0, 0, "truncated to nothing");
	CHECK_EQ(blocks(), 0);
}
IN_CHILD(truncation)

/* Copies that a private mapping made: a hole leaves them, a truncation takes them. */
static void private_copies_body(void *unused)
{
	char *copy;

	(void)unused;
	begin();
	map_file();
	CHECK_SYS(munmap(area, LEN));
	copy = map_private();
	touch(copy, LEN);
	expect(0, PAGES, "read");
	mem_fill(copy, HALF, SEED + 1);
	expect(PAGES / 2, PAGES / 2, "half written to");
	CHECK_SYS(fallocate(file, PUNCH, 0, (off_t)LEN));
	expect(PAGES / 2, 0, "the file is one hole");
	mem_expect(copy, HALF, SEED + 1, "what was written");
	CHECK_EQ(*(volatile char *)(copy + HALF), 0);
	expect(PAGES / 2, 1, "one page of the hole read");
	CHECK_SYS(ftruncate(file, (off_t)mem_page()));
	expect(1, 0, "truncated");
	CHECK_SYS(munmap(copy, LEN));
	expect(0, 0, "unmapped");
}
IN_CHILD(private_copies)

/* Written to without being read before, and emptied again: the file shows again. */
static void private_dropped_body(void *unused)
{
	char *copy;

	(void)unused;
	begin();
	map_file();
	copy = map_private();
	mem_fill(copy, LEN, SEED + 1);
	expect(PAGES, PAGES, "both mapped");
	CHECK_SYS(madvise(copy, HALF, MADV_DONTNEED));
	expect(PAGES / 2, PAGES, "half of the copies dropped");
	mem_expect(copy, HALF, SEED, "the file again");
	expect(PAGES / 2, PAGES + PAGES / 2, "the file again");
}
IN_CHILD(private_dropped)

static void moved_body(void *unused)
{
	char *to, *copy, *left;

	(void)unused;
	begin();
	map_file();
	copy = map_private();
	mem_fill(copy, HALF, SEED + 1);
	touch(copy + HALF, HALF);
	expect(PAGES / 2, PAGES + PAGES / 2, "before it moves");
	to = mremap(copy, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, mem_map(LEN, 0));
	CHECK(to != MAP_FAILED, "mremap: %m");
	expect(PAGES / 2, PAGES + PAGES / 2, "moved");
	left = mremap(area, LEN, LEN, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */, NULL);
	CHECK(left != MAP_FAILED, "mremap: %m");
	expect(PAGES / 2, PAGES + PAGES / 2, "moved and left mapped");
	mem_expect(area, LEN, SEED, "where it moved from");
	expect(PAGES / 2, 2 * PAGES + PAGES / 2, "faulted in where it moved from");
	CHECK(mremap(to, LEN, HALF, 0) == to, "mremap: %m");
	expect(PAGES / 2, 2 * PAGES, "shrunk");
}
IN_CHILD(moved)

/* What is shared is faulted in by the child itself; what was copied on write comes with the fork. */
static void heir(void *private)
{
	char *copy = private;

	maps_settle_program();
	first = counts();
	CHECK_EQ(maps_sum(area, LEN, "Rss"), 0);
	CHECK_EQ(maps_sum(copy, LEN, "Rss"), PAGES);
	expect(0, 0, "forked");
	touch(area, LEN);
	expect(0, PAGES, "the shared mapping read");
	mem_fill(copy + HALF, HALF, SEED + 2);
	expect(PAGES / 2, PAGES / 2, "the rest of the private one written to");
	CHECK_SYS(ftruncate(file, (off_t)HALF));
	expect(0, 0, "truncated by the child");
}

static void forked_body(void *unused)
{
	char *copy;

	(void)unused;
	begin();
	map_file();
	copy = map_private();
	mem_fill(copy, HALF, SEED + 1);
	touch(copy + HALF, HALF);
	expect(PAGES / 2, PAGES + PAGES / 2, "before the fork");
	child_reap(child_start(heir, copy));
	expect(PAGES / 2, PAGES / 2, "truncated by the child");
	mem_expect(copy, HALF, SEED + 1, "what the parent wrote");
}
IN_CHILD(forked)

/* Shared anonymous memory and a segment of System V are shared memory, too. */
static void other_kinds_body(void *unused)
{
	int id;

	(void)unused;
	begin();
	area = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED, "mmap: %m");
	mem_no_huge(area, LEN);
	mem_fill(area, LEN, SEED);
	expect(0, PAGES, "shared anonymous memory");
	CHECK_SYS(madvise(area, HALF, MADV_REMOVE));
	expect(0, PAGES / 2, "half of it removed");
	CHECK_SYS(munmap(area, LEN));
	id = shmget(IPC_PRIVATE, LEN, IPC_CREAT | 0600);
	CHECK(id >= 0, "shmget: %m");
	area = shmat(id, NULL, 0);
	CHECK_SYS(shmctl(id, IPC_RMID, NULL));
	CHECK(area != (char *)-1, "shmat: %m");
	mem_fill(area, LEN, SEED);
	expect(0, PAGES, "a segment of System V");
	CHECK_SYS(shmdt(area));
	expect(0, 0, "detached");
}
IN_CHILD(other_kinds)

/* A file of the root's file system, read: RssFile; written to: RssAnon. */
static void file_mapping_body(void *unused)
{
	int fd = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
	struct statfs where;
	char *text;
	long got;

	(void)unused;
	if (fd < 0)
		fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0, "no program to map: %m");
	CHECK_SYS(fstatfs(fd, &where));
	if (where.f_type == 0x01021994 /* TMPFS_MAGIC */)
		maps_skip("the programs are on a tmpfs");
	begin();
	text = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(text != MAP_FAILED, "mmap: %m");
	touch(text, LEN);
	got = maps_status("RssFile");
	CHECK_EQ(got - first.file, PAGES);
	expect(0, 0, "a file read");
	memset(text, 1, HALF);
	CHECK_EQ(maps_status("RssFile") - first.file, PAGES / 2);
	expect(PAGES / 2, 0, "half of it written to");
	text = mremap(text, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, mem_map(LEN, 0));
	CHECK(text != MAP_FAILED, "mremap: %m");
	CHECK_EQ(maps_status("RssFile") - first.file, PAGES / 2);
	CHECK_SYS(madvise(text, LEN, MADV_DONTNEED));
	CHECK_EQ(maps_status("RssFile") - first.file, 0);
	expect(0, 0, "emptied");
}
IN_CHILD(file_mapping)

/* Swapped-out shared memory is nowhere in VmSwap, in smaps it is; and a hole there frees its slot. */
static void swapped_out_body(void *unused)
{
	double begun;
	long shmem;

	(void)unused;
	if (mem_why_no_swap())
		maps_skip(mem_why_no_swap());
	begin();
	map_file();
	sys_refresh();
	shmem = sys_meminfo("Shmem");
	begun = mem_now_ms();
	do {
		proc_write("/proc/sys/vm/drop_caches", "1");
		CHECK_SYS(madvise(area, LEN, MADV_PAGEOUT));
		sys_refresh();
	} while (sys_meminfo("Shmem") > shmem - PAGES && mem_now_ms() - begun < 8000);
	if (sys_meminfo("Shmem") != shmem - PAGES)
		maps_skip("MADV_PAGEOUT leaves pages of shared memory");
	expect(0, 0, "swapped out");
	CHECK_EQ(maps_status("VmSwap"), first.swap);
	CHECK_EQ(maps_sum(area, LEN, "Swap"), PAGES);
	CHECK_EQ(blocks(), PAGES);
	CHECK_SYS(fallocate(file, PUNCH, 0, (off_t)HALF));
	CHECK_EQ(blocks(), PAGES / 2);
	CHECK_EQ(maps_sum(area, LEN, "Swap"), PAGES / 2);
	for (size_t at = 0; at < HALF; at += mem_page())
		CHECK_EQ(*(volatile char *)(area + at), 0);
	for (size_t word = HALF / sizeof(uint64_t); word < LEN / sizeof(uint64_t); word++)
		CHECK_EQ(((volatile uint64_t *)area)[word], mem_pattern(word, SEED));
	CHECK_SYS(ftruncate(file, (off_t)mem_page()));
	CHECK_EQ(blocks(), 1);
	expect(0, 1, "truncated");
}
IN_CHILD(swapped_out)

static const struct ktap_case cases[] = {
	{ "shared-mapping", shared_mapping },
	{ "hole", hole },
	{ "madv-remove", remove_case },
	{ "truncation", truncation },
	{ "private-copies", private_copies },
	{ "private-dropped", private_dropped },
	{ "moved", moved },
	{ "forked", forked },
	{ "other-kinds", other_kinds },
	{ "file-mapping", file_mapping },
	{ "swapped-out", swapped_out },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), NULL);
}
