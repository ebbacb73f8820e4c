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

/* Flag of userfaultfd(2), and how /dev/userfaultfd makes one. */
#define UFFD_USER_MODE_ONLY 1
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)

/* Features of UFFDIO_API. */
#define UFFD_FEATURE_PAGEFAULT_FLAG_WP ((uint64_t)1 << 0)
#define UFFD_FEATURE_EVENT_FORK ((uint64_t)1 << 1)
#define UFFD_FEATURE_EVENT_REMAP ((uint64_t)1 << 2)
#define UFFD_FEATURE_EVENT_REMOVE ((uint64_t)1 << 3)
#define UFFD_FEATURE_EVENT_UNMAP ((uint64_t)1 << 6)
#define UFFD_FEATURE_SIGBUS ((uint64_t)1 << 7)
#define UFFD_FEATURE_WP_UNPOPULATED ((uint64_t)1 << 13)
#define UFFD_FEATURE_POISON ((uint64_t)1 << 14)
#define UFFD_FEATURE_WP_ASYNC ((uint64_t)1 << 15)
#define UFFD_FEATURE_MOVE ((uint64_t)1 << 16)

#define UFFDIO_REGISTER_MODE_MISSING ((uint64_t)1 << 0)
#define UFFDIO_REGISTER_MODE_WP ((uint64_t)1 << 1)

/* Bits of the ioctls masks, and the ioctl numbers. */
#define UFFDIO_NR_REGISTER 0x00
#define UFFDIO_NR_UNREGISTER 0x01
#define UFFDIO_NR_WAKE 0x02
#define UFFDIO_NR_COPY 0x03
#define UFFDIO_NR_MOVE 0x05
#define UFFDIO_NR_WRITEPROTECT 0x06
#define UFFDIO_NR_POISON 0x08
#define UFFDIO_NR_API 0x3F

#define UFFDIO_MOVE_MODE_DONTWAKE ((uint64_t)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((uint64_t)1 << 1)

#define UFFDIO_WRITEPROTECT_MODE_WP ((uint64_t)1 << 0)

#define UFFD_EVENT_PAGEFAULT 0x12
#define UFFD_EVENT_FORK 0x13
#define UFFD_EVENT_REMAP 0x14
#define UFFD_EVENT_REMOVE 0x15
#define UFFD_EVENT_UNMAP 0x16

#define UFFD_PAGEFAULT_FLAG_WRITE ((uint64_t)1 << 0)
#define UFFD_PAGEFAULT_FLAG_WP ((uint64_t)1 << 1)

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

struct uffdio_writeprotect {
	struct uffdio_range range;
	uint64_t mode;
};

struct uffdio_poison {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};

struct uffd_msg {
	uint8_t event;
	uint8_t reserved1;
	uint16_t reserved2;
	uint32_t reserved3;
	union {
		struct {
			uint64_t flags;
			uint64_t address;
			uint64_t ptid;
		} pagefault;
		struct {
			uint32_t ufd;
		} fork;
		struct {
			uint64_t from;
			uint64_t to;
			uint64_t len;
		} remap;
		struct {
			uint64_t start;
			uint64_t end;
		} remove;
	};
};

#define UFFDIO_API _IOWR(0xAA, UFFDIO_NR_API, struct uffdio_api)
#define UFFDIO_REGISTER _IOWR(0xAA, UFFDIO_NR_REGISTER, struct uffdio_register)
#define UFFDIO_UNREGISTER _IOR(0xAA, UFFDIO_NR_UNREGISTER, struct uffdio_range)
#define UFFDIO_WAKE _IOR(0xAA, UFFDIO_NR_WAKE, struct uffdio_range)
#define UFFDIO_COPY _IOWR(0xAA, UFFDIO_NR_COPY, struct uffdio_copy)
#define UFFDIO_MOVE _IOWR(0xAA, UFFDIO_NR_MOVE, struct uffdio_move)
#define UFFDIO_WRITEPROTECT _IOWR(0xAA, UFFDIO_NR_WRITEPROTECT, struct uffdio_writeprotect)
#define UFFDIO_POISON _IOWR(0xAA, UFFDIO_NR_POISON, struct uffdio_poison)

_Static_assert(sizeof(struct uffdio_move) == 40, "the move ioctl takes 40 bytes");
_Static_assert(sizeof(struct uffd_msg) == 32, "a userfaultfd message has 32 bytes");

#endif
