// SPDX-License-Identifier: GPL-2.0-only
/*
 * How fast a fragmented heap is compacted: the move ioctl against UFFDIO_COPY with MADV_DONTNEED
 * and against mremap(), by the length of a call and by who else is at it.
 *
 * A case fails if a byte, a page frame or the emptiness of the source is wrong after a round, or if
 * a call fails; how fast it was never decides.  Moving is promised to neither allocate nor copy
 * (Documentation/admin-guide/mm/userfaultfd.rst of v6.12), which is why page frames are compared.
 * move_pages() in mm/userfaultfd.c takes mmap_lock or the VMA's lock for reading, mremap() takes
 * mmap_lock for writing: two threads show it, two processes are what they are measured by.
 */
#include "bench.h"

#include <string.h>

#include "ktap.h"
#include "mem.h"
#include "stats.h"

static double share;

/* A function for the table below; its figures begin with the name that it has there. */
#define BENCH(function, ...)                                                                       \
	static void function(void)                                                                 \
	{                                                                                          \
		static const struct bench bench = { __VA_ARGS__ };                                 \
                                                                                                   \
		bench_throughput(&bench, share);                                                   \
	}

BENCH(move_1page_1thread, COMPACT_MOVE, 0, BENCH_PAGE, BENCH_ALONE)
BENCH(move_16pages_1thread, COMPACT_MOVE, 0, BENCH_16, BENCH_ALONE)
BENCH(move_span_1thread, COMPACT_MOVE, 0, BENCH_SPAN, BENCH_ALONE)
BENCH(move_1page_2threads, COMPACT_MOVE, 0, BENCH_PAGE, BENCH_THREADS)
BENCH(move_1page_2threads_one_table, COMPACT_MOVE, 0, BENCH_PAGE, BENCH_TABLES)
BENCH(move_1page_2processes, COMPACT_MOVE, 0, BENCH_PAGE, BENCH_PROCESSES)
BENCH(copy_1page_1thread, COMPACT_COPY, 0, BENCH_PAGE, BENCH_ALONE)
BENCH(copy_16pages_1thread, COMPACT_COPY, 0, BENCH_16, BENCH_ALONE)
BENCH(copy_span_1thread, COMPACT_COPY, 0, BENCH_SPAN, BENCH_ALONE)
BENCH(copy_1page_2threads, COMPACT_COPY, 0, BENCH_PAGE, BENCH_THREADS)
BENCH(copy_1page_2threads_one_table, COMPACT_COPY, 0, BENCH_PAGE, BENCH_TABLES)
BENCH(copy_1page_2processes, COMPACT_COPY, 0, BENCH_PAGE, BENCH_PROCESSES)
BENCH(mremap_1page_1thread, COMPACT_REMAP, 0, BENCH_PAGE, BENCH_ALONE)
BENCH(mremap_16pages_1thread, COMPACT_REMAP, 0, BENCH_16, BENCH_ALONE)
BENCH(mremap_span_1thread, COMPACT_REMAP, 0, BENCH_SPAN, BENCH_ALONE)
BENCH(mremap_1page_2threads, COMPACT_REMAP, 0, BENCH_PAGE, BENCH_THREADS)
BENCH(mremap_1page_2threads_one_table, COMPACT_REMAP, 0, BENCH_PAGE, BENCH_TABLES)
BENCH(mremap_1page_2processes, COMPACT_REMAP, 0, BENCH_PAGE, BENCH_PROCESSES)
BENCH(move_huge_1thread, COMPACT_MOVE, 1, BENCH_SPAN, BENCH_ALONE)
BENCH(move_huge_2threads, COMPACT_MOVE, 1, BENCH_SPAN, BENCH_THREADS)
BENCH(move_huge_2processes, COMPACT_MOVE, 1, BENCH_SPAN, BENCH_PROCESSES)
BENCH(copy_huge_1thread, COMPACT_COPY, 1, BENCH_SPAN, BENCH_ALONE)
BENCH(copy_huge_2threads, COMPACT_COPY, 1, BENCH_SPAN, BENCH_THREADS)
BENCH(copy_huge_2processes, COMPACT_COPY, 1, BENCH_SPAN, BENCH_PROCESSES)
BENCH(mremap_huge_1thread, COMPACT_REMAP, 1, BENCH_SPAN, BENCH_ALONE)
BENCH(mremap_huge_2threads, COMPACT_REMAP, 1, BENCH_SPAN, BENCH_THREADS)
BENCH(mremap_huge_2processes, COMPACT_REMAP, 1, BENCH_SPAN, BENCH_PROCESSES)

static const struct ktap_case base[] = {
	{ "move-base-1page-1thread", move_1page_1thread },
	{ "move-base-16pages-1thread", move_16pages_1thread },
	{ "move-base-span-1thread", move_span_1thread },
	{ "move-base-1page-2threads", move_1page_2threads },
	{ "move-base-1page-2threads-one-table", move_1page_2threads_one_table },
	{ "move-base-1page-2processes", move_1page_2processes },
	{ "copy-base-1page-1thread", copy_1page_1thread },
	{ "copy-base-16pages-1thread", copy_16pages_1thread },
	{ "copy-base-span-1thread", copy_span_1thread },
	{ "copy-base-1page-2threads", copy_1page_2threads },
	{ "copy-base-1page-2threads-one-table", copy_1page_2threads_one_table },
	{ "copy-base-1page-2processes", copy_1page_2processes },
	{ "mremap-base-1page-1thread", mremap_1page_1thread },
	{ "mremap-base-16pages-1thread", mremap_16pages_1thread },
	{ "mremap-base-span-1thread", mremap_span_1thread },
	{ "mremap-base-1page-2threads", mremap_1page_2threads },
	{ "mremap-base-1page-2threads-one-table", mremap_1page_2threads_one_table },
	{ "mremap-base-1page-2processes", mremap_1page_2processes },
};

static const struct ktap_case huge[] = {
	{ "move-huge-1thread", move_huge_1thread },
	{ "move-huge-2threads", move_huge_2threads },
	{ "move-huge-2processes", move_huge_2processes },
	{ "copy-huge-1thread", copy_huge_1thread },
	{ "copy-huge-2threads", copy_huge_2threads },
	{ "copy-huge-2processes", copy_huge_2processes },
	{ "mremap-huge-1thread", mremap_huge_1thread },
	{ "mremap-huge-2threads", mremap_huge_2threads },
	{ "mremap-huge-2processes", mremap_huge_2processes },
};

int main(int argc, char **argv)
{
	int of_huge = !strcmp(bench_parse(argc, argv, 1.2), "huge");
	size_t count = of_huge ? KTAP_COUNT(huge) : KTAP_COUNT(base);

	share = bench_share(count);
	stats_print_clock();
	return ktap_run(of_huge ? huge : base, count, of_huge ? mem_why_no_huge() : NULL);
}
