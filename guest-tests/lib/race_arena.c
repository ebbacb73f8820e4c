// SPDX-License-Identifier: GPL-2.0-only
/* See race_arena.h. */
#define _GNU_SOURCE
#include "race_arena.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "procfile.h"
#include "uffd.h"
#include "uffd_abi.h"

#define STAMPS 8  /* words of a page that tell which page it is */
#define COUNTER 1 /* the word that is counted up */

/*
 * Where this thread lands when an access of its own faults.  Not by trap.h, which sets the handlers for
 * each access and back, for the main thread alone: here many threads do nothing else all the time, and
 * five system calls at each access would leave little of the race.
 */
static __thread sigjmp_buf landing;
static __thread volatile sig_atomic_t may_fault;

static void on_fault(int signal)
{
	if (may_fault)
		siglongjmp(landing, signal);
	/* Not one of ours: die of it. */
	(void)sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
}

void race_catch_signals(void)
{
	/* SA_NODEFER: siglongjmp() then need not restore the mask. */
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };

	CHECK_SYS(sigaction(SIGBUS, &action, NULL));
	CHECK_SYS(sigaction(SIGSEGV, &action, NULL));
}

int race_add(uint64_t *word, uint64_t add, uint64_t *old)
{
	int signal = sigsetjmp(landing, 0);

	if (!signal) {
		uint64_t was;

		may_fault = 1;
		was = __atomic_fetch_add(word, add, __ATOMIC_SEQ_CST);
		if (old)
			*old = was;
	}
	may_fault = 0;
	return signal;
}

static int copy_words(volatile uint64_t *to, const volatile uint64_t *from, size_t len)
{
	int signal = sigsetjmp(landing, 0);

	if (!signal) {
		may_fault = 1;
		for (size_t i = 0; i < len / sizeof(*to); i++)
			to[i] = from[i];
	}
	may_fault = 0;
	return signal;
}

int race_read(const void *from, void *to, size_t len)
{
	return copy_words(to, from, len);
}

int race_write(void *to, const void *from, size_t len)
{
	return copy_words(to, from, len);
}

char *race_at(const struct race_arena *arena, int side, size_t page)
{
	return arena->side[side] + page * mem_page();
}

int race_drop(struct race_arena *arena, int side, size_t page)
{
	int *drops = &arena->drops[(size_t)side * arena->pages + page], err;

	__atomic_fetch_add(drops, 1, __ATOMIC_SEQ_CST);
	err = madvise(race_at(arena, side, page), mem_page(), MADV_DONTNEED) ? errno : 0;
	__atomic_fetch_sub(drops, 1, __ATOMIC_SEQ_CST);
	return err;
}

int race_dropping(const struct race_arena *arena, int side, size_t page)
{
	return __atomic_load_n(&arena->drops[(size_t)side * arena->pages + page], __ATOMIC_SEQ_CST) != 0;
}

static uint64_t *counter_at(const struct race_arena *arena, int side, size_t page)
{
	return (uint64_t *)race_at(arena, side, page) + COUNTER;
}

int race_bump(struct race_arena *arena, int side, size_t page)
{
	int signal = race_add(counter_at(arena, side, page), 1, NULL);

	if (!signal)
		__atomic_fetch_add(&arena->hits[page], 1, __ATOMIC_SEQ_CST);
	return signal;
}

/* The first and the last word of the page are among them. */
static size_t stamp_word(size_t i)
{
	return i * (mem_page() / sizeof(uint64_t) - 1) / (STAMPS - 1);
}

static uint64_t stamp_value(size_t page, size_t i)
{
	struct race_rng rng = { (uint64_t)page << 8 | i };

	return race_random(&rng) | 1;
}

void race_stamp(void *buffer, size_t page)
{
	for (size_t i = 0; i < STAMPS; i++)
		((uint64_t *)buffer)[stamp_word(i)] = stamp_value(page, i);
}

int race_stamped(const void *buffer, size_t page)
{
	for (size_t i = 0; i < STAMPS; i++)
		if (((const uint64_t *)buffer)[stamp_word(i)] != stamp_value(page, i))
			return 0;
	return 1;
}

uint64_t race_counter(const void *buffer)
{
	return ((const uint64_t *)buffer)[COUNTER];
}

void race_entries(const struct race_arena *arena, int side, size_t page, size_t count,
		  uint64_t *entries)
{
	off_t at = (off_t)((uintptr_t)race_at(arena, side, page) / mem_page() * sizeof(*entries));
	ssize_t want = (ssize_t)(count * sizeof(*entries));

	if (pread(arena->pagemap, entries, (size_t)want, at) != want)
		race_fail("short read of /proc/self/pagemap: %s", ktap_errno(errno));
}

int race_populated(uint64_t entry)
{
	return (entry & (MEM_PRESENT | MEM_SWAPPED)) != 0;
}

/*
 * How often anybody gave a page another frame: migrated it, swapped it in, or collapsed it into a
 * huge page in the background.  Static text of procfile users is not for threads: a buffer of its own.
 */
long race_migrations(void)
{
	char text[16 * 1024];
	long collapsed = 0;

	if (!proc_read("/sys/kernel/mm/transparent_hugepage/khugepaged/pages_collapsed", text,
		       sizeof(text)))
		collapsed = strtol(text, NULL, 10);
	if (proc_read("/proc/vmstat", text, sizeof(text)))
		return -1;
	return proc_field(text, "pgmigrate_success") + proc_field(text, "pswpin") + collapsed;
}

int race_look(const struct race_arena *arena, int side, size_t page, int *whole, uint64_t *count)
{
	const volatile uint64_t *words = (const uint64_t *)race_at(arena, side, page);
	int signal = sigsetjmp(landing, 0);

	if (!signal) {
		may_fault = 1;
		*whole = 1;
		for (size_t i = 0; i < STAMPS; i++)
			*whole &= words[stamp_word(i)] == stamp_value(page, i);
		*count = words[COUNTER];
	}
	may_fault = 0;
	return signal;
}

void race_verify(struct race_arena *arena)
{
	int shared = (arena->flags & RACE_SHARED) != 0;

	for (size_t page = 0; page < arena->pages; page++) {
		uint64_t entries[2], count = 0, hits = arena->hits[page];
		int whole = 0, side, signal;

		race_entries(arena, 0, page, 1, &entries[0]);
		race_entries(arena, 1, page, 1, &entries[1]);
		side = shared ? arena->flips[page] : arena->at[page];
		if (side != 0 && side != 1) {
			race_fail("page %zu: %d more moves away from its first place than back to it",
				  page, side);
			return;
		}
		if (!race_populated(entries[side]) || race_populated(entries[!side])) {
			race_fail("page %zu is to be on side %d alone: entries %#llx and %#llx", page,
				  side, (unsigned long long)entries[0],
				  (unsigned long long)entries[1]);
			return;
		}
		signal = race_look(arena, side, page, &whole, &count);
		if (signal || !whole || count != hits) {
			race_fail("page %zu on side %d: %s, counter %llu, expected %llu (entries "
				  "%#llx and %#llx)",
				  page, side,
				  signal == SIGBUS ? "reading raises SIGBUS" :
				  signal	   ? "reading raises SIGSEGV" :
				  whole		   ? "stamps whole" :
						     "stamps lost",
				  (unsigned long long)count, (unsigned long long)hits,
				  (unsigned long long)entries[0], (unsigned long long)entries[1]);
			return;
		}
	}
}

static void enroll(int uffd, void *start, size_t len, unsigned int flags)
{
	struct uffdio_register reg = {
		.range = { (uint64_t)(uintptr_t)start, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING |
			(flags & RACE_WP ? UFFDIO_REGISTER_MODE_WP : 0),
	};

	CHECK_SYS(ioctl(uffd, UFFDIO_REGISTER, &reg));
}

void race_arena_make(struct race_arena *arena, unsigned int flags, size_t pages, uint64_t errnos)
{
	size_t page = mem_page(), huge = mem_huge(), len;

	memset(arena, 0, sizeof(*arena));
	arena->flags = flags;
	arena->errnos = errnos;
	arena->unit = 1;
	arena->pages = pages ? pages : 256;
	if (flags & RACE_HUGE) {
		if (mem_why_no_huge())
			ktap_skip("%s", mem_why_no_huge());
		arena->unit = huge / page;
		if (!pages)
			arena->pages = 4 * arena->unit;
	}
	len = arena->pages * page;
	arena->at = calloc(arena->pages, sizeof(*arena->at));
	arena->flips = calloc(arena->pages, sizeof(*arena->flips));
	arena->hits = calloc(arena->pages, sizeof(*arena->hits));
	arena->drops = calloc(2 * arena->pages, sizeof(*arena->drops));
	CHECK(arena->at && arena->flips && arena->hits && arena->drops, "out of memory");
	arena->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	CHECK(arena->pagemap >= 0, "/proc/self/pagemap: %m (CONFIG_PROC_PAGE_MONITOR)");
	arena->uffd = uffd_open(0);
	arena->migrations = race_migrations();
	if (flags & RACE_HUGE)
		arena->side[0] = mem_map_huge(arena->pages / arena->unit, 1);
	else
		arena->side[0] = mem_map(len, 0);
	arena->side[1] = mem_map(len, flags & RACE_HUGE ? huge : 0);
	for (int side = 0; side < 2; side++) {
		if (flags & RACE_HUGE)
			(void)madvise(arena->side[side], len, MADV_HUGEPAGE);
		else
			mem_no_huge(arena->side[side], len);
	}
	if (!(flags & RACE_ONE_WAY)) {
		for (size_t i = 0; i < arena->pages; i++) {
			race_stamp(race_at(arena, 0, i), i);
			((uint64_t *)race_at(arena, 0, i))[COUNTER] = 0;
		}
		enroll(arena->uffd, arena->side[0], len, flags);
	}
	enroll(arena->uffd, arena->side[1], len, flags);
}

void race_arena_drop(struct race_arena *arena)
{
	size_t len = arena->pages * mem_page();

	close(arena->uffd);
	close(arena->pagemap);
	munmap(arena->side[0], len);
	munmap(arena->side[1], len);
	free(arena->at);
	free(arena->flips);
	free(arena->hits);
	free(arena->drops);
}
