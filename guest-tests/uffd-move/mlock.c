// SPDX-License-Identifier: GPL-2.0-only
/*
 * Locked memory: where both sides are locked their pages move and stay what they are, mlocked and
 * unevictable, and nothing is counted twice; they are let go where they ended up.  Where only one
 * side is locked the move is refused.
 *
 * Source: validate_move_areas() in mm/userfaultfd.c of v6.12, which compares VM_LOCKED and leaves
 * VM_LOCKONFAULT alone; mlock(2); Documentation/mm/unevictable-lru.rst.  A move that does not know
 * of mlock leaves PG_mlocked behind on pages of an unlocked range, which the allocator complains
 * about when they are freed, or counts pages in Mlocked (/proc/meminfo) for ever.
 *
 * With the argument "huge" the same with huge pages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ktap.h"
#include "locked.h"
#include "mem.h"
#include "moved.h"
#include "uffd.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* v5.18 */
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

#define PAGES 32
#define SEED 61

static int huge;

static void lock_on_fault(void *start, size_t len)
{
	CHECK_SYS(syscall(SYS_mlock2, start, len, MLOCK_ONFAULT));
}

/* mlock() fills the range: empty it again. */
static void lock_and_empty(void *start, size_t len)
{
	CHECK_SYS(mlock(start, len));
	if (madvise(start, len, MADV_DONTNEED_LOCKED))
		ktap_skip("MADV_DONTNEED_LOCKED: %s (v5.18)", ktap_errno(errno));
	CHECK_EQ(mem_present_pages(start, len), 0);
}

/* Neither side locked nor registered yet; the source is filled. */
static struct uffd_pair pages(void)
{
	struct uffd_pair pair;

	if (huge) {
		pair.len = mem_huge();
		pair.src = mem_map_huge(1, SEED);
		pair.dst = mem_map(pair.len, mem_huge());
		CHECK_SYS(madvise(pair.dst, pair.len, MADV_HUGEPAGE));
	} else {
		pair.len = PAGES * mem_page();
		pair.src = mem_map(pair.len, 0);
		pair.dst = mem_map(pair.len, 0);
		mem_no_huge(pair.src, pair.len);
		mem_no_huge(pair.dst, pair.len);
		mem_fill(pair.src, pair.len, SEED);
	}
	pair.fd = uffd_open(0);
	return pair;
}

static size_t count(const struct uffd_pair *pair)
{
	return pair->len / mem_page();
}

static void expect_locked(const char *start, size_t len)
{
	if (huge)
		CHECK_EQ(mem_huge_bytes(start, len), len);
	CHECK_EQ(mem_pages_with_all(start, len, MEM_FLAG_MLOCKED), len / mem_page());
	CHECK_EQ(mem_pages_with_all(start, len, MEM_FLAG_UNEVICTABLE), len / mem_page());
}

/* Move all of a pair whose two sides are locked, and look at what was locked before and after. */
static void move_locked(struct uffd_pair *pair, const char *step)
{
	long before, after;

	uffd_register(pair->fd, pair->dst, pair->len);
	before = locked_pages();
	expect_locked(pair->src, pair->len);
	moved_all(pair, step);
	after = locked_pages();
	expect_locked(pair->dst, pair->len);
	CHECK_EQ(after, before);
	mem_expect(pair->dst, pair->len, SEED, "destination");
}

static void both_locked(void)
{
	struct uffd_pair pair = pages();

	CHECK_SYS(mlock(pair.src, pair.len));
	lock_and_empty(pair.dst, pair.len);
	move_locked(&pair, "both-locked");
	moved_drop(&pair);
}

static void locked_on_fault(void)
{
	struct uffd_pair pair = pages();

	lock_on_fault(pair.src, pair.len);
	lock_on_fault(pair.dst, pair.len);
	move_locked(&pair, "locked-on-fault");
	moved_drop(&pair);
}

/* Locked at once here and on fault there is both locked. */
static void locked_differently(void)
{
	struct uffd_pair pair = pages();

	CHECK_SYS(mlock(pair.src, pair.len));
	lock_on_fault(pair.dst, pair.len);
	move_locked(&pair, "locked-differently");
	moved_drop(&pair);
}

/* The source is still locked memory: what is faulted in there is locked, too. */
static void source_stays_locked(void)
{
	struct uffd_pair pair = pages();
	long before;

	CHECK_SYS(mlock(pair.src, pair.len));
	lock_on_fault(pair.dst, pair.len);
	move_locked(&pair, "source-stays-locked");
	before = locked_pages();
	mem_fill(pair.src, pair.len, SEED + 1);
	CHECK_EQ(locked_pages(), before + (long)count(&pair));
	CHECK_EQ(mem_pages_with_all(pair.src, pair.len, MEM_FLAG_MLOCKED), count(&pair));
	mem_expect(pair.dst, pair.len, SEED, "destination after a write to the source");
	moved_drop(&pair);
}

static void unlocked_at_destination(void)
{
	long before = locked_pages();
	struct uffd_pair pair = pages();

	CHECK_SYS(mlock(pair.src, pair.len));
	lock_on_fault(pair.dst, pair.len);
	move_locked(&pair, "unlocked-at-destination");
	CHECK_SYS(munlock(pair.dst, pair.len));
	CHECK_EQ(locked_pages(), before);
	CHECK_EQ(mem_pages_with_any(pair.dst, pair.len, MEM_FLAG_MLOCKED | MEM_FLAG_UNEVICTABLE), 0);
	CHECK_SYS(munlock(pair.src, pair.len));
	/* Neither side is locked now, and so it can go back. */
	uffd_register(pair.fd, pair.src, pair.len);
	pair = (struct uffd_pair){ pair.fd, pair.dst, pair.src, pair.len };
	moved_all(&pair, "unlocked-back");
	mem_expect(pair.dst, pair.len, SEED, "back at the source");
	moved_drop(&pair);
}

static void unmapped_at_destination(void)
{
	long before = locked_pages();
	struct uffd_pair pair = pages();

	CHECK_SYS(mlock(pair.src, pair.len));
	lock_on_fault(pair.dst, pair.len);
	move_locked(&pair, "unmapped-at-destination");
	moved_drop(&pair);
	CHECK_EQ(locked_pages(), before);
}

static void one_side_locked(void)
{
	struct uffd_pair pair = pages();
	struct uffd_result result;
	long before;

	uffd_register(pair.fd, pair.dst, pair.len);
	lock_on_fault(pair.dst, pair.len);
	before = locked_pages();
	result = uffd_try_all(&pair);
	CHECK_ERRNO(result.err, EINVAL);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	CHECK_SYS(munlock(pair.dst, pair.len));
	lock_on_fault(pair.src, pair.len);
	CHECK_ERRNO(uffd_try_all(&pair).err, EINVAL);
	mem_expect(pair.src, pair.len, SEED, "source after EINVAL");
	CHECK_EQ(locked_pages(), before + (long)count(&pair));
	CHECK_SYS(munlock(pair.src, pair.len));
	moved_all(&pair, "one-side-unlocked");
	moved_drop(&pair);
}

/* Part of a huge page: it is split, and each page of it is locked still, on both sides. */
static void huge_in_part(void)
{
	struct uffd_pair pair = pages(), half;
	long before;

	/* Keep khugepaged from putting together again what the move takes apart. */
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len);
	lock_on_fault(pair.src, pair.len);
	lock_on_fault(pair.dst, pair.len);
	uffd_register(pair.fd, pair.dst, pair.len);
	before = locked_pages();
	half = moved_slice(&pair, 0, pair.len / 2);
	if (uffd_shape() == UFFD_V2 && uffd_try_all(&half).err == EBUSY)
		return;
	if (uffd_shape() == UFFD_MAIN)
		moved_all(&half, "huge-in-part");
	CHECK_EQ(mem_huge_bytes(pair.src, pair.len), 0);
	moved_holds(half.dst, half.len, SEED, 0, "moved half");
	half = moved_rest(&pair, half.len);
	moved_holds(half.src, half.len, SEED, pair.len / 2, "half that stayed");
	CHECK_SYS(munlock(pair.src, pair.len));
	CHECK_SYS(munlock(pair.dst, pair.len));
	CHECK_EQ(locked_pages(), before - (long)count(&pair));
	CHECK_EQ(mem_pages_with_any(pair.src, pair.len, MEM_FLAG_MLOCKED), 0);
	CHECK_EQ(mem_pages_with_any(pair.dst, pair.len, MEM_FLAG_MLOCKED), 0);
	moved_drop(&pair);
}

static const struct ktap_case cases[] = {
	{ "both-locked", both_locked },
	{ "locked-on-fault", locked_on_fault },
	{ "locked-differently", locked_differently },
	{ "source-stays-locked", source_stays_locked },
	{ "unlocked-at-destination", unlocked_at_destination },
	{ "unmapped-at-destination", unmapped_at_destination },
	{ "one-side-locked", one_side_locked },
	{ "huge-in-part", huge_in_part },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	huge = argc > 1 && !strcmp(argv[1], "huge");
	locked_one_cpu();
	if (!why && huge)
		why = mem_why_no_huge();
	/* The last case is about huge pages only. */
	return ktap_run(cases, KTAP_COUNT(cases) - !huge, why);
}
