// SPDX-License-Identifier: GPL-2.0-only
/*
 * The most that a control group was charged for: memory.peak of an open file starts anew when it is written
 * to, and that of another file does not.
 *
 * Sources: Documentation/admin-guide/cgroup-v2.rst (memory.peak: "for subsequent reads through the same file
 * descriptor"); v6.12: peak_write() and peak_show() in mm/memcontrol.c.  charged.h and cgroup.h tell how the counters are read.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cgroup.h"
#include "charged.h"
#include "child.h"
#include "ktap.h"
#include "mem.h"

#define SEED 231

/* How many pages memory.current may be wrong by. */
static long slack(void)
{
	return CGROUP_BATCH * sysconf(_SC_NPROCESSORS_ONLN);
}

static char *filled(long pages)
{
	size_t len = (size_t)pages * mem_page();
	char *start = mem_map(len, 0);

	mem_no_huge(start, len);
	mem_fill(start, len, SEED);
	return start;
}

static void climber(void *unused)
{
	char *start;

	(void)unused;
	charged_enter();
	start = filled(4 * slack());
	CHECK_SYS(munmap(start, (size_t)(4 * slack()) * mem_page()));
	child_barrier();
}

/* What a file of ours that was opened says now, in pages. */
static long peak_read(int fd)
{
	char text[32] = "";

	CHECK(pread(fd, text, sizeof(text) - 1, 0) > 0, "memory.peak: %m");
	return strtol(text, NULL, 10) / (long)mem_page();
}

/* cgroup-v2.rst: writing to memory.peak starts anew for this open file, and for no other. */
static void peak_of_its_own(void)
{
	long began;
	int mine, other;
	pid_t pid;

	charged_begin();
	pid = charged_start(climber);
	mine = open(cgroup_file(CHARGED_GROUP, "memory.peak"), O_RDWR | O_CLOEXEC);
	other = open(cgroup_file(CHARGED_GROUP, "memory.peak"), O_RDWR | O_CLOEXEC);
	if (mine < 0 || other < 0 || write(mine, "r", 1) != 1 || write(other, "r", 1) != 1) {
		child_end(pid);
		ktap_skip("memory.peak cannot be reset (v6.12)");
	}
	began = peak_read(other);
	charged_next(pid);
	CHECK(peak_read(other) >= began + 3 * slack(),
	      "the peak was not noticed: got %ld pages, before %ld",
	      peak_read(other), began);
	CHECK(write(mine, "r", 1) == 1, "memory.peak: %m");
	child_end(pid);
	CHECK(peak_read(other) >= began + 3 * slack(),
	      "reset through another file, memory.peak lost its peak: got %ld pages, expected %ld at least",
	      peak_read(other), began + 3 * slack());
	close(mine);
	close(other);
	charged_finish();
}

static const struct ktap_case cases[] = {
	{ "peak-of-its-own", peak_of_its_own },
};

int main(void)
{
	return charged_run(cases, KTAP_COUNT(cases));
}
