// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reservations of huge pages for files: they are the file's, whoever maps it, and go with truncation and
 * with the file; a hole frees the pages in it; what was allocated in advance needs none; a private mapping
 * has its own.  At the end of each case the pool is what it was.
 *
 * Sources: Documentation/mm/hugetlbfs_reserv.rst (shared mappings, freeing and truncating),
 * Documentation/admin-guide/mm/hugetlbpage.rst, fallocate(2), memfd_create(2) (MFD_HUGETLB); v6.12:
 * hugetlb_reserve_pages() and hugetlb_unreserve_pages() in mm/hugetlb.c, remove_inode_hugepages() and
 * hugetlbfs_fallocate() in fs/hugetlbfs/inode.c.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "maps.h"
#include "mem.h"
#include "pool.h"

#define COUNT 4
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

static const struct ktap_case cases[] = {
	{ "shared-mapping", shared_mapping },
	{ "truncated", truncated },
	{ "punched", punched },
	{ "preallocated", preallocated },
	{ "private-of-file", private_of_file },
};

int main(void)
{
	const char *why = pool_why_not(POOL);
	int status;

	status = ktap_run(cases, KTAP_COUNT(cases), why);
	knob_restore();
	return status;
}
