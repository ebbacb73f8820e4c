// SPDX-License-Identifier: GPL-2.0-only
/*
 * leak base|swap|huge
 *
 * What the machine counts after tens of thousands of moves: everything that moves took is given back
 * once the process that made them has gone, to one page in a thousand moves and better.  A round is a
 * child that maps, registers, moves there and back by one call and by single pages, is refused, stops
 * half way, and leaves half of it to exit.  After each round the machine is read at rest (lib/machine.h).
 *
 * A leak grows with every round, and whatever else goes on in a guest does not: judged is the median
 * of what the rounds added, so that a jump in one of them says nothing.  A suspicion is followed by as
 * many rounds again, and by as many readings of the machine doing nothing; it is a leak if it goes on in
 * the former and does not in the latter.  Measured on v6.12, x86_64 and arm64: AnonPages, LostPages,
 * PageTables and the objects of slab caches come back to the page and the object; Slab and OtherMemory
 * come back within 20 pages, with a median of 0.  Of swap each CPU keeps up to 64 free slots for later
 * and 64 to give back (mm/swap_slots.c), so the children stay on one CPU and the sum of all rounds is
 * judged.
 *
 * What leaks would be found: a folio_get() too many in move_present_pte(), move_swap_pte() or
 * move_pages_huge_pmd() (LostPages), a missing put_anon_vma() (anon_vma), a deposited page table that is
 * left behind (PageTables), swap_duplicate() of a moved entry (SwapUsed), a lost userfaultfd_ctx or VMA.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "child.h"
#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "pin.h"
#include "rounds.h"
#include "uffd.h"

#define SEED 91
#define SLOTS_PER_CPU 128 /* SWAP_SLOTS_CACHE_SIZE, mm/swap_slots.c, for either direction */

/* A round: how many buffers of how many units, and how often each goes there and back. */
static const struct plan {
	int rounds, buffers, units, turns;
} plans[] = {
	[KIND_BASE] = { 5, 6, 128, 8 },
	[KIND_SWAP] = { 6, 1, 512, 40 },
	[KIND_HUGE] = { 5, 4, 1, 150 },
};

static const struct plan *plan;
static long *moves; /* of the last round, in units; shared with the child */
static long *held; /* pages that the pipe took, in all */
static long per_round; /* pages moved in a round */
static int hold[2] = { -1, -1 }; /* a pipe that takes a page in a thousand moves */

static size_t unit(void)
{
	return kind() == KIND_HUGE ? mem_huge() : mem_page();
}

static void turn(const struct uffd_pair *pair)
{
	struct uffd_pair back = { pair->fd, pair->dst, pair->src, pair->len };
	struct uffd_result result;

	uffd_move_all(pair);
	for (size_t at = 0; at < pair->len; at += unit()) {
		result = uffd_move(back.fd, back.dst + at, back.src + at, unit(), 0);
		CHECK_ERRNO(result.err, 0);
	}
	*moves += 2 * (long)(pair->len / unit());
}

/* Every page by itself is refused, for what it is or for what stands at its destination. */
static void refused(const struct uffd_pair *pair, int err)
{
	struct uffd_result result;

	for (size_t at = 0; at < pair->len; at += mem_page()) {
		result = uffd_move(pair->fd, pair->dst + at, pair->src + at, mem_page(), 0);
		CHECK_ERRNO(result.err, err);
	}
}

static void populated_is_refused(const struct uffd_pair *pair)
{
	struct uffd_pair other = { pair->fd, mem_map(pair->len, 0), pair->dst, pair->len };

	mem_no_huge(other.src, other.len);
	mem_fill(other.src, other.len, SEED);
	uffd_move_all(&other);
	refused(pair, EEXIST);
	CHECK_SYS(madvise(pair->dst, pair->len, MADV_DONTNEED));
	CHECK_SYS(munmap(other.src, other.len));
}

/* A child of ours shares the pages: they are not movable, one after the other. */
static void shared_is_refused(const struct uffd_pair *pair)
{
	int alive[2];
	pid_t pid;
	char byte;

	CHECK_SYS(pipe2(alive, O_CLOEXEC));
	pid = fork();
	CHECK(pid >= 0, "fork: %m");
	if (!pid) {
		close(alive[1]);
		_exit(read(alive[0], &byte, 1) != 0);
	}
	close(alive[0]);
	refused(pair, EBUSY);
	close(alive[1]);
	child_reap(pid);
	/* Ours alone again at the next write. */
	mem_fill(pair->src, pair->len, SEED);
}

/* An io_uring has the pages as its fixed buffer; there is no such rule in the older ABI. */
static void pinned_is_refused(const struct uffd_pair *pair)
{
	struct pin pin;

	if (uffd_shape() != UFFD_MAIN || pin_why_not(PIN_BY_IO_URING))
		return;
	pin = pin_start(PIN_BY_IO_URING, pair->src, pair->len);
	refused(pair, EBUSY);
	pin_stop(&pin);
}

/* A call that stops at a hole, and one that goes over it. */
static void with_a_hole(const struct uffd_pair *pair)
{
	size_t half = pair->len / 2, at = half / mem_page() * mem_page();
	struct uffd_result result;

	CHECK_SYS(madvise(pair->src + at, mem_page(), MADV_DONTNEED));
	result = uffd_try_all(pair);
	CHECK_ERRNO(result.err, EAGAIN);
	CHECK_EQ(result.moved, at);
	result = uffd_move(pair->fd, pair->dst + at, pair->src + at, pair->len - at,
			   UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	CHECK_ERRNO(result.err, 0);
}

/* The zero page of a read; the older ABI may answer EBUSY. */
static void zero_pages(const struct uffd_pair *pair)
{
	size_t len = 8 * mem_page();
	char *zero = mem_map(len, 0);

	mem_no_huge(zero, len);
	for (size_t at = 0; at < len; at += mem_page())
		(void)*(volatile char *)(zero + at);
	CHECK_SYS(madvise(pair->dst, len, MADV_DONTNEED));
	(void)uffd_move(pair->fd, pair->dst, zero, len, 0);
	if (uffd_shape() == UFFD_MAIN)
		CHECK_EQ(mem_present_pages(zero, len), 0);
}

/* A pipe holds pages as a forgotten folio_put() would. */
static void hold_some(const struct uffd_pair *pair, long count)
{
	struct iovec page = { pair->src, 1 };

	for (; count > 0; count--, page.iov_base = (char *)page.iov_base + mem_page(), ++*held)
		CHECK(vmsplice(hold[1], &page, 1, 0) == 1, "vmsplice: %m");
}

static void one_buffer(int number)
{
	struct uffd_pair pair = kind_settled((size_t)plan->units, SEED + (unsigned int)number);
	long before = *moves;

	if (kind() == KIND_BASE && !number)
		shared_is_refused(&pair);
	if (kind() == KIND_BASE && number == 1)
		pinned_is_refused(&pair);
	uffd_register(pair.fd, pair.src, pair.len);
	for (int i = 0; i < plan->turns; i++)
		turn(&pair);
	if (hold[1] >= 0)
		hold_some(&pair, (*moves - before) / 1000);
	if (kind() == KIND_SWAP) {
		/* In the swap cache too, where a folio is locked and held during the move. */
		mem_swap_cache(pair.src, pair.len / 4);
		turn(&pair);
		mem_expect(pair.src, pair.len / 2, SEED + (unsigned int)number, "swapped in again");
	}
	if (kind() == KIND_BASE)
		populated_is_refused(&pair);
	/* Of a huge page this splits it, which the older ABI need not do. */
	if (kind() == KIND_BASE || (kind() == KIND_HUGE && uffd_shape() == UFFD_MAIN))
		with_a_hole(&pair);
	if (kind() == KIND_BASE)
		zero_pages(&pair);
	if (number & 1)
		return;
	CHECK_SYS(munmap(pair.src, pair.len));
	CHECK_SYS(munmap(pair.dst, pair.len));
	close(pair.fd);
}

static void round_body(void *unused)
{
	cpu_set_t one;

	(void)unused;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (kind() == KIND_SWAP)
		(void)sched_setaffinity(0, sizeof(one), &one);
	for (int i = 0; i < plan->buffers; i++)
		one_buffer(i);
}

static void one_round(void)
{
	*moves = 0;
	child_reap(child_start(round_body, NULL));
	per_round = *moves * (long)(unit() / mem_page());
}

/* Rounds of moving, or of nothing, on top of those that were. */
static void more_rounds(int count, int idle)
{
	for (int i = 0; i < count; i++) {
		if (!idle)
			one_round();
		rounds_read();
	}
}

static void first_rounds(int count)
{
	/* What is set up once and kept is set up by a round that does not count. */
	one_round();
	rounds_begin();
	more_rounds(count, 0);
}

/* The least growth a round that is called a leak: one, or half of a page in a thousand moves. */
static long least(int value)
{
	if (value == MACHINE_ANON || value == MACHINE_LOST || value == MACHINE_TABLES ||
	    value >= MACHINE_OBJECTS)
		return 1;
	return per_round >= 2000 ? per_round / 2000 : 1;
}

static int suspicious(int value, int first)
{
	if (value == MACHINE_SWAP && rounds_sum(value) <= SLOTS_PER_CPU)
		return 0;
	return rounds_median(value, first) >= least(value);
}

static int any_suspicious(int first)
{
	int any = 0;

	for (int i = 0; i < MACHINE_VALUES; i++)
		any |= suspicious(i, first);
	return any;
}

static int leaks[MACHINE_VALUES], judged;

static void the_rounds(void)
{
	int first;

	first_rounds(plan->rounds);
	if (any_suspicious(0))
		more_rounds(plan->rounds, 0);
	for (int i = 0; i < MACHINE_VALUES; i++)
		leaks[i] = suspicious(i, 0);
	ktap_diag("%d rounds of %ld moves each", rounds, *moves);
	for (int i = 0; i < MACHINE_VALUES; i++)
		rounds_tell(i, 0);
	first = rounds;
	if (any_suspicious(0)) {
		more_rounds(plan->rounds, 1);
		ktap_diag("and %d of doing nothing", rounds - first);
		for (int i = 0; i < MACHINE_VALUES; i++)
			if (leaks[i])
				rounds_tell(i, first);
	}
	for (int i = 0; i < MACHINE_VALUES; i++)
		leaks[i] = leaks[i] && (rounds == first || rounds_median(i, first) < least(i));
	judged = 1;
}

static void judge(int value)
{
	if (!judged)
		ktap_skip("the rounds were not made");
	/* A drift may take the others below zero. */
	if (value >= MACHINE_OBJECTS && readings[0].value[value] < 0)
		ktap_skip("this kernel does not tell %s", machine_names[value]);
	CHECK(!leaks[value], "%s grows with every round of %ld pages moved, and not while nothing is done",
	      machine_names[value], per_round);
}

static void anon_pages(void)
{
	judge(MACHINE_ANON);
}

static void lost_pages(void)
{
	judge(MACHINE_LOST);
}

static void page_tables(void)
{
	judge(MACHINE_TABLES);
}

static void swap_slots(void)
{
	judge(MACHINE_SWAP);
}

static void slab_pages(void)
{
	judge(MACHINE_SLAB);
}

static void other_memory(void)
{
	judge(MACHINE_OTHER);
}

static void slab_objects(void)
{
	for (int i = MACHINE_OBJECTS; i < MACHINE_VALUES; i++)
		judge(i);
}

/* The same reading finds a page in a thousand moves that really does not come back. */
static void held_pages_are_seen(void)
{
	long lost;

	CHECK_SYS(pipe2(hold, O_CLOEXEC));
	CHECK_SYS(fcntl(hold[1], F_SETPIPE_SZ, 1 << 20));
	*held = 0;
	first_rounds(0);
	*held = 0;
	more_rounds(2, 0);
	lost = rounds_sum(MACHINE_LOST);
	close(hold[0]);
	close(hold[1]);
	hold[0] = hold[1] = -1;
	more_rounds(1, 1);
	rounds_tell(MACHINE_LOST, 0);
	CHECK(*held > 2, "only %ld pages were held", *held);
	CHECK(lost >= *held && rounds_median(MACHINE_LOST, 0) >= least(MACHINE_LOST),
	      "LostPages grew by %ld, expected the %ld that a pipe holds", lost, *held);
	CHECK(rounds_sum(MACHINE_LOST) <= lost - *held, "LostPages fell to %ld, expected %ld",
	      rounds_sum(MACHINE_LOST), lost - *held);
}

static const struct ktap_case cases[] = {
	{ "the-rounds", the_rounds },
	{ "anon-pages", anon_pages },
	{ "lost-pages", lost_pages },
	{ "page-tables", page_tables },
	{ "swap-slots", swap_slots },
	{ "slab-pages", slab_pages },
	{ "slab-objects", slab_objects },
	{ "other-memory", other_memory },
	{ "held-pages-are-seen", held_pages_are_seen },
};

int main(int argc, char **argv)
{
	const char *why;

	kind_parse(argc, argv);
	plan = &plans[kind()];
	why = kind_why_not();
	rounds_prepare();
	moves = mmap(NULL, mem_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (moves == MAP_FAILED)
		return KTAP_EXIT_FAIL;
	held = moves + 1;
	/* The machine's own case of a page that is held is about base pages. */
	return ktap_run(cases, KTAP_COUNT(cases) - (kind() != KIND_BASE), why);
}
