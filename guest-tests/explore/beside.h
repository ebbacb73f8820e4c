/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A worker's other threads: each carries a step out while the first one does another.
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
	int there; /* how many threads of them this process has: a child has none */
	int actors; /* how many begin at the same time, the first thread among them */
	atomic_int waiting; /* those that are about to begin */
	struct beside_thread {
		sem_t told, done;
		void (*call)(void *);
		void *what;
	} threads[ACTORS - 1];
} beside;

/* Begin when the others do: all are on their way by then, on as many CPUs as there are. */
static inline void beside_meet(void)
{
	atomic_fetch_add(&beside.waiting, 1);
	for (int turns = 0; atomic_load(&beside.waiting) < beside.actors; turns++)
		if (turns > 1000)
			sched_yield();
}

static void *beside_loop(void *own)
{
	struct beside_thread *self = own;

	for (;;) {
		while (sem_wait(&self->told))
			;
		beside_meet();
		self->call(self->what);
		sem_post(&self->done);
	}
	return NULL;
}

/* So many actors from now on; what the others do is told by beside_start(). */
static inline void beside_begin(int actors)
{
	pthread_attr_t small;
	pthread_t thread;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 * 1024);
	for (; beside.there < actors - 1; beside.there++) {
		struct beside_thread *own = &beside.threads[beside.there];

		sem_init(&own->told, 0, 0);
		sem_init(&own->done, 0, 0);
		CHECK(!pthread_create(&thread, &small, beside_loop, own), "pthread_create: %m");
	}
	beside.actors = actors;
	atomic_store(&beside.waiting, 0);
}

/* Have one of the others call that; beside_meet() is when it begins, beside_end() waits for its end. */
static inline void beside_start(int which, void (*call)(void *), void *what)
{
	beside.threads[which].call = call;
	beside.threads[which].what = what;
	sem_post(&beside.threads[which].told);
}

static inline void beside_end(void)
{
	for (int i = 0; i < beside.actors - 1; i++)
		while (sem_wait(&beside.threads[i].done))
			;
}

#endif
