// SPDX-License-Identifier: GPL-2.0-only
/* See stats.h. */
#define _GNU_SOURCE
#include "stats.h"

#include <stdio.h>
#include <time.h>

#include "ktap.h"

#define READINGS 512

int64_t stats_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

const struct stats_clock *stats_clock(void)
{
	static struct stats_clock clock;
	int64_t begin, last, now, step = INT64_MAX;
	size_t steps = 0;

	if (clock.cost > 0)
		return &clock;
	begin = last = stats_ns();
	/* A coarse clock stands still for many readings: wait for two of its ticks then. */
	for (size_t i = 1; i <= READINGS || steps < 2; i++) {
		now = stats_ns();
		if (i == READINGS)
			clock.cost = (double)(now - begin) / READINGS;
		if (now != last) {
			/* The first step of a coarse clock began before the first reading. */
			if ((steps++ || now - last < 1000000) && now - last < step)
				step = now - last;
			last = now;
		}
	}
	clock.step = (double)step;
	if (clock.cost <= 0)
		clock.cost = clock.step / READINGS;
	return &clock;
}

void stats_print_clock(void)
{
	const struct stats_clock *clock = stats_clock();

	ktap_measure("clock-step", clock->step / 1e3, "us");
	ktap_measure("clock-cost", clock->cost / 1e3, "us");
}

/* Heapsort: in place, and no worse on values that are sorted already. */
static void sift(double *values, size_t root, size_t count)
{
	for (size_t child; (child = 2 * root + 1) < count; root = child) {
		double value = values[root];

		if (child + 1 < count && values[child + 1] > values[child])
			child++;
		if (value >= values[child])
			return;
		values[root] = values[child];
		values[child] = value;
	}
}

void stats_sort(double *values, size_t count)
{
	for (size_t root = count / 2; root-- > 0;)
		sift(values, root, count);
	for (size_t end = count; end-- > 1;) {
		double most = values[0];

		values[0] = values[end];
		values[end] = most;
		sift(values, 0, end);
	}
}

double stats_percentile(const double *sorted, size_t count, double percent)
{
	size_t rank = (size_t)((double)count * percent / 100);

	/* Rounded up: at least percent % of the values are as small or smaller. */
	if ((double)rank * 100 < (double)count * percent)
		rank++;
	if (!rank)
		rank = 1;
	return sorted[(rank < count ? rank : count) - 1];
}

double stats_spread(const double *sorted, size_t count)
{
	double median = stats_percentile(sorted, count, 50);

	if (!(median > 0))
		return 0;
	return (stats_percentile(sorted, count, 75) - stats_percentile(sorted, count, 25)) /
	       median * 100;
}

static void measure(const char *name, const char *what, double value, const char *unit)
{
	char full[128];

	snprintf(full, sizeof(full), "%s%s", name, what);
	ktap_measure(full, value, unit);
}

void stats_median(const char *name, double *values, size_t count, const char *unit)
{
	stats_sort(values, count);
	measure(name, "", stats_percentile(values, count, 50), unit);
	measure(name, "-spread", stats_spread(values, count), "%");
}

void stats_distribution(const char *name, double *values, size_t count, const char *unit)
{
	stats_sort(values, count);
	measure(name, "-p50", stats_percentile(values, count, 50), unit);
	if (count >= 10)
		measure(name, "-p90", stats_percentile(values, count, 90), unit);
	if (count >= 100)
		measure(name, "-p99", stats_percentile(values, count, 99), unit);
	measure(name, "-max", stats_percentile(values, count, 100), unit);
}
