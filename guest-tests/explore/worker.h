/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The processes of a program: each does what it is told and answers, and knows nothing of the model.
 *
 * They are children of the one that tells them, those that a step forks as well (CLONE_PARENT), and die with
 * it.  They are told through sockets, so that they share no memory but what the program says.
 */
#ifndef LAB_EXPLORE_WORKER_H
#define LAB_EXPLORE_WORKER_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "calls.h"
#include "calls_other.h"
#include "beside.h"
#include "cover.h"
#include "calls_pin.h"
#include "fault.h"
#include "procfile.h"

#define CLONE_PARENT_ (1 << 15) /* <sched.h> has it with all its names */

/* What a worker is told: a step, and the process it is about where that is another one. */
struct order {
	struct step step;
	pid_t other;
	int others; /* so many beside it: */
	struct step beside[ACTORS - 1];
};

/* What a worker says of a step. */
struct reply {
	struct answer answer, beside[ACTORS - 1];
	pid_t child;
	int failed; /* an allocation was made to fail */
	uint8_t seen[PAGES]; /* what a scan told of each page */
};

/*
 * Where the program's own file is mapped: one that is linked statically is the only file there; what is shared with who
 * tells the processes is none of theirs.
 */
static inline void worker_find_parts(void)
{
	static char text[8192];

	if (proc_read("/proc/self/maps", text, sizeof(text)))
		return;
	for (char *line = text, *next; *line && worker.parts < 8; line = next) {
		char *start, *end;

		next = strchr(line, '\n');
		next = next ? next + 1 : line + strlen(line);
		start = (char *)strtoul(line, &end, 16);
		if (!memchr(line, '/', (size_t)(next - line)) || *end != '-')
			continue;
		if (!strchr(line, ' ') || strchr(line, ' ')[4] == 's')
			continue;
		worker.part[worker.parts].len = (size_t)((char *)strtoul(end + 1, &end, 16) - start);
		worker.part[worker.parts].start = start;
		worker.part[worker.parts++].writable = end[2] == 'w';
	}
}

/*
 * Have all of the program's file in the page table, so that its pages come and go no more: they are counted as
 * shared memory where the file lies in a tmpfs.  fork() does not copy those that are only read.
 */
static inline void worker_settle(void)
{
	for (int i = 0; i < worker.parts; i++)
		(void)madvise(worker.part[i].start, worker.part[i].len,
			      worker.part[i].writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

static void worker_loop(int self) __attribute__((noreturn));

/* The child is the new process; here its id, or -1. */
static inline pid_t worker_fork(int slot)
{
	struct reply ready = { .child = 0 };
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_PARENT_, 0, 0, 0, 0);

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (worker.uffd >= 0)
		close(worker.uffd);
	worker.uffd = -1;
	beside.there = 0;
	if (worker_holders_anew())
		_exit(1);
	worker_settle();
	/* It has let go of what it inherited: a userfaultfd is closed when nobody has it open any more. */
	if (write(worker.ends[slot][1], &ready, sizeof(ready)) != (ssize_t)sizeof(ready))
		_exit(1);
	worker_loop(slot);
}

static inline int worker_call(const struct order *order, struct reply *reply)
{
	const struct step *step = &order->step;
	void *start = address(step->at);
	size_t len = step->n * mem_page();

	switch (step->op) {
	case OP_MMAP:
		return worker_map(step);
	case OP_MAP_FILE:
		return worker_map_file(step);
	case OP_TRUNCATE:
	case OP_PUNCH:
	case OP_FILE_WRITE:
	case OP_FILE_READ:
		return worker_file(step, &reply->answer.value);
	case OP_VFORK:
		return worker_vfork(step, &reply->answer);
	case OP_OTHER_READ:
	case OP_OTHER_WRITE:
		return worker_other_access(step, order->other, &reply->answer.value);
	case OP_OTHER_ADVISE:
		return worker_other_advise(step, order->other);
	case OP_PIN:
	case OP_UNPIN:
		return worker_pin(step);
	case OP_SPLICE:
	case OP_DRAIN:
		return worker_splice(step);
	case OP_SCAN:
		return worker_scan(step, reply->seen);
	case OP_MUNMAP:
		return munmap(start, len);
	case OP_RESIZE:
	case OP_REMAP:
	case OP_LEAVE:
		return worker_remap(step);
	case OP_MPROTECT:
		return mprotect(start, len, protection(step_prot_of(step)));
	case OP_MLOCK:
		return mlock(start, len);
	case OP_MLOCK_ONFAULT:
		return mlock2(start, len, MLOCK_ONFAULT);
	case OP_MUNLOCK:
		return munlock(start, len);
	case OP_FORK:
		reply->child = worker_fork(step->to);
		return reply->child < 0 ? -1 : 0;
	case OP_UFFD:
		return worker_uffd(step);
	case OP_CLOSE:
		close(worker.uffd);
		worker.uffd = -1;
		return 0;
	default:
		return step->op > OP_UFFD ? worker_ioctl(step, &reply->answer.done) : worker_advise(step);
	}
}

/* An access or a call; its errno goes into the answer. */
static inline void worker_do(const struct order *order, struct reply *reply)
{
	const struct step *step = &order->step;

	if (step->op == OP_READ || step->op == OP_WRITE || step->op == OP_POKE)
		worker_access(step, &reply->answer);
	else if (worker_call(order, reply))
		reply->answer.err = errno;
}

struct other {
	int actor;
	struct order order;
	struct reply reply;
};

static void worker_other(void *what)
{
	struct other *other = what;

	actor = other->actor;
	worker_do(&other->order, &other->reply);
}

/* A step, and others at the same time. */
static inline void worker_do_all(const struct order *order, struct reply *reply)
{
	static struct other others[ACTORS - 1];

	memset(others, 0, sizeof(others));
	beside_begin(1 + order->others);
	for (int i = 0; i < order->others; i++) {
		others[i].actor = i + 1;
		others[i].order.step = order->beside[i];
		beside_start(i, worker_other, &others[i]);
	}
	beside_meet();
	worker_do(order, reply);
	beside_end();
	for (int i = 0; i < order->others; i++)
		reply->beside[i] = others[i].reply.answer;
}

static void worker_loop(int self)
{
	int end = worker.ends[self][1];
	struct reply reply;
	struct order order;

	worker.self = self;
	while (read(end, &order, sizeof(order)) == (ssize_t)sizeof(order)) {
		const struct step step = order.step;
		int armed;

		if (step.op != OP_EXIT)
			cover_begin(self);
		armed = fault_arm(step.fail);
		memset(&reply, 0, sizeof(reply));
		if (order.others) {
			worker_do_all(&order, &reply);
		} else if (step.op != OP_EXIT) {
			worker_do(&order, &reply);
		}
		reply.failed = fault_disarm(armed);
		if (step.op == OP_EXIT)
			_exit(0);
		cover_end(self);
		if (write(end, &reply, sizeof(reply)) != (ssize_t)sizeof(reply))
			break;
	}
	_exit(0);
}

/* The first process of a program, which says a first reply when it has settled; the teller's side. */
static inline pid_t worker_start(unsigned int can, void (*enter)(unsigned int))
{
	static const char zeros[65536];
	struct reply ready = { .child = 0 };
	struct sigaction trap = { .sa_handler = worker_trapped };
	size_t room = (PAGES + ACTORS - 1) * mem_page();
	pid_t pid;

	for (int i = 0; i < PROCESSES; i++)
		CHECK_SYS(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, worker.ends[i]));
	for (int i = 0; i < FILES; i++) {
		char name[] = "explore-a";

		name[sizeof(name) - 2] = (char)('a' + i);
		worker.files[i] = memfd_create(name, MFD_CLOEXEC);
		CHECK(worker.files[i] >= 0, "memfd_create: %m");
		CHECK_SYS(ftruncate(worker.files[i], (off_t)(file_pages[i] * mem_page())));
		for (int k = 0; k < file_filled[i]; k++)
			CHECK(pwrite(worker.files[i], zeros, mem_page(), (off_t)(k * mem_page())) ==
				      (ssize_t)mem_page(),
			      "pwrite: %m");
	}
	pid = fork();
	CHECK(pid >= 0, "fork: %m");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter)
		enter(can);
	/* Where nobody has the other ends any more, reading ends. */
	for (int i = 0; i < PROCESSES; i++)
		close(worker.ends[i][0]);
	sigaction(SIGSEGV, &trap, NULL);
	sigaction(SIGBUS, &trap, NULL);
	worker.can = can;
	worker.uffd = worker.ring = -1;
	CHECK_SYS(worker_holders_anew());
	worker.source = mem_map(room, 0);
	mem_no_huge(worker.source, room);
	memset(worker.source, 1, room);
	worker_find_parts();
	worker_settle();
	if (write(worker.ends[0][1], &ready, sizeof(ready)) != (ssize_t)sizeof(ready))
		_exit(1);
	worker_loop(0);
}

#endif
