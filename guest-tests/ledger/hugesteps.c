// SPDX-License-Identifier: GPL-2.0-only
/*
 * A huge page on its way through every kind of move, step by step between two readings of the ledger:
 * moved whole there and back, refused, taken one page out of, moved up to that hole and over it, partly
 * swapped out, and moved again; here and with a part of it written by a child.  Whole it stays one huge
 * page, any other move splits it (mm/huge_memory.c move_pages_huge_pmd(), mm/userfaultfd.c
 * move_pages_pte(), v6.12); no step changes RssAnon or VmSwap but by what was swapped.  A page table
 * that is charged twice or not taken along, and a split that counts its pages anew, show at their step.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define SEED 121
#define OUT 16 /* pages that are swapped out */

static const char *where;
static int number;
static size_t huge;
static char *source, *sides[2];
static int fd, may_be_busy;

/* Whether it was done as expected: the older ABI may answer EBUSY where a huge page had to be split. */
static int moved(char *dst, char *src, size_t len, uint64_t mode, int err, size_t expected)
{
	struct rss before, after;
	struct uffd_result result;
	char step[64];

	number++;
	snprintf(step, sizeof(step), "%s-%d-before-move", where, number);
	before = rss_ledger(step, getpid());
	result = uffd_move(fd, dst, src, len, mode);
	snprintf(step, sizeof(step), "%s-%d-after-move", where, number);
	after = rss_ledger(step, getpid());
	rss_agree(step, &before);
	rss_agree(step, &after);
	rss_conserved(&before, &after);
	if (may_be_busy && uffd_shape() == UFFD_V2 && result.err == EBUSY)
		return 0;
	CHECK(result.err == err, "%s: got %s, expected %s", step, ktap_errno(result.err),
	      ktap_errno(err));
	if (!err || err == EAGAIN)
		CHECK_EQ(result.moved, expected);
	return 1;
}

static void begin(const char *name)
{
	where = name;
	number = may_be_busy = 0;
	huge = mem_huge();
	fd = uffd_open(0);
	for (int side = 0; side < 2; side++) {
		sides[side] = mem_map(huge, huge);
		/* Nothing but a move puts a huge page there. */
		mem_no_huge(sides[side], huge);
		uffd_register(fd, sides[side], huge);
	}
	source = mem_map_huge(1, SEED);
	rss_check(name, getpid());
}

static void end(void)
{
	CHECK_SYS(munmap(source, huge));
	for (int side = 0; side < 2; side++)
		CHECK_SYS(munmap(sides[side], huge));
	close(fd);
	rss_check("gone", getpid());
}

static void whole(void)
{
	char *other;

	begin("whole");
	moved(sides[0], source, huge, 0, 0, huge);
	CHECK_EQ(mem_huge_bytes(sides[0], huge), huge);
	for (int i = 0; i < 4; i++) {
		moved(sides[!(i & 1)], sides[i & 1], huge, 0, 0, huge);
		CHECK_EQ(mem_huge_bytes(sides[!(i & 1)], huge), huge);
	}
	moved(sides[1], source, huge, 0, ENOENT, 0);
	other = mem_map_huge(1, SEED + 1);
	moved(sides[0], other, huge, 0, EEXIST, 0);
	CHECK_EQ(mem_huge_bytes(sides[0], huge), huge);
	mem_expect(sides[0], huge, SEED, "after all moves");
	CHECK_SYS(munmap(other, huge));
	end();
}

/* One page leaves it and comes back; the rest goes on without it, in two calls or in one. */
static void split(void)
{
	size_t page = mem_page(), hole = huge / 4 + page;
	char *slot;

	begin("split");
	slot = mem_map(page, 0);
	uffd_register(fd, slot, page);
	moved(sides[0], source, huge, 0, 0, huge);
	may_be_busy = 1;
	if (!moved(slot, sides[0] + hole, page, 0, 0, page)) {
		CHECK_SYS(munmap(slot, page));
		end();
		return;
	}
	CHECK_EQ(mem_huge_bytes(sides[0], huge), 0);
	moved(sides[1], sides[0], huge, 0, EAGAIN, hole);
	moved(sides[1] + hole, sides[0] + hole, huge - hole, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, 0,
	      huge - hole);
	moved(sides[1] + hole, slot, page, 0, 0, page);
	CHECK_EQ(mem_present_pages(sides[0], huge), 0);
	if (!mem_why_no_swap()) {
		mem_swap_out(sides[1] + hole, OUT * page);
		rss_check("split-out", getpid());
		CHECK_EQ(mem_swapped_pages(sides[1], huge), OUT);
	}
	moved(sides[0], sides[1], huge, 0, 0, huge);
	CHECK_SYS(munmap(slot, page));
	mem_expect(sides[0], huge, SEED, "after all moves");
	rss_check("split-in", getpid());
	end();
}

/* A part of a huge page that was given back is a hole, and the huge page is one no more. */
static void with_a_hole(void)
{
	size_t page = mem_page();

	begin("hole");
	CHECK_SYS(madvise(source + huge / 2, page, MADV_DONTNEED));
	rss_check("hole-made", getpid());
	may_be_busy = 1;
	if (!moved(sides[0], source, huge, 0, EAGAIN, huge / 2)) {
		end();
		return;
	}
	moved(sides[0] + huge / 2, source + huge / 2, huge / 2, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, 0,
	      huge / 2);
	CHECK_EQ(mem_present_pages(sides[0], huge), huge / page - 1);
	CHECK_EQ(mem_present_pages(source, huge), 0);
	mem_expect(sides[0], huge / 2, SEED, "the first half");
	end();
}

/* Shared with a child it is refused, and the refusal changes nothing in either; then it moves. */
static void shared(void)
{
	struct rss before, after;
	pid_t pid;

	begin("shared");
	pid = child_sharer();
	before = rss_check("shared-child", pid);
	moved(sides[0], source, huge, 0, EBUSY, 0);
	after = rss_check("shared-child-after", pid);
	rss_conserved(&before, &after);
	child_end(pid);
	/* Ours alone again at the next write to each page, in place or in a copy. */
	mem_fill(source, huge, SEED);
	rss_check("shared-no-more", getpid());
	may_be_busy = 1;
	moved(sides[0], source, huge, 0, 0, huge);
	end();
}

static const struct ktap_case cases[] = {
	{ "whole", whole },
	{ "split", split },
	{ "with-a-hole", with_a_hole },
	{ "shared", shared },
};

int main(void)
{
	const char *why = uffd_why_not();

	return ktap_run(cases, KTAP_COUNT(cases), why ? why : mem_why_no_huge());
}
