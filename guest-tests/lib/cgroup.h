/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control groups of version 2 as the memory controller has them
 * (Documentation/admin-guide/cgroup-v2.rst), and reading their counters to the page.
 *
 * What makes them inexact (v6.12): memory.stat is gathered from all CPUs only once more than 64 updates
 * a CPU are waiting, or every two seconds (mm/memcontrol.c memcg_vmstats_needs_flush(), FLUSH_TIME);
 * reading cpu.stat gathers everything at once (cgroup_rstat_flush()).  memory.current includes up to 63
 * pages that each CPU has charged in advance (MEMCG_CHARGE_BATCH, 64), and gives back when it likes.
 */
#ifndef LAB_CGROUP_H
#define LAB_CGROUP_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ktap.h"
#include "machine.h"
#include "mem.h"
#include "procfile.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_BATCH 64 /* pages charged in advance on each CPU, at most */

static char cgroup_text[16 * 1024];

/* Where a file of a group is; the group's name is "" for the root. */
static inline const char *cgroup_file(const char *group, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), CGROUP_ROOT "/%s/%s", group, file);
	return path;
}

/* What a file of a group holds; -1 and an empty string where there is none. */
static inline int cgroup_read(const char *group, const char *file)
{
	return proc_read(cgroup_file(group, file), cgroup_text, sizeof(cgroup_text));
}

static inline long cgroup_number(const char *group, const char *file)
{
	return cgroup_read(group, file) ? -1 : strtol(cgroup_text, NULL, 10);
}

/* A line "NAME 12" of a file. */
static inline long cgroup_field(const char *group, const char *file, const char *name)
{
	return cgroup_read(group, file) ? -1 : proc_field(cgroup_text, name);
}

/* 0, or the errno. */
static inline int cgroup_write(const char *group, const char *file, const char *value)
{
	int fd = open(cgroup_file(group, file), O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return errno;
	if (write(fd, value, strlen(value)) < 0)
		err = errno;
	close(fd);
	return err;
}

/* The same in bytes. */
static inline void cgroup_limit(const char *group, const char *file, long pages)
{
	char value[32];

	snprintf(value, sizeof(value), "%ld", pages * (long)mem_page());
	(void)cgroup_write(group, file, value);
}

/* Why there are no such groups here, as a skip reason, or NULL. */
static inline const char *cgroup_why_not(void)
{
	memset(cgroup_text, 1, sizeof(cgroup_text));
	if (cgroup_read("", "cgroup.controllers"))
		return "no cgroup2 file system on " CGROUP_ROOT;
	if (!strstr(cgroup_text, "memory"))
		return "no memory controller (CONFIG_MEMCG is off)";
	if (cgroup_write("", "cgroup.subtree_control", "+memory"))
		return "the memory controller cannot be given to groups";
	return NULL;
}

static inline void cgroup_make(const char *group)
{
	CHECK_SYS(mkdir(cgroup_file(group, ""), 0755));
}

/* This process from now on; what it has mapped stays with the group that was charged. */
static inline void cgroup_enter(const char *group)
{
	CHECK_ERRNO(cgroup_write(group, "cgroup.procs", "0"), 0);
}

static inline int cgroup_remove(const char *group)
{
	return rmdir(cgroup_file(group, "")) ? errno : 0;
}

static inline void cgroup_pause(long ms)
{
	struct timespec wait = { ms / 1000, ms % 1000 * 1000 * 1000 };

	nanosleep(&wait, NULL);
}

/* Pages.  What a group is charged for, and where it is. */
struct charges {
	long current;
	long anon; /* mapped */
	long thp; /* of those in huge pages */
	long lists; /* anonymous and shmem pages on the lists, mapped or not */
	long file;
	long kernel;
	long swap;
};

/* Set where reading cpu.stat does not gather memory.stat: then only time does. */
static int cgroup_slow;

static inline struct charges cgroup_charges(const char *group)
{
	struct charges now;
	long page = (long)mem_page();

	/* Drains the batches of pages that are on no list yet. */
	proc_write("/proc/sys/vm/drop_caches", "1");
	if (cgroup_slow)
		cgroup_pause(2200);
	(void)cgroup_read(group, "cpu.stat");
	CHECK(!cgroup_read(group, "memory.stat"), "%s: no memory.stat", group);
	now.anon = proc_field(cgroup_text, "anon") / page;
	now.thp = proc_field(cgroup_text, "anon_thp") / page;
	now.file = (proc_field(cgroup_text, "active_file") +
		    proc_field(cgroup_text, "inactive_file")) / page;
	now.lists = (proc_field(cgroup_text, "active_anon") +
		     proc_field(cgroup_text, "inactive_anon") +
		     proc_field(cgroup_text, "unevictable")) / page;
	now.kernel = proc_field(cgroup_text, "kernel") / page;
	now.current = cgroup_number(group, "memory.current") / page;
	now.swap = cgroup_number(group, "memory.swap.current");
	now.swap = now.swap < 0 ? now.swap : now.swap / page;
	return now;
}

/* How many removed groups there are that something is still charged to. */
static inline long cgroup_dying(void)
{
	return cgroup_field("", "cgroup.stat", "nr_dying_descendants");
}

/* Remove an empty group, and see that it dies: one that is still charged for a page cannot. */
static inline void cgroup_dies(const char *group, long before)
{
	long dying = before;

	/* What it read first of files is its own until it is dropped. */
	(void)cgroup_write(group, "memory.high", "0");
	CHECK_ERRNO(cgroup_remove(group), 0);
	for (int attempt = 0; attempt < 50; attempt++) {
		machine_settle();
		dying = cgroup_dying();
		if (dying <= before)
			return;
		cgroup_pause(attempt < 10 ? 10 : 200);
	}
	FAIL("nr_dying_descendants: got %ld, expected %ld: something is still charged to the group",
	     dying, before);
}

#endif
