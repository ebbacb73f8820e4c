/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel counts as locked: the flag of each page that it is about, and Mlocked of /proc/meminfo.
 *
 * Sources: Documentation/mm/unevictable-lru.rst; v6.12: mlock_folio(), mlock_new_folio() and __munlock_folio() in
 * mm/mlock.c, free_pages_prepare() in mm/page_alloc.c.
 *
 * A lock sets the flag of a page, and counts it, at once.  It is taken away later, by whoever empties the batch of that
 * CPU, and then from all who lock the page, since how many do is only known of a page that is on the unevictable list.
 * So nothing is promised of a page that was mapped twice while somebody locked it, and of one that is locked no
 * longer nothing until it is freed.  Nor of one that came from swap into locked memory: folio_add_new_anon_rmap() leaves
 * that to reclaim.
 */
#ifndef LAB_EXPLORE_MLOCKED_H
#define LAB_EXPLORE_MLOCKED_H

#include <dirent.h>

#include "counters.h"

#define LOCKED_FRAMES 1024 /* frames that were locked, of one program */

struct mlocked {
	int count, full;
	uint64_t frame[LOCKED_FRAMES];
	uint8_t twice[LOCKED_FRAMES]; /* mapped twice while somebody locked it */
	struct {
		uint64_t frame; /* of an anonymous page in memory, or 0 */
		uint8_t state, lock, alone, flagged;
	} was[PROCESSES][PAGES]; /* at the look before */
	uint8_t alive[PROCESSES], swap[PROCESSES];
	long before; /* what was counted before the first lock; -1 not asked for */
};

/* Whether a frame has the flag. */
static inline int frame_is_mlocked(uint64_t frame)
{
	static int fd = -1;
	uint64_t flags = 0;

	if (fd < 0)
		fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) != (ssize_t)sizeof(flags))
		return -1;
	return !!(flags & MEM_FLAG_MLOCKED);
}

static inline int mlocked_find(const struct mlocked *seen, uint64_t frame)
{
	for (int i = 0; i < seen->count; i++)
		if (seen->frame[i] == frame)
			return i;
	return -1;
}

static inline void mlocked_note(struct mlocked *seen, uint64_t frame, int twice)
{
	int at = mlocked_find(seen, frame);

	if (at < 0 && seen->count == LOCKED_FRAMES) {
		seen->full = 1;
		return;
	}
	if (at < 0) {
		at = seen->count++;
		seen->frame[at] = frame;
		seen->twice[at] = 0;
	}
	seen->twice[at] |= (uint8_t)twice;
}

/* The next look promises nothing: a page may have been put in the place of another, and taken away again. */
static inline void mlocked_unsure(struct mlocked *seen)
{
	memset(seen->alive, 0, sizeof(seen->alive));
}

/* Whether a page that is locked by its only mapping has to have the flag: 1, or 0 where nothing is promised. */
static inline int mlocked_must(const struct mlocked *seen, int proc, int at, uint64_t frame)
{
	int known = mlocked_find(seen, frame);

	if (!seen->alive[proc] || seen->swap[proc] || (known >= 0 && seen->twice[known]))
		return 0;
	/* A page that came with a fault. */
	if (seen->was[proc][at].state & (NONE | ZERO) && seen->was[proc][at].lock)
		return 1;
	/* One that was there, and is locked now: by mlock(). */
	if (seen->was[proc][at].frame == frame && seen->was[proc][at].alone && !seen->was[proc][at].lock)
		return 1;
	/* One that had it, here or where it was moved from. */
	for (int k = 0; k < PAGES; k++)
		if (seen->was[proc][k].frame == frame && seen->was[proc][k].alone && seen->was[proc][k].lock &&
		    seen->was[proc][k].flagged)
			return 1;
	return 0;
}

/* How often a frame is mapped in the arenas, and how often by a mapping that is locked. */
static inline int frame_mapped(const struct model *model, const struct sight *sights, uint64_t frame, int *locked)
{
	int count = 0;

	*locked = 0;
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		const struct sight *sight = &sights[i / PAGES];
		int k = i % PAGES;

		if (!model->procs[i / PAGES].alive || sight->state[k] != ANON ||
		    (sight->entry[k] & MEM_FRAME) != frame)
			continue;
		count++;
		*locked += !!sight->attr[k].lock;
	}
	return count;
}

/*
 * The flag of each anonymous page: as soon as anything was locked in the program.  moved: what the
 * kernel had migrated and swapped when it began; as long as that is all, a frame is what it was.
 */
static inline int look_mlocked(struct mlocked *seen, const struct model *model, const struct sight *sights, long moved,
			       struct finding *finding)
{
	static struct mlocked now;
	int any = seen->count, locked;

	for (int i = 0; !any && i < PROCESSES * PAGES; i++)
		any = model->procs[i / PAGES].alive && sights[i / PAGES].attr[i % PAGES].lock;
	now = *seen;
	for (int i = 0; i < PROCESSES; i++) {
		now.alive[i] = model->procs[i].alive;
		now.swap[i] = 0;
		memset(now.was[i], 0, sizeof(now.was[i]));
		for (int k = 0; now.alive[i] && k < PAGES; k++) {
			uint64_t frame = sights[i].entry[k] & MEM_FRAME;
			int flagged, must;

			now.was[i][k].state = (uint8_t)sights[i].state[k];
			now.was[i][k].lock = sights[i].attr[k].lock;
			now.swap[i] |= sights[i].state[k] == SWAP;
			if (sights[i].state[k] != ANON)
				continue;
			now.was[i][k].frame = frame;
			now.was[i][k].alone = frame_mapped(model, sights, frame, &locked) == 1;
			flagged = any ? frame_is_mlocked(frame) : 0;
			now.was[i][k].flagged = flagged == 1;
			if (locked)
				mlocked_note(&now, frame, !now.was[i][k].alone);
			finding->process = i;
			must = locked && now.was[i][k].alone ? mlocked_must(seen, i, k, frame) : 0;
			if (!flagged && must)
				return found(finding, "mlocked",
					     "page %d of process %d is locked, and its frame is not counted as that", k, i);
			if (flagged == 1 && !locked && !seen->full && mlocked_find(seen, frame) < 0 &&
			    moved_by_kernel() == moved)
				return found(finding, "mlocked",
					     "page %d of process %d was never locked, and its frame is counted as that", k, i);
		}
	}
	*seen = now;
	return 0;
}

/* Whether anybody but this process and its children has memory locked: their pages come and go as they like. */
static inline int others_lock(void)
{
	DIR *all = opendir("/proc");
	static char text[8192];
	struct dirent *one;
	char path[300];
	int lock = 0;

	while (all && !lock && (one = readdir(all))) {
		if (one->d_name[0] < '1' || one->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/status", one->d_name);
		if (!proc_read(path, text, sizeof(text)) && proc_field(text, "PPid") != getpid())
			lock = proc_field(text, "VmLck") > 0;
	}
	if (all)
		closedir(all);
	return lock;
}

/*
 * Mlocked in pages, once every CPU has emptied its batch and added what it counted by itself: move_pages(2) of no page
 * begins with lru_cache_disable(), which does the former; hard: drop_caches does it, where there is no NUMA.
 */
static inline long mlocked_now(int hard)
{
	int node = 0, status = 0;
	void *page = NULL;

	if (syscall(SYS_move_pages, 0, 0UL, &page, &node, &status, 0) < 0 && hard)
		proc_write("/proc/sys/vm/drop_caches", "1");
	sys_refresh();
	return sys_vmstat("nr_mlock");
}

/* Whether Mlocked is asked for: prepare() looks whether nobody else is at it. */
static int mlocked_counts;

/* Before a program locks anything. */
static inline void mlocked_begin(struct mlocked *seen)
{
	if (mlocked_counts && seen->before < 0)
		seen->before = mlocked_now(1);
}

/* All processes are gone: what they locked is counted no longer.  Up to 10 s. */
static inline int mlocked_end(const struct mlocked *seen, struct finding *finding)
{
	long now = seen->before;

	for (int attempt = 0; seen->before >= 0 && attempt < 75; attempt++) {
		cgroup_pause(!attempt ? 0 : attempt < 25 ? 20 : 200);
		now = mlocked_now(attempt > 0);
		if (now == seen->before || others_lock())
			return 0;
	}
	if (now == seen->before)
		return 0;
	return found(finding, "Mlocked", "all processes are gone, and Mlocked is %ld pages, expected %ld as before", now,
		     seen->before);
}

#endif
