/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Have the kernel look for memory of its own that nothing points to any more, where it can
 * (CONFIG_DEBUG_KMEMLEAK, Documentation/dev-tools/kmemleak.rst).  What it finds it prints, object by
 * object, into its log, and so between the workload's marks.
 */
#ifndef LAB_LEAKSCAN_H
#define LAB_LEAKSCAN_H

#include <unistd.h>

#include "procfile.h"

#define LEAKSCAN_FILE "/sys/kernel/debug/kmemleak"
/* An object is suspected once it is so old: MSECS_MIN_AGE of mm/kmemleak.c, and some. */
#define LEAKSCAN_MIN_AGE 5.5

/* Have it search once; -1 where it does not, as one that ran out of memory and gave up. */
static inline int leakscan_search(void)
{
	int fd = open(LEAKSCAN_FILE, O_WRONLY | O_CLOEXEC);
	ssize_t done = fd < 0 ? -1 : write(fd, "scan", 4);

	if (fd >= 0)
		close(fd);
	return done == 4 ? 0 : -1;
}

/* Forget what was suspected before; tell whether there is anything to ask. */
static inline int leakscan_begin(void)
{
	if (access(LEAKSCAN_FILE, F_OK))
		return 0;
	proc_write("/sys/module/kmemleak/parameters/verbose", "1");
	(void)leakscan_search();
	proc_write(LEAKSCAN_FILE, "clear");
	return 1;
}

/* Twice, because an object that changes between two searches is in use; -1 as above. */
static inline int leakscan_end(void)
{
	return leakscan_search() | leakscan_search();
}

#endif
