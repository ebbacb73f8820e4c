/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a control group counts of processes that are alive and stand still, against their page tables.
 *
 * Sources: Documentation/admin-guide/cgroup-v2.rst, memory.stat; Documentation/admin-guide/mm/pagemap.rst,
 * /proc/kpagecgroup; v6.12: __folio_mod_stat() in mm/rmap.c, shmem_update_stats() in mm/shmem.c.
 *
 * What a page is charged to is who had it first, so that pages which the processes have from before they entered the group
 * are not its own: kpagecgroup tells.  memory.stat is gathered when cpu.stat is read, or else in two seconds.
 */
#ifndef LAB_EXPLORE_CHARGED_H
#define LAB_EXPLORE_CHARGED_H

#include "run.h"

#define CHARGED_FRAMES 65536

struct charged {
	int count, full;
	uint64_t frames[CHARGED_FRAMES];
	long huge; /* pages that are mapped as huge ones, once in each process */
};

static int frames_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorted, each once. */
static inline void charged_unique(struct charged *charged)
{
	int count = 0;

	qsort(charged->frames, (size_t)charged->count, sizeof(charged->frames[0]), frames_compare);
	for (int i = 0; i < charged->count; i++)
		if (!i || charged->frames[i] != charged->frames[i - 1])
			charged->frames[count++] = charged->frames[i];
	charged->count = count;
}

/* The anonymous pages of a range of a process that are charged to the group. */
static inline void charged_range(struct charged *charged, int pagemap, uintptr_t start, uintptr_t end, uint64_t group)
{
	static uint64_t entries[8192];
	uintptr_t page = mem_page();

	for (uintptr_t at = start; at < end;) {
		size_t pages = (end - at) / page < KTAP_COUNT(entries) ? (end - at) / page : KTAP_COUNT(entries);
		ssize_t got = pread(pagemap, entries, pages * sizeof(entries[0]), (off_t)(at / page * sizeof(entries[0])));

		if (got <= 0)
			return;
		for (ssize_t i = 0; i < got / (ssize_t)sizeof(entries[0]); i++) {
			if (entry_state(entries[i]) != ANON || !frame_is_charged(entries[i] & MEM_FRAME, group))
				continue;
			if (charged->count == CHARGED_FRAMES)
				charged->full = 1;
			else
				charged->frames[charged->count++] = entries[i] & MEM_FRAME;
		}
		at += (uintptr_t)(got / (ssize_t)sizeof(entries[0])) * page;
	}
}

/* All of a process. */
static inline void charged_process(struct charged *charged, pid_t pid, uint64_t group)
{
	static char text[65536];
	char path[64];
	int pagemap;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	if (!proc_read(path, text, sizeof(text)))
		charged->huge += proc_pages(text, "AnonHugePages");
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	if (pagemap < 0 || proc_read(path, text, sizeof(text)))
		return;
	for (char *line = text, *rest; *line; line = rest) {
		uintptr_t start = strtoul(line, &rest, 16);
		uintptr_t end = strtoul(*rest == '-' ? rest + 1 : rest, NULL, 16);

		rest = strchr(line, '\n');
		rest = rest ? rest + 1 : line + strlen(line);
		/* vsyscall is of no process. */
		if (start < (uintptr_t)1 << (sizeof(uintptr_t) * 8 - 1))
			charged_range(charged, pagemap, start, end, group);
	}
	close(pagemap);
}

/*
 * Pages of shared memory that are mapped and charged to the group: no more than it says.  It may be charged for others, as
 * for a file of a tmpfs that was swapped out when its own group was no more (mem_cgroup_swapin_charge_folio()).
 */
static inline long charged_shmem(const struct run *run, uint64_t group)
{
	static uint8_t seen[OBJECTS][PAGES];
	long count = 0;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		const struct page *page = &run->model.procs[i / PAGES].pages[i % PAGES];
		const struct sight *sight = &run->sights[i / PAGES];

		if (!run->model.procs[i / PAGES].alive || sight->state[i % PAGES] != SHMEM || page->offset >= PAGES ||
		    seen[page->object][page->offset])
			continue;
		seen[page->object][page->offset] = 1;
		count += frame_is_charged(sight->entry[i % PAGES] & MEM_FRAME, group);
	}
	return count;
}

/* Before the processes end.  What does not agree is looked at again, up to 6 s. */
static inline int look_charged(struct run *run, unsigned int has, struct finding *finding)
{
	static struct charged charged;
	long page = (long)mem_page(), anon = 0, shmem = 0, huge = 0, mapped = 0;
	struct stat group;

	if (!(has & CAN_GROUP) || access("/proc/kpagecgroup", R_OK) || stat(cgroup_file(group_name, ""), &group))
		return 0;
	for (int attempt = 0; attempt < 75; attempt++) {
		cgroup_pause(!attempt ? 0 : attempt < 50 ? 20 : 200);
		charged.count = charged.full = 0;
		charged.huge = 0;
		for (int i = 0; i < PROCESSES; i++) {
			if (!run->model.procs[i].alive)
				continue;
			charged_process(&charged, run->subjects[i].pid, (uint64_t)group.st_ino);
			if (sight_take(&run->sights[i], run->subjects[i].pid))
				return 0;
		}
		charged_unique(&charged);
		mapped = charged_shmem(run, (uint64_t)group.st_ino);
		(void)cgroup_read(group_name, "cpu.stat");
		if (cgroup_read(group_name, "memory.stat") || charged.full)
			return 0;
		anon = proc_field(cgroup_text, "anon") / page;
		shmem = proc_field(cgroup_text, "shmem") / page;
		huge = proc_field(cgroup_text, "anon_thp") / page;
		if (anon == charged.count && shmem >= mapped && huge <= charged.huge)
			return 0;
	}
	finding->process = 0;
	if (anon != charged.count)
		return found(finding, "memory.stat", "anon of memory.stat is %ld pages, expected %d that are mapped", anon,
			     charged.count);
	if (huge > charged.huge)
		return found(finding, "memory.stat", "anon_thp of memory.stat is %ld pages, expected no more than %ld", huge,
			     charged.huge);
	return found(finding, "memory.stat", "shmem of memory.stat is %ld pages, expected no fewer than %ld", shmem,
		     mapped);
}

#endif
