/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What performance workloads need: a clock whose resolution was measured, and figures that say how
 * far they spread.  Nothing here allocates memory.
 */
#ifndef LAB_STATS_H
#define LAB_STATS_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t stats_ns(void);

/*
 * That clock as this guest has it, measured once.  clock_getres() tells what the interface can
 * express (1 ns), not what the hardware gives: a PC without TSC, HPET and PM timer ticks with
 * jiffies.  step: the smallest step seen, cost: one reading, both in nanoseconds.
 */
struct stats_clock {
	double step;
	double cost;
};

const struct stats_clock *stats_clock(void);

/* Print both, as "clock-step" and "clock-cost" in us. */
void stats_print_clock(void);

/* Sort ascending, in place. */
void stats_sort(double *values, size_t count);

/* The nearest-rank percentile: the smallest of the values that percent % of them do not exceed. */
double stats_percentile(const double *sorted, size_t count, double percent);

/* The distance between the quartiles of sorted values, in percent of their median. */
double stats_spread(const double *sorted, size_t count);

/*
 * Sort the values of all rounds and print their median as NAME, and as NAME-spread in % what
 * stats_spread() gives.
 */
void stats_median(const char *name, double *values, size_t count, const char *unit);

/*
 * Sort values and print NAME-p50, -p90, -p99 and -max.  A percentile is left out where less than
 * one value would lie above it: the p99 of 50 values is their maximum under another name.
 */
void stats_distribution(const char *name, double *values, size_t count, const char *unit);

#endif
