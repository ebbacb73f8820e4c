// SPDX-License-Identifier: GPL-2.0-only
/*
 * Markers: entries of the page table that stand for no page.  One at the destination, poison or the
 * write protection of a page that is not there yet, is in the way like a page and stays; one at the
 * source is no page to move, and stays too.
 *
 * Source: move_pages_pte() in mm/userfaultfd.c of v6.12 takes a destination entry that is not
 * none for EEXIST, and a source entry that is neither page nor swap for EFAULT; UFFDIO_POISON and
 * UFFD_FEATURE_WP_UNPOPULATED in Documentation/admin-guide/mm/userfaultfd.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "track.h"
#include "uffd.h"

#define SEED 121

/* The entry of a marker looks swapped out, and is no slot.  A read of poison is logged: look only. */
static int is_marker(const char *at)
{
	uint64_t entry = mem_entry(at);

	return (entry & MEM_SWAPPED) && !mem_is_swap_slot(entry);
}

static void poison(int fd, char *at)
{
	struct uffdio_poison what = { .range = { (uint64_t)(uintptr_t)at, mem_page() } };

	CHECK_SYS(ioctl(fd, UFFDIO_POISON, &what));
	CHECK_EQ(what.updated, mem_page());
	CHECK(is_marker(at), "UFFDIO_POISON left no marker");
}

static struct uffd_pair marker_pair(uint64_t features, uint64_t modes)
{
	struct uffd_pair pair = kind_pair(UFFD_FEATURE_SIGBUS | features, modes, SEED);

	/* A huge page that has to be split stays in pieces then. */
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len);
	kind_settle(pair.src, pair.len);
	return pair;
}

static struct uffd_pair poison_pair(void)
{
	return marker_pair(UFFD_FEATURE_POISON, UFFDIO_REGISTER_MODE_MISSING);
}

static struct uffd_pair wp_pair(void)
{
	return marker_pair(UFFD_FEATURE_WP_UNPOPULATED,
			   UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
}

/* In 2023's shape a huge page that has to be split may be refused as a whole. */
static int refused_huge(struct uffd_result result)
{
	return kind() == KIND_HUGE && uffd_shape() == UFFD_V2 && result.err == EBUSY;
}

/* A marker on the first page: EEXIST, however the holes are meant, and nothing moves. */
static void first_page(const struct uffd_pair *pair, uint64_t mode)
{
	struct uffd_result result = uffd_move(pair->fd, pair->dst, pair->src, pair->len, mode);

	if (refused_huge(result))
		return;
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(result.moved, -EEXIST);
	CHECK_EQ(mem_present_pages(pair->dst, pair->len), 0);
}

/* A marker half way: the pages before it move, and the next call meets it. */
static void half_way(const struct uffd_pair *pair, size_t at)
{
	struct uffd_result result = uffd_try_all(pair);

	if (refused_huge(result))
		return;
	CHECK_ERRNO(result.err, EAGAIN);
	CHECK_EQ(result.moved, at);
	result = uffd_move(pair->fd, pair->dst + at, pair->src + at, mem_page(), 0);
	CHECK_ERRNO(result.err, EEXIST);
	CHECK_EQ(result.moved, -EEXIST);
	CHECK_EQ(mem_present_pages(pair->dst, pair->len) + mem_swapped_pages(pair->dst, pair->len),
		 at / mem_page());
	mem_expect(pair->dst, at, SEED, "what was moved");
}

static void poison_first(void)
{
	struct uffd_pair pair = poison_pair();

	poison(pair.fd, pair.dst);
	first_page(&pair, 0);
	first_page(&pair, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	CHECK(is_marker(pair.dst), "the poison is gone");
	mem_expect(pair.src, pair.len, SEED, "source after EEXIST");
	rss_check("poison-first", getpid());
	close(pair.fd);
}

static void poison_half_way(void)
{
	struct uffd_pair pair = poison_pair();
	size_t at = pair.len / 2;

	poison(pair.fd, pair.dst + at);
	half_way(&pair, at);
	CHECK(is_marker(pair.dst + at), "the poison is gone");
	/* Taken away like a page. */
	CHECK_SYS(madvise(pair.dst + at, mem_page(), MADV_DONTNEED));
	if (!refused_huge(uffd_move(pair.fd, pair.dst + at, pair.src + at, pair.len - at, 0)))
		mem_expect(pair.dst, pair.len, SEED, "destination");
	rss_check("poison-half-way", getpid());
	close(pair.fd);
}

static void protected_first(void)
{
	struct uffd_pair pair = wp_pair();

	uffd_protect(pair.fd, pair.dst, mem_page(), 1);
	CHECK_EQ(track_pages(pair.dst, mem_page(), TRACK_WP), 1);
	first_page(&pair, 0);
	first_page(&pair, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	CHECK_EQ(track_pages(pair.dst, mem_page(), TRACK_WP), 1);
	mem_expect(pair.src, pair.len, SEED, "source after EEXIST");
	rss_check("protected-first", getpid());
	close(pair.fd);
}

static void protected_half_way(void)
{
	struct uffd_pair pair = wp_pair();
	size_t at = pair.len / 2;

	uffd_protect(pair.fd, pair.dst + at, mem_page(), 1);
	half_way(&pair, at);
	CHECK_EQ(track_pages(pair.dst + at, mem_page(), TRACK_WP), 1);
	CHECK_EQ(track_pages(pair.dst, at, TRACK_WP), 0);
	/* Unprotected, which takes the marker away. */
	uffd_protect(pair.fd, pair.dst + at, mem_page(), 0);
	if (!refused_huge(uffd_move(pair.fd, pair.dst + at, pair.src + at, pair.len - at, 0)))
		mem_expect(pair.dst, pair.len, SEED, "destination");
	rss_check("protected-half-way", getpid());
	close(pair.fd);
}

/* Which error a marker at the source gives is not said anywhere; it must be one, and change none. */
static void source_refused(const struct uffd_pair *pair, size_t at)
{
	struct uffd_result result =
		uffd_move(pair->fd, pair->dst + at, pair->src + at, mem_page(), 0);

	CHECK(result.err, "a marker was moved as if it were a page");
	/* The series of 2023 promises only that it does not move. */
	if (uffd_shape() == UFFD_MAIN)
		CHECK_ERRNO(result.err, EFAULT);
	CHECK_EQ(result.moved, -result.err);
	ktap_diag("a marker at the source gives %s", ktap_errno(result.err));
	CHECK_ENTRY(mem_frame(pair->dst + at), 0);
	if (!at)
		return;
	result = uffd_try_all(pair);
	CHECK_ERRNO(result.err, EAGAIN);
	CHECK_EQ(result.moved, at);
	mem_expect(pair->dst, at, SEED, "what was moved");
}

static void poison_at_source(void)
{
	struct uffd_pair pair = poison_pair();
	size_t at = pair.len / 2;

	CHECK_SYS(madvise(pair.src + at, mem_page(), MADV_DONTNEED));
	uffd_register(pair.fd, pair.src, pair.len);
	poison(pair.fd, pair.src + at);
	source_refused(&pair, at);
	CHECK(is_marker(pair.src + at), "the poison is gone");
	rss_check("poison-at-source", getpid());
	close(pair.fd);
}

static void protected_at_source(void)
{
	struct uffd_pair pair = wp_pair();
	size_t at = pair.len / 2;

	CHECK_SYS(madvise(pair.src + at, mem_page(), MADV_DONTNEED));
	uffd_register_mode(pair.fd, pair.src, pair.len, UFFDIO_REGISTER_MODE_WP);
	uffd_protect(pair.fd, pair.src + at, mem_page(), 1);
	CHECK_EQ(track_pages(pair.src + at, mem_page(), TRACK_WP), 1);
	source_refused(&pair, at);
	CHECK_EQ(track_pages(pair.src + at, mem_page(), TRACK_WP), 1);
	rss_check("protected-at-source", getpid());
	close(pair.fd);
}

/* The last two need base pages on either side of the marker. */
static const struct ktap_case cases[] = {
	{ "poison-first", poison_first },
	{ "poison-half-way", poison_half_way },
	{ "protected-first", protected_first },
	{ "protected-half-way", protected_half_way },
	{ "poison-at-source", poison_at_source },
	{ "protected-at-source", protected_at_source },
};

int main(int argc, char **argv)
{
	kind_parse(argc, argv);
	return ktap_run(cases, KTAP_COUNT(cases) - (kind() == KIND_HUGE ? 2 : 0), kind_why_not());
}
