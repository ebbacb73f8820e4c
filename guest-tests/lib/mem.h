/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory as a workload sees it: mappings, page contents, page tables, huge pages, swap.
 * Sizes are bytes unless a name says pages.  No page size is assumed anywhere.
 */
#ifndef LAB_MEM_H
#define LAB_MEM_H

#include <stddef.h>
#include <stdint.h>

/* The base page size, and the PMD-sized huge page's (0 where the kernel has no THP). */
size_t mem_page(void);
size_t mem_huge(void);

/*
 * A private anonymous read-write mapping of len bytes, aligned to align (0: to a page), with an
 * inaccessible page at either end so that it never merges with a neighbour.
 */
char *mem_map(size_t len, size_t align);

/* Keep a range on base pages; harmless where THP is compiled out. */
void mem_no_huge(void *start, size_t len);

/* Write a pattern that differs in every word of every page and every seed. */
void mem_fill(void *start, size_t len, unsigned int seed);

/* One word of that pattern, by its number in the range. */
static inline uint64_t mem_pattern(size_t word, unsigned int seed)
{
	uint64_t x = ((uint64_t)seed << 40) + word + 1;

	/* Odd multiplier: every word of a mapping gets a value of its own. */
	return x * 0x9e3779b97f4a7c15u;
}

/* Whether a range still holds that pattern; first_bad (may be NULL) gets the offset if not. */
int mem_holds(const void *start, size_t len, unsigned int seed, size_t *first_bad);

/* mem_holds() as a check of the running case, with the offset in the diagnostics. */
void mem_expect(const void *start, size_t len, unsigned int seed, const char *what);

/*
 * One entry of /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst): frame number or
 * swap slot in bits 0-54, swapped in bit 62, present in bit 63.  mem_frame() masks the rest out,
 * which leaves what has to be equal before and after a move: soft-dirty is one of the bits that
 * a move may change.
 */
#define MEM_SWAPPED ((uint64_t)1 << 62)
#define MEM_PRESENT ((uint64_t)1 << 63)
#define MEM_FRAME (((uint64_t)1 << 55) - 1)

uint64_t mem_entry(const void *address);
uint64_t mem_frame(const void *address);

/*
 * An entry in words, such as "0x8000000000002364 (frame 0x2364)", "0x4000000000000820 (swap type 0,
 * offset 0x41)" or "none" for 0.  Valid until the third call after it.
 */
const char *mem_entry_text(uint64_t entry);

/* Two entries, or what mem_frame() leaves of them, have to be equal. */
#define CHECK_ENTRY(got, expected)                                                                 \
	do {                                                                                       \
		uint64_t got_ = (got), expected_ = (expected);                                     \
		if (got_ != expected_)                                                             \
			ktap_fail(__FILE__, __LINE__, "%s: got entry %s, expected %s", #got,       \
				  mem_entry_text(got_), mem_entry_text(expected_));                \
	} while (0)

/* mem_frame() of each page of a range. */
void mem_frames(const void *start, size_t pages, uint64_t *frames);

/*
 * Flags of the page that is mapped at an address, and of each page of a range, from /proc/kpageflags
 * (include/uapi/linux/kernel-page-flags.h); 0 where none is.  Root; skips the case where the kernel
 * shows no frame numbers or flags.
 */
#define MEM_FLAG_COMPOUND_HEAD ((uint64_t)1 << 15)
#define MEM_FLAG_COMPOUND_TAIL ((uint64_t)1 << 16)
#define MEM_FLAG_UNEVICTABLE ((uint64_t)1 << 18)
#define MEM_FLAG_THP ((uint64_t)1 << 22)
#define MEM_FLAG_ZERO_PAGE ((uint64_t)1 << 24)
#define MEM_FLAG_MLOCKED ((uint64_t)1 << 33)
#define MEM_FLAG_LARGE (MEM_FLAG_COMPOUND_HEAD | MEM_FLAG_COMPOUND_TAIL)

uint64_t mem_page_flags(const void *address);
void mem_flags(const void *start, size_t pages, uint64_t *flags);

/* How many pages of a range are mapped and have all, or any, of these flags. */
size_t mem_pages_with_all(const void *start, size_t len, uint64_t flags);
size_t mem_pages_with_any(const void *start, size_t len, uint64_t flags);

/* Whether an entry of pagemap is a slot of a swap device, and no migration entry or marker. */
int mem_is_swap_slot(uint64_t entry);

/* How many pages of a range are present, and how many are swap entries. */
size_t mem_present_pages(const void *start, size_t len);
size_t mem_swapped_pages(const void *start, size_t len);

/* AnonHugePages over the mappings that overlap a range, from /proc/self/smaps. */
size_t mem_huge_bytes(const void *start, size_t len);

/* Why no THP can be had, as a skip reason, or NULL.  "never" is respected, not overridden. */
const char *mem_why_no_huge(void);

/*
 * A mapping of count huge pages, filled with the pattern and really mapped huge; skips the case
 * with the reason where that cannot be had.
 */
char *mem_map_huge(size_t count, unsigned int seed);

/* Make room for huge pages where memory is in pieces (root); to be called where one was not to be had. */
void mem_compact(void);

/* Why no page can be swapped out, as a skip reason, or NULL. */
const char *mem_why_no_swap(void);

/*
 * Swap a range of base pages out with MADV_PAGEOUT, out of the swap cache too; skips the case if after
 * many tries and some seconds a page stays in the page table or in the swap cache.
 */
void mem_swap_out(void *start, size_t len);

/* How many pages of a range are swap entries whose page is in the swap cache, read in and valid. */
size_t mem_swap_cached_pages(void *start, size_t len);

/* Read a swapped-out range into the swap cache, not into the page table; skips if a page stays. */
void mem_swap_cache(void *start, size_t len);

/* Milliseconds of the monotonic clock. */
double mem_now_ms(void);

#endif
