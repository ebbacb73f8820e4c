// SPDX-License-Identifier: GPL-2.0-only
/*
 * Folios between a base page and a huge page, of three of the sizes that the kernel offers: they
 * are mapped by base pages, and a move takes pages and not folios.  Each folio is split before the
 * first of its pages moves, whether all of it moves or a part; frames and bytes stay what they are.
 *
 * Source: split_folio() in move_pages_pte() in mm/userfaultfd.c of v6.12;
 * /sys/kernel/mm/transparent_hugepage/hugepages-*kB, Documentation/admin-guide/mm/transhuge.rst.
 *
 * The kernel's setting for a size is "never" unless somebody chose otherwise: it is set to
 * "madvise" for the time being.  transparent_hugepage=never is respected.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "knob.h"
#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "rss.h"
#include "uffd.h"

#define SEED 151
#define OTHER 152
#define SIZES "/sys/kernel/mm/transparent_hugepage"
#define SIZES_MAX 16

static size_t sizes[SIZES_MAX], size_count;

/* The sizes, from the smallest; the biggest is the huge page, and is thp.c's. */
static const char *find_sizes(void)
{
	DIR *folder = opendir(SIZES);
	struct dirent *entry;
	char path[320];
	size_t kib, i;

	while (folder && size_count < SIZES_MAX && (entry = readdir(folder))) {
		if (sscanf(entry->d_name, "hugepages-%zukB", &kib) != 1 ||
		    kib * 1024 >= mem_huge())
			continue;
		/* A size that only shmem has lacks this file. */
		snprintf(path, sizeof(path), SIZES "/%s/enabled", entry->d_name);
		if (access(path, F_OK))
			continue;
		for (i = size_count++; i && sizes[i - 1] > kib * 1024; i--)
			sizes[i] = sizes[i - 1];
		sizes[i] = kib * 1024;
	}
	if (folder)
		closedir(folder);
	return size_count ? NULL : "no sizes but the huge page's (" SIZES "/hugepages-*kB)";
}

static void allow(size_t size, const char *what)
{
	char path[96];

	snprintf(path, sizeof(path), SIZES "/hugepages-%zukB/enabled", size / 1024);
	CHECK(!knob_set(path, what), "%s: %m", path);
}

/* Whether each page of a range belongs to a large folio, and the folios are of that size. */
static int is_made_of(const char *start, size_t len, size_t size)
{
	for (size_t at = 0; at < len; at += mem_page()) {
		uint64_t flags = mem_page_flags(start + at);

		if (!(flags & (at % size ? MEM_FLAG_COMPOUND_TAIL : MEM_FLAG_COMPOUND_HEAD)))
			return 0;
	}
	return 1;
}

/* A pair whose source is some folios of one size; skips where that cannot be had. */
static struct uffd_pair folios(size_t size, size_t count)
{
	struct uffd_pair pair = { .len = size * count };

	/* Else a range that has room for a huge page gets one. */
	allow(mem_huge(), "never");
	for (int attempt = 0; attempt < 6; attempt++) {
		if (attempt)
			mem_compact();
		allow(size, "madvise");
		pair.src = mem_map(pair.len, mem_huge());
		CHECK_SYS(madvise(pair.src, pair.len, MADV_HUGEPAGE));
		mem_fill(pair.src, pair.len, SEED);
		allow(size, "never");
		if (is_made_of(pair.src, pair.len, size)) {
			pair.fd = uffd_open(0);
			pair.dst = mem_map(pair.len, mem_huge());
			mem_no_huge(pair.dst, pair.len);
			uffd_register(pair.fd, pair.dst, pair.len);
			return pair;
		}
		CHECK_SYS(munmap(pair.src, pair.len));
	}
	ktap_skip("no folios of %zu KiB could be allocated", size / 1024);
}

/* A shape that may refuse what has to be split; then nothing is lost, and that is all. */
static int refused(const struct uffd_pair *pair)
{
	return uffd_shape() == UFFD_V2 && uffd_try_all(pair).err;
}

static void step_name(char *step, size_t room, const char *what, size_t size)
{
	snprintf(step, room, "%s-%zuk", what, size / 1024);
}

/* The smallest, the biggest, and the one in the middle. */
static void each_size(void (*body)(size_t size))
{
	body(sizes[0]);
	if (size_count > 2)
		body(sizes[size_count / 2]);
	if (size_count > 1)
		body(sizes[size_count - 1]);
}

static void whole(size_t size)
{
	struct uffd_pair pair = folios(size, 2);
	char step[64];

	step_name(step, sizeof(step), "whole", size);
	if (!refused(&pair)) {
		if (uffd_shape() == UFFD_MAIN)
			moved_all(&pair, step);
		CHECK_EQ(mem_pages_with_any(pair.dst, pair.len, MEM_FLAG_LARGE), 0);
		mem_expect(pair.dst, pair.len, SEED, "destination");
	}
	moved_drop(&pair);
}

/* A page in the middle of the first folio: that one is split, the second one stays as it is. */
static void one_page(size_t size)
{
	struct uffd_pair pair = folios(size, 2), part = moved_slice(&pair, mem_page(), mem_page());
	char step[64];

	step_name(step, sizeof(step), "one-page", size);
	if (uffd_shape() == UFFD_MAIN) {
		moved_all(&part, step);
		moved_holds(part.dst, part.len, SEED, mem_page(), "destination");
		moved_holds(pair.src, mem_page(), SEED, 0, "page before it");
		moved_holds(part.src + mem_page(), pair.len - 2 * mem_page(), SEED, 2 * mem_page(),
			    "pages behind it");
		CHECK_EQ(mem_pages_with_any(pair.src, size, MEM_FLAG_LARGE), 0);
		CHECK(is_made_of(pair.src + size, size, size), "the other folio was split, too");
	}
	moved_drop(&pair);
}

/* From the middle of one into the next, to where the alignment is another. */
static void across_folios(size_t size)
{
	struct uffd_pair pair = folios(size, 3), part = moved_slice(&pair, size / 2, 2 * size);
	char step[64];

	part.dst = pair.dst + mem_page();
	step_name(step, sizeof(step), "across", size);
	if (uffd_shape() == UFFD_MAIN) {
		moved_all(&part, step);
		moved_holds(part.dst, part.len, SEED, size / 2, "destination");
		moved_holds(pair.src, size / 2, SEED, 0, "what is before");
		moved_holds(part.src + part.len, size / 2, SEED, size / 2 + part.len,
			    "what is behind");
	}
	moved_drop(&pair);
}

/* A page of it was dropped: up to there, and over it. */
static void page_missing(size_t size)
{
	struct uffd_pair pair = folios(size, 2), rest;
	size_t hole = size / 2;
	char step[64];

	CHECK_SYS(madvise(pair.src + hole, mem_page(), MADV_DONTNEED));
	if (uffd_shape() == UFFD_MAIN) {
		step_name(step, sizeof(step), "up-to-hole", size);
		moved_expect(&pair, step, 0, hole, EAGAIN);
		rest = moved_rest(&pair, hole);
		step_name(step, sizeof(step), "hole", size);
		moved_nothing(&rest, step, ENOENT);
		step_name(step, sizeof(step), "over-hole", size);
		moved_expect(&rest, step, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, rest.len, 0);
		moved_holds(pair.dst, hole, SEED, 0, "what is before the hole");
		moved_holds(rest.dst + mem_page(), rest.len - mem_page(), SEED, hole + mem_page(),
			    "what is behind the hole");
	}
	moved_drop(&pair);
}

/* Shared by fork(): not ours, and not split for nothing. */
static void shared(size_t size)
{
	struct uffd_pair pair = folios(size, 2);
	pid_t child = child_sharer();
	char step[64];

	step_name(step, sizeof(step), "shared", size);
	moved_nothing(&pair, step, EBUSY);
	if (uffd_shape() == UFFD_MAIN)
		CHECK(is_made_of(pair.src, pair.len, size), "a folio was split for nothing");
	mem_fill(pair.src, pair.len, OTHER);
	step_name(step, sizeof(step), "written", size);
	moved_all(&pair, step);
	mem_expect(pair.dst, pair.len, OTHER, "destination");
	child_end(child);
	moved_drop(&pair);
}

static void whole_folio(void)
{
	each_size(whole);
}

static void page_of_folio(void)
{
	each_size(one_page);
}

static void parts_of_folios(void)
{
	each_size(across_folios);
}

static void folio_with_hole(void)
{
	each_size(page_missing);
}

static void shared_folio_busy(void)
{
	each_size(shared);
}

static const struct ktap_case cases[] = {
	{ "whole-folio", whole_folio },
	{ "page-of-folio", page_of_folio },
	{ "parts-of-folios", parts_of_folios },
	{ "folio-with-hole", folio_with_hole },
	{ "shared-folio-busy", shared_folio_busy },
};

int main(void)
{
	const char *why = uffd_why_not();

	if (!why)
		why = mem_why_no_huge();
	return ktap_run(cases, KTAP_COUNT(cases), why ? why : find_sizes());
}
