// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings that change while their pages are moved: protection, mlock(), mremap(), registration,
 * the userfaultfd itself.  A move sees mappings of before or of after: it is refused with EINVAL
 * (or ENOENT where nothing is mapped) or it succeeds.  No page is lost, and a mapping that was made
 * read-only has no page that can be written to.
 *
 * Source: validate_move_areas(), uffd_move_lock() in mm/userfaultfd.c, userfaultfd_release() and
 * mremap_userfaultfd_prep() in fs/userfaultfd.c of v6.12; mprotect(2), mlock(2), mremap(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem.h"
#include "procfile.h"
#include "race.h"
#include "rss.h"
#include "uffd_abi.h"

#define PAGES 64

static void change(char *at, size_t len, int protection)
{
	if (mprotect(at, len, protection))
		race_fail("mprotect: %s", ktap_errno(errno));
}

static void protect(struct race_thread *self)
{
	int side = (int)race_below(&self->rng, 2), both = !race_below(&self->rng, 3);
	int readable = (int)race_below(&self->rng, 4), protection = readable ? PROT_READ : PROT_NONE;
	size_t start, count;
	char *at[2];

	race_pick_share(self, &start, &count);
	at[0] = race_at(self->arena, side, start);
	at[1] = race_at(self->arena, !side, start);
	for (int i = 0; i <= both; i++)
		change(at[i], count * mem_page(), protection);
	if (race_below(&self->rng, 2))
		race_nap(self, 200);
	for (size_t i = 0; i < count; i++)
		if (!race_add((uint64_t *)(at[0] + i * mem_page()) + 1, 0, NULL))
			race_fail("page %zu, side %d: a write went through after mprotect(%s)",
				  start + i, side, readable ? "PROT_READ" : "PROT_NONE");
	for (int i = 0; i <= both; i++)
		change(at[i], count * mem_page(), PROT_READ | PROT_WRITE);
	self->acts++;
}

static void mprotected(void)
{
	race_run(&(struct race_case){
		.name = "mprotect",
		.flags = RACE_IDENTITY | RACE_UNREADABLE,
		.pages = PAGES,
		.errnos = RACE_ERRNO(EINVAL),
		.adversaries = { { "protect", protect, NULL, 0 } },
	});
}

static void lock_and_unlock(struct race_thread *self)
{
	int sides = 1 + (int)race_below(&self->rng, 3);
	size_t start, count;

	race_pick_share(self, &start, &count);
	for (int pass = 0; pass < 2; pass++) {
		for (int side = 0; side < 2; side++) {
			char *at = race_at(self->arena, side, start);
			size_t len = count * mem_page();

			if (!(sides & 1 << side))
				continue;
			if (pass) {
				if (munlock(at, len))
					race_fail("munlock: %s", ktap_errno(errno));
			} else if (mlock2(at, len, MLOCK_ONFAULT)) {
				race_fail("mlock2: %s", ktap_errno(errno));
			} else if (race_below(&self->rng, 2)) {
				/* Locks the pages that are there; the holes make it fail. */
				(void)mlock(at, len);
			}
		}
		race_nap(self, 300);
	}
	self->acts++;
}

static long locked_before;

static void remember_locked(struct race_arena *arena)
{
	(void)arena;
	proc_write("/proc/sys/vm/drop_caches", "1");
	sys_refresh();
	locked_before = sys_vmstat("nr_mlock");
}

/* Each CPU has a batch of pages whose count is still to be changed: dropping caches drains it. */
static void nothing_locked(struct race_arena *arena)
{
	long locked = 0;

	(void)arena;
	for (int attempt = 0; attempt < 40; attempt++) {
		sys_refresh();
		locked = sys_vmstat("nr_mlock");
		if (locked <= locked_before)
			return;
		proc_write("/proc/sys/vm/drop_caches", "1");
		usleep(50000);
	}
	race_fail("nr_mlock: %ld pages before, %ld after all are unlocked", locked_before, locked);
}

static void mlocked(void)
{
	race_run(&(struct race_case){
		.name = "mlock",
		.flags = RACE_IDENTITY,
		.pages = PAGES,
		.errnos = RACE_ERRNO(EINVAL),
		.adversaries = { { "mlock", lock_and_unlock, NULL, 0 } },
		.prepare = remember_locked,
		.standstill = nothing_locked,
	});
}

/* Somewhere else for a run of pages of each adversary. */
static char *elsewhere;

static void make_elsewhere(struct race_arena *arena)
{
	elsewhere = mem_map(arena->pages * mem_page(), 0);
	CHECK_SYS(mprotect(elsewhere, arena->pages * mem_page(), PROT_NONE));
}

static void drop_elsewhere(struct race_arena *arena)
{
	munmap(elsewhere, arena->pages * mem_page());
}

static void enroll(struct race_thread *self, char *at, size_t len)
{
	struct uffdio_register reg = {
		.range = { (uint64_t)(uintptr_t)at, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(self->arena->uffd, UFFDIO_REGISTER, &reg))
		race_fail("UFFDIO_REGISTER: %s", ktap_errno(errno));
}

/* Away and back; what is moved so loses its registration. */
static void remap(struct race_thread *self)
{
	int side = (int)race_below(&self->rng, 2);
	size_t start, count, len;
	char *at, *away;

	race_pick_share(self, &start, &count);
	len = count * mem_page();
	at = race_at(self->arena, side, start);
	away = elsewhere + start * mem_page();
	for (int pass = 0; pass < 2; pass++) {
		char *from = pass ? away : at, *to = pass ? at : away;
		/* mremap() takes one mapping at a time, and neighbours do not always merge. */
		size_t step = pass || race_below(&self->rng, 2) ? mem_page() : len;

		for (size_t done = 0; done < len; done += step) {
			if (mremap(from + done, step, step, MREMAP_MAYMOVE | MREMAP_FIXED,
				   to + done) != MAP_FAILED)
				continue;
			if (step == mem_page()) {
				race_fail("mremap: %s", ktap_errno(errno));
				return;
			}
			step = mem_page();
			done -= step;
		}
		if (race_below(&self->rng, 2))
			race_nap(self, 200);
	}
	enroll(self, at, len);
	/* What is elsewhere again has to be mapped for nobody else to take it. */
	if (mmap(away, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != away)
		race_fail("mmap: %s", ktap_errno(errno));
	self->acts++;
	race_nap(self, 500);
}

static void mremapped(void)
{
	race_run(&(struct race_case){
		.name = "mremap",
		.flags = RACE_UNREADABLE,
		.pages = PAGES,
		.errnos = RACE_ERRNO(EINVAL) | RACE_ERRNO(ENOENT),
		.adversaries = { { "mremap", remap, NULL, 0 } },
		.prepare = make_elsewhere,
		.finish = drop_elsewhere,
	});
}

static void unregister(struct race_thread *self)
{
	size_t start, count;
	struct uffdio_range range;
	char *at;

	race_pick_share(self, &start, &count);
	at = race_at(self->arena, (int)race_below(&self->rng, 2), start);
	range = (struct uffdio_range){ (uint64_t)(uintptr_t)at, count * mem_page() };
	if (ioctl(self->arena->uffd, UFFDIO_UNREGISTER, &range))
		race_fail("UFFDIO_UNREGISTER: %s", ktap_errno(errno));
	race_nap(self, 200);
	enroll(self, at, range.len);
	self->acts++;
	if (race_below(&self->rng, 2))
		race_nap(self, 200);
}

static void unregistered(void)
{
	race_run(&(struct race_case){
		.name = "unregister",
		.flags = RACE_IDENTITY,
		.pages = PAGES,
		.errnos = RACE_ERRNO(EINVAL),
		.adversaries = { { "unregister", unregister, NULL, 0 } },
	});
}

/* Another userfaultfd takes the descriptor's number: the old one goes with its last user. */
static void close_and_open(struct race_thread *self)
{
	struct race_arena *arena = self->arena;
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), busy = 0;

	api.features = UFFD_FEATURE_SIGBUS | (uffd_features() & UFFD_FEATURE_MOVE);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || dup3(fd, arena->uffd, O_CLOEXEC) < 0) {
		race_fail("another userfaultfd: %s", ktap_errno(errno));
		return;
	}
	close(fd);
	for (int side = 0; side < 2; side++) {
		struct uffdio_register reg = {
			.range = { (uint64_t)(uintptr_t)arena->side[side],
				   arena->pages * mem_page() },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		/* EBUSY as long as a mover is still inside the old one. */
		while (ioctl(arena->uffd, UFFDIO_REGISTER, &reg)) {
			if (errno != EBUSY || ++busy > 20000) {
				race_fail("UFFDIO_REGISTER with another userfaultfd: %s",
					  ktap_errno(errno));
				return;
			}
			usleep(200);
		}
	}
	self->acts++;
	race_nap(self, 1000);
}

static void closed(void)
{
	race_run(&(struct race_case){
		.name = "close",
		.flags = RACE_IDENTITY,
		.pages = PAGES,
		.errnos = RACE_ERRNO(EINVAL),
		.adversaries = { { "close", close_and_open, NULL, 1 } },
	});
}

static const struct ktap_case cases[] = {
	{ "mprotect", mprotected },
	{ "mlock", mlocked },
	{ "mremap", mremapped },
	{ "unregister", unregistered },
	{ "close", closed },
};

int main(int argc, char **argv)
{
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
