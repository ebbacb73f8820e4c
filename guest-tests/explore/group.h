/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A control group for the processes of a program: it can be told to give memory back, which swaps out pages
 * that several processes share as well, and in the end nothing of theirs may be charged to it.
 *
 * Source: Documentation/admin-guide/cgroup-v2.rst, memory.reclaim and memory.stat.
 */
#ifndef LAB_EXPLORE_GROUP_H
#define LAB_EXPLORE_GROUP_H

#include "cgroup.h"
#include "counters.h"

static char group_name[32];

static inline void group_named(pid_t pid)
{
	snprintf(group_name, sizeof(group_name), "explore-%d", (int)pid);
}

/* Whether there can be one here. */
static inline int group_works(void)
{
	int works;

	if (cgroup_why_not())
		return 0;
	group_named(getpid());
	works = !mkdir(cgroup_file(group_name, ""), 0755) && !access(cgroup_file(group_name, "memory.reclaim"), W_OK);
	(void)cgroup_remove(group_name);
	return works;
}

/* Of the process that carries a program out; the program's own enter it. */
static inline void group_begin(unsigned int can)
{
	group_named(getpid());
	if (can & CAN_GROUP && mkdir(cgroup_file(group_name, ""), 0755))
		CHECK(errno == EEXIST, "%s: %m", group_name);
}

static inline void group_enter(unsigned int can)
{
	if (can & CAN_GROUP)
		cgroup_enter(group_name);
}

static inline void group_reclaim(int all)
{
	(void)cgroup_write(group_name, "memory.reclaim", all ? "64M" : "128K");
}

/* Whether a frame is charged to the group with that inode. */
static inline int frame_is_charged(uint64_t frame, uint64_t group)
{
	static int fd = -1;
	uint64_t is = 0;

	if (fd < 0)
		fd = open("/proc/kpagecgroup", O_RDONLY | O_CLOEXEC);
	return pread(fd, &is, sizeof(is), (off_t)(frame * sizeof(is))) == (ssize_t)sizeof(is) && is == group;
}

/*
 * All processes are gone: what was mapped is no longer, and the memfds are emptied here.  Pages that wait for
 * their lists go when somebody asks (drop_caches does), and the CPUs' counts are gathered: up to 10 s.  Page tables are
 * not asked for: an idle CPU may keep the topmost one for as long as it likes.
 */
static inline int group_end(unsigned int can, struct finding *finding)
{
	static const char *const none[] = { "anon", "shmem" };
	long left = 0;
	size_t i;

	for (i = 0; i < FILES; i++)
		CHECK_SYS(ftruncate(worker.files[i], 0));
	if (!(can & CAN_GROUP))
		return 0;
	for (int attempt = 0; attempt < 75; attempt++) {
		if (attempt)
			proc_write("/proc/sys/vm/drop_caches", "1");
		cgroup_pause(!attempt ? 0 : attempt < 25 ? 20 : 200);
		/* Gathers what each CPU has counted: cgroup_rstat_flush(). */
		(void)cgroup_read(group_name, "cpu.stat");
		if (cgroup_read(group_name, "memory.stat"))
			return found(finding, "group", "the control group has no memory.stat");
		for (i = 0; i < KTAP_COUNT(none); i++) {
			left = proc_field(cgroup_text, none[i]);
			if (left > 0)
				break;
		}
		if (i == KTAP_COUNT(none))
			return 0;
	}
	return found(finding, "group", "all processes are gone, and %ld bytes of %s are charged to their control group",
		     left, none[i]);
}

/* After that process's end, however it came. */
static inline void group_remove(unsigned int can, pid_t pid)
{
	group_named(pid);
	for (int attempt = 0; can & CAN_GROUP && attempt < 100; attempt++) {
		if (cgroup_remove(group_name) != EBUSY)
			break;
		cgroup_pause(20);
	}
}

#endif
