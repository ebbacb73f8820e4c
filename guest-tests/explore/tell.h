/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is said of a program, for people and for the lab, which reads the lines that begin with FIND, BEFORE
 * and PROGRAM (orchestrator/evidence/finds.py).
 */
#ifndef LAB_EXPLORE_TELL_H
#define LAB_EXPLORE_TELL_H

#include "run.h"

/* A program as it can be read again; behind a step that failed, as a comment, with what. */
static inline void tell_program(const struct result *result)
{
	const struct program *program = &result->program;
	char line[160];

	for (int i = 0; i < program->count; i++) {
		step_print(&program->steps[i], line, sizeof(line));
		ktap_diag("PROGRAM %s%s%s", line, result->err[i] ? " # " : "",
			  result->err[i] ? answer_name(result->err[i]) : "");
	}
}

/* What is wrong in a program, and what it takes to see it again. */
static inline void tell_result(const struct result *result)
{
	ktap_diag("FIND rule=%s process=%d", result->finding.rule, result->finding.process);
	for (int i = 0; i < PROCESSES; i++)
		if (result->before[i][0])
			ktap_diag("BEFORE process=%d pages=%s", i, result->before[i]);
	tell_program(result);
}

static inline void measure(long made, long carried, double begun)
{
	double seconds_taken = (mem_now_ms() - begun + 1) / 1000;

	ktap_measure("programs", (double)made, "programs");
	ktap_measure("steps", (double)carried, "steps");
	ktap_measure("rate", (double)carried / seconds_taken, "steps/s");
}

#endif
