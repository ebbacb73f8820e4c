/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A worker's second thread: it carries a step out while the first one does another.
 */
#ifndef LAB_EXPLORE_BESIDE_H
#define LAB_EXPLORE_BESIDE_H

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "ktap.h"
#include "step.h"

static struct {
	int there; /* whether this process has the thread: a child has it not */
	sem_t told, done;
	atomic_int waiting; /* threads that are about to begin */
	void (*call)(void *);
	void *what;
} beside;

/* Begin when the other does: both are on their way by then, on two CPUs where there are two. */
static inline void beside_meet(void)
{
	atomic_fetch_add(&beside.waiting, 1);
	for (int turns = 0; atomic_load(&beside.waiting) < 2; turns++)
		if (turns > 1000)
			sched_yield();
}

static void *beside_loop(void *unused)
{
	(void)unused;
	for (;;) {
		while (sem_wait(&beside.told))
			;
		beside_meet();
		beside.call(beside.what);
		sem_post(&beside.done);
	}
	return NULL;
}

/* Have the second thread call that; beside_meet() is when it begins, beside_end() waits for its end. */
static inline void beside_start(void (*call)(void *), void *what)
{
	pthread_attr_t small;
	pthread_t thread;

	if (!beside.there) {
		sem_init(&beside.told, 0, 0);
		sem_init(&beside.done, 0, 0);
		pthread_attr_init(&small);
		pthread_attr_setstacksize(&small, 256 * 1024);
		CHECK(!pthread_create(&thread, &small, beside_loop, NULL), "pthread_create: %m");
		beside.there = 1;
	}
	beside.call = call;
	beside.what = what;
	atomic_store(&beside.waiting, 0);
	sem_post(&beside.told);
}

static inline void beside_end(void)
{
	while (sem_wait(&beside.done))
		;
}

#endif
