/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the machine shows of a process at rest: smaps, pagemap, status.
 *
 * Sources: Documentation/filesystems/proc.rst and Documentation/admin-guide/mm/pagemap.rst.
 */
#ifndef LAB_EXPLORE_SIGHT_H
#define LAB_EXPLORE_SIGHT_H

#include <fcntl.h>

#include "procfile.h"
#include "worker.h"

#define ENTRY_SOFT_DIRTY ((uint64_t)1 << 55)
#define ENTRY_EXCLUSIVE ((uint64_t)1 << 56)
#define ENTRY_WP ((uint64_t)1 << 57)
#define ENTRY_FILE ((uint64_t)1 << 61)
#define ENTRY_MARKER_KIND 31 /* SWP_PTE_MARKER of include/linux/swap.h is the last one */

/* One process as it is. */
struct sight {
	struct attr attr[PAGES];
	uint8_t joined[PAGES], mapping_dirty[PAGES];
	uint8_t offset[PAGES]; /* of what maps a memfd */
	uint64_t entry[PAGES];
	int state[PAGES];
	long locked, anon, shmem, swap, file, tables;
};

static uint64_t look_zero_frame;

/* The flags of a mapping, as "VmFlags: rd wr mr mw me ac" has them. */
static inline void sight_flags(struct sight *sight, int at, const char *flags)
{
	struct attr *attr = &sight->attr[at];
	int readable = 0, writable = 0, locked = 0, onfault = 0;

	for (; *flags && *flags != '\n'; flags++) {
		if (flags[0] == ' ' || flags[1] == ' ' || flags[1] == '\n' || !flags[1])
			continue;
#define IS(name) (flags[0] == (name)[0] && flags[1] == (name)[1])
		readable |= IS("rd");
		writable |= IS("wr");
		attr->shared |= IS("sh");
		locked |= IS("lo");
		onfault |= IS("lf");
		attr->dontfork |= IS("dc");
		attr->wipe |= IS("wf");
		attr->mergeable |= IS("mg");
		attr->reg |= (uint8_t)((IS("um") ? REG_MISSING : 0) | (IS("uw") ? REG_WP : 0) |
				       (IS("ui") ? REG_MINOR : 0));
		attr->huge = IS("hg") ? HUGE_YES : IS("nh") ? HUGE_NO : attr->huge;
		sight->mapping_dirty[at] |= IS("sd");
#undef IS
	}
	attr->mapped = 1;
	attr->prot = writable ? PROT_RW : readable ? PROT_R : PROT_NO;
	attr->lock = onfault ? LOCKED_ONFAULT : locked ? LOCKED : UNLOCKED;
}

/* Which memfd a line of smaps maps, from 1, and from which page on: "100000-104000 rw-p 00002000 00:01 1 /memfd:a". */
static inline int sight_file(const char *line, unsigned long *offset)
{
	const char *name = strstr(line, "/" FILE_NAME), *from = strchr(line, ' ');

	from = from ? strchr(from + 1, ' ') : NULL;
	*offset = from ? strtoul(from, NULL, 16) / mem_page() : 0;
	return name ? name[strlen("/" FILE_NAME)] - 'a' + 1 : 0;
}

/* smaps begins with the arena: nothing lies below it.  What is read is as much as that takes. */
static inline int sight_mappings(struct sight *sight, pid_t pid)
{
	static char text[65536];
	char path[64], *line, *end;
	uintptr_t low = 0, high = 0;
	unsigned long offset = 0;
	int file = 0;
	/* seq_file shows as many mappings at a time as fit, and looks at no more. */
	size_t used = 0, room = mem_page();
	ssize_t got = 1;
	int fd, over = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (!over && got > 0) {
		got = read(fd, text + used, room < sizeof(text) - 1 - used ? room : sizeof(text) - 1 - used);
		used += got > 0 ? (size_t)got : 0;
		text[used] = 0;
		for (line = text; (end = strchr(line, '\n')); line = end + 1) {
			char *rest;
			uintptr_t first;

			if (!strncmp(line, "VmFlags:", 8) && high) {
				int at = (int)((low - (uintptr_t)ARENA) / mem_page());
				int last = (int)((high - (uintptr_t)ARENA) / mem_page());

				sight_flags(sight, at, line + 8);
				sight->attr[at].file = (uint8_t)file;
				sight->offset[at] = (uint8_t)offset;
				for (int i = at + 1; i < last && i < PAGES; i++) {
					sight->attr[i] = sight->attr[at];
					sight->mapping_dirty[i] = sight->mapping_dirty[at];
					sight->joined[i] = 1;
					sight->offset[i] = (uint8_t)(offset + (unsigned int)(i - at));
				}
				continue;
			}
			first = strtoul(line, &rest, 16);
			if (*rest != '-' || rest == line)
				continue;
			low = first;
			high = strtoul(rest + 1, NULL, 16);
			over = low >= (uintptr_t)address(PAGES);
			if (over)
				break;
			*end = 0;
			file = sight_file(line, &offset);
		}
		used = (size_t)(text + used - line);
		memmove(text, line, used + 1);
	}
	close(fd);
	return 0;
}

static inline int entry_state(uint64_t entry)
{
	if (entry & MEM_PRESENT)
		return (entry & MEM_FRAME) == look_zero_frame ? ZERO : entry & ENTRY_FILE ? SHMEM : ANON;
	if (!(entry & MEM_SWAPPED))
		return NONE;
	if (mem_is_swap_slot(entry))
		return SWAP;
	/* pte_to_pagemap_entry(): the kind of the entry, and above it what kind of marker. */
	if ((entry & 31) == ENTRY_MARKER_KIND && entry >> 5 & 6)
		return entry >> 5 & 4 ? GUARD : POISON;
	return entry & ENTRY_WP ? MARK : 0;
}

static inline int sight_take(struct sight *sight, pid_t pid)
{
	static char text[8192];
	char path[64];
	ssize_t got;
	int fd;

	memset(sight, 0, sizeof(*sight));
	if (sight_mappings(sight, pid))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = pread(fd, sight->entry, sizeof(sight->entry),
		    (off_t)((uintptr_t)ARENA / mem_page() * sizeof(sight->entry[0])));
	close(fd);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (got != (ssize_t)sizeof(sight->entry) || proc_read(path, text, sizeof(text)))
		return -1;
	for (int i = 0; i < PAGES; i++)
		sight->state[i] = entry_state(sight->entry[i]);
	sight->locked = proc_pages(text, "VmLck");
	sight->anon = proc_pages(text, "RssAnon");
	sight->shmem = proc_pages(text, "RssShmem");
	sight->swap = proc_pages(text, "VmSwap");
	sight->file = proc_pages(text, "RssFile");
	sight->tables = proc_pages(text, "VmPTE");
	return 0;
}

#endif
