// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a thread waits in a fault on a missing page until a handler thread has put the page
 * there: by the move ioctl, or by UFFDIO_COPY with MADV_DONTNEED on the old place after it.  Time is
 * taken in the faulting thread, from the touch until it goes on, so that two wake-ups and the
 * handler's poll() and read() are in it.
 *
 * A case fails if a fault is not served, or if a byte, a page frame or the emptiness of the source
 * is wrong afterwards; how long it took never decides.  Both ioctls wake the thread that waits:
 * userfaultfd_move() and userfaultfd_copy() in fs/userfaultfd.c of v6.12, ioctl_userfaultfd(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "compact.h"
#include "ktap.h"
#include "mem.h"
#include "stats.h"
#include "uffd.h"

/* In a round at the most; the rounds before the counted ones have fewer, and tell how many fit. */
#define FAULTS 128
#define FAULTS_HUGE 4
#define FAULTS_WARM 8
#define GROWTH 4
#define ROUNDS_LEAST 5
#define ROUNDS_MOST 64
/* A fault that nobody is told of for so long is lost. */
#define PATIENCE_MS 10000

static double share;
static double took[ROUNDS_MOST * FAULTS], medians[ROUNDS_MOST], rates[ROUNDS_MOST];

/* One round; threads of their own for each, which start before the clock does. */
static struct {
	struct heap heap;
	pthread_barrier_t start;
	unsigned int faulters;
	double *took;
	int err, again;
	int64_t begin[2], end[2];
} now;

/* Serve as many faults as there are runs.  Closing the descriptor lets go whoever still waits. */
static void *handler(void *unused)
{
	struct pollfd ready = { now.heap.fd, POLLIN, 0 };
	struct uffd_msg message;
	size_t served = 0;

	pthread_barrier_wait(&now.start);
	while (served < now.heap.count && !now.err) {
		size_t run;
		int err;

		if (poll(&ready, 1, PATIENCE_MS) <= 0) {
			now.err = ETIMEDOUT;
			break;
		}
		if (read(now.heap.fd, &message, sizeof(message)) != sizeof(message))
			continue;
		run = (message.pagefault.address - (uint64_t)(uintptr_t)now.heap.dst) / now.heap.run;
		err = heap_compact(&now.heap, run, now.heap.count, NULL);
		/* A thread that is woken for another reason may tell of its page twice. */
		if (err == EEXIST)
			now.again++;
		else
			served++, now.err = err;
	}
	if (now.err) {
		close(now.heap.fd);
		now.heap.fd = -1;
	}
	return unused;
}

static void *faulter(void *argument)
{
	unsigned int number = argument != NULL;

	pthread_barrier_wait(&now.start);
	now.begin[number] = stats_ns();
	for (size_t i = number; i < now.heap.count; i += now.faulters) {
		int64_t begin = stats_ns();

		(void)*(volatile char *)(now.heap.dst + i * now.heap.run);
		now.took[i] = (double)(stats_ns() - begin) / 1e3;
	}
	now.end[number] = stats_ns();
	return NULL;
}

/* Gives the faults a second. */
static double serve_round(int first)
{
	void *(*const bodies[])(void *) = { handler, faulter, faulter };
	void *const arguments[] = { NULL, NULL, &now };
	pthread_t threads[3];
	int64_t begin, end;

	heap_fill(&now.heap);
	CHECK(!pthread_barrier_init(&now.start, NULL, now.faulters + 1), "no barrier");
	for (unsigned int i = 0; i <= now.faulters; i++)
		CHECK(!pthread_create(&threads[i], NULL, bodies[i], arguments[i]), "no thread");
	for (unsigned int i = 0; i <= now.faulters; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&now.start);
	CHECK(now.err != ETIMEDOUT, "a fault was reported to nobody for %d ms", PATIENCE_MS);
	CHECK(!now.err, "%s to resolve a fault: %s", compact_names[now.heap.method],
	      ktap_errno(now.err));
	heap_check(&now.heap, first);
	begin = now.begin[0];
	end = now.end[0];
	if (now.faulters > 1) {
		begin = now.begin[1] < begin ? now.begin[1] : begin;
		end = now.end[1] > end ? now.end[1] : end;
	}
	return (double)now.heap.count * 1e9 / (double)(end - begin);
}

/* Let rounds grow as long as the least number of them fits into the case's share of the time. */
static void warm_up(void)
{
	double fair = share / (ROUNDS_LEAST + 1), took;
	size_t room = now.heap.room, count = room < FAULTS_WARM ? room : FAULTS_WARM;

	now.heap.count = count;
	serve_round(1);
	for (;;) {
		took = (double)stats_ns();
		serve_round(0);
		took = (double)stats_ns() - took;
		if (took * GROWTH > fair || count == room)
			break;
		count = count * GROWTH < room ? count * GROWTH : room;
		now.heap.count = count;
	}
	if (took > fair)
		now.heap.count = count / GROWTH > now.faulters ? count / GROWTH : now.faulters;
}

static void serve(const char *name, enum compact_method method, int huge, unsigned int faulters)
{
	double deadline = (double)stats_ns() + share;
	size_t room = huge ? FAULTS_HUGE : FAULTS, rounds = 0, faults = 0;
	char what[96];

	compact_need(method, huge);
	memset(&now, 0, sizeof(now));
	memset(took, 0, sizeof(took));
	now.heap = heap_open(method, huge, huge ? mem_huge() : mem_page(), room);
	now.faulters = faulters;
	/* In place of the descriptor whose faults raise SIGBUS. */
	close(now.heap.fd);
	now.heap.fd = uffd_open(1);
	uffd_register(now.heap.fd, now.heap.dst, room * now.heap.run);
	now.took = took;
	warm_up();
	while (rounds < ROUNDS_LEAST ||
	       (rounds < ROUNDS_MOST && (double)stats_ns() < deadline)) {
		now.took = took + faults;
		rates[rounds] = serve_round(0);
		stats_sort(now.took, now.heap.count);
		medians[rounds++] = stats_percentile(now.took, now.heap.count, 50);
		faults += now.heap.count;
	}
	ktap_diag("%zu faults in %zu rounds, %d reported twice", faults, rounds, now.again);
	stats_distribution(name, took, faults, "us");
	stats_sort(medians, rounds);
	snprintf(what, sizeof(what), "%s-p50-spread", name);
	ktap_measure(what, stats_spread(medians, rounds), "%");
	snprintf(what, sizeof(what), "%s-rate", name);
	stats_median(what, rates, rounds, "faults/s");
	heap_close(&now.heap);
}

static void move_base(void)
{
	serve("move-base-fault", COMPACT_MOVE, 0, 1);
}

static void copy_base(void)
{
	serve("copy-base-fault", COMPACT_COPY, 0, 1);
}

static void move_base_two(void)
{
	serve("move-base-fault-2threads", COMPACT_MOVE, 0, 2);
}

static void copy_base_two(void)
{
	serve("copy-base-fault-2threads", COMPACT_COPY, 0, 2);
}

static void move_huge(void)
{
	serve("move-huge-fault", COMPACT_MOVE, 1, 1);
}

static void copy_huge(void)
{
	serve("copy-huge-fault", COMPACT_COPY, 1, 1);
}

static const struct ktap_case base[] = {
	{ "move-base-fault", move_base },
	{ "copy-base-fault", copy_base },
	{ "move-base-fault-2threads", move_base_two },
	{ "copy-base-fault-2threads", copy_base_two },
};

static const struct ktap_case huge[] = {
	{ "move-huge-fault", move_huge },
	{ "copy-huge-fault", copy_huge },
};

int main(int argc, char **argv)
{
	int of_huge = !strcmp(bench_parse(argc, argv, 0.6), "huge");
	size_t count = of_huge ? KTAP_COUNT(huge) : KTAP_COUNT(base);

	share = bench_share(count);
	stats_print_clock();
	return ktap_run(of_huge ? huge : base, count, of_huge ? mem_why_no_huge() : NULL);
}
