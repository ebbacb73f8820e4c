/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two steps at the same time: what came of them has to be what comes of one after the other.
 */
#ifndef LAB_EXPLORE_PAIRS_H
#define LAB_EXPLORE_PAIRS_H

#include "rules_race.h"
#include "run.h"

/* Whether a step that came to this may have, as the model has it by now, which then has it done. */
static inline int run_explained(struct run *run, const struct step *step, const struct answer *answer,
				struct finding *finding)
{
	struct outcome before = model_ahead(&run->model, step);

	if (before.skip)
		return found(finding, "unknown", "the model does not have this step there");
	return run_judged(run, step, &before, answer, finding);
}

/*
 * Between two steps at the same time nobody has looked which mappings there are.  Where they differ they are two,
 * and where a step began or ended they are, unless the kernel merged them again, which it may have done or not.
 */
static inline void unseen_mappings(struct process *proc, const struct step *step, int merged)
{
	int ends[] = { step->at, step->at + step->n, step->at + step->len, step->to, step->to + step->n,
		       step->to + step->len };

	for (size_t i = 0; race_kind(step) == RACE_WHOLE && i < KTAP_COUNT(ends); i++)
		if (ends[i] < PAGES)
			proc->pages[ends[i]].joined = 0;
	for (int i = 0; i < PAGES; i++) {
		struct page *page = &proc->pages[i];

		if (!i || !page->attr.mapped || !attr_same(&page->attr, &page[-1].attr))
			page->joined = 0;
		else if (merged)
			page->joined = 1;
	}
}

/*
 * Make one of two models that both fit what was seen: of each page whatever either has.  -1 where they hold
 * different bytes or mappings, of which the machine showed nothing.  How they number frames and objects is their own.
 */
static inline int models_join(struct model *one, const struct model *other)
{
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		struct page *a = &one->procs[i / PAGES].pages[i % PAGES];
		struct page b = other->procs[i / PAGES].pages[i % PAGES];

		if (is_backed(a) != is_backed(&b) ||
		    (is_backed(a) && !bytes_same(&one->objects[a->object].bytes[a->offset],
						 &other->objects[b.object].bytes[b.offset])))
			return -1;
		a->may |= b.may;
		a->own |= b.own;
		a->wp |= b.wp;
		a->dirty |= b.dirty;
		a->mapping_dirty |= b.mapping_dirty;
		a->lazy |= b.lazy;
		a->tied &= b.tied;
		b = (struct page){ .attr = b.attr, .bytes = b.bytes, .other = b.other, .has_other = b.has_other };
		if (!attr_same(&a->attr, &b.attr) || !bytes_same(&a->bytes, &b.bytes) ||
		    a->has_other != b.has_other || (b.has_other && !bytes_same(&a->other, &b.other)))
			return -1;
	}
	return 0;
}

/*
 * An access that faults has its page before it is made: what comes in between may move the page, or take it away.
 * Whether a step is such an access; touch is then the fault without the access.
 */
static inline int race_touch(const struct step *step, struct step *touch)
{
	*touch = (struct step){ .proc = step->proc, .at = step->at, .n = 1 };
	touch->op = step->op == OP_READ ? OP_POPULATE_READ : OP_POPULATE_WRITE;
	return step->op == OP_READ || step->op == OP_POKE;
}

/* Steps one after the other, and what is there then; 0 where that is what came of them. */
static inline int run_in_order(struct run *run, const struct step *const steps[], const struct answer *const answers[],
			       int count, struct finding *finding)
{
	static struct run kept;
	int bad = -1;

	kept = *run;
	for (int merged = 0; bad && merged < 2; merged++) {
		*run = kept;
		bad = 0;
		for (int i = 0; !bad && i < count; i++) {
			bad = run_explained(run, steps[i], answers[i], finding);
			unseen_mappings(&run->model.procs[steps[i]->proc], steps[i], merged);
		}
		bad = bad || look_all(run, finding);
	}
	return bad ? -1 : 0;
}

/* What explains two steps at the same time: the one before the other, or its fault, the other, and it. */
#define ORDERS 4

/*
 * Two steps at the same time: what came of them has to be what comes of one after the other, in this order or in
 * that.  Where several orders explain it and leave different things behind, or where the model does not know one of
 * them and no other explains it, the program is not judged any further.
 */
static inline int run_pair(struct run *run, const struct step *first, const struct step *second)
{
	static struct run kept, explained;
	static const struct answer fine;
	struct step touch[2];
	int faults[2] = { race_touch(first, &touch[0]), race_touch(second, &touch[1]) };
	struct reply reply;
	const struct step *const steps[ORDERS][3] = {
		{ first, second },
		{ second, first },
		{ &touch[0], second, first },
		{ &touch[1], first, second },
	};
	const struct answer *const answers[ORDERS][3] = {
		{ &reply.answer, &reply.second },
		{ &reply.second, &reply.answer },
		{ &fine, &reply.second, &reply.answer },
		{ &fine, &reply.answer, &reply.second },
	};
	struct finding findings[ORDERS] = { 0 };
	struct result *result = run->result;
	int fitting = 0, apart = 0, unknown = 0;

	if (model_ahead(&run->model, first).skip || model_ahead(&run->model, second).skip)
		return RUN_SKIPPED;
	kept = *run;
	result->program.steps[result->program.count++] = *first;
	result->program.steps[result->program.count] = *second;
	result->program.steps[result->program.count++].beside = 1;
	result->failed = result->program.count;
	if (run_tell(run, first, second, &reply, &result->finding))
		return RUN_FINDING;
	if (first->op == OP_FORK && reply.child > 0)
		kept.subjects[first->to] = subject_of(reply.child);
	/* A glance, mostly, tells which order it was; where it is none there may be more to see later. */
	for (int looks = 1; looks <= LOOKS && !fitting; looks += LOOKS - 1) {
		for (int order = 0; order < ORDERS; order++) {
			/* A fault alone is thought of only where the whole access does not explain it. */
			if (order >= 2 && (fitting || !faults[order - 2]))
				continue;
			*run = kept;
			run->looks = looks;
			if (run_in_order(run, steps[order], answers[order], 2 + (order >= 2), &findings[order])) {
				unknown |= order < 2 && !strcmp(findings[order].rule, "unknown");
				continue;
			}
			if (!fitting++)
				explained = *run;
			else
				apart |= models_join(&explained.model, &run->model);
		}
	}
	*run = fitting ? explained : kept;
	run->looks = LOOKS;
	if (!fitting && !unknown)
		return found(&result->finding, "order", "not one after the other; in this order: %.120s; in the other: %.120s",
			     findings[0].text, findings[1].text);
	result->failed = 0;
	result->carried += fitting ? 2 : 0;
	return fitting && !apart ? RUN_DONE : RUN_PARTLY;
}

/* A step of a program that is drawn, with another one beside it where there is one that may be. */
static inline int run_racing(struct run *run, const struct step *step, struct drawing *drawing)
{
	struct step second;

	for (int tries = 0; tries < 20 && race_kind(step) != RACE_NEVER; tries++) {
		second = draw_step(drawing, &run->model);
		if (race_together(step, &second)) {
			int came = run_pair(run, step, &second);

			if (came != RUN_SKIPPED)
				return came;
		}
	}
	return run_step(run, step);
}

#endif
