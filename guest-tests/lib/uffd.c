// SPDX-License-Identifier: GPL-2.0-only
/* See uffd.h. */
#define _GNU_SOURCE
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"

static struct {
	int asked;
	enum uffd_shape shape;
	uint64_t features;
	uint64_t ioctls;
	char why_not[160];
} probe;

static void ask(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *page;
	int fd;

	probe.asked = 1;
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		snprintf(probe.why_not, sizeof(probe.why_not), "no userfaultfd: %s%s",
			 ktap_errno(errno),
			 errno == ENOSYS ? " (CONFIG_USERFAULTFD is off)" : "");
		return;
	}
	page = mem_map(mem_page(), 0);
	reg.range.start = (uint64_t)(uintptr_t)page;
	reg.range.len = mem_page();
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg)) {
		snprintf(probe.why_not, sizeof(probe.why_not), "userfaultfd handshake failed: %s",
			 ktap_errno(errno));
	} else {
		probe.features = api.features;
		probe.ioctls = reg.ioctls;
		if (!(reg.ioctls & (uint64_t)1 << UFFDIO_NR_MOVE))
			snprintf(probe.why_not, sizeof(probe.why_not),
				 "no move ioctl (features %#llx, register ioctls %#llx)",
				 (unsigned long long)api.features, (unsigned long long)reg.ioctls);
		else
			probe.shape = api.features & UFFD_FEATURE_MOVE ? UFFD_MAIN : UFFD_V2;
	}
	close(fd);
	munmap(page, mem_page());
}

enum uffd_shape uffd_shape(void)
{
	if (!probe.asked)
		ask();
	return probe.shape;
}

const char *uffd_why_not(void)
{
	return uffd_shape() == UFFD_NONE ? probe.why_not : NULL;
}

uint64_t uffd_features(void)
{
	uffd_shape();
	return probe.features;
}

uint64_t uffd_ioctls(void)
{
	uffd_shape();
	return probe.ioctls;
}

int uffd_open_with(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd;

	if (features & ~uffd_features())
		ktap_skip("no userfaultfd feature %#llx (features %#llx)",
			  (unsigned long long)(features & ~uffd_features()),
			  (unsigned long long)uffd_features());
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	CHECK(fd >= 0, "userfaultfd: %m");
	api.features = features | (uffd_features() & UFFD_FEATURE_MOVE);
	CHECK_SYS(ioctl(fd, UFFDIO_API, &api));
	return fd;
}

int uffd_open(int blocking)
{
	return uffd_open_with(blocking ? 0 : UFFD_FEATURE_SIGBUS);
}

uint64_t uffd_register_mode(int fd, const void *start, size_t len, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { (uint64_t)(uintptr_t)start, len },
		.mode = mode,
	};

	CHECK_SYS(ioctl(fd, UFFDIO_REGISTER, &reg));
	return reg.ioctls;
}

uint64_t uffd_register(int fd, const void *start, size_t len)
{
	return uffd_register_mode(fd, start, len, UFFDIO_REGISTER_MODE_MISSING);
}

void uffd_unregister(int fd, const void *start, size_t len)
{
	struct uffdio_range range = { (uint64_t)(uintptr_t)start, len };

	CHECK_SYS(ioctl(fd, UFFDIO_UNREGISTER, &range));
}

void uffd_protect(int fd, const void *start, size_t len, int on)
{
	struct uffdio_writeprotect protect = {
		.range = { (uint64_t)(uintptr_t)start, len },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	CHECK_SYS(ioctl(fd, UFFDIO_WRITEPROTECT, &protect));
}

void uffd_wake(int fd, const void *start, size_t len)
{
	struct uffdio_range range = { (uint64_t)(uintptr_t)start, len };

	CHECK_SYS(ioctl(fd, UFFDIO_WAKE, &range));
}

struct uffd_result uffd_move(int fd, void *dst, void *src, size_t len, uint64_t mode)
{
	struct uffdio_move move = {
		.dst = (uint64_t)(uintptr_t)dst,
		.src = (uint64_t)(uintptr_t)src,
		.len = len,
		.mode = mode,
		.moved = UFFD_UNTOUCHED,
	};
	struct uffd_result result = { 0, 0 };

	if (ioctl(fd, UFFDIO_MOVE, &move))
		result.err = errno;
	result.moved = move.moved;
	return result;
}

struct uffd_pair uffd_pair(size_t pages, unsigned int seed)
{
	struct uffd_pair pair = { .len = pages * mem_page() };

	pair.fd = uffd_open(0);
	pair.src = mem_map(pair.len, 0);
	pair.dst = mem_map(pair.len, 0);
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len);
	uffd_register(pair.fd, pair.dst, pair.len);
	mem_fill(pair.src, pair.len, seed);
	return pair;
}

struct uffd_pair uffd_pair_huge(unsigned int seed)
{
	struct uffd_pair pair = { .len = mem_huge() };

	pair.src = mem_map_huge(1, seed);
	pair.dst = mem_map(pair.len, pair.len);
	pair.fd = uffd_open(0);
	uffd_register(pair.fd, pair.dst, pair.len);
	return pair;
}

struct uffd_result uffd_try_all(const struct uffd_pair *pair)
{
	return uffd_move(pair->fd, pair->dst, pair->src, pair->len, 0);
}

void uffd_moved_all(const struct uffd_pair *pair, struct uffd_result result)
{
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, pair->len);
}

void uffd_move_all(const struct uffd_pair *pair)
{
	uffd_moved_all(pair, uffd_try_all(pair));
}

double uffd_rate(const struct uffd_pair *pair)
{
	struct uffd_pair back = { pair->fd, pair->dst, pair->src, pair->len };
	double start = mem_now_ms(), elapsed;
	size_t bytes = 0;

	uffd_register(pair->fd, pair->src, pair->len);
	do {
		uffd_move_all(pair);
		uffd_move_all(&back);
		bytes += 2 * pair->len;
		elapsed = mem_now_ms() - start;
	} while (elapsed < 150);
	return (double)bytes / 1e3 / elapsed;
}
