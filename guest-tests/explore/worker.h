/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The processes of a program: each does what it is told and answers, and knows nothing of the model.
 *
 * They are children of the one that tells them, those that a step forks as well (CLONE_PARENT), and die with
 * it.  They are told through sockets, so that they share no memory but what the program says.
 */
#ifndef LAB_EXPLORE_WORKER_H
#define LAB_EXPLORE_WORKER_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "model.h"
#include "procfile.h"
#include "uffd_abi.h"

/*
 * Below where programs are linked to (4 MiB), above what vm.mmap_min_addr forbids.  No aligned huge page
 * fits in: 32 pages of 64 KiB are 2 MiB, and a huge page is 512 MiB there.
 */
#define ARENA ((char *)((uintptr_t)1 << 20))

/* Of madvise() and mremap(); the build host's headers may be older. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define REMAP_DONTUNMAP 4
#define CLONE_PARENT_ (1 << 15) /* <sched.h> has it with all its names */

struct uffdio_zeropage_ {
	struct uffdio_range range;
	uint64_t mode;
	int64_t zeroed;
};
#define UFFDIO_ZEROPAGE_ _IOWR(0xAA, 0x04, struct uffdio_zeropage_)
#define UFFDIO_COPY_MODE_WP_ ((uint64_t)1 << 1)

/* What a worker says of a step. */
struct reply {
	struct answer answer;
	pid_t child;
};

static struct {
	int ends[PROCESSES][2]; /* the teller's end, the worker's */
	int self;
	int uffd;
	unsigned int can;
	char *source; /* pages to copy from */
	sigjmp_buf escape;
	volatile sig_atomic_t trapping;
	int parts;
	struct {
		char *start;
		size_t len;
		int writable;
	} part[8]; /* of the program's file, as it is mapped */
} worker;

static inline char *address(int page)
{
	return ARENA + (size_t)page * mem_page();
}

static inline char *spot(int page, int which)
{
	return address(page) + (size_t)which * (mem_page() / SPOTS);
}

/* Where the program's own file is mapped: one that is linked statically is the only file there. */
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

static void worker_trapped(int signal)
{
	if (!worker.trapping)
		_exit(3);
	siglongjmp(worker.escape, signal);
}

/* An access that may raise a signal. */
static inline void worker_access(const struct step *step, struct answer *answer)
{
	int signal = sigsetjmp(worker.escape, 1);

	worker.trapping = !signal;
	if (signal) {
		answer->err = signal == SIGBUS ? SIGNAL_BUS : SIGNAL_SEGV;
		return;
	}
	if (step->op == OP_READ)
		answer->value = *(volatile uint8_t *)spot(step->at, step->spot);
	else if (step->op == OP_POKE)
		*(volatile uint8_t *)spot(step->at, step->spot) = step->byte;
	else
		memset(address(step->at), step->byte, mem_page());
	worker.trapping = 0;
}

static inline int protection(int prot)
{
	return prot == PROT_NO ? PROT_NONE : prot == PROT_R ? PROT_READ : PROT_READ | PROT_WRITE;
}

static inline int worker_map(const struct step *step)
{
	int flags = MAP_ANONYMOUS | (step->how & MAP_HOW_SHARED ? MAP_SHARED : MAP_PRIVATE) |
		    (step->how & MAP_HOW_NOREPLACE ? MAP_FIXED_NOREPLACE : MAP_FIXED) |
		    (step->how & MAP_HOW_POPULATE ? MAP_POPULATE : 0) |
		    (step->how & MAP_HOW_NORESERVE ? MAP_NORESERVE : 0);
	void *want = address(step->at), *got;

	got = mmap(want, step->n * mem_page(), protection(step_prot_of(step)), flags, -1, 0);
	if (got == MAP_FAILED)
		return -1;
	errno = EXDEV; /* no errno of mmap(): it went elsewhere */
	return got == want ? 0 : -1;
}

static inline int worker_remap(const struct step *step)
{
	size_t len = step->n * mem_page(), more = step->len * mem_page();
	void *want = address(step->op == OP_RESIZE ? step->at : step->to), *got;

	if (step->op == OP_RESIZE)
		got = mremap(address(step->at), len, more, 0);
	else if (step->op == OP_REMAP)
		got = mremap(address(step->at), len, more, MREMAP_MAYMOVE | MREMAP_FIXED, want);
	else
		got = mremap(address(step->at), len, len,
			     MREMAP_MAYMOVE | MREMAP_FIXED | REMAP_DONTUNMAP, want);
	if (got == MAP_FAILED)
		return -1;
	errno = EXDEV;
	return got == want ? 0 : -1;
}

static inline int worker_uffd(const struct step *step)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS };

	if (worker.can & CAN_MOVE)
		api.features |= UFFD_FEATURE_MOVE;
	if (worker.can & CAN_WP)
		api.features |= UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	if (step->how == UFFD_MARKERS)
		api.features |= UFFD_FEATURE_WP_UNPOPULATED;
	worker.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	return worker.uffd < 0 ? -1 : ioctl(worker.uffd, UFFDIO_API, &api);
}

/* An ioctl of the userfaultfd; *done is how many pages it says were done. */
static inline int worker_ioctl(const struct step *step, int *done)
{
	struct uffdio_range range = { (uint64_t)(uintptr_t)address(step->at), step->n * mem_page() };
	struct uffdio_register reg = { .range = range, .mode = step->how };
	struct uffdio_copy copy = { .dst = range.start,
				    .src = (uint64_t)(uintptr_t)worker.source,
				    .len = range.len,
				    .mode = step->how ? UFFDIO_COPY_MODE_WP_ : 0 };
	struct uffdio_zeropage_ zero = { .range = range };
	struct uffdio_writeprotect protect = { .range = range };
	struct uffdio_move move = { .dst = (uint64_t)(uintptr_t)address(step->to),
				    .src = range.start,
				    .len = range.len,
				    .mode = step->how ? UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES : 0 };
	int64_t bytes = 0;
	int result;

	switch (step->op) {
	case OP_REGISTER:
		return ioctl(worker.uffd, UFFDIO_REGISTER, &reg);
	case OP_UNREGISTER:
		return ioctl(worker.uffd, UFFDIO_UNREGISTER, &range);
	case OP_WAKE:
		return ioctl(worker.uffd, UFFDIO_WAKE, &range);
	case OP_COPY:
		memset(worker.source, step->byte, range.len);
		result = ioctl(worker.uffd, UFFDIO_COPY, &copy);
		bytes = copy.copied;
		break;
	case OP_ZEROPAGE:
		result = ioctl(worker.uffd, UFFDIO_ZEROPAGE_, &zero);
		bytes = zero.zeroed;
		break;
	case OP_MOVE:
		result = ioctl(worker.uffd, UFFDIO_MOVE, &move);
		bytes = move.moved;
		break;
	default:
		protect.mode = step->op == OP_PROTECT ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
		return ioctl(worker.uffd, UFFDIO_WRITEPROTECT, &protect);
	}
	*done = bytes > 0 ? (int)(bytes / (int64_t)mem_page()) : 0;
	return result;
}

static inline int worker_advise(const struct step *step)
{
	static const int advice[OPS] = {
		[OP_DONTNEED] = MADV_DONTNEED,
		[OP_FREE] = MADV_FREE,
		[OP_COLD] = MADV_COLD,
		[OP_PAGEOUT] = MADV_PAGEOUT,
		[OP_WILLNEED] = MADV_WILLNEED,
		[OP_POPULATE_READ] = MADV_POPULATE_READ,
		[OP_POPULATE_WRITE] = MADV_POPULATE_WRITE,
		[OP_HUGEPAGE] = MADV_HUGEPAGE,
		[OP_NOHUGEPAGE] = MADV_NOHUGEPAGE,
		[OP_COLLAPSE] = MADV_COLLAPSE,
		[OP_MERGEABLE] = MADV_MERGEABLE,
		[OP_UNMERGEABLE] = MADV_UNMERGEABLE,
		[OP_DONTFORK] = MADV_DONTFORK,
		[OP_DOFORK] = MADV_DOFORK,
		[OP_WIPEONFORK] = MADV_WIPEONFORK,
		[OP_KEEPONFORK] = MADV_KEEPONFORK,
	};

	return madvise(address(step->at), step->n * mem_page(), advice[step->op]);
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
	worker_settle();
	/* It has let go of what it inherited: a userfaultfd is closed when nobody has it open any more. */
	if (write(worker.ends[slot][1], &ready, sizeof(ready)) != (ssize_t)sizeof(ready))
		_exit(1);
	worker_loop(slot);
}

static inline int worker_call(const struct step *step, struct reply *reply)
{
	void *start = address(step->at);
	size_t len = step->n * mem_page();

	switch (step->op) {
	case OP_MMAP:
		return worker_map(step);
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

static void worker_loop(int self)
{
	int end = worker.ends[self][1];
	struct reply reply;
	struct step step;

	worker.self = self;
	while (read(end, &step, sizeof(step)) == (ssize_t)sizeof(step)) {
		memset(&reply, 0, sizeof(reply));
		if (step.op == OP_READ || step.op == OP_WRITE || step.op == OP_POKE)
			worker_access(&step, &reply.answer);
		else if (step.op != OP_EXIT && worker_call(&step, &reply))
			reply.answer.err = errno;
		if (step.op == OP_EXIT)
			_exit(0);
		if (write(end, &reply, sizeof(reply)) != (ssize_t)sizeof(reply))
			break;
	}
	_exit(0);
}

/* The first process of a program; the teller's side. */
static inline pid_t worker_start(unsigned int can)
{
	struct sigaction trap = { .sa_handler = worker_trapped };
	size_t room = PAGES * mem_page();
	pid_t pid;

	for (int i = 0; i < PROCESSES; i++)
		CHECK_SYS(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, worker.ends[i]));
	pid = fork();
	CHECK(pid >= 0, "fork: %m");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Where nobody has the other ends any more, reading ends. */
	for (int i = 0; i < PROCESSES; i++)
		close(worker.ends[i][0]);
	sigaction(SIGSEGV, &trap, NULL);
	sigaction(SIGBUS, &trap, NULL);
	worker.can = can;
	worker.uffd = -1;
	worker.source = mem_map(room, 0);
	mem_no_huge(worker.source, room);
	memset(worker.source, 1, room);
	worker_find_parts();
	worker_settle();
	worker_loop(0);
}

#endif
