// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of hugetlb does not move: EINVAL on either side, although it can be registered with a
 * userfaultfd and the ioctls mask does not tell.  No huge page has to be reserved for that: the
 * mapping is refused before a page is looked for, and a kernel that looks says ENOENT.
 *
 * Source: vma_move_compatible() and vma_is_anonymous() in validate_move_areas() in mm/userfaultfd.c of
 * v6.12; the series of 2023 takes anonymous mappings alone as well.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "procfile.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 4
#define SEED 161
#define ROOM ((size_t)64 << 20)

/* Bytes of a huge page of the default size; skips where there is no such thing. */
static size_t huge_page(void)
{
	char text[8000];
	long kib;

	CHECK(!proc_read("/proc/meminfo", text, sizeof(text)), "/proc/meminfo: %m");
	kib = proc_field(text, "Hugepagesize");
	if (kib <= 0)
		ktap_skip("no Hugepagesize in /proc/meminfo");
	return (size_t)kib * 1024;
}

/* An empty mapping of one huge page, for which none is set aside. */
static char *hugetlb(size_t size)
{
	char *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		ktap_skip("mmap with MAP_HUGETLB: %m");
	return area;
}

static void refused(const struct uffd_pair *pair, char *dst, char *src, size_t len, uint64_t mode)
{
	struct uffd_result result = uffd_move(pair->fd, dst, src, len, mode);

	CHECK_ERRNO(result.err, EINVAL);
	CHECK(result.moved == UFFD_UNTOUCHED || result.moved == -EINVAL,
	      "moved: got %lld, expected it untouched or -EINVAL", (long long)result.moved);
	CHECK_EQ(mem_present_pages(pair->src, pair->len), PAGES);
	CHECK_EQ(mem_present_pages(pair->dst, pair->len), 0);
}

/* One base page, and then a whole huge page to where there is room for one. */
static void source(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	size_t size = huge_page();
	char *huge = hugetlb(size), *room;

	refused(&pair, pair.dst, huge, mem_page(), 0);
	refused(&pair, pair.dst, huge, pair.len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	/* A small guest may have less memory than bigger ones take. */
	if (size <= ROOM) {
		room = mem_map(size, size);
		uffd_register(pair.fd, room, size);
		refused(&pair, room, huge, size, 0);
		refused(&pair, room, huge, size, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
		CHECK_SYS(munmap(room, size));
	}
	rss_check("hugetlb-source", getpid());
	CHECK_SYS(munmap(huge, size));
	close(pair.fd);
}

static void destination(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	size_t size = huge_page();
	char *huge = hugetlb(size);

	uffd_register(pair.fd, huge, size);
	refused(&pair, huge, pair.src, mem_page(), 0);
	refused(&pair, huge, pair.src, pair.len, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	mem_expect(pair.src, pair.len, SEED, "source after a refused move");
	rss_check("hugetlb-destination", getpid());
	CHECK_SYS(munmap(huge, size));
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "source", source },
	{ "destination", destination },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
