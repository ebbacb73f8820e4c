// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reservations of huge pages for private mappings: what mmap() takes from the pool in advance and a fault
 * uses up, through MADV_DONTNEED, mappings unmapped in part, fork(), copy on write, exit, mremap(), a pool
 * that grows on demand and one that shrinks.  At the end of each case the pool is what it was.
 *
 * Sources: Documentation/mm/hugetlbfs_reserv.rst (reservations of a private mapping are the mapping's; a
 * page that is freed behind one gives it back; fork() passes none on),
 * Documentation/admin-guide/mm/hugetlbpage.rst (counters, overcommit), mmap(2) (MAP_NORESERVE), mremap(2)
 * (no expansion of huge pages); v6.12: hugetlb_reserve_pages(), hugetlb_vm_op_close(),
 * __unmap_hugepage_range(), hugetlb_wp() and set_max_huge_pages() in mm/hugetlb.c, mremap() in mm/mremap.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "maps.h"
#include "mem.h"
#include "pool.h"

#define COUNT 4
#define HUGE pool_size()

static void private_mapping_body(void *unused)
{
	char *area = pool_map_private(COUNT, 0);

	(void)unused;
	POOL_EXPECT(0, COUNT, 0, "mapped");
	pool_touch(area, 0, 1);
	POOL_EXPECT(1, COUNT - 1, 0, "one page touched");
	pool_touch(area, 0, COUNT);
	POOL_EXPECT(COUNT, 0, 0, "all touched");
	CHECK_EQ(maps_status("HugetlbPages"), COUNT * (HUGE / mem_page()));
	CHECK_EQ(maps_sum(area, COUNT * HUGE, "Private_Hugetlb"), COUNT * (HUGE / mem_page()));
	CHECK_SYS(munmap(area, COUNT * HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
	CHECK_EQ(maps_status("HugetlbPages"), 0);
}
IN_POOL(private_mapping)

/* Unmapped in part: what was not touched is reserved no longer, wherever it lies. */
static void unmapped_in_part_body(void *unused)
{
	char *area = pool_map_private(COUNT, 0);

	(void)unused;
	pool_touch(area, 1, 2);
	CHECK_SYS(munmap(area + 3 * HUGE, HUGE));
	POOL_EXPECT(1, COUNT - 2, 0, "the last one is gone");
	CHECK_SYS(munmap(area, HUGE));
	POOL_EXPECT(1, COUNT - 3, 0, "the first one is gone");
	CHECK_SYS(munmap(area + HUGE, HUGE));
	POOL_EXPECT(0, 1, 0, "the touched one is gone");
	pool_touch(area, 2, 3);
	POOL_EXPECT(1, 0, 0, "the one that is left");
	CHECK_SYS(munmap(area + 2 * HUGE, HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
}
IN_POOL(unmapped_in_part)

/* Emptied pages of a private mapping are reserved again, and may be faulted in again. */
static void emptied_body(void *unused)
{
	char *area = pool_map_private(COUNT, 0);

	(void)unused;
	pool_touch(area, 0, COUNT);
	CHECK_SYS(madvise(area, 2 * HUGE, MADV_DONTNEED));
	POOL_EXPECT(COUNT - 2, 2, 0, "two pages emptied");
	/* Nobody else can have them. */
	CHECK(pool_try_map(POOL - COUNT + 1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB) == MAP_FAILED,
	      "the same pages were promised twice");
	pool_touch(area, 0, 2);
	POOL_EXPECT(COUNT, 0, 0, "touched again");
	CHECK_SYS(madvise(area, COUNT * HUGE, MADV_DONTNEED));
	POOL_EXPECT(0, COUNT, 0, "all emptied");
	CHECK_SYS(munmap(area, COUNT * HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
}
IN_POOL(emptied)

static void without_reservation_body(void *unused)
{
	char *area = pool_map_private(2 * POOL, MAP_NORESERVE);

	(void)unused;
	POOL_EXPECT(0, 0, 0, "mapped");
	pool_touch(area, 0, 2);
	POOL_EXPECT(2, 0, 0, "two pages touched");
	CHECK_SYS(madvise(area, HUGE, MADV_DONTNEED));
	CHECK_EQ(pool_read().free, POOL - 1);
	CHECK_SYS(munmap(area, 2 * POOL * HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
}
IN_POOL(without_reservation)

static void too_many_body(void *unused)
{
	char *area = pool_map_private(COUNT, 0);

	(void)unused;
	CHECK(pool_try_map(POOL - COUNT + 1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB) == MAP_FAILED,
	      "more was promised than there is");
	CHECK_ERRNO(errno, ENOMEM);
	POOL_EXPECT(0, COUNT, 0, "refused");
	pool_make_file(POOL + 1);
	CHECK(pool_try_map(POOL + 1, MAP_SHARED) == MAP_FAILED, "more was promised than there is");
	POOL_EXPECT(0, COUNT, 0, "refused for a file");
	pool_close_file();
	CHECK_SYS(munmap(area, COUNT * HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
}
IN_POOL(too_many)

static char *heirloom;

/* Barriers: forked; a copy of the first page; gone. */
static void heir(void *unused)
{
	(void)unused;
	child_barrier();
	heirloom[0] = 99;
	child_barrier();
}

/* fork() passes no reservation on; the child's copy is a page that nobody has reserved. */
static void forked_body(void *unused)
{
	pid_t pid;

	(void)unused;
	heirloom = pool_map_private(COUNT, 0);
	pool_touch(heirloom, 0, 2);
	pid = child_start(heir, NULL);
	child_meet(pid);
	POOL_EXPECT(2, 2, 0, "forked");
	child_go(pid);
	child_meet(pid);
	POOL_EXPECT(3, 2, 0, "copied by the child");
	pool_touch(heirloom, 0, COUNT);
	POOL_EXPECT(COUNT + 2, 0, 0, "the parent touched all");
	child_end(pid);
	POOL_EXPECT(COUNT, 0, 0, "the child is gone");
	CHECK_EQ(heirloom[0], 1);
	CHECK_SYS(munmap(heirloom, COUNT * HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
}
IN_POOL(forked)

static void reader(void *unused)
{
	(void)unused;
	child_barrier();
	/* The parent took the pool's last page: this one was unmapped here. */
	(void)*(volatile char *)heirloom;
}

/*
 * No page is left for the parent's copy: the parent, who reserved it, keeps the page, and the child, who
 * shared it, gets SIGBUS (hugetlb_wp(), unmap_ref_private()).
 */
static void owner_goes_first_body(void *unused)
{
	char *rest;
	int status;
	pid_t pid;

	(void)unused;
	heirloom = pool_map_private(1, 0);
	pool_touch(heirloom, 0, 1);
	rest = pool_map_private(POOL - 1, 0);
	pool_touch(rest, 0, POOL - 1);
	POOL_EXPECT(POOL, 0, 0, "all in use");
	pid = child_start(reader, NULL);
	child_meet(pid);
	heirloom[0] = 7;
	POOL_EXPECT(POOL, 0, 0, "written to by the owner");
	child_go(pid);
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
	      "the child read its page: got wait status %#x, expected SIGBUS", (unsigned int)status);
	CHECK_EQ(heirloom[0], 7);
	CHECK_SYS(munmap(heirloom, HUGE));
	CHECK_SYS(munmap(rest, (POOL - 1) * HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
}
IN_POOL(owner_goes_first)

static void leaver(void *unused)
{
	char *area = pool_map_private(2, 0);

	(void)unused;
	pool_touch(area, 0, 1);
	pool_make_file(COUNT - 2);
	area = pool_map(COUNT - 2, MAP_SHARED);
	pool_touch(area, 0, 1);
	child_barrier();
}

static void exit_gives_back_body(void *unused)
{
	pid_t pid = child_start(leaver, NULL);

	(void)unused;
	child_meet(pid);
	POOL_EXPECT(2, COUNT - 2, 0, "a child's");
	child_end(pid);
	POOL_EXPECT(0, 0, 0, "after its exit");
}
IN_POOL(exit_gives_back)

static void moved_body(void *unused)
{
	char *area = pool_map_private(COUNT, 0), *to = pool_map_private(COUNT, MAP_NORESERVE), *shared;

	(void)unused;
	pool_touch(area, 0, 1);
	POOL_EXPECT(1, COUNT - 1, 0, "before it moves");
	CHECK(mremap(area, COUNT * HUGE, COUNT * HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to,
	      "mremap: %m");
	POOL_EXPECT(1, COUNT - 1, 0, "moved");
	pool_touch(to, 0, COUNT);
	POOL_EXPECT(COUNT, 0, 0, "touched at its new place");
	CHECK_EQ(to[0], 1);
	CHECK(mremap(to, COUNT * HUGE, (COUNT + 1) * HUGE, MREMAP_MAYMOVE, NULL) == MAP_FAILED,
	      "a mapping of huge pages grew");
	CHECK_ERRNO(errno, EINVAL);
	POOL_EXPECT(COUNT, 0, 0, "refused to grow");
	CHECK(mremap(to, COUNT * HUGE, HUGE, 0) == to, "mremap: %m");
	POOL_EXPECT(1, 0, 0, "shrunk");
	pool_make_file(2);
	shared = pool_map(2, MAP_SHARED);
	pool_touch(shared, 0, 1);
	area = pool_map_private(2, MAP_NORESERVE);
	CHECK(mremap(shared, 2 * HUGE, 2 * HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, area) == area,
	      "mremap: %m");
	POOL_EXPECT(2, 1, 0, "a shared one moved");
	CHECK_SYS(munmap(area, 2 * HUGE));
	pool_close_file();
	CHECK_SYS(munmap(to, HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
}
IN_POOL(moved)

/*
 * Over more than a page table's worth of nothing (mm/hugetlb.c move_hugetlb_page_tables() goes on with the
 * next table), to a place that lies otherwise in its tables: each page comes to where it belongs.
 */
static void moved_over_holes_body(void *unused)
{
	size_t table = HUGE * (mem_page() / sizeof(uint64_t)), len = table + 8 * HUGE;
	char *area = pool_map_private(len / HUGE, MAP_NORESERVE);
	char *room = pool_map_private((len + table) / HUGE, MAP_NORESERVE), *to;

	(void)unused;
	/* Three pages further in its table than the source. */
	to = room + (((uintptr_t)area + 3 * HUGE - (uintptr_t)room) % table + table) % table;
	area[len - HUGE] = 7;
	CHECK(mremap(area, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap: %m");
	CHECK_EQ(to[len - HUGE], 7);
	POOL_EXPECT(1, 0, 0, "moved");
	CHECK_SYS(munmap(to, len));
	POOL_EXPECT(0, 0, 0, "unmapped");
}
IN_POOL(moved_over_holes)

/* More than the pool has, for as long as it is needed. */
static void on_demand_body(void *unused)
{
	char *area;

	(void)unused;
	CHECK_SYS(knob_set(pool_file("nr_overcommit_hugepages"), "2"));
	area = pool_try_map(POOL + 2, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
	if (area == MAP_FAILED) {
		CHECK_SYS(knob_set(pool_file("nr_overcommit_hugepages"), "0"));
		POOL_EXPECT(0, 0, 0, "refused");
		maps_skip("no memory for two huge pages more");
	}
	POOL_EXPECT(0, POOL + 2, 2, "mapped");
	pool_touch(area, 0, POOL + 1);
	POOL_EXPECT(POOL + 1, 1, 2, "all but one touched");
	CHECK(pool_try_map(1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB) == MAP_FAILED,
	      "more was promised than may be had");
	CHECK_SYS(munmap(area, HUGE));
	POOL_EXPECT(POOL, 1, 1, "one unmapped");
	CHECK_SYS(munmap(area + HUGE, (POOL + 1) * HUGE));
	POOL_EXPECT(0, 0, 0, "unmapped");
	CHECK_SYS(knob_set(pool_file("nr_overcommit_hugepages"), "0"));
}
IN_POOL(on_demand)

/* What is in use or reserved when the pool shrinks is surplus until it is not (set_max_huge_pages()). */
static void shrunk_pool_body(void *unused)
{
	char *area = pool_map_private(COUNT, 0);

	(void)unused;
	pool_touch(area, 0, COUNT - 1);
	CHECK_SYS(knob_set_number(pool_file("nr_hugepages"), 1));
	pool_expect((struct pool){ COUNT, 1, 1, COUNT - 1 }, __FILE__, __LINE__, "a pool of one");
	CHECK_SYS(munmap(area, HUGE));
	pool_expect((struct pool){ COUNT - 1, 1, 1, COUNT - 2 }, __FILE__, __LINE__, "one unmapped");
	pool_touch(area, COUNT - 1, COUNT);
	pool_expect((struct pool){ COUNT - 1, 0, 0, COUNT - 2 }, __FILE__, __LINE__, "the last one touched");
	CHECK_SYS(munmap(area + HUGE, (COUNT - 1) * HUGE));
	pool_expect((struct pool){ 1, 1, 0, 0 }, __FILE__, __LINE__, "unmapped");
	CHECK_SYS(knob_set_number(pool_file("nr_hugepages"), POOL));
	POOL_EXPECT(0, 0, 0, "a pool as before");
}
IN_POOL(shrunk_pool)

static const struct ktap_case cases[] = {
	{ "private-mapping", private_mapping },
	{ "unmapped-in-part", unmapped_in_part },
	{ "emptied", emptied },
	{ "without-reservation", without_reservation },
	{ "too-many", too_many },
	{ "forked", forked },
	{ "owner-goes-first", owner_goes_first },
	{ "exit-gives-back", exit_gives_back },
	{ "moved", moved },
	{ "moved-over-holes", moved_over_holes },
	{ "on-demand", on_demand },
	{ "shrunk-pool", shrunk_pool },
};

int main(void)
{
	const char *why = pool_why_not(POOL);
	int status;

	status = ktap_run(cases, KTAP_COUNT(cases), why);
	knob_restore();
	return status;
}
