/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A whole program, from its beginning to its end, in one of three modes.
 */
#ifndef LAB_EXPLORE_PROGRAM_H
#define LAB_EXPLORE_PROGRAM_H

#include "charged.h"
#include "ending.h"
#include "mutate.h"
#include "pairs.h"
#include "run.h"

/* How the steps of a program are carried out: one after the other, with allocations that fail, or at once. */
enum mode { MODE_STEADY, MODE_FAILING, MODE_RACING };

/*
 * A step whose allocations are made to fail, one after the other, until it is done in spite of it or has no more.
 * What may be done in part ends a program: only one in eight of such steps is tried.
 */
static inline int run_failing(struct run *run, const struct step *step, struct drawing *drawing)
{
	struct outcome out = model_ahead(&run->model, step);
	struct step one = *step;
	int came = RUN_REFUSED;

	if (!fail_tried(step) || ((fail_ambiguous(&out) || !fail_done_whole(step) || !fail_whole(&run->model, step)) &&
				  roll(&drawing->dice, 8)))
		return run_step(run, step);
	for (one.fail = 1; came == RUN_REFUSED && one.fail < FAULT_MOST; one.fail++) {
		if (run->result->program.count >= STEPS_MAX - 8)
			return RUN_PARTLY;
		came = run_step(run, &one);
	}
	return came;
}

/* How many steps of a program are at the same time, from this one on. */
static inline int program_together(const struct program *program, int at)
{
	const struct step *steps = &program->steps[at];
	int count = 1;

	while (!steps->beside && count < ACTORS && at + count < program->count && steps[count].beside &&
	       race_beside(steps, count, &steps[count]))
		count++;
	return count;
}

/*
 * Carry out a program of text, or one that is drawn (count steps at most), from its beginning; of a program that
 * was made of others some steps are drawn when their turn comes.  Called in a process of its own, which ends
 * afterwards.
 */
static inline void run_program(struct result *result, const struct program *program, struct drawing *drawing,
			       int count, unsigned int can, int known, enum mode mode)
{
	static struct run run;
	struct reply ready;
	struct step step;
	int came;

	memset(result, 0, sizeof(*result));
	run.result = result;
	run.looks = LOOKS;
	model_begin(&run.model, can);
	run.model.known = (uint8_t)known;
	run.moved = moved_by_kernel();
	run.scanned = scanned_by_kernel();
	run.mlocked.before = -1;
	group_begin(can);
	cover_keep_apart();
	run.subjects[0] = subject_of(worker_start(can, group_enter));
	came = run_hear(worker.ends[0][0], run.subjects[0].pid, &ready, &result->finding) ? RUN_FINDING : RUN_DONE;
	result->failed = came == RUN_FINDING;
	for (int i = 0; came != RUN_FINDING && came != RUN_PARTLY && i < (program ? program->count : count); i++) {
		if (program && program->steps[i].op != OP_DRAWN) {
			const struct step *now = &program->steps[i];
			int together = program_together(program, i);

			came = together > 1 ? run_together(&run, now, together) : run_step(&run, now);
			if (together > 1)
				i += came != RUN_SKIPPED ? together - 1 : 0;
			continue;
		}
		/* What makes no sense here is drawn anew. */
		came = RUN_SKIPPED;
		for (int tries = 0; came == RUN_SKIPPED && tries < 20; tries++) {
			step = draw_step(drawing, &run.model);
			came = mode == MODE_FAILING ? run_failing(&run, &step, drawing) :
			       mode == MODE_RACING  ? run_racing(&run, &step, drawing) :
						      run_step(&run, &step);
		}
	}
	result->drawn = result->program.count;
	if (came != RUN_FINDING && came != RUN_PARTLY) {
		if (look_charged(&run, can, &result->finding))
			result->failed = result->program.count;
		else
			(void)run_end(&run);
	}
	for (int i = 0; i < PROCESSES; i++) {
		if (!run.model.procs[i].alive)
			continue;
		kill(run.subjects[i].pid, SIGKILL);
		(void)waitpid(run.subjects[i].pid, NULL, 0);
	}
	ksm_forget(&run.model);
	if (!result->failed &&
	    (group_end(can, &result->finding) || mlocked_end(&run.mlocked, &result->finding)))
		result->failed = result->program.count;
	result->ended = 1;
}

#endif
