/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A heap of scattered live runs that is slid together, by three methods: what a collector does, for
 * the performance workloads.  Filling and checking stand apart from the compaction itself, which is
 * all that is timed.
 */
#ifndef LAB_COMPACT_H
#define LAB_COMPACT_H

#include <stddef.h>
#include <stdint.h>

/*
 * MOVE: the move ioctl.  COPY: UFFDIO_COPY, then MADV_DONTNEED on the old place.  REMAP: mremap()
 * with MREMAP_FIXED and MREMAP_DONTUNMAP (since v5.7), which leaves the old place mapped and empty
 * like the others, and a mapping of its own for each run.
 */
enum compact_method { COMPACT_MOVE, COMPACT_COPY, COMPACT_REMAP };

extern const char *const compact_names[];

/* Live runs with dead gaps in src; their new place, one behind the other, in dst. */
struct heap {
	enum compact_method method;
	int huge;
	size_t run;   /* bytes of a live run, which is what one call moves */
	size_t gap;   /* bytes between two of them, of which no page is there */
	size_t room;  /* live runs that there is room for */
	size_t count; /* live runs that the next filling makes, all of them at first */
	char *src;
	char *dst;
	int fd;
	unsigned int seed;
	uint64_t *frames;
	long migrated;
};

/* Bytes that one page table maps: the length of a huge page, also where there are none. */
size_t compact_span(void);

/* Skip the case where the guest or kernel cannot do it. */
void compact_need(enum compact_method method, int huge);

/* Map a heap with room for so many runs; huge: of huge pages, else of base pages alone. */
struct heap heap_open(enum compact_method method, int huge, size_t run, size_t room);
void heap_close(struct heap *heap);

/* Empty dst, fill the runs of src anew, note their page frames. */
void heap_fill(struct heap *heap);

/*
 * Compact the runs first, first + step, ... and put what each call took, in nanoseconds, into took
 * where that is not NULL.  Gives 0 or the errno that ended it.  This is what is timed: no check, no
 * allocation.
 */
int heap_compact(const struct heap *heap, size_t first, size_t step, double *took);

/*
 * Every run must be in dst with its bytes, the source empty and, but for COPY, in the very page
 * frames it had; huge pages moved by the ioctl must still be huge where thorough is set.
 */
void heap_check(const struct heap *heap, int thorough);

#endif
