/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules: memfds, by the files themselves.  What a mapping shows of them is rules_fault.h's.
 *
 * Sources: ftruncate(2), fallocate(2), memfd_create(2); v6.12: shmem_setattr(), shmem_fallocate() and
 * shmem_file_read_iter() in mm/shmem.c, unmap_mapping_range() and should_zap_folio() in mm/memory.c.
 */
#ifndef LAB_EXPLORE_RULES_FILE_H
#define LAB_EXPLORE_RULES_FILE_H

#include "model.h"

/*
 * Pages of an object are no longer mapped.  Copies that a private mapping has of its own (cows) go with them
 * where the file is made shorter, and stay where a hole is punched ("hole-punching leaves COWed pages").
 */
static inline void object_unmap(struct model *model, int object, int from, int n, int cows)
{
	for (int i = 0; i < PROCESSES * PAGES; i++) {
		struct page *page = &model->procs[i / PAGES].pages[i % PAGES];

		if (!model->procs[i / PAGES].alive || !page->attr.mapped || !is_backed(page) ||
		    page->object != object || page->offset < from || page->offset >= from + n)
			continue;
		if (cows || must(page, NONE | SHMEM))
			page_empty(page);
		else if (page->may & SHMEM)
			page->may = (uint8_t)((page->may & ~SHMEM) | NONE);
	}
}

static inline void object_lose(struct object *object, int page)
{
	object->bytes[page] = bytes_of(0);
	object->has[page] = NO;
}

/* A hole reads as zeros; behind the end there is nothing to punch. */
static inline void punch(struct model *model, int object, int from, int n)
{
	for (int i = from; i < from + n && i < PAGES; i++)
		object_lose(&model->objects[object], i);
	object_unmap(model, object, from, n, 0);
}

static inline void rule_file(struct model *model, const struct step *step, struct outcome *out)
{
	struct object *object = &model->objects[step->file];

	may_be(out, 0);
	switch (step->op) {
	case OP_TRUNCATE:
		/* What is cut off comes back as zeros. */
		for (int i = step->len; i < PAGES; i++)
			object_lose(object, i);
		if (step->len < object->pages)
			object_unmap(model, step->file, step->len, UINT8_MAX, 1);
		object->pages = step->len;
		break;
	case OP_PUNCH:
		punch(model, step->file, step->from, step->n);
		break;
	case OP_FILE_WRITE:
		object->bytes[step->from] = bytes_of(step->byte);
		object->has[step->from] = YES;
		if (object->pages <= step->from)
			object->pages = (uint8_t)(step->from + 1);
		break;
	default:
		/* pread() of nothing: the worker says so with an errno that pread() does not have. */
		if (step->from >= object->pages) {
			out->count = 0;
			may_be(out, ENODATA);
			break;
		}
		out->value[out->values++] = object->bytes[step->from].spot[step->spot];
	}
}

#endif
