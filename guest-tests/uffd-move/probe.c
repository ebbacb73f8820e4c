// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a program finds out that pages can be moved: the feature bit of UFFDIO_API, the ioctls mask
 * of UFFDIO_REGISTER, and what the handshake refuses.
 *
 * Source: fs/userfaultfd.c and Documentation/admin-guide/mm/userfaultfd.rst of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "uffd.h"

static int new_fd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	CHECK(fd >= 0, "userfaultfd: %m");
	return fd;
}

static void need_move(void)
{
	if (uffd_why_not())
		ktap_skip("%s", uffd_why_not());
}

static void api_handshake(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = new_fd();

	CHECK_SYS(ioctl(fd, UFFDIO_API, &api));
	CHECK_EQ(api.api, UFFD_API);
	CHECK(api.ioctls >> UFFDIO_NR_REGISTER & 1, "ioctls %#llx lack UFFDIO_REGISTER",
	      (unsigned long long)api.ioctls);
	close(fd);
}

static void unknown_feature(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = (uint64_t)1 << 63 };
	int fd = new_fd();

	CHECK_ERRNO(ioctl(fd, UFFDIO_API, &api) ? errno : 0, EINVAL);
	/* The kernel clears the structure where it refuses. */
	CHECK_EQ(api.api, 0);
	close(fd);
}

static void move_available(void)
{
	need_move();
	ktap_diag("%s: features %#llx, register ioctls %#llx",
		  uffd_shape() == UFFD_MAIN ? "UFFDIO_MOVE" : "UFFDIO_REMAP of 2023",
		  (unsigned long long)uffd_features(), (unsigned long long)uffd_ioctls());
}

/*
 * A kernel that names the feature must offer the ioctl, and one that does not must offer neither,
 * unless its ioctl is that of 2023, which has no feature bit.
 */
static void feature_matches_ioctl(void)
{
	int feature = (uffd_features() & UFFD_FEATURE_MOVE) != 0;
	int bit = (uffd_ioctls() >> UFFDIO_NR_MOVE & 1) != 0;

	CHECK_EQ(feature, uffd_shape() == UFFD_V2 ? 0 : bit);
}

static void feature_can_be_requested(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	int fd, refused;

	need_move();
	fd = new_fd();
	refused = ioctl(fd, UFFDIO_API, &api) ? errno : 0;
	CHECK_ERRNO(refused, uffd_shape() == UFFD_MAIN ? 0 : EINVAL);
	close(fd);
}

/* Shared memory is listed with every ioctl, although a move of it is refused (see errno.c). */
static void shared_memory_mask(void)
{
	int fd;
	char *shared;
	uint64_t mask;

	need_move();
	fd = uffd_open(0);
	shared = mmap(NULL, mem_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED, "mmap: %m");
	mask = uffd_register(fd, shared, mem_page());
	CHECK(mask >> UFFDIO_NR_COPY & 1, "ioctls %#llx lack UFFDIO_COPY",
	      (unsigned long long)mask);
	close(fd);
	munmap(shared, mem_page());
}

static void before_handshake(void)
{
	struct uffd_result result;
	char *page;
	int fd;

	need_move();
	fd = new_fd();
	page = mem_map(2 * mem_page(), 0);
	result = uffd_move(fd, page, page + mem_page(), mem_page(), 0);
	CHECK_ERRNO(result.err, EINVAL);
	CHECK_EQ(result.moved, UFFD_UNTOUCHED);
	close(fd);
}

/* The size is part of the ioctl number: another one is another, unknown ioctl. */
static void other_size(void)
{
	struct uffdio_move move = { .moved = UFFD_UNTOUCHED };
	int fd;

	need_move();
	fd = uffd_open(0);
	CHECK_ERRNO(ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 0xAA, UFFDIO_NR_MOVE, 32), &move) ?
			    errno : 0,
		    EINVAL);
	CHECK_EQ(move.moved, UFFD_UNTOUCHED);
	close(fd);
}

static const struct ktap_case cases[] = {
	{ "api-handshake", api_handshake },
	{ "unknown-feature-refused", unknown_feature },
	{ "move-available", move_available },
	{ "feature-matches-ioctl", feature_matches_ioctl },
	{ "feature-can-be-requested", feature_can_be_requested },
	{ "shared-memory-mask", shared_memory_mask },
	{ "refused-before-handshake", before_handshake },
	{ "other-size-refused", other_size },
};

int main(void)
{
	const char *why = uffd_why_not();

	/* Without the system call there is nothing to ask; without the ioctl there still is. */
	return ktap_run(cases, KTAP_COUNT(cases), why && !uffd_features() && !uffd_ioctls() ? why : NULL);
}
