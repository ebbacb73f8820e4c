// SPDX-License-Identifier: GPL-2.0-only
/* See swaps.h. */
#define _GNU_SOURCE
#include "swaps.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "procfile.h"

size_t swaps_devices(struct swap_device *devices, size_t most)
{
	char text[4096];
	size_t count = 0;

	CHECK(!proc_read("/proc/swaps", text, sizeof(text)), "/proc/swaps: %m");
	for (char *line = strchr(text, '\n'); line && count < most; line = strchr(line + 1, '\n')) {
		struct swap_device *device = &devices[count];
		int priority = -1;

		if (sscanf(line + 1, "%255s %*s %*s %*s %d", device->name, &priority) != 2)
			continue;
		device->flags = priority < 0 ? 0 :
					       SWAP_FLAG_PREFER | (priority & SWAP_FLAG_PRIO_MASK);
		count++;
	}
	return count;
}

void swaps_out(void *start, size_t len)
{
	size_t pages = len / mem_page(), out = 0;

	for (int attempt = 0; attempt < 100 && out < pages; attempt++) {
		if (attempt)
			usleep(20 * 1000);
		proc_write("/proc/sys/vm/drop_caches", "1"); /* see mem_swap_out() */
		CHECK_SYS(madvise(start, len, MADV_PAGEOUT));
		out = mem_swapped_pages(start, len);
	}
	if (out < pages)
		ktap_skip("MADV_PAGEOUT unmapped only %zu of %zu pages", out, pages);
}
