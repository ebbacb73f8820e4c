/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many pages the kernel has as mlocked, to the page.  Pages wait in a batch of the CPU before they
 * are counted as locked or unlocked (mlock_folio_batch() and munlock_folio() in mm/mlock.c, v6.12);
 * mlock() and munlock() drain the batch of the CPU they run on.  That is the only one for a program that
 * stays on one CPU, which is what locked_one_cpu() is for.
 */
#ifndef LAB_LOCKED_H
#define LAB_LOCKED_H

#include <sched.h>
#include <sys/mman.h>

#include "ktap.h"
#include "mem.h"
#include "rss.h"

/* One CPU from now on, for the children too, and with it one batch. */
static inline void locked_one_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

/* Mlocked of /proc/meminfo, in pages, of the whole machine. */
static inline long locked_pages(void)
{
	/* Not mem_map(), whose guards would stay, in the way of what has to grow. */
	char *page = mmap(NULL, mem_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED, "mmap: %m");
	CHECK_SYS(mlock(page, mem_page()));
	CHECK_SYS(munlock(page, mem_page()));
	CHECK_SYS(munmap(page, mem_page()));
	sys_refresh();
	return sys_meminfo("Mlocked");
}

#endif
