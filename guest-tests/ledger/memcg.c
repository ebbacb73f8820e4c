// SPDX-License-Identifier: GPL-2.0-only
/*
 * memcg base|swap|huge
 *
 * What moves cost in a memory control group of version 2 (Documentation/admin-guide/cgroup-v2.rst): nothing.
 * A page is charged when it is allocated and uncharged when it is freed, to the group that touched it first,
 * wherever it is mapped meanwhile (mm/memcontrol.c, v6.12; mm/userfaultfd.c move_pages() neither allocates
 * nor frees a page): anon, anon_thp, what is on the lists, and memory.swap.current are the same to the page
 * before and after moves; with no room left below memory.max moves go on; after exit nothing but the
 * group's own kernel memory is left, and once it is removed it dies, which one page that is still charged
 * would prevent.  Pages that the older ABI moves into a process of another group stay with their group.
 *
 * cgroup.h tells what makes these counters inexact and how they are read all the same; the first case
 * measures whether that works.  A charge in the wrong place, a charge without an uncharge, a move that
 * copies, and a page or swap entry that leaks show here.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cgroup.h"
#include "child.h"
#include "kind.h"
#include "machine.h"
#include "mem.h"
#include "uffd.h"

#define SEED 101
#define PAGES 128
#define TURNS 10
#define GROUP "lab-ledger"
#define OTHER "lab-ledger-other"
#define SLOTS 64 /* SWAP_SLOTS_CACHE_SIZE, mm/swap_slots.c */

static struct uffd_pair make_pair(void)
{
	struct uffd_pair pair = kind_settled(PAGES, SEED);

	uffd_register(pair.fd, pair.src, pair.len);
	return pair;
}

static void there_and_back(const struct uffd_pair *pair, int turns)
{
	struct uffd_pair back = { pair->fd, pair->dst, pair->src, pair->len };

	for (int i = 0; i < turns; i++) {
		uffd_move_all(pair);
		uffd_move_all(&back);
	}
}

/* An empty group; one that a failed case left behind goes first. */
static void group_make(const char *group)
{
	cgroup_enter("");
	(void)cgroup_remove(group);
	cgroup_make(group);
}

/* What memory.current may be too high by; all moves of a case together are many times that. */
static long in_advance(void)
{
	return CGROUP_BATCH * sysconf(_SC_NPROCESSORS_ONLN);
}

static void expect_same(const char *what, const struct charges *a, const struct charges *b)
{
	CHECK(a->anon == b->anon, "%s: anon: got %ld pages, expected %ld", what, b->anon, a->anon);
	CHECK(a->thp == b->thp, "%s: anon_thp: got %ld pages, expected %ld", what, b->thp, a->thp);
	CHECK(a->lists == b->lists, "%s: on the lists: got %ld pages, expected %ld", what, b->lists,
	      a->lists);
	CHECK(a->swap == b->swap, "%s: memory.swap.current: got %ld pages, expected %ld", what, b->swap,
	      a->swap);
	CHECK(labs(a->current - a->kernel - b->current + b->kernel) <= in_advance(),
	      "%s: memory.current less the kernel's: got %ld pages, expected %ld (tolerance %ld)", what,
	      b->current - b->kernel, a->current - a->kernel, in_advance());
}

static void tell(const char *what, const struct charges *now)
{
	ktap_diag("%s: current %ld, anon %ld, anon_thp %ld, on lists %ld, file %ld, kernel %ld, swap %ld",
		  what, now->current, now->anon, now->thp, now->lists, now->file, now->kernel, now->swap);
}

#define TOUCHES 6

/* Barriers: pages touched one by one. */
static void touch_body(void *unused)
{
	char *pages = mem_map(TOUCHES * mem_page(), 0);

	(void)unused;
	mem_no_huge(pages, TOUCHES * mem_page());
	cgroup_enter(GROUP);
	for (int i = 0; i < TOUCHES; i++) {
		mem_fill(pages + (size_t)i * mem_page(), mem_page(), SEED);
		child_barrier();
	}
}

/*
 * One page more is one page more in memory.stat, or else we have to wait for it.  The first ones may
 * be more: what the child touches of its stack it copies.
 */
static void exact_readings(void)
{
	long anon[TOUCHES];
	pid_t pid;

	group_make(GROUP);
	pid = child_start(touch_body, NULL);
	for (int i = 0; i < TOUCHES; i++) {
		child_meet(pid);
		anon[i] = cgroup_charges(GROUP).anon;
		child_go(pid);
	}
	child_reap(pid);
	cgroup_slow = anon[TOUCHES - 1] != anon[TOUCHES - 4] + 3;
	ktap_diag("memory.stat is gathered %s; pages: %ld %ld %ld %ld %ld %ld",
		  cgroup_slow ? "every two seconds" : "when it is read", anon[0], anon[1], anon[2],
		  anon[3], anon[4], anon[5]);
	CHECK_ERRNO(cgroup_remove(GROUP), 0);
}

/* Barriers: ready, moved; then once again for each time it is let go with a limit set. */
static void mover_body(void *unused)
{
	struct uffd_pair pair;

	(void)unused;
	cgroup_enter(GROUP);
	pair = make_pair();
	there_and_back(&pair, 1);
	child_barrier();
	there_and_back(&pair, TURNS);
	child_barrier();
	/* At the limit. */
	there_and_back(&pair, TURNS);
	child_barrier();
	if (kind() == KIND_BASE)
		CHECK_EQ(mem_present_pages(pair.src, pair.len), PAGES);
	uffd_move_all(&pair);
	mem_expect(pair.dst, pair.len / 2, SEED, "after all moves");
	/* Leaves with the rest as it is. */
}

static void moves_charge_nothing(void)
{
	struct charges before, after;
	long events;
	pid_t pid;

	group_make(GROUP);
	pid = child_start(mover_body, NULL);
	child_meet(pid);
	before = cgroup_charges(GROUP);
	tell("before the moves", &before);
	CHECK(before.anon + before.swap >=
		      (kind() == KIND_HUGE ? (long)(mem_huge() / mem_page()) : PAGES),
	      "the pages were not charged to the group");
	child_go(pid);
	child_meet(pid);
	after = cgroup_charges(GROUP);
	tell("after the moves", &after);
	expect_same("after the moves", &before, &after);
	/* Room for a little bookkeeping of the kernel, and for nothing of what is moved. */
	events = cgroup_field(GROUP, "memory.events", "max");
	cgroup_limit(GROUP, "memory.max", after.current + 8);
	child_go(pid);
	child_meet(pid);
	CHECK_EQ(cgroup_field(GROUP, "memory.events", "max"), events);
	(void)cgroup_write(GROUP, "memory.max", "max");
	after = cgroup_charges(GROUP);
	expect_same("at the limit", &before, &after);
	child_end(pid);
}

/*
 * Freed slots of swap wait in each CPU's cache, charged as they were, until that is full: free as many of
 * our own there, one by one, because neighbours that are freed together bypass it.
 */
static void push_slots_out(void)
{
	size_t len = (2 * SLOTS + 1) * mem_page();
	cpu_set_t allowed, one;
	char *pages;

	CHECK_SYS(sched_getaffinity(0, sizeof(allowed), &allowed));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		CHECK_SYS(sched_setaffinity(0, sizeof(one), &one));
		pages = mem_map(len, 0);
		mem_no_huge(pages, len);
		mem_fill(pages, len, SEED);
		mem_swap_out(pages, len);
		for (size_t at = 0; at < len; at += mem_page())
			CHECK_SYS(madvise(pages + at, mem_page(), MADV_DONTNEED));
		CHECK_SYS(munmap(pages, len));
	}
	CHECK_SYS(sched_setaffinity(0, sizeof(allowed), &allowed));
}

/* The group of the case before, whose process has gone. */
static void exit_uncharges(void)
{
	struct charges now;

	if (kind() == KIND_SWAP)
		push_slots_out();
	for (int attempt = 0; attempt < 30; attempt++) {
		machine_settle();
		now = cgroup_charges(GROUP);
		if (!now.anon && !now.lists && now.swap <= 0)
			break;
		cgroup_pause(100);
	}
	tell("after exit", &now);
	CHECK_EQ(now.anon, 0);
	CHECK_EQ(now.lists, 0);
	CHECK(now.swap <= 0, "memory.swap.current: got %ld pages, expected none", now.swap);
	CHECK(now.current - now.kernel - now.file <= in_advance(),
	      "memory.current: got %ld pages more than its parts, expected %ld at most",
	      now.current - now.kernel - now.file, in_advance());
}

/* A group that is still charged for a page cannot die. */
static void removed_group_dies(void)
{
	cgroup_dies(GROUP, cgroup_dying());
}

/* Until it sleeps: then it waits for us to ask it something. */
static void wait_for_peer(const struct peer *peer)
{
	char path[64], state[256], *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)peer->pid);
	for (int attempt = 0; attempt < 1000; attempt++) {
		at = proc_read(path, state, sizeof(state)) ? NULL : strrchr(state, ')');
		if (at && at[1] == ' ' && at[2] == 'S')
			return;
		cgroup_pause(1);
	}
	FAIL("the peer never comes to rest");
}

/* Pages of ours into a process of another group: refused, or charged where they were. */
static void across_groups(void)
{
	struct charges mine[2], theirs[2];
	struct uffd_result result;
	int here = uffd_shape() == UFFD_MAIN;
	size_t len = PAGES * mem_page();
	struct peer peer;
	char *src;

	group_make(GROUP);
	group_make(OTHER);
	cgroup_enter(OTHER);
	peer = peer_start(PAGES);
	cgroup_enter(GROUP);
	src = mem_map(len, 0);
	mem_no_huge(src, len);
	mem_fill(src, len, SEED);
	kind_settle(src, len);
	wait_for_peer(&peer);
	/* Once for what the call itself and the readings touch of ours. */
	(void)uffd_move(peer.uffd, peer.dst, src, 0, 0);
	(void)cgroup_charges(GROUP);
	for (int i = 0; i < 2; i++) {
		mine[i] = cgroup_charges(GROUP);
		theirs[i] = cgroup_charges(OTHER);
		if (!i)
			result = uffd_move(peer.uffd, peer.dst, src, len, 0);
	}
	tell("ours", &mine[1]);
	tell("the other group", &theirs[1]);
	CHECK_ERRNO(result.err, here ? EINVAL : 0);
	expect_same("our group", &mine[0], &mine[1]);
	expect_same("the other group", &theirs[0], &theirs[1]);
	if (here)
		mem_expect(src, len, SEED, "what was refused");
	else
		peer_expect(&peer, SEED);
	CHECK_SYS(munmap(src, len));
	cgroup_enter("");
	peer_end(&peer);
	machine_settle();
	CHECK_ERRNO(cgroup_remove(GROUP), 0);
	CHECK_ERRNO(cgroup_remove(OTHER), 0);
}

static const struct ktap_case cases[] = {
	{ "exact-readings", exact_readings },
	{ "moves-charge-nothing", moves_charge_nothing },
	{ "exit-uncharges", exit_uncharges },
	{ "removed-group-dies", removed_group_dies },
	{ "across-groups", across_groups },
};

int main(int argc, char **argv)
{
	const char *why;
	int status;

	kind_parse(argc, argv);
	why = kind_why_not();
	if (!why)
		why = cgroup_why_not();
	status = ktap_run(cases, KTAP_COUNT(cases) - (kind() == KIND_HUGE), why);
	cgroup_enter("");
	(void)cgroup_remove(GROUP);
	(void)cgroup_remove(OTHER);
	(void)cgroup_write("", "cgroup.subtree_control", "-memory");
	return status;
}
