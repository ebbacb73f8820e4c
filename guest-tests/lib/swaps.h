/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Swap devices, and pages that reclaim has taken out of the page table, wherever they are then.
 */
#ifndef LAB_SWAPS_H
#define LAB_SWAPS_H

#include <stddef.h>

struct swap_device {
	char name[256];
	int flags; /* of swapon(2), to have it with its priority again */
};

/* The lines of /proc/swaps; how many there are. */
size_t swaps_devices(struct swap_device *devices, size_t most);

/*
 * Have MADV_PAGEOUT make entries of swap of a range, of huge pages too, in the swap cache or not; skips the
 * case if after many tries a page stays in the page table.
 */
void swaps_out(void *start, size_t len);

#endif
