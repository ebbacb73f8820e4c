// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is said of a page besides its bytes, and that a move leaves as it was: clean or written to,
 * freed lazily, with which flags.  (In which frame is what moved_all() looks at.)
 *
 * Source: move_present_pte() in mm/userfaultfd.c of v6.12.117 carries the dirty bit over and sets
 * none, since "mm: userfaultfd: correct dirty flags set for both present and swap pte" of May 2025.
 * Before it, and in UFFDIO_REMAP of 2023, every entry was dirty after its move: this finds it there.
 * madvise(2), MADV_FREE; smaps_account() in fs/proc/task_mmu.c and try_to_unmap_one() in mm/rmap.c,
 * which say what a page that was freed lazily is: not backed by swap, and clean.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "moved.h"
#include "procfile.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 32
#define SEED 91
#define TRIES 50 /* of reclaim, which may find a page busy */

/* Of include/uapi/linux/kernel-page-flags.h: what a move has no business with. */
#define KPF_UPTODATE ((uint64_t)1 << 3)
#define KPF_MMAP ((uint64_t)1 << 11)
#define KPF_ANON ((uint64_t)1 << 12)
#define KPF_SWAPBACKED ((uint64_t)1 << 14)
#define KEPT                                                                                      \
	(KPF_UPTODATE | KPF_MMAP | KPF_ANON | KPF_SWAPBACKED | MEM_FLAG_UNEVICTABLE | MEM_FLAG_MLOCKED)

/* A line of /proc/self/smaps over the mappings that overlap a range, in pages. */
static long smaps_pages(const void *start, size_t len, const char *name)
{
	/* No stdio: its buffers come and go, and so would pages that are counted. */
	static char text[64 * 1024];
	uintptr_t from = (uintptr_t)start, to = from + len, low, high;
	size_t length = strlen(name);
	long sum = 0;
	int inside = 0;

	CHECK(!proc_read("/proc/self/smaps", text, sizeof(text)),
	      "/proc/self/smaps: %m (CONFIG_PROC_PAGE_MONITOR)");
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%lx-%lx ", &low, &high) == 2)
			inside = low < to && high > from;
		else if (inside && !strncmp(line, name, length) && line[length] == ':')
			sum += proc_pages(line, name);
	}
	return sum;
}

static void expect_dirty(const char *start, size_t len, long pages)
{
	CHECK_EQ(smaps_pages(start, len, "Private_Dirty"), pages);
	CHECK_EQ(smaps_pages(start, len, "Private_Clean"), PAGES - pages);
}

/* A filled source, with the counters checked: printing that has touched what printing touches. */
static struct uffd_pair filled_pair(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	rss_check("filled", getpid());
	return pair;
}

static void clean(void)
{
	const char *why = mem_why_no_swap();
	struct uffd_pair pair;

	if (why)
		ktap_skip("%s", why);
	pair = filled_pair();
	mem_swap_out(pair.src, pair.len);
	mem_expect(pair.src, pair.len, SEED, "source read in from swap");
	if (smaps_pages(pair.src, pair.len, "Private_Clean") != PAGES)
		ktap_skip("the kernel gave the slots back, so that pages read in from swap are dirty");
	moved_all(&pair, ktap_name());
	expect_dirty(pair.dst, pair.len, 0);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(pair.fd);
}

static void written(void)
{
	struct uffd_pair pair = filled_pair();

	expect_dirty(pair.src, pair.len, PAGES);
	moved_all(&pair, ktap_name());
	expect_dirty(pair.dst, pair.len, PAGES);
	close(pair.fd);
}

/* The pages of a pair, all of them freed lazily and none dropped. */
static struct uffd_pair freed_pair(void)
{
	struct uffd_pair pair = filled_pair();

	/*
	 * A page that waits in a batch of another CPU is on no list, and passed over (folio_mark_lazyfree());
	 * the others are marked when a batch is full.  Dropping caches drains all (fs/drop_caches.c, v6.12).
	 */
	for (int attempt = 0; attempt < 50; attempt++) {
		if (attempt)
			usleep(20 * 1000);
		proc_write("/proc/sys/vm/drop_caches", "1");
		CHECK_SYS(madvise(pair.src, pair.len, MADV_FREE));
		proc_write("/proc/sys/vm/drop_caches", "1");
		if (smaps_pages(pair.src, pair.len, "LazyFree") == PAGES)
			break;
	}
	CHECK_EQ(smaps_pages(pair.src, pair.len, "LazyFree"), PAGES);
	return pair;
}

static void freed_lazily(void)
{
	struct uffd_pair pair = freed_pair();

	moved_all(&pair, ktap_name());
	CHECK_EQ(smaps_pages(pair.dst, pair.len, "LazyFree"), PAGES);
	CHECK_EQ(mem_pages_with_any(pair.dst, pair.len, KPF_SWAPBACKED), 0);
	close(pair.fd);
}

/* What is taken is dropped and never written to swap, and reads as zeros. */
static void freed_lazily_is_dropped(void)
{
	struct uffd_pair pair = freed_pair();

	moved_all(&pair, ktap_name());
	for (int tries = 0; mem_present_pages(pair.dst, pair.len) && tries < TRIES; tries++)
		CHECK_SYS(madvise(pair.dst, pair.len, MADV_PAGEOUT));
	CHECK_EQ(mem_swapped_pages(pair.dst, pair.len), 0);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	rss_check("dropped", getpid());
	uffd_unregister(pair.fd, pair.dst, pair.len);
	for (size_t at = 0; at < pair.len; at += mem_page())
		CHECK_EQ(pair.dst[at], 0);
	close(pair.fd);
}

/* Written to again after it was freed lazily, it is kept: before the move, and behind it. */
static void freed_lazily_and_written(void)
{
	struct uffd_pair pair = freed_pair();
	size_t half = pair.len / 2;

	mem_fill(pair.src, half, SEED + 1);
	moved_all(&pair, ktap_name());
	mem_fill(pair.dst + half, half, SEED + 2);
	for (int tries = 0; mem_present_pages(pair.dst, pair.len) && tries < TRIES; tries++)
		CHECK_SYS(madvise(pair.dst, pair.len, MADV_PAGEOUT));
	mem_expect(pair.dst, half, SEED + 1, "written before the move");
	mem_expect(pair.dst + half, half, SEED + 2, "written behind the move");
	close(pair.fd);
}

static void flags_kept(void)
{
	struct uffd_pair pair = filled_pair();
	uint64_t before[PAGES], after[PAGES];

	mem_flags(pair.src, PAGES, before);
	moved_all(&pair, ktap_name());
	mem_flags(pair.dst, PAGES, after);
	for (size_t page = 0; page < PAGES; page++)
		CHECK((after[page] & KEPT) == (before[page] & KEPT),
		      "page %zu: flags of its frame: got %#llx, expected %#llx", page,
		      (unsigned long long)(after[page] & KEPT),
		      (unsigned long long)(before[page] & KEPT));
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "clean", clean },
	{ "written", written },
	{ "freed-lazily", freed_lazily },
	{ "freed-lazily-is-dropped", freed_lazily_is_dropped },
	{ "freed-lazily-and-written", freed_lazily_and_written },
	{ "flags", flags_kept },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
