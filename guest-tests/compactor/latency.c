// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long one call takes that moves pages, as a distribution: the pause that a mutator sees if the
 * collector works in its thread.  The move ioctl against UFFDIO_COPY with MADV_DONTNEED and against
 * mremap(), alone and with a second thread at the same mm.
 *
 * A case fails if a byte, a page frame or the emptiness of the source is wrong after a round, or if
 * a call fails (what moving promises: Documentation/admin-guide/mm/userfaultfd.rst of v6.12); how
 * long it took never decides.  Every figure has one reading of the clock in it, "clock-cost".
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
		bench_latency(&bench, share);                                                      \
	}

BENCH(move_1page_1thread, COMPACT_MOVE, 0, BENCH_PAGE, BENCH_ALONE)
BENCH(move_16pages_1thread, COMPACT_MOVE, 0, BENCH_16, BENCH_ALONE)
BENCH(move_span_1thread, COMPACT_MOVE, 0, BENCH_SPAN, BENCH_ALONE)
BENCH(move_1page_2threads, COMPACT_MOVE, 0, BENCH_PAGE, BENCH_THREADS)
BENCH(copy_1page_1thread, COMPACT_COPY, 0, BENCH_PAGE, BENCH_ALONE)
BENCH(copy_16pages_1thread, COMPACT_COPY, 0, BENCH_16, BENCH_ALONE)
BENCH(copy_span_1thread, COMPACT_COPY, 0, BENCH_SPAN, BENCH_ALONE)
BENCH(copy_1page_2threads, COMPACT_COPY, 0, BENCH_PAGE, BENCH_THREADS)
BENCH(mremap_1page_1thread, COMPACT_REMAP, 0, BENCH_PAGE, BENCH_ALONE)
BENCH(mremap_16pages_1thread, COMPACT_REMAP, 0, BENCH_16, BENCH_ALONE)
BENCH(mremap_span_1thread, COMPACT_REMAP, 0, BENCH_SPAN, BENCH_ALONE)
BENCH(mremap_1page_2threads, COMPACT_REMAP, 0, BENCH_PAGE, BENCH_THREADS)
BENCH(move_huge_1thread, COMPACT_MOVE, 1, BENCH_SPAN, BENCH_ALONE)
BENCH(move_huge_2threads, COMPACT_MOVE, 1, BENCH_SPAN, BENCH_THREADS)
BENCH(copy_huge_1thread, COMPACT_COPY, 1, BENCH_SPAN, BENCH_ALONE)
BENCH(copy_huge_2threads, COMPACT_COPY, 1, BENCH_SPAN, BENCH_THREADS)
BENCH(mremap_huge_1thread, COMPACT_REMAP, 1, BENCH_SPAN, BENCH_ALONE)
BENCH(mremap_huge_2threads, COMPACT_REMAP, 1, BENCH_SPAN, BENCH_THREADS)

static const struct ktap_case base[] = {
	{ "move-base-1page-1thread", move_1page_1thread },
	{ "move-base-16pages-1thread", move_16pages_1thread },
	{ "move-base-span-1thread", move_span_1thread },
	{ "move-base-1page-2threads", move_1page_2threads },
	{ "copy-base-1page-1thread", copy_1page_1thread },
	{ "copy-base-16pages-1thread", copy_16pages_1thread },
	{ "copy-base-span-1thread", copy_span_1thread },
	{ "copy-base-1page-2threads", copy_1page_2threads },
	{ "mremap-base-1page-1thread", mremap_1page_1thread },
	{ "mremap-base-16pages-1thread", mremap_16pages_1thread },
	{ "mremap-base-span-1thread", mremap_span_1thread },
	{ "mremap-base-1page-2threads", mremap_1page_2threads },
};

static const struct ktap_case huge[] = {
	{ "move-huge-1thread", move_huge_1thread },
	{ "move-huge-2threads", move_huge_2threads },
	{ "copy-huge-1thread", copy_huge_1thread },
	{ "copy-huge-2threads", copy_huge_2threads },
	{ "mremap-huge-1thread", mremap_huge_1thread },
	{ "mremap-huge-2threads", mremap_huge_2threads },
};

int main(int argc, char **argv)
{
	int of_huge = !strcmp(bench_parse(argc, argv, 1.0), "huge");
	size_t count = of_huge ? KTAP_COUNT(huge) : KTAP_COUNT(base);

	share = bench_share(count);
	stats_print_clock();
	return ktap_run(of_huge ? huge : base, count, of_huge ? mem_why_no_huge() : NULL);
}
