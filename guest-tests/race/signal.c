// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that end in the middle of moving pages: killed, by exit of one of their threads, by
 * exec of one of them.  They are gone soon, though a move of a long range was under way, and what
 * they had comes back: anonymous pages, swap, page tables.
 *
 * Source: move_pages() of mm/userfaultfd.c of v6.12 (fatal_signal_pending() after each step),
 * exit_mmap() and check_mm() for what is left behind, which the kernel's log tells.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "procfile.h"
#include "race.h"
#include "rss.h"

#define PAGES 512
/*
 * Of a process's CPU time, in which it should long have moved something, or be gone: on a busy host
 * it may have to wait for long.  One that sleeps for ever is judged by who waits for this program.
 */
#define ENOUGH_MS 20000.0

/* Shared with the children. */
static volatile unsigned long *moves;
static const char *name;
static struct race_rng rng;
static size_t rounds;

static void nap_us(size_t us)
{
	struct timespec pause = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	nanosleep(&pause, NULL);
}

/* Moves all there is in one call, to and fro. */
static void *move_long(void *argument)
{
	struct race_thread *self = argument;
	struct race_arena *arena = self->arena;
	size_t len = self->count * mem_page();

	for (int side = 0;; side = !side) {
		struct uffd_result result;
		size_t done = 0;

		while (done < len) {
			result = uffd_move(arena->uffd,
					   race_at(arena, !side, self->first) + done,
					   race_at(arena, side, self->first) + done, len - done, 0);
			if (result.err && result.err != EAGAIN && result.err != EBUSY)
				_exit(10 + result.err);
			if (result.moved > 0)
				done += (size_t)result.moved;
			__atomic_fetch_add(moves, result.moved > 0, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static void *page_out(void *argument)
{
	struct race_thread *self = argument;

	for (int side = 0;; side = !side) {
		(void)madvise(self->arena->side[side], self->arena->pages * mem_page(),
			      MADV_PAGEOUT);
		nap_us(500);
	}
	return NULL;
}

/* A process of movers; ends itself after a while if it is told how, else waits for its end. */
static void live(size_t how, size_t after_us)
{
	static const struct race_role role = { "mover", NULL, NULL, 0 };
	static struct race_thread threads[8];
	static struct race_arena arena;
	int movers = race_options()->intensity;
	const char *no_swap = mem_why_no_swap();
	unsigned long before = *moves;
	struct race_watch watch;
	pthread_t id;

	race_arena_make(&arena, 0, PAGES, 0);
	for (int i = 0; i < movers; i++) {
		race_thread_make(&threads[i], &arena, &role, name, rounds * 8 + (size_t)i);
		threads[i].first = PAGES * (size_t)i / (size_t)movers;
		threads[i].count = PAGES * (size_t)(i + 1) / (size_t)movers - threads[i].first;
		CHECK(!pthread_create(&id, NULL, move_long, &threads[i]), "no thread");
	}
	if (!no_swap)
		CHECK(!pthread_create(&id, NULL, page_out, &threads[0]), "no thread");
	race_watch_begin(&watch, CLOCK_PROCESS_CPUTIME_ID);
	while (*moves == before && race_watch(&watch) < ENOUGH_MS)
		nap_us(1000);
	nap_us(after_us);
	if (how == 1)
		_exit(0);
	if (how == 2)
		execl("/proc/self/exe", "race", "leave", (char *)NULL);
	for (;;)
		pause();
}

/* One life; the process is gone and reaped when it returns. */
static void one_life(size_t how)
{
	size_t after = 200 + race_below(&rng, 20000);
	unsigned long before = *moves;
	pid_t parent = getpid(), pid = fork();
	struct race_watch watch;
	clockid_t clock;
	int status;

	CHECK(pid >= 0, "fork: %m");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			live(how, after);
		_exit(KTAP_EXIT_FAIL);
	}
	rounds++;
	CHECK(!clock_getcpuclockid(pid, &clock), "no CPU clock of process %d", (int)pid);
	race_watch_begin(&watch, clock);
	if (!how) {
		siginfo_t over = { 0 };

		while (*moves == before && race_watch(&watch) < ENOUGH_MS && !over.si_pid) {
			nap_us(1000);
			CHECK_SYS(waitid(P_PID, (id_t)pid, &over, WEXITED | WNOHANG | WNOWAIT));
		}
		nap_us(after);
		CHECK_SYS(kill(pid, SIGKILL));
		race_watch_begin(&watch, clock);
	}
	while (waitpid(pid, &status, WNOHANG) != pid) {
		/* Before its own end it may have used all the time it has for a first move. */
		CHECK(race_watch(&watch) < 3 * ENOUGH_MS,
		      "%s: process %d is still there after %.0f s of its CPU time", name, (int)pid,
		      3 * ENOUGH_MS / 1000);
		nap_us(1000);
	}
	if (how)
		CHECK(WIFEXITED(status) && !WEXITSTATUS(status),
		      "%s: got wait status %#x, expected exit status 0 (10 and more: a move failed "
		      "with errno status - 10)",
		      name, (unsigned int)status);
	else
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		      "%s: got wait status %#x, expected SIGKILL", name, (unsigned int)status);
}

/*
 * In pages.  Swapped-out pages that a process leaves behind may stay in the swap cache until
 * somebody wants the memory, and each CPU keeps some freed slots to itself (mm/swap_slots.c).
 */
struct machine {
	long anon, tables, swap;
};

static struct machine machine(void)
{
	sys_refresh();
	return (struct machine){
		.anon = sys_meminfo("AnonPages"),
		.tables = sys_meminfo("PageTables"),
		.swap = sys_meminfo("SwapTotal") - sys_meminfo("SwapFree") -
			sys_meminfo("SwapCached"),
	};
}

/* A page a life is lost: after some lives that is more than the noise. */
static void comes_back(const struct machine *before)
{
	long slack = rounds / 2 > 32 ? (long)rounds / 2 : 32;
	long slots = slack + 128 * sysconf(_SC_NPROCESSORS_ONLN);
	struct machine now;

	for (int attempt = 0; attempt < 40; attempt++) {
		now = machine();
		if (now.anon - before->anon <= slack && now.tables - before->tables <= slack &&
		    now.swap - before->swap <= slots)
			return;
		nap_us(50000);
	}
	FAIL("after %zu lives: AnonPages %+ld, PageTables %+ld, used swap %+ld pages", rounds,
	     now.anon - before->anon, now.tables - before->tables, now.swap - before->swap);
}

static void lives(const char *what, size_t how)
{
	double end = mem_now_ms() + race_begin();
	struct machine before;

	name = what;
	rounds = 0;
	rng.state = race_options()->seed + how;
	if (!moves)
		moves = mmap(NULL, mem_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
	CHECK(moves != MAP_FAILED, "mmap: %m");
	*moves = 0;
	rss_check(what, getpid());
	one_life(how); /* what is only set up once */
	before = machine();
	do {
		one_life(how);
	} while (mem_now_ms() < end);
	ktap_diag("RACE case=%s seed=%llu moves=%lu adversary=%zu", what,
		  (unsigned long long)race_options()->seed, *moves, rounds);
	ktap_measure("moves", (double)*moves, "1");
	comes_back(&before);
	CHECK(*moves, "nothing raced: no move succeeded");
}

static void killed(void)
{
	lives("killed", 0);
}

static void exits(void)
{
	lives("exits", 1);
}

static void execs(void)
{
	lives("execs", 2);
}

static const struct ktap_case cases[] = {
	{ "killed", killed },
	{ "exits", exits },
	{ "execs", execs },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "leave")) /* what execs() turns into */
		return 0;
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
