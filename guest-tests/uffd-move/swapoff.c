// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moved swap entries are there for swapoff(2): it finds them at the destination, reads the pages in,
 * and comes to an end.  It looks through the processes of a list (mmlist, which fork() and reclaim
 * keep), there through the mappings that have an anon_vma, and begins again for as long as one page
 * is left in swap.  So a process that got all its entries by moves is found only if the move put it
 * onto the list, and a destination that was never touched only if the move gave it an anon_vma.
 *
 * Source: try_to_unuse() and unuse_mm() in mm/swapfile.c, find_vma_and_prepare_anon() in
 * mm/userfaultfd.c of v6.12; swapoff(2).
 *
 * The swap devices are back when a case ends, however it ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "procfile.h"
#include "rss.h"
#include "swaps.h"
#include "uffd.h"

#define PAGES 32
#define SEED 171

/*
 * A swapoff that gets nowhere: so much of its CPU time without one page less in swap.  One pass over
 * all processes takes some milliseconds.  A look counts for little, because the clock of a guest that
 * was stopped meanwhile jumps.
 */
#define NOWHERE_MS 5000.0
#define LOOK_MS 50.0

struct device {
	struct swap_device swap;
	int status; /* of waitpid(), of the process that switched it off */
	int stuck;
};

static long swap_in_use(void)
{
	char text[8192];

	if (proc_read("/proc/meminfo", text, sizeof(text)))
		return -1;
	return proc_field(text, "SwapTotal") - proc_field(text, "SwapFree");
}

static void switch_off(void *argument)
{
	struct device *device = argument;

	if (swapoff(device->swap.name))
		_exit(errno);
}

/* swapoff(2) by a child, which a signal ends where it does not end itself (try_to_unuse()). */
static void switch_off_or_stop(struct device *device)
{
	static const struct timespec pause = { 0, 5 * 1000 * 1000 };
	double used = 0, last = 0;
	pid_t pid = child_start(switch_off, device);
	long left = swap_in_use();
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock))
		clock = CLOCK_PROCESS_CPUTIME_ID; /* ours, which looks all the time */
	while (!device->stuck && !waitpid(pid, &device->status, WNOHANG)) {
		struct timespec now = { 0, 0 };
		double at;

		nanosleep(&pause, NULL);
		(void)clock_gettime(clock, &now);
		at = (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
		if (at > last)
			used += at - last < LOOK_MS ? at - last : LOOK_MS;
		last = at;
		if (swap_in_use() != left)
			used = 0;
		left = swap_in_use();
		device->stuck = used > NOWHERE_MS;
	}
	if (!device->stuck)
		return;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, &device->status, 0);
}

/* All swap goes and comes back, whatever happens in between, and only then is it judged. */
static void all_swap_off_and_on(size_t (*left)(void *), void *argument)
{
	static struct swap_device found[8];
	static struct device devices[KTAP_COUNT(found)];
	size_t count = swaps_devices(found, KTAP_COUNT(found)), still = 0;
	int on = 0;

	CHECK(count, "no line of a device in /proc/swaps");
	for (size_t i = 0; i < count; i++) {
		devices[i] = (struct device){ .swap = found[i] };
		switch_off_or_stop(&devices[i]);
	}
	still = left(argument);
	for (size_t i = 0; i < count; i++)
		if (swapon(devices[i].swap.name, devices[i].swap.flags) && errno != EBUSY)
			on = errno;
	for (size_t i = 0; i < count; i++) {
		int status = devices[i].status;

		CHECK(!devices[i].stuck,
		      "swapoff %s gets nowhere in %.0f s of its CPU time and was killed; %zu moved "
		      "entries are still in swap",
		      devices[i].swap.name, NOWHERE_MS / 1000, still);
		CHECK(WIFEXITED(status), "swapoff %s: wait status %#x", devices[i].swap.name,
		      (unsigned int)status);
		if (WEXITSTATUS(status) == ENOMEM)
			ktap_skip("swapoff %s: ENOMEM, what is in swap may not fit into memory",
				  devices[i].swap.name);
		CHECK_ERRNO(WEXITSTATUS(status), 0);
	}
	CHECK(!on, "swapon: %s", ktap_errno(on));
	CHECK(!still, "swapoff succeeded, and %zu of the moved entries are still in swap", still);
}

static size_t left_in_peer(void *argument)
{
	const struct peer *peer = argument;
	size_t found = 0;

	for (size_t at = 0; at < peer->len; at += mem_page())
		found += (peer_frame(peer, at) & MEM_SWAPPED) != 0;
	return found;
}

static size_t left_here(void *argument)
{
	const struct uffd_pair *pair = argument;

	return mem_swapped_pages(pair->dst, pair->len);
}

/* A destination that nobody ever touched, in a process that swapped its source out. */
static void moved_here(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	struct uffd_result result;
	struct rss before, after;

	mem_swap_out(pair.src, pair.len);
	before = rss_ledger("here-before-move", getpid());
	result = uffd_try_all(&pair);
	after = rss_ledger("here-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_conserved(&before, &after);
	CHECK_EQ(mem_swapped_pages(pair.dst, pair.len), PAGES);
	all_swap_off_and_on(left_here, &pair);
	mem_expect(pair.dst, pair.len, SEED, "destination after swapoff");
	rss_check("here-after-swapoff", getpid());
	close(pair.fd);
}

static void look_in_child(void *argument)
{
	struct uffd_pair *pair = argument;

	child_barrier();
	CHECK_EQ(mem_swapped_pages(pair->dst, pair->len), 0);
	mem_expect(pair->dst, pair->len, SEED + 1, "destination in the child after swapoff");
	rss_check("child-after-swapoff", getpid());
}

/* The destination's entries are shared by a child: both processes get their pages. */
static void shared_with_child(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED + 1);
	pid_t child;

	mem_swap_out(pair.src, pair.len);
	uffd_move_all(&pair);
	child = child_start(look_in_child, &pair);
	child_meet(child);
	all_swap_off_and_on(left_here, &pair);
	child_end(child);
	mem_expect(pair.dst, pair.len, SEED + 1, "destination after swapoff");
	rss_check("shared-after-swapoff", getpid());
	close(pair.fd);
}

/*
 * What moved across is all that the peer ever had in swap, so that nobody but the move can have told
 * swapoff where to look: the peer is forked while there is no entry of ours that would have brought
 * it onto the list.  Where there is no moving across, swapoff finds the entries at their source.
 */
static void other_process(void)
{
	struct peer peer = peer_start(PAGES);
	struct uffd_pair pair = { .fd = peer.uffd, .len = peer.len };
	struct uffd_result result;

	pair.src = pair.dst = mem_map(pair.len, 0);
	mem_no_huge(pair.src, pair.len);
	mem_fill(pair.src, pair.len, SEED + 2);
	mem_swap_out(pair.src, pair.len);
	result = uffd_move(peer.uffd, peer.dst, pair.src, pair.len, 0);
	if (uffd_shape() == UFFD_MAIN) {
		CHECK_ERRNO(result.err, EINVAL);
		all_swap_off_and_on(left_here, &pair);
		mem_expect(pair.src, pair.len, SEED + 2, "source after a refused move and swapoff");
	} else {
		CHECK_ERRNO(result.err, 0);
		CHECK_EQ(left_in_peer(&peer), PAGES);
		all_swap_off_and_on(left_in_peer, &peer);
		peer_expect(&peer, SEED + 2);
	}
	rss_check("other-process-after-swapoff", getpid());
	rss_check("peer-after-swapoff", peer.pid);
	peer_end(&peer);
}

static const struct ktap_case cases[] = {
	{ "moved-here", moved_here },
	{ "shared-with-child", shared_with_child },
	{ "other-process", other_process },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_swap());
}
