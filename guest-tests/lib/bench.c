// SPDX-License-Identifier: GPL-2.0-only
/* See bench.h. */
#define _GNU_SOURCE
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "stats.h"

/* Live bytes of a heap of base pages, where two runs are not more; runs of a heap of huge ones. */
#define HEAP ((size_t)1 << 20)
#define RUNS_LEAST 2
#define RUNS_HUGE 2
/*
 * The first rounds are small and not counted: one fills caches, page tables, and an emulator's
 * translations, the next ones tell how large a round may be.  Two emulated CPUs that flush each
 * other's TLB on a busy host are a hundred times slower than one.
 */
#define RUNS_WARM 16
#define GROWTH 4
#define ROUNDS_LEAST 5
#define ROUNDS_POOR 3
#define OVERDRAWN 3
#define ROUNDS_MOST 512
#define CALLS_MOST 32768

/* What the workers of a case share, processes too. */
struct control {
	pthread_barrier_t start;
	atomic_uint arrived, turn;
	atomic_int gone_wrong, err;
	int ended, more;
	int settled; /* how large a round is */
	int one_heap; /* the workers share it: each takes every second run */
	int each; /* whether every call is timed */
	unsigned int workers;
	cpu_set_t allowed;
	struct heap heaps[2];
	double share, began, round_began;
	int64_t begin[2], end[2];
	size_t rounds;
	double figures[ROUNDS_MOST];
	size_t calls[2];
	double took[2 * CALLS_MOST]; /* the second half is the second worker's */
};

struct worker {
	struct control *control;
	unsigned int number;
};

static double all_seconds;

const char *bench_parse(int argc, char **argv, double seconds)
{
	const char *kind = NULL;

	all_seconds = seconds;
	for (int i = 1; i < argc; i++) {
		char *end = "";

		if (argv[i][0] != '-' && !kind) {
			kind = argv[i];
			continue;
		}
		if (!strcmp(argv[i], "--seconds") && argv[i + 1])
			all_seconds = strtod(argv[++i], &end);
		else if ((!strcmp(argv[i], "--seed") || !strcmp(argv[i], "--intensity")) &&
			 argv[i + 1])
			i++;
		else
			end = "?";
		if (*end || !(all_seconds > 0)) {
			fprintf(stderr, "%s: what is %s? usage: KIND [--seconds S] [--seed N] "
				"[--intensity I]\n", argv[0], argv[i]);
			exit(2);
		}
	}
	return kind ? kind : "base";
}

double bench_share(size_t cases)
{
	return all_seconds * 1e9 / (double)cases;
}

/* Wait for the others without sleeping: to be woken takes longer than what is timed. */
static void meet(struct control *control)
{
	unsigned int turn = atomic_load(&control->turn);

	if (atomic_fetch_add(&control->arrived, 1) + 1 == control->workers) {
		atomic_store(&control->arrived, 0);
		atomic_store(&control->turn, turn + 1);
		return;
	}
	for (unsigned int i = 1; atomic_load(&control->turn) == turn; i++) {
		if (atomic_load(&control->gone_wrong))
			_exit(0);
		if (i % 64 == 0)
			sched_yield();
	}
}

/* The CPUs as the program found them: a case that failed may have left its caller on one. */
static void stay_anywhere(cpu_set_t *allowed)
{
	static cpu_set_t found;

	if (!CPU_COUNT(&found))
		(void)sched_getaffinity(0, sizeof(found), &found);
	else
		(void)sched_setaffinity(0, sizeof(found), &found);
	*allowed = found;
}

/* Each worker on a CPU of its own, where there are as many. */
static void stay_on(const struct control *control, unsigned int number)
{
	cpu_set_t one;
	int at = 0;

	if ((unsigned int)CPU_COUNT(&control->allowed) < control->workers)
		return;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &control->allowed) && at++ == (int)number)
			CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

static unsigned int heaps_of(const struct control *control)
{
	return control->one_heap ? 1 : control->workers;
}

/* The timed part of a round. */
static void compact(struct control *control, unsigned int number)
{
	const struct heap *heap = &control->heaps[control->one_heap ? 0 : number];
	size_t first = control->one_heap ? number : 0, step = control->one_heap ? 2 : 1;
	double *took = NULL;
	int err;

	if (control->each)
		took = control->took + number * CALLS_MOST + control->calls[number];
	meet(control);
	control->begin[number] = stats_ns();
	err = heap_compact(heap, first, step, took);
	control->end[number] = stats_ns();
	if (err)
		atomic_store(&control->err, err);
}

static size_t calls_of_round(const struct control *control, unsigned int number)
{
	if (control->one_heap)
		return (control->heaps[0].count + 1 - number) / 2;
	return control->heaps[number].count;
}

/*
 * Whether a round is one to be counted.  Until then they grow, as long as the least number of the
 * next size will fit into the case's share of the time, or shrink once.
 */
static int settled(struct control *control, int round, double took)
{
	size_t count = control->heaps[0].count, room = control->heaps[0].room;
	double fair = control->share / (ROUNDS_LEAST + 1);

	if (control->settled || !round)
		return control->settled;
	control->settled = 1;
	if (took * GROWTH < fair && count < room) {
		count = count * GROWTH < room ? count * GROWTH : room;
		control->settled = count == room;
	} else if (took > fair) {
		count /= GROWTH;
	}
	for (unsigned int i = 0; i < 2; i++)
		control->heaps[i].count = count > RUNS_LEAST ? count : RUNS_LEAST;
	return 0;
}

/* What came of a round, and whether another follows; the caller alone runs. */
static void account(struct control *control, int round)
{
	int64_t begin = control->begin[0], end = control->end[0];
	double bytes = 0, now = (double)stats_ns();
	size_t least;
	int full = 0;

	control->more = 1;
	if (!settled(control, round, now - control->round_began))
		return;
	for (unsigned int i = 0; i < control->workers; i++) {
		begin = control->begin[i] < begin ? control->begin[i] : begin;
		end = control->end[i] > end ? control->end[i] : end;
		bytes += (double)(calls_of_round(control, i) * control->heaps[0].run);
	}
	if (control->each) {
		double *took = control->took + control->calls[0];

		stats_sort(took, calls_of_round(control, 0));
		control->figures[control->rounds++] =
			stats_percentile(took, calls_of_round(control, 0), 50) / 1e3;
		for (unsigned int i = 0; i < control->workers; i++) {
			control->calls[i] += calls_of_round(control, i);
			full |= control->calls[i] + calls_of_round(control, i) > CALLS_MOST;
		}
	} else {
		control->figures[control->rounds++] = bytes * 1e3 / (double)(end - begin);
	}
	/* On a host that hardly lets the guest run, fewer do. */
	least = now - control->began < OVERDRAWN * control->share ? ROUNDS_LEAST : ROUNDS_POOR;
	control->more = control->rounds < least ||
			(now - control->began < control->share && !full &&
			 control->rounds < ROUNDS_MOST);
}

static void check_round(struct control *control, const struct heap *heap, int first)
{
	int err = atomic_load(&control->err);

	CHECK(!err, "%s: a call failed: %s", compact_names[heap->method], ktap_errno(err));
	heap_check(heap, first);
}

static void *second(void *argument)
{
	struct control *control = argument;

	stay_on(control, 1);
	for (;;) {
		pthread_barrier_wait(&control->start);
		if (control->ended)
			return NULL;
		compact(control, 1);
		meet(control);
	}
}

/*
 * The caller is the first worker; the second sleeps while the caller fills and checks.  A case that
 * fails leaves it asleep, and what it sleeps on in place.
 */
static void run_threads(struct control *control)
{
	pthread_t thread;

	if (control->workers > 1) {
		CHECK(!pthread_barrier_init(&control->start, NULL, 2), "no barrier");
		CHECK(!pthread_create(&thread, NULL, second, control), "no thread");
		stay_on(control, 0);
	}
	for (int round = 0; control->more; round++) {
		control->round_began = (double)stats_ns();
		for (unsigned int i = 0; i < heaps_of(control); i++)
			heap_fill(&control->heaps[i]);
		if (control->workers > 1)
			pthread_barrier_wait(&control->start);
		compact(control, 0);
		meet(control);
		for (unsigned int i = 0; i < heaps_of(control); i++)
			check_round(control, &control->heaps[i], !round);
		account(control, round);
	}
	if (control->workers > 1) {
		control->ended = 1;
		pthread_barrier_wait(&control->start);
		pthread_join(thread, NULL);
	}
}

static void process(void *argument)
{
	struct worker *worker = argument;
	struct control *control = worker->control;
	struct heap *heap = &control->heaps[worker->number], plan = *heap;

	stay_on(control, worker->number);
	*heap = heap_open(plan.method, plan.huge, plan.run, plan.room);
	heap->count = plan.count;
	meet(control);
	for (int round = 0; control->more; round++) {
		if (!worker->number)
			control->round_began = (double)stats_ns();
		heap_fill(heap);
		compact(control, worker->number);
		meet(control);
		check_round(control, heap, !round);
		/* The next round's size is not to change before both have checked this one. */
		meet(control);
		if (!worker->number)
			account(control, round);
		meet(control);
	}
}

static void run_processes(struct control *control)
{
	struct worker workers[2] = { { control, 0 }, { control, 1 } };
	int status, bad = 0;

	for (int i = 0; i < 2; i++)
		child_start(process, &workers[i]);
	for (int i = 0; i < 2; i++) {
		CHECK_SYS(wait(&status));
		if (!WIFEXITED(status) || WEXITSTATUS(status)) {
			bad = bad ? bad : status;
			atomic_store(&control->gone_wrong, 1);
		}
	}
	if (WIFEXITED(bad) && WEXITSTATUS(bad) == KTAP_EXIT_SKIP)
		ktap_skip("one of two processes could not run: see the case with one thread");
	CHECK(!bad, "one of two processes failed: status %#x", bad);
}

static struct control *run_bench(const struct bench *bench, double share, int each)
{
	const size_t lengths[] = { mem_page(), 16 * mem_page(), compact_span() };
	size_t run = bench->huge ? mem_huge() : lengths[bench->run];
	size_t room = bench->huge ? RUNS_HUGE : HEAP / run > RUNS_LEAST ? HEAP / run : RUNS_LEAST;
	struct heap plan = { .method = bench->method, .huge = bench->huge, .run = run,
			     .room = room };
	struct control *control;

	compact_need(bench->method, bench->huge);
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(control != MAP_FAILED, "mmap: %m");
	control->workers = bench->workers == BENCH_ALONE ? 1 : 2;
	control->each = each;
	stay_anywhere(&control->allowed);
	control->more = 1;
	control->share = share;
	control->began = (double)stats_ns();
	for (unsigned int i = 0; i < control->workers; i++) {
		if (bench->workers == BENCH_PROCESSES)
			control->heaps[i] = plan; /* each opens its own */
		else if (!i || bench->workers == BENCH_THREADS)
			control->heaps[i] = heap_open(bench->method, bench->huge, run, room);
		control->heaps[i].count = room < RUNS_WARM ? room : RUNS_WARM;
	}
	control->one_heap = bench->workers == BENCH_TABLES;
	if (bench->workers == BENCH_PROCESSES) {
		run_processes(control);
		return control;
	}
	run_threads(control);
	for (unsigned int i = 0; i < heaps_of(control); i++)
		heap_close(&control->heaps[i]);
	return control;
}

void bench_throughput(const struct bench *bench, double share)
{
	struct control *control = run_bench(bench, share, 0);
	char name[96];

	snprintf(name, sizeof(name), "%s-throughput", ktap_name());
	ktap_diag("%zu rounds of %zu calls of %zu KiB", control->rounds,
		  control->heaps[0].count * heaps_of(control), control->heaps[0].run >> 10);
	stats_median(name, control->figures, control->rounds, "MB/s");
	munmap(control, sizeof(*control));
}

void bench_latency(const struct bench *bench, double share)
{
	struct control *control = run_bench(bench, share, 1);
	size_t calls = control->calls[0] + control->calls[1];
	double *took = control->took;
	char name[96];

	memmove(took + control->calls[0], took + CALLS_MOST, control->calls[1] * sizeof(*took));
	for (size_t i = 0; i < calls; i++)
		took[i] /= 1e3;
	stats_sort(control->figures, control->rounds);
	ktap_diag("%zu calls of %zu KiB in %zu rounds", calls, control->heaps[0].run >> 10,
		  control->rounds);
	stats_distribution(ktap_name(), took, calls, "us");
	snprintf(name, sizeof(name), "%s-p50-spread", ktap_name());
	ktap_measure(name, stats_spread(control->figures, control->rounds), "%");
	munmap(control, sizeof(*control));
}
