/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the model has to say of a program, without a kernel: what each step may come to, and what is then of
 * every page.  Each step succeeds where it may, and of what may be nothing is looked at.
 */
#ifndef LAB_EXPLORE_SAY_H
#define LAB_EXPLORE_SAY_H

#include "counters.h"
#include "rules.h"
#include "run.h"

static inline const char *bit_text(int set, const char *no, const char *yes, const char *either)
{
	return set == NO ? no : set == YES ? yes : either;
}

/* Whom a page shares its frame with, or may: the first other one. */
static inline void say_frame(const struct model *model, int proc, int at)
{
	const struct page *page = &model->procs[proc].pages[at];

	for (int i = 0; i < PROCESSES * PAGES; i++) {
		const struct page *other = &model->procs[i / PAGES].pages[i % PAGES];

		if (other == page || !page->frame || other->frame != page->frame)
			continue;
		ktap_diag("FRAME %d:%d %s %d:%d", proc, at, page->tied && other->tied ? "with" : "maybe-with",
			  i / PAGES, i % PAGES);
		return;
	}
	ktap_diag("FRAME %d:%d alone", proc, at);
}

/* A page; and whether its mapping counts as new, which makes all its pages soft-dirty. */
static inline void say_page(struct model *model, int proc, int at)
{
	struct page *page = &model->procs[proc].pages[at];
	const struct bytes *bytes = page_bytes(model, page);
	char attr[128], state[96], other[32] = "";

	attr_text(&page->attr, attr, sizeof(attr));
	if (page->has_other)
		snprintf(other, sizeof(other), " or %d behind it", page->other.fill);
	ktap_diag("PAGE %d:%d %s, %s%s%s%s%s, bytes %d%s", proc, at, attr,
		  states_text(page->may, state, sizeof(state)),
		  page->may & (ANON | SWAP) ? bit_text(page->own, " shared", " own", " own?") : "",
		  bit_text(page->wp, "", " protected", " protected?"),
		  bit_text(page->dirty, "", " dirty", " dirty?"), page->lazy ? " lazy" : "", bytes->spot[0], other);
	say_frame(model, proc, at);
	ktap_diag("NEW %d:%d %s", proc, at, bit_text(page->mapping_dirty, "no", "yes", "maybe"));
}

/* Say it of a program. */
static inline void say_program(const struct program *program, unsigned int can)
{
	static struct model model;
	static struct model ahead;
	struct outcome out;
	char line[160], may[160];

	model_begin(&model, can);
	for (int i = 0; i < program->count; i++) {
		const struct step *step = &program->steps[i];
		struct answer answer = { 0 };
		int used = 0;

		step_print(step, line, sizeof(line));
		out = model_ahead(&model, step);
		for (int k = 0; k < out.count; k++)
			used += snprintf(may + used, sizeof(may) - (size_t)used, "%s%s", k ? "|" : "",
					 answer_name(out.err[k]));
		if (!is_allowed(&out, 0))
			out.values = 0;
		if (out.values)
			used += snprintf(may + used, sizeof(may) - (size_t)used, " %d", out.value[0]);
		if (out.values > 1)
			used += snprintf(may + used, sizeof(may) - (size_t)used, " or %d", out.value[1]);
		ktap_diag("STEP %s: %s", line, out.skip ? "not carried out" : used ? may : "nothing");
		if (out.skip)
			continue;
		answer.err = is_allowed(&out, 0) ? 0 : out.err[0];
		while (!answer.err && answer.done < step->n)
			answer.done++;
		/* Behind the first page: as far as the model goes along. */
		for (; answer.err == EAGAIN && answer.done < step->n; answer.done++) {
			ahead = model;
			model_step(&ahead, step, &answer, &out);
			if (answer.done && is_allowed(&out, EAGAIN))
				break;
		}
		model_step(&model, step, &answer, &out);
		/* Nobody looks: mappings are as large as they can be. */
		for (int p = 0; p < PROCESSES; p++)
			for (int at = 1; at < PAGES; at++) {
				struct page *page = &model.procs[p].pages[at];
				const struct page *last = page - 1;

				page->joined = (uint8_t)may_join(page, last);
			}
	}
	for (int p = 0; p < PROCESSES; p++)
		for (int at = 0; at < PAGES; at++)
			if (model.procs[p].alive && model.procs[p].pages[at].attr.mapped)
				say_page(&model, p, at);
}

#endif
