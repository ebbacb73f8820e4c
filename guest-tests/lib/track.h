/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How the kernel tracks writes: soft-dirty and userfaultfd's write protection, as pagemap shows
 * them (Documentation/admin-guide/mm/pagemap.rst and soft-dirty.rst).
 */
#ifndef LAB_TRACK_H
#define LAB_TRACK_H

#include <stddef.h>
#include <stdint.h>

/* Bits of an entry of pagemap. */
#define TRACK_SOFT_DIRTY ((uint64_t)1 << 55)
#define TRACK_WP ((uint64_t)1 << 57)

/* Of ioctl(PAGEMAP_SCAN): categories of pages, and that those found are protected anew. */
#define TRACK_IS_WRITTEN ((uint64_t)1 << 1)
#define TRACK_IS_PFNZERO ((uint64_t)1 << 5)
#define TRACK_SCAN_PROTECT ((uint64_t)1 << 0)

/* How many pages of a range have a bit. */
size_t track_pages(const void *start, size_t len, uint64_t bit);

/* Forget what was written so far: every page of the process is clean (clear_refs, 4). */
void track_clear_soft_dirty(void);

/*
 * Why the kernel does not track writes by the soft-dirty bit, as a skip reason, or NULL: what was mapped
 * since the last clearing has it.
 */
const char *track_why_no_soft_dirty(void);

/* How many pages of a range are in a category, by ioctl(PAGEMAP_SCAN) with flags. */
size_t track_scan(const void *start, size_t len, uint64_t category, uint64_t flags);

/* How many pages are in any of some categories: the kernel goes another way for it. */
size_t track_scan_any(const void *start, size_t len, uint64_t categories);

/* Protect anew the pages of a category; the kernel is given no place for an answer. */
void track_scan_blindly(const void *start, size_t len, uint64_t category);

/*
 * How many pages of a range registered for asynchronous write protection count as written to; with
 * protect they are protected anew.
 */
size_t track_scan_written(const void *start, size_t len, int protect);

#endif
