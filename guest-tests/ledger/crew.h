/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that make moves one after another while everybody else waits, each on a CPU of its own as far
 * as there are enough.  What a CPU or a thread keeps of a counter to itself differs then from move to
 * move.
 */
#ifndef LAB_CREW_H
#define LAB_CREW_H

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <unistd.h>

#include "ktap.h"
#include "uffd.h"

#define CREW_MOST 3

/* What the next of them is to do; count is 0 while there are none. */
static struct {
	pthread_barrier_t begin, end;
	pthread_t threads[CREW_MOST];
	int count, turn, leave, fd;
	char *dst, *src;
	size_t len;
	uint64_t mode;
	struct uffd_result result;
} crew;

static inline void *crew_body(void *number)
{
	int me = (int)(intptr_t)number;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(me % (int)sysconf(_SC_NPROCESSORS_ONLN), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	for (;;) {
		pthread_barrier_wait(&crew.begin);
		if (crew.leave)
			return NULL;
		if (crew.turn % crew.count == me)
			crew.result = uffd_move(crew.fd, crew.dst, crew.src, crew.len, crew.mode);
		pthread_barrier_wait(&crew.end);
	}
}

static inline void crew_start(int count)
{
	pthread_barrier_init(&crew.begin, NULL, (unsigned int)count + 1);
	pthread_barrier_init(&crew.end, NULL, (unsigned int)count + 1);
	crew.count = count;
	crew.leave = 0;
	for (int i = 0; i < count; i++)
		CHECK(!pthread_create(&crew.threads[i], NULL, crew_body, (void *)(intptr_t)i),
		      "pthread_create");
}

/* uffd_move() by the next of them. */
static inline struct uffd_result crew_move(int fd, void *dst, void *src, size_t len, uint64_t mode)
{
	crew.turn++;
	crew.fd = fd;
	crew.dst = dst;
	crew.src = src;
	crew.len = len;
	crew.mode = mode;
	pthread_barrier_wait(&crew.begin);
	pthread_barrier_wait(&crew.end);
	return crew.result;
}

static inline void crew_end(void)
{
	crew.leave = 1;
	pthread_barrier_wait(&crew.begin);
	for (int i = 0; i < crew.count; i++)
		pthread_join(crew.threads[i], NULL);
	crew.count = 0;
}

#endif
