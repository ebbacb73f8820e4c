/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model without a kernel: any answer that it allows is taken, any state that it allows is what is seen,
 * and it must not contradict itself.
 */
#ifndef LAB_EXPLORE_DRY_H
#define LAB_EXPLORE_DRY_H

#include "draw.h"
#include "look.h"
#include "rules.h"

/* NULL, or what cannot be of a page. */
static inline const char *dry_page(const struct process *proc, const struct page *page)
{
	if (!page->may)
		return "a page is in no state";
	if (!page->attr.mapped)
		return page->may != NONE ? "a page without a mapping" : NULL;
	if (page->attr.shared)
		return page->may & ~(NONE | SHMEM) ? "a shared page that is private" : NULL;
	if (page->may & SHMEM && !page->attr.file)
		return "a private page that is shared";
	if (!page->own || !page->wp || !page->dirty)
		return "a bit that is neither";
	if (page->attr.reg && !proc->uffd)
		return "a registration without a userfaultfd";
	if (page->may & MARK && !(page->wp & YES))
		return "a marker that does not protect";
	if (must(page, NONE | ZERO | MARKERS) && (page->bytes.fill || page->bytes.spot[0]))
		return "no page, but bytes";
	if (page->may & (ANON | SWAP) && !page->frame)
		return "a page without a frame";
	return NULL;
}

/* The same of two pages. */
static inline const char *dry_pair(const struct page *a, const struct page *b)
{
	if (!a->frame || a->frame != b->frame || !must(a, ANON | SWAP) || !must(b, ANON | SWAP))
		return NULL;
	if (a->own == YES || b->own == YES)
		return "a page of one process's own that another has";
	if (a->tied && b->tied && !bytes_same(&a->bytes, &b->bytes))
		return "one frame with two contents";
	return NULL;
}

static inline const char *dry_check(const struct model *model)
{
	const char *bad = NULL;

	for (int i = 0; i < PROCESSES * PAGES && !bad; i++) {
		const struct process *proc = &model->procs[i / PAGES];
		const struct page *page = &proc->pages[i % PAGES];

		if (!proc->alive)
			continue;
		bad = dry_page(proc, page);
		if (is_backed(page) && !model->objects[page->object].used)
			bad = "a shared page of no object";
		for (int k = i + 1; k < PROCESSES * PAGES && !bad; k++)
			if (model->procs[k / PAGES].alive)
				bad = dry_pair(page, &model->procs[k / PAGES].pages[k % PAGES]);
	}
	return bad;
}

/* One of a set. */
static inline int dry_one(struct dice *dice, int set)
{
	int one;

	do
		one = 1 << roll(dice, STATES);
	while (!(set & one));
	return one;
}

/* What a machine could show of a process. */
static inline void dry_sight(struct sight *sight, const struct process *proc, struct dice *dice)
{
	memset(sight, 0, sizeof(*sight));
	for (int i = 0; i < PAGES; i++) {
		const struct page *page = &proc->pages[i], *last = &proc->pages[i ? i - 1 : 0];
		int joined = i && may_join(page, last) && roll(dice, 8);

		sight->attr[i] = page->attr;
		sight->offset[i] = page->offset;
		sight->joined[i] = joined;
		if (page->attr.mapped)
			sight->mapping_dirty[i] = page->mapping_dirty == EITHER ? roll(dice, 2) :
										  page->mapping_dirty == YES;
		sight->state[i] = dry_one(dice, page->may);
		if (sight->mapping_dirty[i] ||
		    (sight->state[i] != NONE && (page->dirty == EITHER ? roll(dice, 2) : page->dirty == YES)))
			sight->entry[i] |= ENTRY_SOFT_DIRTY;
		if (sight->state[i] == MARK ||
		    (sight->state[i] != NONE && (page->wp == EITHER ? roll(dice, 2) : page->wp == YES)))
			sight->entry[i] |= ENTRY_WP;
	}
}

/* One step: 1 carried out, 0 not, -1 and *why. */
static inline int dry_step(struct model *model, const struct step *step, struct dice *dice, const char **why)
{
	static struct model ahead;
	static struct sight sight;
	struct finding finding = { { 0 }, { 0 }, 0 };
	struct outcome first = model_ahead(model, step), out;
	struct answer answer;
	int tries = 0;

	if (first.skip)
		return 0;
	*why = "a step that cannot come to anything";
	if (!first.count)
		return -1;
	/* An answer that the model takes, as it was allowed before. */
	do {
		memset(&answer, 0, sizeof(answer));
		answer.err = first.err[roll(dice, (uint32_t)first.count)];
		answer.done = !answer.err ? step->n : answer.err == EAGAIN ? 1 + (int)roll(dice, step->n) : 0;
		if (answer.done == step->n && answer.err)
			answer.done--;
		ahead = *model;
		model_step(&ahead, step, &answer, &out);
		*why = "no answer that was allowed before is allowed after";
		if (++tries > 200)
			return -1;
	} while (!is_allowed(&out, answer.err) || (answer.err == EAGAIN && !answer.done));
	*model = ahead;
	*why = dry_check(model);
	if (*why)
		return -1;
	for (int i = 0; i < PROCESSES; i++) {
		if (!model->procs[i].alive)
			continue;
		dry_sight(&sight, &model->procs[i], dice);
		*why = "the model does not take what it allows";
		for (int k = 0; k < PAGES; k++)
			if (look_mapping(&model->procs[i].pages[k], &model->procs[i].pages[k ? k - 1 : 0],
					 &sight, k, model, &finding) ||
			    look_entry(&model->procs[i].pages[k], &sight, k, model, &finding)) {
				ktap_diag("%s", finding.text);
				return -1;
			}
	}
	*why = dry_check(model);
	return *why ? -1 : 1;
}

/* So many steps, in programs of 200; 0, or -1 with the program and the contradiction printed. */
static inline int dry_run(long steps, uint64_t seed, unsigned int can)
{
	static struct model model;
	static struct program program;
	const char *why = NULL;
	char line[160];

	for (long done = 0; done < steps; seed++) {
		struct drawing drawing = draw_begin(&swarms[seed % SWARMS], seed);

		model_begin(&model, can);
		model.known = seed & 1;
		program.count = 0;
		for (int i = 0; i < 400 && program.count < 200 && done < steps; i++) {
			struct step step = draw_step(&drawing, &model);
			int came = dry_step(&model, &step, &drawing.dice, &why);

			if (came)
				program.steps[program.count++] = step;
			if (came >= 0) {
				done += came;
				continue;
			}
			ktap_diag("seed %llu: %s", (unsigned long long)seed, why);
			for (int k = 0; k < program.count; k++) {
				step_print(&program.steps[k], line, sizeof(line));
				ktap_diag("  %s", line);
			}
			return -1;
		}
	}
	return 0;
}

#endif
