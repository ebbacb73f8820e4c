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
#include "group.h"
#include "counters.h"
#include "folios.h"
#include "ksm.h"
#include "mlocked.h"
#include "rules.h"
#include "rules_fail.h"

#define ANSWER_DEADLINE_MS 60000

/* What came of a program; lies in memory shared with the process that carries it out. */
struct result {
	int ended; /* it came to its end, or to a finding */
	int failed; /* the step at which something was found, from 1; 0 none */
	int carried; /* steps that were carried out */
	int drawn; /* how many of the program's there are before the ends of its processes */
	int refused; /* times that one was refused for want of memory */
	unsigned int times[OPS], succeeded[OPS]; /* of those, each kind of step */
	struct finding finding;
	struct program program; /* the steps that were carried out */
	int err[STEPS_MAX]; /* what each of them came to */
	char before[PROCESSES][PAGES + 1]; /* before the last of them each page's state, a letter each */
};

/* Numbers of frames whose place is kept in mind. */
#define PLACES 8192
/* What passes by while the kernel moves a page is looked at again, so often at most. */
#define LOOKS 4

struct run {
	struct model model;
	uint64_t place[PLACES]; /* where the pages of a number were last seen */
	long moved, scanned; /* what the kernel had moved and looked at by itself when the program began */
	struct subject subjects[PROCESSES];
	struct sight sights[PROCESSES];
	struct result *result;
	int looks; /* how often look_all() looks before it believes */
	struct mlocked mlocked;
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
		if (*was && *was != is && state == ANON && page->tied &&
		    (page->pinned || moved_by_kernel() == run->moved))
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
	for (int attempt = 0; attempt < run->looks; attempt++) {
		if (attempt)
			usleep(20000);
		run->model = before;
		if (attempt && scanned_by_kernel() != run->scanned) {
			reclaim_any(&run->model);
			folios_split(&run->model);
		}
		bad = 0;
		for (int i = 0; !bad && i < PROCESSES; i++) {
			if (!run->model.procs[i].alive)
				continue;
			finding->process = i;
			bad = look_once(&run->model, i, &run->subjects[i], &run->sights[i], finding) ||
			      look_ksm(&run->model, i, &run->sights[i], run->subjects[i].pid, finding);
		}
		bad = bad || look_frames(run, finding) || look_places(run, finding) ||
		      (!run->model.large && look_mlocked(&run->mlocked, &run->model, run->sights, run->moved, finding));
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
	if (step_counts(step)) {
		right = !answer->err ? answer->done == step->n :
			answer->err == EAGAIN ? answer->done && answer->done < step->n :
						!answer->done;
		if (!right)
			return found(finding, "done", "got %s with %d of %d pages done", answer_name(answer->err),
				     answer->done, step->n);
	}
	if (step_reads(step) && !answer->err && answer->value != out->value[0] &&
	    (out->values < 2 || answer->value != out->value[1])) {
		snprintf(want, sizeof(want), out->values < 2 ? "%d" : "%d or %d", out->value[0], out->value[1]);
		return found(finding, "read", "read %d, expected %s", answer->value, want);
	}
	return 0;
}

/*
 * What PAGEMAP_SCAN told of each page, against what pagemap shows (pagemap_page_category()): bit by bit.  Whether
 * an empty entry counts as written has changed (6.12.y), so that is not asked.
 */
static inline int look_scan(const struct run *run, const struct step *step, const uint8_t *seen,
			    struct finding *finding)
{
	const struct process *proc = &run->model.procs[step->proc];
	const struct sight *sight = &run->sights[step->proc];

	for (int i = 0; i < PAGES; i++) {
		int state = sight->state[i], want = SCAN_UNSEEN, got = seen[i];
		int asked = i >= step->at && i < step->at + step->n && sight->attr[i].mapped;

		if (asked) {
			want = (proc->async && sight->attr[i].reg & REG_WP ? 1 : 0) |
			       (!(sight->entry[i] & ENTRY_WP) ? 2 : 0) | (state & SHMEM ? 4 : 0) |
			       (state & (ANON | ZERO | SHMEM) ? 8 : 0) | (state & (SWAP | MARKERS) ? 16 : 0) |
			       (state & ZERO ? 32 : 0) | (sight->entry[i] & ENTRY_SOFT_DIRTY ? 128 : 0);
			if (state & NONE)
				got = got == SCAN_UNSEEN ? got : (got & ~2) | (want & 2);
		}
		if (got != want)
			return found(finding, "scan", "page %d: PAGEMAP_SCAN says %#x of it, expected %#x", i,
				     (unsigned int)seen[i], (unsigned int)want);
	}
	return 0;
}

/* Each page as it was seen last, a letter each: who repeats the last step has to find the same. */
static inline void note_before(struct run *run)
{
	static const char letters[STATES + 1] = ".zpsmhxg";

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

/* Tell the first of the steps to its process, with so many of them beside it; what it says of them. */
static inline int run_tell(struct run *run, const struct step *step, int others, struct reply *reply,
			   struct finding *finding)
{
	struct subject *subject = &run->subjects[step->proc];
	struct order order = { .step = *step, .other = step_has_other(step) ? run->subjects[step->to].pid : 0 };
	int end = worker.ends[step->proc][0], status;
	struct reply ready;
	char path[64];

	order.others = others;
	memcpy(order.beside, step + 1, (size_t)others * sizeof(*step));
	memset(reply, 0, sizeof(*reply));
	if (step->op == OP_CLEAR_DIRTY) {
		snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)subject->pid);
		cover_begin(COVER_SELF);
		proc_write(path, "4");
		cover_end(COVER_SELF);
		return 0;
	}
	if (step->op == OP_RECLAIM) {
		cover_begin(COVER_SELF);
		group_reclaim(step->how);
		cover_end(COVER_SELF);
		return 0;
	}
	if (step->op == OP_KSM)
		return ksm_scan(step->how, finding);
	if (step->op == OP_FOLIOS || step->op == OP_SPLIT)
		return folios_do(step, subject->pid);
	if (step->op == OP_KILL)
		kill(subject->pid, SIGKILL);
	else if (write(end, &order, sizeof(order)) != (ssize_t)sizeof(order))
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

/* What a step's try came to, see run_step(). */
enum { RUN_FINDING = -1, RUN_SKIPPED, RUN_DONE, RUN_REFUSED, RUN_PARTLY };

/*
 * A step that could not get memory: it says so, and leaves everything as it was.  Where a part of it may have been
 * done, nobody knows which: what the program would do then is not judged.
 */
static inline int run_refused(struct run *run, const struct step *step, const struct answer *answer)
{
	struct finding *finding = &run->result->finding;

	if (!fail_allowed(step, answer->err))
		return found(finding, "answer", "got %s where an allocation failed, expected ENOMEM", answer_name(answer->err));
	if (!fail_whole(&run->model, step) || answer->done)
		return RUN_PARTLY;
	fail_traces(&run->model, step);
	return look_all(run, finding) ? RUN_FINDING : RUN_REFUSED;
}

/* Have the model go on with what came of a step, and hold that against it; before is what the step may come to. */
static inline int run_judged(struct run *run, const struct step *step, const struct outcome *before,
			     const struct answer *answer, struct finding *finding)
{
	struct outcome after;

	model_step(&run->model, step, answer, &after);
	/* What may be read is what was there before. */
	after.values = before->values;
	memcpy(after.value, before->value, sizeof(after.value));
	return judge_answer(step, answer, &after, finding);
}

/*
 * One step.  RUN_DONE, RUN_SKIPPED where it makes no sense here, RUN_FINDING; of one that was refused for want of
 * memory RUN_REFUSED, and RUN_PARTLY where the model knows no more what is there.
 */
static inline int run_step(struct run *run, const struct step *step)
{
	struct finding *finding = &run->result->finding;
	struct outcome before = model_ahead(&run->model, step);
	struct result *result = run->result;
	struct reply reply;
	long moved;

	if (before.skip || (step->fail && !fail_tried(step)))
		return RUN_SKIPPED;
	result->program.steps[result->program.count++] = *step;
	result->failed = result->program.count;
	moved = step->op == OP_SCAN ? moved_by_kernel() : 0;
	if (step->op == OP_MLOCK || step->op == OP_MLOCK_ONFAULT)
		mlocked_begin(&run->mlocked);
	finding->process = step->proc;
	note_before(run);
	cover_clear(step->proc);
	cover_clear(COVER_SELF);
	if (run_tell(run, step, 0, &reply, finding))
		return RUN_FINDING;
	cover_take(step->proc);
	cover_take(COVER_SELF);
	result->err[result->failed - 1] = reply.answer.err;
	if (reply.failed && (reply.answer.err ? !is_allowed(&before, reply.answer.err) || fail_ambiguous(&before) :
						!fail_done_whole(step))) {
		int came = reply.answer.err && !fail_ambiguous(&before) ?
				   run_refused(run, step, &reply.answer) :
				   RUN_PARTLY;

		if (came != RUN_FINDING)
			result->failed = 0;
		result->refused++;
		return came;
	}
	if (run_judged(run, step, &before, &reply.answer, finding))
		return RUN_FINDING;
	if (step->op == OP_FORK)
		run->subjects[step->to] = subject_of(reply.child);
	if (step->op == OP_KSM)
		mlocked_unsure(&run->mlocked);
	if (look_all(run, finding))
		return RUN_FINDING;
	if (step->op == OP_KSM)
		ksm_narrow(&run->model, run->sights);
	if (step->op == OP_SCAN && step->how == SCAN_LOOK && moved == moved_by_kernel() &&
	    look_scan(run, step, reply.seen, finding))
		return RUN_FINDING;
	result->failed = 0;
	result->carried++;
	result->times[step->op]++;
	result->succeeded[step->op] += !reply.answer.err;
	return RUN_DONE;
}

#endif
