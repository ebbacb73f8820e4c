// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages that would have to be split and cannot be, because somebody else holds a reference to
 * them: pinned by an io_uring, or in a pipe.  The move has to come back, at once and with an errno
 * (or, with nothing lost, a success), and not to try until the other lets go: it holds the locks of
 * its mappings meanwhile, and nobody but a fatal signal can stop it.
 *
 * Source: ioctl_userfaultfd(2), UFFDIO_MOVE: EBUSY where pages "are either pinned or not exclusive
 * to the process", EAGAIN for what a second try may cure.  In v6.12 split_folio() in
 * move_pages_pte() says EAGAIN of a folio with extra references (split_huge_page_to_list_to_order()
 * in mm/huge_memory.c), and move_pages() tries again for as long as something does.
 *
 * Each mover is a child, which is killed where it does not come back: so that says the case, and
 * the guest lives on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "pin.h"
#include "rss.h"
#include "uffd.h"

#define SEED 101

/*
 * A move that can be done or refused takes microseconds, a split some milliseconds.  Of the mover's
 * own CPU time, because a busy host may let a whole second pass without it; one that sleeps for ever
 * uses none.
 */
#define PATIENCE_MS 1000.0
#define SLEEPER_MS 20000.0

/* Move the first len bytes, wherever that ends, and find every byte on one of the two sides. */
static void move_some(const struct uffd_pair *pair, size_t len)
{
	struct uffd_result result;
	size_t done = 0;

	child_barrier();
	result = uffd_move(pair->fd, pair->dst, pair->src, len, 0);
	if (result.moved > 0 && result.moved != UFFD_UNTOUCHED)
		done = (size_t)result.moved;
	CHECK(!result.err || result.err == EBUSY || result.err == EAGAIN,
	      "got %s, expected success, EBUSY or EAGAIN", ktap_errno(result.err));
	if (!result.err)
		CHECK_EQ(done, len);
	moved_holds(pair->dst, done, SEED, 0, "what was moved");
	moved_holds(pair->src + done, pair->len - done, SEED, done, "what was not");
}

static void part_of_pinned(void *unused)
{
	struct uffd_pair pair = moved_pair_huge(SEED);
	struct pin pin = pin_start(PIN_BY_IO_URING, pair.src, pair.len);

	(void)unused;
	move_some(&pair, pair.len / 2);
	pin_stop(&pin);
}

/* fork() gives the child a copy of what is pinned, and for that the parent maps it by pages. */
static void pinned_and_forked(void *unused)
{
	struct uffd_pair pair = moved_pair_huge(SEED);
	struct pin pin = pin_start(PIN_BY_IO_URING, pair.src, pair.len);

	(void)unused;
	child_end(child_sharer());
	move_some(&pair, pair.len);
	pin_stop(&pin);
}

static void part_of_piped(void *unused)
{
	struct uffd_pair pair = moved_pair_huge(SEED);
	struct iovec data = { pair.src, mem_page() };
	int ends[2];

	(void)unused;
	CHECK_SYS(pipe2(ends, O_CLOEXEC));
	CHECK_EQ(vmsplice(ends[1], &data, 1, 0), mem_page());
	move_some(&pair, pair.len / 2);
}

static void comes_back(void (*body)(void *))
{
	static const struct timespec pause = { 0, 2 * 1000 * 1000 };
	pid_t mover = child_start(body, NULL);
	siginfo_t over = { 0 };
	double start, before;

	child_meet(mover);
	before = child_used_ms(mover);
	start = mem_now_ms();
	child_go(mover);
	do {
		nanosleep(&pause, NULL);
		CHECK_SYS(waitid(P_PID, (id_t)mover, &over, WEXITED | WNOHANG | WNOWAIT));
	} while (!over.si_pid && child_used_ms(mover) - before < PATIENCE_MS &&
		 mem_now_ms() - start < SLEEPER_MS);
	rss_check("mover-watched", getpid());
	if (over.si_pid) {
		child_reap(mover);
		return;
	}
	CHECK_SYS(kill(mover, SIGKILL));
	CHECK_SYS(waitid(P_PID, (id_t)mover, &over, WEXITED));
	FAIL("the move did not come back within %.0f ms of its CPU time, and ended with SIGKILL",
	     PATIENCE_MS);
}

static void part_of_pinned_page(void)
{
	if (pin_why_not(PIN_BY_IO_URING))
		ktap_skip("%s", pin_why_not(PIN_BY_IO_URING));
	comes_back(part_of_pinned);
}

static void pinned_page_after_fork(void)
{
	if (pin_why_not(PIN_BY_IO_URING))
		ktap_skip("%s", pin_why_not(PIN_BY_IO_URING));
	comes_back(pinned_and_forked);
}

static void part_of_page_in_pipe(void)
{
	comes_back(part_of_piped);
}

static const struct ktap_case cases[] = {
	{ "part-of-pinned-page", part_of_pinned_page },
	{ "pinned-page-after-fork", pinned_page_after_fork },
	{ "part-of-page-in-pipe", part_of_page_in_pipe },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
