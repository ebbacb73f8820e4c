/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All processes below this one, by /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN).
 */
#ifndef LAB_PROCTREE_H
#define LAB_PROCTREE_H

#include <signal.h>
#include <stdio.h>
#include <sys/types.h>

#include "procfile.h"

#define PROCTREE_MAX 1024

struct proctree {
	pid_t pids[PROCTREE_MAX];
	size_t count;
	char text[16 * 1024];
};

static inline void proctree_add(struct proctree *tree, const char *path)
{
	if (proc_read(path, tree->text, sizeof(tree->text)))
		return;
	for (char *at = tree->text, *end; tree->count < PROCTREE_MAX; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		tree->pids[tree->count++] = (pid_t)pid;
	}
}

/* List them, parents before their children. */
static inline void proctree_list(struct proctree *tree)
{
	char path[64];
	long threads;

	tree->count = 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	proctree_add(tree, path);
	for (size_t i = 0; i < tree->count; i++) {
		pid_t pid = tree->pids[i];

		snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
		if (proc_read(path, tree->text, sizeof(tree->text)))
			continue;
		threads = proc_field(tree->text, "Threads");
		/*
		 * A child hangs on the thread that forked it.  Threads' ids follow their process's
		 * closely in a guest that runs one workload; 64 further we stop looking.
		 */
		for (pid_t tid = pid; threads > 0 && tid < pid + 64; tid++) {
			snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)tid);
			if (access(path, R_OK))
				continue;
			proctree_add(tree, path);
			threads--;
		}
	}
}

/* SIGKILL for all of them, and for the process group, whose members may not be listed yet. */
static inline void proctree_kill(struct proctree *tree, pid_t group)
{
	kill(-group, SIGKILL);
	proctree_list(tree);
	for (size_t i = 0; i < tree->count; i++)
		kill(tree->pids[i], SIGKILL);
}

#endif
