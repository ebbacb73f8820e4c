/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rounds of filling, compacting and checking heaps, by one or two workers at once, and the figures
 * that come of them.
 */
#ifndef LAB_BENCH_H
#define LAB_BENCH_H

#include <stddef.h>

#include "compact.h"

/*
 * ALONE: one thread.  THREADS: two of one process, each with a heap of its own, so that they share
 * the mm's locks and no page table.  TABLES: two threads that take every second run of one heap, so
 * that they share page tables and their locks too.  PROCESSES: two with nothing in common, which is
 * what the other two are measured by.
 */
enum bench_workers { BENCH_ALONE, BENCH_THREADS, BENCH_TABLES, BENCH_PROCESSES };

/* RUN_PAGE: one page a call.  RUN_16: sixteen.  RUN_SPAN: as long as a huge page. */
enum bench_run { BENCH_PAGE, BENCH_16, BENCH_SPAN };

struct bench {
	enum compact_method method;
	int huge;
	enum bench_run run;
	enum bench_workers workers;
};

/*
 * The command line: KIND [--seed N] [--seconds S] [--intensity I], the options being those that the
 * lab gives to every workload with a budget.  The seconds are for all cases together; seed and
 * intensity are accepted and mean nothing, since nothing here is random.  Gives KIND; bad usage
 * ends the program with status 2.
 */
const char *bench_parse(int argc, char **argv, double seconds);

/* How long one of so many cases may take, in nanoseconds. */
double bench_share(size_t cases);

/* Time rounds for one share; prints CASE-throughput in MB/s (10^6 bytes of live pages). */
void bench_throughput(const struct bench *bench, double share);

/* Time every call; prints CASE-p50, -p90, -p99 and -max in us, and CASE-p50-spread in %. */
void bench_latency(const struct bench *bench, double share);

#endif
