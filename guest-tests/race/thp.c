// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves of huge pages, whole and in parts, while these are split: by the kernel's own interface for
 * it, by mappings that end in their middle, by another mover.  A page that is being split is locked
 * or has a migration entry for a moment, and the move waits or starts over; nothing of that is an
 * error, least of all EFAULT or EBUSY, nothing is lost, and page frames stay.
 *
 * Source: move_pages(), move_pages_pte() in mm/userfaultfd.c (a large folio is split by
 * split_folio(), and never waited for with a reference held; EBUSY is for a page that somebody else
 * has too), move_pages_huge_pmd(),
 * split_huge_pages_write() in mm/huge_memory.c of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hugerace.h"
#include "knob.h"
#include "mem.h"
#include "rss.h"

#define SPLIT_FILE "/sys/kernel/debug/split_huge_pages"

static void split_by_file(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	char *start = race_at(arena, (int)race_below(&self->rng, 2), huge_any(self)), command[96];
	int fd = open(SPLIT_FILE, O_WRONLY | O_CLOEXEC);
	ssize_t length;

	length = snprintf(command, sizeof(command), "%d,0x%lx,0x%lx", getpid(), (unsigned long)start,
			  (unsigned long)(start + arena->unit * mem_page()));
	if (fd < 0 || write(fd, command, (size_t)length) < 0)
		race_fail("%s: %s", SPLIT_FILE, ktap_errno(errno));
	else
		self->acts++;
	if (fd >= 0)
		close(fd);
	race_nap(self, 10000);
}

/* What the movers and the adversary of a case have done to huge pages. */
static void finish(struct race_arena *arena)
{
	(void)arena;
	ktap_diag("whole moves: %lu, put together again: %lu", huge_whole_moves(),
		  huge_collapses());
}

static void split_file(void)
{
	if (access(SPLIT_FILE, W_OK))
		ktap_skip("no %s (CONFIG_DEBUG_FS, mounted)", SPLIT_FILE);
	huge_prepare(0);
	race_run(&(struct race_case){
		.name = "split-file",
		.flags = RACE_HUGE | RACE_IDENTITY,
		.pages = huge_pages(),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.adversaries = { { "splitter", split_by_file, NULL, 1 } },
		.finish = finish,
	});
}

/* A mapping that begins and ends within huge pages splits their PMDs, on either side. */
static char *any_half(struct race_thread *self, size_t *len)
{
	size_t half = self->arena->unit / 2;

	*len = half * mem_page();
	return race_at(self->arena, (int)race_below(&self->rng, 2), huge_any(self) + half);
}

static void advise(struct race_thread *self)
{
	size_t len;
	char *half = any_half(self, &len);

	/* EINVAL: a mover maps it anew just now. */
	if (!madvise(half, len, MADV_NOHUGEPAGE))
		self->acts++;
	race_nap(self, 500);
	if (madvise(half, len, MADV_HUGEPAGE))
		race_fail("MADV_HUGEPAGE: %s", ktap_errno(errno));
}

/* No run crosses the middle: for no move is there a reason to be refused. */
static void split_advice(void)
{
	huge_prepare(HUGE_HALVES);
	race_run(&(struct race_case){
		.name = "split-advice",
		.flags = RACE_HUGE | RACE_IDENTITY,
		.pages = huge_pages(),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.adversaries = { { "adviser", advise, NULL, 0 } },
		.finish = finish,
	});
}

static void protect(struct race_thread *self)
{
	size_t len;
	char *half = any_half(self, &len);

	if (!mprotect(half, len, PROT_READ))
		self->acts++;
	race_nap(self, 500);
	if (mprotect(half, len, PROT_READ | PROT_WRITE))
		race_fail("mprotect: %s", ktap_errno(errno));
	race_nap(self, 10000);
}

/*
 * Here whole huge pages are moved too, across two mappings then, or from one that is not writable:
 * EINVAL, and nothing has been moved.
 */
static void split_protection(void)
{
	huge_prepare(0);
	race_run(&(struct race_case){
		.name = "split-protection",
		.flags = RACE_HUGE | RACE_IDENTITY,
		.pages = huge_pages(),
		.errnos = RACE_ERRNO(EINVAL),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.adversaries = { { "protector", protect, NULL, 1 } },
		.finish = finish,
	});
}

/* Two movers of parts of the same huge page want its lock, and both want to split it. */
static void halves(void)
{
	huge_prepare(HUGE_HALVES);
	race_run(&(struct race_case){
		.name = "halves",
		.flags = RACE_HUGE | RACE_IDENTITY,
		.pages = huge_pages(),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
		.finish = finish,
	});
}

/* Whole huge pages, each wanted by all movers: one gets it, the others ENOENT or EEXIST. */
static void collide(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	int from = (int)race_below(&self->rng, 2);
	size_t first = huge_any(self), len = arena->unit * mem_page(), moved;

	moved = race_judge(self,
			   uffd_move(arena->uffd, race_at(arena, !from, first),
				     race_at(arena, from, first), len, 0),
			   len);
	if (moved && moved != len)
		race_fail("%zu of %zu bytes of a huge page moved", moved, len);
	for (size_t i = 0; i < moved / mem_page(); i++)
		__atomic_fetch_add(&arena->flips[first + i], from ? -1 : 1, __ATOMIC_SEQ_CST);
}

static void colliding(void)
{
	long splits = sys_vmstat("thp_split_pmd");

	race_run(&(struct race_case){
		.name = "colliding",
		.flags = RACE_HUGE | RACE_SHARED,
		.errnos = RACE_ERRNO(ENOENT) | RACE_ERRNO(EEXIST),
		.mover = { "mover", collide, NULL, race_options()->intensity + 1 },
	});
	ktap_diag("split: %ld", sys_vmstat("thp_split_pmd") - splits);
}

/*
 * A huge page that two mappings share, a half each, and two threads that move a page of either half at the
 * same time.  Both belong to this process alone, so that nothing explains EBUSY.
 */
static struct {
	int fd;
	char *src, *dst;
	atomic_ulong round; /* the second thread moves when it changes, 0: it ends */
	atomic_ulong moved; /* the round in which it has */
	struct uffd_result result;
} beside;

static struct uffd_result move_first_of(size_t half)
{
	size_t at = half * (mem_huge() / 2);

	return uffd_move(beside.fd, beside.dst + at, beside.src + at, mem_page(), 0);
}

static void *second_half(void *argument)
{
	(void)argument;
	for (unsigned long seen = 1;;) {
		unsigned long round = atomic_load(&beside.round);

		if (!round)
			return NULL;
		if (round == seen) {
			sched_yield();
			continue;
		}
		seen = round;
		beside.result = move_first_of(1);
		atomic_store(&beside.moved, round);
	}
}

/* A huge page once more, then a mapping that ends in its middle. */
static void fill_beside(void)
{
	size_t huge = mem_huge();

	CHECK(mmap(beside.src, huge, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == beside.src, "mmap: %m");
	CHECK_SYS(madvise(beside.src, huge, MADV_HUGEPAGE));
	mem_fill(beside.src, huge, 1);
	CHECK_SYS(madvise(beside.src + huge / 2, huge / 2, MADV_NOHUGEPAGE));
	CHECK_SYS(madvise(beside.dst, huge, MADV_DONTNEED));
}

static int refused(struct uffd_result result)
{
	CHECK(!result.err || result.err == EBUSY, "a move of a page failed with %s",
	      ktap_errno(result.err));
	return result.err != 0;
}

static void two_mappings(void)
{
	double end = mem_now_ms() + race_begin();
	unsigned long rounds = 0, busy = 0;
	size_t huge = mem_huge();
	pthread_t thread;

	beside.fd = uffd_open(0);
	beside.src = mem_map(huge, huge);
	beside.dst = mem_map(huge, huge);
	mem_no_huge(beside.dst, huge);
	uffd_register(beside.fd, beside.dst, huge);
	atomic_store(&beside.round, 1);
	CHECK(!pthread_create(&thread, NULL, second_half, NULL), "no thread");
	for (rounds = 0; rounds < 50 || mem_now_ms() < end; rounds++) {
		struct uffd_result mine;

		fill_beside();
		atomic_store(&beside.round, rounds + 2);
		mine = move_first_of(0);
		while (atomic_load(&beside.moved) != rounds + 2)
			sched_yield();
		busy += refused(mine) | refused(beside.result);
	}
	atomic_store(&beside.round, 0);
	pthread_join(thread, NULL);
	ktap_measure("rounds", (double)rounds, "1");
	CHECK(!busy, "in %lu of %lu rounds a move failed with EBUSY while another moved the other half",
	      busy, rounds);
	rss_check("two-mappings", getpid());
	close(beside.fd);
	munmap(beside.src, huge);
	munmap(beside.dst, huge);
}

static const struct ktap_case cases[] = {
	{ "split-file", split_file },
	{ "split-advice", split_advice },
	{ "split-protection", split_protection },
	{ "halves", halves },
	{ "colliding", colliding },
	{ "two-mappings", two_mappings },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	return race_main(argc, argv, cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
