/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Moving pages with userfaultfd: which shape of the ioctl the kernel has, and calls that check.
 */
#ifndef LAB_UFFD_H
#define LAB_UFFD_H

#include <stddef.h>
#include <stdint.h>

#include "uffd_abi.h"

/*
 * MAIN: UFFDIO_MOVE as merged in v6.8: has a feature bit, dst must be registered with the very
 * userfaultfd, refuses another process's memory.  V2: UFFDIO_REMAP of the second series of 2023:
 * no feature bit, src or dst registered with any userfaultfd, moves across processes.
 */
enum uffd_shape { UFFD_NONE, UFFD_MAIN, UFFD_V2 };

/* What this kernel has.  Asked once; never by trying the ioctl, whose EINVAL says nothing. */
enum uffd_shape uffd_shape(void);

/* Why uffd_shape() is UFFD_NONE, as a skip reason; NULL where there is a move ioctl. */
const char *uffd_why_not(void);

/* The masks the answer was read from: UFFDIO_API's features, UFFDIO_REGISTER's ioctls. */
uint64_t uffd_features(void);
uint64_t uffd_ioctls(void);

/*
 * A userfaultfd after the API handshake, with UFFD_FEATURE_MOVE where the kernel has it.  Faults
 * on missing pages raise SIGBUS unless blocking is set: a workload that nobody serves must not
 * hang.
 */
int uffd_open(int blocking);

/* The same with these features besides; skips the case where the kernel lacks one of them. */
int uffd_open_with(uint64_t features);

/* Register for missing faults, or for UFFDIO_REGISTER_MODE_*; returns the ioctls mask. */
uint64_t uffd_register(int fd, const void *start, size_t len);
uint64_t uffd_register_mode(int fd, const void *start, size_t len, uint64_t mode);
void uffd_unregister(int fd, const void *start, size_t len);

/* Write-protect a range, or take that back, which wakes who waits for it. */
void uffd_protect(int fd, const void *start, size_t len, int on);

/* Wake who waits in a fault on a range. */
void uffd_wake(int fd, const void *start, size_t len);

/* One call of the ioctl: errno (0 on success) and what the kernel left in the last field. */
struct uffd_result {
	int err;
	int64_t moved;
};

/* What uffd_move() puts into the last field before the call. */
#define UFFD_UNTOUCHED ((int64_t)0x5a5a5a5a5a5a5a5a)

struct uffd_result uffd_move(int fd, void *dst, void *src, size_t len, uint64_t mode);

/* A populated source and an empty destination of len bytes registered with fd. */
struct uffd_pair {
	int fd;
	char *src;
	char *dst;
	size_t len;
};

/* Base pages only; src holds mem_fill(seed). */
struct uffd_pair uffd_pair(size_t pages, unsigned int seed);

/* One huge page as the source, and a destination that can take it so; skips where there is none. */
struct uffd_pair uffd_pair_huge(unsigned int seed);

/*
 * Move all of it in one call; uffd_moved_all() fails the case unless that was a complete success.
 * Two steps, so that the ledger is read in between even where the call fails.
 */
struct uffd_result uffd_try_all(const struct uffd_pair *pair);
void uffd_moved_all(const struct uffd_pair *pair, struct uffd_result result);

/* Both steps. */
void uffd_move_all(const struct uffd_pair *pair);

/*
 * Megabytes (10^6 bytes) a second that moving pair's pages back and forth reaches.  It runs for at
 * least 150 ms: a guest's clock may tick only every 10 ms (v6.12 x86 without a usable TSC).
 * Registers the source too.
 */
double uffd_rate(const struct uffd_pair *pair);

#endif
