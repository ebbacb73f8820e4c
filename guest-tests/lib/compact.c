// SPDX-License-Identifier: GPL-2.0-only
/* See compact.h. */
#define _GNU_SOURCE
#include "compact.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "stats.h"
#include "uffd.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

const char *const compact_names[] = { "move", "copy", "mremap" };

/* A bigger run (512 MiB with 64K pages) does not fit a small guest. */
#define RUN_LIMIT ((size_t)64 << 20)

/* Nanoseconds; an HPET steps by 700 under emulation, a clock that ticks with jiffies by 10^6 on. */
#define CLOCK_COARSE 100e3

/* A call that is told to come again this often is told so forever. */
#define RETRIES 1000

size_t compact_span(void)
{
	/* A page table is one page of 8-byte entries on every 64-bit architecture here. */
	return mem_page() / sizeof(uint64_t) * mem_page();
}

void compact_need(enum compact_method method, int huge)
{
	const char *why = uffd_why_not();

	/* Copying needs a userfaultfd, and not that it can move. */
	if (method == COMPACT_MOVE && why)
		ktap_skip("%s", why);
	if (method == COMPACT_COPY && why && !uffd_ioctls())
		ktap_skip("%s", why);
	if (stats_clock()->step > CLOCK_COARSE)
		ktap_skip("the clock steps by %.0f us, too coarse for a figure",
			  stats_clock()->step / 1e3);
	if (huge && mem_why_no_huge())
		ktap_skip("%s", mem_why_no_huge());
}

static size_t src_len(const struct heap *heap)
{
	return heap->room * (heap->run + heap->gap);
}

static size_t dst_len(const struct heap *heap)
{
	return heap->room * heap->run;
}

static size_t frames_len(const struct heap *heap)
{
	size_t bytes = dst_len(heap) / mem_page() * sizeof(*heap->frames);

	return (bytes + mem_page() - 1) / mem_page() * mem_page();
}

static char *src_run(const struct heap *heap, size_t i)
{
	/* The first gap is before the first run: not even that one lies in its table as in dst. */
	return heap->src + heap->gap + i * (heap->run + heap->gap);
}

static char *dst_run(const struct heap *heap, size_t i)
{
	return heap->dst + i * heap->run;
}

static void advise(const struct heap *heap, char *start, size_t len)
{
	if (heap->huge)
		CHECK_SYS(madvise(start, len, MADV_HUGEPAGE));
	else
		mem_no_huge(start, len);
}

struct heap heap_open(enum compact_method method, int huge, size_t run, size_t room)
{
	struct heap heap = { .method = method, .huge = huge, .run = run, .room = room, .fd = -1 };

	if (run > RUN_LIMIT)
		ktap_skip("a run of %zu MiB does not fit a small guest", run >> 20);
	/* Gaps that base pages slide over, so that their offset in a page table changes. */
	heap.gap = huge ? run : (run / 4 + mem_page() - 1) / mem_page() * mem_page();
	heap.count = room;
	heap.src = mem_map(src_len(&heap), compact_span());
	heap.dst = mem_map(dst_len(&heap), compact_span());
	heap.frames = (uint64_t *)mem_map(frames_len(&heap), 0);
	advise(&heap, heap.src, src_len(&heap));
	advise(&heap, heap.dst, dst_len(&heap));
	if (method != COMPACT_REMAP) {
		heap.fd = uffd_open(0);
		uffd_register(heap.fd, heap.dst, dst_len(&heap));
	}
	return heap;
}

void heap_close(struct heap *heap)
{
	if (heap->fd >= 0)
		close(heap->fd);
	CHECK_SYS(munmap(heap->src, src_len(heap)));
	CHECK_SYS(munmap(heap->dst, dst_len(heap)));
	CHECK_SYS(munmap(heap->frames, frames_len(heap)));
}

/* The entries of pagemap from start on; one descriptor a process, since it shows its opener's. */
static void read_frames(const char *start, uint64_t *frames, size_t pages)
{
	static int fd = -1;
	static pid_t opener;
	off_t at = (off_t)((uintptr_t)start / mem_page() * sizeof(*frames));
	ssize_t want = (ssize_t)(pages * sizeof(*frames));

	if (opener != getpid()) {
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		opener = getpid();
	}
	if (fd < 0)
		ktap_skip("no pagemap: CONFIG_PROC_PAGE_MONITOR is off");
	CHECK(pread(fd, frames, (size_t)want, at) == want, "short read of /proc/self/pagemap: %m");
	for (size_t i = 0; i < pages; i++)
		frames[i] &= MEM_PRESENT | MEM_SWAPPED | MEM_FRAME;
}

static void fill_runs(struct heap *heap)
{
	CHECK_SYS(madvise(heap->src, src_len(heap), MADV_DONTNEED));
	for (size_t i = 0; i < heap->count; i++)
		mem_fill(src_run(heap, i), heap->run, heap->seed + (unsigned int)i);
}

void heap_fill(struct heap *heap)
{
	size_t pages = heap->run / mem_page(), huge = heap->count * heap->run;

	heap->seed += (unsigned int)heap->count;
	if (heap->method == COMPACT_REMAP) {
		/* One mapping again, where there were as many as runs. */
		CHECK(mmap(heap->dst, dst_len(heap), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == heap->dst,
		      "mmap over the destination: %m");
		advise(heap, heap->dst, dst_len(heap));
	} else {
		CHECK_SYS(madvise(heap->dst, dst_len(heap), MADV_DONTNEED));
	}
	/* An allocation may fall back to base pages; a few tries tell bad luck from a rule. */
	for (int attempt = 0;; attempt++) {
		fill_runs(heap);
		if (!heap->huge || mem_huge_bytes(heap->src, src_len(heap)) == huge)
			break;
		if (attempt == 3)
			ktap_skip("no %zu huge pages of %zu KiB could be allocated", heap->count,
				  heap->run >> 10);
	}
	heap->migrated = sys_vmstat("pgmigrate_success");
	for (size_t i = 0; i < heap->count; i++)
		read_frames(src_run(heap, i), heap->frames + i * pages, pages);
}

static int move_run(int fd, char *dst, char *src, size_t len)
{
	for (int tries = 0; len; tries++) {
		struct uffd_result result = uffd_move(fd, dst, src, len, 0);
		size_t done = result.moved > 0 ? (size_t)result.moved : 0;

		/* EAGAIN: go on behind what was moved, or once more. */
		if (result.err && (result.err != EAGAIN || tries == RETRIES))
			return result.err;
		if (done > len || (!result.err && !done))
			return EPROTO;
		dst += done;
		src += done;
		len -= done;
	}
	return 0;
}

static int copy_run(int fd, char *dst, char *src, size_t len)
{
	struct uffdio_copy copy = {
		.dst = (uint64_t)(uintptr_t)dst,
		.src = (uint64_t)(uintptr_t)src,
		.len = len,
	};

	if (ioctl(fd, UFFDIO_COPY, &copy))
		return errno;
	return madvise(src, len, MADV_DONTNEED) ? errno : 0;
}

static int remap_run(char *dst, char *src, size_t len)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	return mremap(src, len, len, flags, dst) == dst ? 0 : errno;
}

int heap_compact(const struct heap *heap, size_t first, size_t step, double *took)
{
	int err = 0;

	for (size_t i = first; i < heap->count && !err; i += step) {
		int64_t begin = took ? stats_ns() : 0;

		if (heap->method == COMPACT_MOVE)
			err = move_run(heap->fd, dst_run(heap, i), src_run(heap, i), heap->run);
		else if (heap->method == COMPACT_COPY)
			err = copy_run(heap->fd, dst_run(heap, i), src_run(heap, i), heap->run);
		else
			err = remap_run(dst_run(heap, i), src_run(heap, i), heap->run);
		if (took)
			*took++ = (double)(stats_ns() - begin);
	}
	return err;
}

/* Reclaim and compaction may migrate a page at any time; only then may its frame change. */
static void expect_frame(const struct heap *heap, size_t page, uint64_t got)
{
	uint64_t expected = heap->frames[page];

	CHECK(got & (MEM_PRESENT | MEM_SWAPPED), "page %zu of the live ones is not there", page);
	if (heap->method == COMPACT_COPY || got == expected || !(expected & MEM_FRAME))
		return;
	if ((got | expected) & MEM_SWAPPED)
		return;
	CHECK(sys_vmstat("pgmigrate_success") != heap->migrated,
	      "page %zu of the live ones: got entry %#llx, expected %#llx", page,
	      (unsigned long long)got, (unsigned long long)expected);
}

void heap_check(const struct heap *heap, int thorough)
{
	size_t pages = heap->run / mem_page(), bad = 0;
	uint64_t frames[64];

	for (size_t i = 0; i < heap->count; i++) {
		for (size_t at = 0; at < pages; at += KTAP_COUNT(frames)) {
			size_t some = pages - at < KTAP_COUNT(frames) ? pages - at
								      : KTAP_COUNT(frames);

			read_frames(dst_run(heap, i) + at * mem_page(), frames, some);
			for (size_t j = 0; j < some; j++)
				expect_frame(heap, i * pages + at + j, frames[j]);
			read_frames(src_run(heap, i) + at * mem_page(), frames, some);
			for (size_t j = 0; j < some; j++)
				CHECK(!frames[j], "page %zu of the live ones is still in its old place: "
				      "entry %#llx", i * pages + at + j,
				      (unsigned long long)frames[j]);
		}
		CHECK(mem_holds(dst_run(heap, i), heap->run, heap->seed + (unsigned int)i, &bad),
		      "run %zu of %zu bytes: wrong bytes at offset %zu", i, heap->run, bad);
	}
	if (thorough && heap->huge && heap->method == COMPACT_MOVE)
		CHECK_EQ(mem_huge_bytes(heap->dst, dst_len(heap)), heap->count * heap->run);
}
