/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs that are made of others, without a kernel: each of their steps can be written and read again, and the
 * model, which takes any answer that it allows, does not contradict itself over them.
 */
#ifndef LAB_EXPLORE_DRY_MUTATE_H
#define LAB_EXPLORE_DRY_MUTATE_H

#include "dry.h"
#include "guide.h"

/* Whether a step is one that can be read again as it is. */
static inline int dry_readable(const struct step *step)
{
	char line[160], again[160];
	struct step other;
	const char *why;

	step_print(step, line, sizeof(line));
	memcpy(again, line, sizeof(line));
	if (step_parse(again, &other, &why) != 1)
		return 0;
	step_print(&other, again, sizeof(again));
	return !strcmp(line, again);
}

/* One program made of those that were kept, as it was carried out; 0, or -1 with what is wrong printed. */
static inline int dry_mutated(struct program *out, uint64_t seed, int most, unsigned int can)
{
	static struct model model;
	struct drawing drawing = draw_begin(&swarms[seed % (SWARMS - SWARMS_STEADY)], seed);
	struct dice dice = dice_of(seed);
	const struct program made = mutate(&dice, guide_pick(&dice), guide_pick(&dice), most);
	const char *why = "";
	char line[160];

	model_begin(&model, can);
	model.known = seed & 1;
	out->count = 0;
	for (int i = 0; i < made.count; i++) {
		struct step step = made.steps[i];
		int came = -1;

		if (step.op == OP_DRAWN)
			step = draw_step(&drawing, &model);
		why = "a step that cannot be read again";
		if (dry_readable(&step))
			came = dry_step(&model, &step, &drawing.dice, &why);
		if (came > 0)
			out->steps[out->count++] = step;
		if (came >= 0)
			continue;
		step_print(&step, line, sizeof(line));
		ktap_diag("seed %llu: %s: %s", (unsigned long long)seed, line, why);
		return -1;
	}
	return 0;
}

/* So many of them, with --- in between; each of some steps, if any, may be the base of the next. */
static inline int dry_mutate_all(long count, uint64_t seed, int most, unsigned int can)
{
	static struct program made;
	char line[160];

	for (long i = 0; i < count; i++) {
		if (dry_mutated(&made, seed + (uint64_t)i, most, can))
			return -1;
		for (int k = 0; k < made.count; k++) {
			step_print(&made.steps[k], line, sizeof(line));
			ktap_diag("PROGRAM %s", line);
		}
		ktap_diag("---");
		guide_keep(&made, made.count);
	}
	return 0;
}

#endif
