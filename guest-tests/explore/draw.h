/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Drawing programs: a seed makes one, and the same one wherever the model is the same.  A swarm says how
 * often each step comes, so that rare ones are not drowned by common ones.
 */
#ifndef LAB_EXPLORE_DRAW_H
#define LAB_EXPLORE_DRAW_H

#include "model.h"

struct swarm {
	const char *name;
	uint8_t weight[OPS];
	int subset; /* of each program's own, half of the steps do not come at all */
};

struct dice {
	uint64_t state;
};

/* xorshift64*, after a few rounds that spread a small seed. */
static inline uint32_t roll(struct dice *dice, uint32_t sides)
{
	dice->state ^= dice->state >> 12;
	dice->state ^= dice->state << 25;
	dice->state ^= dice->state >> 27;
	return (uint32_t)((dice->state * 0x2545f4914f6cdd1dull) >> 33) % sides;
}

static inline struct dice dice_of(uint64_t seed)
{
	struct dice dice = { (seed + 1) * 0x9e3779b97f4a7c15ull };

	for (int i = 0; i < 8; i++)
		(void)roll(&dice, 2);
	return dice;
}

/* Steps that every program has: without them the others have nothing to do. */
#define ALWAYS [OP_MMAP] = 8, [OP_WRITE] = 8, [OP_POKE] = 4, [OP_READ] = 8

#define MAPPINGS                                                                                   \
	[OP_MUNMAP] = 3, [OP_RESIZE] = 4, [OP_REMAP] = 6, [OP_LEAVE] = 3, [OP_MPROTECT] = 6,       \
	[OP_MLOCK] = 3, [OP_MLOCK_ONFAULT] = 2, [OP_MUNLOCK] = 3
#define ADVICE                                                                                     \
	[OP_DONTNEED] = 4, [OP_FREE] = 4, [OP_COLD] = 2, [OP_PAGEOUT] = 6, [OP_WILLNEED] = 3,      \
	[OP_REMOVE] = 1, [OP_POPULATE_READ] = 3, [OP_POPULATE_WRITE] = 3, [OP_HUGEPAGE] = 1, [OP_NOHUGEPAGE] = 1,   \
	[OP_COLLAPSE] = 1, [OP_MERGEABLE] = 1, [OP_UNMERGEABLE] = 1, [OP_GUARD] = 3, [OP_UNGUARD] = 1
#define FAMILY                                                                                     \
	[OP_FORK] = 4, [OP_EXIT] = 1, [OP_KILL] = 1, [OP_DONTFORK] = 1, [OP_DOFORK] = 1,           \
	[OP_WIPEONFORK] = 2, [OP_KEEPONFORK] = 1, [OP_VFORK] = 2, [OP_OTHER_READ] = 3,             \
	[OP_OTHER_WRITE] = 2, [OP_OTHER_ADVISE] = 2
#define FILES_OWN                                                                                 \
	[OP_MAP_FILE] = 8, [OP_TRUNCATE] = 2, [OP_PUNCH] = 2, [OP_FILE_WRITE] = 3,   \
	[OP_FILE_READ] = 3
#define USERFAULT                                                                                  \
	[OP_UFFD] = 6, [OP_REGISTER] = 8, [OP_UNREGISTER] = 2, [OP_COPY] = 6, [OP_ZEROPAGE] = 4,   \
	[OP_PROTECT] = 6, [OP_UNPROTECT] = 3, [OP_MOVE] = 8, [OP_WAKE] = 1, [OP_CLOSE] = 1,  \
	[OP_POISON] = 2, [OP_SCAN] = 4

static const struct swarm swarms[] = {
	{ "mappings", { ALWAYS, MAPPINGS, [OP_FORK] = 1, [OP_PAGEOUT] = 1, [OP_CLEAR_DIRTY] = 2 }, 0 },
	{ "advice", { ALWAYS, ADVICE, [OP_FORK] = 2, [OP_EXIT] = 1, [OP_MPROTECT] = 1, [OP_MLOCK] = 1,
		      [OP_MUNLOCK] = 1, [OP_SCAN] = 1, [OP_CLEAR_DIRTY] = 2 }, 0 },
	{ "processes", { ALWAYS, FAMILY, [OP_PAGEOUT] = 2, [OP_MPROTECT] = 2, [OP_REMAP] = 2,
			 [OP_DONTNEED] = 1, [OP_FREE] = 1, [OP_MUNMAP] = 1, [OP_CLEAR_DIRTY] = 1 }, 0 },
	{ "userfault", { ALWAYS, USERFAULT, [OP_REMAP] = 2, [OP_MPROTECT] = 1, [OP_PAGEOUT] = 2,
			 [OP_FORK] = 1, [OP_DONTNEED] = 2, [OP_CLEAR_DIRTY] = 1 }, 0 },
	{ "files", { ALWAYS, FILES_OWN, [OP_REMOVE] = 2, [OP_MPROTECT] = 3, [OP_RESIZE] = 2, [OP_REMAP] = 3, [OP_LEAVE] = 1,
		     [OP_MLOCK] = 1, [OP_MUNLOCK] = 1, [OP_DONTNEED] = 2, [OP_PAGEOUT] = 3, [OP_WILLNEED] = 1,
		     [OP_POPULATE_READ] = 2, [OP_POPULATE_WRITE] = 2, [OP_FORK] = 3, [OP_EXIT] = 1,
		     [OP_MUNMAP] = 1, [OP_CLEAR_DIRTY] = 1 }, 0 },
	{ "everything", { ALWAYS, MAPPINGS, ADVICE, FAMILY, FILES_OWN, USERFAULT, [OP_CLEAR_DIRTY] = 2 }, 1 },
};
#define SWARMS ((int)(sizeof(swarms) / sizeof(swarms[0])))

struct drawing {
	struct dice dice;
	uint8_t weight[OPS];
};

static inline struct drawing draw_begin(const struct swarm *swarm, uint64_t seed)
{
	struct drawing drawing = { .dice = dice_of(seed) };

	memcpy(drawing.weight, swarm->weight, sizeof(drawing.weight));
	for (int op = 0; swarm->subset && op < OPS; op++)
		if (roll(&drawing.dice, 2) && op != OP_MMAP && op != OP_WRITE && op != OP_READ &&
		    op != OP_UFFD && op != OP_REGISTER)
			drawing.weight[op] = 0;
	return drawing;
}

/* A page, mostly one that is mapped. */
static inline int draw_page(struct dice *dice, const struct process *proc)
{
	int at = (int)roll(dice, PAGES);

	for (int i = 0; i < 5 && !proc->pages[at].attr.mapped; i++)
		at = (int)roll(dice, PAGES);
	return at;
}

/* A range, mostly short; now and then it begins or ends with a mapping. */
static inline void draw_range(struct dice *dice, const struct process *proc, struct step *step)
{
	int n = 1 + (int)roll(dice, roll(dice, 4) ? 5 : 14);

	step->at = (uint8_t)draw_page(dice, proc);
	while (roll(dice, 2) && step->at > 0 && proc->pages[step->at].joined)
		step->at--;
	if (n > PAGES - step->at)
		n = PAGES - step->at;
	step->n = (uint8_t)n;
}

/* A place for so many pages: half the time beside a mapping, where the two may become one. */
static inline int draw_place(struct dice *dice, const struct process *proc, int n)
{
	int to = (int)roll(dice, (uint32_t)(PAGES - n + 1));

	for (int i = 0; i < 12 && roll(dice, 2); i++) {
		int free = !any_mapped(proc, to, n);
		int beside = (to && proc->pages[to - 1].attr.mapped) ||
			     (to + n < PAGES && proc->pages[to + n].attr.mapped);

		if (free && beside)
			break;
		to = (int)roll(dice, (uint32_t)(PAGES - n + 1));
	}
	return to;
}

/* What else a step is told. */
static inline void draw_fields(struct dice *dice, const struct process *proc, struct step *step)
{
	static const uint8_t maps[] = { 0, 0, 0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 8 };
	unsigned int fields = forms[step->op].fields;
	int len = step->n;

	if (fields & F_LEN && step->n) {
		len = step->n + (int)roll(dice, 7) - 3;
		if (step->op == OP_REMAP && roll(dice, 2))
			len = step->n;
		len = len < 1 ? 1 : len > PAGES ? PAGES : len;
		step->len = (uint8_t)len;
	}
	if (fields & F_TO)
		step->to = (uint8_t)(step_has_other(step) ? roll(dice, PROCESSES) :
							   (uint32_t)draw_place(dice, proc, len));
	if (fields & F_BYTE)
		step->byte = (uint8_t)roll(dice, 6);
	if (fields & F_PROT)
		*step_prot(step) = (uint8_t)(roll(dice, 10) < 7 ? PROT_RW : roll(dice, 3) ? PROT_R : PROT_NO);
	else if (fields & F_SPOT)
		step->spot = (uint8_t)roll(dice, SPOTS);
	if (fields & F_FILE)
		step->file = (uint8_t)roll(dice, FILES);
	if (fields & F_FROM)
		step->from = (uint8_t)roll(dice, 14);
	if (step->op == OP_MAP_FILE)
		step->how = (uint8_t)(roll(dice, 3) ? roll(dice, 2) : 2 + roll(dice, 2));
	else if (step->op == OP_TRUNCATE)
		step->len = (uint8_t)roll(dice, 17);
	else if (step->op == OP_MMAP)
		step->how = maps[roll(dice, sizeof(maps))];
	else if (step->op == OP_REGISTER)
		step->how = (uint8_t)(1 + roll(dice, 3));
	else if (step->op == OP_UFFD || step->op == OP_OTHER_ADVISE)
		step->how = (uint8_t)roll(dice, 3);
	else if (fields & F_HOW)
		step->how = (uint8_t)roll(dice, 2);
}

/* The next step; whether it can be carried out the model says. */
static inline struct step draw_step(struct drawing *drawing, const struct model *model)
{
	struct dice *dice = &drawing->dice;
	struct step step = { 0 };
	const struct process *proc;
	uint32_t sum = 0, ticket;

	do
		step.proc = (uint8_t)roll(dice, PROCESSES);
	while (!model->procs[step.proc].alive);
	proc = &model->procs[step.proc];
	for (int op = 0; op < OPS; op++)
		sum += drawing->weight[op];
	ticket = roll(dice, sum);
	while (ticket >= drawing->weight[step.op])
		ticket -= drawing->weight[step.op++];
	if (!any_mapped(proc, 0, PAGES) && step.op != OP_MAP_FILE)
		step.op = OP_MMAP;
	if (step.op == OP_PUNCH) {
		step.n = (uint8_t)(1 + roll(dice, 5));
	} else if (step_is_mmap(&step)) {
		step.n = (uint8_t)(1 + roll(dice, 10));
		step.at = (uint8_t)draw_place(dice, proc, step.n);
	} else if (forms[step.op].fields & F_N) {
		draw_range(dice, proc, &step);
	} else if (forms[step.op].fields & F_AT) {
		step.at = (uint8_t)draw_page(dice, proc);
	}
	draw_fields(dice, proc, &step);
	return step;
}

#endif
