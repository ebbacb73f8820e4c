// SPDX-License-Identifier: GPL-2.0-only
/*
 * See rss.h.  All buffers are static and everything is read through plain system calls: stdio and
 * malloc() would fault pages in between two readings.
 */
#define _GNU_SOURCE
#include "rss.h"

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "procfile.h"

static char text[128 * 1024];
static uint64_t entries[2048];

/* Touch the buffers, so that a longer reading later does not raise the counter it reads. */
static void prefault(void)
{
	memset(text, 1, sizeof(text));
	memset(entries, 1, sizeof(entries));
}

static int slurp_pid(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return proc_read(path, text, sizeof(text));
}

static long count_swap_slots(pid_t pid)
{
	char path[64];
	long slots = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || slurp_pid(pid, "maps")) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	for (char *line = text; *line;) {
		char *end = strchr(line, '\n');
		uintptr_t low = strtoul(line, &line, 16), high = strtoul(line + 1, NULL, 16);
		size_t left = (high - low) / mem_page();
		off_t at = (off_t)(low / mem_page() * sizeof(entries[0]));

		while (left) {
			size_t step = left < KTAP_COUNT(entries) ? left : KTAP_COUNT(entries);
			ssize_t got = pread(fd, entries, step * sizeof(entries[0]), at);

			/* Addresses past the task's, such as x86's vsyscall page, read as none. */
			if (got <= 0)
				break;
			for (size_t i = 0; i < (size_t)got / sizeof(entries[0]); i++)
				slots += mem_is_swap_slot(entries[i]);
			at += got;
			left -= (size_t)got / sizeof(entries[0]);
		}
		line = end ? end + 1 : text + strlen(text);
	}
	close(fd);
	return slots;
}

static int read_status(pid_t pid, struct rss *rss)
{
	if (slurp_pid(pid, "status"))
		return -1;
	rss->rss_anon = proc_pages(text, "RssAnon");
	rss->vm_swap = proc_pages(text, "VmSwap");
	/* VmSwap is absent without CONFIG_SWAP in no kernel we know; a zombie lacks both. */
	return rss->rss_anon < 0 || rss->vm_swap < 0 ? -1 : 0;
}

struct rss rss_read(pid_t pid)
{
	struct rss rss = { 0 }, again = { 0 };

	/*
	 * The process may be this one, and reading may touch a page of it for the first time:
	 * take it again until nothing changed while the page tables were walked.
	 */
	for (int attempt = 0; attempt < 8; attempt++) {
		CHECK(!read_status(pid, &rss), "/proc/%d/status has no RssAnon", (int)pid);
		rss.walk_anon = slurp_pid(pid, "smaps_rollup") ? -1 : proc_pages(text, "Anonymous");
		rss.walk_swap = count_swap_slots(pid);
		CHECK(!read_status(pid, &again), "/proc/%d/status has no RssAnon", (int)pid);
		if (rss.rss_anon == again.rss_anon && rss.vm_swap == again.vm_swap)
			break;
	}
	return rss;
}

/*
 * Until v6.1 each task keeps its own counts and hands them over when the 66th fault since the last
 * time begins (check_sync_rss_stat() in mm/memory.c: events++ > TASK_RSS_EVENTS_THRESH, 64).
 */
#define SPLIT_RSS_FAULTS 66

static long measure_tolerance(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), batch = cpus > 16 ? 2 * cpus : 32;
	long touches = 2 * batch + 16, still = 0, jumps = 0, last, now;
	cpu_set_t allowed, one;
	struct rss rss;
	char *pages;

	prefault();
	/* On one CPU a batched counter must jump within its batch. */
	if (!sched_getaffinity(0, sizeof(allowed), &allowed)) {
		CPU_ZERO(&one);
		CPU_SET(sched_getcpu(), &one);
		(void)sched_setaffinity(0, sizeof(one), &one);
	}
	pages = mem_map((size_t)touches * mem_page(), 0);
	mem_no_huge(pages, (size_t)touches * mem_page());
	CHECK(!read_status(getpid(), &rss), "/proc/self/status has no RssAnon");
	last = rss.rss_anon;
	for (long i = 0; i < touches; i++) {
		*(volatile char *)(pages + (size_t)i * mem_page()) = 1;
		CHECK(!read_status(getpid(), &rss), "/proc/self/status has no RssAnon");
		now = rss.rss_anon;
		still += now == last;
		jumps += now > last + 1;
		last = now;
	}
	munmap(pages, (size_t)touches * mem_page());
	(void)sched_setaffinity(0, sizeof(allowed), &allowed);
	if (!still || !jumps)
		return 0;
	return batch * cpus > SPLIT_RSS_FAULTS ? batch * cpus : SPLIT_RSS_FAULTS;
}

long rss_tolerance(void)
{
	static long tolerance = -1;

	if (tolerance < 0)
		tolerance = measure_tolerance();
	return tolerance;
}

struct rss rss_ledger(const char *step, pid_t pid)
{
	long tolerance = rss_tolerance();
	struct rss rss = rss_read(pid);

	if (rss.walk_anon < 0 || rss.walk_swap < 0)
		ktap_skip("no page walk: CONFIG_PROC_PAGE_MONITOR is off");
	ktap_diag("LEDGER step=%s pid=%d rss_anon=%ld walk_anon=%ld vm_swap=%ld walk_swap=%ld "
		  "tolerance=%ld",
		  step, (int)pid, rss.rss_anon, rss.walk_anon, rss.vm_swap, rss.walk_swap, tolerance);
	return rss;
}

void rss_agree(const char *step, const struct rss *rss)
{
	long tolerance = rss_tolerance();

	CHECK(labs(rss->rss_anon - rss->walk_anon) <= tolerance,
	      "%s: RssAnon: got %ld pages, expected %ld by page walk (tolerance %ld)", step,
	      rss->rss_anon, rss->walk_anon, tolerance);
	CHECK(labs(rss->vm_swap - rss->walk_swap) <= tolerance,
	      "%s: VmSwap: got %ld pages, expected %ld by page walk (tolerance %ld)", step,
	      rss->vm_swap, rss->walk_swap, tolerance);
}

struct rss rss_check(const char *step, pid_t pid)
{
	struct rss rss = rss_ledger(step, pid);

	rss_agree(step, &rss);
	return rss;
}

void rss_near(const char *what, long got, long expected)
{
	/* What is expected comes from a reading too: both may be off. */
	long tolerance = 2 * rss_tolerance();

	CHECK(labs(got - expected) <= tolerance, "%s: got %ld pages, expected %ld (tolerance %ld)",
	      what, got, expected, tolerance);
}

void rss_conserved(const struct rss *before, const struct rss *after)
{
	CHECK_EQ(after->walk_anon, before->walk_anon);
	CHECK_EQ(after->walk_swap, before->walk_swap);
	rss_near("RssAnon", after->rss_anon, before->rss_anon);
	rss_near("VmSwap", after->vm_swap, before->vm_swap);
}

long sys_vmstat(const char *name)
{
	(void)proc_read("/proc/vmstat", text, sizeof(text));
	return proc_field(text, name);
}

long sys_meminfo(const char *name)
{
	(void)proc_read("/proc/meminfo", text, sizeof(text));
	return proc_pages(text, name);
}

void sys_refresh(void)
{
	proc_write("/proc/sys/vm/stat_refresh", "1");
}
