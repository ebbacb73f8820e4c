// SPDX-License-Identifier: GPL-2.0-only
/*
 * Write protection by userfaultfd: a move drops the protection that a page had at its source, and
 * at a destination that is registered for it, protection set after the move sees every write.
 *
 * Source: Documentation/admin-guide/mm/userfaultfd.rst, "Write Protect Notifications"; move_pages()
 * in mm/userfaultfd.c of v6.12 makes a new entry at the destination.  That a page which leaves a
 * range leaves its protection there is what mremap() does too (clear_uffd_wp_pmd() and
 * move_ptes() in mm/mremap.c); an entry that stayed protected without a range that says so is
 * refused by page_table_check_pte_flags() in mm/page_table_check.c.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "track.h"
#include "trap.h"
#include "uffd.h"

#define SEED 61
#define BOTH_MODES (UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP)

/* A source that is write-protected as a whole, with a destination registered for modes. */
static struct uffd_pair protected_pair(uint64_t modes)
{
	struct uffd_pair pair = kind_pair(UFFD_FEATURE_SIGBUS, modes, SEED);

	uffd_register_mode(pair.fd, pair.src, pair.len, UFFDIO_REGISTER_MODE_WP);
	uffd_protect(pair.fd, pair.src, pair.len, 1);
	kind_settle(pair.src, pair.len);
	CHECK_EQ(track_pages(pair.src, pair.len, TRACK_WP), pair.len / mem_page());
	return pair;
}

/* Writes go through, wherever nobody asked for them to be reported. */
static void expect_writable(const struct uffd_pair *pair)
{
	for (size_t at = 0; at < pair->len; at += mem_page()) {
		int number = trap_write(pair->dst + at, 1);

		CHECK(!number, "page %zu: a write raises signal %d (%s), and nobody protected the page",
		      at / mem_page(), number, number == SIGBUS ? "SIGBUS" : "SIGSEGV");
	}
}

/* Protected at its source, the page comes unprotected to a place where it could be. */
static void source_bit_dropped(void)
{
	struct uffd_pair pair = protected_pair(BOTH_MODES);

	kind_move(&pair, "source-bit-before-move", "source-bit-after-move");
	ktap_diag("protected after the move: %zu of %zu pages",
		  track_pages(pair.dst, pair.len, TRACK_WP), pair.len / mem_page());
	mem_expect(pair.dst, pair.len, SEED, "destination");
	expect_writable(&pair);
	close(pair.fd);
}

/*
 * The same where nothing can be protected.  Written to before the entries are judged: an entry both
 * writable and protected is what the kernel's own check of page tables looks for.
 */
static void destination_not_registered_for_it(void)
{
	struct uffd_pair pair = protected_pair(UFFDIO_REGISTER_MODE_MISSING);
	size_t still;

	kind_move(&pair, "no-wp-before-move", "no-wp-after-move");
	still = track_pages(pair.dst, pair.len, TRACK_WP);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	expect_writable(&pair);
	rss_check("destination-not-registered", getpid());
	CHECK(!still, "protected after the move: got %zu pages, expected 0", still);
	close(pair.fd);
}

/* Protected after the move: the first write is reported, and changes nothing. */
static void destination_protects(void)
{
	struct uffd_pair pair = kind_pair(UFFD_FEATURE_SIGBUS, BOTH_MODES, SEED);
	char *page = pair.dst + pair.len - mem_page();

	kind_settle(pair.src, pair.len);
	kind_move(&pair, "protects-before-move", "protects-after-move");
	uffd_protect(pair.fd, pair.dst, pair.len, 1);
	CHECK_EQ(track_pages(pair.dst, pair.len, TRACK_WP), pair.len / mem_page());
	CHECK_EQ(trap_write(page, 1), SIGBUS);
	mem_expect(pair.dst, pair.len, SEED, "destination after a refused write");
	CHECK_EQ(trap_write(page, 1), SIGBUS);
	uffd_protect(pair.fd, pair.dst, pair.len, 0);
	CHECK_EQ(trap_write(page, 1), 0);
	CHECK_EQ(*(volatile char *)page, 1);
	close(pair.fd);
}

/* The pages went, the source's registration did not: new pages there can be protected. */
static void source_still_registered(void)
{
	struct uffd_pair pair = protected_pair(UFFDIO_REGISTER_MODE_MISSING);

	kind_move(&pair, "still-registered-before-move", "still-registered-after-move");
	CHECK_EQ(trap_write(pair.src, 1), 0);
	uffd_protect(pair.fd, pair.src, mem_page(), 1);
	CHECK_EQ(trap_write(pair.src, 2), SIGBUS);
	CHECK_EQ(*(volatile char *)pair.src, 1);
	close(pair.fd);
}

/*
 * Asynchronous protection, as collectors of dirty pages use it: a page that was moved to counts as
 * written until it is protected again, and then the first write shows.  Since v6.7, the release
 * before the first with a move ioctl.
 */
static int no_asynchronous_mode(void)
{
	return uffd_shape() == UFFD_V2 && !(uffd_features() & UFFD_FEATURE_WP_ASYNC);
}

static void asynchronous(void)
{
	struct uffd_pair pair;
	char *page;

	if (no_asynchronous_mode())
		return destination_protects();
	pair = kind_pair(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_WP_ASYNC, BOTH_MODES, SEED);
	kind_settle(pair.src, pair.len);
	kind_move(&pair, "asynchronous-before-move", "asynchronous-after-move");
	CHECK_EQ(track_scan_written(pair.dst, pair.len, 1), pair.len / mem_page());
	CHECK_EQ(track_scan_written(pair.dst, pair.len, 0), 0);
	page = pair.dst + pair.len - mem_page();
	CHECK_EQ(trap_write(page, 1), 0);
	/* A huge page is split by that write, a base page is just one. */
	CHECK_EQ(track_scan_written(page, mem_page(), 0), 1);
	CHECK_EQ(*(volatile char *)page, 1);
	rss_check("asynchronous", getpid());
	close(pair.fd);
}

/* What another userfaultfd protected is new to the collector at the destination all the same. */
static void moved_counts_as_written(void)
{
	struct uffd_pair pair;
	int other;

	if (no_asynchronous_mode())
		return source_bit_dropped();
	other = uffd_open(0);
	pair = kind_pair(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_WP_ASYNC, BOTH_MODES, SEED);
	uffd_register_mode(other, pair.src, pair.len, UFFDIO_REGISTER_MODE_WP);
	uffd_protect(other, pair.src, pair.len, 1);
	kind_settle(pair.src, pair.len);
	kind_move(&pair, "counts-before-move", "counts-after-move");
	CHECK_EQ(track_scan_written(pair.dst, pair.len, 0), pair.len / mem_page());
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(other);
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "source-bit-dropped", source_bit_dropped },
	{ "destination-not-registered-for-it", destination_not_registered_for_it },
	{ "destination-protects", destination_protects },
	{ "source-still-registered", source_still_registered },
	{ "asynchronous", asynchronous },
	{ "moved-counts-as-written", moved_counts_as_written },
};

int main(int argc, char **argv)
{
	kind_parse(argc, argv);
	return ktap_run(cases, KTAP_COUNT(cases), kind_why_not());
}
