// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves of huge pages against fork(): a page that a child shares is not exclusive and stays where it
 * is (EBUSY) until it is written; the whole of a fork() lies before or after a move, so a child has
 * each page in exactly one place, with its contents.
 *
 * Source: PageAnonExclusive() in move_pages() in mm/userfaultfd.c and in move_pages_huge_pmd() in
 * mm/huge_memory.c, dup_mmap() in kernel/fork.c of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hugerace.h"
#include "mem.h"

enum { GOOD, NO_PAGEMAP, NOWHERE, TWICE, SPOILED };

static const char *const verdicts[] = { "good", "no pagemap", "a page is on no side",
					"a page is on both sides", "a page has lost its stamps" };

/* In the child, which has this one thread: no locks, no memory. */
static int look_at_all(const struct race_arena *arena)
{
	static __thread uint64_t entries[2][64];
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	for (size_t page = 0; page < arena->pages; page++) {
		size_t at = page % 64;
		int side;

		for (side = 0; at == 0 && side < 2; side++) {
			off_t where = (off_t)((uintptr_t)race_at(arena, side, page) / mem_page() *
					      sizeof(uint64_t));

			if (pread(pagemap, entries[side], sizeof(entries[side]), where) !=
			    sizeof(entries[side]))
				return NO_PAGEMAP;
		}
		side = race_populated(entries[1][at]);
		if (side && race_populated(entries[0][at]))
			return TWICE;
		if (!side && !race_populated(entries[0][at]))
			return NOWHERE;
		if (!race_stamped(race_at(arena, side, page), page))
			return SPOILED;
	}
	return GOOD;
}

static void fork_one(struct race_thread *self)
{
	pid_t parent = getpid(), pid = fork(), got;
	int status = 0;

	if (pid < 0) {
		race_fail("fork: %s", ktap_errno(errno));
		return;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(getppid() == parent ? look_at_all(self->arena) : GOOD);
	}
	do {
		got = waitpid(pid, &status, 0);
	} while (got < 0 && errno == EINTR);
	if (got != pid || !WIFEXITED(status))
		race_fail("a child ended with wait status %#x", (unsigned int)status);
	else if (WEXITSTATUS(status) != GOOD)
		race_fail("in a child %s",
			  WEXITSTATUS(status) < (int)KTAP_COUNT(verdicts) ?
				  verdicts[WEXITSTATUS(status)] :
				  "the test died");
	else
		self->acts++;
	race_nap(self, 20000);
}

static void finish(struct race_arena *arena)
{
	(void)arena;
	ktap_diag("whole moves: %lu, put together again: %lu", huge_whole_moves(),
		  huge_collapses());
}

static void run(const char *name, unsigned int flags)
{
	huge_prepare(flags);
	race_run(&(struct race_case){
		.name = name,
		.flags = RACE_HUGE,
		.pages = huge_pages(),
		.errnos = RACE_ERRNO(EBUSY),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.adversaries = { { "forker", fork_one, NULL, 1 } },
		.finish = finish,
	});
}

static void whole(void)
{
	run("whole", 0);
}

static void halves(void)
{
	run("halves", HUGE_HALVES);
}

static const struct ktap_case cases[] = {
	{ "whole", whole },
	{ "halves", halves },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	return race_main(argc, argv, cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
