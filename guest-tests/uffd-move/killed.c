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

#define PAGES 4096 /* at first; more where a call is over too soon */
#define MOST_PAGES 32768
#define MOST_BYTES ((size_t)256 << 20)
#define TRIES 16 /* with so many pages */
#define STACK ((size_t)256 << 10)
#define ENOUGH_MS 5000.0 /* of a process's CPU time, in which it should long have done it */

static struct uffd_pair pair;
static size_t pages;
static _Atomic int *shared;
static _Atomic int returned; /* move_once() is out of its call */
static char *stack;
/* What pagemap says of both sides; touched once, before anything is counted. */
static uint64_t sources[MOST_PAGES], destinations[MOST_PAGES];

/* Each page says which it is, at both its ends. */
static void tag_pages(void)
{
	for (size_t i = 0; i < pages; i++) {
		uint64_t *page = (uint64_t *)(pair.src + i * mem_page());

		page[0] = i + 1;
		page[mem_page() / sizeof(*page) - 1] = ~(uint64_t)i;
	}
}

/* Which pages of a range there are, in one reading. */
static void read_entries(const char *start, uint64_t *entries)
{
	static int fd = -1;
	size_t size = pages * sizeof(*entries);

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
	for (size_t i = 0; i < pages; i++) {
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

static void make_pair(size_t count)
{
	pages = count;
	pair = uffd_pair(pages, 0);
	uffd_register(pair.fd, pair.src, pair.len);
	tag_pages();
}

static void set_up(void)
{
	if (pair.src)
		return;
	make_pair(PAGES);
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
	for (size_t i = 0, end; i < pages; i = end) {
		struct uffd_result result;

		for (end = i; end < pages && destinations[end] & (MEM_PRESENT | MEM_SWAPPED); end++)
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
	atomic_store(&returned, 1);
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

/*
 * Whether a process has had time enough since a first look at it.  Its own time, because a busy host
 * may stop a guest for long: one that waits for ever is judged by who waits for this program.  A
 * look counts for little, because the clock of a guest that was stopped jumps.
 */
struct patience {
	double last, used;
};

static int run_out(struct patience *patience, pid_t pid)
{
	double now = child_used_ms(pid), step = now - patience->last;

	patience->used += step < ENOUGH_MS / 50 ? step : ENOUGH_MS / 50;
	patience->last = now;
	return patience->used > ENOUGH_MS;
}

static void end_of_killed(pid_t pid)
{
	struct patience patience = { child_used_ms(pid), 0 };
	int status = 0;

	while (!waitpid(pid, &status, WNOHANG)) {
		CHECK(!run_out(&patience, pid), "process %d was killed and goes on", (int)pid);
		usleep(1000);
	}
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	      "process %d: got wait status %#x, expected signal 9", (int)pid, (unsigned int)status);
}

/* Ends the case where a child has ended before its time. */
static void still_there(pid_t pid)
{
	siginfo_t over = { 0 };

	CHECK_SYS(waitid(P_PID, (id_t)pid, &over, WEXITED | WNOHANG | WNOWAIT));
	CHECK(!over.si_pid, "process %d ended before it was killed: %d", (int)pid, over.si_status);
}

/* It is in its call as soon as a page has arrived. */
static void wait_for_page(size_t page, pid_t pid)
{
	struct patience patience = { child_used_ms(pid), 0 };
	char path[64], stat[256];

	for (long looks = 1; !mem_frame(pair.dst + page * mem_page()); looks++) {
		if (looks % 1000)
			continue;
		still_there(pid);
		if (!run_out(&patience, pid))
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
	for (size_t i = 0; i < pages; i++)
		found += (destinations[i] & (MEM_PRESENT | MEM_SWAPPED)) != 0;
	return found;
}

/*
 * When kill() has returned the signal is pending, and the mover looks for it after each step: a
 * page in v6.12, at most what a page table maps in kernels that move more at once.  So hardly more
 * has moved at the end than the first look after kill() saw.  Returns whether the call was under way
 * when it was killed and did not come to its end: then it was the signal that stopped it.
 */
static int kill_in_call(size_t step)
{
	struct rss before, after;
	size_t seen, moved;
	int over;
	pid_t pid;

	move_back();
	atomic_store(&returned, 0);
	before = rss_ledger("stops-soon-before-move", getpid());
	pid = start_mover(move_once);
	wait_for_page(1, pid);
	CHECK_SYS(kill(pid, SIGKILL));
	seen = pages_at_destination();
	over = atomic_load(&returned);
	end_of_killed(pid);
	after = rss_ledger("stops-soon-after-move", getpid());
	moved = expect_consistent();
	rss_agree("after the kill", &after);
	rss_conserved(&before, &after);
	CHECK(moved <= seen + step,
	      "killed when %zu of %zu pages had moved, it moved %zu, expected at most %zu more", seen,
	      pages, moved - seen, step);
	if (over || moved == pages)
		return 0;
	ktap_diag("killed after %zu, stopped after %zu of %zu pages", seen, moved, pages);
	return 1;
}

/* Until the kill came in the middle of a call; the longer it takes, the surer. */
static void stops_soon(void)
{
	size_t step = mem_page() / sizeof(uint64_t), tries = 0;

	set_up();
	for (;;) {
		for (int i = 0; i < TRIES; i++, tries++)
			if (kill_in_call(step))
				return;
		if (pages * 2 > MOST_PAGES || pages * 2 * mem_page() > MOST_BYTES)
			break;
		munmap(pair.src, pair.len);
		munmap(pair.dst, pair.len);
		close(pair.fd);
		make_pair(pages * 2);
	}
	ktap_skip("of %zu calls none was far from its end when it was killed", tries);
}

static void the_rest_goes_through(void)
{
	size_t moved;

	set_up();
	moved = expect_consistent();
	if (moved < pages) {
		size_t at = moved * mem_page();
		struct uffd_result result =
			uffd_move(pair.fd, pair.dst + at, pair.src + at, pair.len - at, 0);

		CHECK_ERRNO(result.err, 0);
		CHECK_EQ(result.moved, pair.len - at);
	}
	CHECK_EQ(expect_consistent(), pages);
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
		end_of_killed(pid);
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

static void wait_for_child(pid_t pid)
{
	while (!atomic_load(shared)) {
		still_there(pid);
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
		wait_for_child(pid);
		usleep((useconds_t)i * 900 + 300);
		CHECK_SYS(kill(pid, SIGKILL));
		end_of_killed(pid);
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
	wait_for_child(pid);
	usleep(20 * 1000);
	CHECK_SYS(kill(pid, SIGKILL));
	end_of_killed(pid);
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
