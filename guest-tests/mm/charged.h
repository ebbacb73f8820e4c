/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A control group of a case's own, the child that runs in it, and what the group is charged for since that
 * child was ready.  The reader is the parent, which is in no such group.
 */
#ifndef LAB_MM_CHARGED_H
#define LAB_MM_CHARGED_H

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "child.h"
#include "ktap.h"
#include "machine.h"
#include "maps.h"
#include "mem.h"

#define CHARGED_GROUP "lab-mm"
#define CHARGED_OTHER "lab-mm-other"

/* Pages.  shmem is in file, and mapped is what is mapped of file. */
struct charged {
	struct charges all;
	long shmem, file, mapped, locked;
};

static inline struct charged charged_read(const char *group)
{
	struct charged now = { .all = cgroup_charges(group) };
	long page = (long)mem_page();

	now.shmem = cgroup_field(group, "memory.stat", "shmem") / page;
	now.file = cgroup_field(group, "memory.stat", "file") / page;
	now.mapped = cgroup_field(group, "memory.stat", "file_mapped") / page;
	now.locked = cgroup_field(group, "memory.stat", "unevictable") / page;
	return now;
}

/* What the group of a case had when its child was ready, with nothing of the case's own. */
static struct charged charged_first;

/* Since then, in the group: anon, shmem (and with it file), swap. */
static inline void charged_expect(long anon, long shmem, long swap, const char *source,
				   int line, const char *when)
{
	struct charged now = charged_read(CHARGED_GROUP);
	long got[] = { now.all.anon - charged_first.all.anon, now.shmem - charged_first.shmem,
		       now.all.swap - charged_first.all.swap };
	long charged = now.all.current - now.all.kernel - charged_first.all.current + charged_first.all.kernel;
	long slack = CGROUP_BATCH * sysconf(_SC_NPROCESSORS_ONLN);

	if (got[0] != anon || got[1] != shmem || (now.all.swap >= 0 && got[2] != swap))
		ktap_fail(source, line,
			  "%s: got anon %ld shmem %ld swap %ld pages more than at first, expected %ld %ld %ld",
			  when, got[0], got[1], got[2], anon, shmem, swap);
	if (now.file - charged_first.file != shmem)
		ktap_fail(source, line, "%s: file: got %ld pages more than at first, expected %ld", when,
			  now.file - charged_first.file, shmem);
	if (labs(charged - anon - shmem) > slack)
		ktap_fail(source, line,
			  "%s: memory.current less the kernel's: got %ld pages more than at first, "
			  "expected %ld (tolerance %ld)",
			  when, charged, anon + shmem, slack);
}

#define CHARGED(anon, shmem, swap, when) charged_expect(anon, shmem, swap, __FILE__, __LINE__, when)

/*
 * The child of a case in its group; the reader is the parent, who is outside.  What it wrote to before it
 * entered is charged elsewhere, and would be charged here when it is copied on write later: have all of it
 * copied now, from a child that stands by.
 */
static inline void charged_enter(void)
{
	pid_t sharer;

	cgroup_enter(CHARGED_GROUP);
	sharer = child_sharer();
	maps_settle();
	child_end(sharer);
	child_barrier();
}

/* Of the case that runs. */
static pid_t charged_child;

static inline pid_t charged_start(void (*body)(void *))
{
	charged_child = child_start(body, NULL);
	child_meet(charged_child);
	charged_first = charged_read(CHARGED_GROUP);
	return charged_child;
}

/* Let the child go to its next barrier. */
static inline void charged_next(pid_t pid)
{
	child_go(pid);
	child_meet(pid);
}

/* The group of a case whose processes have gone: empty, removed, and dead. */
static inline void charged_finish(void)
{
	long before = cgroup_dying();
	struct charged now;

	for (int attempt = 0; attempt < 30; attempt++) {
		machine_settle();
		now = charged_read(CHARGED_GROUP);
		if (!now.all.anon && !now.all.lists && !now.shmem && now.all.swap <= 0)
			break;
		cgroup_pause(100);
	}
	CHECK_EQ(now.all.anon, 0);
	CHECK_EQ(now.shmem, 0);
	CHECK_EQ(now.all.lists, 0);
	CHECK(now.all.swap <= 0, "memory.swap.current: got %ld pages, expected none", now.all.swap);
	cgroup_dies(CHARGED_GROUP, before);
}

/* Empty groups; those that a failed case left behind go first. */
static inline void charged_begin(void)
{
	(void)cgroup_write("", "cgroup.procs", "0");
	/* One that has ended is nobody's child any more, and waiting for it fails. */
	if (charged_child && !kill(charged_child, 0)) {
		(void)kill(charged_child, SIGKILL);
		(void)waitpid(charged_child, NULL, 0);
	}
	for (int attempt = 0; attempt < 100 && cgroup_remove(CHARGED_GROUP) == EBUSY; attempt++)
		cgroup_pause(10);
	(void)cgroup_remove(CHARGED_OTHER);
	cgroup_make(CHARGED_GROUP);
}

/* All cases of a program, and no group left behind. */
static inline int charged_run(const struct ktap_case *cases, size_t count)
{
	int status = ktap_run(cases, count, cgroup_why_not());

	(void)cgroup_write("", "cgroup.procs", "0");
	(void)cgroup_remove(CHARGED_GROUP);
	(void)cgroup_remove(CHARGED_OTHER);
	(void)cgroup_write("", "cgroup.subtree_control", "-memory");
	return status;
}

#endif
