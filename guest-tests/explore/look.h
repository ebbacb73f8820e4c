/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the machine shows of a process at rest (sight.h, and its memory), held against the model, which is
 * narrowed by it.
 */
#ifndef LAB_EXPLORE_LOOK_H
#define LAB_EXPLORE_LOOK_H

#include <stdarg.h>

#include "sight.h"


/* What was found: the rule by which it is known again, and what to tell. */
struct finding {
	char rule[48];
	char text[320];
	int process; /* whose memory it is in; of a step itself who did it */
};

__attribute__((format(printf, 3, 4))) static inline int found(struct finding *finding, const char *rule,
							       const char *format, ...)
{
	va_list args;

	snprintf(finding->rule, sizeof(finding->rule), "%s", rule);
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
	return -1;
}

static inline const char *states_text(int states, char *text, size_t size)
{
	static const char *const names[STATES] = { "none", "zero-page", "present",
						   "swapped", "marker", "shared-present",
						   "poison", "guard" };
	int used = 0;

	text[0] = 0;
	for (int i = 0; i < STATES; i++)
		if (states & 1 << i)
			used += snprintf(text + used, size - (size_t)used, "%s%s", used ? "|" : "", names[i]);
	return used ? text : "unknown";
}

/* A bit that the machine shows, in the set that the model holds; narrows it. */
static inline int narrow(uint8_t *set, int bit)
{
	int is = bit ? YES : NO;

	if (!(*set & is))
		return -1;
	*set = (uint8_t)is;
	return 0;
}

static inline void attr_text(const struct attr *attr, char *text, size_t size)
{
	static const char *const lock[] = { "", " locked", " locked-on-fault" };
	static const char *const huge[] = { "", " hugepage", " nohugepage" };

	if (!attr->mapped)
		snprintf(text, size, "unmapped");
	else
		snprintf(text, size, "%s%s%s%s%s%s%s%s%s%s", prot_words[attr->prot],
			 attr->shared ? " shared" : "", attr->file > 1 ? " memfd1" : attr->file ? " memfd0" : "",
			 lock[attr->lock], huge[attr->huge],
			 attr->reg & REG_MISSING ? " missing" : "", attr->reg & REG_WP ? " wp" :
			 attr->reg & REG_MINOR ? " minor" : "",
			 attr->dontfork ? " dontfork" : "", attr->wipe ? " wipeonfork" : "",
			 attr->mergeable ? " mergeable" : "");
}

/* The mapping that a page is in. */
static inline int look_mapping(struct page *page, const struct page *before, const struct sight *sight,
			       int at, const struct model *model, struct finding *finding)
{
	const struct attr *is = &sight->attr[at];
	char want[128], got[128];

	if (!attr_same(&page->attr, is)) {
		attr_text(&page->attr, want, sizeof(want));
		attr_text(is, got, sizeof(got));
		return found(finding, page->attr.reg != is->reg ? "registration" : "mapping",
			     "page %d: its mapping is %s, expected %s", at, got, want);
	}
	page->joined = sight->joined[at];
	if (page->attr.file && sight->offset[at] != page->offset)
		return found(finding, "mapping", "page %d maps page %d of its memfd, expected %d", at,
			     sight->offset[at], page->offset);
	if (page->joined && !may_join(page, before))
		return found(finding, "merged", "page %d is in one mapping with the page before, which differs",
			     at);
	if (model->can & CAN_SOFT_DIRTY && page->attr.mapped &&
	    narrow(&page->mapping_dirty, sight->mapping_dirty[at]))
		return found(finding, "mapping-soft-dirty", "page %d: its mapping is %ssoft-dirty", at,
			     sight->mapping_dirty[at] ? "" : "not ");
	return 0;
}

/* The entry of a page: what it is, and its bits. */
static inline int look_entry(struct page *page, const struct sight *sight, int at, const struct model *model,
			     struct finding *finding)
{
	uint64_t entry = sight->entry[at];
	int state = sight->state[at];
	char want[96], got[96];

	if (!(page->may & state))
		return found(finding, "state", "page %d is %s, expected %s (entry %s)", at,
			     states_text(state, got, sizeof(got)), states_text(page->may, want, sizeof(want)),
			     mem_entry_text(entry));
	/* What is not mapped of shared memory comes only when it is asked for; what is may go at any time. */
	if (page->attr.mapped && page->attr.shared)
		page->may = (uint8_t)(state | NONE);
	if (!page->attr.mapped || page->attr.shared)
		return 0;
	page->may = (uint8_t)state;
	if (state != ZERO)
		page->ksm_zero = 0;
	if (state == NONE) {
		page_empty(page);
	} else {
		if (model->can & CAN_WP && narrow(&page->wp, !!(entry & ENTRY_WP)))
			return found(finding, "uffd-wp", "page %d is %swrite-protected by userfaultfd", at,
				     entry & ENTRY_WP ? "" : "not ");
	}
	if (page->attr.file && state & (NONE | SHMEM))
		page->has_other = 0;
	if (state == SWAP) {
		page->tied = 0;
		page->lazy = 0;
	} else if (state & (ZERO | MARKERS)) {
		/* What was lazily freed is gone, and was read or protected anew. */
		page->bytes = bytes_of(0);
		page->lazy = page->has_other = 0;
	}
	if (!(model->can & CAN_SOFT_DIRTY))
		return 0;
	if (sight->mapping_dirty[at] ? !(entry & ENTRY_SOFT_DIRTY) :
				       narrow(&page->dirty, !!(entry & ENTRY_SOFT_DIRTY)))
		return found(finding, "soft-dirty", "page %d is %ssoft-dirty", at,
			     entry & ENTRY_SOFT_DIRTY ? "" : "not ");
	return 0;
}

static inline int page_holds(const uint8_t *data, const struct bytes *bytes)
{
	size_t part = mem_page() / SPOTS;

	for (int i = 0; i < SPOTS; i++, data += part)
		if (data[0] != bytes->spot[i] || data[1] != bytes->fill || memcmp(data + 1, data + 2, part - 2))
			return 0;
	return 1;
}

/* The byte at an offset of a page that holds these. */
static inline int byte_of(const struct bytes *bytes, int offset)
{
	int part = (int)mem_page() / SPOTS;

	return offset % part ? bytes->fill : bytes->spot[offset / part];
}

static inline int differs(const uint8_t *data, const struct bytes *bytes)
{
	for (int i = 0; i < (int)mem_page(); i++)
		if (data[i] != byte_of(bytes, i))
			return i;
	return -1;
}

/* What is in the pages that can be read without changing anything: those in memory. */
static inline int look_bytes(struct model *model, struct process *proc, const struct sight *sight, pid_t pid,
			     struct finding *finding)
{
	static uint8_t data[65536];
	char path[64], or_other[16] = "";
	int fd, result = 0, at, byte;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (at = 0; fd >= 0 && !result && at < PAGES; at++) {
		struct page *page = &proc->pages[at];
		struct bytes *bytes = page_bytes(model, page);

		if (!(sight->state[at] & (ANON | SHMEM | ZERO)))
			continue;
		if (pread(fd, data, mem_page(), (off_t)(uintptr_t)address(at)) != (ssize_t)mem_page()) {
			result = found(finding, "unreadable", "page %d is there and cannot be read: %m", at);
		} else if (!page_holds(data, bytes)) {
			if (page->has_other && page_holds(data, &page->other)) {
				*bytes = page->other;
				page->has_other = 0;
				continue;
			}
			byte = differs(data, bytes);
			if (page->has_other)
				snprintf(or_other, sizeof(or_other), " or %d", byte_of(&page->other, byte));
			result = found(finding, "bytes", "page %d (%s) has byte %d at offset %d, expected %d%s",
				       at, sight->state[at] == ZERO ? "the zero page" : "in memory", data[byte],
				       byte, byte_of(bytes, byte), or_other);
		} else if (sight->state[at] == ANON) {
			page->has_other = 0;
		}
	}
	if (fd >= 0)
		close(fd);
	return result;
}

#endif
