/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Allocations that fail: the nth of the calling task from now on, by /proc/thread-self/fail-nth
 * (Documentation/fault-injection/fault-injection.rst; should_fail_ex() of lib/fault-inject.c, v6.12).
 */
#ifndef LAB_EXPLORE_FAULT_H
#define LAB_EXPLORE_FAULT_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "knob.h"
#include "procfile.h"

#define FAULT_FILE "/proc/thread-self/fail-nth"
#define FAULT_MOST 64 /* allocations of one step that are made to fail, one after the other */

/* Have the nth allocation fail; the file that fault_disarm() takes.  0 fails none. */
static inline int fault_arm(int nth)
{
	char number[16];
	int fd = nth ? open(FAULT_FILE, O_RDWR | O_CLOEXEC) : -1;

	if (fd >= 0) {
		snprintf(number, sizeof(number), "%d", nth);
		(void)!write(fd, number, strlen(number));
	}
	return fd;
}

/* Have none fail any more; whether one has. */
static inline int fault_disarm(int fd)
{
	char number[16] = "";
	int fired = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, number, sizeof(number) - 1, 0) > 0)
		fired = !atoi(number);
	(void)!write(fd, "0", 1);
	close(fd);
	return fired;
}

/*
 * Let every allocation be one that may fail, of a page or of slab, also those that could wait for memory, and
 * say nothing in the log.  Why that cannot be had, as a skip reason, or NULL; knob_restore() takes it back.
 */
static inline const char *fault_prepare(void)
{
	static const char *const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	char path[96];

	if (access(FAULT_FILE, W_OK))
		return "no " FAULT_FILE " (CONFIG_FAULT_INJECTION is off)";
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		if (knob_set(path, settings[i][1]))
			return "no knobs of failslab and fail_page_alloc below /sys/kernel/debug";
	}
	return NULL;
}

#endif
