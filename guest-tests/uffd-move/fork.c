// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages shared by fork(): neither parent nor child has them for itself, and so neither can move
 * them, as often as it tries.  Who writes gets a page of its own and can move that one.  A page
 * that was shared once counts as shared until it is written again, even where the other side is
 * gone: what is asked is not how often it is mapped now, but whether it is marked exclusive.
 *
 * Source: PageAnonExclusive() in move_present_pte() and move_pages() in mm/userfaultfd.c and in
 * move_pages_huge_pmd() of v6.12; the mark is explained in include/linux/page-flags.h
 * (PG_anon_exclusive).  The series of 2023 judges by the number of mappings: a page whose other
 * mapping is gone may move there, but it must not let anybody read what is written afterwards.
 *
 * With the argument "huge" the same with huge pages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "child.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 16
#define SEED 81
#define OTHER 82

static int huge;

static struct uffd_pair pages(void)
{
	return huge ? moved_pair_huge(SEED) : uffd_pair(PAGES, SEED);
}

static void busy_while_shared(void)
{
	struct uffd_pair pair = pages(), part = moved_slice(&pair, mem_page(), mem_page());
	pid_t child = child_sharer();

	for (int i = 0; i < 3; i++) {
		moved_nothing(&pair, "shared", EBUSY);
		moved_nothing(&part, "shared-part", EBUSY);
	}
	/* A refusal costs nothing: v6.12 does not split a huge page for it. */
	if (huge && uffd_shape() == UFFD_MAIN)
		CHECK_EQ(mem_huge_bytes(pair.src, pair.len), pair.len);
	mem_expect(pair.src, pair.len, SEED, "source after EBUSY");
	child_end(child);
	moved_drop(&pair);
}

static void busy_until_written(void)
{
	struct uffd_pair pair = pages();

	child_end(child_sharer());
	/* Mapped once, here; still not marked as ours. */
	for (int i = 0; i < 2 && uffd_shape() == UFFD_MAIN; i++)
		moved_nothing(&pair, "once-shared", EBUSY);
	/* Reading does not make it ours. */
	mem_expect(pair.src, pair.len, SEED, "source");
	if (uffd_shape() == UFFD_MAIN)
		moved_nothing(&pair, "once-shared-read", EBUSY);
	mem_fill(pair.src, pair.len, OTHER);
	moved_all(&pair, "once-shared-written");
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	moved_drop(&pair);
}

/* The child still has the old pages; the parent's are new ones. */
static void written_while_shared(void)
{
	struct uffd_pair pair = pages();
	pid_t child = child_sharer();

	mem_fill(pair.src, pair.len, OTHER);
	moved_all(&pair, "written");
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	child_end(child);
	moved_drop(&pair);
}

static void dontfork_moves(void)
{
	struct uffd_pair pair = pages();
	pid_t child;

	CHECK_SYS(madvise(pair.src, pair.len, MADV_DONTFORK));
	child = child_sharer();
	moved_all(&pair, "dontfork");
	if (huge)
		CHECK_EQ(mem_huge_bytes(pair.dst, pair.len), pair.len);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	child_end(child);
	moved_drop(&pair);
}

/* The first half was written and is ours: it moves, and the call stops at the rest. */
static void half_written(void)
{
	struct uffd_pair pair = pages(), half = moved_slice(&pair, 0, pair.len / 2), rest;
	pid_t child = child_sharer();

	mem_fill(half.src, half.len, OTHER);
	moved_expect(&pair, "half-written", 0, half.len, EAGAIN);
	mem_expect(half.dst, half.len, OTHER, "half that was written");
	rest = moved_rest(&pair, half.len);
	moved_nothing(&rest, "rest", EBUSY);
	moved_nothing(&rest, "rest-again", EBUSY);
	moved_holds(rest.src, rest.len, SEED, half.len, "half that was not");
	child_end(child);
	mem_fill(rest.src, rest.len, OTHER);
	moved_all(&rest, "rest-written");
	mem_expect(rest.dst, rest.len, OTHER, "rest");
	moved_drop(&pair);
}

/* What the child sees of the same: its own half moves, and the parent's pages stand. */
static void child_side(void *argument)
{
	struct uffd_pair *shared = argument, pair = moved_pair(shared->len, 0, 1);
	size_t half = pair.len / 2;

	CHECK_SYS(munmap(pair.src, pair.len));
	pair.src = shared->src;
	moved_nothing(&pair, "child-shared", EBUSY);
	mem_fill(pair.src, half, OTHER);
	moved_expect(&pair, "child-half", 0, half, EAGAIN);
	mem_expect(pair.dst, half, OTHER, "child's destination");
	moved_holds(pair.src + half, half, SEED, half, "child's other half");
	/* A userfaultfd is not inherited: no move into what the parent registered. */
	pair.dst = shared->dst;
	CHECK_ERRNO(uffd_try_all(&pair).err, EINVAL);
	child_barrier();
}

static void child_moves_its_half(void)
{
	struct uffd_pair pair = pages();
	pid_t child = child_start(child_side, &pair);

	child_meet(child);
	moved_nothing(&pair, "while-child-moved", EBUSY);
	mem_expect(pair.src, pair.len, SEED, "parent's source");
	child_end(child);
	mem_expect(pair.src, pair.len, SEED, "parent's source after the child's end");
	rss_check("child-moves-its-half", getpid());
	moved_drop(&pair);
}

/* Moved pages are shared by a fork() like any other, and come back to us by a write. */
static void fork_after_move(void)
{
	struct uffd_pair pair = pages(), back = { pair.fd, pair.dst, pair.src, pair.len };
	pid_t child;

	uffd_register(pair.fd, pair.src, pair.len);
	moved_all(&pair, "before-fork");
	child = child_sharer();
	moved_nothing(&back, "after-fork", EBUSY);
	mem_fill(pair.dst, pair.len, OTHER);
	moved_all(&back, "after-fork-written");
	mem_expect(pair.src, pair.len, OTHER, "back at the source");
	child_end(child);
	moved_drop(&pair);
}

/* What the two children of pipe_reads_no_secret() have to know. */
static struct {
	char *page;
	int in;
} scene;

static void splice_and_unmap(void *unused)
{
	struct iovec data = { scene.page, mem_page() };

	(void)unused;
	CHECK_EQ(vmsplice(scene.in, &data, 1, 0), mem_page());
	CHECK_SYS(munmap(scene.page, mem_page()));
	child_barrier();
}

static void move_and_write(void *unused)
{
	struct uffd_pair pair = { .len = mem_page(), .src = scene.page };
	struct uffd_result result;

	(void)unused;
	child_barrier();
	pair.fd = uffd_open(0);
	pair.dst = mem_map(pair.len, 0);
	uffd_register(pair.fd, pair.dst, pair.len);
	result = uffd_try_all(&pair);
	/* The secret, wherever the page is now. */
	mem_fill(result.err ? pair.src : pair.dst, pair.len, OTHER);
	child_barrier();
	if (uffd_shape() == UFFD_MAIN)
		CHECK_ERRNO(result.err, EBUSY);
}

/*
 * The page of a parent that is gone from it, held by one child through a pipe and mapped by the
 * other alone.  The second one's writes are none of the first one's business.
 */
static void pipe_reads_no_secret(void)
{
	pid_t holder, mover;
	char *copy = mem_map(mem_page(), 0);
	int ends[2];

	scene.page = mem_map(mem_page(), 0);
	mem_no_huge(scene.page, mem_page());
	mem_fill(scene.page, mem_page(), SEED);
	CHECK_SYS(pipe2(ends, O_CLOEXEC));
	scene.in = ends[1];
	mover = child_start(move_and_write, NULL);
	child_meet(mover);
	holder = child_start(splice_and_unmap, NULL);
	child_meet(holder);
	CHECK_SYS(munmap(scene.page, mem_page()));
	child_go(mover);
	child_meet(mover);
	CHECK_EQ(read(ends[0], copy, mem_page()), mem_page());
	mem_expect(copy, mem_page(), SEED, "what the pipe held");
	child_end(mover);
	child_end(holder);
	close(ends[0]);
	close(ends[1]);
}

static const struct ktap_case cases[] = {
	{ "busy-while-shared", busy_while_shared },
	{ "busy-until-written", busy_until_written },
	{ "written-while-shared", written_while_shared },
	{ "dontfork-moves", dontfork_moves },
	{ "half-written", half_written },
	{ "child-moves-its-half", child_moves_its_half },
	{ "shared-at-destination", fork_after_move },
	{ "pipe-reads-no-secret", pipe_reads_no_secret },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	huge = argc > 1 && !strcmp(argv[1], "huge");
	if (!why && huge)
		why = mem_why_no_huge();
	/* The last case is about a single page. */
	return ktap_run(cases, KTAP_COUNT(cases) - huge, why);
}
