// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every errno that a single page can cause, met on the first page and met on a later one.  On the
 * first the call answers with it; later it answers EAGAIN and the bytes moved so far, and who goes
 * on behind those meets the errno itself.  With the obstacle out of the way the rest goes through,
 * and no page was lost, copied or moved twice on the way.
 *
 * Source: the loop of move_pages() in mm/userfaultfd.c and the end of userfaultfd_move() in
 * fs/userfaultfd.c of v6.12; UFFDIO_MOVE in ioctl_userfaultfd(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "frames.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 24
#define SEED 91
#define OTHER 92

/* What stands in the way at one page. */
struct obstacle {
	int err;
	uint64_t mode;
	void (*put)(const struct uffd_pair *pair, char *src, char *dst);
	void (*take_away)(const struct uffd_pair *pair, char *src, char *dst);
};

static uint64_t frames[PAGES];
static long migrated; /* before these were noted */
static pid_t sharer;

static void put_hole(const struct uffd_pair *pair, char *src, char *dst)
{
	(void)pair;
	(void)dst;
	CHECK_SYS(madvise(src, mem_page(), MADV_DONTNEED));
}

/* The bytes that belong there: the pattern counts from the start of the source. */
static void fill_again(const struct uffd_pair *pair, char *src, char *dst)
{
	char *copy = mem_map(pair->len, 0);
	size_t at = (size_t)(src - pair->src);

	(void)dst;
	mem_fill(copy, pair->len, SEED);
	for (size_t i = 0; i < mem_page(); i++)
		((volatile char *)src)[i] = copy[at + i];
	munmap(copy, pair->len);
	frames[at / mem_page()] = mem_frame(src);
}

static void put_page(const struct uffd_pair *pair, char *src, char *dst)
{
	(void)src;
	uffd_unregister(pair->fd, pair->dst, pair->len);
	mem_fill(dst, mem_page(), OTHER);
	uffd_register(pair->fd, pair->dst, pair->len);
}

static void drop_page(const struct uffd_pair *pair, char *src, char *dst)
{
	(void)pair;
	(void)src;
	mem_expect(dst, mem_page(), OTHER, "the page in the way");
	CHECK_SYS(madvise(dst, mem_page(), MADV_DONTNEED));
}

static void put_zero(const struct uffd_pair *pair, char *src, char *dst)
{
	(void)src;
	uffd_unregister(pair->fd, pair->dst, pair->len);
	CHECK_EQ(*(volatile char *)dst, 0);
	uffd_register(pair->fd, pair->dst, pair->len);
}

static void drop_zero(const struct uffd_pair *pair, char *src, char *dst)
{
	(void)pair;
	(void)src;
	CHECK_EQ(*(volatile char *)dst, 0);
	CHECK_SYS(madvise(dst, mem_page(), MADV_DONTNEED));
}

/* Only this page goes along into the child: fork() leaves the others out. */
static void share_page(const struct uffd_pair *pair, char *src, char *dst)
{
	(void)dst;
	CHECK_SYS(madvise(pair->src, pair->len, MADV_DONTFORK));
	CHECK_SYS(madvise(src, mem_page(), MADV_DOFORK));
	sharer = child_sharer();
	/* One mapping again, since a move crosses no boundary of mappings. */
	CHECK_SYS(madvise(pair->src, pair->len, MADV_DOFORK));
}

static void end_sharing(const struct uffd_pair *pair, char *src, char *dst)
{
	child_end(sharer);
	fill_again(pair, src, dst);
}

/* How many pages in a row have moved, from the first one on. */
static size_t pages_at(const struct uffd_pair *pair, size_t first, size_t count)
{
	size_t found = 0;

	for (size_t i = first; i < first + count; i++, found++)
		if (mem_frame(pair->src + i * mem_page()) ||
		    !frames_same(pair->dst + i * mem_page(), frames[i], migrated))
			break;
	return found;
}

static struct uffd_result go_on(const struct uffd_pair *pair, size_t done, uint64_t mode)
{
	size_t at = done * mem_page();

	return uffd_move(pair->fd, pair->dst + at, pair->src + at, pair->len - at, mode);
}

static void met_at(const struct obstacle *obstacle, size_t at)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	char *src = pair.src + at * mem_page(), *dst = pair.dst + at * mem_page();
	struct uffd_result result;

	obstacle->put(&pair, src, dst);
	migrated = frames_migrated();
	for (size_t i = 0; i < PAGES; i++)
		frames[i] = mem_frame(pair.src + i * mem_page());
	result = go_on(&pair, 0, obstacle->mode);
	CHECK_ERRNO(result.err, at ? EAGAIN : obstacle->err);
	CHECK_EQ(result.moved, at ? (long long)(at * mem_page()) : -obstacle->err);
	CHECK_EQ(pages_at(&pair, 0, at), at);
	/* Twice: an errno is no state. */
	for (int i = 0; i < 2; i++) {
		result = go_on(&pair, at, obstacle->mode);
		CHECK_ERRNO(result.err, obstacle->err);
		CHECK_EQ(result.moved, -obstacle->err);
	}
	for (size_t i = at; i < PAGES; i++)
		frames_expect(pair.src + i * mem_page(), frames[i], migrated, "source", i);
	obstacle->take_away(&pair, src, dst);
	result = go_on(&pair, at, obstacle->mode);
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, (PAGES - at) * mem_page());
	CHECK_EQ(pages_at(&pair, 0, PAGES), PAGES);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	rss_check("obstacle-gone", getpid());
	munmap(pair.src, pair.len);
	munmap(pair.dst, pair.len);
	close(pair.fd);
}

static void met_everywhere(const struct obstacle *obstacle)
{
	met_at(obstacle, 0);
	met_at(obstacle, 1);
	met_at(obstacle, PAGES / 2);
	met_at(obstacle, PAGES - 1);
}

static void enoent(void)
{
	static const struct obstacle hole = { ENOENT, 0, put_hole, fill_again };

	met_everywhere(&hole);
}

static void eexist(void)
{
	static const struct obstacle page = { EEXIST, 0, put_page, drop_page };

	met_everywhere(&page);
}

static void eexist_zero_page(void)
{
	static const struct obstacle zero = { EEXIST, 0, put_zero, drop_zero };

	met_everywhere(&zero);
}

/* Holes in the source are no excuse for a destination that is taken. */
static void eexist_holes_allowed(void)
{
	static const struct obstacle page = { EEXIST, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, put_page,
					      drop_page };

	met_everywhere(&page);
}

static void ebusy(void)
{
	static const struct obstacle shared = { EBUSY, 0, share_page, end_sharing };

	met_everywhere(&shared);
}

/* Two obstacles: each is met in its turn, the nearer one first. */
static void one_after_the_other(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	const size_t hole = 5, taken = 9;
	struct uffd_result result;

	put_page(&pair, pair.src + taken * mem_page(), pair.dst + taken * mem_page());
	put_hole(&pair, pair.src + hole * mem_page(), NULL);
	result = go_on(&pair, 0, 0);
	CHECK_ERRNO(result.err, EAGAIN);
	CHECK_EQ(result.moved, hole * mem_page());
	CHECK_ERRNO(go_on(&pair, hole, 0).err, ENOENT);
	/* With holes allowed the hole counts, and the next obstacle stops the call. */
	result = go_on(&pair, hole, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	CHECK_ERRNO(result.err, EAGAIN);
	CHECK_EQ(result.moved, (taken - hole) * mem_page());
	result = go_on(&pair, taken, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(result.moved, -EEXIST);
	result = go_on(&pair, taken + 1, 0);
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, (PAGES - taken - 1) * mem_page());
	rss_check("one-after-the-other", getpid());
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "enoent", enoent },
	{ "eexist", eexist },
	{ "eexist-zero-page", eexist_zero_page },
	{ "eexist-holes-allowed", eexist_holes_allowed },
	{ "ebusy", ebusy },
	{ "one-after-the-other", one_after_the_other },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
