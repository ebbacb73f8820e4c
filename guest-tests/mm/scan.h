/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ioctl(PAGEMAP_SCAN) for one category of pages (Documentation/admin-guide/mm/pagemap.rst; the numbers are
 * those of include/uapi/linux/fs.h of v6.12), and taking a huge page apart.
 */
#ifndef LAB_MM_SCAN_H
#define LAB_MM_SCAN_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kind.h"
#include "ktap.h"
#include "mem.h"

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, result;
};

struct scan_region {
	uint64_t start, end, categories;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define SCAN_PROTECT ((uint64_t)1 << 0)
#define SCAN_IS_WRITTEN ((uint64_t)1 << 1)
#define SCAN_IS_PFNZERO ((uint64_t)1 << 5)

/* How many pages of a range are in a category; with blind the kernel is given no place for its answer. */
static inline size_t scan_pages(const void *start, size_t len, uint64_t category, uint64_t flags, int blind)
{
	static struct scan_region regions[64];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags,
		.start = (uint64_t)(uintptr_t)start,
		.end = (uint64_t)(uintptr_t)start + len,
		.vec = blind ? 0 : (uint64_t)(uintptr_t)regions,
		.vec_len = blind ? 0 : KTAP_COUNT(regions),
		.mask = category,
		.result = blind ? 0 : category,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), count;
	size_t pages = 0;

	CHECK(fd >= 0, "/proc/self/pagemap: %m");
	count = ioctl(fd, SCAN_IOCTL, &arg);
	CHECK(count >= 0, "PAGEMAP_SCAN: %m");
	close(fd);
	CHECK(arg.walk_end == arg.end, "PAGEMAP_SCAN stopped %llu bytes before its end",
	      (unsigned long long)(arg.end - arg.walk_end));
	for (int i = 0; !blind && i < count; i++)
		pages += (regions[i].end - regions[i].start) / mem_page();
	return pages;
}

/* Take a range's huge pages apart, through debugfs; -1 where there is no such file. */
static inline int scan_split(const void *start, size_t len)
{
	char text[96];
	int fd = open("/sys/kernel/debug/split_huge_pages", O_WRONLY | O_CLOEXEC), done;

	if (fd < 0)
		return -1;
	done = snprintf(text, sizeof(text), "%d,0x%lx,0x%lx,0", (int)getpid(), (unsigned long)(uintptr_t)start,
			(unsigned long)(uintptr_t)start + len);
	done = write(fd, text, (size_t)done) == done ? 0 : -1;
	close(fd);
	return done;
}

/* Why there are no pages of the kind that was chosen, as a skip reason, or NULL. */
static inline const char *scan_why_no_kind(void)
{
	if (kind() == KIND_SWAP)
		return mem_why_no_swap();
	return kind() == KIND_HUGE ? mem_why_no_huge() : NULL;
}

#endif
