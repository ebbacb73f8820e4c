/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a process of a program carries a step out: the system calls, and what came of them.
 */
#ifndef LAB_EXPLORE_CALLS_H
#define LAB_EXPLORE_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "model.h"
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
#define GUARD_INSTALL 102
#define GUARD_REMOVE 103

/* ioctl(PAGEMAP_SCAN) of include/uapi/linux/fs.h, v6.12. */
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, result;
};
struct scan_region {
	uint64_t start, end, categories;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan)
#define SCAN_CATEGORIES 0xff
#define SCAN_UNSEEN 0xff /* of a page that it told nothing of: no page can be all of that */

#define FILE_NAME "memfd:explore-"

struct uffdio_zeropage_ {
	struct uffdio_range range;
	uint64_t mode;
	int64_t zeroed;
};
#define UFFDIO_ZEROPAGE_ _IOWR(0xAA, 0x04, struct uffdio_zeropage_)
#define UFFDIO_CONTINUE_ _IOWR(0xAA, 0x07, struct uffdio_poison)
#define FEATURE_MINOR_SHMEM ((uint64_t)1 << 10)
#define UFFDIO_COPY_MODE_WP_ ((uint64_t)1 << 1)

static struct {
	int ends[PROCESSES][2]; /* the teller's end, the worker's */
	int self;
	int uffd;
	int files[FILES];
	int ring, pipe[2];
	unsigned int can;
	char *source; /* pages to copy from */
	int parts;
	struct {
		char *start;
		size_t len;
		int writable;
	} part[8]; /* of the program's file, as it is mapped */
} worker;

/* Of each thread. */
static __thread sigjmp_buf escape;
static __thread volatile sig_atomic_t trapping;
static __thread int actor; /* which of those at the same time it is, the first one 0 */

/* What a thread copies from: the first one has as many pages as it likes, each of the others one behind them. */
static inline char *source(void)
{
	return worker.source + (size_t)(actor ? PAGES + actor - 1 : 0) * mem_page();
}

static inline char *address(int page)
{
	return ARENA + (size_t)page * mem_page();
}

static inline char *spot(int page, int which)
{
	return address(page) + (size_t)which * (mem_page() / SPOTS);
}

static void worker_trapped(int signal)
{
	if (!trapping)
		_exit(3);
	siglongjmp(escape, signal);
}

/* An access that may raise a signal. */
static inline void worker_access(const struct step *step, struct answer *answer)
{
	int signal = sigsetjmp(escape, 1);

	trapping = !signal;
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
	trapping = 0;
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

static inline int worker_map_file(const struct step *step)
{
	int how = file_how[step->how];
	int flags = MAP_FIXED | (how & MAP_HOW_SHARED ? MAP_SHARED : MAP_PRIVATE) |
		    (how & MAP_HOW_POPULATE ? MAP_POPULATE : 0);
	void *want = address(step->at), *got;

	got = mmap(want, step->n * mem_page(), protection(step_prot_of(step)), flags, worker.files[step->file],
		   (off_t)(step->from * mem_page()));
	if (got == MAP_FAILED)
		return -1;
	errno = EXDEV;
	return got == want ? 0 : -1;
}

/* What is done with a memfd itself; the byte that was read. */
static inline int worker_file(const struct step *step, uint8_t *value)
{
	int fd = worker.files[step->file];
	off_t from = (off_t)(step->from * mem_page());
	ssize_t got;

	switch (step->op) {
	case OP_TRUNCATE:
		return ftruncate(fd, (off_t)(step->len * mem_page()));
	case OP_PUNCH:
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from,
				 (off_t)(step->n * mem_page()));
	case OP_FILE_WRITE:
		memset(worker.source, step->byte, mem_page());
		got = pwrite(fd, worker.source, mem_page(), from);
		errno = got >= 0 ? EXDEV : errno;
		return got == (ssize_t)mem_page() ? 0 : -1;
	default:
		got = pread(fd, value, 1, from + (off_t)(step->spot * (mem_page() / SPOTS)));
		errno = got ? errno : ENODATA;
		return got == 1 ? 0 : -1;
	}
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
	if (step->how == UFFD_ASYNC)
		api.features |= UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC;
	if (worker.can & CAN_MINOR)
		api.features |= FEATURE_MINOR_SHMEM;
	if (worker.can & CAN_POISON)
		api.features |= UFFD_FEATURE_POISON;
	worker.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	return worker.uffd < 0 ? -1 : ioctl(worker.uffd, UFFDIO_API, &api);
}

/* An ioctl of the userfaultfd; *done is how many pages it says were done. */
static inline int worker_ioctl(const struct step *step, int *done)
{
	struct uffdio_range range = { (uint64_t)(uintptr_t)address(step->at), step->n * mem_page() };
	struct uffdio_register reg = { .range = range, .mode = step->how };
	struct uffdio_copy copy = { .dst = range.start,
				    .src = (uint64_t)(uintptr_t)source(),
				    .len = range.len,
				    .mode = step->how ? UFFDIO_COPY_MODE_WP_ : 0 };
	struct uffdio_zeropage_ zero = { .range = range };
	struct uffdio_writeprotect protect = { .range = range };
	struct uffdio_poison poison = { .range = range };
	struct uffdio_poison more = { .range = range }; /* struct uffdio_continue is the same */
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
		memset(source(), step->byte, range.len);
		result = ioctl(worker.uffd, UFFDIO_COPY, &copy);
		bytes = copy.copied;
		break;
	case OP_ZEROPAGE:
		result = ioctl(worker.uffd, UFFDIO_ZEROPAGE_, &zero);
		bytes = zero.zeroed;
		break;
	case OP_POISON:
		result = ioctl(worker.uffd, UFFDIO_POISON, &poison);
		bytes = poison.updated;
		break;
	case OP_CONTINUE:
		result = ioctl(worker.uffd, UFFDIO_CONTINUE_, &more);
		bytes = more.updated;
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
		[OP_REMOVE] = MADV_REMOVE,
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
		[OP_GUARD] = GUARD_INSTALL,
		[OP_UNGUARD] = GUARD_REMOVE,
	};

	return madvise(address(step->at), step->n * mem_page(), advice[step->op]);
}

#endif
