// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that has page tables of its own, as graphics cards do and KVM does for its guests: where the
 * process moves a page, the device must not go on with the page that it found there before.  The kernel
 * tells it by MMU notifiers, and the kernel's own test driver (CONFIG_TEST_HMM) is such a device: it reads
 * and writes through entries that it keeps until it is told that they are no longer true.
 *
 * Source: mmu_notifier_range_init(), _invalidate_range_start() and _end() in move_pages_pte() and
 * move_pages_huge_pmd(), mm/userfaultfd.c and mm/huge_memory.c of v6.12; Documentation/mm/hmm.rst;
 * lib/test_hmm.c and lib/test_hmm_uapi.h (the ioctls, and what a snapshot says).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "procfile.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 16
#define SEED 1
#define OTHER 2

/* struct hmm_dmirror_cmd; ptr is where the data of the device comes from or goes to. */
struct access {
	uint64_t address;
	uint64_t ptr;
	uint64_t pages;
	uint64_t done;
	uint64_t faults;
};
#define DEVICE_READ _IOWR('H', 0x00, struct access)
#define DEVICE_WRITE _IOWR('H', 0x01, struct access)

static int device = -1;
static int loaded; /* by this program */
static int huge; /* one huge page in place of base pages */

/* The driver's number from /proc/devices, or 0. */
static unsigned int driver(void)
{
	char text[8192], *line;

	if (proc_read("/proc/devices", text, sizeof(text)))
		return 0;
	line = strstr(text, " HMM_DMIRROR\n");
	while (line && line > text && line[-1] != '\n')
		line--;
	return line ? (unsigned int)strtoul(line, NULL, 10) : 0;
}

/* Load the driver, or take it out again: modprobe or rmmod. */
static void module(const char *tool)
{
	int status;
	pid_t pid = fork();

	CHECK_SYS(pid);
	if (!pid) {
		execlp("busybox", "busybox", tool, "test_hmm", (char *)NULL);
		_exit(127);
	}
	CHECK_SYS(waitpid(pid, &status, 0));
	CHECK(!status, "busybox %s test_hmm: status %#x", tool, (unsigned int)status);
}

/* The first of the driver's devices; it mirrors the process that opens it. */
static void open_device(void)
{
	char path[] = "/tmp/mirror-XXXXXX";

	if (!driver()) {
		module("modprobe");
		loaded = 1;
	}
	CHECK(driver(), "the driver HMM_DMIRROR is not in /proc/devices (CONFIG_TEST_HMM)");
	CHECK(mkdtemp(path), "%s: %m", path);
	CHECK_SYS(chdir(path));
	CHECK_SYS(mknod("device", S_IFCHR | 0600, makedev(driver(), 0)));
	device = open("device", O_RDWR | O_CLOEXEC);
	CHECK(device >= 0, "the device of HMM_DMIRROR: %m");
	CHECK_SYS(unlink("device"));
	CHECK_SYS(chdir("/"));
	CHECK_SYS(rmdir(path));
}

static void use(unsigned long how, void *address, void *data, size_t len)
{
	struct access access = { (uintptr_t)address, (uintptr_t)data, len / mem_page(), 0, 0 };

	CHECK_SYS(ioctl(device, how, &access));
	CHECK_EQ(access.done, len / mem_page());
}

/* What the device reads there is mem_fill(seed), or zeros for 0. */
static void device_expects(char *address, size_t len, unsigned int seed, const char *what)
{
	char *data = mem_map(len, 0);

	memset(data, 0x77, len);
	use(DEVICE_READ, address, data, len);
	if (seed)
		mem_expect(data, len, seed, what);
	for (size_t i = 0; !seed && i < len; i++)
		CHECK(!data[i], "%s: the device reads %#x at %zu", what, data[i], i);
	CHECK_SYS(munmap(data, len));
}

static void device_writes(char *address, size_t len, unsigned int seed)
{
	char *data = mem_map(len, 0);

	mem_fill(data, len, seed);
	use(DEVICE_WRITE, address, data, len);
	CHECK_SYS(munmap(data, len));
}

static struct uffd_pair pair_of(void)
{
	return huge ? uffd_pair_huge(SEED) : uffd_pair(PAGES, SEED);
}

static void device_opens(void)
{
	char *page = mem_map(mem_page(), 0);

	open_device();
	mem_fill(page, mem_page(), SEED);
	device_expects(page, mem_page(), SEED, "a page");
	device_writes(page, mem_page(), OTHER);
	mem_expect(page, mem_page(), OTHER, "a page that the device wrote");
	CHECK_SYS(munmap(page, mem_page()));
}

static void need_device(void)
{
	CHECK(device >= 0, "there is no device");
}

static void reads_what_is_there(void)
{
	struct uffd_pair pair;

	need_device();
	pair = pair_of();
	device_expects(pair.src, pair.len, SEED, "source before the move");
	moved_all(&pair, "read");
	device_expects(pair.src, pair.len, 0, "source after the move");
	device_expects(pair.dst, pair.len, SEED, "destination");
	moved_drop(&pair);
}

/* What the device writes to the source afterwards is not written to the page that is elsewhere. */
static void writes_what_is_there(void)
{
	struct uffd_pair pair;

	need_device();
	pair = pair_of();
	device_writes(pair.src, pair.len, SEED); /* from here on it may write there */
	moved_all(&pair, "write");
	device_writes(pair.src, pair.len, OTHER);
	mem_expect(pair.dst, pair.len, SEED, "destination after the device wrote to the source");
	mem_expect(pair.src, pair.len, OTHER, "source that the device wrote");
	moved_drop(&pair);
}

/* There and back again: neither place is remembered as it was. */
static void back_again(void)
{
	struct uffd_pair pair, back;

	need_device();
	pair = pair_of();
	uffd_register(pair.fd, pair.src, pair.len);
	moved_all(&pair, "there");
	device_writes(pair.dst, pair.len, OTHER);
	back = (struct uffd_pair){ pair.fd, pair.dst, pair.src, pair.len };
	moved_all(&back, "there-and-back");
	mem_fill(pair.src, pair.len, SEED);
	device_expects(pair.src, pair.len, SEED, "first place");
	rss_check("back-again", getpid());
	moved_drop(&pair);
}

/* Reading alone gives the device the zero page. */
static void zeros(void)
{
	char *src, *dst;
	size_t len = huge ? mem_huge() : PAGES * mem_page();
	struct uffd_result result;
	int fd;

	need_device();
	if (huge && !mem_huge())
		ktap_skip("no huge pages");
	src = mem_map(len, huge ? len : 0);
	dst = mem_map(len, huge ? len : 0);
	if (!huge) {
		mem_no_huge(src, len);
		mem_no_huge(dst, len);
	}
	fd = uffd_open(0);
	uffd_register(fd, dst, len);
	device_expects(src, len, 0, "nothing");
	result = uffd_move(fd, dst, src, len, 0);
	CHECK_ERRNO(result.err, 0);
	mem_fill(dst, len, SEED);
	mem_fill(src, len, OTHER);
	device_expects(src, len, OTHER, "source");
	device_expects(dst, len, SEED, "destination");
	CHECK_SYS(munmap(src, len));
	CHECK_SYS(munmap(dst, len));
	CHECK_SYS(close(fd));
}

/* Its memory, which the driver describes at its start, is the machine's again. */
static void device_goes(void)
{
	need_device();
	CHECK_SYS(close(device));
	device = -1;
	if (loaded)
		module("rmmod");
}

static const struct ktap_case cases[] = {
	{ "device-opens", device_opens },
	{ "reads-what-is-there", reads_what_is_there },
	{ "writes-what-is-there", writes_what_is_there },
	{ "back-again", back_again },
	{ "zeros", zeros },
	{ "device-goes", device_goes },
};

int main(int argc, char **argv)
{
	huge = argc > 1 && !strcmp(argv[1], "huge");
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
