// SPDX-License-Identifier: GPL-2.0-only
/*
 * Long sequences of mixed moves, every step between two readings of the ledger: base pages, swap
 * entries in the swap cache or not, zero pages, holes, calls that stop half way or are refused; in this
 * process, in a child that stands still, and by threads on several CPUs in turn.
 *
 * After each step RssAnon and VmSwap equal the page walk, no move changed either, and every page of both
 * ranges is what the steps made of it: present, a slot of swap, or nothing (mm/userfaultfd.c
 * move_pages(), v6.12, touches no counter because both ranges belong to one mm).  A counter that one kind of page moves wrongly, a page that
 * is moved and still there, or counted twice after a call that failed half way, shows at its step.
 * The steps come from a fixed seed: they are the same on every machine that has swap.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "crew.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define UNITS 48 /* pages of either range */
#define RUN 6 /* pages of a step at most */
#define STEPS 44

enum state { NONE, ANON, SWAPPED, ZERO };

/* Two ranges that are registered, and what every page of them is to hold. */
static struct {
	int fd;
	char *start[2];
	enum state state[2][UNITS];
	unsigned int seed[2][UNITS];
} area;

static const char *where; /* the case: a name for its steps */
static int number, child_side, quiet, with_swap;
static unsigned int chance, seeds;

/* In a child the parent reads while it stands at the barrier; what it is to call the reading. */
static struct shared {
	char step[64];
	int more;
} *shared;

static unsigned int pick(unsigned int below)
{
	chance = chance * 1664525 + 1013904223; /* Numerical Recipes */
	return (chance >> 16) % below;
}

static size_t pages(size_t count)
{
	return count * mem_page();
}

static char *at(int side, size_t unit)
{
	return area.start[side] + pages(unit);
}

static struct rss stand(const char *edge)
{
	struct rss rss = { 0 };

	snprintf(shared->step, sizeof(shared->step), "%s-%d%s", where, number, edge);
	if (quiet)
		return rss;
	if (child_side)
		child_barrier();
	else
		rss = rss_ledger(shared->step, getpid());
	return rss;
}

/* Whether count pages from unit on are all, or none of them, nothing. */
static int all_none(int side, size_t unit, size_t count)
{
	for (size_t i = unit; i < unit + count; i++)
		if (area.state[side][i] != NONE)
			return 0;
	return 1;
}

static int all_full(int side, size_t unit, size_t count)
{
	for (size_t i = unit; i < unit + count; i++)
		if (area.state[side][i] == NONE)
			return 0;
	return 1;
}

static void check_states(void)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < UNITS; i++) {
			uint64_t entry = mem_entry(at(side, i));
			enum state want = area.state[side][i];
			int good = want == NONE ? !(entry & (MEM_PRESENT | MEM_SWAPPED)) :
				   want == SWAPPED ? mem_is_swap_slot(entry) :
						     (entry & MEM_PRESENT) != 0;

			CHECK(good, "%s-%d: page %zu of range %d: got the entry %#llx, expected %s", where,
			      number, i, side, (unsigned long long)entry,
			      want == NONE	? "none" :
			      want == SWAPPED	? "a slot of swap" :
						  "a present page");
		}
}

static struct uffd_result issue(char *dst, char *src, size_t len, uint64_t mode)
{
	return crew.count ? crew_move(area.fd, dst, src, len, mode) :
			    uffd_move(area.fd, dst, src, len, mode);
}

/* One move between two readings: the errno, and what the last field tells. */
static void move_is(char *dst, char *src, size_t len, uint64_t mode, int err, size_t moved)
{
	struct rss before, after;
	struct uffd_result result;

	number++;
	before = stand("-before-move");
	result = issue(dst, src, len, mode);
	after = stand("-after-move");
	CHECK(result.err == err, "%s: got %s, expected %s", shared->step, ktap_errno(result.err),
	      ktap_errno(err));
	if (!err || err == EAGAIN)
		CHECK_EQ(result.moved, moved);
	if (child_side || quiet)
		return;
	rss_agree(shared->step, &before);
	rss_agree(shared->step, &after);
	rss_conserved(&before, &after);
}

/* A step that is no move. */
static void done(const char *what)
{
	struct rss rss;

	number++;
	rss = stand(what);
	if (!child_side && !quiet)
		rss_agree(shared->step, &rss);
}

static void carry(int to, size_t dst, int from, size_t src, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		area.state[to][dst + i] = area.state[from][src + i];
		area.seed[to][dst + i] = area.seed[from][src + i];
		area.state[from][src + i] = NONE;
	}
}

/* ---- the steps; one that does not fit where it was tried is left out ---- */

/* Memory that is not registered may be written: pages, or zero pages, come from there. */
static void arrive(int side, size_t unit, size_t count, enum state state)
{
	char *fresh = mem_map(pages(count), 0);

	mem_no_huge(fresh, pages(count));
	for (size_t i = 0; i < count; i++) {
		area.seed[side][unit + i] = ++seeds;
		if (state == ANON)
			mem_fill(fresh + pages(i), mem_page(), seeds);
		else
			(void)*(volatile char *)(fresh + pages(i));
		area.state[side][unit + i] = state;
	}
	move_is(at(side, unit), fresh, pages(count), 0, 0, pages(count));
	CHECK_EQ(mem_present_pages(fresh, pages(count)), 0);
	CHECK_SYS(munmap(fresh, pages(count)));
}

static void write_to(int side, size_t unit, size_t count)
{
	for (size_t i = unit; i < unit + count; i++) {
		area.seed[side][i] = ++seeds;
		area.state[side][i] = ANON;
		mem_fill(at(side, i), mem_page(), seeds);
	}
	done("-written");
}

static void swap_out(int side, size_t unit, size_t count)
{
	for (size_t i = unit; i < unit + count; i++) {
		if (area.state[side][i] == ZERO)
			return;
		area.state[side][i] = SWAPPED;
	}
	mem_swap_out(at(side, unit), pages(count));
	done("-out");
	if (pick(2))
		return;
	mem_swap_cache(at(side, unit), pages(count));
	done("-cached");
}

static void read_from(int side, size_t unit, size_t count)
{
	static const char zeroes[64];

	for (size_t i = unit; i < unit + count; i++) {
		if (area.state[side][i] == ZERO) {
			CHECK(!memcmp(at(side, i), zeroes, sizeof(zeroes)), "a zero page is not zero");
			continue;
		}
		mem_expect(at(side, i), mem_page(), area.seed[side][i], "a page that was moved");
		area.state[side][i] = ANON;
	}
	done("-read");
}

static void drop(int side, size_t unit, size_t count)
{
	for (size_t i = unit; i < unit + count; i++)
		area.state[side][i] = NONE;
	CHECK_SYS(madvise(at(side, unit), pages(count), MADV_DONTNEED));
	done("-dropped");
}

/* To where nothing is: all of it, up to the first hole, over the holes, or not at all. */
static void move_some(int to, size_t dst, int from, size_t src, size_t count)
{
	size_t whole = 0;

	while (whole < count && area.state[from][src + whole] != NONE)
		whole++;
	if (whole == count) {
		move_is(at(to, dst), at(from, src), pages(count), 0, 0, pages(count));
		carry(to, dst, from, src, count);
	} else if (pick(2)) {
		move_is(at(to, dst), at(from, src), pages(count), UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, 0,
			pages(count));
		carry(to, dst, from, src, count);
	} else {
		move_is(at(to, dst), at(from, src), pages(count), 0, whole ? EAGAIN : ENOENT,
			pages(whole));
		carry(to, dst, from, src, whole);
	}
}

/* To where something is, at its first page or further on. */
static void move_onto(int to, size_t dst, int from, size_t src, size_t count)
{
	size_t free = 0;

	while (free < count && area.state[to][dst + free] == NONE)
		free++;
	move_is(at(to, dst), at(from, src), pages(count), 0, free ? EAGAIN : EEXIST, pages(free));
	carry(to, dst, from, src, free);
}

static int one_step(void)
{
	int from = (int)pick(2), to = pick(4) ? !from : from;
	size_t count = 1 + pick(RUN), src = pick(UNITS - RUN), dst = pick(UNITS - RUN);
	int apart = to != from || src + count <= dst || dst + count <= src, full;
	unsigned int what = pick(16);

	full = all_full(from, src, count);
	if (what < 3 && all_none(from, src, count))
		arrive(from, src, count, ANON);
	else if (what == 3 && all_none(from, src, count) && uffd_shape() == UFFD_MAIN)
		arrive(from, src, count, ZERO); /* the older ABI may refuse it */
	else if (what == 4 && full)
		write_to(from, src, count);
	else if (what == 5 && full)
		read_from(from, src, count);
	else if (what == 6 && pick(2))
		drop(from, src, count);
	else if ((what == 6 || what == 7) && with_swap && full)
		swap_out(from, src, count);
	else if (what >= 8 && apart && all_none(to, dst, count) && !all_none(from, src, count))
		move_some(to, dst, from, src, count);
	else if (what >= 8 && apart && full && !all_none(to, dst, count))
		move_onto(to, dst, from, src, count);
	else
		return 0;
	check_states();
	return 1;
}

static void walk(int steps)
{
	/* Some of everything first, so that the steps find what they need. */
	arrive(0, 0, UNITS / 2, ANON);
	arrive(1, UNITS / 2, UNITS / 4, ANON);
	for (int i = 0; i < steps;)
		i += one_step();
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < UNITS; i++)
			if (area.state[side][i] != NONE && area.state[side][i] != ZERO)
				mem_expect(at(side, i), mem_page(), area.seed[side][i], "at the end");
}

static void begin(const char *name)
{
	where = name;
	with_swap = !mem_why_no_swap();
	rss_tolerance();
	area.fd = uffd_open(0);
	for (int side = 0; side < 2; side++) {
		area.start[side] = mem_map(pages(UNITS), 0);
		mem_no_huge(area.start[side], pages(UNITS));
		uffd_register(area.fd, area.start[side], pages(UNITS));
	}
	/* A few steps that nobody looks at: what they touch of stack and libc is there afterwards. */
	quiet = 1;
	chance = 17;
	memset(area.state, 0, sizeof(area.state));
	walk(12);
	drop(0, 0, UNITS);
	drop(1, 0, UNITS);
	quiet = 0;
	chance = 4711;
	number = 0;
}

static void end(void)
{
	for (int side = 0; side < 2; side++)
		CHECK_SYS(munmap(area.start[side], pages(UNITS)));
	close(area.fd);
}

static void here(void)
{
	begin("here");
	walk(STEPS);
	end();
	done("-end");
}

static void child_body(void *unused)
{
	(void)unused;
	child_side = 1;
	begin("child");
	walk(STEPS / 2);
	/* Leaves with what stands in both ranges. */
	shared->more = 0;
	child_barrier();
}

static void in_a_child(void)
{
	struct rss mine[2] = { { 0 } }, theirs[2] = { { 0 } };
	pid_t pid;
	int edge;

	shared->more = 1;
	rss_tolerance();
	pid = child_start(child_body, NULL);
	for (child_meet(pid); shared->more; child_go(pid), child_meet(pid)) {
		edge = strstr(shared->step, "after-move") != NULL;
		mine[edge] = rss_check(shared->step, getpid());
		theirs[edge] = rss_check(shared->step, pid);
		if (!edge)
			continue;
		rss_conserved(&mine[0], &mine[1]);
		rss_conserved(&theirs[0], &theirs[1]);
	}
	child_end(pid);
}

/* Every move by the next of some threads, each on a CPU of its own as far as there are enough. */
static void by_threads(void)
{
	struct uffd_result result;

	crew_start(CREW_MOST);
	begin("threads");
	/* Each once, for what it touches of its stack. */
	for (int i = 0; i < CREW_MOST; i++) {
		result = issue(at(0, 0), at(1, 0), 0, 0);
		CHECK_ERRNO(result.err, EINVAL);
	}
	walk(STEPS / 2);
	crew_end();
	end();
	done("-end");
}

static const struct ktap_case cases[] = {
	{ "here", here },
	{ "in-a-child", in_a_child },
	{ "by-threads", by_threads },
};

int main(void)
{
	shared = mmap(NULL, mem_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return KTAP_EXIT_FAIL;
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
