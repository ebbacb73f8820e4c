// SPDX-License-Identifier: GPL-2.0-only
/* See mem.h. */
#define _GNU_SOURCE
#include "mem.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ktap.h"
#include "procfile.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define THP_DIR "/sys/kernel/mm/transparent_hugepage/"

/* A bigger huge page (512 MiB with 64K pages) does not fit a small guest. */
#define HUGE_LIMIT ((size_t)64 << 20)

/*
 * Swap types from here on are migration entries, hwpoison and pte markers: MAX_SWAPFILES is
 * 32 minus those and is 22 at the least (include/linux/swap.h, v6.1 with every option on).
 */
#define SWAP_TYPES 22

/* How long to wait for swap to do what it was told. */
#define SWAP_PATIENCE_MS 8000

size_t mem_page(void)
{
	static size_t size;

	if (!size)
		size = (size_t)sysconf(_SC_PAGESIZE);
	return size;
}

size_t mem_huge(void)
{
	static size_t size;
	char text[32];

	if (!size && !proc_read(THP_DIR "hpage_pmd_size", text, sizeof(text)))
		size = strtoul(text, NULL, 10);
	return size;
}

char *mem_map(size_t len, size_t align)
{
	size_t page = mem_page(), total;
	char *area, *start;

	if (align < page)
		align = page;
	total = len + align + 2 * page;
	area = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(area != MAP_FAILED, "mmap of %zu bytes: %m", total);
	start = area + page + (align - (size_t)(uintptr_t)(area + page) % align) % align;
	CHECK_SYS(mprotect(start, len, PROT_READ | PROT_WRITE));
	/* Give the slack back: a walk over the page tables visits all that is mapped. */
	if (start - page > area)
		CHECK_SYS(munmap(area, (size_t)(start - page - area)));
	if (start + len + page < area + total)
		CHECK_SYS(munmap(start + len + page, (size_t)(area + total - start - len - page)));
	return start;
}

void mem_no_huge(void *start, size_t len)
{
	/* EINVAL is the answer of a kernel without THP. */
	(void)madvise(start, len, MADV_NOHUGEPAGE);
}

void mem_fill(void *start, size_t len, unsigned int seed)
{
	uint64_t *words = start;

	for (size_t i = 0; i < len / sizeof(*words); i++)
		words[i] = mem_pattern(i, seed);
}

int mem_holds(const void *start, size_t len, unsigned int seed, size_t *first_bad)
{
	const volatile uint64_t *words = start;

	for (size_t i = 0; i < len / sizeof(*words); i++) {
		if (words[i] != mem_pattern(i, seed)) {
			if (first_bad)
				*first_bad = i * sizeof(*words);
			return 0;
		}
	}
	return 1;
}

void mem_expect(const void *start, size_t len, unsigned int seed, const char *what)
{
	size_t bad = 0;

	if (!mem_holds(start, len, seed, &bad))
		FAIL("%s: wrong bytes at offset %zu of %zu: got %#llx, expected %#llx", what, bad, len,
		     (unsigned long long)*(const uint64_t *)((const char *)start + bad),
		     (unsigned long long)mem_pattern(bad / sizeof(uint64_t), seed));
}

static void read_entries(const void *start, size_t pages, uint64_t *entries)
{
	static int fd = -1;
	static pid_t opened_by;
	off_t at = (off_t)((uintptr_t)start / mem_page() * sizeof(uint64_t));
	ssize_t want = (ssize_t)(pages * sizeof(uint64_t));

	/* An inherited descriptor still shows the parent's page tables. */
	if (fd < 0 || opened_by != getpid()) {
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		opened_by = getpid();
	}
	CHECK(fd >= 0, "/proc/self/pagemap: %m (CONFIG_PROC_PAGE_MONITOR)");
	CHECK(pread(fd, entries, (size_t)want, at) == want, "short read of /proc/self/pagemap: %m");
}

uint64_t mem_entry(const void *address)
{
	uint64_t entry;

	read_entries(address, 1, &entry);
	return entry;
}

uint64_t mem_frame(const void *address)
{
	return mem_entry(address) & (MEM_FRAME | MEM_SWAPPED | MEM_PRESENT);
}

const char *mem_entry_text(uint64_t entry)
{
	static char texts[3][80];
	static unsigned int next;
	char *text = texts[next++ % 3];
	unsigned long long whole = entry, frame = entry & MEM_FRAME;

	/* A swapped page's type is in bits 0-4, its offset in bits 5-54. */
	if (entry & MEM_PRESENT)
		snprintf(text, sizeof(texts[0]), "%#llx (frame %#llx)", whole, frame);
	else if (entry & MEM_SWAPPED)
		snprintf(text, sizeof(texts[0]), "%#llx (swap type %llu, offset %#llx)", whole,
			 frame & 0x1f, frame >> 5);
	else if (entry)
		snprintf(text, sizeof(texts[0]), "%#llx", whole);
	else
		snprintf(text, sizeof(texts[0]), "none");
	return text;
}

void mem_frames(const void *start, size_t pages, uint64_t *frames)
{
	read_entries(start, pages, frames);
	for (size_t i = 0; i < pages; i++)
		frames[i] &= MEM_FRAME | MEM_SWAPPED | MEM_PRESENT;
}

/* Flags of count frames that follow each other. */
static void read_flags(uint64_t frame, size_t count, uint64_t *flags)
{
	ssize_t want = (ssize_t)(count * sizeof(*flags));
	static int fd = -1;

	if (!frame)
		ktap_skip("pagemap shows no frame numbers without CAP_SYS_ADMIN");
	if (fd < 0)
		fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		ktap_skip("no /proc/kpageflags (CONFIG_PROC_PAGE_MONITOR is off)");
	CHECK(pread(fd, flags, (size_t)want, (off_t)(frame * sizeof(*flags))) == want,
	      "short read of /proc/kpageflags: %m");
}

void mem_flags(const void *start, size_t pages, uint64_t *flags)
{
	size_t run;

	read_entries(start, pages, flags);
	for (size_t i = 0; i < pages; i += run) {
		uint64_t entry = flags[i];

		for (run = 1; i + run < pages && flags[i + run] == entry + run; run++)
			;
		if (entry & MEM_PRESENT)
			read_flags(entry & MEM_FRAME, run, flags + i);
		else
			memset(flags + i, 0, run * sizeof(*flags));
	}
}

uint64_t mem_page_flags(const void *address)
{
	uint64_t flags;

	mem_flags(address, 1, &flags);
	return flags;
}

static size_t count_flags(const void *start, size_t len, uint64_t flags, int all)
{
	static uint64_t found[512];
	size_t pages = len / mem_page(), count = 0, step;

	for (size_t i = 0; i < pages; i += step) {
		step = pages - i < KTAP_COUNT(found) ? pages - i : KTAP_COUNT(found);
		mem_flags((const char *)start + i * mem_page(), step, found);
		for (size_t k = 0; k < step; k++)
			count += all ? (found[k] & flags) == flags : (found[k] & flags) != 0;
	}
	return count;
}

size_t mem_pages_with_all(const void *start, size_t len, uint64_t flags)
{
	return count_flags(start, len, flags, 1);
}

size_t mem_pages_with_any(const void *start, size_t len, uint64_t flags)
{
	return count_flags(start, len, flags, 0);
}

int mem_is_swap_slot(uint64_t entry)
{
	return (entry & MEM_SWAPPED) && (entry & 31) < SWAP_TYPES;
}

enum { PRESENT, SWAPPED, CACHED };

static size_t count_entries(const void *start, size_t len, int what)
{
	static uint64_t entries[512];
	static unsigned char resident[512];
	size_t pages = len / mem_page(), count = 0, step;

	for (size_t i = 0; i < pages; i += step) {
		step = pages - i < 512 ? pages - i : 512;
		read_entries((const char *)start + i * mem_page(), step, entries);
		/* Of a swap entry mincore() tells whether its page is valid in the swap cache. */
		if (what == CACHED)
			CHECK_SYS(mincore((char *)start + i * mem_page(), step * mem_page(),
					  resident));
		for (size_t k = 0; k < step; k++)
			if (what == PRESENT)
				count += (entries[k] & MEM_PRESENT) != 0;
			else
				count += mem_is_swap_slot(entries[k]) &&
					 (what == SWAPPED || (resident[k] & 1));
	}
	return count;
}

size_t mem_present_pages(const void *start, size_t len)
{
	return count_entries(start, len, PRESENT);
}

size_t mem_swapped_pages(const void *start, size_t len)
{
	return count_entries(start, len, SWAPPED);
}

size_t mem_swap_cached_pages(void *start, size_t len)
{
	return count_entries(start, len, CACHED);
}

size_t mem_huge_bytes(const void *start, size_t len)
{
	uintptr_t from = (uintptr_t)start, to = from + len, low, high;
	size_t kib, sum = 0;
	int inside = 0;
	char line[512];
	FILE *smaps = fopen("/proc/self/smaps", "re");

	CHECK(smaps, "/proc/self/smaps: %m (CONFIG_PROC_PAGE_MONITOR)");
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &low, &high) == 2)
			inside = low < to && high > from;
		else if (inside && sscanf(line, "AnonHugePages: %zu", &kib) == 1)
			sum += kib * 1024;
	}
	fclose(smaps);
	return sum;
}

const char *mem_why_no_huge(void)
{
	static char why[128];
	char text[64];

	if (!mem_huge() || proc_read(THP_DIR "enabled", text, sizeof(text)))
		return "no transparent huge pages (CONFIG_TRANSPARENT_HUGEPAGE is off)";
	if (strstr(text, "[never]"))
		return "transparent_hugepage=never";
	if (mem_huge() > HUGE_LIMIT) {
		snprintf(why, sizeof(why), "a huge page of %zu MiB is too big for this workload",
			 mem_huge() >> 20);
		return why;
	}
	return NULL;
}

void mem_compact(void)
{
	proc_write("/proc/sys/vm/drop_caches", "1");
	proc_write("/proc/sys/vm/compact_memory", "1");
}

char *mem_map_huge(size_t count, unsigned int seed)
{
	size_t len = count * mem_huge();
	char *start;

	if (mem_why_no_huge())
		ktap_skip("%s", mem_why_no_huge());
	/* An allocation may fall back to base pages; a few tries tell bad luck from a rule. */
	for (int attempt = 0; attempt < 6; attempt++) {
		if (attempt)
			mem_compact();
		start = mem_map(len, mem_huge());
		CHECK_SYS(madvise(start, len, MADV_HUGEPAGE));
		mem_fill(start, len, seed);
		if (mem_huge_bytes(start, len) == len)
			return start;
		CHECK_SYS(munmap(start, len));
	}
	ktap_skip("no huge page of %zu KiB could be allocated", mem_huge() >> 10);
}

const char *mem_why_no_swap(void)
{
	char text[1024], *line;

	if (proc_read("/proc/swaps", text, sizeof(text)))
		return "no swap (CONFIG_SWAP is off)";
	line = strchr(text, '\n');
	return line && line[1] ? NULL : "no swap device is on";
}

static const struct timespec pause_20ms = { 0, 20 * 1000 * 1000 };

/* Whether to try once more: so often at the least, and so long, for a disk or a host may be slow. */
static int patient(int attempt, double begin)
{
	return attempt < 25 || mem_now_ms() < begin + SWAP_PATIENCE_MS;
}

/*
 * A disk takes its time: written pages stay in the swap cache.  Read back from there they are
 * clean, and reclaim drops a clean page at once instead of writing it (shrink_folio_list()).
 */
static void drop_swap_cache(void *start, size_t len)
{
	size_t cached = mem_swap_cached_pages(start, len);
	double begin = mem_now_ms();

	for (int attempt = 0; cached && patient(attempt, begin); attempt++) {
		nanosleep(&pause_20ms, NULL);
		for (size_t i = 0; i < len; i += mem_page())
			(void)*(volatile char *)((char *)start + i);
		proc_write("/proc/sys/vm/drop_caches", "1");
		CHECK_SYS(madvise(start, len, MADV_PAGEOUT));
		cached = mem_swap_cached_pages(start, len);
	}
	if (cached)
		ktap_skip("%zu of %zu swapped-out pages stay in the swap cache", cached,
			  len / mem_page());
}

void mem_swap_cache(void *start, size_t len)
{
	size_t pages = len / mem_page(), cached = 0;
	double begin = mem_now_ms();

	for (int attempt = 0; patient(attempt, begin); attempt++) {
		CHECK_SYS(madvise(start, len, MADV_WILLNEED));
		cached = mem_swap_cached_pages(start, len);
		if (cached == pages)
			return;
		nanosleep(&pause_20ms, NULL);
	}
	ktap_skip("MADV_WILLNEED put only %zu of %zu pages into the swap cache", cached, pages);
}

void mem_swap_out(void *start, size_t len)
{
	size_t pages = len / mem_page(), out = 0;
	double begin = mem_now_ms();

	if (mem_why_no_swap())
		ktap_skip("%s", mem_why_no_swap());
	for (int attempt = 0; patient(attempt, begin); attempt++) {
		CHECK_SYS(madvise(start, len, MADV_PAGEOUT));
		out = mem_swapped_pages(start, len);
		if (out == pages)
			drop_swap_cache(start, len);
		if (out == pages && mem_swapped_pages(start, len) == pages)
			return;
		/*
		 * Pages faulted in on another CPU wait in that CPU's batch and cannot be isolated
		 * from there; dropping caches drains every CPU's batch first (lru_add_drain_all()).
		 */
		proc_write("/proc/sys/vm/drop_caches", "1");
		nanosleep(&pause_20ms, NULL);
	}
	ktap_skip("MADV_PAGEOUT swapped out only %zu of %zu pages", out, pages);
}

double mem_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}
