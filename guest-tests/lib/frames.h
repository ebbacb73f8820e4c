/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page frames that have to be the same later.  The kernel may give a page another frame only by
 * migration (compaction, NUMA balancing), and says so: pgmigrate_success of /proc/vmstat counts every
 * page, a little after its new entry is there (the end of migrate_pages(), mm/migrate.c of v6.12).  So
 * another frame is no error where that counter rose since the frame was noted, and is one elsewhere.
 */
#ifndef LAB_FRAMES_H
#define LAB_FRAMES_H

#include <stddef.h>
#include <stdint.h>

/* Pages migrated so far, to be read before frames are noted; -1 where the kernel does not count. */
long frames_migrated(void);

/*
 * Whether the entry at an address is still noted, a mem_frame(), or another frame where pages were
 * migrated since.  What is or was a swap slot, or nothing, has no such excuse.
 */
int frames_same(const void *address, uint64_t noted, long migrated);

/* frames_same() as a check of the running case; what and page say where. */
void frames_expect(const void *address, uint64_t noted, long migrated, const char *what, size_t page);

#endif
