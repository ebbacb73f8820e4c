// SPDX-License-Identifier: GPL-2.0-only
/* See race_base.h. */
#define _GNU_SOURCE
#include "race_base.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ktap.h"

static struct race_options options = { 0, 5, 2 };
static size_t program_cases = 1;
static int announced;

/* One race at a time. */
static struct {
	pthread_mutex_t lock;
	int failed; /* atomic */
	char why[RACE_WHY];
} verdict = { .lock = PTHREAD_MUTEX_INITIALIZER };

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

void race_parse(int argc, char **argv, size_t cases)
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
	program_cases = cases;
}

double race_begin(void)
{
	if (!announced++)
		ktap_diag("RACE seed=%llu seconds=%.1f intensity=%d",
			  (unsigned long long)options.seed, options.seconds, options.intensity);
	return options.seconds * 1000 / (double)program_cases;
}

void race_fail(const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&verdict.lock);
	if (!verdict.failed) {
		va_start(args, format);
		vsnprintf(verdict.why, sizeof(verdict.why), format, args);
		va_end(args);
		__atomic_store_n(&verdict.failed, 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&verdict.lock);
}

int race_failed(void)
{
	return __atomic_load_n(&verdict.failed, __ATOMIC_ACQUIRE);
}

const char *race_why(void)
{
	return verdict.why;
}

void race_clear(void)
{
	__atomic_store_n(&verdict.failed, 0, __ATOMIC_RELEASE);
}

void race_watch_begin(struct race_watch *watch, clockid_t clock)
{
	watch->clock = clock;
	watch->used = 0;
	watch->last = 0;
	(void)race_watch(watch);
	watch->used = 0;
}

double race_watch(struct race_watch *watch)
{
	struct timespec now = { 0, 0 };
	double at;

	if (clock_gettime(watch->clock, &now))
		return watch->used;
	at = (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
	if (at > watch->last)
		watch->used += at - watch->last < RACE_LOOK_MS ? at - watch->last : RACE_LOOK_MS;
	watch->last = at;
	return watch->used;
}
