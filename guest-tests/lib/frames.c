// SPDX-License-Identifier: GPL-2.0-only
/* See frames.h. */
#define _GNU_SOURCE
#include "frames.h"

#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "rss.h"

/* How often to look again, 20 ms apart: the counter rises when a whole batch has been migrated. */
#define LOOKS 50

long frames_migrated(void)
{
	return sys_vmstat("pgmigrate_success");
}

/* An entry while its page migrates is a swap entry that is no slot. */
static int migrates(uint64_t entry)
{
	return (entry & MEM_SWAPPED) && !mem_is_swap_slot(entry);
}

static int excused(uint64_t noted, uint64_t now, long migrated)
{
	if (!(now & MEM_PRESENT) || !((noted & MEM_PRESENT) || migrates(noted)))
		return 0;
	return frames_migrated() != migrated;
}

int frames_same(const void *address, uint64_t noted, long migrated)
{
	uint64_t now = mem_frame(address);

	for (int looks = 0; now != noted && looks < LOOKS; looks++) {
		if (excused(noted, now, migrated))
			return 1;
		/* Nothing that a wait could change. */
		if (!(now & MEM_PRESENT) && !migrates(now))
			return 0;
		usleep(20 * 1000);
		now = mem_frame(address);
	}
	return now == noted || excused(noted, now, migrated);
}

void frames_expect(const void *address, uint64_t noted, long migrated, const char *what, size_t page)
{
	CHECK(frames_same(address, noted, migrated),
	      "%s, page %zu: got entry %s, expected %s (%ld pages migrated meanwhile)", what, page,
	      mem_entry_text(mem_frame(address)), mem_entry_text(noted),
	      frames_migrated() - migrated);
}
