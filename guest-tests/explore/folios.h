/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Folios of several pages: switched on for the programs that want them, and split.
 *
 * Source: Documentation/admin-guide/mm/transhuge.rst; split_huge_pages_write() of mm/huge_memory.c, v6.12.
 */
#ifndef LAB_EXPLORE_FOLIOS_H
#define LAB_EXPLORE_FOLIOS_H

#include "counters.h"
#include "knob.h"

#define FOLIOS_KNOB "/sys/kernel/mm/transparent_hugepage/hugepages-%zukB/enabled"
#define FOLIOS_SPLIT "/sys/kernel/debug/split_huge_pages"

/* All sizes that fit into the arena; "madvise": for mappings that ask for them, so that no other program is concerned. */
static inline int folios_switch(const char *word, int (*set)(const char *, const char *))
{
	char path[96];
	int sizes = 0;

	for (size_t kib = 2 * mem_page() / 1024; kib <= PAGES * mem_page() / 1024 && kib < mem_huge() / 1024; kib *= 2) {
		snprintf(path, sizeof(path), FOLIOS_KNOB, kib);
		sizes += !access(path, W_OK) && !set(path, word);
	}
	return sizes;
}

static inline int folios_put(const char *path, const char *word)
{
	proc_write(path, word);
	return 0;
}

/* What is set now is put back by knob_restore(); why there are none, as a skip reason, or NULL. */
static inline const char *folios_prepare(void)
{
	return folios_switch("never", knob_set) ? NULL : "this kernel has no folios between a page and a huge page";
}

/* Behind a program that switched them on, whatever became of it. */
static inline void folios_off(unsigned int has)
{
	if (has & CAN_LARGE)
		(void)folios_switch("never", folios_put);
}

/* A step of the two; of what could not be split nothing is said. */
static inline int folios_do(const struct step *step, pid_t pid)
{
	char text[96];

	if (step->op == OP_FOLIOS)
		return !folios_switch("madvise", folios_put);
	snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", (int)pid, (unsigned long)(uintptr_t)address(step->at),
		 (unsigned long)(uintptr_t)address(step->at + step->n));
	proc_write(FOLIOS_SPLIT, text);
	return 0;
}

#endif
