// SPDX-License-Identifier: GPL-2.0-only
/* See moved.h. */
#define _GNU_SOURCE
#include "moved.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frames.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"

/* What both sides had in each page, in a mapping of its own. */
struct look {
	uint64_t *src;
	uint64_t *dst;
	size_t bytes;
};

static struct look look_room(size_t pages)
{
	struct look look = { .bytes = 2 * pages * sizeof(uint64_t) };

	look.src = (uint64_t *)mem_map((look.bytes + mem_page() - 1) / mem_page() * mem_page(), 0);
	look.dst = look.src + pages;
	/* Touched now: faults between two readings of the ledger would be counted. */
	memset(look.src, 1, look.bytes);
	return look;
}

/* What was seen right after the call decides; only where it differs is there a second look. */
static void same(const char *what, const char *start, size_t page, uint64_t got, uint64_t expected,
		 long migrated)
{
	if (got != expected)
		frames_expect(start + page * mem_page(), expected, migrated, what, page);
}

void moved_expect(const struct uffd_pair *pair, const char *step, uint64_t mode, size_t done,
		  int err)
{
	size_t pages = pair->len / mem_page(), room;
	struct look before = look_room(pages), after = look_room(pages);
	struct uffd_result result;
	long migrated = frames_migrated();
	struct rss rss[2];
	char name[96];

	snprintf(name, sizeof(name), "%s-before-move", step);
	mem_frames(pair->src, pages, before.src);
	mem_frames(pair->dst, pages, before.dst);
	rss[0] = rss_ledger(name, getpid());
	result = uffd_move(pair->fd, pair->dst, pair->src, pair->len, mode);
	snprintf(name, sizeof(name), "%s-after-move", step);
	rss[1] = rss_ledger(name, getpid());
	mem_frames(pair->src, pages, after.src);
	mem_frames(pair->dst, pages, after.dst);

	CHECK_ERRNO(result.err, err);
	CHECK_EQ(result.moved, done ? (int64_t)done : -(int64_t)err);
	for (size_t i = 0; i < pages; i++) {
		int gone = i < done / mem_page();

		same("source", pair->src, i, after.src[i], gone ? 0 : before.src[i], migrated);
		same("destination", pair->dst, i, after.dst[i],
		     gone ? before.src[i] : before.dst[i], migrated);
	}
	rss_agree("before the move", &rss[0]);
	rss_agree("after the move", &rss[1]);
	rss_conserved(&rss[0], &rss[1]);
	room = (before.bytes + mem_page() - 1) / mem_page() * mem_page();
	CHECK_SYS(munmap(before.src, room));
	CHECK_SYS(munmap(after.src, room));
}

void moved_all(const struct uffd_pair *pair, const char *step)
{
	moved_expect(pair, step, 0, pair->len, 0);
}

void moved_nothing(const struct uffd_pair *pair, const char *step, int err)
{
	moved_expect(pair, step, 0, 0, err);
}

struct uffd_pair moved_slice(const struct uffd_pair *pair, size_t from, size_t len)
{
	return (struct uffd_pair){ pair->fd, pair->src + from, pair->dst + from, len };
}

struct uffd_pair moved_rest(const struct uffd_pair *pair, size_t done)
{
	return moved_slice(pair, done, pair->len - done);
}

struct uffd_pair moved_pair(size_t len, size_t align, int base_pages)
{
	struct uffd_pair pair = { .len = len };

	pair.fd = uffd_open(0);
	pair.src = mem_map(len, align);
	pair.dst = mem_map(len, align);
	if (base_pages) {
		mem_no_huge(pair.src, len);
		mem_no_huge(pair.dst, len);
	}
	uffd_register(pair.fd, pair.dst, len);
	return pair;
}

struct uffd_pair moved_pair_huge(unsigned int seed)
{
	struct uffd_pair pair = uffd_pair_huge(seed);

	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len);
	return pair;
}

void moved_drop(struct uffd_pair *pair)
{
	close(pair->fd);
	CHECK_SYS(munmap(pair->src, pair->len));
	CHECK_SYS(munmap(pair->dst, pair->len));
}

void moved_holds(const void *start, size_t len, unsigned int seed, size_t from, const char *what)
{
	const volatile uint64_t *words = start;
	size_t first = from / sizeof(*words), count = len / sizeof(*words), i;

	for (i = 0; i < count && words[i] == mem_pattern(first + i, seed); i++)
		;
	if (i < count)
		FAIL("%s: wrong bytes at offset %zu of %zu: got %#llx, expected %#llx", what,
		     i * sizeof(*words), len, (unsigned long long)words[i],
		     (unsigned long long)mem_pattern(first + i, seed));
}
