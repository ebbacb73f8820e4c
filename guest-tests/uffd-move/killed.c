// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fatal signal: a killed mover stops soon, in the middle of a long call, and every page is then
 * at its source or at its destination.  The mover is a process of its own with our memory (clone()
 * with CLONE_VM), so that both sides can be looked at after its death.  Where exactly it is stopped
 * is chance; what must hold does not depend on it.
 *
 * Source: fatal_signal_pending() in the loop of move_pages() in mm/userfaultfd.c of v6.12; "can be
 * interrupted by fatal signals" in the comment above it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "procfile.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 4096
#define TRIES 8
#define STACK ((size_t)256 << 10)

static struct uffd_pair pair;
static _Atomic int *shared;
static char *stack;
/* What pagemap says of both sides; touched once, before anything is counted. */
static uint64_t sources[PAGES], destinations[PAGES];

/* Each page says which it is, at both its ends. */
static void tag_pages(void)
{
	for (size_t i = 0; i < PAGES; i++) {
		uint64_t *page = (uint64_t *)(pair.src + i * mem_page());

		page[0] = i + 1;
		page[mem_page() / sizeof(*page) - 1] = ~(uint64_t)i;
	}
}

/* Which pages of a range there are, in one reading. */
static void read_entries(const char *start, uint64_t *entries)
{
	static int fd = -1;
	size_t size = PAGES * sizeof(*entries);

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0, "/proc/self/pagemap: %m");
	CHECK(pread(fd, entries, size,
		    (off_t)((uintptr_t)start / mem_page() * sizeof(*entries))) == (ssize_t)size,
	      "pagemap: %m");
}

/* Every page is in one of its two places, whole; returns how many are at the destination. */
static size_t expect_consistent(void)
{
	size_t moved = 0;

	read_entries(pair.src, sources);
	read_entries(pair.dst, destinations);
	for (size_t i = 0; i < PAGES; i++) {
		int here = (sources[i] & (MEM_PRESENT | MEM_SWAPPED)) != 0;
		int there = (destinations[i] & (MEM_PRESENT | MEM_SWAPPED)) != 0;
		uint64_t *page = (uint64_t *)((there ? pair.dst : pair.src) + i * mem_page());

		CHECK(here + there == 1, "page %zu: got it %d times, expected once", i, here + there);
		CHECK(page[0] == i + 1 && page[mem_page() / sizeof(*page) - 1] == ~(uint64_t)i,
		      "page %zu: wrong bytes at its %s", i, there ? "destination" : "source");
		moved += (size_t)there;
	}
	return moved;
}

static void set_up(void)
{
	if (pair.src)
		return;
	pair = uffd_pair(PAGES, 0);
	uffd_register(pair.fd, pair.src, pair.len);
	tag_pages();
	/* The mover's, touched now: nothing but the pages of the pair may differ later. */
	stack = mem_map(STACK, 0);
	memset(stack, 0, STACK);
	memset(sources, 1, sizeof(sources));
	memset(destinations, 1, sizeof(destinations));
}

/* Everything to its source again: each stretch of pages at the destination in one call. */
static void move_back(void)
{
	read_entries(pair.dst, destinations);
	for (size_t i = 0, end; i < PAGES; i = end) {
		struct uffd_result result;

		for (end = i; end < PAGES && destinations[end] & (MEM_PRESENT | MEM_SWAPPED); end++)
			;
		if (end == i) {
			end++;
			continue;
		}
		result = uffd_move(pair.fd, pair.src + i * mem_page(), pair.dst + i * mem_page(),
				   (end - i) * mem_page(), 0);
		CHECK_ERRNO(result.err, 0);
	}
}

/* Shares our memory, thread-local storage included: calls only the kernel, and returns never. */
static int move_once(void *unused)
{
	(void)unused;
	(void)uffd_try_all(&pair);
	for (;;)
		pause();
	return 0;
}

static int move_to_and_fro(void *unused)
{
	(void)unused;
	for (;;) {
		(void)uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);
		(void)uffd_move(pair.fd, pair.src, pair.dst, pair.len, 0);
	}
	return 0;
}

static pid_t start_mover(int (*body)(void *))
{
	pid_t pid = clone(body, stack + STACK, CLONE_VM | SIGCHLD, NULL);

	CHECK(pid > 0, "clone: %m");
	return pid;
}

/* It is in its call as soon as a page has arrived.  Many looks: a busy host stops a guest at times. */
static void wait_for_page(size_t page, pid_t pid)
{
	double end = mem_now_ms() + 10000;
	char path[64], stat[256];

	for (long looks = 0; !mem_frame(pair.dst + page * mem_page()); looks++) {
		if (looks < 20000 || mem_now_ms() < end)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		(void)proc_read(path, stat, sizeof(stat));
		FAIL("the mover does not begin; its state: %.40s", stat);
	}
}

static size_t pages_at_destination(void)
{
	size_t found = 0;

	read_entries(pair.dst, destinations);
	for (size_t i = 0; i < PAGES; i++)
		found += (destinations[i] & (MEM_PRESENT | MEM_SWAPPED)) != 0;
	return found;
}

/*
 * When kill() has returned the signal is pending, and the mover looks for it after each step: a
 * page in v6.12, at most what a page table maps in kernels that move more at once.  So hardly more
 * has moved at the end than the first look after kill() saw.  A call that was over by then says
 * nothing, and another is tried.
 */
static void stops_soon(void)
{
	size_t step = mem_page() / sizeof(uint64_t), seen = PAGES, moved = 0;
	struct rss before, after;
	pid_t pid;

	set_up();
	for (int i = 0; i < TRIES && seen == PAGES; i++) {
		move_back();
		before = rss_ledger("stops-soon-before-move", getpid());
		pid = start_mover(move_once);
		wait_for_page(1, pid);
		CHECK_SYS(kill(pid, SIGKILL));
		seen = pages_at_destination();
		child_killed(pid);
		after = rss_ledger("stops-soon-after-move", getpid());
		moved = expect_consistent();
		rss_agree("after the kill", &after);
		rss_conserved(&before, &after);
		CHECK(moved <= seen + step,
		      "killed when %zu of %d pages had moved, it moved %zu, expected at most %zu more",
		      seen, PAGES, moved - seen, step);
	}
	ktap_diag("killed after %zu, stopped after %zu of %d pages", seen, moved, PAGES);
}

static void the_rest_goes_through(void)
{
	size_t moved;

	set_up();
	moved = expect_consistent();
	if (moved < PAGES) {
		size_t at = moved * mem_page();
		struct uffd_result result =
			uffd_move(pair.fd, pair.dst + at, pair.src + at, pair.len - at, 0);

		CHECK_ERRNO(result.err, 0);
		CHECK_EQ(result.moved, pair.len - at);
	}
	CHECK_EQ(expect_consistent(), PAGES);
	move_back();
	CHECK_EQ(expect_consistent(), 0);
	rss_check("the-rest", getpid());
}

/* Wherever the kill lands: in a call, between two, on the way there or back. */
static void consistent_whenever(void)
{
	set_up();
	for (int i = 0; i < 6; i++) {
		pid_t pid = start_mover(move_to_and_fro);

		wait_for_page(0, pid);
		usleep((useconds_t)i * 700);
		CHECK_SYS(kill(pid, SIGKILL));
		child_killed(pid);
		(void)expect_consistent();
		rss_check("consistent-whenever", getpid());
	}
	move_back();
}

static void move_own_memory(void *unused)
{
	(void)unused;
	pair = uffd_pair(PAGES, 0);
	uffd_register(pair.fd, pair.src, pair.len);
	atomic_store(shared, 1);
	(void)move_to_and_fro(NULL);
}

static void wait_for_child(void)
{
	double end = mem_now_ms() + 10000;

	while (!atomic_load(shared)) {
		CHECK(mem_now_ms() < end, "the child does not begin");
		usleep(500);
	}
}

static void fresh_flag(void)
{
	if (!shared)
		shared = mmap(NULL, mem_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			      -1, 0);
	CHECK(shared != MAP_FAILED, "mmap: %m");
	atomic_store(shared, 0);
}

/* With the mover goes its memory, pages on both sides of the move. */
static void memory_goes_too(void)
{
	for (int i = 0; i < 3; i++) {
		pid_t pid;

		fresh_flag();
		pid = child_start(move_own_memory, NULL);
		wait_for_child();
		usleep((useconds_t)i * 900 + 300);
		CHECK_SYS(kill(pid, SIGKILL));
		child_killed(pid);
	}
	rss_check("memory-goes-too", getpid());
}

static void wait_in_fault(void *unused)
{
	struct uffd_pair mine = { .len = mem_page() };

	(void)unused;
	mine.fd = uffd_open(1);
	mine.dst = mem_map(mine.len, 0);
	uffd_register(mine.fd, mine.dst, mine.len);
	atomic_store(shared, 1);
	(void)*(volatile char *)mine.dst;
	FAIL("a fault that nobody serves came back");
}

/* Nobody ever moves the page in: who waits for it can be killed all the same. */
static void waiter_dies(void)
{
	pid_t pid;

	fresh_flag();
	pid = child_start(wait_in_fault, NULL);
	wait_for_child();
	usleep(20 * 1000);
	CHECK_SYS(kill(pid, SIGKILL));
	child_killed(pid);
}

static const struct ktap_case cases[] = {
	{ "stops-soon", stops_soon },
	{ "the-rest-goes-through", the_rest_goes_through },
	{ "consistent-whenever", consistent_whenever },
	{ "memory-goes-too", memory_goes_too },
	{ "waiter-dies", waiter_dies },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
