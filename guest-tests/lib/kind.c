// SPDX-License-Identifier: GPL-2.0-only
/* See kind.h. */
#define _GNU_SOURCE
#include "kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frames.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"

#define BASE_PAGES 16

static enum kind chosen;
static long fallbacks; /* thp_fault_fallback when the pages were made */

void kind_parse(int argc, char **argv)
{
	static const char *const names[] = { "base", "swap", "huge" };

	if (argc < 2)
		return;
	for (size_t i = 0; i < KTAP_COUNT(names); i++) {
		if (argc == 2 && !strcmp(argv[1], names[i])) {
			chosen = (enum kind)i;
			return;
		}
	}
	fprintf(stderr, "%s: expected base, swap or huge\n", argv[0]);
	exit(2);
}

enum kind kind(void)
{
	return chosen;
}

const char *kind_why_no_pages(void)
{
	if (chosen == KIND_SWAP)
		return mem_why_no_swap();
	return chosen == KIND_HUGE ? mem_why_no_huge() : NULL;
}

const char *kind_why_not(void)
{
	return uffd_why_not() ? uffd_why_not() : kind_why_no_pages();
}

size_t kind_len(void)
{
	return chosen == KIND_HUGE ? mem_huge() : BASE_PAGES * mem_page();
}

struct uffd_pair kind_pages(unsigned int seed)
{
	struct uffd_pair pair = { .fd = -1, .len = kind_len() };

	if (chosen == KIND_HUGE) {
		pair.src = mem_map_huge(1, seed);
		pair.dst = mem_map(pair.len, pair.len);
		/*
		 * Where huge pages are not allowed a missing fault leaves a page table behind, and
		 * then a huge page has to be split to move there (do_anonymous_page(), v6.12).
		 */
		CHECK_SYS(madvise(pair.dst, pair.len, MADV_HUGEPAGE));
		fallbacks = sys_vmstat("thp_fault_fallback");
		return pair;
	}
	pair.src = mem_map(pair.len, 0);
	pair.dst = mem_map(pair.len, 0);
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len);
	mem_fill(pair.src, pair.len, seed);
	return pair;
}

struct uffd_pair kind_pair(uint64_t features, uint64_t mode, unsigned int seed)
{
	struct uffd_pair pair;
	int fd = uffd_open_with(features);

	pair = kind_pages(seed);
	pair.fd = fd;
	uffd_register_mode(pair.fd, pair.dst, pair.len, mode);
	return pair;
}

void kind_settle(char *start, size_t len)
{
	if (chosen == KIND_SWAP)
		mem_swap_out(start, len);
}

struct uffd_pair kind_settled(size_t pages, unsigned int seed)
{
	struct uffd_pair pair = chosen == KIND_HUGE ? uffd_pair_huge(seed) : uffd_pair(pages, seed);

	kind_settle(pair.src, pair.len);
	return pair;
}

int kind_stays_huge(void)
{
	return chosen == KIND_HUGE && sys_vmstat("thp_fault_fallback") == fallbacks;
}

void kind_move(const struct uffd_pair *pair, const char *before_move, const char *after_move)
{
	long migrated = frames_migrated();
	size_t pages = pair->len / mem_page();
	uint64_t *frames = malloc(pages * sizeof(*frames));
	struct uffd_result result;
	struct rss before, after;

	CHECK(frames, "malloc: %m");
	for (size_t i = 0; i < pages; i++)
		frames[i] = mem_frame(pair->src + i * mem_page());
	before = rss_ledger(before_move, getpid());
	result = uffd_try_all(pair);
	after = rss_ledger(after_move, getpid());
	uffd_moved_all(pair, result);
	for (size_t i = 0; i < pages; i++) {
		uint64_t source = mem_frame(pair->src + i * mem_page());

		CHECK(!source, "source page %zu: got entry %s, expected none", i,
		      mem_entry_text(source));
		frames_expect(pair->dst + i * mem_page(), frames[i], migrated, "destination", i);
	}
	if (kind_stays_huge())
		CHECK_EQ(mem_huge_bytes(pair->dst, pair->len), pair->len);
	rss_agree(before_move, &before);
	rss_agree(after_move, &after);
	rss_conserved(&before, &after);
	free(frames);
}
