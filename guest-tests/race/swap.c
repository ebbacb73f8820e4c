// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that go to swap and come back while they are moved.  A move takes the page, or the swap
 * entry, or the entry and the page that is in the swap cache for it, in which case both go: a fault
 * at the new place has to find that page there.  Counters, contents and what was written last have
 * to be right afterwards.
 *
 * EBUSY is allowed: a page read in while it is still being written to a device that needs stable
 * pages is mapped as not exclusive (do_swap_page() in mm/memory.c), until it is written to.
 *
 * Source: move_swap_pte() and move_pages_pte() in mm/userfaultfd.c, try_to_unuse() in mm/swapfile.c,
 * try_to_unmap_one() in mm/rmap.c (lazily freed pages) of v6.12; madvise(2), swapon(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mem.h"
#include "procfile.h"
#include "race.h"
#include "uffd_abi.h"

#define PAGES 128

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

/* How many pages of a run are swap entries now, on either side. */
static size_t swapped(struct race_thread *self, size_t start, size_t count)
{
	uint64_t entries[RACE_RUN];
	size_t found = 0;

	for (int side = 0; side < 2; side++) {
		race_entries(self->arena, side, start, count, entries);
		for (size_t i = 0; i < count; i++)
			found += mem_is_swap_slot(entries[i]) != 0;
	}
	return found;
}

/* An act is one that a page went to swap by. */
static void page_out(struct race_thread *self)
{
	size_t start, count;

	race_pick(self, &start, &count);
	for (int side = 0; side < 2; side++)
		(void)madvise(race_at(self->arena, side, start), count * mem_page(), MADV_PAGEOUT);
	self->acts += swapped(self, start, count) > 0;
	/* What waits in another CPU's batch cannot be isolated: drain all of them now and then. */
	if (!race_below(&self->rng, 64))
		proc_write("/proc/sys/vm/drop_caches", "1");
	race_nap(self, 300);
}

static void read_back(struct race_thread *self)
{
	size_t page = race_below(&self->rng, self->arena->pages);
	uint64_t word;

	if (!race_read(race_at(self->arena, (int)race_below(&self->rng, 2), page), &word,
		       sizeof(word)))
		self->acts++;
	race_nap(self, 50);
}

static void write_back(struct race_thread *self)
{
	size_t page = race_below(&self->rng, self->arena->pages);

	if (!race_bump(self->arena, (int)race_below(&self->rng, 2), page))
		self->acts++;
}

/* Into the swap cache but not into the page table, or in by way of another reader. */
static void read_ahead(struct race_thread *self)
{
	static int memory = -1, process = -1;
	size_t start, count;
	char page[64];

	if (memory < 0) { /* one thread alone */
		memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
		process = (int)syscall(SYS_pidfd_open, getpid(), 0);
	}
	race_pick(self, &start, &count);
	for (int side = 0; side < 2; side++) {
		struct iovec range = { race_at(self->arena, side, start), count * mem_page() };

		switch (race_below(&self->rng, 4)) {
		case 0:
		case 1:
			(void)madvise(range.iov_base, range.iov_len, MADV_WILLNEED);
			break;
		case 2:
			(void)syscall(SYS_process_madvise, process, &range, 1ul,
				      race_below(&self->rng, 2) ? MADV_WILLNEED : MADV_COLD, 0u);
			break;
		default:
			(void)!pread(memory, page, sizeof(page),
				     (off_t)(uintptr_t)range.iov_base);
		}
	}
	self->acts++;
	race_nap(self, 200);
}

static void pageout(void)
{
	race_run(&(struct race_case){
		.name = "pageout",
		.pages = PAGES,
		.errnos = RACE_ERRNO(EBUSY),
		.adversaries = { { "pageout", page_out, NULL, 0 },
				 { "reader", read_back, NULL, 0 } },
	});
}

static void swap_cache(void)
{
	race_run(&(struct race_case){
		.name = "swap-cache",
		.pages = PAGES,
		.errnos = RACE_ERRNO(EBUSY),
		.adversaries = { { "pageout", page_out, NULL, 1 },
				 { "readahead", read_ahead, NULL, 1 },
				 { "reader", read_back, NULL, 1 } },
	});
}

static void written(void)
{
	race_run(&(struct race_case){
		.name = "written",
		.flags = RACE_COUNTED,
		.pages = PAGES / 4,
		.errnos = RACE_ERRNO(EBUSY),
		.adversaries = { { "pageout", page_out, NULL, 0 },
				 { "writer", write_back, NULL, 0 } },
	});
}

/*
 * Free lazily, then write, then move: what was written after MADV_FREE must survive, and only a
 * page that was not written to may be dropped, which an access then tells by SIGBUS.
 */
static void free_write_move(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t page = self->first + race_below(&self->rng, self->count);
	int side = arena->at[page];
	char *at = race_at(arena, side, page);

	if (madvise(at, mem_page(), MADV_FREE))
		race_fail("MADV_FREE: %s", ktap_errno(errno));
	if (race_below(&self->rng, 2))
		race_nap(self, 300);
	if (race_bump(arena, side, page)) {
		/* It was dropped before the write: a new one. */
		struct uffdio_copy copy = { .dst = (uint64_t)(uintptr_t)at,
					    .src = (uint64_t)(uintptr_t)self->own,
					    .len = mem_page() };

		if (!self->own) {
			self->own = calloc(1, mem_page());
			copy.src = (uint64_t)(uintptr_t)self->own;
		}
		race_stamp(self->own, page);
		if (ioctl(arena->uffd, UFFDIO_COPY, &copy))
			race_fail("page %zu was dropped, and UFFDIO_COPY gives %s", page,
				  ktap_errno(errno));
		arena->hits[page] = 0;
	}
	(void)race_carry(self, page, 1, 0);
}

static void lazy_free(void)
{
	race_run(&(struct race_case){
		.name = "lazy-free",
		.pages = PAGES,
		.errnos = RACE_ERRNO(EBUSY),
		.mover = { "mover", free_write_move, NULL, 0 },
		.adversaries = { { "pageout", page_out, NULL, 0 } },
	});
}

/* The swap device and its priority, to switch it on as it was. */
static char device[256];
static int device_flags;

static void find_device(void)
{
	char text[1024];
	int priority = -1;
	const char *line;

	(void)proc_read("/proc/swaps", text, sizeof(text));
	line = strchr(text, '\n');
	if (!line || sscanf(line + 1, "%255s %*s %*s %*s %d", device, &priority) != 2)
		ktap_skip("no line of a device in /proc/swaps");
	device_flags = priority < 0 ? 0 : SWAP_FLAG_PREFER | (priority & SWAP_FLAG_PRIO_MASK);
}

static void switch_off_and_on(struct race_thread *self)
{
	/* ENOMEM: what is in swap does not fit, as the kernel estimates; EINTR: it gave up. */
	if (swapoff(device)) {
		if (errno != ENOMEM && errno != EINTR)
			race_fail("swapoff %s: %s", device, ktap_errno(errno));
		self->conflicts++;
		race_nap(self, 20000);
		return;
	}
	race_nap(self, 2000);
	if (swapon(device, device_flags))
		race_fail("swapon %s: %s", device, ktap_errno(errno));
	self->acts++;
	race_nap(self, 20000);
}

static void swap_off(void)
{
	find_device();
	race_run(&(struct race_case){
		.name = "swapoff",
		.pages = PAGES,
		.errnos = RACE_ERRNO(EBUSY),
		.adversaries = { { "swapoff", switch_off_and_on, NULL, 1 },
				 { "pageout", page_out, NULL, 0 },
				 { "reader", read_back, NULL, 1 } },
	});
}

static const struct ktap_case cases[] = {
	{ "pageout", pageout },
	{ "swap-cache", swap_cache },
	{ "written", written },
	{ "lazy-free", lazy_free },
	{ "swapoff", swap_off },
};

int main(int argc, char **argv)
{
	const char *why = uffd_why_not();

	return race_main(argc, argv, cases, KTAP_COUNT(cases), why ? why : mem_why_no_swap());
}
