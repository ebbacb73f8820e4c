// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reservations of huge pages for files: they are the file's, whoever maps it, and go with truncation and
 * with the file; a hole frees the pages in it; what was allocated in advance needs none; a private mapping
 * has its own.  A mount with a size has that many pages, whatever was refused meanwhile.  At the end of each
 * case the pool is what it was.
 *
 * Sources: Documentation/mm/hugetlbfs_reserv.rst (shared mappings, freeing and truncating),
 * Documentation/admin-guide/mm/hugetlbpage.rst (size=), fallocate(2), memfd_create(2) (MFD_HUGETLB); v6.12:
 * hugetlb_reserve_pages() and hugetlb_unreserve_pages() in mm/hugetlb.c, remove_inode_hugepages() and
 * hugetlbfs_fallocate() and hugetlbfs_statfs() in fs/hugetlbfs/inode.c.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ktap.h"
#include "maps.h"
#include "mem.h"
#include "pool.h"
#include "trap.h"

#define COUNT 4
#define LIMIT 3
#define HUGE pool_size()

static void hole(size_t from, size_t count)
{
	CHECK_SYS(fallocate(pool_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    (off_t)(from * pool_size()), (off_t)(count * pool_size())));
}

/* A file's reservations are the file's: unmapping keeps them, its end gives them back. */
static void shared_mapping_body(void *unused)
{
	char *area, *second;

	(void)unused;
	pool_make_file(COUNT);
	POOL_EXPECT(0, 0, 0, "a file");
	area = pool_map(COUNT, MAP_SHARED);
	POOL_EXPECT(0, COUNT, 0, "mapped");
	second = pool_map(COUNT, MAP_SHARED);
	POOL_EXPECT(0, COUNT, 0, "mapped twice");
	pool_touch(area, 0, 2);
	POOL_EXPECT(2, COUNT - 2, 0, "two pages touched");
	pool_touch(second, 0, 3);
	POOL_EXPECT(3, COUNT - 3, 0, "one more through the other mapping");
	CHECK_SYS(munmap(second, COUNT * HUGE));
	CHECK_SYS(munmap(area, COUNT * HUGE));
	POOL_EXPECT(3, COUNT - 3, 0, "unmapped");
	pool_close_file();
	POOL_EXPECT(0, 0, 0, "closed");
}
IN_POOL(shared_mapping)

static void truncated_body(void *unused)
{
	char *area;

	(void)unused;
	pool_make_file(COUNT);
	area = pool_map(COUNT, MAP_SHARED);
	pool_touch(area, 0, 1);
	pool_touch(area, 3, 4);
	POOL_EXPECT(2, 2, 0, "two pages touched");
	CHECK_SYS(ftruncate(pool_fd, (off_t)(2 * HUGE)));
	POOL_EXPECT(1, 1, 0, "truncated by half");
	CHECK_SYS(ftruncate(pool_fd, 0));
	POOL_EXPECT(0, 0, 0, "truncated to nothing");
	CHECK_EQ(mem_present_pages(area, mem_page()), 0);
	CHECK_SYS(munmap(area, COUNT * HUGE));
	pool_close_file();
	POOL_EXPECT(0, 0, 0, "closed");
}
IN_POOL(truncated)

/* A hole frees the pages in it, and what was reserved elsewhere stays so. */
static void punched_body(void *unused)
{
	char *area;

	(void)unused;
	pool_make_file(COUNT);
	area = pool_map(COUNT, MAP_SHARED);
	pool_touch(area, 0, 2);
	hole(0, 1);
	POOL_EXPECT(1, 2, 0, "a hole where a page was");
	CHECK_EQ(mem_present_pages(area, mem_page()), 0);
	/* Anew from what nobody reserved. */
	pool_touch(area, 0, 1);
	POOL_EXPECT(2, 2, 0, "touched again");
	hole(0, 2);
	POOL_EXPECT(0, 2, 0, "a hole of two pages");
	CHECK_SYS(madvise(area + 2 * HUGE, HUGE, MADV_REMOVE));
	CHECK_EQ(pool_read().free, POOL);
	CHECK_SYS(munmap(area, COUNT * HUGE));
	pool_close_file();
	POOL_EXPECT(0, 0, 0, "closed");
}
IN_POOL(punched)

static void preallocated_body(void *unused)
{
	char *area;

	(void)unused;
	pool_make_file(COUNT);
	CHECK_SYS(fallocate(pool_fd, 0, 0, (off_t)(2 * HUGE)));
	POOL_EXPECT(2, 0, 0, "two pages allocated");
	area = pool_map(COUNT, MAP_SHARED);
	POOL_EXPECT(2, 2, 0, "all mapped");
	pool_touch(area, 0, COUNT);
	POOL_EXPECT(COUNT, 0, 0, "all touched");
	CHECK_SYS(munmap(area, COUNT * HUGE));
	pool_close_file();
	POOL_EXPECT(0, 0, 0, "closed");
}
IN_POOL(preallocated)

/* A private mapping of a file: its own reservations, its copies its own pages. */
static void private_of_file_body(void *unused)
{
	char *area, *copy;

	(void)unused;
	pool_make_file(2);
	area = pool_map(2, MAP_SHARED);
	pool_touch(area, 0, 2);
	copy = pool_map(2, MAP_PRIVATE);
	POOL_EXPECT(2, 2, 0, "a private mapping");
	CHECK_EQ(copy[0], 1);
	POOL_EXPECT(2, 2, 0, "read");
	copy[0] = 2;
	POOL_EXPECT(3, 1, 0, "written to");
	CHECK_EQ(area[0], 1);
	CHECK_SYS(munmap(copy, 2 * HUGE));
	POOL_EXPECT(2, 0, 0, "unmapped");
	CHECK_SYS(munmap(area, 2 * HUGE));
	pool_close_file();
	POOL_EXPECT(0, 0, 0, "closed");
}
IN_POOL(private_of_file)

static const char *mounted;

/* Pages that the mount has left of its size. */
static long left(void)
{
	struct statfs info;

	CHECK_SYS(statfs(mounted, &info));
	return (long)info.f_bfree;
}

/* A file system of LIMIT pages (hugetlbpage.rst, size=): what is refused, here or by the pool, costs nothing. */
static void mount_limit_body(void *unused)
{
	char path[64], size[64], *area, *rest;

	(void)unused;
	snprintf(path, sizeof(path), "/tmp/lab-huge-%d", (int)getpid());
	snprintf(size, sizeof(size), "size=%zu", LIMIT * HUGE);
	CHECK_SYS(unshare(CLONE_NEWNS));
	CHECK_SYS(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	CHECK_SYS(mkdir(path, 0700));
	if (mount("none", path, "hugetlbfs", 0, size)) {
		rmdir(path);
		maps_skip("no hugetlbfs to mount");
	}
	mounted = path;
	CHECK_EQ(left(), LIMIT);
	strcat(path, "/a");
	pool_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	*strrchr(path, '/') = 0;
	CHECK(pool_fd >= 0, "open: %m");
	CHECK_SYS(ftruncate(pool_fd, (off_t)((LIMIT + 1) * HUGE)));
	CHECK(pool_try_map(LIMIT + 1, MAP_SHARED) == MAP_FAILED, "more was promised than the mount has");
	CHECK_EQ(left(), LIMIT);
	POOL_EXPECT(0, 0, 0, "refused by the mount");
	area = pool_map(2, MAP_SHARED);
	CHECK_EQ(left(), LIMIT - 2);
	POOL_EXPECT(0, 2, 0, "mapped");
	pool_touch(area, 0, 1);
	CHECK_EQ(left(), LIMIT - 2);
	CHECK_SYS(munmap(area, 2 * HUGE));
	CHECK_SYS(ftruncate(pool_fd, 0));
	CHECK_EQ(left(), LIMIT);
	POOL_EXPECT(0, 0, 0, "truncated");
	/* The pool is promised to others but for one page. */
	CHECK_SYS(ftruncate(pool_fd, (off_t)(LIMIT * HUGE)));
	rest = mmap(NULL, (POOL - 1) * HUGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	CHECK(rest != MAP_FAILED, "mmap: %m");
	CHECK(pool_try_map(2, MAP_SHARED) == MAP_FAILED, "more was promised than the pool has");
	CHECK_EQ(left(), LIMIT);
	POOL_EXPECT(0, POOL - 1, 0, "refused by the pool");
	/* Without a reservation it is the fault that fails. */
	area = pool_map(2, MAP_SHARED | MAP_NORESERVE);
	CHECK_EQ(trap_write(area, 1), 0);
	CHECK_EQ(left(), LIMIT - 1);
	CHECK_EQ(trap_write(area + HUGE, 1), SIGBUS);
	CHECK_EQ(left(), LIMIT - 1);
	POOL_EXPECT(1, POOL - 1, 0, "a fault refused");
	CHECK_SYS(munmap(area, 2 * HUGE));
	CHECK_SYS(munmap(rest, (POOL - 1) * HUGE));
	CHECK_SYS(ftruncate(pool_fd, 0));
	CHECK_EQ(left(), LIMIT);
	pool_close_file();
	CHECK_SYS(umount2(path, 0));
	CHECK_SYS(rmdir(path));
}
IN_POOL(mount_limit)

static const struct ktap_case cases[] = {
	{ "shared-mapping", shared_mapping },
	{ "truncated", truncated },
	{ "punched", punched },
	{ "preallocated", preallocated },
	{ "private-of-file", private_of_file },
	{ "mount-limit", mount_limit },
};

int main(void)
{
	const char *why = pool_why_not(POOL);
	int status;

	status = ktap_run(cases, KTAP_COUNT(cases), why);
	knob_restore();
	return status;
}
