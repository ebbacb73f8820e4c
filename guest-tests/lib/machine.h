/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the machine's memory is, to the page: for comparing a machine at rest before and after.
 *
 * What the usual counters hide (v6.12): MemFree leaves out the free pages that each CPU keeps in lists
 * of its own, thousands of them (/proc/zoneinfo has their count); the counters of /proc/vmstat lack up
 * to 125 pages a CPU (vm.stat_refresh folds them); /proc/slabinfo takes every object of a slab that a
 * CPU works with as allocated (writing to a cache's "shrink" empties those slabs, and KASAN's
 * quarantine of that cache); a page that was faulted in waits in a batch of its CPU, which holds a
 * reference (dropping caches drains the batches, lru_add_drain_all()); page tables, anon_vmas and
 * VMAs are freed after a grace period of RCU (membarrier() waits for one).
 */
#ifndef LAB_MACHINE_H
#define LAB_MACHINE_H

#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "everycpu.h"
#include "procfile.h"

/* From MACHINE_OBJECTS on: the slab caches of what a mapping is made of, in objects. */
enum {
	MACHINE_ANON,
	MACHINE_LOST,
	MACHINE_TABLES,
	MACHINE_SWAP,
	MACHINE_SLAB,
	MACHINE_OTHER,
	MACHINE_OBJECTS,
	MACHINE_VALUES = MACHINE_OBJECTS + 5
};

static const char *const machine_names[MACHINE_VALUES] = {
	"AnonPages",
	"LostPages", /* on a list of anonymous pages, but not mapped, shmem, or in the swap cache */
	"PageTables",
	"SwapUsed",
	"Slab",
	"OtherMemory", /* neither free nor in any counter */
	"vm_area_struct",
	"anon_vma",
	"anon_vma_chain",
	"userfaultfd_ctx_cache",
	"mm_struct",
};

/* In pages, or objects; -1 is one that this kernel does not tell. */
struct machine {
	long value[MACHINE_VALUES];
};

/* The sum of the numbers behind every occurrence of a name. */
static inline long machine_sum(const char *text, const char *name)
{
	long sum = 0;

	for (const char *at = text; (at = strstr(at, name)); at += strlen(name))
		sum += strtol(at + strlen(name), NULL, 10);
	return sum;
}

/* The sum of counters of /proc/vmstat; those that this kernel lacks are nothing. */
static inline long machine_fields(const char *text, const char *const *names)
{
	long sum = 0, one;

	for (; *names; names++) {
		one = proc_field(text, *names);
		sum += one > 0 ? one : 0;
	}
	return sum;
}

/* Objects in use, as /sys/kernel/slab/CACHE/objects has it (CONFIG_SLUB_DEBUG). */
static inline long machine_objects(const char *cache)
{
	char path[128], number[64];

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache);
	proc_write(path, "1");
	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/objects", cache);
	return proc_read(path, number, sizeof(number)) ? -1 : strtol(number, NULL, 10);
}

/* Let everything that was given up be really free. */
static inline void machine_settle(void)
{
	visit_every_cpu();
	proc_write("/proc/sys/vm/drop_caches", "1");
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* One reading, through a buffer that was touched before. */
static inline void machine_read(struct machine *now, char *text, size_t size)
{
	static const char *const anon_lists[] = { "nr_active_anon", "nr_inactive_anon",
						  "nr_unevictable", "nr_isolated_anon", NULL };
	static const char *const anon_known[] = { "nr_anon_pages", "nr_shmem", "nr_swapcached",
						  NULL };
	static const char *const counted[] = { "nr_active_file",     "nr_inactive_file",
					       "nr_isolated_file",   "nr_page_table_pages",
					       "nr_slab_reclaimable", "nr_slab_unreclaimable",
					       "nr_zspages",         "nr_sec_page_table_pages",
					       NULL };
	long total, swap, vmalloc, pool, lists;

	for (int i = MACHINE_OBJECTS; i < MACHINE_VALUES; i++)
		now->value[i] = machine_objects(machine_names[i]);
	proc_write("/proc/sys/vm/stat_refresh", "1");
	(void)proc_read("/proc/meminfo", text, size);
	total = proc_pages(text, "MemTotal");
	swap = proc_pages(text, "SwapTotal");
	now->value[MACHINE_SWAP] = swap < 0 ? -1 : swap - proc_pages(text, "SwapFree");
	vmalloc = proc_pages(text, "VmallocUsed") + proc_pages(text, "Percpu");
	pool = proc_pages(text, "Hugetlb");
	vmalloc += pool > 0 ? pool : 0;
	(void)proc_read("/proc/vmstat", text, size);
	lists = machine_fields(text, anon_lists);
	now->value[MACHINE_ANON] = proc_field(text, "nr_anon_pages");
	now->value[MACHINE_LOST] = lists - machine_fields(text, anon_known);
	now->value[MACHINE_TABLES] = proc_field(text, "nr_page_table_pages");
	now->value[MACHINE_SLAB] = proc_field(text, "nr_slab_reclaimable") +
				   proc_field(text, "nr_slab_unreclaimable");
	total -= lists + machine_fields(text, counted) + vmalloc;
	/* Of every zone the common list and the lists of its CPUs. */
	(void)proc_read("/proc/zoneinfo", text, size);
	now->value[MACHINE_OTHER] =
		total - machine_sum(text, " nr_free_pages ") - machine_sum(text, " count:");
}

/* Whether any value is greater in b. */
static inline int machine_grew(const struct machine *a, const struct machine *b)
{
	int any = 0;

	for (int i = 0; i < MACHINE_VALUES; i++)
		any |= b->value[i] > a->value[i];
	return any;
}

/* Pages that the huge zero page has taken so far: it is in no counter and stays when nobody uses it. */
static inline long machine_zero_huge(char *text, size_t size)
{
	long times, bytes;

	(void)proc_read("/proc/vmstat", text, size);
	times = proc_field(text, "thp_zero_page_alloc");
	(void)proc_read("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text, size);
	bytes = strtol(text, NULL, 10);
	return times > 0 ? times * (bytes / sysconf(_SC_PAGESIZE)) : 0;
}

/* Of two readings the smaller value of each: what was only passing through is not in both. */
static inline void machine_least(struct machine *a, const struct machine *b)
{
	for (int i = 0; i < MACHINE_VALUES; i++)
		if (b->value[i] < a->value[i])
			a->value[i] = b->value[i];
}

/* Whether b has so much more of anything that somebody may look at it. */
#define MACHINE_MORE 64
/* How often a reading that has more is taken again; 50 ms and a grace period each. */
#define MACHINE_PATIENCE 40

static inline int machine_more(const struct machine *a, const struct machine *b)
{
	int any = 0;

	for (int i = MACHINE_OTHER; i < MACHINE_VALUES; i++)
		any |= b->value[i] > a->value[i] + MACHINE_MORE;
	return any || b->value[MACHINE_LOST] > a->value[MACHINE_LOST] + MACHINE_MORE;
}

/* What /proc/meminfo and /proc/vmstat do not have, as members of a JSON object after others. */
static inline const char *machine_line(char *text, size_t size)
{
	static char line[512];
	static struct machine first, now, again;
	static int begun;
	int used;

	machine_read(&now, text, size);
	/*
	 * What is freed after a grace period is freed some objects at a time, which takes a busy
	 * guest a while: as long as there is more than at first, wait for it.
	 */
	for (int i = 0; begun && i < MACHINE_PATIENCE && machine_more(&first, &now); i++) {
		usleep(50000);
		machine_settle();
		machine_read(&again, text, size);
		machine_least(&now, &again);
	}
	if (!begun++)
		first = now;
	used = snprintf(line, sizeof(line), ",\"ZeroHuge\":%ld,\"%s\":%ld",
			machine_zero_huge(text, size), machine_names[MACHINE_LOST],
			now.value[MACHINE_LOST]);
	for (int i = MACHINE_OTHER; i < MACHINE_VALUES; i++)
		used += snprintf(line + used, sizeof(line) - (size_t)used, ",\"%s\":%ld",
				 machine_names[i], now.value[i]);
	return line;
}

#endif
