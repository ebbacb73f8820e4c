/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The end of a program: its processes go one after the other, and its memfds are read.
 */
#ifndef LAB_EXPLORE_ENDING_H
#define LAB_EXPLORE_ENDING_H

#include "run.h"

/* The memfds are as long as the model has it, and hold what it has. */
static inline int look_files(struct run *run, struct finding *finding)
{
	static uint8_t data[65536];

	for (int i = 0; i < FILES; i++) {
		const struct object *object = &run->model.objects[i];
		off_t end = lseek(worker.files[i], 0, SEEK_END);

		if (end != (off_t)(object->pages * mem_page()))
			return found(finding, "file", "memfd %d is %ld bytes long, expected %d pages", i, (long)end,
				     object->pages);
		for (int k = 0; k < object->pages; k++)
			if (pread(worker.files[i], data, mem_page(), (off_t)(k * mem_page())) !=
				    (ssize_t)mem_page() || !page_holds(data, &object->bytes[k]))
				return found(finding, "file", "page %d of memfd %d has byte %d at offset %d, expected %d", k, i,
					     data[differs(data, &object->bytes[k])],
					     differs(data, &object->bytes[k]),
					     byte_of(&object->bytes[k], differs(data, &object->bytes[k])));
	}
	return 0;
}

/* In the end every process goes, one after the other, and who is left is looked at each time. */
static inline int run_end(struct run *run)
{
	struct step step = { .op = OP_EXIT };

	for (int i = 0; i < PROCESSES; i++) {
		step.proc = (uint8_t)i;
		if (run->model.procs[i].alive && alive(&run->model) > 1 && run_step(run, &step) == RUN_FINDING)
			return -1;
	}
	if (!look_files(run, &run->result->finding))
		return 0;
	run->result->failed = run->result->program.count;
	return -1;
}

#endif
