/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Drawing programs: a seed makes one, and the same one wherever the model is the same.
 */
#ifndef LAB_EXPLORE_DRAW_H
#define LAB_EXPLORE_DRAW_H

#include "model.h"
#include "swarms.h"

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

static inline int pages_mapped(const struct process *proc)
{
	int count = 0;

	for (int i = 0; i < PAGES; i++)
		count += proc->pages[i].attr.mapped;
	return count;
}

static inline int any_shared(const struct process *proc)
{
	for (int i = 0; i < PAGES; i++)
		if (proc->pages[i].attr.shared)
			return 1;
	return 0;
}

static inline int registered(const struct process *proc, int modes)
{
	for (int i = 0; i < PAGES; i++)
		if (proc->pages[i].attr.reg & modes)
			return 1;
	return 0;
}

/* Whether a step has something to do there: a guess, by which steps are aimed. */
static inline int is_worthwhile(const struct process *proc, int op, int at, int n)
{
	const struct attr *attr = &proc->pages[at].attr;
	int plain = attr->mapped && !is_backed(&proc->pages[at]) && attr->prot == PROT_RW;

	switch (op) {
	case OP_COPY:
	case OP_ZEROPAGE:
	case OP_POISON:
		return attr->reg && may(&proc->pages[at], NONE | MARK);
	case OP_PROTECT:
	case OP_UNPROTECT:
		return attr->reg & REG_WP;
	case OP_SCAN:
		return attr->reg & REG_WP && proc->async;
	case OP_MOVE:
		return plain && one_mapping(proc, at, n) && may(&proc->pages[at], ANON | SWAP | ZERO);
	case OP_REGISTER:
		/* Else it is not carried out. */
		return attr->shared ? one_mapping(proc, at, n) : any_mapped(proc, at, n) && !any_backed(proc, at, n);
	case OP_CONTINUE:
		return attr->reg & REG_MINOR && must(&proc->pages[at], NONE);
	case OP_PIN:
		return plain && !attr->reg;
	default:
		return 1;
	}
}

/* Most are aimed where they have something to do. */
static inline void draw_aim(struct dice *dice, const struct process *proc, struct step *step)
{
	for (int tries = roll(dice, 6) ? 0 : 48; tries < 48; tries++) {
		if (is_worthwhile(proc, step->op, step->at, step->n))
			return;
		step->n = (uint8_t)(1 + roll(dice, 3));
		step->at = (uint8_t)roll(dice, (uint32_t)(PAGES - step->n + 1));
	}
}

/* Where UFFDIO_MOVE may go to: empty, and registered. */
static inline int draw_target(struct dice *dice, const struct process *proc, int n)
{
	int to = 0;

	for (int tries = roll(dice, 6) ? 0 : 48; tries < 48; tries++) {
		to = (int)roll(dice, (uint32_t)(PAGES - n + 1));
		if (proc->pages[to].attr.reg && proc->pages[to].attr.prot == PROT_RW && one_mapping(proc, to, n) &&
		    must(&proc->pages[to], NONE))
			return to;
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
		step->to = (uint8_t)(step_has_other(step)  ? (int)roll(dice, PROCESSES) :
				     step->op == OP_MOVE ? draw_target(dice, proc, step->n) :
							   draw_place(dice, proc, len));
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
		step->how = proc->pages[step->at].attr.shared ? REG_MINOR : (uint8_t)(1 + roll(dice, 3));
	else if (step->op == OP_RECLAIM)
		step->how = !roll(dice, 4);
	else if (step->op == OP_KSM)
		step->how = (uint8_t)(roll(dice, 2) ? KSM_PLAIN : roll(dice, 3) ? KSM_ZEROS : KSM_UNMERGE);
	else if (step->op == OP_UFFD || step->op == OP_OTHER_ADVISE)
		step->how = (uint8_t)roll(dice, 3);
	else if (fields & F_HOW)
		step->how = (uint8_t)roll(dice, 2);
}

/* Large folios come where they were asked for before anything is there: so all of a mapping, before the first write to it. */
static inline void draw_huge_first(struct dice *dice, const struct process *proc, struct step *step)
{
	const struct page *page = &proc->pages[step->at];
	int writes = step->op == OP_WRITE || step->op == OP_POKE || step->op == OP_POPULATE_WRITE;

	if (!writes || !page->attr.mapped || is_backed(page) || page->attr.huge || !roll(dice, 4))
		return;
	step->op = OP_HUGEPAGE;
	step->n = 1;
	for (; step->at > 0 && proc->pages[step->at].joined; step->at--)
		step->n++;
	while (step->at + step->n < PAGES && proc->pages[step->at + step->n].joined)
		step->n++;
}

/* The next step; whether it can be carried out the model says. */
static inline struct step draw_step(struct drawing *drawing, const struct model *model)
{
	struct dice *dice = &drawing->dice;
	struct step step = { 0 };
	const struct process *proc;
	uint32_t sum = 0, ticket;
	int minor;

	do
		step.proc = (uint8_t)roll(dice, PROCESSES);
	while (!model->procs[step.proc].alive);
	proc = &model->procs[step.proc];
	for (int op = 0; op < OPS; op++)
		sum += drawing->weight[op];
	ticket = roll(dice, sum);
	while (ticket >= drawing->weight[step.op])
		ticket -= drawing->weight[step.op++];
	/* What is about large folios begins with them. */
	if (drawing->weight[OP_FOLIOS] && !model->large)
		step.op = OP_FOLIOS;
	/* Where there is little room left, most of what is there shall stay. */
	if (step_is_mmap(&step) && pages_mapped(proc) > PAGES / 2 && roll(dice, drawing->weight[OP_FOLIOS] ? 8 : 2))
		step.op = OP_WRITE;
	minor = step.op == OP_CONTINUE;
	/* What needs a registration begins with one, and with something to register. */
	if (step.op > OP_UFFD && step.op < OP_WAKE && roll(dice, 8))
		step.op = !proc->uffd ? OP_UFFD :
			  registered(proc, minor ? REG_MINOR : 7) ? step.op :
			  minor && !any_shared(proc) ? OP_MAP_FILE : OP_REGISTER;
	if (!any_mapped(proc, 0, PAGES) && step.op != OP_MAP_FILE && step.op != OP_FOLIOS)
		step.op = OP_MMAP;
	if (step.op == OP_PUNCH) {
		step.n = (uint8_t)(1 + roll(dice, 5));
	} else if (step_is_mmap(&step)) {
		step.n = (uint8_t)(drawing->weight[OP_FOLIOS] ? 4 + roll(dice, PAGES - 3) : 1 + roll(dice, 10));
		step.at = (uint8_t)draw_place(dice, proc, step.n);
	} else if (forms[step.op].fields & F_N) {
		draw_range(dice, proc, &step);
		while (minor && step.op == OP_REGISTER && any_shared(proc) && !proc->pages[step.at].attr.shared)
			draw_range(dice, proc, &step);
		draw_aim(dice, proc, &step);
		/* What is registered is soon mapped over: so all of a mapping, more often than not. */
		while (step.op == OP_REGISTER && step.at + step.n < PAGES && roll(dice, 8) &&
		       (!proc->pages[step.at].attr.shared || proc->pages[step.at + step.n].joined))
			step.n++;
	} else if (forms[step.op].fields & F_AT) {
		step.at = (uint8_t)draw_page(dice, proc);
	}
	if (drawing->weight[OP_FOLIOS])
		draw_huge_first(dice, proc, &step);
	draw_fields(dice, proc, &step);
	if (minor && step.op == OP_MAP_FILE) {
		step.how = 1; /* shared */
		step.file = 0;
		step.from %= 6;
	}
	return step;
}

#endif
