// SPDX-License-Identifier: GPL-2.0-only
/*
 * move base|swap|huge
 *
 * The ledger of moves: pages go from one range to another and no counter changes, in this process
 * and in a child that stands still while its parent counts; what was moved and then freed is gone
 * from every count.  base moves present base pages, swap swapped-out ones, huge huge ones.
 *
 * Source: move_pages() in mm/userfaultfd.c of v6.12, which touches no counter within one mm, and
 * check_mm() in kernel/fork.c; RssAnon and VmSwap in Documentation/filesystems/proc.rst.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 128
#define SEED 81

static long pages(const struct uffd_pair *pair)
{
	return (long)(pair->len / mem_page());
}

static void move_conserves(void)
{
	struct uffd_pair pair = kind_settled(PAGES, SEED);
	struct rss before = rss_ledger("plain-before-move", getpid()), after;
	struct uffd_result result = uffd_try_all(&pair);

	after = rss_ledger("plain-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_agree("before the move", &before);
	rss_agree("after the move", &after);
	rss_conserved(&before, &after);
	CHECK_SYS(munmap(pair.dst, pair.len));
	after = rss_check("moved-freed", getpid());
	CHECK_EQ(after.walk_anon + after.walk_swap,
		 before.walk_anon + before.walk_swap - pages(&pair));
	rss_near("VmSwap", after.vm_swap, before.vm_swap - (kind() == KIND_SWAP ? pages(&pair) : 0));
	close(pair.fd);
	munmap(pair.src, pair.len);
}

static void bytes_arrive(void)
{
	struct uffd_pair pair = kind_settled(PAGES, SEED);
	struct rss before = rss_ledger("bytes-before-move", getpid()), after;
	struct uffd_result result = uffd_try_all(&pair);

	after = rss_ledger("bytes-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_conserved(&before, &after);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	/* Everything is present now, whatever it was. */
	after = rss_check("bytes-read", getpid());
	CHECK_EQ(after.walk_anon, before.walk_anon + (kind() == KIND_SWAP ? pages(&pair) : 0));
	close(pair.fd);
	munmap(pair.src, pair.len);
	munmap(pair.dst, pair.len);
}

/* Barriers: full, moved, freed; then it leaves with what is left. */
static void child_body(void *unused)
{
	struct uffd_pair first = uffd_pair(1, SEED), pair = kind_settled(PAGES, SEED);
	struct uffd_result result;

	(void)unused;
	/* A move before the one that counts: what it touches of our stack is there afterwards. */
	uffd_move_all(&first);
	child_barrier();
	result = uffd_try_all(&pair);
	child_barrier();
	uffd_moved_all(&pair, result);
	CHECK_SYS(madvise(pair.dst, pair.len / 2, MADV_DONTNEED));
	child_barrier();
}

static void child_moves(void)
{
	struct rss mine[2], theirs[2], freed;
	long half = (kind() == KIND_HUGE ? (long)(mem_huge() / mem_page()) : PAGES) / 2;
	pid_t pid = child_start(child_body, NULL);

	child_meet(pid);
	mine[0] = rss_ledger("child-before-move", getpid());
	theirs[0] = rss_ledger("child-before-move", pid);
	child_go(pid);
	child_meet(pid);
	mine[1] = rss_ledger("child-after-move", getpid());
	theirs[1] = rss_ledger("child-after-move", pid);
	rss_agree("the child before the move", &theirs[0]);
	rss_agree("the child after the move", &theirs[1]);
	rss_conserved(&theirs[0], &theirs[1]);
	rss_conserved(&mine[0], &mine[1]);
	child_go(pid);
	child_meet(pid);
	freed = rss_check("child-freed", pid);
	CHECK_EQ(freed.walk_anon + freed.walk_swap,
		 theirs[1].walk_anon + theirs[1].walk_swap - half);
	child_end(pid);
}

/* Both ways many times over: a drift of one a round is far beyond any tolerance then. */
static void many_rounds(void)
{
	struct uffd_pair pair = kind_settled(PAGES, SEED);
	struct uffd_pair back = { pair.fd, pair.dst, pair.src, pair.len };
	struct uffd_result result = { 0, 0 };
	struct rss before, after;

	uffd_register(pair.fd, pair.src, pair.len);
	before = rss_ledger("rounds-before-move", getpid());
	for (int round = 0; round < 20 && !result.err; round++) {
		result = uffd_try_all(&pair);
		if (!result.err)
			result = uffd_try_all(&back);
	}
	after = rss_ledger("rounds-after-move", getpid());
	uffd_moved_all(&pair, result);
	rss_agree("before the moves", &before);
	rss_agree("after the moves", &after);
	rss_conserved(&before, &after);
	mem_expect(pair.src, pair.len, SEED, "source after twenty rounds");
	close(pair.fd);
	munmap(pair.src, pair.len);
	munmap(pair.dst, pair.len);
}

static const struct ktap_case cases[] = {
	{ "move-conserves", move_conserves },
	{ "bytes-arrive", bytes_arrive },
	{ "child-moves", child_moves },
	{ "many-rounds", many_rounds },
};

int main(int argc, char **argv)
{
	kind_parse(argc, argv);
	return ktap_run(cases, KTAP_COUNT(cases), kind_why_not());
}
