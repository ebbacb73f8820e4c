/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guidance by coverage: a program that passes places of the kernel which none passed before is kept, and half of the
 * programs that follow are made of those that were kept (mutate.h).  The other half is drawn as ever: what only
 * chance comes to is not to be starved by what is known to lead somewhere, and where nothing new comes any more the
 * one is worth as much as the other.
 *
 * The lab reads the lines that begin with KEPT (orchestrator/evidence/kept.py).  They are no diagnostics of the
 * case: of those only some are kept, and a find's must be among them.
 */
#ifndef LAB_EXPLORE_GUIDE_H
#define LAB_EXPLORE_GUIDE_H

#include "cover.h"
#include "mutate.h"
#include "run.h"

/* So many are kept; then the oldest gives way: what is new is rarer the later it comes. */
#define BASES 64
/* Of 100 programs so many are made of kept ones. */
#define GUIDED_SHARE 50
/* A line: the steps of a program, and the places that it passed. */
#define KEPT_LINE (1 << 18)

static struct {
	int unguided; /* as it was asked for */
	int count; /* of bases that were ever kept */
	struct program bases[BASES];
	int firsts, tried; /* programs that are carried out as they are, before all others */
	struct program first[BASES];
} guide;

static inline void guide_keep(const struct program *program, int count)
{
	struct program *base = &guide.bases[guide.count % BASES];

	if (!count)
		return;
	*base = *program;
	base->count = count;
	guide.count++;
}

/* What was kept, the later the likelier. */
static inline const struct program *guide_pick(struct dice *dice)
{
	uint32_t there = guide.count < BASES ? (uint32_t)guide.count : BASES;
	uint32_t one = roll(dice, there), other = roll(dice, there), age = one < other ? one : other;

	return &guide.bases[(guide.count - 1 - (int)age) % BASES];
}

/* The next program, of others or as another was; whether it is one, else it is to be drawn. */
static inline int guide_next(uint64_t seed, int steps, struct program *made)
{
	struct dice dice = dice_of(seed * 2 + 1);

	if (cover_on() && guide.tried < guide.firsts) {
		*made = guide.first[guide.tried++];
		return 1;
	}
	if (!cover_on() || guide.unguided || !guide.count || roll(&dice, 100) >= GUIDED_SHARE)
		return 0;
	/* Longer ones than are drawn, so that what is put in need not cost what it was put into. */
	steps += steps / 2;
	*made = mutate(&dice, guide_pick(&dice), guide_pick(&dice), steps > STEPS_MAX - 8 ? STEPS_MAX - 8 : steps);
	return made->count > 0;
}

static inline int guide_ascending(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return one < other ? -1 : one > other;
}

/* Say of a program what it passed, as the first place and the distances from one to the next, and its steps. */
static inline void guide_tell(const struct program *program, int count, const char *swarm, int made)
{
	static char line[KEPT_LINE];
	struct cover_set *set = cover.set;
	int used = snprintf(line, sizeof(line), "KEPT swarm=%s from=%s new=%u pcs=", swarm, made ? "kept" : "drawn",
			    set->fresh);
	char step[160];

	qsort(set->ran, set->ran_count, sizeof(set->ran[0]), guide_ascending);
	for (uint32_t i = 0; i < set->ran_count; i++)
		used += snprintf(line + used, sizeof(line) - (size_t)used, "%s%llx", i ? "+" : "",
				 (unsigned long long)(set->ran[i] - (i ? set->ran[i - 1] : 0)));
	used += snprintf(line + used, sizeof(line) - (size_t)used, " steps=");
	for (int i = 0; i < count; i++) {
		step_print(&program->steps[i], step, sizeof(step));
		used += snprintf(line + used, sizeof(line) - (size_t)used, "%s%s", i ? ";" : "", step);
	}
	line[used++] = '\n';
	for (const char *at = line; used > 0;) {
		ssize_t done = write(STDOUT_FILENO, at, (size_t)used);

		if (done <= 0)
			return;
		at += done;
		used -= (int)done;
	}
}

/* After a program that found nothing: it is kept where it passed something new. */
static inline void guide_take(const struct result *result, const char *swarm, int made)
{
	if (!cover_on() || !cover.set->fresh || !result->drawn)
		return;
	guide_keep(&result->program, result->drawn);
	guide_tell(&result->program, result->drawn, swarm, made);
}

/* What earlier programs passed: 0, or -1 where the text is not as guide_tell() writes it. */
static inline int guide_passed(const char *text)
{
	uint64_t pc = 0;
	char *end;

	for (; *text; text = *end ? end + 1 : end) {
		pc += strtoull(text, &end, 16);
		if (end == text || (*end && *end != '+'))
			return -1;
		cover_anew(); /* what a program can pass has a bound, this has not */
		cover_add(cover.set, pc);
	}
	return 0;
}

#endif
