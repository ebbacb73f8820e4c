/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What of the kernel a program ran, as KCOV has it (Documentation/dev-tools/kcov.rst, v6.12): the places, basic
 * blocks mostly, that its steps passed, and which of them no program passed before.
 *
 * A task is traced into a buffer that belongs to an open file, whoever has it mapped: who tells the processes
 * opens one for each of them and maps it, and they only switch it on and off.  So their memory stays as it is.
 */
#ifndef LAB_EXPLORE_COVER_H
#define LAB_EXPLORE_COVER_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "step.h"

#define KCOV_FILE "/sys/kernel/debug/kcov"
#define KCOV_INIT_TRACE_ _IOR('c', 1, unsigned long)
#define KCOV_ENABLE_ _IO('c', 100)
#define KCOV_DISABLE_ _IO('c', 101)
#define KCOV_TRACE_PC_ 0

/* A buffer for each process, and one for who tells them. */
#define COVER_SELF PROCESSES
#define COVER_SLOTS (PROCESSES + 1)
#define COVER_WORDS (1UL << 16) /* of a buffer: what a step runs beyond that is not seen */
#define COVER_SET (1u << 17) /* places, three quarters of them used at most: mm/ has some 30,000 */
#define COVER_RAN 16384 /* of one program: what is beyond is new in the next */

/* Places that were passed; in memory shared with the process that carries a program out. */
struct cover_set {
	uint32_t count;
	uint32_t program, fresh, ran_count; /* the number of this one, what of it is new, and all of it */
	uint64_t ran[COVER_RAN];
	uint64_t pcs[COVER_SET];
	uint32_t last[COVER_SET]; /* the program that passed it last */
};

static struct {
	struct cover_set *set; /* NULL: nothing is traced */
	uint64_t *area[COVER_SLOTS];
	int fd[COVER_SLOTS];
} cover;

static inline int cover_on(void)
{
	return cover.set != NULL;
}

/* NULL, or why nothing can be traced. */
static inline const char *cover_open(void)
{
	void *set = mmap(NULL, sizeof(*cover.set), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < COVER_SLOTS; i++) {
		cover.fd[i] = open(KCOV_FILE, O_RDWR | O_CLOEXEC);
		if (cover.fd[i] < 0)
			return errno == ENOENT ? "this kernel has no " KCOV_FILE ": CONFIG_KCOV, and debugfs mounted" :
						 KCOV_FILE " cannot be opened";
		if (ioctl(cover.fd[i], KCOV_INIT_TRACE_, COVER_WORDS))
			return "KCOV_INIT_TRACE fails";
		cover.area[i] = mmap(NULL, COVER_WORDS * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED,
				     cover.fd[i], 0);
		if (cover.area[i] == MAP_FAILED)
			return "KCOV's buffer cannot be mapped";
	}
	if (set == MAP_FAILED)
		return "no memory for what was passed";
	cover.set = set;
	return NULL;
}

/* In the process that is to start those of a program: they inherit nothing of this. */
static inline void cover_keep_apart(void)
{
	for (int i = 0; cover_on() && i < COVER_SLOTS; i++)
		(void)madvise(cover.area[i], COVER_WORDS * sizeof(uint64_t), MADV_DONTFORK);
	if (cover_on())
		(void)madvise(cover.set, sizeof(*cover.set), MADV_DONTFORK);
}

/* Around a step, in the task that does it; where that cannot be traced nothing is seen of it. */
static inline void cover_begin(int slot)
{
	if (cover_on())
		(void)ioctl(cover.fd[slot], KCOV_ENABLE_, KCOV_TRACE_PC_);
}

static inline void cover_end(int slot)
{
	if (cover_on())
		(void)ioctl(cover.fd[slot], KCOV_DISABLE_, 0);
}

/* A place is passed by this program; one that finds no room is not known afterwards either. */
static inline void cover_add(struct cover_set *set, uint64_t pc)
{
	uint32_t at = (uint32_t)((pc * 0x9e3779b97f4a7c15ull) >> 40) % COVER_SET;

	while (set->pcs[at] && set->pcs[at] != pc)
		at = (at + 1) % COVER_SET;
	if (set->pcs[at] && set->last[at] == set->program)
		return;
	if (set->ran_count >= COVER_RAN || (!set->pcs[at] && set->count >= COVER_SET / 4 * 3))
		return;
	if (!set->pcs[at]) {
		set->count++;
		set->fresh++;
	}
	set->pcs[at] = pc;
	set->last[at] = set->program;
	set->ran[set->ran_count++] = pc;
}

/* A program begins: nothing is passed by it yet. */
static inline void cover_anew(void)
{
	if (!cover_on())
		return;
	cover.set->program++;
	cover.set->fresh = cover.set->ran_count = 0;
}

/* Before a step is told, and after it was done: take what it passed. */
static inline void cover_clear(int slot)
{
	if (cover_on())
		__atomic_store_n(&cover.area[slot][0], 0, __ATOMIC_RELAXED);
}

static inline void cover_take(int slot)
{
	const uint64_t *area = cover.area[slot];
	uint64_t count = cover_on() ? __atomic_load_n(&area[0], __ATOMIC_RELAXED) : 0;

	for (uint64_t i = 1; i <= count && i < COVER_WORDS; i++)
		cover_add(cover.set, area[i]);
}

#endif
