// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that somebody holds a plain reference to: a pipe that vmsplice() put them into.  That is
 * no long-term pin, and so they move.  The pipe has the frame and not the address: it reads the
 * bytes of that frame, and what is written at the source afterwards is another frame's and must
 * not come out of it.  Nor may the frame be given to somebody else before the pipe lets go of it.
 *
 * Source: move_present_pte() in mm/userfaultfd.c of v6.12, which asks folio_maybe_dma_pinned() and
 * PageAnonExclusive() and not the reference count; vmsplice(2), whose memory is only looked at
 * and not pinned (iter_to_pipe() in fs/splice.c).  A move that copies, or that judges by the
 * reference count, fails here.  The 2023 series does not judge by references either.
 *
 * With the argument "huge" the pipe has some pages of a huge page, which moves as a whole and stays
 * huge (move_pages_huge_pmd() in mm/huge_memory.c).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "child.h"
#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 8
#define SEED 71

struct held {
	struct uffd_pair pair;
	int out, in;
};

static void open_pipe(struct held *held)
{
	int ends[2];

	CHECK_SYS(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	held->out = ends[0];
	held->in = ends[1];
}

/* Bytes that are in the pipe: the first pages of a pair. */
static size_t piped(void)
{
	return PAGES * mem_page();
}

/* A pair whose source pages are in that pipe. */
static void hold_in(struct held *held)
{
	struct iovec data;

	held->pair = kind() == KIND_HUGE ? kind_pair(0, UFFDIO_REGISTER_MODE_MISSING, SEED) :
					   uffd_pair(PAGES, SEED);
	data = (struct iovec){ held->pair.src, piped() };
	CHECK_EQ(vmsplice(held->in, &data, 1, 0), piped());
}

static struct held hold(void)
{
	struct held held;

	open_pipe(&held);
	hold_in(&held);
	return held;
}

/* What comes out of the pipe, and whether that is the pattern. */
static void expect_in_pipe(struct held *held, unsigned int seed)
{
	char *copy = mem_map(piped(), 0);
	size_t got = 0;

	while (got < piped()) {
		ssize_t step = read(held->out, copy + got, piped() - got);

		CHECK(step > 0, "the pipe gave only %zu of %zu bytes: %m", got, piped());
		got += (size_t)step;
	}
	mem_expect(copy, piped(), seed, "what the pipe held");
	CHECK_SYS(munmap(copy, piped()));
}

/* Move all of a pair; a huge page stays one. */
static void move(const struct uffd_pair *pair, const char *step)
{
	moved_all(pair, step);
	if (kind() == KIND_HUGE)
		CHECK_EQ(mem_huge_bytes(pair->dst, pair->len), pair->len);
}

static void drop(struct held *held)
{
	close(held->in);
	close(held->out);
	moved_drop(&held->pair);
}

static void moves(void)
{
	struct held held = hold();

	move(&held.pair, "referenced");
	mem_expect(held.pair.dst, held.pair.len, SEED, "destination");
	expect_in_pipe(&held, SEED);
	mem_expect(held.pair.dst, held.pair.len, SEED, "destination after the pipe was read");
	drop(&held);
}

static void source_written_later(void)
{
	struct held held = hold();

	move(&held.pair, "source-written");
	mem_fill(held.pair.src, held.pair.len, SEED + 1);
	expect_in_pipe(&held, SEED);
	mem_expect(held.pair.dst, held.pair.len, SEED, "destination");
	drop(&held);
}

/* The destination is unmapped: now the pipe alone keeps the frames from being used again. */
static void destination_unmapped(void)
{
	struct held held = hold();
	char *others;

	move(&held.pair, "unmapped");
	CHECK_SYS(madvise(held.pair.dst, held.pair.len, MADV_DONTNEED));
	others = mem_map(4 * held.pair.len, 0);
	mem_fill(others, 4 * held.pair.len, SEED + 2);
	expect_in_pipe(&held, SEED);
	CHECK_SYS(munmap(others, 4 * held.pair.len));
	drop(&held);
}

/*
 * A fork() takes the exclusive mark from the moved pages, and the pipe's reference keeps it away:
 * the next write is to a copy, and the pipe has what was there before it.
 */
static void written_after_fork(void)
{
	struct held held = hold();
	pid_t child;

	move(&held.pair, "fork");
	child = child_sharer();
	mem_fill(held.pair.dst, held.pair.len, SEED + 3);
	expect_in_pipe(&held, SEED);
	mem_expect(held.pair.dst, held.pair.len, SEED + 3, "destination");
	child_end(child);
	rss_check("written-after-fork", getpid());
	drop(&held);
}

/* There and back while the pipe holds them. */
static void moves_twice(void)
{
	struct held held = hold();
	struct uffd_pair back = { held.pair.fd, held.pair.dst, held.pair.src, held.pair.len };

	uffd_register(held.pair.fd, held.pair.src, held.pair.len);
	move(&held.pair, "there");
	move(&back, "back");
	expect_in_pipe(&held, SEED);
	mem_expect(held.pair.src, held.pair.len, SEED, "source");
	drop(&held);
}

static void move_and_leave(void *held)
{
	hold_in(held);
	uffd_move_all(&((struct held *)held)->pair);
}

/* The process that moved them is gone, and its mm with it; the pipe still has the pages. */
static void outlives_the_mover(void)
{
	struct held held;

	open_pipe(&held);
	child_reap(child_start(move_and_leave, &held));
	expect_in_pipe(&held, SEED);
	close(held.in);
	close(held.out);
}

static const struct ktap_case cases[] = {
	{ "referenced-page-moves", moves },
	{ "source-written-later", source_written_later },
	{ "destination-unmapped", destination_unmapped },
	{ "written-after-fork", written_after_fork },
	{ "moves-twice", moves_twice },
	{ "outlives-the-mover", outlives_the_mover },
};

int main(int argc, char **argv)
{
	kind_parse(argc, argv);
	return ktap_run(cases, KTAP_COUNT(cases), kind_why_not());
}
