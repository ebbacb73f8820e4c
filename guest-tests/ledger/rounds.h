/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the machine held after each of several equal rounds of work.  A leak adds to it in every round;
 * a jump in one of them, or a value that goes up and down, leaves the median of what was added alone.
 */
#ifndef LAB_ROUNDS_H
#define LAB_ROUNDS_H

#include "ktap.h"
#include "machine.h"

#define ROUNDS_MOST 32

static char rounds_text[64 * 1024];
static struct machine readings[ROUNDS_MOST + 1]; /* before the first round, and after each */
static int rounds;

/* Touch what a reading needs, so that it takes nothing itself. */
static inline void rounds_prepare(void)
{
	memset(rounds_text, 1, sizeof(rounds_text));
	memset(readings, 1, sizeof(readings));
}

/* Read again what seems to have grown: it may only have been passing through. */
static inline struct machine rounds_at_rest(const struct machine *last)
{
	struct machine now, again;

	machine_settle();
	machine_read(&now, rounds_text, sizeof(rounds_text));
	if (last && machine_grew(last, &now)) {
		machine_read(&again, rounds_text, sizeof(rounds_text));
		machine_least(&now, &again);
	}
	return now;
}

static inline void rounds_begin(void)
{
	rounds = 0;
	readings[0] = rounds_at_rest(NULL);
}

/* To be called after each round; those beyond ROUNDS_MOST replace the last. */
static inline void rounds_read(void)
{
	rounds += rounds < ROUNDS_MOST;
	readings[rounds] = rounds_at_rest(&readings[rounds - 1]);
}

static inline long rounds_added(int value, int round)
{
	return readings[round + 1].value[value] - readings[round].value[value];
}

/* What the rounds from first on added: the value in the middle, the lower one of two. */
static inline long rounds_median(int value, int first)
{
	long added[ROUNDS_MOST], one;
	int count = 0, at;

	for (int round = first; round < rounds; round++, count++) {
		one = rounds_added(value, round);
		for (at = count; at && added[at - 1] > one; at--)
			added[at] = added[at - 1];
		added[at] = one;
	}
	return count ? added[(count - 1) / 2] : 0;
}

static inline long rounds_sum(int value)
{
	return readings[rounds].value[value] - readings[0].value[value];
}

static inline void rounds_tell(int value, int first)
{
	char line[16 * ROUNDS_MOST];
	size_t used = 0;

	line[0] = 0;
	for (int round = first; round < rounds && used < sizeof(line); round++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, " %+ld",
					 rounds_added(value, round));
	ktap_diag("%s: %ld, then%s", machine_names[value], readings[first].value[value], line);
}

#endif
