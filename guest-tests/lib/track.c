// SPDX-License-Identifier: GPL-2.0-only
/* See track.h.  The numbers are those of include/uapi/linux/fs.h of v6.12. */
#define _GNU_SOURCE
#include "track.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, result;
};

struct region {
	uint64_t start, end, categories;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan)
#define SCAN_CHECK_ASYNC ((uint64_t)1 << 1)

size_t track_pages(const void *start, size_t len, uint64_t bit)
{
	size_t found = 0;

	for (size_t at = 0; at < len; at += mem_page())
		found += (mem_entry((const char *)start + at) & bit) != 0;
	return found;
}

void track_clear_soft_dirty(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0, "/proc/self/clear_refs: %m");
	CHECK(write(fd, "4", 1) == 1, "clear_refs: %m");
	close(fd);
}

const char *track_why_no_soft_dirty(void)
{
	char *page = mem_map(mem_page(), 0);

	*(volatile char *)page = 1;
	return track_pages(page, mem_page(), TRACK_SOFT_DIRTY) ?
		       NULL :
		       "no soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY is off)";
}

/* The whole range is walked, or the program ends; gives how many regions the kernel told. */
static int walk(const void *start, size_t len, struct scan scan)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), count;

	CHECK(fd >= 0, "/proc/self/pagemap: %m");
	scan.size = sizeof(scan);
	scan.start = (uint64_t)(uintptr_t)start;
	scan.end = scan.start + len;
	count = ioctl(fd, SCAN_IOCTL, &scan);
	CHECK(count >= 0, "PAGEMAP_SCAN: %m");
	close(fd);
	CHECK(scan.walk_end == scan.end, "PAGEMAP_SCAN stopped %llu bytes before its end",
	      (unsigned long long)(scan.end - scan.walk_end));
	return count;
}

/* How many pages the regions have that the kernel answers with. */
static size_t answered(const void *start, size_t len, struct scan scan)
{
	static struct region regions[256];
	size_t pages = 0;
	int count;

	scan.vec = (uint64_t)(uintptr_t)regions;
	scan.vec_len = KTAP_COUNT(regions);
	count = walk(start, len, scan);
	for (int i = 0; i < count; i++)
		pages += (regions[i].end - regions[i].start) / mem_page();
	return pages;
}

size_t track_scan(const void *start, size_t len, uint64_t category, uint64_t flags)
{
	return answered(start, len, (struct scan){ .flags = flags, .mask = category, .result = category });
}

size_t track_scan_any(const void *start, size_t len, uint64_t categories)
{
	return answered(start, len, (struct scan){ .anyof = categories, .result = categories });
}

void track_scan_blindly(const void *start, size_t len, uint64_t category)
{
	(void)walk(start, len, (struct scan){ .flags = TRACK_SCAN_PROTECT, .mask = category });
}

size_t track_scan_written(const void *start, size_t len, int protect)
{
	return track_scan(start, len, TRACK_IS_WRITTEN, SCAN_CHECK_ASYNC | (protect ? TRACK_SCAN_PROTECT : 0));
}
