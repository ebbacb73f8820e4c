/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a process holds pages: an io_uring with fixed buffers and no rings of its own, and a pipe.
 */
#ifndef LAB_EXPLORE_CALLS_PIN_H
#define LAB_EXPLORE_CALLS_PIN_H

#include <sys/uio.h>

#include "calls.h"

#define SYS_IO_URING_SETUP 425
#define SYS_IO_URING_REGISTER 427
#define URING_REGISTER_BUFFERS 0
#define URING_UNREGISTER_BUFFERS 1

static inline int uring_open(void)
{
	char params[120] = { 0 }; /* struct io_uring_params: all that it needs is said by zeros */

	return (int)syscall(SYS_IO_URING_SETUP, 1, params);
}

static inline int worker_pin(const struct step *step)
{
	struct iovec buffer = { address(step->at), step->n * mem_page() };

	if (step->op == OP_UNPIN)
		return (int)syscall(SYS_IO_URING_REGISTER, worker.ring, URING_UNREGISTER_BUFFERS, NULL, 0);
	if (worker.ring < 0)
		worker.ring = uring_open();
	return worker.ring < 0 ? -1 :
				 (int)syscall(SYS_IO_URING_REGISTER, worker.ring, URING_REGISTER_BUFFERS, &buffer, 1);
}

static inline int worker_splice(const struct step *step)
{
	struct iovec page = { address(step->at), mem_page() };
	ssize_t got;

	if (step->op == OP_SPLICE) {
		got = vmsplice(worker.pipe[1], &page, 1, SPLICE_F_NONBLOCK);
		errno = got >= 0 ? EXDEV : errno;
		return got == (ssize_t)mem_page() ? 0 : -1;
	}
	while ((got = read(worker.pipe[0], worker.source, mem_page())) > 0)
		;
	return got < 0 && errno == EAGAIN ? 0 : -1;
}

/* What a process has inherited is its parent's. */
static inline int worker_holders_anew(void)
{
	if (worker.ring >= 0)
		close(worker.ring);
	worker.ring = -1;
	for (int i = 0; i < 2; i++)
		if (worker.pipe[i] > 0)
			close(worker.pipe[i]);
	return pipe2(worker.pipe, O_CLOEXEC | O_NONBLOCK);
}

#endif
