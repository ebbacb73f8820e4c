// SPDX-License-Identifier: GPL-2.0-only
/*
 * steady [--programs N | --seconds S] [--steps N] [--seed S] [--strict] [--tally] [--failing | --racing]
 *        [--unguided] [--base STEPS ...] [--first STEPS ...] [--passed PCS]
 * steady --replay FILE
 * steady --program STEPS [--case NAME] [--program ...]
 * steady --say FILE [--can N]
 * steady --dry STEPS [--seed S]
 * steady --mutate FILE [--programs N] [--seed S]
 *
 * Random programs of memory management, one process acting at a time, against a model of memory: what each
 * step may return, what every page then holds, is and counts.  A program that goes wrong is made smaller and
 * printed.  docs/exploration.md has the steps and how to read a find; model.h has the model, rules*.h its
 * rules with their sources.
 *
 * Without arguments: a few programs of each swarm (draw.h), from seeds that are always the same, a case a
 * swarm (with --seconds as many as that takes, each swarm its share), and a case for each defect of mremap()
 * that docs/findings.md has and programs otherwise keep clear of (not with --strict).  --tally tells how often each
 * step was carried out, and how often it succeeded.
 * Where the kernel has KCOV, programs that pass new places of it are kept, and others made of them (guide.h): not
 * with --unguided.  --base is one that is kept from the beginning, --first one that is carried out as it is before
 * all others, --passed are places that are not new.
 * --replay carries out one program, `-` that of standard input, as strictly as it can.  --program carries out
 * the steps that it is given, divided by ;, makes them no smaller, and calls that case NAME; there may be many.  --say tells what
 * the model says of programs (with --- between them), --dry drives the model at random: both without a kernel,
 * and --can is what that would have, a sum of CAN_* in model.h.  --mutate makes programs of those of a file,
 * without a kernel too.
 */
#define _GNU_SOURCE
#include "dry_mutate.h"
#include "knob.h"
#include "probe.h"
#include "say.h"
#include "shrink.h"
#include "tell.h"
#include "uffd.h"

static double seconds;
static unsigned long long seed = 1;
static long programs = 10, steps = 40, dry, say_can = CAN_ALL;
static int strict, tally;
static enum mode mode;
static const char *replay, *say, *of, *passed;
#define GIVEN 64 /* programs on the command line */
static const char *steps_given[GIVEN + 1], *bases_given[GIVEN + 1], *firsts_given[GIVEN + 1];
static int programs_given, bases, firsts;

/* Print what was found, and fail the case with it. */
static void fail_with(const struct result *result)
{
	const struct program *program = &result->program;
	char line[160] = "";

	if (result->failed && result->failed <= program->count)
		step_print(&program->steps[result->failed - 1], line, sizeof(line));
	tell_result(result);
	FAIL("%s: step %d of %d, `%s`: %s", result->finding.rule, result->failed, program->count, line,
	     result->finding.text);
}

/* Make it smaller, print it, and fail the case with what is wrong in it. */
static void tell_finding(struct trial *trial, const struct result *result)
{
	static struct program program;
	static struct result first;

	first = *result;
	program = first.program;
	program.count = first.failed < first.program.count ? first.failed : first.program.count;
	if (!program.count || !shrink(trial, &program, &first.finding)) {
		ktap_diag("it did not happen again: the program is as it was drawn");
	} else {
		trial->program = &program;
		result = trial_run(trial);
		if (result->failed)
			first = *result;
	}
	fail_with(&first);
}

/*
 * The steps of a text up to its end or a line of "---", behind which there is another program; whether it was
 * that.  A wrong line fails the case.
 */
static int read_program(FILE *text, const char *name, struct program *program)
{
	char line[256];
	const char *why;

	program->count = 0;
	for (int number = 1; fgets(line, sizeof(line), text); number++) {
		struct step step;
		int came;

		if (!strncmp(line, "---", 3))
			return 1;
		came = step_parse(line, &step, &why);

		CHECK(came >= 0, "%s:%d: %s", name, number, why);
		CHECK(program->count < STEPS_MAX - 8, "%s:%d: a program has no more than %d steps", name, number,
		      STEPS_MAX - 8);
		if (came)
			program->steps[program->count++] = step;
	}
	return 0;
}

/* A program of the command line, its steps divided by ;. */
static void read_given(const char *steps_of, const char *option, struct program *program)
{
	char *text = strdup(steps_of);

	CHECK(text && *text, "%s has no steps", option);
	for (char *end = text; (end = strchr(end, ';'));)
		*end = '\n';
	(void)read_program(fmemopen(text, strlen(text), "r"), option, program);
}

/* Once: trace what programs pass, and know what others passed. */
static void prepare_guide(void)
{
	static struct program program;
	static int prepared;
	const char *why;

	if (prepared++)
		return;
	why = mode == MODE_STEADY ? cover_open() : "other modes draw all their programs";
	if (why) {
		ktap_diag("not guided by coverage: %s", why);
		return;
	}
	for (int i = 0; i < bases; i++) {
		read_given(bases_given[i], "--base", &program);
		guide_keep(&program, program.count);
	}
	for (int i = 0; i < firsts; i++)
		read_given(firsts_given[i], "--first", &guide.first[guide.firsts++]);
	CHECK(!passed || !guide_passed(passed), "--passed expects places, in hex, with + in between");
}

/* How many of the swarms there are in this mode. */
static int swarms_tried(void)
{
	return mode == MODE_STEADY ? SWARMS : SWARMS - SWARMS_STEADY;
}

static void explore(const struct swarm *swarm)
{
	static struct program made;
	double begun = mem_now_ms(), until = begun + seconds * 1000 / swarms_tried();
	long carried = 0, refused = 0, of_kept = 0, i, times[OPS] = { 0 }, succeeded[OPS] = { 0 };

	prepare();
	prepare_swarm(swarm);
	if (mode == MODE_FAILING)
		prepare_faults();
	prepare_guide();
	for (i = 0; seconds ? mem_now_ms() < until : i < programs; i++) {
		struct trial trial = {
			.swarm = swarm,
			.seed = seed + (uint64_t)i,
			.count = (int)steps,
			.can = can,
			.known = !strict,
			.mode = mode,
		};
		const struct result *result;
		int guided = guide_next(trial.seed, (int)steps, &made);

		trial.program = guided ? &made : NULL;
		of_kept += guided;
		cover_anew();
		result = trial_run(&trial);
		carried += result->carried;
		refused += result->refused;
		for (int op = 0; op < OPS; op++) {
			times[op] += result->times[op];
			succeeded[op] += result->succeeded[op];
		}
		if (result->failed) {
			measure(i + 1, carried, begun);
			if (guided)
				ktap_diag("made of programs that were kept: its seed alone does not bring it back");
			ktap_diag("swarm %s, seed %llu, after %ld steps", swarm->name, seed + (uint64_t)i, carried);
			tell_finding(&trial, result);
		}
		guide_take(result, swarm->name, guided);
	}
	measure(i, carried, begun);
	if (cover_on()) {
		ktap_measure("guided", (double)of_kept, "programs");
		ktap_measure("pcs", (double)cover.set->count, "pcs");
	}
	for (int op = 0; tally && op < OPS; op++)
		if (times[op])
			ktap_diag("TALLY %s %s %ld %ld", swarm->name, forms[op].name, times[op], succeeded[op]);
	if (mode == MODE_FAILING)
		ktap_diag("%s: %ld times an allocation failed and the step with it", swarm->name, refused);
}

#define SWARM(name, number)                                                                        \
	static void name(void)                                                                     \
	{                                                                                          \
		explore(&swarms[number]);                                                          \
	}
SWARM(mappings, 0)
SWARM(advice, 1)
SWARM(processes, 2)
SWARM(userfault, 3)
SWARM(holders, 4)
SWARM(files, 5)
SWARM(everything, 6)
SWARM(merging, 7)
SWARM(folios, 8)

static FILE *open_program(const char *name)
{
	FILE *text = strcmp(name, "-") ? fopen(name, "r") : stdin;

	CHECK(text, "%s: %m", name);
	return text;
}

/* Carry a trial's program out as strictly as it can; what came of it. */
static const struct result *carry_out(struct trial *trial)
{
	const struct result *result;

	prepare();
	for (int i = 0; i < trial->program->count; i++)
		prepare_step(&trial->program->steps[i]);
	trial->can = can;
	result = trial_run(trial);
	if (!result->failed)
		ktap_diag("%d steps carried out as the model has it, the ends of processes that were left among them",
			  result->carried);
	return result;
}

/* The one program of a text; one that goes wrong is made smaller. */
static void replay_text(FILE *text, const char *name)
{
	static struct program program;
	struct trial trial = { .program = &program };
	const struct result *result;

	CHECK(!read_program(text, name, &program), "%s: one program at a time", name);
	result = carry_out(&trial);
	if (result->failed)
		tell_finding(&trial, result);
}

static void replayed(void)
{
	replay_text(open_program(replay), replay);
}

/* Once, as it is: who asks makes it smaller by itself. */
static void given(void)
{
	static struct program program;
	static int next;
	struct trial trial = { .program = &program };
	const struct result *result;

	read_given(steps_given[next++], "--program", &program);
	result = carry_out(&trial);
	if (result->failed)
		fail_with(result);
	tell_program(result);
}

static void said(void)
{
	static struct program program;
	FILE *text = open_program(say);
	int more = 1;

	while (more) {
		more = read_program(text, say, &program);
		say_program(&program, (unsigned int)say_can);
		if (more)
			ktap_diag("---");
	}
}

/* Defects that programs keep clear of elsewhere, each as the smallest program that shows it. */
static const char beside_registered[] = "0 mmap at=0 n=1 prot=rw\n"
					"0 mmap at=2 n=1 prot=rw\n"
					"0 userfaultfd how=plain\n"
					"0 register at=0 n=3 how=missing\n"
					"0 remap at=2 n=1 len=1 to=1\n";

static void mremap_beside_registered(void)
{
	FILE *text = fmemopen((void *)(uintptr_t)beside_registered, sizeof(beside_registered) - 1, "r");

	prepare();
	if (!(can & CAN_UFFD))
		ktap_skip("this kernel has no userfaultfd");
	replay_text(text, "mremap-beside-registered");
}

static void model_alone(void)
{
	static const unsigned int kernels[] = { CAN_ALL | CAN_LARGE, (CAN_ALL & ~CAN_SWAP) | CAN_GUARD | CAN_REMAP_MANY,
						CAN_UFFD };

	/* Of the model's two halves each kernel shows one. */
	for (unsigned int i = 0; i < KTAP_COUNT(kernels); i++)
		CHECK(!dry_run(dry / 3 + 1, seed + i * 1000, kernels[i]),
		      "the model contradicts itself");
}

static void mutated(void)
{
	static struct program program;
	FILE *text = open_program(of);

	for (int more = 1; more;) {
		more = read_program(text, of, &program);
		guide_keep(&program, program.count);
	}
	CHECK(guide.count, "%s has no program", of);
	CHECK(!dry_mutate_all(programs, seed, (int)steps, (unsigned int)say_can), "made what is no program");
}

static int usage(const char *name)
{
	fprintf(stderr,
		"%s: expected [--programs N | --seconds S] [--steps N (up to %d)] [--seed S] [--strict] [--tally] [--failing | --racing] "
		"[--unguided] [--base STEPS ...] [--first STEPS ...] [--passed PCS], --replay FILE, "
		"--program STEPS [--case NAME] [--program ...], --say FILE [--can N], --mutate FILE or --dry STEPS\n",
		name, STEPS_MAX - 8);
	return 2;
}

static const struct ktap_case swarm_cases[] = {
	{ "mappings", mappings },
	{ "advice", advice },
	{ "processes", processes },
	{ "userfault", userfault },
	{ "holders", holders },
	{ "files", files },
	{ "everything", everything },
	{ "merging", merging },
	{ "folios", folios },
	{ "mremap-beside-registered", mremap_beside_registered },
};

int main(int argc, char **argv)
{
	static const struct ktap_case replay_case[] = { { "replay", replayed } };
	static struct ktap_case given_cases[GIVEN + 1];
	static const struct ktap_case say_case[] = { { "say", said } };
	static const struct ktap_case dry_case[] = { { "model-alone", model_alone } };
	static const struct ktap_case mutate_case[] = { { "mutated", mutated } };
	int status;

	for (int i = 1; i < argc; i++) {
		long *number = !strcmp(argv[i], "--programs") ? &programs :
			       !strcmp(argv[i], "--steps")    ? &steps :
			       !strcmp(argv[i], "--can")      ? &say_can :
			       !strcmp(argv[i], "--dry")      ? &dry :
								NULL;
		int *flag = !strcmp(argv[i], "--strict")   ? &strict :
			    !strcmp(argv[i], "--tally")	   ? &tally :
			    !strcmp(argv[i], "--unguided") ? &guide.unguided :
							     NULL;
		const char **file;
		char *end;

		if (!strcmp(argv[i], "--failing") || !strcmp(argv[i], "--racing")) {
			mode = argv[i][2] == 'f' ? MODE_FAILING : MODE_RACING;
			continue;
		}
		if (flag) {
			*flag = 1;
			continue;
		}
		file = !strcmp(argv[i], "--replay")  ? &replay :
		       !strcmp(argv[i], "--say")     ? &say :
		       !strcmp(argv[i], "--mutate")  ? &of :
		       !strcmp(argv[i], "--passed")  ? &passed :
		       !strcmp(argv[i], "--base")    ? &bases_given[bases] :
		       !strcmp(argv[i], "--first")   ? &firsts_given[firsts] :
		       !strcmp(argv[i], "--program") ? &steps_given[programs_given] :
		       !strcmp(argv[i], "--case")    ? &given_cases[programs_given - !!programs_given].name :
						       NULL;
		if (++i == argc || (!number && !file && strcmp(argv[i - 1], "--seed") &&
				    strcmp(argv[i - 1], "--seconds")))
			return usage(argv[0]);
		if (file) {
			*file = argv[i];
			if (!strcmp(argv[i - 1], "--program"))
				given_cases[programs_given++] = (struct ktap_case){ "replay", given };
			bases += !strcmp(argv[i - 1], "--base");
			firsts += !strcmp(argv[i - 1], "--first");
			if (programs_given > GIVEN || bases > GIVEN || firsts > GIVEN)
				return usage(argv[0]);
			continue;
		}
		if (number)
			*number = strtol(argv[i], &end, 10);
		else if (!strcmp(argv[i - 1], "--seed"))
			seed = strtoull(argv[i], &end, 10);
		else
			seconds = strtod(argv[i], &end);
		if (!*argv[i] || *end || argv[i][0] == '-' || (number && !*number))
			return usage(argv[0]);
	}
	if (steps > STEPS_MAX - 8)
		return usage(argv[0]);
	status = replay ? ktap_run(replay_case, 1, NULL) :
		 programs_given ? ktap_run(given_cases, (size_t)programs_given, NULL) :
		 say	? ktap_run(say_case, 1, NULL) :
		 dry	? ktap_run(dry_case, 1, NULL) :
		 of	? ktap_run(mutate_case, 1, NULL) :
			  /* The last one is a program of its own. */
			  ktap_run(swarm_cases, (size_t)swarms_tried() + (mode == MODE_STEADY), NULL);
	knob_restore();
	return status;
}
