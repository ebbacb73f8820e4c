/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the workloads of one guest share and must leave as they found it.  Without memory of its
 * own beside the two values compared, like everything that runs around a measurement.
 */
#ifndef LAB_GUESTSTATE_H
#define LAB_GUESTSTATE_H

#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>

#include "procfile.h"

/* One word of a sysfs file, the name of all swap devices, or that a quarter of /tmp is in use. */
static const char *const guest_state_files[] = {
	"/sys/kernel/mm/transparent_hugepage/enabled",
	"/sys/kernel/mm/ksm/run",
	"/proc/sys/vm/overcommit_memory",
};

#define GUEST_STATE_FILES (sizeof(guest_state_files) / sizeof(guest_state_files[0]))

struct guest_state {
	char swaps[1024];
	char files[GUEST_STATE_FILES][64];
	int room; /* whether three quarters of /tmp are free */
};

/* Of each line of /proc/swaps only the device: how much of it is used changes all the time. */
static inline void guest_state_swaps(char *text)
{
	char *to = text, *line = strchr(text, '\n');
	size_t length;

	while (line && *++line) {
		length = strcspn(line, " \t\n");
		memmove(to, line, length);
		to += length;
		*to++ = ' ';
		line = strchr(line + length, '\n');
	}
	*to = 0;
}

static inline void guest_state_read(struct guest_state *state)
{
	struct statfs tmp;

	memset(state, 0, sizeof(*state));
	(void)proc_read("/proc/swaps", state->swaps, sizeof(state->swaps));
	guest_state_swaps(state->swaps);
	for (size_t i = 0; i < GUEST_STATE_FILES; i++)
		(void)proc_read(guest_state_files[i], state->files[i], sizeof(state->files[i]));
	state->room = statfs("/tmp", &tmp) || tmp.f_bfree * 4 >= tmp.f_blocks * 3;
}

/* The names of what differs, each followed by a space; empty where nothing does. */
static inline void guest_state_changed(const struct guest_state *a, const struct guest_state *b,
				       char *names, size_t size)
{
	size_t used = 0;

	names[0] = 0;
	if (strcmp(a->swaps, b->swaps))
		used += (size_t)snprintf(names, size, "/proc/swaps ");
	for (size_t i = 0; i < GUEST_STATE_FILES; i++)
		if (strcmp(a->files[i], b->files[i]) && used < size)
			used += (size_t)snprintf(names + used, size - used, "%s ",
						 guest_state_files[i]);
	if (a->room && !b->room && used < size)
		snprintf(names + used, size - used, "/tmp ");
}

#endif
