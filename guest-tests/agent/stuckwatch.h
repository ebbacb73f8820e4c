/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread that watches the program's tasks for a call that does not come to its end, and says so in
 * a JSON line of ours, once a second for the task that is in it longest:
 *
 *   {"stuck":471,"state":"R","seconds":6.20,"wchan":"0"}
 *
 * State R: seconds of CPU time that it has burnt in the kernel while next to none was its own; of a
 * running task the kernel tells no more (its system call is "running" in /proc/PID/syscall, v6.12).
 * Or seconds of the clock for which it was to run and had neither time nor a change of tasks: a CPU
 * that takes no interrupts counts no time (account_process_tick() in kernel/sched/cputime.c).
 * State D: seconds of the clock since it was last seen to wake, with no disk request under way.
 * It is a suspicion: who repeats one long call looks the same from here, and the lab has another look.
 *
 *   {"stuck":0}                                  nothing was said for two seconds, but a task got to run
 *
 * A thread of its own, because the samples read page tables and may wait for the very lock that is
 * stuck; what is read here takes no lock of an address space.  It sleeps by a timer of the CPU that it
 * was on, and does not wake where that one takes no interrupts: then the samples' thread looks for it.
 */
#ifndef LAB_STUCKWATCH_H
#define LAB_STUCKWATCH_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "procfile.h"
#include "proctree.h"
#include "say.h"

#define STUCK_TASKS 256
#ifndef STUCK_TOLD
#define STUCK_TOLD 4.0 /* seconds from which on the lab is told */
#endif
#define STUCK_OWN 50   /* of so many ticks in the kernel one may be the program's own */
#define STUCK_SHARE 0.01 /* of one CPU that a look may take */
#ifndef STUCK_LATE
#define STUCK_LATE 4.0 /* seconds without a look, of which one may last 3, after which another looks */
#endif
#ifndef STUCK_WATCHER
#define STUCK_WATCHER 1 /* 0, for a test: the thread never wakes again */
#endif
#define STUCK_QUIET 2.0 /* seconds without a word from anybody after which it says that it is there */

struct stuck_task {
	pid_t tid;
	int seen;
	long long start, user, system; /* as they were when it was last known to get on */
	long long ticks, switches;     /* as they were a look ago */
	double still; /* since when it has had no CPU time and no change of tasks, or 0 */
	double seconds;
	char state;
};

static struct {
	struct stuck_task tasks[STUCK_TASKS];
	struct proctree tree;
	char text[16 * 1024], entries[4096];
	size_t count;
	atomic_int ready, over, looking;
	_Atomic double watched, looked; /* when the thread looked last, and when anybody did */
} stuck;

/* Requests that disks have not answered yet: the ninth counter of a line of /proc/diskstats. */
static inline long stuck_disk_requests(void)
{
	long sum = 0, major, minor, flying;

	if (proc_read("/proc/diskstats", stuck.text, sizeof(stuck.text)))
		return 0;
	for (const char *line = stuck.text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%ld %ld %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld", &major, &minor,
			   &flying) == 3)
			sum += flying;
	}
	return sum;
}

static inline struct stuck_task *stuck_known(pid_t tid)
{
	for (size_t i = 0; i < stuck.count; i++)
		if (stuck.tasks[i].tid == tid)
			return &stuck.tasks[i];
	if (stuck.count == STUCK_TASKS)
		return NULL;
	stuck.tasks[stuck.count] = (struct stuck_task){ .tid = tid };
	return &stuck.tasks[stuck.count++];
}

static inline void stuck_look_at(pid_t pid, pid_t tid, double now, int disks)
{
	struct stuck_task *task = stuck_known(tid);
	long long user, system, start, switches;
	const char *behind;
	char path[64], state;

	if (!task)
		return;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)tid);
	if (proc_read(path, stuck.text, sizeof(stuck.text)))
		return;
	switches = proc_field(stuck.text, "voluntary_ctxt_switches") +
		   proc_field(stuck.text, "nonvoluntary_ctxt_switches");
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	if (proc_read(path, stuck.text, sizeof(stuck.text)) || !(behind = strrchr(stuck.text, ')')) ||
	    sscanf(behind + 1,
		   " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lld %lld %*s %*s %*s %*s %*s %*s %lld",
		   &state, &user, &system, &start) != 4)
		return;
	task->seen = 1;
	if ((state != 'R' && state != 'D') || task->start != start ||
	    (user - task->user) * STUCK_OWN > system - task->system) {
		task->user = user;
		task->system = system;
		task->still = 0;
	}
	if (state != task->state || switches != task->switches || user + system != task->ticks ||
	    (state == 'D' && disks))
		task->still = 0;
	if (!task->still && (state == 'R' || state == 'D'))
		task->still = now;
	task->start = start;
	task->ticks = user + system;
	task->switches = switches;
	task->state = state;
	task->seconds = state == 'D' ? 0 : (double)(system - task->system) / (double)sysconf(_SC_CLK_TCK);
	if (task->still && now - task->still > task->seconds)
		task->seconds = now - task->still;
}

static inline void stuck_look_at_threads(pid_t pid, double now, int disks)
{
	struct entry {
		unsigned long inode, offset;
		unsigned short length;
		unsigned char type;
		char name[];
	};
	char path[64];
	long got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* Not readdir(3), which allocates. */
	while ((got = syscall(SYS_getdents64, fd, stuck.entries, sizeof(stuck.entries))) > 0)
		for (long at = 0; at < got;) {
			const struct entry *one = (const void *)(stuck.entries + at);
			long tid = strtol(one->name, NULL, 10);

			at += one->length;
			if (tid > 0)
				stuck_look_at(pid, (pid_t)tid, now, disks);
		}
	close(fd);
}

static inline void stuck_tell(const struct stuck_task *task)
{
	char path[64], wchan[64], line[192];
	size_t used = 0;
	int length;

	snprintf(path, sizeof(path), "/proc/%d/wchan", (int)task->tid);
	(void)proc_read(path, wchan, sizeof(wchan));
	while (wchan[used] == '_' || wchan[used] == '.' ||
	       (wchan[used] >= '0' && wchan[used] <= '9') ||
	       ((wchan[used] | 32) >= 'a' && (wchan[used] | 32) <= 'z'))
		used++;
	wchan[used] = 0;
	length = snprintf(line, sizeof(line),
			  "{\"stuck\":%d,\"state\":\"%c\",\"seconds\":%.2f,\"wchan\":\"%s\"}\n",
			  (int)task->tid, task->state, task->seconds, wchan);
	out(line, (size_t)length); /* at once: the samples have a buffer of their own */
}

static inline void stuck_look(void)
{
	const struct stuck_task *worst[2] = { NULL, NULL };
	double now = clock_seconds(CLOCK_MONOTONIC);
	size_t kept = 0;
	int disks;

	if (atomic_exchange(&stuck.looking, 1))
		return; /* somebody else does */
	disks = stuck_disk_requests() > 0;
	for (size_t i = 0; i < stuck.count; i++)
		stuck.tasks[i].seen = 0;
	proctree_list(&stuck.tree);
	for (size_t i = 0; i < stuck.tree.count; i++)
		stuck_look_at_threads(stuck.tree.pids[i], now, disks);
	for (size_t i = 0; i < stuck.count; i++)
		if (stuck.tasks[i].seen)
			stuck.tasks[kept++] = stuck.tasks[i];
	stuck.count = kept;
	for (size_t i = 0; i < stuck.count; i++) {
		const struct stuck_task *task = &stuck.tasks[i];
		const struct stuck_task **other = &worst[task->state == 'D'];

		if (task->seconds >= STUCK_TOLD && (!*other || task->seconds > (*other)->seconds))
			*other = task;
	}
	for (int i = 0; i < 2; i++)
		if (worst[i])
			stuck_tell(worst[i]);
	atomic_store(&stuck.looked, now);
	atomic_store(&stuck.looking, 0);
}

/* Look once a second in place of the thread, where that has not come to it for long. */
static inline void stuck_look_instead(void)
{
	double now = clock_seconds(CLOCK_MONOTONIC);

	if (!atomic_load(&stuck.over) && now - atomic_load(&stuck.watched) > STUCK_LATE &&
	    now - atomic_load(&stuck.looked) > 1.0)
		stuck_look();
}

/* Whoever hears nothing of the guest must know whether it is the guest that hangs. */
static inline void stuck_beat(void)
{
	static unsigned long told;
	static double since;
	double now = clock_seconds(CLOCK_MONOTONIC);

	if (told != out_calls || !since) {
		told = out_calls;
		since = now;
	} else if (now - since >= STUCK_QUIET) {
		out("{\"stuck\":0}\n", 12);
	}
}

static inline void *stuck_watch(void *unused)
{
	double cost, wait;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	while (!atomic_load(&stuck.over)) {
		cost = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
		stuck_look();
		atomic_store(&stuck.watched, clock_seconds(CLOCK_MONOTONIC));
		stuck_beat();
		cost = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - cost;
		atomic_store(&stuck.ready, 1);
		while (!STUCK_WATCHER)
			pause();
		wait = cost / STUCK_SHARE > 1.0 ? cost / STUCK_SHARE : 1.0;
		usleep((useconds_t)((wait < 3.0 ? wait : 3.0) * 1e6));
	}
	/* Not to its end: that would give back memory between "before" and "after". */
	for (;; sleep(1))
		stuck_beat();
	return unused;
}

/* Begin; it has touched all that it will need when this comes back. */
static inline void stuck_begin(void)
{
	pthread_t thread;

	memset(stuck.text, 1, sizeof(stuck.text));
	memset(stuck.entries, 1, sizeof(stuck.entries));
	memset(&stuck.tree, 0, sizeof(stuck.tree));
	memset(stuck.tasks, 0, sizeof(stuck.tasks));
	stuck_look(); /* as it may have to, later: the stack that this takes is not to be counted then */
	if (pthread_create(&thread, NULL, stuck_watch, NULL))
		return;
	while (!atomic_load(&stuck.ready))
		usleep(1000);
}

/* The program is gone: it reads no more of /proc, which moves what is counted. */
static inline void stuck_end(void)
{
	atomic_store(&stuck.over, 1);
}

#endif
