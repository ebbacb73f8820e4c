/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a process does something to another one's memory, has a child do it in its own, or has it scanned.
 */
#ifndef LAB_EXPLORE_CALLS_OTHER_H
#define LAB_EXPLORE_CALLS_OTHER_H

#include <sched.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "calls.h"

#define SYS_PIDFD_OPEN 434
#define SYS_PROCESS_MADVISE 440

struct errand {
	const struct step *step;
	struct answer *answer;
};

static int worker_errand(void *what)
{
	const struct errand *errand = what;

	worker_access(errand->step, errand->answer);
	_exit(0);
}

/* As vfork(2) does it, with a stack of its own: the child pokes and is gone. */
static inline int worker_vfork(const struct step *step, struct answer *answer)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct step poke = *step;
	struct errand errand = { &poke, answer };
	pid_t child;

	poke.op = OP_POKE;
	child = clone(worker_errand, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &errand);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		return -1;
	errno = answer->err;
	return answer->err ? -1 : 0;
}

static inline int worker_other_access(const struct step *step, pid_t pid, uint8_t *value)
{
	struct iovec mine = { worker.source, mem_page() }, theirs = { address(step->at), mem_page() };
	ssize_t got;

	if (step->op == OP_OTHER_READ) {
		mine = (struct iovec){ value, 1 };
		theirs = (struct iovec){ spot(step->at, step->spot), 1 };
		got = process_vm_readv(pid, &mine, 1, &theirs, 1, 0);
	} else {
		memset(worker.source, step->byte, mem_page());
		got = process_vm_writev(pid, &mine, 1, &theirs, 1, 0);
	}
	errno = got >= 0 ? EXDEV : errno;
	return got == (ssize_t)mine.iov_len ? 0 : -1;
}

static inline int worker_other_advise(const struct step *step, pid_t pid)
{
	static const int advice[] = { MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED };
	struct iovec range = { address(step->at), step->n * mem_page() };
	int fd = (int)syscall(SYS_PIDFD_OPEN, pid, 0), err;
	long got;

	if (fd < 0)
		return -1;
	got = syscall(SYS_PROCESS_MADVISE, fd, &range, 1, advice[step->how], 0);
	err = got >= 0 ? EXDEV : errno;
	close(fd);
	errno = err;
	return got == (long)range.iov_len ? 0 : -1;
}

/* What a scan says of each page; with how=protect it is given no place to say anything. */
static inline int worker_scan(const struct step *step, uint8_t *seen)
{
	static struct scan_region regions[PAGES];
	struct scan scan = { .size = sizeof(scan),
			     .start = (uint64_t)(uintptr_t)address(step->at),
			     .end = (uint64_t)(uintptr_t)address(step->at + step->n) };
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), err;
	int64_t count;

	if (fd < 0)
		return -1;
	memset(seen, SCAN_UNSEEN, PAGES);
	if (step->how == SCAN_PROTECT) {
		scan.flags = 1; /* PM_SCAN_WP_MATCHING */
	} else {
		scan.vec = (uint64_t)(uintptr_t)regions;
		scan.vec_len = PAGES;
		scan.result = SCAN_CATEGORIES;
	}
	count = ioctl(fd, SCAN_IOCTL, &scan);
	err = count >= 0 && scan.walk_end != scan.end ? EXDEV : errno;
	close(fd);
	errno = err;
	for (int64_t i = 0; i < count; i++)
		for (uint64_t at = regions[i].start; at < regions[i].end; at += mem_page())
			seen[(at - (uint64_t)(uintptr_t)ARENA) / mem_page()] = (uint8_t)regions[i].categories;
	return count >= 0 && scan.walk_end == scan.end ? 0 : -1;
}

#endif
