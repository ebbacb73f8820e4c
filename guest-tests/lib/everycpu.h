/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Run on every CPU for a moment.  A CPU that idles keeps the last process's mm until it runs
 * another process (lazy TLB), and only then comes the last mmdrop() with its check of the counters:
 * make it come before the mark instead of some time after it.
 */
#ifndef LAB_EVERYCPU_H
#define LAB_EVERYCPU_H

#include <sched.h>

static inline void visit_every_cpu(void)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		(void)sched_setaffinity(0, sizeof(one), &one);
	}
	(void)sched_setaffinity(0, sizeof(allowed), &allowed);
}

#endif
