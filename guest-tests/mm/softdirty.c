// SPDX-License-Identifier: GPL-2.0-only
/*
 * softdirty base|swap|huge
 *
 * Soft-dirty tracking of ordinary memory: who clears the bits and looks at pagemap later sees every page that
 * was written to, moved or mapped anew since then, and no other, through mremap(), splits and merges of the
 * mapping, fork() and swap.
 *
 * Sources: Documentation/admin-guide/mm/soft-dirty.rst (new mappings are soft-dirty; a write sets the bit);
 * v6.12: move_soft_dirty_pte() in mm/mremap.c and move_soft_dirty_pmd() in mm/huge_memory.c ("so we can
 * notice in userspace the ptes were moved"), copy_nonpresent_pte() and do_swap_page() in mm/memory.c,
 * __split_huge_pmd_locked() in mm/huge_memory.c, clear_refs_write() and pagemap_pmd_range() in
 * fs/proc/task_mmu.c.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "kind.h"
#include "ktap.h"
#include "maps.h"
#include "mem.h"
#include "split.h"
#include "track.h"

#define SEED 211

static char *area;
static size_t len;

static size_t pages(void)
{
	return len / mem_page();
}

static size_t dirty(const char *start, size_t bytes)
{
	return track_pages(start, bytes, TRACK_SOFT_DIRTY);
}

/*
 * What nobody wrote to is clean; but a huge page that is taken apart may say more than is true, since its
 * parts are made dirty if it was, which sets the other bit, too (__split_huge_pmd_locked(): "this may set
 * soft-dirty too on some archs").
 */
static void expect_clean(const char *start, size_t bytes)
{
	if (kind() != KIND_HUGE)
		CHECK_EQ(dirty(start, bytes), 0);
}

/* Memory of the kind, in memory still, that is clean. */
static void begin(void)
{
	len = kind_len();
	area = kind_pages(SEED).src;
	track_clear_soft_dirty();
	CHECK_EQ(dirty(area, len), 0);
}

static char *moved(char *from, size_t bytes, int more)
{
	char *to = mem_map(bytes, kind() == KIND_HUGE ? mem_huge() : 0);

	CHECK(mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | more, to) == to, "mremap: %m");
	return to;
}

static void written_body(void *unused)
{
	(void)unused;
	begin();
	kind_settle(area, len);
	mem_expect(area, len, SEED, "what is only read");
	/* A reading is no change, and neither is being swapped out and in. */
	CHECK_EQ(dirty(area, len), 0);
	area[len - 1] = 1;
	/* A huge page has one bit. */
	CHECK_EQ(dirty(area, len), kind() == KIND_HUGE ? pages() : 1);
	mem_fill(area, len, SEED + 1);
	kind_settle(area, len);
	CHECK_EQ(dirty(area, len), pages());
	mem_expect(area, len, SEED + 1, "what was written");
	CHECK_EQ(dirty(area, len), pages());
}
IN_CHILD(written)

static void move_all_body(void *unused)
{
	char *to;

	(void)unused;
	begin();
	kind_settle(area, len);
	to = moved(area, len, 0);
	CHECK_EQ(dirty(to, len), pages());
	mem_expect(to, len, SEED, "what was moved");
	CHECK_EQ(dirty(to, len), pages());
	track_clear_soft_dirty();
	CHECK_EQ(dirty(to, len), 0);
	mem_fill(to, len, SEED + 1);
	CHECK_EQ(dirty(to, len), pages());
}
IN_CHILD(move_all)

static void moved_in_part_body(void *unused)
{
	size_t half;
	char *to;

	(void)unused;
	begin();
	kind_settle(area, len);
	half = len / 2;
	to = mem_map(half, 0);
	CHECK(mremap(area + half, half, half, MREMAP_MAYMOVE | MREMAP_FIXED | 4 /* DONTUNMAP */, to) == to,
	      "mremap: %m");
	CHECK_EQ(dirty(to, half), pages() / 2);
	/* The half that stayed was not touched. */
	expect_clean(area, half);
	mem_expect(area, half, SEED, "the half that stayed");
	expect_clean(area, half);
	area[half] = 1;
	CHECK(dirty(area + half, half) >= 1, "a write where it moved from is not seen");
}
IN_CHILD(moved_in_part)

/* A huge page that is split takes its one bit to each of its parts, set or not. */
static void split_body(void *unused)
{
	size_t half;

	(void)unused;
	begin();
	half = len / 2;
	kind_settle(area, len);
	CHECK_SYS(mprotect(area + half, half, PROT_READ));
	CHECK_EQ(maps_count(area, len), 2);
	expect_clean(area, len);
	CHECK_SYS(mprotect(area + half, half, PROT_READ | PROT_WRITE));
	CHECK_EQ(maps_count(area, len), 1);
	expect_clean(area, len);
	mem_expect(area, len, SEED, "what was split");
	expect_clean(area, len);
	mem_fill(area, len, SEED + 1);
	CHECK_EQ(dirty(area, len), pages());
	kind_settle(area, len);
	CHECK_SYS(madvise(area, half, MADV_DONTFORK));
	CHECK_EQ(dirty(area, len), pages());
	CHECK_SYS(madvise(area, half, MADV_DOFORK));
	CHECK_EQ(dirty(area, len), pages());
	track_clear_soft_dirty();
	CHECK_EQ(dirty(area, len), 0);
	area[half] = 1;
	CHECK(dirty(area, len) >= 1, "a write to the split page is not seen");
}
IN_CHILD(split)

/* Pages of zeros of a huge page that is taken apart become the zero page, and stay dirty. */
static void zeros_split_body(void *unused)
{
	(void)unused;
	begin();
	memset(area, 0, len);
	CHECK_EQ(dirty(area, len), pages());
	if (split_huge(area, len))
		maps_skip("no /sys/kernel/debug/split_huge_pages");
	CHECK_EQ(mem_huge_bytes(area, len), 0);
	CHECK_EQ(dirty(area, len), pages());
	track_clear_soft_dirty();
	CHECK_EQ(dirty(area, len), 0);
	area[0] = 1;
	CHECK_EQ(dirty(area, len), 1);
}
IN_CHILD(zeros_split)

static void heir(void *unused)
{
	size_t half = len / 2;

	(void)unused;
	/* The same bits as the parent: half of it. */
	CHECK_EQ(dirty(area, half), 0);
	CHECK_EQ(dirty(area + half, half), pages() / 2);
	mem_expect(area, half, SEED, "what is shared");
	CHECK_EQ(dirty(area, half), 0);
	area[0] = 9;
	CHECK_EQ(dirty(area, half), 1);
}

static void forked_body(void *unused)
{
	size_t half;

	(void)unused;
	begin();
	half = len / 2;
	/* Two pages of the kind, of which one is written to, are what there is of base pages only. */
	mem_fill(area + half, half, SEED + 1);
	kind_settle(area, len);
	CHECK_EQ(dirty(area, len), pages() / 2);
	child_reap(child_start(heir, NULL));
	CHECK_EQ(dirty(area, half), 0);
	CHECK_EQ(dirty(area + half, half), pages() / 2);
	/* The last one to have a page writes to it in place. */
	area[0] = 8;
	CHECK_EQ(dirty(area, half), 1);
}
IN_CHILD(forked)

static char *map_fixed(char *at, size_t bytes, int prot)
{
	char *got = mmap(at, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
			 -1, 0);

	CHECK(got == at, "mmap: %m");
	return got;
}

/* What is mapped anew is soft-dirty, touched or not. */
static void mapped_anew_body(void *unused)
{
	size_t half;

	(void)unused;
	begin();
	half = len / 2;
	map_fixed(area + half, half, PROT_READ);
	CHECK_EQ(dirty(area + half, half), pages() / 2);
	CHECK_EQ(dirty(area, half), 0);
}
IN_CHILD(mapped_anew)

/* And stays so when the new mapping becomes one with an older one: its old pages are gone all the same. */
static void merged_anew_body(void *unused)
{
	size_t half;

	(void)unused;
	begin();
	half = len / 2;
	/* The older one is what changes, and the new one is its neighbour. */
	CHECK_SYS(mprotect(area, half, PROT_READ));
	map_fixed(area + half, half, PROT_READ | PROT_WRITE);
	mem_no_huge(area + half, half);
	/* Touched, it shares its neighbour's anon_vma, without which they would not merge. */
	area[len - 1] = 1;
	CHECK_EQ(dirty(area + half, half), pages() / 2);
	CHECK_SYS(mprotect(area, half, PROT_READ | PROT_WRITE));
	CHECK_EQ(maps_count(area, len), 1);
	CHECK(dirty(area + half, half) == pages() / 2,
	      "merged with an older mapping: %zu of %zu pages that were mapped anew are soft-dirty",
	      dirty(area + half, half), pages() / 2);
}
IN_CHILD(merged_anew)

static const struct ktap_case huge_cases[] = {
	{ "huge-written", written },
	{ "huge-moved", move_all },
	{ "huge-moved-in-part", moved_in_part },
	{ "huge-split", split },
	{ "zeros-split", zeros_split },
};

static const struct ktap_case cases[] = {
	{ "written", written },
	{ "moved", move_all },
	{ "moved-in-part", moved_in_part },
	{ "split", split },
	{ "forked", forked },
	{ "mapped-anew", mapped_anew },
	{ "merged-anew", merged_anew },
};

int main(int argc, char **argv)
{
	const char *why;

	kind_parse(argc, argv);
	why = kind_why_no_pages();
	if (!why)
		why = track_why_no_soft_dirty();
	if (kind() == KIND_HUGE)
		return ktap_run(huge_cases, KTAP_COUNT(huge_cases), why);
	/* The last two are about new mappings, which hold nothing. */
	return ktap_run(cases, KTAP_COUNT(cases) - (kind() == KIND_SWAP ? 2 : 0), why);
}
