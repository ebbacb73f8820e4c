/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KSM's daemon, let go for one step at a time; and what a look tells of what it merged.
 *
 * Source: Documentation/admin-guide/mm/ksm.rst; v6.12: scan_get_next_rmap_item() and run_store() in mm/ksm.c.
 */
#ifndef LAB_EXPLORE_KSM_H
#define LAB_EXPLORE_KSM_H

#include <dirent.h>

#include "counters.h"
#include "knob.h"
#include "rules_ksm.h"

#define KSM_KNOBS "/sys/kernel/mm/ksm/"
#define KSM_DEADLINE_MS 60000.0

/* Whether a process has anything that may be merged: smaps says so of each mapping. */
static inline int process_mergeable(const char *pid)
{
	char path[300], line[512];
	int is = 0;
	FILE *smaps;

	snprintf(path, sizeof(path), "/proc/%s/smaps", pid);
	smaps = fopen(path, "r");
	while (smaps && !is && fgets(line, sizeof(line), smaps))
		is = !strncmp(line, "VmFlags:", 8) && strstr(line, " mg");
	if (smaps)
		fclose(smaps);
	return is;
}

static inline int anybody_mergeable(void)
{
	DIR *all = opendir("/proc");
	struct dirent *one;
	int is = 0;

	while (all && !is && (one = readdir(all)))
		is = one->d_name[0] >= '1' && one->d_name[0] <= '9' && process_mergeable(one->d_name);
	if (all)
		closedir(all);
	return is;
}

/*
 * The daemon as the steps want it: at rest, and fast when it is let go; knob_restore() takes it all back.  Why that cannot
 * be, as a skip reason, or NULL.
 */
static inline const char *ksm_prepare(unsigned int has)
{
	if (!(has & CAN_KSM) || access(KSM_KNOBS "run", W_OK))
		return "this kernel has no KSM, or it cannot be let run";
	if (anybody_mergeable())
		return "other processes have memory that may be merged: the daemon would go through theirs too";
	(void)knob_set(KSM_KNOBS "run", "0");
	(void)knob_set(KSM_KNOBS "use_zero_pages", "0");
	/* Not there before v6.7 and v6.8. */
	(void)knob_set(KSM_KNOBS "smart_scan", "0");
	(void)knob_set(KSM_KNOBS "advisor_mode", "none");
	(void)knob_set(KSM_KNOBS "pages_to_scan", "10000");
	(void)knob_set(KSM_KNOBS "sleep_millisecs", "0");
	return NULL;
}

/*
 * The daemon goes through all of it: to the end of the round it is in, once to remember each page, once to compare them.
 * Whoever has it stand still waits until it does (ksm_thread_mutex).
 */
static inline int ksm_scan(int how, struct finding *finding)
{
	double begin = mem_now_ms();
	long until = knob_number(KSM_KNOBS "full_scans") + 3;
	int late = 0;

	if (how == KSM_UNMERGE) {
		proc_write(KSM_KNOBS "run", "2");
		proc_write(KSM_KNOBS "run", "0");
		return 0;
	}
	proc_write(KSM_KNOBS "use_zero_pages", how == KSM_ZEROS ? "1" : "0");
	proc_write(KSM_KNOBS "run", "1");
	while (knob_number(KSM_KNOBS "full_scans") < until && !late) {
		usleep(200);
		late = mem_now_ms() - begin > KSM_DEADLINE_MS;
	}
	proc_write(KSM_KNOBS "run", "0");
	return !late ? 0 : found(finding, "hang", "ksmd did not go through all memory within a minute");
}

/* What it remembers of processes that are gone it forgets when it comes by, or when it unmerges everything. */
static inline void ksm_forget(const struct model *model)
{
	struct finding nothing;

	if (model->ksm)
		(void)ksm_scan(KSM_UNMERGE, &nothing);
}

/* ksm_zero_pages of a process, against the zero pages that KSM put into its page table. */
static inline int look_ksm(const struct model *model, int which, const struct sight *sight, pid_t pid,
			   struct finding *finding)
{
	const struct process *proc = &model->procs[which];
	char path[64], text[1024];
	long counted, zeros = 0;

	snprintf(path, sizeof(path), "/proc/%d/ksm_stat", (int)pid);
	if (!model->ksm_zeros || proc->ksm_lost || proc_read(path, text, sizeof(text)))
		return 0;
	counted = proc_field(text, "ksm_zero_pages");
	for (int i = 0; i < PAGES; i++)
		zeros += sight->state[i] == ZERO && proc->pages[i].ksm_zero;
	/* Not there before v6.6. */
	if (counted < 0 || counted == zeros)
		return 0;
	return found(finding, "ksm_zero_pages", "ksm_zero_pages is %ld pages, expected %ld", counted, zeros);
}

/*
 * What the look showed of pages that may have been merged: those in one frame have one number, each in a frame of its own has
 * its own.  Not where one of the same number is swapped out, which may come back into any of their frames.
 */
static inline void ksm_narrow(struct model *model, const struct sight *sights)
{
	static uint32_t number[PROCESSES * PAGES];
	static uint8_t sure[PROCESSES * PAGES];
	int all = PROCESSES * PAGES;

#define PAGE_OF(i) (&model->procs[(i) / PAGES].pages[(i) % PAGES])
#define FRAME_OF(i) (sights[(i) / PAGES].entry[(i) % PAGES] & MEM_FRAME)
#define IS_MERGED(i) (model->procs[(i) / PAGES].alive && PAGE_OF(i)->merged && must(PAGE_OF(i), ANON))
	for (int i = 0; i < all; i++) {
		number[i] = 0;
		sure[i] = IS_MERGED(i) != 0;
		for (int k = 0; sure[i] && k < all; k++)
			if (model->procs[k / PAGES].alive && PAGE_OF(k)->frame == PAGE_OF(i)->frame &&
			    may(PAGE_OF(k), SWAP))
				sure[i] = 0;
	}
	for (int i = 0; i < all; i++) {
		int others = 0;

		if (!sure[i])
			continue;
		for (int k = 0; k < all; k++) {
			if (k == i || !sure[k] || FRAME_OF(k) != FRAME_OF(i))
				continue;
			others++;
			if (k < i)
				number[i] = number[k];
		}
		if (!number[i])
			number[i] = ++model->frames;
		if (others)
			PAGE_OF(i)->own = NO;
	}
	for (int i = 0; i < all; i++) {
		if (!sure[i])
			continue;
		PAGE_OF(i)->frame = number[i];
		PAGE_OF(i)->tied = 1;
	}
#undef IS_MERGED
#undef FRAME_OF
#undef PAGE_OF
}

#endif
