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
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "procfile.h"
#include "trap.h"
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

/* A refused handshake is none: the same descriptor takes a better one. */
static void handshake_after_refusal(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = (uint64_t)1 << 63 };
	int fd = new_fd();

	CHECK_ERRNO(ioctl(fd, UFFDIO_API, &api) ? errno : 0, EINVAL);
	api = (struct uffdio_api){ .api = UFFD_API + 1 };
	CHECK_ERRNO(ioctl(fd, UFFDIO_API, &api) ? errno : 0, EINVAL);
	CHECK_EQ(api.api, 0);
	api = (struct uffdio_api){ .api = UFFD_API };
	CHECK_SYS(ioctl(fd, UFFDIO_API, &api));
	CHECK_EQ(api.features, uffd_features());
	close(fd);
}

/* Features that were agreed on stay: the second handshake is refused and changes nothing. */
static void handshake_twice(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS };
	int fd = new_fd();
	char *page = mem_map(mem_page(), 0);

	CHECK_SYS(ioctl(fd, UFFDIO_API, &api));
	api = (struct uffdio_api){ .api = UFFD_API };
	CHECK_ERRNO(ioctl(fd, UFFDIO_API, &api) ? errno : 0, EINVAL);
	uffd_register(fd, page, mem_page());
	CHECK_EQ(trap_read(page), SIGBUS);
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
 * A kernel that names the feature must offer the ioctl, and one that offers the ioctl must name the
 * feature: without it a program learns of the ioctl only after it registered memory, and cannot ask
 * for it in the handshake.  The series of 2023 has this defect, and a kernel that lost the bit.
 */
static void feature_matches_ioctl(void)
{
	int feature = (uffd_features() & UFFD_FEATURE_MOVE) != 0;
	int bit = (uffd_ioctls() >> UFFDIO_NR_MOVE & 1) != 0;

	CHECK(feature == bit,
	      "UFFD_FEATURE_MOVE: got %d, expected %d as the ioctls mask has it (features %#llx, "
	      "ioctls %#llx)",
	      feature, bit, (unsigned long long)uffd_features(), (unsigned long long)uffd_ioctls());
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

/* A userfaultfd, however it came into being, offers and does the same. */
static void moves_like_any(int fd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffd_pair pair;

	CHECK_SYS(ioctl(fd, UFFDIO_API, &api));
	CHECK_EQ(api.features, uffd_features());
	if (uffd_why_not())
		return;
	pair = uffd_pair(4, 1);
	uffd_unregister(pair.fd, pair.dst, pair.len);
	close(pair.fd);
	pair.fd = fd;
	CHECK_EQ(uffd_register(fd, pair.dst, pair.len), uffd_ioctls());
	uffd_move_all(&pair);
	mem_expect(pair.dst, pair.len, 1, "destination");
}

static void user_mode_only(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	CHECK(fd >= 0, "userfaultfd with UFFD_USER_MODE_ONLY: %m");
	moves_like_any(fd);
	close(fd);
}

/* Since v6.1; where udev or devtmpfs does not show it, the node is made from its number. */
static void from_device(void)
{
	char text[2000], path[] = "/tmp/lab-userfaultfd", *name;
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	if (device < 0) {
		CHECK(!proc_read("/proc/misc", text, sizeof(text)), "/proc/misc: %m");
		name = strstr(text, " userfaultfd");
		if (!name)
			ktap_skip("this kernel has no /dev/userfaultfd (it is in v6.1 and later)");
		while (name > text && name[-1] != '\n')
			name--;
		(void)unlink(path);
		CHECK_SYS(mknod(path, S_IFCHR | 0600, makedev(10, (unsigned int)atoi(name))));
		device = open(path, O_RDWR | O_CLOEXEC);
		CHECK(device >= 0, "%s: %m", path);
		CHECK_SYS(unlink(path));
	}
	fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	CHECK(fd >= 0, "USERFAULTFD_IOC_NEW: %m");
	moves_like_any(fd);
	close(fd);
	close(device);
}

/* Registration for write protection lists the move as well. */
static void write_protection_mask(void)
{
	int fd = uffd_open(0);
	char *page = mem_map(mem_page(), 0);
	uint64_t mask;

	if (!(uffd_features() & UFFD_FEATURE_PAGEFAULT_FLAG_WP))
		ktap_skip("no write protection by userfaultfd");
	mask = uffd_register_mode(fd, page, mem_page(), UFFDIO_REGISTER_MODE_WP);
	CHECK_EQ(mask >> UFFDIO_NR_MOVE & 1, uffd_ioctls() >> UFFDIO_NR_MOVE & 1);
	CHECK(mask >> UFFDIO_NR_WRITEPROTECT & 1, "ioctls %#llx lack UFFDIO_WRITEPROTECT",
	      (unsigned long long)mask);
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
	{ "handshake-after-refusal", handshake_after_refusal },
	{ "handshake-twice", handshake_twice },
	{ "move-available", move_available },
	{ "feature-matches-ioctl", feature_matches_ioctl },
	{ "feature-can-be-requested", feature_can_be_requested },
	{ "user-mode-only", user_mode_only },
	{ "from-device", from_device },
	{ "write-protection-mask", write_protection_mask },
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
