// SPDX-License-Identifier: GPL-2.0-only
/*
 * Others that put something into the destination at the same time, and drop it again: UFFDIO_COPY,
 * UFFDIO_ZEROPAGE, UFFDIO_POISON.  One of the two gets the place, the other is told EEXIST; what is there
 * is not overwritten.  And write protection coming and going: a write either goes through or faults, and
 * none that went through is lost.
 *
 * Source: move_pages_pte() (a populated entry, a marker too, is EEXIST), mfill_atomic(),
 * mwriteprotect_range() in mm/userfaultfd.c of v6.12; ioctl_userfaultfd(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "mem.h"
#include "race.h"
#include "uffd_abi.h"

#define PAGES 64
#define FOREIGN 100000 /* stamped as this page of ours and on */

struct zeropage {
	struct uffdio_range range;
	uint64_t mode;
	int64_t zeroed;
};
#define UFFDIO_ZEROPAGE_ _IOWR(0xAA, 0x04, struct zeropage)

/* A page to copy from, and one to compare with, of each filler. */
static uint64_t *buffer_of(struct race_thread *self)
{
	if (!self->own) {
		self->own = calloc(1, mem_page());
		if (!self->own)
			race_fail("out of memory");
		else
			race_stamp(self->own, FOREIGN + self->number);
	}
	return self->own;
}

enum filling { COPY, ZERO, POISON };

static int put(struct race_thread *self, enum filling what, char *at)
{
	uint64_t start = (uint64_t)(uintptr_t)at, len = mem_page();
	struct uffdio_copy copy = { start, (uint64_t)(uintptr_t)buffer_of(self), len, 0, 0 };
	struct zeropage zero = { { start, len }, 0, 0 };
	struct uffdio_poison poison = { { start, len }, 0, 0 };
	int uffd = self->arena->uffd;

	switch (what) {
	case COPY:
		return ioctl(uffd, UFFDIO_COPY, &copy) ? errno : 0;
	case ZERO:
		return ioctl(uffd, UFFDIO_ZEROPAGE_, &zero) ? errno : 0;
	default:
		return ioctl(uffd, UFFDIO_POISON, &poison) ? errno : 0;
	}
}

static int other_than(struct race_thread *self, enum filling what, const char *at, uint64_t *words)
{
	words[0] = words[1] = 0;
	return race_read(at, words, 2 * sizeof(*words)) ||
	       (what == COPY && memcmp(words, self->own, 2 * sizeof(*words))) ||
	       (what == ZERO && (words[0] || words[1]));
}

static void look_at(struct race_thread *self, enum filling what, int side, size_t page)
{
	const char *at = race_at(self->arena, side, page);
	uint64_t words[2], entry;
	int dropping, other;

	if (what == POISON) { /* reading it would be an error of the memory */
		race_entries(self->arena, side, page, 1, &entry);
		if (entry & MEM_PRESENT)
			race_fail("page %zu went where poison had been put: entry %#llx", page,
				  (unsigned long long)entry);
		return;
	}
	dropping = race_dropping(self->arena, side, page);
	other = other_than(self, what, at, words);
	if (other && dropping) {
		race_await_drops(self, side, page);
		self->stale++;
		other = other_than(self, what, at, words);
	}
	if (other)
		race_fail("page %zu went where another had been put: words %#llx, %#llx", page,
			  (unsigned long long)words[0], (unsigned long long)words[1]);
}

/* Put something beside the page, wherever that is, and take it away again. */
static void put_and_drop(struct race_thread *self, enum filling what)
{
	size_t page = race_below(&self->rng, self->arena->pages);
	int side = (int)race_below(&self->rng, 2);
	int err = put(self, what, race_at(self->arena, side, page));

	if (err == EEXIST || err == EAGAIN) {
		self->conflicts++;
		return;
	}
	if (err) {
		race_fail("page %zu cannot be put there: %s", page, ktap_errno(err));
		return;
	}
	self->acts++;
	look_at(self, what, side, page);
	if (race_below(&self->rng, 2))
		race_nap(self, 300);
	look_at(self, what, side, page);
	err = race_drop(self->arena, side, page);
	if (err)
		race_fail("MADV_DONTNEED: %s", ktap_errno(err));
}

static void put_copy(struct race_thread *self)
{
	put_and_drop(self, COPY);
}

static void put_zero(struct race_thread *self)
{
	put_and_drop(self, ZERO);
}

static void put_poison(struct race_thread *self)
{
	put_and_drop(self, POISON);
}

static void filled(const char *name, race_step step)
{
	race_run(&(struct race_case){
		.name = name,
		.flags = RACE_IDENTITY | RACE_REFILLED,
		.pages = PAGES,
		.errnos = RACE_ERRNO(EEXIST),
		.adversaries = { { name, step, NULL, 0 } },
	});
}

static void copy(void)
{
	filled("copy", put_copy);
}

static void zeropage(void)
{
	filled("zeropage", put_zero);
}

static void poison(void)
{
	if (!(uffd_ioctls() & (uint64_t)1 << UFFDIO_NR_POISON))
		ktap_skip("no UFFDIO_POISON (register ioctls %#llx)",
			  (unsigned long long)uffd_ioctls());
	filled("poison", put_poison);
}

static void protect(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	size_t start, count;

	race_pick(self, &start, &count);
	for (int i = 0; i < 4; i++) {
		struct uffdio_writeprotect wp = {
			{ (uint64_t)(uintptr_t)race_at(arena, i & 1, start), count * mem_page() },
			i < 2 ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
		};

		if (i == 2)
			race_nap(self, 200);
		if (ioctl(arena->uffd, UFFDIO_WRITEPROTECT, &wp) && errno != EAGAIN)
			race_fail("UFFDIO_WRITEPROTECT: %s", ktap_errno(errno));
	}
	self->acts++;
}

static void write_anywhere(struct race_thread *self)
{
	size_t page = race_below(&self->rng, self->arena->pages);

	switch (race_bump(self->arena, (int)race_below(&self->rng, 2), page)) {
	case 0:
		self->acts++;
		break;
	case SIGSEGV:
		race_fail("page %zu: a write raised SIGSEGV", page);
	}
}

static void write_protect(void)
{
	if (!(uffd_features() & UFFD_FEATURE_PAGEFAULT_FLAG_WP))
		ktap_skip("no write protection by userfaultfd (features %#llx)",
			  (unsigned long long)uffd_features());
	race_run(&(struct race_case){
		.name = "write-protect",
		.flags = RACE_IDENTITY | RACE_WP | RACE_COUNTED,
		.pages = PAGES,
		.adversaries = { { "protect", protect, NULL, 0 },
				 { "writer", write_anywhere, NULL, 0 } },
	});
}

static const struct ktap_case cases[] = {
	{ "copy", copy },
	{ "zeropage", zeropage },
	{ "poison", poison },
	{ "write-protect", write_protect },
};

int main(int argc, char **argv)
{
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
