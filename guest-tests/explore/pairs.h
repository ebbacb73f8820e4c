/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steps at the same time: what came of them has to be what comes of one after the other.
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
 * Between steps at the same time nobody has looked which mappings there are.  Where they differ they are two,
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
static inline int models_join(struct model *one, struct model *other)
{
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		struct page *a = &one->procs[i / PAGES].pages[i % PAGES];
		struct page b = other->procs[i / PAGES].pages[i % PAGES];

		if (is_backed(a) != is_backed(&b) ||
		    (is_backed(a) && !bytes_same(object_bytes(one, a), object_bytes(other, &b))))
			return -1;
		if (is_backed(a)) {
			uint8_t has = *object_has(other, &b);

			*object_has(one, a) |= has;
		}
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

/* One order of steps at the same time: so many, and what came of each; the faults of accesses are steps of their own. */
#define ORDER_MOST (ACTORS + (ACTORS - 1) * ACTORS / 2)
struct sequence {
	int count;
	const struct step *steps[ORDER_MOST];
	const struct answer *answers[ORDER_MOST];
};

/* Steps at the same time, and what each came to; touch is the fault of each that is an access. */
struct race {
	int count;
	const struct step *steps;
	const struct answer *answers[ACTORS];
	struct step touch[ACTORS];
	int faults[ACTORS];
};

/* How many faults there may be before the others are done: of the second one in an order one, of the third two. */
#define GAPS(count) ((count) * ((count)-1) / 2)

/*
 * The steps in an order, with the faults that the bits of gaps say: the access at a place has had its page before any
 * of those that come before it, and may have lost it again.  0 where there is no such fault.
 */
static inline int sequence_of(const struct race *race, const int *order, unsigned int gaps, struct sequence *sequence)
{
	static const struct answer fine;

	sequence->count = 0;
	for (int place = 0; place < race->count; place++) {
		for (int later = place + 1; later < race->count; later++) {
			if (!(gaps >> (GAPS(later) + place) & 1))
				continue;
			if (!race->faults[order[later]])
				return 0;
			sequence->steps[sequence->count] = &race->touch[order[later]];
			sequence->answers[sequence->count++] = &fine;
		}
		sequence->steps[sequence->count] = &race->steps[order[place]];
		sequence->answers[sequence->count++] = race->answers[order[place]];
	}
	return 1;
}

/* The next order of so many, as a dictionary has them; 0 behind the last one. */
static inline int order_next(int *order, int count)
{
	int at = count - 2, other = count - 1, kept;

	while (at >= 0 && order[at] > order[at + 1])
		at--;
	if (at < 0)
		return 0;
	while (order[other] < order[at])
		other--;
	kept = order[at];
	order[at] = order[other];
	order[other] = kept;
	for (int i = at + 1, k = count - 1; i < k; i++, k--) {
		kept = order[i];
		order[i] = order[k];
		order[k] = kept;
	}
	return 1;
}

/*
 * All orders, with some faults or with none, against what came of it: how many fit, of which explained is what any of
 * them leaves; -1 where nothing fits, and of one the model does not know what it comes to.  *apart: they leave different things.
 */
static inline int run_orders(struct run *run, const struct run *kept, const struct race *race, unsigned int gaps,
			     struct run *explained, int *apart, struct finding findings[2])
{
	int order[ACTORS] = { 0, 1, 2 }, fitting = 0, unknown = 0, first = 1;
	struct finding finding;
	struct sequence sequence;

	do {
		if (!sequence_of(race, order, gaps, &sequence))
			continue;
		*run = *kept;
		finding = (struct finding){ 0 };
		if (run_in_order(run, sequence.steps, sequence.answers, sequence.count, &finding)) {
			unknown |= !strcmp(finding.rule, "unknown");
			if (!gaps)
				findings[!first] = finding;
			first = 0;
		} else if (!fitting++) {
			*explained = *run;
		} else {
			*apart |= models_join(&explained->model, &run->model);
		}
	} while (order_next(order, race->count));
	return fitting ? fitting : unknown ? -1 : 0;
}

/*
 * An access that faulted may have left a page in an object behind of which nothing shows: where its mapping was moved
 * or emptied, or where another fault mapped that page too (do_fault_around()).  Only one step at a time changes
 * mappings, so that it was of the mapping before them or of the one behind them.
 */
static inline void race_faulted(struct model *model, const struct model *before, const struct race *race)
{
	for (int i = 0; i < race->count; i++) {
		const struct step *step = &race->steps[i];
		const struct page *was = &before->procs[step->proc].pages[step->at];
		const struct page *is = &model->procs[step->proc].pages[step->at];

		if (race->faults[i] && is_backed(was))
			*object_has(model, was) |= YES;
		if (race->faults[i] && is_backed(is))
			*object_has(model, is) |= YES;
	}
}

/*
 * Steps at the same time: what came of them has to be what comes of one after the other, in some order.  Where several
 * orders explain it and leave different things behind, or where the model does not know one of them and no other
 * explains it, the program is not judged any further.
 */
static inline int run_together(struct run *run, const struct step *steps, int count)
{
	static struct run kept, explained;
	struct race race = { .count = count, .steps = steps };
	struct finding findings[2] = { 0 };
	struct result *result = run->result;
	int fitting = 0, apart = 0, unknown = 0;
	struct reply reply;

	for (int i = 0; i < count; i++) {
		if (model_ahead(&run->model, &steps[i]).skip)
			return RUN_SKIPPED;
		race.answers[i] = i ? &reply.beside[i - 1] : &reply.answer;
		race.faults[i] = race_touch(&steps[i], &race.touch[i]);
	}
	kept = *run;
	for (int i = 0; i < count; i++) {
		result->program.steps[result->program.count] = steps[i];
		result->program.steps[result->program.count++].beside = i > 0;
	}
	result->failed = result->program.count;
	if (run_tell(run, steps, count - 1, &reply, &result->finding))
		return RUN_FINDING;
	if (steps->op == OP_FORK && reply.child > 0)
		kept.subjects[steps->to] = subject_of(reply.child);
	/* A glance, mostly, tells which order it was; where it is none there may be more to see later. */
	for (int looks = 1; looks <= LOOKS && fitting <= 0; looks += LOOKS - 1) {
		kept.looks = looks;
		/* A fault alone is thought of only where the whole access does not explain it. */
		for (unsigned int gaps = 0; gaps < 1u << GAPS(count) && fitting <= 0; gaps++) {
			fitting = run_orders(run, &kept, &race, gaps, &explained, &apart, findings);
			unknown |= fitting < 0;
		}
	}
	*run = fitting > 0 ? explained : kept;
	run->looks = LOOKS;
	race_faulted(&run->model, &kept.model, &race);
	if (fitting <= 0 && !unknown)
		return found(&result->finding, "order", "not one after the other; in this order: %.120s; in another: %.120s",
			     findings[0].text, findings[1].text);
	result->failed = 0;
	result->carried += fitting > 0 ? count : 0;
	return fitting > 0 && !apart ? RUN_DONE : RUN_PARTLY;
}

/* A step of a program that is drawn, with one or two beside it where there are some that may be. */
static inline int run_racing(struct run *run, const struct step *step, struct drawing *drawing)
{
	struct step steps[ACTORS] = { *step };
	int count = 1, wanted = 2 + (int)roll(&drawing->dice, ACTORS - 1), came;

	for (int tries = 0; tries < 20 * (wanted - 1) && count < wanted && race_kind(step) != RACE_NEVER; tries++) {
		steps[count] = draw_step(drawing, &run->model);
		if (race_beside(steps, count, &steps[count]) && !model_ahead(&run->model, &steps[count]).skip)
			count++;
	}
	came = count > 1 ? run_together(run, steps, count) : RUN_SKIPPED;
	return came == RUN_SKIPPED ? run_step(run, step) : came;
}

#endif
