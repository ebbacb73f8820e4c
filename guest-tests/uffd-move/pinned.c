// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages with a long-term pin: a device reads and writes their frames and does not know where they
 * are mapped.  They stay where they are, with EBUSY, for as long as the pin lasts, and move once it
 * is gone; pages beside them move.
 *
 * Source: folio_maybe_dma_pinned() in move_present_pte() in mm/userfaultfd.c and in
 * move_pages_huge_pmd() in mm/huge_memory.c of v6.12; EBUSY in ioctl_userfaultfd(2), "either pinned
 * or not exclusive to the process".  The series of 2023 says nothing of pins: there a move may
 * succeed, and only the bytes are looked at.
 *
 * Arguments: "io_uring" (a fixed buffer) or "gup_test" says who pins; "huge" pins huge pages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "pin.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 16
#define SEED 91
#define OTHER 92

static enum pin_by by;
static int huge;

static struct uffd_pair pages(void)
{
	struct uffd_pair pair;

	if (!huge)
		return uffd_pair(PAGES, SEED);
	pair.len = 2 * mem_huge();
	pair.fd = uffd_open(0);
	pair.src = mem_map_huge(2, SEED);
	pair.dst = mem_map(pair.len, mem_huge());
	uffd_register(pair.fd, pair.dst, pair.len);
	return pair;
}

/* A move that a pin forbids. */
static void forbidden(const struct uffd_pair *pair, const char *step, size_t done)
{
	if (uffd_shape() == UFFD_MAIN)
		moved_expect(pair, step, 0, done, done ? EAGAIN : EBUSY);
}

/* The pinned frames are still what is mapped here: both see the same bytes, now and when written. */
static void expect_in_place(struct pin *pin, void *start, unsigned int seed)
{
	char *copy = mem_map(pin->len, 0);

	memset(copy, 0, pin->len);
	pin_read(pin, copy);
	mem_expect(copy, pin->len, seed, "pinned frames");
	mem_fill(start, pin->len, seed + 1);
	pin_read(pin, copy);
	mem_expect(copy, pin->len, seed + 1, "pinned frames after a write to their mapping");
	CHECK_SYS(munmap(copy, pin->len));
}

static void busy_while_pinned(void)
{
	struct uffd_pair pair = pages();
	struct pin pin = pin_start(by, pair.src, pair.len);

	for (int i = 0; i < 3; i++)
		forbidden(&pair, "pinned", 0);
	if (uffd_shape() == UFFD_MAIN)
		expect_in_place(&pin, pair.src, SEED);
	if (huge)
		CHECK_EQ(mem_huge_bytes(pair.src, pair.len), pair.len);
	pin_stop(&pin);
	moved_drop(&pair);
}

static void moves_when_unpinned(void)
{
	struct uffd_pair pair = pages();
	struct pin pin = pin_start(by, pair.src, pair.len);

	forbidden(&pair, "before-unpin", 0);
	pin_stop(&pin);
	moved_all(&pair, "unpinned");
	if (huge)
		CHECK_EQ(mem_huge_bytes(pair.dst, pair.len), pair.len);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	moved_drop(&pair);
}

/* The second half is pinned: the first one moves, and the call stops there. */
static void second_half_pinned(void)
{
	struct uffd_pair pair = pages(), rest = moved_rest(&pair, pair.len / 2);
	struct pin pin = pin_start(by, rest.src, rest.len);

	forbidden(&pair, "half", rest.len);
	if (uffd_shape() == UFFD_MAIN) {
		moved_holds(pair.dst, rest.len, SEED, 0, "half that is not pinned");
		forbidden(&rest, "pinned-half", 0);
		moved_holds(rest.src, rest.len, SEED, rest.len, "half that is pinned");
	}
	pin_stop(&pin);
	if (uffd_shape() == UFFD_MAIN) {
		moved_all(&rest, "unpinned-half");
		mem_expect(pair.dst, pair.len, SEED, "destination");
	}
	moved_drop(&pair);
}

/* A pinned page is copied for the child at once, so that it stays exclusively the parent's. */
static void fork_while_pinned(void)
{
	struct uffd_pair pair = pages();
	struct pin pin = pin_start(by, pair.src, pair.len);
	pid_t child = child_sharer();

	forbidden(&pair, "forked", 0);
	if (uffd_shape() == UFFD_MAIN)
		expect_in_place(&pin, pair.src, SEED);
	pin_stop(&pin);
	mem_fill(pair.src, pair.len, OTHER);
	moved_all(&pair, "forked-unpinned");
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	child_end(child);
	moved_drop(&pair);
}

/* Pinned where they arrived: they do not go back before the pin is gone. */
static void pinned_after_move(void)
{
	struct uffd_pair pair = pages(), back = { pair.fd, pair.dst, pair.src, pair.len };
	struct pin pin;

	uffd_register(pair.fd, pair.src, pair.len);
	moved_all(&pair, "before-pin");
	pin = pin_start(by, pair.dst, pair.len);
	forbidden(&back, "pinned-there", 0);
	if (uffd_shape() == UFFD_MAIN)
		expect_in_place(&pin, pair.dst, SEED);
	pin_stop(&pin);
	mem_fill(pair.dst, pair.len, OTHER);
	moved_all(&back, "unpinned-there");
	mem_expect(pair.src, pair.len, OTHER, "back at the source");
	moved_drop(&pair);
}

static const struct ktap_case cases[] = {
	{ "busy-while-pinned", busy_while_pinned },
	{ "moves-when-unpinned", moves_when_unpinned },
	{ "second-half-pinned", second_half_pinned },
	{ "pinned-at-destination", pinned_after_move },
	{ "fork-while-pinned", fork_while_pinned },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	for (int i = 1; i < argc; i++) {
		huge |= !strcmp(argv[i], "huge");
		by = !strcmp(argv[i], "gup_test") ? PIN_BY_GUP_TEST : by;
	}
	if (!why && huge)
		why = mem_why_no_huge();
	/*
	 * The last case is about base pages: fork() leaves a pinned huge page mapped by pages, and
	 * what becomes of those is unsplittable.c's.
	 */
	return ktap_run(cases, KTAP_COUNT(cases) - huge, why ? why : pin_why_not(by));
}
