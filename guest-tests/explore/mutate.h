/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs made of others: steps are put in, left out and changed, and the beginning of one goes on as another.
 * What comes of it can be carried out as any program: what makes no sense where it stands is passed over.
 */
#ifndef LAB_EXPLORE_MUTATE_H
#define LAB_EXPLORE_MUTATE_H

#include "draw.h"

/* In place of a step: one that is drawn when its turn comes, when the model knows what there is. */
#define OP_DRAWN OPS

/* At most so many changes at once; and so many steps more or less by one of them. */
#define MUTATIONS 4
#define MUTATED_AT_ONCE 4

/* A range that is near the one that was, or anywhere. */
static inline void mutate_range(struct dice *dice, struct step *step)
{
	int at = step->at, n = step->n;

	if (roll(dice, 3)) {
		at += (int)roll(dice, 3) - 1;
		n += (int)roll(dice, 3) - 1;
	} else {
		at = (int)roll(dice, PAGES);
		n = 1 + (int)roll(dice, 14);
	}
	at = at < 0 ? 0 : at > PAGES - 1 ? PAGES - 1 : at;
	n = n < 1 ? 1 : n > PAGES - at ? PAGES - at : n;
	step->at = (uint8_t)at;
	if (forms[step->op].fields & F_N)
		step->n = (uint8_t)n;
}

/* One of a step's words. */
static inline uint8_t mutate_word(struct dice *dice, const struct step *step)
{
	const char *const *words = forms[step->op].words;
	uint32_t count = 0;

	while (words[count])
		count++;
	/* The first word of register is none. */
	return (uint8_t)(step->op == OP_REGISTER ? 1 + roll(dice, count - 1) : roll(dice, count));
}

/* One field of a step, or whose step it is; it stays one that step_parse() takes. */
static inline void mutate_step(struct dice *dice, struct step *step)
{
	unsigned int has = step->op == OP_DRAWN ? 0 : forms[step->op].fields, field;

	if (!has || !roll(dice, 8)) {
		step->proc = (uint8_t)roll(dice, PROCESSES);
		return;
	}
	do
		field = 1u << roll(dice, 10);
	while (!(has & field));
	switch (field) {
	case F_AT:
		mutate_range(dice, step);
		break;
	case F_N:
		if (step->op == OP_PUNCH)
			step->n = (uint8_t)(1 + roll(dice, (uint32_t)(PAGES - step->from)));
		else
			mutate_range(dice, step);
		break;
	case F_LEN:
		step->len = (uint8_t)(step->op == OP_TRUNCATE ? roll(dice, 17) :
				      roll(dice, 2)	      ? step->n :
								1 + roll(dice, PAGES));
		break;
	case F_TO:
		step->to = (uint8_t)roll(dice, step_has_other(step) ? PROCESSES : PAGES);
		break;
	case F_PROT:
		*step_prot(step) = (uint8_t)roll(dice, 3);
		break;
	case F_HOW:
		step->how = mutate_word(dice, step);
		break;
	case F_BYTE:
		step->byte = (uint8_t)roll(dice, 6);
		break;
	case F_SPOT:
		step->spot = (uint8_t)roll(dice, SPOTS);
		break;
	case F_FILE:
		step->file = (uint8_t)roll(dice, FILES);
		break;
	default: /* F_FROM */
		step->from = (uint8_t)roll(dice, step->op == OP_PUNCH ? (uint32_t)(PAGES - step->n + 1) : 14);
	}
}

/* Make room for n steps at a place, at the cost of those beyond most. */
static inline void mutate_insert(struct dice *dice, struct program *program, int most)
{
	int at = (int)roll(dice, (uint32_t)program->count + 1), n = 1 + (int)roll(dice, MUTATED_AT_ONCE);

	if (n > most - at)
		n = most - at;
	if (program->count > most - n)
		program->count = most - n;
	memmove(&program->steps[at + n], &program->steps[at],
		sizeof(program->steps[0]) * (size_t)(program->count - at));
	for (int i = 0; i < n; i++)
		program->steps[at + i] = (struct step){ .op = OP_DRAWN };
	program->count += n;
}

static inline void mutate_drop(struct dice *dice, struct program *program)
{
	int at = (int)roll(dice, (uint32_t)program->count), n = 1 + (int)roll(dice, MUTATED_AT_ONCE);

	if (n > program->count - at)
		n = program->count - at;
	memmove(&program->steps[at], &program->steps[at + n],
		sizeof(program->steps[0]) * (size_t)(program->count - at - n));
	program->count -= n;
}

/* The beginning of one, then the end of the other. */
static inline void mutate_splice(struct dice *dice, struct program *program, const struct program *other, int most)
{
	int at = (int)roll(dice, (uint32_t)program->count), from = (int)roll(dice, (uint32_t)other->count);
	int n = other->count - from;

	if (n > most - at)
		n = most - at;
	memcpy(&program->steps[at], &other->steps[from], sizeof(program->steps[0]) * (size_t)n);
	program->count = at + n;
}

/* A program made of one, and of another where it is spliced; both have steps, and no more than most are in it. */
static inline struct program mutate(struct dice *dice, const struct program *base, const struct program *other,
				    int most)
{
	struct program made = *base;

	if (made.count > most)
		made.count = most;
	for (int left = 1 + (int)roll(dice, MUTATIONS); left > 0; left--) {
		uint32_t how = made.count ? roll(dice, 8) : 0;

		if (how < 3)
			mutate_insert(dice, &made, most);
		else if (how < 4)
			mutate_drop(dice, &made);
		else if (how < 7)
			mutate_step(dice, &made.steps[roll(dice, (uint32_t)made.count)]);
		else
			mutate_splice(dice, &made, other, most);
	}
	return made;
}

#endif
