/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Carrying a program out: each step is told to its process, what comes of it and what the machine shows
 * afterwards is held against the model.
 */
#ifndef LAB_EXPLORE_RUN_H
#define LAB_EXPLORE_RUN_H

#include <poll.h>
#include <sys/wait.h>

#include "draw.h"
#include "look.h"
#include "rules.h"

#define ANSWER_DEADLINE_MS 60000

/* What came of a program; lies in memory shared with the process that carries it out. */
struct result {
	int ended; /* it came to its end, or to a finding */
	int failed; /* the step at which something was found, from 1; 0 none */
	int carried; /* steps that were carried out */
	unsigned int times[OPS];
	struct finding finding;
	struct program program; /* the steps that were carried out */
	int err[STEPS_MAX]; /* what each of them came to */
	char before[PROCESSES][PAGES + 1]; /* before the last of them each page's state, a letter each */
};

/* Numbers of frames whose place is kept in mind. */
#define PLACES 8192

struct run {
	struct model model;
	uint64_t place[PLACES]; /* the frame in which the pages of a number were last seen */
	long moved; /* what the kernel had moved by itself when the program began */
	struct subject subjects[PROCESSES];
	struct sight sights[PROCESSES];
	struct result *result;
};

struct frame_seen {
	uint64_t entry;
	uint32_t frame;
	int tied, proc, at;
};

/*
 * Frames over all processes: pages of different numbers lie in different frames, tied pages of one number in
 * one, and a page that is mapped twice is not exclusively mapped.
 */
static inline int look_frames(struct run *run, struct finding *finding)
{
	static struct frame_seen seen[PROCESSES * PAGES];
	int count = 0;

	for (int i = 0; i < PROCESSES; i++) {
		for (int k = 0; run->model.procs[i].alive && k < PAGES; k++) {
			const struct page *page = &run->model.procs[i].pages[k];
			int state = run->sights[i].state[k];

			if (!(state & (ANON | SHMEM)))
				continue;
			seen[count++] = (struct frame_seen){
				.entry = run->sights[i].entry[k],
				.frame = state == ANON ? page->frame :
							 0x80000000u | page->object * 256u | page->offset,
				.tied = state == SHMEM || page->tied,
				.proc = i,
				.at = k,
			};
		}
	}
	for (struct frame_seen *a = seen; a < seen + count; a++) {
		for (struct frame_seen *b = a + 1; b < seen + count; b++) {
			int one = (a->entry & MEM_FRAME) == (b->entry & MEM_FRAME);

			if (one && a->frame != b->frame)
				return found(finding, "shared-frame",
					     "page %d of process %d and page %d of process %d lie in one frame",
					     a->at, a->proc, b->at, b->proc);
			if (!one && a->frame == b->frame && a->tied && b->tied)
				return found(finding, "split-frame",
					     "page %d of process %d and page %d of process %d are no longer in one frame",
					     a->at, a->proc, b->at, b->proc);
			if (one && (a->entry | b->entry) & ENTRY_EXCLUSIVE)
				return found(finding, "exclusive",
					     "page %d of process %d is mapped by process %d too, and said to be exclusive",
					     a->at, a->proc, b->proc);
		}
	}
	return 0;
}

/* What the kernel counts of pages that get another frame by themselves: migration, swapping. */
static inline long moved_by_kernel(void)
{
	return sys_vmstat("pgmigrate_success") + sys_vmstat("pswpin") + sys_vmstat("pswpout");
}

/*
 * A page keeps its frame through mremap(), mprotect(), UFFDIO_MOVE, and whatever else is no write to a page
 * that is not its writer's alone: as long as the kernel moved no page by itself since the program began.
 */
static inline int look_places(struct run *run, struct finding *finding)
{
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		const struct page *page = &run->model.procs[i / PAGES].pages[i % PAGES];
		uint64_t is = run->sights[i / PAGES].entry[i % PAGES] & MEM_FRAME, *was;
		int state = run->sights[i / PAGES].state[i % PAGES];

		if (!run->model.procs[i / PAGES].alive || !(state & (ANON | SWAP)) || page->frame >= PLACES)
			continue;
		was = &run->place[page->frame];
		if (*was && *was != is && state == ANON && page->tied && moved_by_kernel() == run->moved)
			return found(finding, "frame", "page %d of process %d has another frame than before",
				     i % PAGES, i / PAGES);
		*was = state == ANON && page->tied ? is : 0;
	}
	return 0;
}

/* A look at all; what passes by while the kernel moves a page is looked at again before it is believed. */
static inline int look_all(struct run *run, struct finding *finding)
{
	static struct model before;
	int bad = 0;

	before = run->model;
	for (int attempt = 0; attempt < 4; attempt++) {
		if (attempt)
			usleep(20000);
		run->model = before;
		bad = 0;
		for (int i = 0; !bad && i < PROCESSES; i++) {
			if (!run->model.procs[i].alive)
				continue;
			finding->process = i;
			bad = look_once(&run->model, i, &run->subjects[i], &run->sights[i], finding);
		}
		bad = bad || look_frames(run, finding) || look_places(run, finding);
		if (!bad)
			break;
	}
	return bad ? -1 : 0;
}

static inline const char *answer_name(int err)
{
	return err == SIGNAL_SEGV ? "SIGSEGV" : err == SIGNAL_BUS ? "SIGBUS" : ktap_errno(err);
}

/* What came of the step itself, against what may have. */
static inline int judge_answer(const struct step *step, const struct answer *answer, const struct outcome *out,
			       struct finding *finding)
{
	char want[128];
	int used = 0, right;

	want[0] = 0;
	for (int i = 0; i < out->count; i++)
		used += snprintf(want + used, sizeof(want) - (size_t)used, "%s%s", i ? " or " : "",
				 answer_name(out->err[i]));
	if (!is_allowed(out, answer->err))
		return found(finding, "answer", "got %s, expected %s%s", answer_name(answer->err), want,
			     answer->done ? " (some pages were done)" : "");
	if (step->op == OP_COPY || step->op == OP_ZEROPAGE || step->op == OP_MOVE) {
		right = !answer->err ? answer->done == step->n :
			answer->err == EAGAIN ? answer->done && answer->done < step->n :
						!answer->done;
		if (!right)
			return found(finding, "done", "got %s with %d of %d pages done", answer_name(answer->err),
				     answer->done, step->n);
	}
	if (step->op == OP_READ && !answer->err && answer->value != out->value[0] &&
	    (out->values < 2 || answer->value != out->value[1])) {
		snprintf(want, sizeof(want), out->values < 2 ? "%d" : "%d or %d", out->value[0], out->value[1]);
		return found(finding, "read", "read %d, expected %s", answer->value, want);
	}
	return 0;
}

/* Each page as it was seen last, a letter each: who repeats the last step has to find the same. */
static inline void note_before(struct run *run)
{
	static const char letters[STATES + 1] = ".zpsmh";

	for (int i = 0; i < PROCESSES; i++) {
		char *text = run->result->before[i];

		memset(text, 0, PAGES + 1);
		for (int k = 0; run->model.procs[i].alive && k < PAGES; k++) {
			text[k] = '.';
			for (int state = 0; state < STATES; state++)
				if (run->sights[i].state[k] == 1 << state)
					text[k] = letters[state];
		}
	}
}

/* A reply through a socket.  The other end is open in every process: who died is asked for in between. */
static inline int run_hear(int end, pid_t pid, struct reply *reply, struct finding *finding)
{
	struct pollfd wait = { .fd = end, .events = POLLIN };
	int status;

	for (int waited = 0; waited < ANSWER_DEADLINE_MS; waited += 500) {
		if (poll(&wait, 1, 500) == 1)
			return read(end, reply, sizeof(*reply)) == (ssize_t)sizeof(*reply) ?
				       0 :
				       found(finding, "died", "no answer: %m");
		if (waitpid(pid, &status, WNOHANG) == pid)
			return found(finding, "died", "the process ended with status %#x", status);
	}
	return found(finding, "hang", "the step did not come back within %d s", ANSWER_DEADLINE_MS / 1000);
}

static inline int run_tell(struct run *run, const struct step *step, struct reply *reply,
			   struct finding *finding)
{
	struct subject *subject = &run->subjects[step->proc];
	int end = worker.ends[step->proc][0], status;
	struct reply ready;
	char path[64];

	memset(reply, 0, sizeof(*reply));
	if (step->op == OP_CLEAR_DIRTY) {
		snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)subject->pid);
		proc_write(path, "4");
		return 0;
	}
	if (step->op == OP_KILL)
		kill(subject->pid, SIGKILL);
	else if (write(end, step, sizeof(*step)) != (ssize_t)sizeof(*step))
		return found(finding, "died", "the process is not there any more: %m");
	if (step->op == OP_KILL || step->op == OP_EXIT) {
		if (waitpid(subject->pid, &status, 0) != subject->pid)
			return found(finding, "died", "waitpid: %m");
		return 0;
	}
	if (run_hear(end, subject->pid, reply, finding))
		return -1;
	return step->op == OP_FORK && reply->child > 0 ?
		       run_hear(worker.ends[step->to][0], reply->child, &ready, finding) :
		       0;
}

/* One step: 1 carried out, 0 not, -1 a finding. */
static inline int run_step(struct run *run, const struct step *step)
{
	static struct model ahead;
	struct finding *finding = &run->result->finding;
	struct outcome before, after;
	struct result *result = run->result;
	struct reply reply;

	ahead = run->model;
	model_step(&ahead, step, NULL, &before);
	if (before.skip)
		return 0;
	result->program.steps[result->program.count++] = *step;
	result->failed = result->program.count;
	finding->process = step->proc;
	note_before(run);
	if (run_tell(run, step, &reply, finding))
		return -1;
	result->err[result->failed - 1] = reply.answer.err;
	model_step(&run->model, step, &reply.answer, &after);
	after.values = before.values;
	memcpy(after.value, before.value, sizeof(after.value));
	if (judge_answer(step, &reply.answer, &after, finding))
		return -1;
	if (step->op == OP_FORK)
		run->subjects[step->to] = (struct subject){ reply.child, -1, -1, -1, 0 };
	if (look_all(run, finding))
		return -1;
	result->failed = 0;
	result->carried++;
	result->times[step->op]++;
	return 1;
}

/* In the end every process goes, one after the other, and who is left is looked at each time. */
static inline int run_end(struct run *run)
{
	struct step step = { .op = OP_EXIT };

	for (int i = 0; i < PROCESSES; i++) {
		step.proc = (uint8_t)i;
		if (run->model.procs[i].alive && alive(&run->model) > 1 && run_step(run, &step) < 0)
			return -1;
	}
	return 0;
}

/*
 * Carry out a program of text, or one that is drawn (count steps at most), from its beginning.  Called in a
 * process of its own, which ends afterwards.
 */
static inline void run_program(struct result *result, const struct program *program, struct drawing *drawing,
			       int count, unsigned int can, int known)
{
	static struct run run;
	struct step step;
	int bad = 0;

	memset(result, 0, sizeof(*result));
	run.result = result;
	model_begin(&run.model, can);
	run.model.known = (uint8_t)known;
	run.moved = moved_by_kernel();
	run.subjects[0] = (struct subject){ worker_start(can), -1, -1, -1, 0 };
	for (int i = 0; bad >= 0 && i < (program ? program->count : count); i++) {
		if (program) {
			bad = run_step(&run, &program->steps[i]);
			continue;
		}
		/* What makes no sense here is drawn anew. */
		for (int tries = 0; tries < 20; tries++) {
			step = draw_step(drawing, &run.model);
			bad = run_step(&run, &step);
			if (bad)
				break;
		}
	}
	if (bad >= 0)
		(void)run_end(&run);
	for (int i = 0; i < PROCESSES; i++) {
		if (!run.model.procs[i].alive)
			continue;
		kill(run.subjects[i].pid, SIGKILL);
		(void)waitpid(run.subjects[i].pid, NULL, 0);
	}
	result->ended = 1;
}

#endif
