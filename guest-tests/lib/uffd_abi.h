/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The userfaultfd ABI, written out: the build host's <linux/userfaultfd.h> may be older than the
 * move ioctl.  Numbers and layouts are those of include/uapi/linux/userfaultfd.h of v6.12, and the
 * move ioctl's are the same in the series of 2023 that called it UFFDIO_REMAP.  Do not include the
 * system header beside this one.
 */
#ifndef LAB_UFFD_ABI_H
#define LAB_UFFD_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

#define UFFD_API ((uint64_t)0xAA)

/* Features of UFFDIO_API. */
#define UFFD_FEATURE_SIGBUS ((uint64_t)1 << 7)
#define UFFD_FEATURE_MOVE ((uint64_t)1 << 16)

#define UFFDIO_REGISTER_MODE_MISSING ((uint64_t)1 << 0)

/* Bits of the ioctls masks, and the ioctl numbers. */
#define UFFDIO_NR_REGISTER 0x00
#define UFFDIO_NR_WAKE 0x02
#define UFFDIO_NR_COPY 0x03
#define UFFDIO_NR_MOVE 0x05
#define UFFDIO_NR_API 0x3F

#define UFFDIO_MOVE_MODE_DONTWAKE ((uint64_t)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((uint64_t)1 << 1)

#define UFFD_EVENT_PAGEFAULT 0x12

struct uffdio_api {
	uint64_t api;
	uint64_t features;
	uint64_t ioctls;
};

struct uffdio_range {
	uint64_t start;
	uint64_t len;
};

struct uffdio_register {
	struct uffdio_range range;
	uint64_t mode;
	uint64_t ioctls;
};

/* "copied" is written by the kernel as "moved" below is. */
struct uffdio_copy {
	uint64_t dst;
	uint64_t src;
	uint64_t len;
	uint64_t mode;
	int64_t copied;
};

/* "moved" is written by the kernel and never read by it: bytes moved, or a negative errno. */
struct uffdio_move {
	uint64_t dst;
	uint64_t src;
	uint64_t len;
	uint64_t mode;
	int64_t moved;
};

struct uffd_msg {
	uint8_t event;
	uint8_t reserved1;
	uint16_t reserved2;
	uint32_t reserved3;
	struct {
		uint64_t flags;
		uint64_t address;
		uint64_t ptid;
	} pagefault;
};

#define UFFDIO_API _IOWR(0xAA, UFFDIO_NR_API, struct uffdio_api)
#define UFFDIO_REGISTER _IOWR(0xAA, UFFDIO_NR_REGISTER, struct uffdio_register)
#define UFFDIO_WAKE _IOR(0xAA, UFFDIO_NR_WAKE, struct uffdio_range)
#define UFFDIO_COPY _IOWR(0xAA, UFFDIO_NR_COPY, struct uffdio_copy)
#define UFFDIO_MOVE _IOWR(0xAA, UFFDIO_NR_MOVE, struct uffdio_move)

_Static_assert(sizeof(struct uffdio_move) == 40, "the move ioctl takes 40 bytes");
_Static_assert(sizeof(struct uffd_msg) == 32, "a userfaultfd message has 32 bytes");

#endif
