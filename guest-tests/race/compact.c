// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves while compaction migrates the pages: a page table holds a migration entry for a moment, and
 * a move waits for its end.  To the mover that is nothing at all: no error but EAGAIN.
 *
 * Source: migration_entry_wait() in move_pages_pte() in mm/userfaultfd.c, /proc/sys/vm/compact_memory
 * in Documentation/admin-guide/sysctl/vm.rst of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hugerace.h"
#include "mem.h"
#include "rss.h"

#define COMPACT "/proc/sys/vm/compact_memory"
#define LITTER ((size_t)16 << 20)

static char *litter;
static long migrated;

static void begin(struct race_arena *arena)
{
	(void)arena;
	litter = mem_map(LITTER, 0);
	mem_no_huge(litter, LITTER);
	migrated = sys_vmstat("pgmigrate_success");
}

static void finish(struct race_arena *arena)
{
	(void)arena;
	munmap(litter, LITTER);
	migrated = sys_vmstat("pgmigrate_success") - migrated;
	ktap_diag("migrated: %ld pages", migrated);
}

/* Memory in use and free by turns: something to put together. */
static void scatter(struct race_thread *self)
{
	size_t step = mem_page() << race_below(&self->rng, 4);

	for (size_t at = 0; at < LITTER && !race_over(); at += mem_page())
		*(volatile char *)(litter + at) = 1;
	for (size_t at = 0; at < LITTER && !race_over(); at += 2 * step)
		if (madvise(litter + at, step, MADV_DONTNEED))
			race_fail("MADV_DONTNEED: %s", ktap_errno(errno));
	self->acts++;
	race_nap(self, 20000);
}

static void compact(struct race_thread *self)
{
	int fd = open(COMPACT, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		race_fail("%s: %s", COMPACT, ktap_errno(errno));
	else
		self->acts++;
	if (fd >= 0)
		close(fd);
	race_nap(self, 5000);
}

static void run(const struct race_case *what)
{
	struct race_case one = *what;

	if (access(COMPACT, W_OK))
		ktap_skip("no %s (CONFIG_COMPACTION is off)", COMPACT);
	one.adversaries[0] = (struct race_role){ "compactor", compact, NULL, 1 };
	one.adversaries[1] = (struct race_role){ "litterer", scatter, NULL, 1 };
	one.prepare = begin;
	one.finish = finish;
	race_run(&one);
	if (!migrated)
		ktap_skip("compaction found nothing to migrate");
}

static void base_pages(void)
{
	run(&(struct race_case){ .name = "base-pages", .pages = 1024 });
}

static void huge_pages_(void)
{
	huge_prepare(0);
	run(&(struct race_case){
		.name = "huge-pages",
		.flags = RACE_HUGE,
		.pages = huge_pages(),
		.mover = { "mover", huge_carry, NULL, huge_movers() },
	});
}

static const struct ktap_case cases[] = {
	{ "base-pages", base_pages },
	{ "huge-pages", huge_pages_ },
};

int main(int argc, char **argv)
{
	return race_main(argc, argv, cases, KTAP_COUNT(cases), uffd_why_not());
}
