// SPDX-License-Identifier: GPL-2.0-only
/*
 * sampler [-i MS] [-m TOKEN -w WORKLOAD] -- PROGRAM [ARGUMENT...]
 *
 * Runs one workload in the guest and watches its memory from outside.
 *
 * stdout: the program's own, untouched.
 * stderr: JSON lines of ours, and the program's stderr with "stderr: " before each line.
 *   {"phase":"before","t":0.000,COUNTERS}        the machine before the program starts
 *   {"t":0.250,"RssAnon":512,"RssFile":..,"RssShmem":..,"VmSwap":0,"Anonymous":512}
 *                                                the program and all its descendants; Anonymous
 *                                                (page walk) only in some of them
 *   {"stuck":471,"state":"R","seconds":6.20,"wchan":"0"}
 *                                                a call that does not come to its end, see stuckwatch.h
 *   {"phase":"after","t":1.312,COUNTERS}         the machine after it has gone and settled
 *   {"phase":"exit","status":0,"signal":0,"seconds":1.200,"page_size":4096,"cpus":2,"maxrss":1520}
 * COUNTERS of /proc/meminfo are in pages; of /proc/vmstat, nr_anon_pages is in pages,
 * nr_anon_transparent_hugepages in huge pages and the rest count events; those of machine.h are pages
 * and objects; -1 is one that the kernel does not have.  maxrss is in KiB, of the program or the largest of its children.  exit also has
 * "error" where the program could not be started, "killed" where we were told to stop it, and
 * "changed" with the names of what it left otherwise than it was, see gueststate.h,
 * "unsearched" where the kernel did not search for leaks although it has kmemleak.
 *
 * A sample is a plot and no proof: it is taken while the program runs.  Threads share one mm and
 * are read once; processes that share one (vfork) are counted twice while they do.
 *
 * With -m and -w the kernel log gets "lab-mark TOKEN begin WORKLOAD" before the first phase and
 * "lab-mark TOKEN end WORKLOAD" after the last one; see visit_every_cpu() for what has to come
 * before it.
 *
 * SIGTERM, SIGHUP and SIGINT kill the program with everything it started, and so does the end of
 * stdin where that is a pipe or a socket (the SSH session is gone).  Exit status: the program's, or
 * 128 + its signal; 127 where it could not be started; 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "everycpu.h"
#include "gueststate.h"
#include "kmsgcopy.h"
#include "launch.h"
#include "leakscan.h"
#include "machine.h"
#include "procfile.h"
#include "proctree.h"
#include "say.h"
#include "stuckwatch.h"

#define CPU_SHARE 0.03 /* of one CPU, for ordinary samples; page walks get as much again */
#define WALK_SECONDS 1.0
#define SETTLE_SECONDS 0.4
#define GIVE_UP_SECONDS 2.0 /* a task that hit a BUG may never die */

/* No allocation after the start: what we use must not move between "before" and "after". */
static char text[64 * 1024];
static struct proctree tree;
static struct guest_state state_before, state_after;
static char changed[512];
static double started;
static const char *token, *workload;
static volatile sig_atomic_t stop_signal;

static double now(void)
{
	return clock_seconds(CLOCK_MONOTONIC) - started;
}

static void mark(const char *edge)
{
	char line[512];

	if (!token || !workload)
		return;
	/* Level 3 reaches the console in spite of a lowered console log level. */
	snprintf(line, sizeof(line), "<3>lab-mark %s %s %s\n", token, edge, workload);
	proc_write("/dev/kmsg", line);
}

static long anon_pages_now(void)
{
	/* Folds the per-CPU parts, so that what follows reads exact numbers. */
	proc_write("/proc/sys/vm/stat_refresh", "1");
	return proc_read("/proc/meminfo", text, sizeof(text)) ? -1 : proc_pages(text, "AnonPages");
}

static long say_phase(const char *phase)
{
	static const char *const memory[] = { "AnonPages",  "SwapTotal", "SwapFree", "SwapCached",
					      "PageTables", "SUnreclaim", "MemFree" };
	static const char *const events[] = { "nr_anon_pages", "nr_anon_transparent_hugepages",
					      "pswpin",        "pswpout",
					      "thp_split_pmd", "thp_fault_alloc" };
	long anon = anon_pages_now();

	say("{\"phase\":\"%s\",\"t\":%.3f", phase, phase[0] == 'b' ? 0.0 : now());
	for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++)
		say(",\"%s\":%ld", memory[i], proc_pages(text, memory[i]));
	(void)proc_read("/proc/vmstat", text, sizeof(text));
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		say(",\"%s\":%ld", events[i], proc_field(text, events[i]));
	say("%s}\n", machine_line(text, sizeof(text)));
	return anon;
}

/* One sample; returns the CPU seconds it took us. */
static double sample(int walk)
{
	static const char *const names[] = { "RssAnon", "RssFile", "RssShmem", "VmSwap" };
	double cost = clock_seconds(CLOCK_PROCESS_CPUTIME_ID), t = now();
	long sum[4] = { 0 }, anonymous = 0, value;
	char path[64];

	proctree_list(&tree);
	for (size_t i = 0; i < tree.count; i++) {
		snprintf(path, sizeof(path), "/proc/%d/status", (int)tree.pids[i]);
		if (proc_read(path, text, sizeof(text)))
			continue;
		for (size_t k = 0; k < 4; k++) {
			value = proc_pages(text, names[k]);
			sum[k] += value > 0 ? value : 0;
		}
		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)tree.pids[i]);
		if (!walk || proc_read(path, text, sizeof(text)))
			continue;
		value = proc_pages(text, "Anonymous");
		anonymous += value > 0 ? value : 0;
	}
	say("{\"t\":%.3f,\"RssAnon\":%ld,\"RssFile\":%ld,\"RssShmem\":%ld,\"VmSwap\":%ld", t, sum[0],
	    sum[1], sum[2], sum[3]);
	if (walk)
		say(",\"Anonymous\":%ld", anonymous);
	say("}\n");
	return clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cost;
}

static void on_signal(int number)
{
	/* SIGCHLD only has to end the wait. */
	if (number != SIGCHLD)
		stop_signal = number;
}

/* Watch until the program ends or must; returns why it was killed, or NULL. */
static const char *watch(pid_t pid, int stderr_end, double interval)
{
	struct stat info;
	int watch_stdin = !fstat(STDIN_FILENO, &info) &&
			  (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
	struct pollfd fds[2] = { { watch_stdin ? STDIN_FILENO : -1, POLLIN, 0 },
				 { stderr_end, POLLIN, 0 } };
	double next = now(), next_walk = next, give_up = 0, cost, wait;
	const char *killed = NULL;
	struct timespec timeout;
	sigset_t open_mask;
	siginfo_t child;
	char byte;

	sigemptyset(&open_mask);
	for (;;) {
		child.si_pid = 0;
		while (!waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) && child.si_pid) {
			if (child.si_pid == pid)
				return killed;
			/* An orphan that we adopted. */
			waitpid(child.si_pid, NULL, 0);
			child.si_pid = 0;
		}
		if (!killed && stop_signal) {
			killed = stop_signal == SIGALRM ? "stdin closed" : "signal";
			proctree_kill(&tree, pid);
			give_up = now() + GIVE_UP_SECONDS;
		}
		if (killed && now() > give_up)
			return "never died";
		if (now() >= next) {
			int walk = now() >= next_walk;

			cost = sample(walk);
			stuck_look_instead();
			wait = cost / CPU_SHARE;
			if (walk)
				next_walk = now() + (wait > WALK_SECONDS ? wait : WALK_SECONDS);
			next = now() + (walk || wait < interval ? interval : wait);
		}
		wait = killed ? 0.01 : next - now();
		wait = wait > 0 ? wait : 0;
		timeout.tv_sec = (time_t)wait;
		timeout.tv_nsec = (long)((wait - (double)timeout.tv_sec) * 1e9);
		/* SIGCHLD and the rest arrive only in here. */
		if (ppoll(fds, 2, &timeout, &open_mask) <= 0)
			continue;
		if (fds[1].revents && drain(fds[1].fd) == 0)
			fds[1].fd = -1;
		if (fds[0].revents && read(fds[0].fd, &byte, 1) == 0) {
			fds[0].fd = -1;
			stop_signal = stop_signal ? stop_signal : SIGALRM;
		}
	}
}

/* Reap the program and whatever it left behind; 0 where it would not die. */
static int reap(pid_t pid, int *status, int dead)
{
	double until = now() + GIVE_UP_SECONDS;
	int ignored;
	pid_t got;

	if (dead && waitpid(pid, status, 0) != pid)
		dead = 0;
	do {
		proctree_kill(&tree, pid);
		got = waitpid(-1, &ignored, WNOHANG);
		if (!got)
			usleep(5000);
	} while (got >= 0 && now() < until);
	return dead;
}

/* Our own words, up to the first of the program's; 0 for wrong usage. */
static int parse(int argc, char **argv, double *interval)
{
	int option;

	while ((option = getopt(argc, argv, "+i:m:w:")) != -1) {
		if (option == 'i' && atof(optarg) > 0)
			*interval = atof(optarg) / 1e3;
		else if (option == 'm')
			token = optarg;
		else if (option == 'w')
			workload = optarg;
		else
			optind = argc;
	}
	return optind < argc ? optind : 0;
}

/* Touch what is written to later, so that it does not move between "before" and "after". */
static void touch(void)
{
	memset(text, 1, sizeof(text));
	memset(&tree, 0, sizeof(tree));
	memset(child_line, 1, sizeof(child_line));
	memset(changed, 1, sizeof(changed));
	memset(&state_after, 1, sizeof(state_after));
}

/* Orphans become ours, and signals wait until watch() lets them in. */
static void adopt_and_block(void)
{
	static const int caught[] = { SIGTERM, SIGHUP, SIGINT, SIGCHLD };
	struct sigaction action = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };
	sigset_t blocked;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++) {
		sigaddset(&blocked, caught[i]);
		sigaction(caught[i], &action, NULL);
	}
	sigaction(SIGPIPE, &ignore, NULL);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

/* What came of the program and of us. */
struct ending {
	int dead, status; /* whether it died, and its wait status then */
	int exec_error, leaks;
	double seconds;
	const char *killed;
};

/* Until the machine is as it was before, or close to it; -1 where leaks were not searched for. */
static int settle(int leaks, long anon_before)
{
	double until;

	for (until = now() + LEAKSCAN_MIN_AGE; leaks && now() < until; sleep(1))
		sample(0); /* so that the lab hears of us */
	if (leaks)
		leaks = leakscan_end();
	for (until = now() + SETTLE_SECONDS; now() < until && anon_pages_now() > anon_before;)
		usleep(20000);
	visit_every_cpu();
	return leaks;
}

static void say_exit(const struct ending *end)
{
	struct rusage usage;
	int status = end->status;

	getrusage(RUSAGE_CHILDREN, &usage);
	say("{\"phase\":\"exit\",\"status\":%d,\"signal\":%d,\"seconds\":%.3f,\"page_size\":%ld,"
	    "\"cpus\":%ld,\"maxrss\":%ld",
	    WIFEXITED(status) ? WEXITSTATUS(status) : 0,
	    !end->dead ? SIGKILL : WIFSIGNALED(status) ? WTERMSIG(status) : 0, end->seconds,
	    sysconf(_SC_PAGESIZE), sysconf(_SC_NPROCESSORS_ONLN), usage.ru_maxrss);
	if (end->exec_error)
		say(",\"error\":\"exec: %s\"", strerror(end->exec_error));
	if (end->killed)
		say(",\"killed\":\"%s\"", end->killed);
	if (end->leaks < 0)
		say(",\"unsearched\":1");
	if (changed[0])
		say(",\"changed\":\"%s\"", changed);
	say("}\n");
}

int main(int argc, char **argv)
{
	struct ending end = { 0 };
	int stderr_end = -1, first, log;
	double interval = 0.1;
	long anon_before;
	pid_t pid;

	first = parse(argc, argv, &interval);
	if (!first) {
		say("usage: sampler [-i MS] [-m TOKEN -w WORKLOAD] -- PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	touch();
	guest_state_read(&state_before);
	stuck_begin();
	end.leaks = leakscan_begin();
	adopt_and_block();

	log = token ? kmsgcopy_open() : -1;
	visit_every_cpu();
	mark("begin");
	started = clock_seconds(CLOCK_MONOTONIC);
	anon_before = say_phase("before");
	pid = launch(argv + first, &stderr_end, &end.exec_error);
	if (pid < 0) {
		say("{\"phase\":\"exit\",\"status\":127,\"signal\":0,\"seconds\":0,\"page_size\":%ld,"
		    "\"error\":\"fork: %m\"}\n",
		    sysconf(_SC_PAGESIZE));
		mark("end");
		return 127;
	}
	end.killed = watch(pid, stderr_end, interval);
	stuck_end();
	end.seconds = now();
	end.dead = !end.killed || strcmp(end.killed, "never died");
	sample(1);
	end.dead = reap(pid, &end.status, end.dead);
	while (drain(stderr_end) > 0)
		;
	flush_child_line();
	end.leaks = settle(end.leaks, anon_before);
	say_phase("after");
	mark("end");
	kmsgcopy_write(log, text, sizeof(text), out);
	guest_state_read(&state_after);
	guest_state_changed(&state_before, &state_after, changed, sizeof(changed));

	say_exit(&end);
	if (!end.dead)
		return 128 + SIGKILL;
	return WIFSIGNALED(end.status) ? 128 + WTERMSIG(end.status) : WEXITSTATUS(end.status);
}
