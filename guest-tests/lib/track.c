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
#define SCAN_PROTECT_MATCHING ((uint64_t)1 << 0)
#define SCAN_CHECK_ASYNC ((uint64_t)1 << 1)
#define SCAN_WRITTEN ((uint64_t)1 << 1)

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

size_t track_scan_written(void *start, size_t len, int protect)
{
	static struct region regions[256];
	struct scan scan = {
		.size = sizeof(scan),
		.flags = SCAN_CHECK_ASYNC | (protect ? SCAN_PROTECT_MATCHING : 0),
		.start = (uint64_t)(uintptr_t)start,
		.end = (uint64_t)(uintptr_t)start + len,
		.vec = (uint64_t)(uintptr_t)regions,
		.vec_len = KTAP_COUNT(regions),
		.mask = SCAN_WRITTEN,
		.result = SCAN_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), count;
	size_t pages = 0;

	CHECK(fd >= 0, "/proc/self/pagemap: %m");
	count = ioctl(fd, SCAN_IOCTL, &scan);
	CHECK(count >= 0, "PAGEMAP_SCAN: %m");
	for (int i = 0; i < count; i++)
		pages += (regions[i].end - regions[i].start) / mem_page();
	close(fd);
	return pages;
}
