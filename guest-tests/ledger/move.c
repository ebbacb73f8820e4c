// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger of moves: pages go from one range to another and no counter changes; a child that
 * stands still while its parent counts does the same; what was moved and freed is gone from every
 * count.  (Huge and swapped-out pages are moved in thp.c and swap.c.)
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 128
#define SEED 81

static void present(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	struct rss before = rss_check("present-before-move", getpid()), after;

	uffd_move_all(&pair);
	after = rss_check("present-after-move", getpid());
	rss_conserved(&before, &after);
	CHECK_SYS(munmap(pair.dst, pair.len));
	after = rss_check("present-freed", getpid());
	CHECK_EQ(after.walk_anon, before.walk_anon - PAGES);
	rss_near("RssAnon", after.rss_anon, before.rss_anon - PAGES);
	close(pair.fd);
}

/* Three barriers: full, moved, freed. */
static void child_body(void *unused)
{
	struct uffd_pair first = uffd_pair(1, SEED), pair = uffd_pair(PAGES, SEED);

	(void)unused;
	/* A move before the one that counts: what it touches of our stack is there afterwards. */
	uffd_move_all(&first);
	child_barrier();
	uffd_move_all(&pair);
	child_barrier();
	CHECK_SYS(madvise(pair.dst, pair.len, MADV_DONTNEED));
	child_barrier();
}

static void child_moves(void)
{
	struct rss mine = rss_check("child-before-move", getpid()), before, after;
	pid_t pid = child_start(child_body, NULL);

	child_meet(pid);
	before = rss_check("child-before-move", pid);
	child_go(pid);
	child_meet(pid);
	after = rss_check("child-after-move", pid);
	rss_conserved(&before, &after);
	child_go(pid);
	child_meet(pid);
	after = rss_check("child-freed", pid);
	CHECK_EQ(after.walk_anon, before.walk_anon - PAGES);
	child_go(pid);
	child_reap(pid);
	after = rss_check("child-after-move", getpid());
	rss_conserved(&mine, &after);
}

/* Both ways many times over: a drift of one a round is far beyond any tolerance then. */
static void many_rounds(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	struct uffd_pair back = { pair.fd, pair.dst, pair.src, pair.len };
	struct rss before, after;

	uffd_register(pair.fd, pair.src, pair.len);
	before = rss_check("rounds-before-move", getpid());
	for (int round = 0; round < 20; round++) {
		uffd_move_all(&pair);
		uffd_move_all(&back);
	}
	after = rss_check("rounds-after-move", getpid());
	rss_conserved(&before, &after);
	mem_expect(pair.src, pair.len, SEED, "source after twenty rounds");
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "present", present },
	{ "child-moves", child_moves },
	{ "many-rounds", many_rounds },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
