// SPDX-License-Identifier: GPL-2.0-only
/*
 * fork() while pages are moved.  The child gets each page exactly once, wherever it was at that
 * moment, and whole.  The parent's pages are then shared: a move answers EBUSY, until the child is
 * gone and the page was written to.  Memory with MADV_DONTFORK is in no child and never EBUSY.
 *
 * Source: move_pages_pte() (PageAnonExclusive) and the comment above move_pages() in
 * mm/userfaultfd.c, dup_mmap() in kernel/fork.c of v6.12; madvise(2).  A child's copy of the
 * mapping is not registered with the userfaultfd (UFFD_FEATURE_EVENT_FORK is not asked for).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"
#include "race.h"

#define PAGES 64

/* What a child tells by its exit status; 0 is well. */
enum { WELL, TWICE_OR_NOWHERE = 10, CANNOT_READ, WRITE_LOST, MAPPED, NO_EXEC };

static const char *told(int status)
{
	switch (status) {
	case TWICE_OR_NOWHERE:
		return "a page is on both sides, on none, or not whole";
	case CANNOT_READ:
		return "a page cannot be read";
	case WRITE_LOST:
		return "a page written to is not what was written";
	case MAPPED:
		return "memory with MADV_DONTFORK is mapped";
	case NO_EXEC:
		return "exec failed";
	}
	return "it died";
}

/* In the child, whose side without the page reads as zeroes. */
static int each_page_once(struct race_arena *arena, void *const *buffers)
{
	for (size_t page = 0; page < arena->pages; page++) {
		int here[2];

		for (int side = 0; side < 2; side++) {
			if (race_read(race_at(arena, side, page), buffers[side], mem_page()))
				return CANNOT_READ;
			here[side] = race_stamped(buffers[side], page);
		}
		if (here[0] + here[1] != 1)
			return TWICE_OR_NOWHERE;
	}
	return WELL;
}

/* In the child: pages of its own, by copy on write. */
static int write_all(struct race_arena *arena)
{
	for (int side = 0; side < 2; side++)
		for (size_t page = 0; page < arena->pages; page++) {
			uint64_t *word = (uint64_t *)race_at(arena, side, page) + 2, old;

			if (race_add(word, page + 1, &old) || race_add(word, 0, &old) ||
			    old != page + 1)
				return WRITE_LOST;
		}
	return WELL;
}

static int not_mapped(struct race_arena *arena)
{
	uint64_t word;

	for (int side = 0; side < 2; side++)
		if (race_read(race_at(arena, side, 0), &word, sizeof(word)) != SIGSEGV)
			return MAPPED;
	return WELL;
}

static int dontfork;

static int in_child(struct race_thread *self, int what, void *const *buffers)
{
	int status = WELL;

	if (dontfork)
		return not_mapped(self->arena);
	switch (what) {
	case 0:
		status = each_page_once(self->arena, buffers);
		break;
	case 1:
		status = write_all(self->arena);
		break;
	case 2: /* the copy of the mm goes while it stands still */
		race_nap(self, 3000);
		break;
	case 3:
		for (;;)
			pause();
	}
	return status;
}

static void fork_once(struct race_thread *self)
{
	static void *buffers[8][2];
	void **mine = buffers[self->index % 8];
	int what = (int)race_below(&self->rng, 4), status;
	pid_t pid;

	for (int i = 0; i < 2; i++)
		if (!mine[i] && !(mine[i] = calloc(1, mem_page())))
			race_fail("out of memory");
	pid = fork();
	if (!pid)
		_exit(in_child(self, what, mine));
	if (pid < 0) {
		race_fail("fork: %s", ktap_errno(errno));
		return;
	}
	if (what == 3 && !dontfork) {
		race_nap(self, 3000);
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (what == 3 && !dontfork ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL :
				     !WIFEXITED(status) || WEXITSTATUS(status))
		race_fail("child: wait status %#x: %s", (unsigned int)status,
			  told(WIFEXITED(status) ? WEXITSTATUS(status) : -1));
	self->acts++;
}

/* No child is left: what is written to is ours alone again, and moves. */
static void all_move(struct race_arena *arena)
{
	for (size_t page = 0; page < arena->pages; page++) {
		int from = arena->at[page], tries = 0;
		struct uffd_result result;

		if (race_bump(arena, from, page))
			race_fail("page %zu cannot be written to", page);
		do {
			result = uffd_move(arena->uffd, race_at(arena, !from, page),
					   race_at(arena, from, page), mem_page(), 0);
		} while (result.err == EAGAIN && ++tries < 1000);
		if (result.err) {
			race_fail("no child is left, and page %zu was written to: moving it gives %s",
				  page, ktap_errno(result.err));
			return;
		}
		arena->at[page] = (unsigned char)!from;
	}
}

static void forked(void)
{
	race_run(&(struct race_case){
		.name = "forked",
		.pages = PAGES,
		.errnos = RACE_ERRNO(EBUSY),
		.adversaries = { { "forker", fork_once, NULL, 0 } },
		.standstill = all_move,
	});
}

static void not_forked(struct race_arena *arena)
{
	for (int side = 0; side < 2; side++)
		CHECK_SYS(madvise(arena->side[side], arena->pages * mem_page(), MADV_DONTFORK));
}

static void dont_fork(void)
{
	dontfork = 1;
	race_run(&(struct race_case){
		.name = "dont-fork",
		.flags = RACE_IDENTITY,
		.pages = PAGES,
		.adversaries = { { "forker", fork_once, NULL, 0 } },
		.prepare = not_forked,
	});
	dontfork = 0;
}

/* The whole memory is lent to the child until it runs another program, or copied just for that. */
static void exec_once(struct race_thread *self)
{
	int lend = (int)race_below(&self->rng, 2), status;
	pid_t pid = lend ? vfork() : fork();

	if (!pid) {
		execl("/proc/self/exe", "race", "leave", (char *)NULL);
		_exit(NO_EXEC);
	}
	if (pid < 0) {
		race_fail("fork: %s", ktap_errno(errno));
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		race_fail("child: wait status %#x: %s", (unsigned int)status,
			  told(WIFEXITED(status) ? WEXITSTATUS(status) : -1));
	self->acts++;
}

static void execed(void)
{
	race_run(&(struct race_case){
		.name = "execed",
		.pages = PAGES,
		.errnos = RACE_ERRNO(EBUSY),
		.adversaries = { { "exec", exec_once, NULL, 1 } },
		.standstill = all_move,
	});
}

static const struct ktap_case cases[] = {
	{ "forked", forked },
	{ "dont-fork", dont_fork },
	{ "execed", execed },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "leave")) /* what execed() runs */
		return 0;
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
