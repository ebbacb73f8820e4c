/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model: what a program's memory has to be.  Nothing here asks the kernel anything; rules*.h say what a
 * step makes of the model, look.h compares it with the machine.
 *
 * Where the kernel has a choice (reclaim, MADV_FREE, whether a page is still its owner's alone) the model
 * holds a set of what may be, and a look narrows it.
 */
#ifndef LAB_EXPLORE_MODEL_H
#define LAB_EXPLORE_MODEL_H

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "step.h"

/* What an entry of the page table may be: a set. */
enum {
	NONE = 1,
	ZERO = 2, /* the zero page */
	ANON = 4, /* an anonymous page in memory */
	SWAP = 8, /* an anonymous page that was swapped out */
	MARK = 16, /* no page, but userfaultfd's write protection */
	SHMEM = 32, /* a page of shared anonymous memory or of a memfd */
	POISON = 64, /* no page, and SIGBUS: UFFDIO_POISON */
	GUARD = 128, /* no page, and SIGSEGV: MADV_GUARD_INSTALL */
	STATES = 8,
};

/* A bit that may be off, on, or either. */
enum { NO = 1, YES = 2, EITHER = 3 };

enum { UNLOCKED, LOCKED, LOCKED_ONFAULT };
enum { HUGE_UNSAID, HUGE_YES, HUGE_NO };

/* What a mapping is; pages of one mapping have the same. */
struct attr {
	uint8_t mapped, prot, shared, lock, reg, dontfork, wipe, mergeable, huge;
	uint8_t file; /* the memfd that it maps, from 1 */
};

/* What is in a page: one byte everywhere, but for SPOTS of them. */
struct bytes {
	uint8_t fill, spot[SPOTS];
};

struct page {
	struct attr attr;
	uint8_t object, offset; /* of shared memory or a memfd: which, and which page of it */
	uint8_t may;
	uint8_t own; /* whether it is this process's alone: PageAnonExclusive() */
	uint8_t wp, dirty; /* the entry's uffd-wp and soft-dirty bit */
	uint8_t mapping_dirty; /* VM_SOFTDIRTY of its mapping */
	uint8_t lazy; /* MADV_FREE: its bytes may turn to zero at any time until it is written to */
	uint8_t pinned; /* its frame is held by an io_uring: of which process, from 1 */
	uint8_t tied; /* surely in the same frame as whatever has the same number */
	uint8_t merged; /* it may be a page of KSM */
	uint8_t ksm_zero; /* where it is the zero page: KSM put it there */
	uint8_t joined; /* the mapping goes on from the page before; the look says so */
	uint32_t frame; /* pages of different numbers are never in one frame */
	struct bytes bytes, other; /* other is what it may hold instead, where has_other */
	uint8_t has_other;
};

/* Shared anonymous memory, or a memfd: those are the first FILES, and always there. */
struct object {
	uint8_t used, pages;
	uint8_t has[PAGES]; /* whether there is a page, written out or not; without one it reads as zeros */
	struct bytes bytes[PAGES];
};

struct process {
	uint8_t alive, uffd, markers; /* whether it has a userfaultfd, one with UFFD_FEATURE_WP_UNPOPULATED */
	uint8_t pins, spliced; /* whether it has an io_uring with buffers; pages in its pipe */
	uint8_t ksm_lost; /* what is counted of KSM's zero pages may be of some that it has not */
	uint8_t async; /* the same, UFFD_FEATURE_WP_ASYNC */
	struct page pages[PAGES];
};

/* What this kernel and machine can do. */
enum {
	CAN_SWAP = 1,
	CAN_THP = 2,
	CAN_KSM = 4,
	CAN_SOFT_DIRTY = 8,
	CAN_UFFD = 16,
	CAN_WP = 32,
	CAN_MARKERS = 64,
	CAN_MOVE = 128,
	CAN_SCAN = 512,
	CAN_ASYNC = 1024,
	CAN_POISON = 2048,
	CAN_PIN = 8192,
	CAN_MINOR = 32768, /* userfaultfd's minor faults of shared memory */
	CAN_GROUP = 262144, /* a control group with memory.reclaim */
	CAN_KSMD = 524288, /* KSM's daemon may be let go: nobody else has anything that may be merged */
	CAN_ALL = 255 | CAN_KSMD | CAN_SCAN | CAN_ASYNC | CAN_POISON | CAN_PIN | CAN_GROUP | CAN_MINOR,
	/* mremap() moves several mappings at once (since v6.17), and checks before it unmaps. */
	CAN_REMAP_MANY = 256,
	/* MADV_GUARD_INSTALL and MADV_GUARD_REMOVE (since v6.13). */
	CAN_GUARD = 131072,
	/* Folios of several pages may be switched on for a program. */
	CAN_LARGE = 1048576,
};

#define OBJECTS 64
#define SPLICED_MOST 8 /* of the 16 pages that a pipe holds */

struct model {
	unsigned int can;
	/* Steps that would meet a defect of the kernel which docs/findings.md has are not carried out. */
	uint8_t known;
	uint8_t ksm; /* KSM's daemon was let go */
	uint8_t large; /* folios of several pages were switched on */
	uint8_t ksm_zeros; /* KSM may have put the zero page somewhere */
	uint32_t frames; /* numbers given so far */
	struct process procs[PROCESSES];
	struct object objects[OBJECTS];
};

/* What a step may come to, and how much of it was done where that is told. */
#define ERRNOS 6
#define SIGNAL_SEGV 1001 /* in place of an errno */
#define SIGNAL_BUS 1002

struct outcome {
	int skip; /* the step makes no sense here, or is not modelled: it is not carried out */
	int count, err[ERRNOS];
	/* For a read: the bytes that may come back. */
	int values;
	uint8_t value[2];
};

/* What came of a step: 0 or an errno, pages done (copy, zeropage, move), the byte read. */
struct answer {
	int err;
	int done;
	uint8_t value;
};

static inline void may_be(struct outcome *out, int err)
{
	for (int i = 0; i < out->count; i++)
		if (out->err[i] == err)
			return;
	if (out->count < ERRNOS)
		out->err[out->count++] = err;
}

static inline int is_allowed(const struct outcome *out, int err)
{
	for (int i = 0; i < out->count; i++)
		if (out->err[i] == err)
			return 1;
	return 0;
}

static inline int bytes_same(const struct bytes *a, const struct bytes *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline struct bytes bytes_of(uint8_t fill)
{
	struct bytes bytes;

	memset(&bytes, fill, sizeof(bytes));
	return bytes;
}

/* Whether a page of its own may hold zeros. */
static inline int may_be_zeros(const struct page *page)
{
	const struct bytes zeros = bytes_of(0);

	return bytes_same(&page->bytes, &zeros) || (page->has_other && bytes_same(&page->other, &zeros));
}

/* Whether it is of a mapping that has an object behind it. */
static inline int is_backed(const struct page *page)
{
	return page->attr.shared || page->attr.file;
}

/* What an object holds there; beyond its end that is nothing which anybody could see. */
static inline struct bytes *object_bytes(struct model *model, const struct page *page)
{
	static struct bytes nowhere;

	return page->offset < PAGES ? &model->objects[page->object].bytes[page->offset] : &nowhere;
}

/* Whether its object has a page there; never beyond its end. */
static inline uint8_t *object_has(struct model *model, const struct page *page)
{
	static uint8_t nowhere;

	nowhere = NO;
	return page->offset < PAGES ? &model->objects[page->object].has[page->offset] : &nowhere;
}

/* The bytes that a page holds: its object's, but where a private mapping has a copy of its own. */
static inline struct bytes *page_bytes(struct model *model, struct page *page)
{
	if (page->attr.shared || (page->attr.file && !(page->may & (ANON | SWAP))))
		return object_bytes(model, page);
	return &page->bytes;
}

/* A page of a mapping that has no page yet: it reads as zeros. */
static inline void page_empty(struct page *page)
{
	page->may = NONE;
	page->own = EITHER;
	page->wp = NO;
	page->dirty = NO;
	page->lazy = 0;
	page->pinned = 0;
	page->tied = 0;
	page->frame = 0;
	page->merged = page->ksm_zero = 0;
	page->bytes = bytes_of(0);
	page->has_other = 0;
}

static inline void page_unmap(struct page *page)
{
	memset(page, 0, sizeof(*page));
	page_empty(page);
}

/* A new anonymous page that nobody else has. */
static inline void page_fresh(struct model *model, struct page *page)
{
	page->may = ANON;
	page->own = YES;
	page->frame = ++model->frames;
	page->tied = 1;
	page->merged = page->ksm_zero = 0;
}

/*
 * Reclaim may swap out any anonymous page that is not locked, at any time, and drop any that is lazily
 * freed (shrink_folio_list() of mm/vmscan.c); that a mapping is locked says little of a page that was
 * swapped out before it was.
 */
static inline void page_reclaim(struct model *model, struct page *page)
{
	/* An object's page is unmapped even where there is no swap to write it to. */
	if (page->may & SHMEM && !page->attr.lock)
		page->may |= NONE;
	/* "Folio is pinned: keep": what is pinned is its owner's alone, and cannot be unmapped. */
	if (!(page->may & ANON) || page->attr.lock || page->pinned)
		return;
	if (model->can & CAN_SWAP)
		page->may |= SWAP;
	if (page->lazy)
		page->may |= NONE;
}

/* Where memory got tight, or a group was told to give some back, any page may have gone. */
static inline void reclaim_any(struct model *model)
{
	for (int i = 0; i < PROCESSES * PAGES; i++)
		if (model->procs[i / PAGES].alive)
			page_reclaim(model, &model->procs[i / PAGES].pages[i % PAGES]);
}

/* Whether a page table entry may be of one of these states, and of these only. */
static inline int may(const struct page *page, int states)
{
	return page->may & states;
}

static inline int must(const struct page *page, int states)
{
	return page->may && !(page->may & ~states);
}

static inline int attr_same(const struct attr *a, const struct attr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* What a swap or page table entry that is neither page nor swap slot may be. */
#define MARKERS (MARK | POISON | GUARD)

/* Whether two pages beside each other may be in one mapping. */
static inline int may_join(const struct page *page, const struct page *before)
{
	return page->attr.mapped && attr_same(&page->attr, &before->attr) &&
	       (!is_backed(page) ||
		(page->object == before->object && page->offset == before->offset + 1));
}

/* Whether the pages of a range are one mapping; the kernel decides on merging, and the look saw it. */
static inline int one_mapping(const struct process *proc, int at, int n)
{
	if (!proc->pages[at].attr.mapped)
		return 0;
	for (int i = at + 1; i < at + n; i++)
		if (!proc->pages[i].attr.mapped || !proc->pages[i].joined)
			return 0;
	return 1;
}

static inline int any_mapped(const struct process *proc, int at, int n)
{
	for (int i = at; i < at + n; i++)
		if (proc->pages[i].attr.mapped)
			return 1;
	return 0;
}

static inline int any_backed(const struct process *proc, int at, int n)
{
	for (int i = at; i < at + n; i++)
		if (proc->pages[i].attr.mapped && is_backed(&proc->pages[i]))
			return 1;
	return 0;
}

static inline int alive(const struct model *model)
{
	int count = 0;

	for (int i = 0; i < PROCESSES; i++)
		count += model->procs[i].alive;
	return count;
}

/* How long the memfds are when a program begins, in pages. */
static const uint8_t file_pages[FILES] = { 12, 5 };
/* How many of those have been written to, with zeros. */
static const uint8_t file_filled[FILES] = { 8, 0 };

/* A model of one process without any mapping. */
static inline void model_begin(struct model *model, unsigned int can)
{
	memset(model, 0, sizeof(*model));
	model->can = can;
	for (int i = 0; i < PROCESSES; i++)
		for (int k = 0; k < PAGES; k++)
			page_unmap(&model->procs[i].pages[k]);
	model->procs[0].alive = 1;
	for (int i = 0; i < FILES; i++) {
		model->objects[i].used = 1;
		model->objects[i].pages = file_pages[i];
		memset(model->objects[i].has, NO, sizeof(model->objects[i].has));
		memset(model->objects[i].has, YES, file_filled[i]);
	}
}

/*
 * Mappings that come to lie beside each other may be merged, and then have one VM_SOFTDIRTY: which is not
 * compared (is_mergeable_vma() of v6.12; docs/findings.md).  So whatever changes mappings may change it.
 */
static inline void mappings_changed(struct process *proc)
{
	for (int i = 0; i < PAGES; i++)
		if (proc->pages[i].attr.mapped)
			proc->pages[i].mapping_dirty = EITHER;
}

#endif
