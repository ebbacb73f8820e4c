// SPDX-License-Identifier: GPL-2.0-only
/*
 * Missing faults at the destination resolved by moving: threads wait in their fault until a handler
 * thread moves the page in, with several waiting at once, for different pages and for one; a move
 * with DONTWAKE wakes nobody until UFFDIO_WAKE; a partial move wakes those it served.
 *
 * Source: "Resolving Userfaults" in Documentation/admin-guide/mm/userfaultfd.rst, and the end of
 * userfaultfd_move() in fs/userfaultfd.c of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "asleep.h"
#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "trap.h"
#include "uffd.h"

#define THREADS 4
#define SEED 131
#define PATIENCE_MS 20000 /* longer than anybody else waits; the thread is cancelled before */

/* A thread that touches one address of the destination. */
struct faulter {
	pthread_t thread;
	char *at;
	int pipe;
	_Atomic pid_t id;
	_Atomic int done;
	_Atomic uint64_t value;
};

static void *fault_by_reading(void *argument)
{
	struct faulter *faulter = argument;

	atomic_store(&faulter->id, gettid());
	atomic_store(&faulter->value, *(volatile uint64_t *)faulter->at);
	atomic_store(&faulter->done, 1);
	return NULL;
}

/* The word beside the one that is looked at. */
static void *fault_by_writing(void *argument)
{
	struct faulter *faulter = argument;
	volatile uint64_t *word = (volatile uint64_t *)faulter->at;

	word[1] = 7;
	atomic_store(&faulter->value, word[0]);
	atomic_store(&faulter->done, word[1] == 7);
	return NULL;
}

/* The kernel faults for us. */
static void *fault_in_kernel(void *argument)
{
	struct faulter *faulter = argument;

	atomic_store(&faulter->done,
		     write(faulter->pipe, faulter->at, sizeof(uint64_t)) == sizeof(uint64_t));
	return NULL;
}

static void start(struct faulter *faulter, void *(*how)(void *), char *at)
{
	faulter->at = at;
	atomic_store(&faulter->done, 0);
	CHECK(!pthread_create(&faulter->thread, NULL, how, faulter), "pthread_create failed");
}

static void join(struct faulter *faulter)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 15;
	CHECK(!pthread_timedjoin_np(faulter->thread, NULL, &until),
	      "a thread is not woken from its fault");
	CHECK(atomic_load(&faulter->done), "a thread did not do what it was to do");
}

static struct uffd_pair blocking_pair(void)
{
	struct uffd_pair pair = kind_pair(0, UFFDIO_REGISTER_MODE_MISSING, SEED);

	kind_settle(pair.src, pair.len);
	return pair;
}

/* Wait until a fault is reported and return the offset of its page. */
static size_t next_fault(const struct uffd_pair *pair)
{
	struct pollfd ready = { .fd = pair->fd, .events = POLLIN };
	struct uffd_msg message;

	CHECK_EQ(poll(&ready, 1, 10000), 1);
	CHECK_EQ(read(pair->fd, &message, sizeof(message)), sizeof(message));
	CHECK_EQ(message.event, UFFD_EVENT_PAGEFAULT);
	return (size_t)(message.pagefault.address - (uintptr_t)pair->dst) & ~(mem_page() - 1);
}

/* What one move serves: a page, or a huge one. */
static size_t unit(void)
{
	return kind() == KIND_HUGE ? mem_huge() : mem_page();
}

struct handler {
	const struct uffd_pair *pair;
	int faults, moved, there_already;
	struct uffd_result unexpected;
};

/* A handler as programs have it.  No checks in here: they would leave the wrong thread. */
static void *handle(void *argument)
{
	struct handler *handler = argument;
	const struct uffd_pair *pair = handler->pair;
	struct pollfd ready = { .fd = pair->fd, .events = POLLIN };
	struct uffdio_range range = { .len = unit() };
	struct uffd_result result;
	struct uffd_msg message;
	size_t at;

	while (handler->faults < THREADS && poll(&ready, 1, PATIENCE_MS) == 1) {
		if (read(pair->fd, &message, sizeof(message)) != sizeof(message))
			continue;
		handler->faults++;
		at = (size_t)(message.pagefault.address - (uintptr_t)pair->dst) & ~(unit() - 1);
		result = uffd_move(pair->fd, pair->dst + at, pair->src + at, unit(), 0);
		handler->moved += !result.err;
		if (!result.err)
			continue;
		/* Another fault of the same page was served before: this thread is to look again. */
		if (result.err == EEXIST && result.moved == -EEXIST)
			handler->there_already++;
		else
			handler->unexpected = result;
		range.start = (uint64_t)(uintptr_t)(pair->dst + at);
		(void)ioctl(pair->fd, UFFDIO_WAKE, &range);
	}
	return NULL;
}

/* THREADS threads fault, spread apart by so many bytes, while a handler serves them. */
static void served_by_handler(void *(*how)(void *), size_t apart)
{
	struct uffd_pair pair = blocking_pair();
	struct handler handler = { .pair = &pair };
	struct faulter faulters[THREADS];
	uint64_t expected[THREADS];
	pthread_t thread;
	char *copy = mem_map(pair.len, 0);

	mem_fill(copy, pair.len, SEED);
	for (size_t i = 0; i < THREADS; i++)
		expected[i] = *(uint64_t *)(copy + i * apart);
	munmap(copy, pair.len);
	for (size_t i = 0; i < THREADS; i++)
		start(&faulters[i], how, pair.dst + i * apart);
	CHECK(!pthread_create(&thread, NULL, handle, &handler), "pthread_create failed");
	for (size_t i = 0; i < THREADS; i++) {
		join(&faulters[i]);
		CHECK_EQ(atomic_load(&faulters[i].value), expected[i]);
	}
	/* A thread that came too late to fault leaves the handler waiting for its poll() to end. */
	if (handler.faults < THREADS)
		ktap_diag("%d of %d threads faulted", handler.faults, THREADS);
	CHECK(!handler.unexpected.err, "handler: got %s, expected success or EEXIST",
	      ktap_errno(handler.unexpected.err));
	CHECK_EQ(mem_present_pages(pair.src, unit()) + mem_swapped_pages(pair.src, unit()), 0);
	if (kind_stays_huge())
		CHECK_EQ(mem_huge_bytes(pair.dst, pair.len), pair.len);
	rss_check("served", getpid());
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	close(pair.fd);
}

static void readers(void)
{
	served_by_handler(fault_by_reading, mem_page());
}

static void writers(void)
{
	served_by_handler(fault_by_writing, mem_page());
}

static void readers_of_one_page(void)
{
	served_by_handler(fault_by_reading, 0);
}

/* All wait; one call moves everything and wakes everybody. */
static void one_move_wakes_all(void)
{
	struct uffd_pair pair = blocking_pair();
	struct faulter faulters[THREADS];

	for (size_t i = 0; i < THREADS; i++) {
		start(&faulters[i], fault_by_reading, pair.dst + i * mem_page());
		CHECK_EQ(next_fault(&pair), i * mem_page());
	}
	uffd_move_all(&pair);
	for (size_t i = 0; i < THREADS; i++) {
		join(&faulters[i]);
		CHECK_EQ(atomic_load(&faulters[i].value), *(uint64_t *)(pair.dst + i * mem_page()));
	}
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(pair.fd);
}

static void dontwake(void)
{
	struct uffd_pair pair = blocking_pair();
	struct faulter faulters[THREADS];
	struct uffd_result result;

	for (size_t i = 0; i < THREADS; i++) {
		start(&faulters[i], fault_by_reading, pair.dst + i * mem_page());
		(void)next_fault(&pair);
		asleep_wait(atomic_load(&faulters[i].id));
	}
	result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, UFFDIO_MOVE_MODE_DONTWAKE);
	uffd_moved_all(&pair, result);
	usleep(50 * 1000);
	for (size_t i = 0; i < THREADS; i++)
		CHECK(!atomic_load(&faulters[i].done), "thread %zu was woken by a move with DONTWAKE",
		      i);
	/* A wake is for its range. */
	uffd_wake(pair.fd, pair.dst, mem_page());
	join(&faulters[0]);
	usleep(20 * 1000);
	for (size_t i = 1; i < THREADS; i++)
		CHECK(!atomic_load(&faulters[i].done), "thread %zu was woken with its neighbour", i);
	uffd_wake(pair.fd, pair.dst, pair.len);
	for (size_t i = 1; i < THREADS; i++)
		join(&faulters[i]);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(pair.fd);
}

static void kernel_access(void)
{
	struct uffd_pair pair = blocking_pair();
	struct faulter faulter = { .pipe = -1 };
	uint64_t got = 0;
	int ends[2];

	CHECK_SYS(pipe(ends));
	faulter.pipe = ends[1];
	start(&faulter, fault_in_kernel, pair.dst);
	CHECK_EQ(next_fault(&pair), 0);
	uffd_move_all(&pair);
	join(&faulter);
	CHECK_EQ(read(ends[0], &got, sizeof(got)), sizeof(got));
	CHECK_EQ(got, *(uint64_t *)pair.dst);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(ends[0]);
	close(ends[1]);
	close(pair.fd);
}

/* Nobody waits where faults raise SIGBUS; moved in, the page is there. */
static void sigbus_mode(void)
{
	struct uffd_pair pair = kind_pair(UFFD_FEATURE_SIGBUS, UFFDIO_REGISTER_MODE_MISSING, SEED);

	kind_settle(pair.src, pair.len);
	CHECK_EQ(trap_read(pair.dst), SIGBUS);
	CHECK_EQ(trap_write(pair.dst, 1), SIGBUS);
	kind_move(&pair, "sigbus-before-move", "sigbus-after-move");
	CHECK_EQ(trap_read(pair.dst), 0);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(pair.fd);
}

/* Base pages only: the call stops at a hole, and who waits behind it goes on waiting. */
static void partial_wakes_whom_it_served(void)
{
	struct uffd_pair pair = blocking_pair();
	const size_t hole = 2 * mem_page(), behind = 3 * mem_page();
	struct faulter served, waiting;
	struct uffd_result result;

	CHECK_SYS(madvise(pair.src + hole, mem_page(), MADV_DONTNEED));
	start(&served, fault_by_reading, pair.dst);
	CHECK_EQ(next_fault(&pair), 0);
	start(&waiting, fault_by_reading, pair.dst + behind);
	CHECK_EQ(next_fault(&pair), behind);
	result = uffd_try_all(&pair);
	CHECK_ERRNO(result.err, EAGAIN);
	CHECK_EQ(result.moved, hole);
	join(&served);
	usleep(20 * 1000);
	CHECK(!atomic_load(&waiting.done), "a thread was woken whose page did not move");
	result = uffd_move(pair.fd, pair.dst + behind, pair.src + behind, mem_page(), 0);
	CHECK_ERRNO(result.err, 0);
	join(&waiting);
	rss_check("partial-wakes", getpid());
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "readers", readers },
	{ "writers", writers },
	{ "readers-of-one-page", readers_of_one_page },
	{ "one-move-wakes-all", one_move_wakes_all },
	{ "dontwake", dontwake },
	{ "kernel-access", kernel_access },
	{ "sigbus-mode", sigbus_mode },
	{ "partial-wakes-whom-it-served", partial_wakes_whom_it_served },
};

int main(int argc, char **argv)
{
	kind_parse(argc, argv);
	return ktap_run(cases, KTAP_COUNT(cases) - (kind() == KIND_HUGE), kind_why_not());
}
