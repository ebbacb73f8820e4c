// SPDX-License-Identifier: GPL-2.0-only
/* The engine of the races: threads, standstills, the verdict.  See race.h. */
#define _GNU_SOURCE
#include "race.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "procfile.h"
#include "rss.h"

#define THREADS 48
#define STANDSTILL_MS 300 /* between two of them */
/*
 * No verdict hangs on the clock of the wall, which goes on while a busy host lets a guest wait.  A
 * thread that should stand still and uses so much CPU time hangs.  One that sleeps is waited for: if
 * it does so for ever the program runs out of its time, which whoever started it judges.
 */
#define HANG_MS 20000.0
#define TELL_MS 40000 /* after so long say who is waited for */
/* A role without a success: so many standstills more, and only after so many tries. */
#define PATIENCE_ROUNDS 35
#define PATIENCE_TRIES 200

/* One race at a time. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* one more stands still, or all may go on */
	size_t standing;
	unsigned int round;
	int pause, ending; /* atomic */
	int hangs; /* a thread of an earlier case never came back */
} race = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct race_thread threads[THREADS];
static int stands[THREADS];
static pid_t tids[THREADS];
static pthread_t ids[THREADS];
static size_t thread_count;

int race_over(void)
{
	return __atomic_load_n(&race.pause, __ATOMIC_ACQUIRE) || race_failed();
}

static void nap_us(unsigned long us)
{
	struct timespec pause = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	nanosleep(&pause, NULL);
}

void race_nap(struct race_thread *self, unsigned int most_us)
{
	nap_us(race_below(&self->rng, most_us) + 1);
}

/* Stand still until the main thread lets all go on; 0 if that is the end. */
static int stand_still(struct race_thread *self)
{
	unsigned int round;
	int ending;

	if (self->role->settle)
		self->role->settle(self);
	pthread_mutex_lock(&race.lock);
	round = race.round;
	race.standing++;
	stands[self->number] = 1;
	pthread_cond_broadcast(&race.moved);
	while (race.round == round)
		pthread_cond_wait(&race.moved, &race.lock);
	ending = race.ending;
	pthread_mutex_unlock(&race.lock);
	return !ending;
}

static void *thread_main(void *argument)
{
	struct race_thread *self = argument;

	__atomic_store_n(&tids[self->number], gettid(), __ATOMIC_RELAXED);
	for (;;) {
		if (race_over() && !stand_still(self))
			return NULL;
		self->role->step(self);
		self->tries++;
	}
}

static void add_threads(struct race_arena *arena, const struct race_role *role, const char *name)
{
	size_t count = (size_t)(role->threads ? role->threads : race_options()->intensity);

	CHECK(thread_count + count <= THREADS, "more than %d threads", THREADS);
	for (size_t i = 0; i < count; i++, thread_count++) {
		race_thread_make(&threads[thread_count], arena, role, name, thread_count);
		threads[thread_count].index = i;
		threads[thread_count].peers = count;
	}
}

static void tell(const struct race_case *what, size_t missing, size_t who, double used)
{
	char path[64], where[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan",
		 (int)__atomic_load_n(&tids[who], __ATOMIC_RELAXED));
	(void)proc_read(path, where, sizeof(where));
	ktap_diag("RACE case=%s: no standstill within %d s: %zu of %zu threads are missing; %s %zu "
		  "used %.0f ms of CPU time and waits in %s",
		  what->name, TELL_MS / 1000, missing, thread_count, threads[who].role->name,
		  threads[who].index, used, where);
}

/*
 * Wait until all stand still: NULL, or why the case is over without.  A thread that uses the CPU all
 * the time instead fails it; so does, for what was found before, one that does not come after that.
 */
static const char *wait_standing(const struct race_case *what)
{
	static struct race_watch watches[THREADS];
	static char why[RACE_WHY + 160];
	double begin = mem_now_ms(), used;
	size_t missing, who = 0;
	int told = 0;

	for (size_t i = 0; i < thread_count; i++) {
		clockid_t clock;

		race_watch_begin(&watches[i], pthread_getcpuclockid(ids[i], &clock) ?
						      CLOCK_THREAD_CPUTIME_ID : clock);
	}
	for (;;) {
		struct timespec until;
		double late;

		used = 0;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 20 * 1000 * 1000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_mutex_lock(&race.lock);
		if (race.standing < thread_count)
			(void)pthread_cond_timedwait(&race.moved, &race.lock, &until);
		missing = thread_count - race.standing;
		for (size_t i = 0; missing && i < thread_count; i++) {
			if (stands[i] || race_watch(&watches[i]) < used)
				continue;
			used = watches[i].used;
			who = i;
		}
		pthread_mutex_unlock(&race.lock);
		if (!missing)
			return NULL;
		late = mem_now_ms() - begin;
		if (used > HANG_MS || (race_failed() && late > TELL_MS))
			break;
		if (!told && late > TELL_MS) {
			told = 1;
			tell(what, missing, who, used);
		}
	}
	race.hangs = 1;
	if (used > HANG_MS)
		snprintf(why, sizeof(why),
			 "%zu of %zu threads hang: no standstill within %.0f s of CPU time of a %s%s%s",
			 missing, thread_count, HANG_MS / 1000, threads[who].role->name,
			 race_failed() ? "; before that: " : "", race_failed() ? race_why() : "");
	else
		snprintf(why, sizeof(why),
			 "%zu of %zu threads came to no standstill within %d s; before that: %s",
			 missing, thread_count, TELL_MS / 1000, race_why());
	return why;
}

static void let_go(int ending)
{
	__atomic_store_n(&race.pause, 0, __ATOMIC_RELEASE);
	pthread_mutex_lock(&race.lock);
	race.ending = ending;
	/* Not each for itself: one that is slow to wake must not count as standing the next time. */
	race.standing = 0;
	memset(stands, 0, sizeof(stands));
	race.round++;
	pthread_cond_broadcast(&race.moved);
	pthread_mutex_unlock(&race.lock);
}

static void standstill(const struct race_case *what, struct race_arena *arena, int round)
{
	char step[64];
	struct rss rss;

	snprintf(step, sizeof(step), "%s-%d", what->name, round);
	rss = rss_ledger(step, getpid());
	if (labs(rss.rss_anon - rss.walk_anon) > rss_tolerance() ||
	    labs(rss.vm_swap - rss.walk_swap) > rss_tolerance())
		race_fail("standstill %d: RssAnon %ld, by page walk %ld; VmSwap %ld, by page walk "
			  "%ld (tolerance %ld)",
			  round, rss.rss_anon, rss.walk_anon, rss.vm_swap, rss.walk_swap,
			  rss_tolerance());
	if (!(what->flags & RACE_ONE_WAY))
		race_verify(arena);
	if (what->standstill)
		what->standstill(arena);
}

/* What the threads of a role did together; of all roles without one. */
static struct totals {
	unsigned long tries, acts, pages, conflicts, stale;
} totals_of(const struct race_role *role)
{
	struct totals sum = { 0, 0, 0, 0, 0 };

	for (size_t i = 0; i < thread_count; i++) {
		if (role && threads[i].role != role)
			continue;
		sum.tries += threads[i].tries;
		sum.acts += threads[i].acts;
		sum.pages += threads[i].pages;
		sum.conflicts += threads[i].conflicts;
		sum.stale += threads[i].stale;
	}
	return sum;
}

/* The first role that has not done anything yet, or NULL. */
static const struct race_role *idle_role(const struct race_role *mover,
					 const struct race_case *what)
{
	if (!totals_of(mover).acts)
		return mover;
	for (size_t i = 0; i < RACE_ADVERSARIES && what->adversaries[i].step; i++)
		if (!totals_of(&what->adversaries[i]).acts)
			return &what->adversaries[i];
	return NULL;
}

static void start(const struct race_case *what, struct race_arena *arena,
		  const struct race_role *mover)
{
	size_t movers, units = arena->pages / arena->unit;
	pthread_attr_t attributes;

	thread_count = 0;
	race.standing = 0;
	memset(stands, 0, sizeof(stands));
	race.pause = race.ending = 0;
	race_clear();
	add_threads(arena, mover, what->name);
	movers = thread_count;
	/* Whole units each; all of them where they are shared. */
	for (size_t i = 0; i < movers; i++) {
		int all = (what->flags & RACE_SHARED) != 0;

		threads[i].first = all ? 0 : units * i / movers * arena->unit;
		threads[i].count = all ? arena->pages :
					 units * (i + 1) / movers * arena->unit - threads[i].first;
	}
	for (size_t i = 0; i < RACE_ADVERSARIES && what->adversaries[i].step; i++)
		add_threads(arena, &what->adversaries[i], what->name);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 * 1024);
	for (size_t i = 0; i < thread_count; i++) {
		int err = pthread_create(&ids[i], &attributes, thread_main, &threads[i]);

		/* The process is of no more use with half of them running. */
		if (err) {
			ktap_diag("pthread_create: %s", ktap_errno(err));
			_exit(KTAP_EXIT_FAIL);
		}
	}
	pthread_attr_destroy(&attributes);
}

static void report(const struct race_case *what, const struct race_role *mover, int rounds)
{
	/* In this order: where threads hang others go on, and all together have done more by then. */
	struct totals moved = totals_of(mover), all = totals_of(NULL);

	ktap_diag("RACE case=%s seed=%llu moves=%lu pages=%lu conflicts=%lu adversary=%lu "
		  "stale=%lu standstills=%d",
		  what->name, (unsigned long long)race_options()->seed, moved.acts, moved.pages,
		  moved.conflicts, all.acts - moved.acts, all.stale, rounds);
	ktap_measure("moves", (double)moved.acts, "1");
}

void race_run(const struct race_case *what)
{
	double share = race_begin(), end;
	static const struct race_role shuttle = { "mover", race_shuttle, NULL, 0 };
	const struct race_role *mover = what->mover.step ? &what->mover : &shuttle;
	struct race_arena arena;
	const struct race_role *idle;
	const char *stuck;
	int round = 0, late = 0, over;

	CHECK(!race.hangs, "threads of an earlier case never came back");
	race_arena_make(&arena, what->flags, what->pages, what->errnos);
	if (what->prepare)
		what->prepare(&arena);
	rss_check(what->name, getpid());
	start(what, &arena, mover);
	end = mem_now_ms() + share;
	do {
		double next = mem_now_ms() + STANDSTILL_MS;

		if (!late && next > end)
			next = end;
		while (mem_now_ms() < next && !race_failed())
			nap_us(10000);
		__atomic_store_n(&race.pause, 1, __ATOMIC_RELEASE);
		stuck = wait_standing(what);
		if (stuck) {
			report(what, mover, round);
			FAIL("%s", stuck);
		}
		round++;
		if (!race_failed())
			standstill(what, &arena, round);
		idle = idle_role(mover, what);
		late += mem_now_ms() >= end;
		if (late == PATIENCE_ROUNDS && idle)
			ktap_diag("RACE case=%s: %s had no success in %lu tries so far", what->name,
				  idle->name, totals_of(idle).tries);
		over = race_failed() ||
		       (late && (!idle || (late >= PATIENCE_ROUNDS &&
					   totals_of(idle).tries >= PATIENCE_TRIES)));
		let_go(over);
	} while (!over);
	for (size_t i = 0; i < thread_count; i++)
		pthread_join(ids[i], NULL);
	for (size_t i = 0; i < thread_count; i++)
		free(threads[i].before);
	if (what->finish)
		what->finish(&arena);
	race_arena_drop(&arena);
	report(what, mover, round);
	CHECK(!race_failed(), "%s", race_why());
	CHECK(!idle, "nothing raced: %s never succeeded in %lu tries", idle->name,
	      totals_of(idle).tries);
}

int race_main(int argc, char **argv, const struct ktap_case *cases, size_t count,
	      const char *skip_all)
{
	race_parse(argc, argv, count);
	race_catch_signals();
	return ktap_run(cases, count, skip_all);
}
