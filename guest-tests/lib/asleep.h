/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread that really waits in its fault.  A fault can be read from the userfaultfd a moment before
 * handle_userfault() of fs/userfaultfd.c (v6.12) has looked whether it has to wait at all: a page that
 * arrives in between lets the thread go on without being woken.
 */
#ifndef LAB_ASLEEP_H
#define LAB_ASLEEP_H

#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "ktap.h"
#include "procfile.h"

/*
 * Wait until a thread of this process has left its CPU.  Its state will not do, which is set before
 * that look; /proc/PID/task/TID/syscall says "running" until the scheduler has taken the thread off.
 */
static inline void asleep_wait(pid_t thread)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)thread);
	for (int looks = 0; looks < 5000; looks++) {
		if (proc_read(path, text, sizeof(text))) {
			usleep(100 * 1000);
			return;
		}
		if (strncmp(text, "running", 7))
			return;
		usleep(1000);
	}
	ktap_diag("thread %d does not come to rest", (int)thread);
}

#endif
