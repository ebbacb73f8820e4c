// SPDX-License-Identifier: GPL-2.0-only
/*
 * See pin.h.  io_uring by its system calls, as io_uring_setup(2), io_uring_enter(2) and
 * io_uring_register(2) have it; gup_test by the ioctls of mm/gup_test.h of v6.12.
 */
#define _GNU_SOURCE
#include "pin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"

#define DEBUGFS "/sys/kernel/debug"
#define GUP_TEST DEBUGFS "/gup_test"

struct pin_longterm_test {
	uint64_t addr;
	uint64_t size;
	uint32_t flags;
};

#define PIN_LONGTERM_TEST_START _IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP _IO('g', 8)
#define PIN_LONGTERM_TEST_READ _IOW('g', 9, uint64_t)
#define PIN_LONGTERM_TEST_FLAG_USE_WRITE 1

/* The build host's headers may be older than io_uring. */
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#define SYS_io_uring_enter 426
#define SYS_io_uring_register 427
#endif

#define IORING_OFF_SQ_RING 0
#define IORING_OFF_SQES 0x10000000
#define IORING_FEAT_SINGLE_MMAP 1
#define IORING_ENTER_GETEVENTS 1
#define IORING_REGISTER_BUFFERS 0
#define IORING_UNREGISTER_BUFFERS 1
#define IORING_OP_WRITE_FIXED 5

struct ring_params {
	uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd;
	uint32_t reserved[3];
	struct {
		uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, reserved;
		uint64_t user_addr;
	} sq;
	struct {
		uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, reserved;
		uint64_t user_addr;
	} cq;
};

struct ring_request {
	uint8_t opcode, flags;
	uint16_t priority;
	int32_t fd;
	uint64_t offset, address;
	uint32_t len, rw_flags;
	uint64_t user_data;
	uint16_t buffer;
	uint16_t personality;
	uint32_t splice_fd;
	uint64_t rest[2];
};

struct ring_answer {
	uint64_t user_data;
	int32_t result;
	uint32_t flags;
};

_Static_assert(sizeof(struct ring_params) == 120, "io_uring_setup takes 120 bytes");
_Static_assert(sizeof(struct ring_request) == 64, "a request of io_uring has 64 bytes");

static int ring_setup(struct ring_params *params)
{
	memset(params, 0, sizeof(*params));
	return (int)syscall(SYS_io_uring_setup, 4, params);
}

static int gup_test_open(void)
{
	int fd = open(GUP_TEST, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && !mount("debugfs", DEBUGFS, "debugfs", 0, NULL))
		fd = open(GUP_TEST, O_RDWR | O_CLOEXEC);
	return fd;
}

const char *pin_why_not(enum pin_by by)
{
	static char why[128];
	struct ring_params params;
	int fd = by == PIN_BY_IO_URING ? ring_setup(&params) : gup_test_open();

	if (fd >= 0) {
		close(fd);
		return NULL;
	}
	if (by == PIN_BY_IO_URING)
		snprintf(why, sizeof(why), "no io_uring: %s%s", ktap_errno(errno),
			 errno == ENOSYS ? " (CONFIG_IO_URING is off)" : "");
	else
		snprintf(why, sizeof(why), "no " GUP_TEST ": %s%s", ktap_errno(errno),
			 errno == ENOENT ? " (CONFIG_GUP_TEST is off)" : "");
	return why;
}

static void ring_start(struct pin *pin)
{
	struct iovec range = { (void *)(uintptr_t)pin->start, pin->len };
	struct ring_params params;
	size_t answers;

	pin->fd = ring_setup(&params);
	CHECK(pin->fd >= 0, "io_uring_setup: %m");
	CHECK(params.features & IORING_FEAT_SINGLE_MMAP, "io_uring without IORING_FEAT_SINGLE_MMAP");
	pin->rings_len = params.sq.array + params.sq_entries * sizeof(uint32_t);
	answers = params.cq.cqes + params.cq_entries * sizeof(struct ring_answer);
	if (pin->rings_len < answers)
		pin->rings_len = answers;
	pin->requests_len = params.sq_entries * sizeof(struct ring_request);
	pin->rings = mmap(NULL, pin->rings_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  pin->fd, IORING_OFF_SQ_RING);
	CHECK(pin->rings != MAP_FAILED, "mmap of io_uring's rings: %m");
	pin->requests = mmap(NULL, pin->requests_len, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_POPULATE, pin->fd, IORING_OFF_SQES);
	CHECK(pin->requests != MAP_FAILED, "mmap of io_uring's requests: %m");
	pin->sq_tail = params.sq.tail;
	pin->sq_mask = params.sq.ring_mask;
	pin->sq_array = params.sq.array;
	pin->cq_head = params.cq.head;
	pin->cq_tail = params.cq.tail;
	pin->cq_mask = params.cq.ring_mask;
	pin->cq_entries = params.cq.cqes;
	CHECK_SYS(syscall(SYS_io_uring_register, pin->fd, IORING_REGISTER_BUFFERS, &range, 1));
}

static uint32_t *ring_word(const struct pin *pin, uint32_t offset)
{
	return (uint32_t *)(pin->rings + offset);
}

/* Have io_uring write its fixed buffer to a file: it takes the frames that it pinned. */
static void ring_write(struct pin *pin, int file)
{
	uint32_t tail = *ring_word(pin, pin->sq_tail), head = *ring_word(pin, pin->cq_head);
	uint32_t slot = tail & *ring_word(pin, pin->sq_mask);
	struct ring_request *request = (struct ring_request *)pin->requests + slot;
	struct ring_answer *answer;

	memset(request, 0, sizeof(*request));
	request->opcode = IORING_OP_WRITE_FIXED;
	request->fd = file;
	request->address = (uintptr_t)pin->start;
	request->len = (uint32_t)pin->len;
	ring_word(pin, pin->sq_array)[slot] = slot;
	__atomic_store_n(ring_word(pin, pin->sq_tail), tail + 1, __ATOMIC_RELEASE);
	CHECK_EQ(syscall(SYS_io_uring_enter, pin->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), 1);
	CHECK(__atomic_load_n(ring_word(pin, pin->cq_tail), __ATOMIC_ACQUIRE) != head,
	      "io_uring gave no answer");
	answer = (struct ring_answer *)(pin->rings + pin->cq_entries) +
		 (head & *ring_word(pin, pin->cq_mask));
	CHECK_EQ(answer->result, pin->len);
	__atomic_store_n(ring_word(pin, pin->cq_head), head + 1, __ATOMIC_RELEASE);
}

struct pin pin_start(enum pin_by by, void *start, size_t len)
{
	struct pin_longterm_test range = { (uintptr_t)start, len, PIN_LONGTERM_TEST_FLAG_USE_WRITE };
	struct pin pin = { .by = by, .start = start, .len = len };

	if (by == PIN_BY_IO_URING) {
		ring_start(&pin);
		return pin;
	}
	pin.fd = gup_test_open();
	CHECK(pin.fd >= 0, GUP_TEST ": %m");
	CHECK_SYS(ioctl(pin.fd, PIN_LONGTERM_TEST_START, &range));
	return pin;
}

void pin_read(struct pin *pin, void *to)
{
	uint64_t address = (uintptr_t)to;
	int file;

	if (pin->by == PIN_BY_GUP_TEST) {
		CHECK_SYS(ioctl(pin->fd, PIN_LONGTERM_TEST_READ, &address));
		return;
	}
	file = (int)syscall(SYS_memfd_create, "pinned", 1U);
	CHECK(file >= 0, "memfd_create: %m");
	ring_write(pin, file);
	CHECK_EQ(pread(file, to, pin->len, 0), pin->len);
	close(file);
}

void pin_stop(struct pin *pin)
{
	if (pin->by == PIN_BY_GUP_TEST) {
		CHECK_SYS(ioctl(pin->fd, PIN_LONGTERM_TEST_STOP));
	} else {
		/* Closing the ring would unpin later, from a work queue. */
		CHECK_SYS(syscall(SYS_io_uring_register, pin->fd, IORING_UNREGISTER_BUFFERS, NULL,
				  0));
		CHECK_SYS(munmap(pin->requests, pin->requests_len));
		CHECK_SYS(munmap(pin->rings, pin->rings_len));
	}
	close(pin->fd);
	pin->fd = -1;
}
