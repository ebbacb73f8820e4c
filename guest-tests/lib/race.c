// SPDX-License-Identifier: GPL-2.0-only
/* The engine of the races: options, threads, standstills, the verdict.  See race.h. */
#define _GNU_SOURCE
#include "race.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "rss.h"

#define THREADS 48
#define STANDSTILL_MS 300 /* between two of them */
#define HANG_MS 40000	  /* a thread that does not come to a standstill for so long hangs */
#define PATIENCE_MS 10000 /* how much longer to wait for the first success of each role */

static struct race_options options = { 0, 5, 2 };
static size_t program_cases = 1;
static int announced;

/* One race at a time. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* one more stands still, or all may go on */
	size_t standing;
	unsigned int round;
	int pause, ending, failed; /* atomic */
	char why[512];
	int hangs; /* a thread of an earlier case never came back */
} race = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct race_thread threads[THREADS];
static pthread_t ids[THREADS];
static size_t thread_count;

uint64_t race_random(struct race_rng *rng)
{
	/* splitmix64, public domain, Sebastiano Vigna. */
	uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

size_t race_below(struct race_rng *rng, size_t limit)
{
	return limit ? (size_t)(race_random(rng) % limit) : 0;
}

const struct race_options *race_options(void)
{
	return &options;
}

static void usage(const char *program, const char *what)
{
	fprintf(stderr, "%s: %s; usage: [--seed N] [--seconds S] [--intensity 1..8]\n", program,
		what);
	exit(2);
}

static void parse(int argc, char **argv)
{
	int seeded = 0;

	for (int i = 1; i < argc; i += 2) {
		char *end = NULL;

		if (i + 1 >= argc || !argv[i + 1][0])
			usage(argv[0], "an option lacks its value");
		if (!strcmp(argv[i], "--seed")) {
			options.seed = strtoull(argv[i + 1], &end, 0);
			seeded = 1;
		} else if (!strcmp(argv[i], "--seconds")) {
			options.seconds = strtod(argv[i + 1], &end);
		} else if (!strcmp(argv[i], "--intensity")) {
			options.intensity = (int)strtol(argv[i + 1], &end, 10);
		} else {
			usage(argv[0], "unknown option");
		}
		if (*end)
			usage(argv[0], "a value is not a number");
	}
	if (!(options.seconds > 0 && options.seconds <= 86400))
		usage(argv[0], "--seconds is more than 0 and at most 86400");
	if (options.intensity < 1 || options.intensity > 8)
		usage(argv[0], "--intensity is 1 to 8");
	/* 48 bits: exact wherever the seed is carried as a floating-point number. */
	if (!seeded && getrandom(&options.seed, sizeof(options.seed), 0) == sizeof(options.seed))
		options.seed >>= 16;
}

int race_main(int argc, char **argv, const struct ktap_case *cases, size_t count,
	      const char *skip_all)
{
	parse(argc, argv);
	program_cases = count;
	race_catch_signals();
	return ktap_run(cases, count, skip_all);
}

void race_fail(const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&race.lock);
	if (!race.failed) {
		va_start(args, format);
		vsnprintf(race.why, sizeof(race.why), format, args);
		va_end(args);
		__atomic_store_n(&race.failed, 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&race.lock);
}

static int failed(void)
{
	return __atomic_load_n(&race.failed, __ATOMIC_ACQUIRE);
}

int race_over(void)
{
	return __atomic_load_n(&race.pause, __ATOMIC_ACQUIRE) || failed();
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

	for (;;) {
		if (race_over() && !stand_still(self))
			return NULL;
		self->role->step(self);
	}
}

void race_thread_make(struct race_thread *self, struct race_arena *arena,
		      const struct race_role *role, const char *name, size_t number)
{
	struct race_rng rng = { options.seed };
	size_t run = arena->unit > RACE_RUN ? arena->unit : RACE_RUN;

	memset(self, 0, sizeof(*self));
	for (; *name; name++)
		rng.state = race_random(&rng) ^ (unsigned char)*name;
	rng.state = race_random(&rng) + number;
	self->rng.state = race_random(&rng);
	self->arena = arena;
	self->role = role;
	self->number = number;
	self->peers = 1;
	self->before = calloc(3 * run, sizeof(*self->before));
	CHECK(self->before, "out of memory");
	self->after = self->before + run;
	self->left = self->after + run;
}

static void add_threads(struct race_arena *arena, const struct race_role *role, const char *name)
{
	size_t count = (size_t)(role->threads ? role->threads : options.intensity);

	CHECK(thread_count + count <= THREADS, "more than %d threads", THREADS);
	for (size_t i = 0; i < count; i++, thread_count++) {
		race_thread_make(&threads[thread_count], arena, role, name, thread_count);
		threads[thread_count].index = i;
		threads[thread_count].peers = count;
	}
}

/* Wait until all stand still; the number of the first that does not come, or -1. */
static long wait_standing(double milliseconds)
{
	struct timespec until;
	long missing = -1;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(milliseconds / 1000);
	pthread_mutex_lock(&race.lock);
	while (race.standing < thread_count && !err)
		err = pthread_cond_timedwait(&race.moved, &race.lock, &until);
	if (race.standing < thread_count)
		missing = (long)(thread_count - race.standing);
	pthread_mutex_unlock(&race.lock);
	return missing;
}

static void let_go(int ending)
{
	__atomic_store_n(&race.pause, 0, __ATOMIC_RELEASE);
	pthread_mutex_lock(&race.lock);
	race.ending = ending;
	/* Not each for itself: one that is slow to wake must not count as standing the next time. */
	race.standing = 0;
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

static unsigned long acts_of(const struct race_role *role)
{
	unsigned long acts = 0;

	for (size_t i = 0; i < thread_count; i++)
		if (threads[i].role == role)
			acts += threads[i].acts;
	return acts;
}

/* The first role that has not done anything yet, or NULL. */
static const struct race_role *idle_role(const struct race_role *mover,
					 const struct race_case *what)
{
	if (!acts_of(mover))
		return mover;
	for (size_t i = 0; i < RACE_ADVERSARIES && what->adversaries[i].step; i++)
		if (!acts_of(&what->adversaries[i]))
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
	race.pause = race.ending = race.failed = 0;
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
	unsigned long moves = acts_of(mover), pages = 0, conflicts = 0, adversary = 0;

	for (size_t i = 0; i < thread_count; i++) {
		pages += threads[i].role == mover ? threads[i].pages : 0;
		conflicts += threads[i].role == mover ? threads[i].conflicts : 0;
		adversary += threads[i].role == mover ? 0 : threads[i].acts;
	}
	ktap_diag("RACE case=%s seed=%llu moves=%lu pages=%lu conflicts=%lu adversary=%lu "
		  "standstills=%d",
		  what->name, (unsigned long long)options.seed, moves, pages, conflicts, adversary,
		  rounds);
	ktap_measure("moves", (double)moves, "1");
}

double race_begin(void)
{
	if (!announced++)
		ktap_diag("RACE seed=%llu seconds=%.1f intensity=%d",
			  (unsigned long long)options.seed, options.seconds, options.intensity);
	return options.seconds * 1000 / (double)program_cases;
}

void race_run(const struct race_case *what)
{
	double now, share = race_begin(), end;
	static const struct race_role shuttle = { "mover", race_shuttle, NULL, 0 };
	const struct race_role *mover = what->mover.step ? &what->mover : &shuttle;
	struct race_arena arena;
	int round = 0, over;

	CHECK(!race.hangs, "threads of an earlier case never came back");
	race_arena_make(&arena, what);
	if (what->prepare)
		what->prepare(&arena);
	rss_check(what->name, getpid());
	start(what, &arena, mover);
	end = mem_now_ms() + share;
	do {
		double next = mem_now_ms() + STANDSTILL_MS;
		long missing;

		while (now = mem_now_ms(), now < next && now < end && !failed())
			nap_us(10000);
		__atomic_store_n(&race.pause, 1, __ATOMIC_RELEASE);
		missing = wait_standing(HANG_MS);
		if (missing > 0) {
			race.hangs = 1;
			report(what, mover, round);
			FAIL("%ld of %zu threads hang: no standstill within %d s%s%s", missing,
			     thread_count, HANG_MS / 1000, failed() ? "; before that: " : "",
			     failed() ? race.why : "");
		}
		round++;
		if (!failed())
			standstill(what, &arena, round);
		now = mem_now_ms();
		over = failed() || (now >= end && (!idle_role(mover, what) ||
						  now >= end + PATIENCE_MS));
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
	CHECK(!failed(), "%s", race.why);
	CHECK(!idle_role(mover, what), "nothing raced: %s never succeeded",
	      idle_role(mover, what)->name);
}
