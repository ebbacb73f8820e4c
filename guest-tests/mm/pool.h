/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pool of huge pages of the default size (Documentation/admin-guide/mm/hugetlbpage.rst), and its
 * counters in pages of the pool.
 */
#ifndef LAB_MM_POOL_H
#define LAB_MM_POOL_H

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "knob.h"
#include "ktap.h"
#include "maps.h"
#include "mem.h"
#include "procfile.h"

/* What an mmap() of huge pages that MAP_POPULATE and others do not touch begins with. */
#define POOL_LIMIT ((size_t)64 << 20)

struct pool {
	long total, free, reserved, surplus;
};

/* The size of a page of the pool, in bytes; 0 where there is no pool. */
static inline size_t pool_size(void)
{
	static size_t size;
	char text[8192];
	long kib;

	if (!size && !proc_read("/proc/meminfo", text, sizeof(text))) {
		kib = proc_field(text, "Hugepagesize");
		size = kib > 0 ? (size_t)kib * 1024 : 0;
	}
	return size;
}

static inline const char *pool_file(const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%zukB/%s", pool_size() / 1024,
		 name);
	return path;
}

static inline struct pool pool_read(void)
{
	return (struct pool){ knob_number(pool_file("nr_hugepages")),
			      knob_number(pool_file("free_hugepages")),
			      knob_number(pool_file("resv_hugepages")),
			      knob_number(pool_file("surplus_hugepages")) };
}

/* Why no pool of so many pages can be had, as a skip reason, or NULL; knob_restore() gives it back. */
static inline const char *pool_why_not(long pages)
{
	static char why[128];

	if (!pool_size())
		return "no huge pages of a pool (CONFIG_HUGETLBFS is off)";
	if (pool_size() > POOL_LIMIT) {
		snprintf(why, sizeof(why), "a huge page of %zu MiB is too big for this workload",
			 pool_size() >> 20);
		return why;
	}
	for (int attempt = 0; attempt < 6; attempt++) {
		if (attempt)
			mem_compact();
		if (knob_set_number(pool_file("nr_hugepages"), pages))
			return "the pool cannot be set";
		if (knob_number(pool_file("nr_hugepages")) == pages)
			return NULL;
	}
	snprintf(why, sizeof(why), "the pool got only %ld of %ld pages",
		 knob_number(pool_file("nr_hugepages")), pages);
	return why;
}

/* How many pages the pool of the cases has. */
#define POOL 6

/* The counters, and that /proc/meminfo has the same. */
static inline void pool_expect(struct pool want, const char *file, int line, const char *when)
{
	struct pool got = pool_read();
	char text[8192];

	if (got.total != want.total || got.free != want.free || got.reserved != want.reserved ||
	    got.surplus != want.surplus)
		ktap_fail(file, line,
			  "%s: got total %ld free %ld reserved %ld surplus %ld, expected %ld %ld %ld %ld",
			  when, got.total, got.free, got.reserved, got.surplus, want.total, want.free,
			  want.reserved, want.surplus);
	CHECK(!proc_read("/proc/meminfo", text, sizeof(text)), "meminfo: %m");
	CHECK_EQ(proc_field(text, "HugePages_Total"), got.total);
	CHECK_EQ(proc_field(text, "HugePages_Free"), got.free);
	CHECK_EQ(proc_field(text, "HugePages_Rsvd"), got.reserved);
	CHECK_EQ(proc_field(text, "HugePages_Surp"), got.surplus);
}

/* That pool with so many pages in use, so many reserved, and so many more than it has. */
#define POOL_EXPECT(used, reserved, surplus, when)                                                 \
	pool_expect((struct pool){ POOL + (surplus), POOL + (surplus) - (used), reserved, surplus }, \
		    __FILE__, __LINE__, when)

/* The file that is mapped, or -1: anonymous memory. */
static int pool_fd = -1;

static inline char *pool_try_map(size_t count, int flags)
{
	return mmap(NULL, count * pool_size(), PROT_READ | PROT_WRITE, flags, pool_fd, 0);
}

static inline char *pool_map(size_t count, int flags)
{
	char *area = pool_try_map(count, flags);

	CHECK(area != MAP_FAILED, "mmap of %zu huge pages: %m", count);
	return area;
}

static inline char *pool_map_private(size_t count, int more)
{
	return pool_map(count, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | more);
}

/* A file of huge pages, of so many pages. */
static inline void pool_make_file(size_t count)
{
	pool_fd = memfd_create("lab-huge", MFD_CLOEXEC | MFD_HUGETLB);
	CHECK(pool_fd >= 0, "memfd_create: %m");
	CHECK_SYS(ftruncate(pool_fd, (off_t)(count * pool_size())));
}

static inline void pool_close_file(void)
{
	close(pool_fd);
	pool_fd = -1;
}

/* Write the number of each page, from 1, to its first byte. */
static inline void pool_touch(char *area, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		area[i * pool_size()] = (char)(i + 1);
}

/* A case in a child, which leaves nothing behind, of a pool that is as it was. */
static inline void pool_case(void (*body)(void *))
{
	CHECK_SYS(knob_set(pool_file("nr_overcommit_hugepages"), "0"));
	CHECK_SYS(knob_set_number(pool_file("nr_hugepages"), POOL));
	POOL_EXPECT(0, 0, 0, "before the case");
	maps_in_child(body);
	POOL_EXPECT(0, 0, 0, "after the case");
}

#define IN_POOL(name)                                                                              \
	static void name(void)                                                                     \
	{                                                                                          \
		pool_case(name##_body);                                                            \
	}

#endif
