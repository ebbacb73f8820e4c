// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has to be registered with a userfaultfd, for what, and where the ranges may lie: one mapping
 * or two, upwards or downwards, and back again.
 *
 * Source: validate_move_areas() and move_pages() in mm/userfaultfd.c of v6.12: the destination's
 * mapping belongs to this very userfaultfd, and each range lies in one mapping.  In the series of
 * 2023 either side may be registered, with any userfaultfd.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frames.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 16
#define SEED 101

static uint64_t frames[PAGES];
static long migrated; /* before they were noted */

static void note_frames(const char *start)
{
	migrated = frames_migrated();
	for (size_t i = 0; i < PAGES; i++)
		frames[i] = mem_frame(start + i * mem_page());
}

static void expect_frames(const char *start, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		frames_expect(start + i * mem_page(), frames[first + i], migrated, "range", i);
}

static void moves(const struct uffd_pair *pair)
{
	note_frames(pair->src);
	uffd_move_all(pair);
	expect_frames(pair->dst, 0, PAGES);
	CHECK_EQ(mem_present_pages(pair->src, pair->len), 0);
	mem_expect(pair->dst, pair->len, SEED, "destination");
}

static void refused(const struct uffd_pair *pair, char *dst, char *src, size_t len)
{
	struct uffd_result result;

	note_frames(pair->src);
	result = uffd_move(pair->fd, dst, src, len, 0);
	CHECK_ERRNO(result.err, EINVAL);
	CHECK(result.moved == UFFD_UNTOUCHED || result.moved == -EINVAL,
	      "moved: got %lld, expected it untouched or -EINVAL", (long long)result.moved);
	expect_frames(pair->src, 0, PAGES);
	CHECK_EQ(mem_present_pages(pair->dst, pair->len), 0);
}

static void destination_alone(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	moves(&pair);
	close(pair.fd);
}

static void both_with_this(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	uffd_register(pair.fd, pair.src, pair.len);
	moves(&pair);
	close(pair.fd);
}

/* Whom the source belongs to is nobody's business. */
static void source_with_another(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	int other = uffd_open(0);

	uffd_register(other, pair.src, pair.len);
	moves(&pair);
	close(other);
	close(pair.fd);
}

static void for_write_protection_alone(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	uffd_unregister(pair.fd, pair.dst, pair.len);
	uffd_register_mode(pair.fd, pair.dst, pair.len, UFFDIO_REGISTER_MODE_WP);
	moves(&pair);
	close(pair.fd);
}

static void for_both_modes(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	uffd_register_mode(pair.fd, pair.dst, pair.len,
			   UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING);
	moves(&pair);
	close(pair.fd);
}

static void unregistered_again(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	uffd_unregister(pair.fd, pair.dst, pair.len);
	refused(&pair, pair.dst, pair.src, pair.len);
	uffd_register(pair.fd, pair.dst, pair.len);
	moves(&pair);
	close(pair.fd);
}

/* The registered half is a mapping of its own: in it moves work, beyond its end they do not. */
static void registered_in_part(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	size_t half = pair.len / 2;

	uffd_unregister(pair.fd, pair.dst + half, half);
	refused(&pair, pair.dst, pair.src, pair.len);
	refused(&pair, pair.dst + half - mem_page(), pair.src, 2 * mem_page());
	note_frames(pair.src);
	CHECK_ERRNO(uffd_move(pair.fd, pair.dst, pair.src, half, 0).err, 0);
	expect_frames(pair.dst, 0, PAGES / 2);
	mem_expect(pair.dst, half, SEED, "registered half");
	close(pair.fd);
}

static void source_in_two_mappings(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	size_t half = pair.len / 2;

	CHECK_SYS(madvise(pair.src + half, half, MADV_DONTFORK));
	refused(&pair, pair.dst, pair.src, pair.len);
	CHECK_SYS(madvise(pair.src + half, half, MADV_DOFORK));
	moves(&pair);
	close(pair.fd);
}

static void destination_in_two_mappings(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	size_t half = pair.len / 2;

	CHECK_SYS(madvise(pair.dst + half, half, MADV_DONTFORK));
	refused(&pair, pair.dst, pair.src, pair.len);
	CHECK_SYS(madvise(pair.dst + half, half, MADV_DOFORK));
	moves(&pair);
	close(pair.fd);
}

/* Both ranges in one registered mapping of three times their size; the source is the middle. */
static struct uffd_pair in_the_middle(char **area)
{
	struct uffd_pair pair = { .len = PAGES * mem_page() };

	pair.fd = uffd_open(0);
	*area = mem_map(3 * pair.len, 0);
	mem_no_huge(*area, 3 * pair.len);
	pair.src = *area + pair.len;
	mem_fill(pair.src, pair.len, SEED);
	uffd_register(pair.fd, *area, 3 * pair.len);
	return pair;
}

static void same_mapping_upwards(void)
{
	char *area;
	struct uffd_pair pair = in_the_middle(&area);

	pair.dst = area + 2 * pair.len;
	moves(&pair);
	close(pair.fd);
}

static void same_mapping_downwards(void)
{
	char *area;
	struct uffd_pair pair = in_the_middle(&area);

	pair.dst = area;
	moves(&pair);
	close(pair.fd);
}

static void onto_itself(void)
{
	char *area;
	struct uffd_pair pair = in_the_middle(&area);
	struct uffd_result result;

	note_frames(pair.src);
	result = uffd_move(pair.fd, pair.src, pair.src, pair.len, 0);
	CHECK(result.err == EEXIST || result.err == EINVAL, "got %s, expected EEXIST or EINVAL",
	      ktap_errno(result.err));
	expect_frames(pair.src, 0, PAGES);
	mem_expect(pair.src, pair.len, SEED, "source");
	close(pair.fd);
}

/*
 * Ranges that overlap.  Nothing is promised but that no page is lost or there twice: a page that is
 * in the way stops the call.
 */
static void overlap(long shift)
{
	char *area;
	struct uffd_pair pair = in_the_middle(&area);
	size_t found = 0;

	note_frames(pair.src);
	(void)uffd_move(pair.fd, pair.src + shift * (long)mem_page(), pair.src, pair.len, 0);
	for (size_t i = 0; i < PAGES; i++) {
		char *here = pair.src + i * mem_page(), *there = here + shift * (long)mem_page();
		int stayed = mem_frame(here) == frames[i], went = mem_frame(there) == frames[i];

		CHECK(stayed + went == 1, "page %zu: got it %d times, expected once", i,
		      stayed + went);
		found += mem_frame(went ? there : here) == frames[i];
	}
	CHECK_EQ(found, PAGES);
	CHECK_EQ(mem_present_pages(area, 3 * pair.len), PAGES);
	rss_check("overlap", getpid());
	close(pair.fd);
}

static void overlap_upwards(void)
{
	overlap(1);
}

static void overlap_downwards(void)
{
	overlap(-3);
}

static void there_and_back(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED), back;
	struct uffd_result result;
	struct rss before, after;

	back = (struct uffd_pair){ pair.fd, pair.dst, pair.src, pair.len };
	uffd_register(pair.fd, pair.src, pair.len);
	note_frames(pair.src);
	before = rss_ledger("there-and-back-before-move", getpid());
	result = uffd_try_all(&pair);
	if (!result.err)
		result = uffd_try_all(&back);
	after = rss_ledger("there-and-back-after-move", getpid());
	uffd_moved_all(&back, result);
	expect_frames(pair.src, 0, PAGES);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	mem_expect(pair.src, pair.len, SEED, "source");
	rss_conserved(&before, &after);
	close(pair.fd);
}

/* One page a call and last page first: the whole is the same as one call's. */
static void page_by_page_backwards(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	note_frames(pair.src);
	for (size_t i = PAGES; i-- > 0;)
		CHECK_ERRNO(uffd_move(pair.fd, pair.dst + i * mem_page(),
				      pair.src + i * mem_page(), mem_page(), 0)
				    .err,
			    0);
	expect_frames(pair.dst, 0, PAGES);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	CHECK_EQ(mem_present_pages(pair.src, pair.len), 0);
	rss_check("page-by-page", getpid());
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "destination-alone", destination_alone },
	{ "both-with-this", both_with_this },
	{ "source-with-another", source_with_another },
	{ "for-write-protection-alone", for_write_protection_alone },
	{ "for-both-modes", for_both_modes },
	{ "unregistered-again", unregistered_again },
	{ "registered-in-part", registered_in_part },
	{ "source-in-two-mappings", source_in_two_mappings },
	{ "destination-in-two-mappings", destination_in_two_mappings },
	{ "same-mapping-upwards", same_mapping_upwards },
	{ "same-mapping-downwards", same_mapping_downwards },
	{ "onto-itself", onto_itself },
	{ "overlap-upwards", overlap_upwards },
	{ "overlap-downwards", overlap_downwards },
	{ "there-and-back", there_and_back },
	{ "page-by-page-backwards", page_by_page_backwards },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
