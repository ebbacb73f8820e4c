/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How often each step comes, in each swarm of programs: so that rare ones are not drowned by common ones.
 */
#ifndef LAB_EXPLORE_SWARMS_H
#define LAB_EXPLORE_SWARMS_H

#include "step.h"

struct swarm {
	const char *name;
	uint8_t weight[OPS];
	int subset; /* of each program's own, half of the steps do not come at all */
};

/* Steps that every program has: without them the others have nothing to do. */
#define ALWAYS [OP_MMAP] = 8, [OP_WRITE] = 8, [OP_POKE] = 4, [OP_READ] = 8

#define MAPPINGS                                                                                   \
	[OP_MUNMAP] = 3, [OP_RESIZE] = 4, [OP_REMAP] = 6, [OP_LEAVE] = 3, [OP_MPROTECT] = 6,       \
	[OP_MLOCK] = 3, [OP_MLOCK_ONFAULT] = 2, [OP_MUNLOCK] = 3
#define ADVICE                                                                                     \
	[OP_DONTNEED] = 4, [OP_FREE] = 4, [OP_COLD] = 2, [OP_PAGEOUT] = 6, [OP_WILLNEED] = 3,      \
	[OP_REMOVE] = 1, [OP_POPULATE_READ] = 3, [OP_POPULATE_WRITE] = 3, [OP_HUGEPAGE] = 1, [OP_NOHUGEPAGE] = 1,   \
	[OP_COLLAPSE] = 1, [OP_MERGEABLE] = 1, [OP_UNMERGEABLE] = 1, [OP_GUARD] = 3, [OP_UNGUARD] = 1
#define FAMILY                                                                                     \
	[OP_FORK] = 4, [OP_EXIT] = 1, [OP_KILL] = 1, [OP_DONTFORK] = 1, [OP_DOFORK] = 1,           \
	[OP_WIPEONFORK] = 2, [OP_KEEPONFORK] = 1, [OP_VFORK] = 2, [OP_OTHER_READ] = 3,             \
	[OP_OTHER_WRITE] = 2, [OP_OTHER_ADVISE] = 2
#define FILES_OWN                                                                                 \
	[OP_MAP_FILE] = 8, [OP_TRUNCATE] = 2, [OP_PUNCH] = 2, [OP_FILE_WRITE] = 3,   \
	[OP_FILE_READ] = 3
#define USERFAULT                                                                                  \
	[OP_UFFD] = 6, [OP_REGISTER] = 8, [OP_UNREGISTER] = 2, [OP_COPY] = 6, [OP_ZEROPAGE] = 4,   \
	[OP_PROTECT] = 6, [OP_UNPROTECT] = 3, [OP_MOVE] = 8, [OP_WAKE] = 1, [OP_CLOSE] = 1,  \
	[OP_POISON] = 2, [OP_CONTINUE] = 3, [OP_SCAN] = 4

#define HOLDERS [OP_PIN] = 4, [OP_UNPIN] = 2, [OP_SPLICE] = 3, [OP_DRAIN] = 1

static const struct swarm swarms[] = {
	{ "mappings", { ALWAYS, MAPPINGS, [OP_FORK] = 1, [OP_PAGEOUT] = 1, [OP_RECLAIM] = 1, [OP_CLEAR_DIRTY] = 2 }, 0 },
	{ "advice", { ALWAYS, ADVICE, [OP_FORK] = 2, [OP_EXIT] = 1, [OP_MPROTECT] = 1, [OP_MLOCK] = 1,
		      [OP_MUNLOCK] = 1, [OP_SCAN] = 1, [OP_RECLAIM] = 1, [OP_CLEAR_DIRTY] = 2 }, 0 },
	{ "processes", { ALWAYS, FAMILY, [OP_PAGEOUT] = 2, [OP_MPROTECT] = 2, [OP_REMAP] = 2,
			 [OP_DONTNEED] = 1, [OP_FREE] = 1, [OP_MUNMAP] = 1, [OP_RECLAIM] = 2, [OP_CLEAR_DIRTY] = 1 }, 0 },
	{ "userfault", { ALWAYS, USERFAULT, [OP_MAP_FILE] = 3, [OP_FILE_WRITE] = 2, [OP_REMAP] = 2, [OP_MPROTECT] = 1, [OP_PAGEOUT] = 2,
			 [OP_FORK] = 1, [OP_DONTNEED] = 2, [OP_FREE] = 1, [OP_POPULATE_READ] = 1,
			 [OP_POPULATE_WRITE] = 1, [OP_REMOVE] = 1, [OP_RECLAIM] = 2, [OP_CLEAR_DIRTY] = 1 }, 0 },
	{ "holders", { ALWAYS, HOLDERS, [OP_FORK] = 4, [OP_EXIT] = 1, [OP_KILL] = 1, [OP_PAGEOUT] = 3,
		       [OP_DONTNEED] = 1, [OP_FREE] = 1, [OP_MPROTECT] = 1, [OP_REMAP] = 2, [OP_LEAVE] = 1,
		       [OP_MUNMAP] = 1, [OP_UFFD] = 4, [OP_REGISTER] = 4, [OP_MOVE] = 8, [OP_PROTECT] = 2,
		       [OP_OTHER_READ] = 1, [OP_OTHER_WRITE] = 1, [OP_RECLAIM] = 2, [OP_CLEAR_DIRTY] = 1 }, 0 },
	{ "files", { ALWAYS, FILES_OWN, [OP_REMOVE] = 2, [OP_MPROTECT] = 3, [OP_RESIZE] = 2, [OP_REMAP] = 3, [OP_LEAVE] = 1,
		     [OP_MLOCK] = 1, [OP_MUNLOCK] = 1, [OP_DONTNEED] = 2, [OP_PAGEOUT] = 3, [OP_WILLNEED] = 1,
		     [OP_POPULATE_READ] = 2, [OP_POPULATE_WRITE] = 2, [OP_FORK] = 3, [OP_EXIT] = 1,
		     [OP_MUNMAP] = 1, [OP_RECLAIM] = 2, [OP_CLEAR_DIRTY] = 1 }, 0 },
	{ "everything", { ALWAYS, MAPPINGS, ADVICE, FAMILY, FILES_OWN, USERFAULT, HOLDERS,
			  [OP_RECLAIM] = 1, [OP_CLEAR_DIRTY] = 2 }, 1 },
	/* One step at a time, and no allocation that fails: */
	{ "merging", { ALWAYS, [OP_KSM] = 6, [OP_MERGEABLE] = 8, [OP_UNMERGEABLE] = 1, [OP_FORK] = 3, [OP_EXIT] = 1,
		       [OP_WIPEONFORK] = 1, [OP_MUNMAP] = 1, [OP_DONTNEED] = 1, [OP_FREE] = 3, [OP_PAGEOUT] = 3, [OP_COLD] = 1,
		       [OP_MPROTECT] = 2, [OP_REMAP] = 3, [OP_LEAVE] = 1, [OP_RESIZE] = 1, [OP_MLOCK] = 1, [OP_MUNLOCK] = 1,
		       [OP_POPULATE_WRITE] = 3, [OP_MAP_FILE] = 2, [OP_OTHER_READ] = 1, [OP_OTHER_WRITE] = 1, [OP_PIN] = 1,
		       [OP_UNPIN] = 1, [OP_UFFD] = 3, [OP_REGISTER] = 4, [OP_MOVE] = 6, [OP_PROTECT] = 2, [OP_COPY] = 2,
		       [OP_ZEROPAGE] = 1, [OP_RECLAIM] = 2, [OP_CLEAR_DIRTY] = 1 }, 0 },
	{ "folios", { ALWAYS, MAPPINGS, [OP_FOLIOS] = 1, [OP_SPLIT] = 4, [OP_HUGEPAGE] = 2, [OP_NOHUGEPAGE] = 1, [OP_FORK] = 3,
		      [OP_EXIT] = 1, [OP_WIPEONFORK] = 1, [OP_DONTNEED] = 5, [OP_FREE] = 4, [OP_COLD] = 2, [OP_PAGEOUT] = 5,
		      [OP_WILLNEED] = 1, [OP_POPULATE_READ] = 1, [OP_POPULATE_WRITE] = 3, [OP_GUARD] = 1, [OP_OTHER_READ] = 2,
		      [OP_OTHER_WRITE] = 2, [OP_OTHER_ADVISE] = 1, [OP_VFORK] = 1, [OP_UFFD] = 3, [OP_REGISTER] = 4,
		      [OP_UNREGISTER] = 2, [OP_COPY] = 2, [OP_PROTECT] = 3, [OP_UNPROTECT] = 1, [OP_MOVE] = 8, [OP_SCAN] = 1,
		      [OP_RECLAIM] = 3, [OP_CLEAR_DIRTY] = 2 }, 0 },
};
#define SWARMS ((int)(sizeof(swarms) / sizeof(swarms[0])))
#define SWARMS_STEADY 2 /* of those, the last ones: in no other mode */

#endif
