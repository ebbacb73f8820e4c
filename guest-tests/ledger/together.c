// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger where more than one is at it: threads that move at the same time, each its own pages, and
 * moves into another process, step by step with both processes read.
 *
 * Threads whose ranges are apart do not disturb each other; none may be told anything but success (or
 * EAGAIN, which promises nothing and is tried again), and the sums stay (mm/userfaultfd.c move_pages(),
 * v6.12, under VMA locks or mmap_lock for reading).  Another process's range is refused with EINVAL by
 * UFFDIO_MOVE, which changes nothing in either (fs/userfaultfd.c userfaultfd_move(), v6.12); the older
 * ABI takes the pages there, and RssAnon and VmSwap of both follow the page tables at each step: a swap
 * entry that is counted as a page is seen at the first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define SEED 141
#define THREADS 4
#define PAGES 32
#define TURNS 3 /* each page costs an interrupt to the other CPUs, which an emulated machine feels */

static struct job {
	pthread_t thread;
	struct uffd_pair pair;
	pthread_barrier_t *gate;
	int err;
} jobs[THREADS];

/* Until all of it has moved; the errno that it ended with otherwise. */
static int move_on(const struct uffd_pair *pair)
{
	struct uffd_result result = { 0, 0 };

	for (size_t at = 0; at < pair->len && (!result.err || result.err == EAGAIN);) {
		result = uffd_move(pair->fd, pair->dst + at, pair->src + at, pair->len - at, 0);
		at += result.moved > 0 ? (size_t)result.moved : 0;
	}
	return result.err == EAGAIN ? 0 : result.err;
}

static void *mover(void *argument)
{
	struct job *job = argument;
	struct uffd_pair back = { job->pair.fd, job->pair.dst, job->pair.src, job->pair.len };

	/* Once for what it touches of its stack, and once the readers have looked. */
	(void)uffd_move(back.fd, back.dst, back.src, 0, 0);
	pthread_barrier_wait(job->gate);
	pthread_barrier_wait(job->gate);
	for (int i = 0; i < TURNS && !job->err; i++) {
		job->err = move_on(&job->pair);
		if (!job->err)
			job->err = move_on(&back);
	}
	pthread_barrier_wait(job->gate);
	pthread_barrier_wait(job->gate);
	return NULL;
}

/* Base pages, and where there is swap every second thread has half of its pages there. */
static void threads_at_once(void)
{
	pthread_barrier_t gate;
	struct rss before, after;

	rss_tolerance();
	pthread_barrier_init(&gate, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){ .pair = uffd_pair(PAGES, SEED + (unsigned int)i), .gate = &gate };
		uffd_register(jobs[i].pair.fd, jobs[i].pair.src, jobs[i].pair.len);
		if ((i & 1) && !mem_why_no_swap())
			mem_swap_out(jobs[i].pair.src, jobs[i].pair.len / 2);
		CHECK(!pthread_create(&jobs[i].thread, NULL, mover, &jobs[i]), "pthread_create");
	}
	pthread_barrier_wait(&gate);
	before = rss_ledger("threads-before-move", getpid());
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	after = rss_ledger("threads-after-move", getpid());
	pthread_barrier_wait(&gate);
	for (int i = 0; i < THREADS; i++)
		pthread_join(jobs[i].thread, NULL);
	rss_agree("before the moves", &before);
	rss_agree("after the moves", &after);
	rss_conserved(&before, &after);
	for (int i = 0; i < THREADS; i++) {
		CHECK(!jobs[i].err, "thread %d: got %s, expected success", i, ktap_errno(jobs[i].err));
		CHECK_EQ(mem_present_pages(jobs[i].pair.dst, jobs[i].pair.len), 0);
		mem_expect(jobs[i].pair.src, jobs[i].pair.len, SEED + (unsigned int)i, "after all moves");
		CHECK_SYS(munmap(jobs[i].pair.src, jobs[i].pair.len));
		CHECK_SYS(munmap(jobs[i].pair.dst, jobs[i].pair.len));
		close(jobs[i].pair.fd);
	}
	rss_check("threads-gone", getpid());
}

static struct peer peer;
static int number;

/* One move into the peer, which waits for us to ask it something, with both read before and after. */
static void into_peer(char *src, size_t at, size_t count)
{
	int here = uffd_shape() == UFFD_MAIN;
	struct rss mine[2], theirs[2];
	struct uffd_result result;
	char step[64];

	number++;
	snprintf(step, sizeof(step), "peer-%d-before-move", number);
	mine[0] = rss_ledger(step, getpid());
	theirs[0] = rss_ledger(step, peer.pid);
	result = uffd_move(peer.uffd, peer.dst + at * mem_page(), src + at * mem_page(),
			   count * mem_page(), 0);
	snprintf(step, sizeof(step), "peer-%d-after-move", number);
	mine[1] = rss_ledger(step, getpid());
	theirs[1] = rss_ledger(step, peer.pid);
	CHECK(result.err == (here ? EINVAL : 0), "%s: got %s, expected %s", step,
	      ktap_errno(result.err), ktap_errno(here ? EINVAL : 0));
	for (int i = 0; i < 2; i++) {
		rss_agree(step, &mine[i]);
		rss_agree(step, &theirs[i]);
	}
	if (here) {
		rss_conserved(&mine[0], &mine[1]);
		rss_conserved(&theirs[0], &theirs[1]);
		return;
	}
	CHECK_EQ(mine[1].walk_anon + mine[1].walk_swap,
		 mine[0].walk_anon + mine[0].walk_swap - (long)count);
	CHECK_EQ(theirs[1].walk_anon + theirs[1].walk_swap,
		 theirs[0].walk_anon + theirs[0].walk_swap + (long)count);
}

/* Present pages, a page alone, swapped-out ones, those in the swap cache, and some of each. */
static void into_another_process(void)
{
	size_t quarter = PAGES / 4, len = PAGES * mem_page();
	char *src;

	rss_tolerance();
	/* First, for what is shared with it neither moves nor is swapped out. */
	peer = peer_start(PAGES);
	src = mem_map(len, 0);
	mem_no_huge(src, len);
	mem_fill(src, len, SEED);
	if (!mem_why_no_swap()) {
		mem_swap_out(src + len / 4, len / 2);
		mem_swap_cache(src + len / 2, len / 8);
	}
	into_peer(src, 0, 1);
	into_peer(src, 1, quarter - 3);
	into_peer(src, quarter, 1);
	into_peer(src, quarter + 1, quarter - 1);
	into_peer(src, 2 * quarter, quarter);
	into_peer(src, quarter - 2, 2);
	into_peer(src, 3 * quarter, quarter);
	if (uffd_shape() == UFFD_V2) {
		CHECK_EQ(mem_present_pages(src, len) + mem_swapped_pages(src, len), 0);
		peer_expect(&peer, SEED);
		rss_check("peer-read", peer.pid);
	} else {
		mem_expect(src, len, SEED, "what was refused");
	}
	peer_end(&peer);
	CHECK_SYS(munmap(src, len));
	rss_check("peer-gone", getpid());
}

static const struct ktap_case cases[] = {
	{ "threads-at-once", threads_at_once },
	{ "into-another-process", into_another_process },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
