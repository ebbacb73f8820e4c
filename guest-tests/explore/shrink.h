/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs in processes of their own, and making one that fails smaller: delta debugging over its steps, each
 * try from the beginning in a fresh process.
 */
#ifndef LAB_EXPLORE_SHRINK_H
#define LAB_EXPLORE_SHRINK_H

#include "program.h"

#define PROGRAM_DEADLINE_MS 180000
#define SHRINK_DEADLINE_MS 60000

struct trial {
	const struct program *program; /* or drawn, as are some steps of what was made of others: */
	const struct swarm *swarm;
	uint64_t seed;
	int count;
	unsigned int can;
	int known;
	enum mode mode;
};

/* Carry a program out in a child; the result is valid until the next one. */
static inline struct result *trial_run(const struct trial *trial)
{
	static struct result *shared;
	double begun = mem_now_ms();
	struct drawing drawing;
	int status;
	pid_t pid;

	if (!shared)
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED, "mmap: %m");
	memset(shared, 0, sizeof(*shared));
	pid = fork();
	CHECK(pid >= 0, "fork: %m");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (trial->swarm)
			drawing = draw_begin(trial->swarm, trial->seed);
		run_program(shared, trial->program, &drawing, trial->count, trial->can, trial->known,
			    trial->mode);
		_exit(0);
	}
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (mem_now_ms() - begun > PROGRAM_DEADLINE_MS) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		usleep(500);
	}
	folios_off(trial->can);
	group_remove(trial->can, pid);
	if (!shared->ended) {
		shared->failed = shared->program.count ? shared->program.count : 1;
		(void)found(&shared->finding, "ended", "the program did not come to its end (status %#x)", status);
	}
	return shared;
}

/* Whether a program fails in the same way: the same rule, at the same kind of step. */
static inline int fails_alike(const struct trial *trial, const struct program *program, const struct finding *as,
			      int op)
{
	struct trial again = *trial;
	struct result *result;

	again.program = program;
	result = trial_run(&again);
	return result->failed && !strcmp(result->finding.rule, as->rule) &&
	       result->program.count >= result->failed &&
	       result->program.steps[result->failed - 1].op == op;
}

static inline struct program program_without(const struct program *program, int at, int n)
{
	struct program less = *program;

	memmove(&less.steps[at], &less.steps[at + n], sizeof(less.steps[0]) * (size_t)(less.count - at - n));
	less.count -= n;
	return less;
}

/* One number of a step made smaller, where it still fails. */
static inline int shrink_numbers(const struct trial *trial, struct program *program, const struct finding *as,
				 int op, double until)
{
	int smaller = 0;

	for (int i = 0; i < program->count && mem_now_ms() < until; i++) {
		struct program less = *program;
		struct step *step = &less.steps[i];

		if (!(forms[step->op].fields & F_N) || step->n < 2)
			continue;
		if (step->len == step->n)
			step->len--;
		step->n--;
		if (fails_alike(trial, &less, as, op)) {
			*program = less;
			smaller = 1;
			i--;
		}
	}
	return smaller;
}

/*
 * Make program smaller as long as it fails alike, for a minute at most; whether it failed again at all.
 */
static inline int shrink(const struct trial *trial, struct program *program, const struct finding *as)
{
	int op = program->steps[program->count - 1].op, part = program->count / 2, less = 1;
	double until = mem_now_ms() + SHRINK_DEADLINE_MS;

	if (!fails_alike(trial, program, as, op))
		return 0;
	while (less || part > 1) {
		less = 0;
		part = part < 1 ? 1 : part;
		/* From the end: what came last is likeliest to matter least to what came before. */
		for (int at = program->count - part; at >= 0 && mem_now_ms() < until; at -= part) {
			struct program fewer = program_without(program, at, part);

			if (fewer.count && fails_alike(trial, &fewer, as, op)) {
				*program = fewer;
				less = 1;
				if (at > program->count - part + 1)
					at = program->count - part + 1;
			}
		}
		if (mem_now_ms() >= until)
			break;
		part /= 2;
	}
	(void)shrink_numbers(trial, program, as, op, until);
	return 1;
}

#endif
