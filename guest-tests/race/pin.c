// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that the kernel holds on to while they are moved.  A page that is pinned (a buffer
 * registered with io_uring for long, process_vm_readv() for a moment) stays where it is: a move
 * answers EBUSY, before the pin or after it but not in between.  A page in a pipe (vmsplice()) has
 * one more reference and is no such page: it moves, and the pipe shows its bytes.
 *
 * Source: move_present_pte() in mm/userfaultfd.c of v6.12 (folio_maybe_dma_pinned(), asked again
 * after the entry was cleared), Documentation/core-api/pin_user_pages.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mem.h"
#include "race.h"

#define PAGES 64

/* include/uapi/linux/io_uring.h: 120 bytes of parameters, IORING_(UN)REGISTER_BUFFERS. */
#define RING_REGISTER_BUFFERS 0
#define RING_UNREGISTER_BUFFERS 1

/* Stamps of the pages as they were read one after another; bytes tells how many there are. */
static void check_pages(const char *how, const char *buffer, size_t bytes, size_t start)
{
	for (size_t i = 0; i < bytes / mem_page(); i++)
		if (!race_stamped(buffer + i * mem_page(), start + i))
			race_fail("page %zu as %s shows it has not its stamps", start + i, how);
}

static char *buffer_of(struct race_thread *self)
{
	if (!self->own && !(self->own = calloc(RACE_RUN, mem_page())))
		race_fail("out of memory");
	return self->own;
}

static void read_by_pin(struct race_thread *self)
{
	int side = (int)race_below(&self->rng, 2);
	struct iovec to, from;
	size_t start, count;
	ssize_t got;

	race_pick(self, &start, &count);
	to = (struct iovec){ buffer_of(self), count * mem_page() };
	from = (struct iovec){ race_at(self->arena, side, start), to.iov_len };
	got = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
	if (got > 0) {
		check_pages("process_vm_readv()", to.iov_base, (size_t)got, start);
		self->acts++;
	} else if (got < 0 && errno != EFAULT) {
		race_fail("process_vm_readv: %s", ktap_errno(errno));
	}
}

static void short_pin(void)
{
	race_run(&(struct race_case){
		.name = "short-pin",
		.flags = RACE_IDENTITY,
		.pages = PAGES,
		.errnos = RACE_ERRNO(EBUSY),
		.adversaries = { { "reader", read_by_pin, NULL, 0 } },
	});
}

static int rings[8];

static int ring_open(void)
{
	char parameters[120] = { 0 };

	return (int)syscall(SYS_io_uring_setup, 4u, parameters);
}

/* Between registering and unregistering, what is in the range must stay. */
static void pin_for_long(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	int side = (int)race_below(&self->rng, 2), ring = rings[self->index];
	uint64_t before[RACE_RUN], after[RACE_RUN];
	struct iovec range;
	size_t start, count;

	race_pick(self, &start, &count);
	range = (struct iovec){ race_at(arena, side, start), count * mem_page() };
	if (syscall(SYS_io_uring_register, ring, RING_REGISTER_BUFFERS, &range, 1u)) {
		if (errno == EFAULT) { /* a page of it is on the other side */
			self->conflicts++;
			return;
		}
		race_fail("io_uring_register: %s", ktap_errno(errno));
		return;
	}
	race_entries(arena, side, start, count, before);
	race_nap(self, 500);
	race_entries(arena, side, start, count, after);
	/* The shape of 2023 judges by mapcount and promises nothing about pins. */
	for (size_t i = 0; i < count && uffd_shape() == UFFD_MAIN; i++)
		if (!(before[i] & MEM_PRESENT) ||
		    (before[i] & MEM_FRAME) != (after[i] & MEM_FRAME))
			race_fail("page %zu was pinned on side %d and has gone: entries %#llx, then "
				  "%#llx",
				  start + i, side, (unsigned long long)before[i],
				  (unsigned long long)after[i]);
	if (syscall(SYS_io_uring_register, ring, RING_UNREGISTER_BUFFERS, NULL, 0u))
		race_fail("io_uring_register: unregister: %s", ktap_errno(errno));
	self->acts++;
}

static void long_pin(void)
{
	for (size_t i = 0; i < KTAP_COUNT(rings); i++) {
		rings[i] = ring_open();
		if (rings[i] < 0)
			ktap_skip("io_uring_setup: %s", ktap_errno(errno));
	}
	/* A pin for long may have a page migrated first: no identity. */
	race_run(&(struct race_case){
		.name = "long-pin",
		.pages = PAGES,
		.errnos = RACE_ERRNO(EBUSY),
		.adversaries = { { "pinner", pin_for_long, NULL, 0 } },
	});
	for (size_t i = 0; i < KTAP_COUNT(rings); i++)
		close(rings[i]);
}

static int pipes[8][2];

static void through_pipe(struct race_thread *self)
{
	int side = (int)race_below(&self->rng, 2), *ends = pipes[self->index];
	char *buffer = buffer_of(self);
	struct iovec range;
	size_t start, count, total = 0;
	ssize_t in, out;

	race_pick(self, &start, &count);
	range = (struct iovec){ race_at(self->arena, side, start), count * mem_page() };
	in = vmsplice(ends[1], &range, 1, SPLICE_F_NONBLOCK);
	if (in <= 0) {
		if (in < 0 && errno != EFAULT && errno != EAGAIN)
			race_fail("vmsplice: %s", ktap_errno(errno));
		self->conflicts++;
		return;
	}
	race_nap(self, 300);
	while (total < (size_t)in) {
		out = read(ends[0], buffer + total, (size_t)in - total);
		if (out <= 0) {
			race_fail("the pipe gave %zu of %zd bytes: %s", total, in,
				  ktap_errno(errno));
			return;
		}
		total += (size_t)out;
	}
	check_pages("the pipe", buffer, total, start);
	self->acts++;
}

static void in_pipe(void)
{
	for (size_t i = 0; i < KTAP_COUNT(pipes); i++)
		CHECK_SYS(pipe(pipes[i]));
	race_run(&(struct race_case){
		.name = "in-pipe",
		.flags = RACE_IDENTITY,
		.pages = PAGES,
		.adversaries = { { "splice", through_pipe, NULL, 0 } },
	});
	for (size_t i = 0; i < KTAP_COUNT(pipes); i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

static const struct ktap_case cases[] = {
	{ "short-pin", short_pin },
	{ "long-pin", long_pin },
	{ "in-pipe", in_pipe },
};

int main(int argc, char **argv)
{
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
