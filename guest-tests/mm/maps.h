/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What /proc says of a process and of its mappings, in pages: the lines of /proc/PID/status and of
 * /proc/PID/smaps (Documentation/filesystems/proc.rst).  Read through buffers that were touched before,
 * because the reader's own pages are counted too.
 */
#ifndef LAB_MM_MAPS_H
#define LAB_MM_MAPS_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "procfile.h"

static char maps_text[256 * 1024];

/* A line of /proc/PID/status in KiB, in pages. */
static inline long maps_status_of(pid_t pid, const char *name)
{
	char path[64], text[8192];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	CHECK(!proc_read(path, text, sizeof(text)), "%s: %m", path);
	return proc_pages(text, name);
}

static inline long maps_status(const char *name)
{
	return maps_status_of(getpid(), name);
}

/* Lines of one mapping after another: where the header of the next one begins, or NULL. */
static inline char *maps_next(char *at, uintptr_t *low, uintptr_t *high)
{
	unsigned long from, to;

	for (; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (sscanf(at, "%lx-%lx ", &from, &to) == 2) {
			*low = from;
			*high = to;
			return at;
		}
	}
	return NULL;
}

static inline void maps_read(void)
{
	CHECK(!proc_read("/proc/self/smaps", maps_text, sizeof(maps_text)),
	      "/proc/self/smaps: %m (CONFIG_PROC_PAGE_MONITOR)");
}

/* The sum of a line over the mappings that overlap a range, in pages; without a name their number. */
static inline long maps_sum(const void *start, size_t len, const char *name)
{
	uintptr_t from = (uintptr_t)start, low, high;
	char *at, *next;
	long sum = 0;

	maps_read();
	for (at = maps_next(maps_text, &low, &high); at; at = next) {
		int inside = low < from + len && high > from;
		uintptr_t l = 0, h = 0;
		char *body = strchr(at, '\n');

		next = body ? maps_next(body, &l, &h) : NULL;
		if (next)
			next[-1] = 0;
		if (inside)
			sum += name && body ? proc_pages(body, name) : 1;
		if (next)
			next[-1] = '\n';
		low = l;
		high = h;
	}
	return sum;
}

static inline long maps_count(const void *start, size_t len)
{
	return maps_sum(start, len, NULL);
}

/* Whether the mapping at an address has a flag of two letters in VmFlags. */
static inline int maps_flag(const void *address, const char *flag)
{
	uintptr_t low, high;
	char word[8], *at, *line, *end, *found;

	snprintf(word, sizeof(word), " %s ", flag);
	maps_read();
	for (at = maps_next(maps_text, &low, &high); at;
	     at = maps_next(strchr(at, '\n'), &low, &high)) {
		if (low > (uintptr_t)address || high <= (uintptr_t)address)
			continue;
		line = strstr(at, "\nVmFlags:");
		CHECK(line, "no VmFlags in smaps");
		end = strchr(line + 1, '\n');
		found = strstr(line, word);
		return found && found < end;
	}
	FAIL("nothing is mapped at %p", address);
}

/* Where a child skips: the reason goes where the parent, whose case it is, finds it. */
static char *maps_reason;

static inline void maps_skip(const char *reason)
{
	if (maps_reason)
		snprintf(maps_reason, mem_page(), "%s", reason);
	_exit(KTAP_EXIT_SKIP);
}

/*
 * Take what writing copies and what faults in of the process itself, program, stack and all: what is
 * counted after this is the case's own.
 */
static inline void maps_settle(void)
{
	volatile char deep[128 * 1024];

	for (size_t at = 0; at < sizeof(deep); at += mem_page())
		deep[at] = 0;
	CHECK_SYS(mlockall(MCL_CURRENT));
	CHECK_SYS(munlockall());
}

extern const char __executable_start[], end[];

/*
 * For a child that is to keep what it shares: the program's own pages only.  fork() leaves pages of files to
 * be faulted in anew, several at once, and the program may lie on a tmpfs.
 */
static inline void maps_settle_program(void)
{
	uintptr_t page = mem_page();

	for (uintptr_t at = (uintptr_t)__executable_start / page * page; at < (uintptr_t)end; at += page)
		(void)mlock((void *)at, page);
	CHECK_SYS(munlockall());
}

/* Run a case in a child, so that what it locks, maps or registers is gone after it, failed or not. */
static inline void maps_in_child(void (*body)(void *))
{
	int status;
	pid_t pid;

	if (!maps_reason)
		maps_reason = mmap(NULL, mem_page(), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = child_start(body, NULL);
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	if (WIFEXITED(status) && WEXITSTATUS(status) == KTAP_EXIT_SKIP)
		ktap_skip("%s", maps_reason);
	CHECK(!status, "child: got wait status %#x, expected exit status 0", (unsigned int)status);
}

#define IN_CHILD(name)                                                                             \
	static void name(void)                                                                     \
	{                                                                                          \
		maps_in_child(name##_body);                                                        \
	}

#endif
