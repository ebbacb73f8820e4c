/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the machine shows of a process at rest (smaps, pagemap, status, its memory), held against the model,
 * which is narrowed by it.
 *
 * Sources: Documentation/filesystems/proc.rst and Documentation/admin-guide/mm/pagemap.rst.
 */
#ifndef LAB_EXPLORE_LOOK_H
#define LAB_EXPLORE_LOOK_H

#include <fcntl.h>
#include <stdarg.h>

#include "procfile.h"
#include "rss.h"
#include "worker.h"

#define ENTRY_SOFT_DIRTY ((uint64_t)1 << 55)
#define ENTRY_EXCLUSIVE ((uint64_t)1 << 56)
#define ENTRY_WP ((uint64_t)1 << 57)
#define ENTRY_FILE ((uint64_t)1 << 61)

/* What was found: the rule by which it is known again, and what to tell. */
struct finding {
	char rule[48];
	char text[320];
	int process; /* whose memory it is in; of a step itself who did it */
};

/* What a process is known by beside the model. */
struct subject {
	pid_t pid;
	long own_anon, own_swap, own_shmem; /* pages of its own, outside the arena; -1 before the first look */
	long reclaimed; /* what the machine had reclaimed when own_shmem was noted */
};

/* One process as it is. */
struct sight {
	struct attr attr[PAGES];
	uint8_t joined[PAGES], mapping_dirty[PAGES];
	uint64_t entry[PAGES];
	int state[PAGES];
	long locked, anon, shmem, swap;
};

static uint64_t look_zero_frame;
static long look_tolerance;

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

/* The flags of a mapping, as "VmFlags: rd wr mr mw me ac" has them. */
static inline void sight_flags(struct sight *sight, int at, const char *flags)
{
	struct attr *attr = &sight->attr[at];
	int readable = 0, writable = 0, locked = 0, onfault = 0;

	for (; *flags && *flags != '\n'; flags++) {
		if (flags[0] == ' ' || flags[1] == ' ' || flags[1] == '\n' || !flags[1])
			continue;
#define IS(name) (flags[0] == (name)[0] && flags[1] == (name)[1])
		readable |= IS("rd");
		writable |= IS("wr");
		attr->shared |= IS("sh");
		locked |= IS("lo");
		onfault |= IS("lf");
		attr->dontfork |= IS("dc");
		attr->wipe |= IS("wf");
		attr->mergeable |= IS("mg");
		attr->reg |= (uint8_t)((IS("um") ? REG_MISSING : 0) | (IS("uw") ? REG_WP : 0));
		attr->huge = IS("hg") ? HUGE_YES : IS("nh") ? HUGE_NO : attr->huge;
		sight->mapping_dirty[at] |= IS("sd");
#undef IS
	}
	attr->mapped = 1;
	attr->prot = writable ? PROT_RW : readable ? PROT_R : PROT_NO;
	attr->lock = onfault ? LOCKED_ONFAULT : locked ? LOCKED : UNLOCKED;
}

/* smaps begins with the arena: nothing lies below it.  What is read is as much as that takes. */
static inline int sight_mappings(struct sight *sight, pid_t pid)
{
	static char text[65536];
	char path[64], *line, *end;
	uintptr_t low = 0, high = 0;
	/* seq_file shows as many mappings at a time as fit, and looks at no more. */
	size_t used = 0, room = mem_page();
	ssize_t got = 1;
	int fd, over = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (!over && got > 0) {
		got = read(fd, text + used, room < sizeof(text) - 1 - used ? room : sizeof(text) - 1 - used);
		used += got > 0 ? (size_t)got : 0;
		text[used] = 0;
		for (line = text; (end = strchr(line, '\n')); line = end + 1) {
			char *rest;
			uintptr_t first;

			if (!strncmp(line, "VmFlags:", 8) && high) {
				int at = (int)((low - (uintptr_t)ARENA) / mem_page());
				int last = (int)((high - (uintptr_t)ARENA) / mem_page());

				sight_flags(sight, at, line + 8);
				for (int i = at + 1; i < last && i < PAGES; i++) {
					sight->attr[i] = sight->attr[at];
					sight->mapping_dirty[i] = sight->mapping_dirty[at];
					sight->joined[i] = 1;
				}
				continue;
			}
			first = strtoul(line, &rest, 16);
			if (*rest != '-' || rest == line)
				continue;
			low = first;
			high = strtoul(rest + 1, NULL, 16);
			over = low >= (uintptr_t)address(PAGES);
			if (over)
				break;
		}
		used = (size_t)(text + used - line);
		memmove(text, line, used + 1);
	}
	close(fd);
	return 0;
}

static inline int entry_state(uint64_t entry)
{
	if (entry & MEM_PRESENT)
		return (entry & MEM_FRAME) == look_zero_frame ? ZERO : entry & ENTRY_FILE ? SHMEM : ANON;
	if (!(entry & MEM_SWAPPED))
		return NONE;
	if (mem_is_swap_slot(entry))
		return SWAP;
	return entry & ENTRY_WP ? MARK : 0;
}

static inline int sight_take(struct sight *sight, pid_t pid)
{
	static char text[8192];
	char path[64];
	ssize_t got;
	int fd;

	memset(sight, 0, sizeof(*sight));
	if (sight_mappings(sight, pid))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = pread(fd, sight->entry, sizeof(sight->entry),
		    (off_t)((uintptr_t)ARENA / mem_page() * sizeof(sight->entry[0])));
	close(fd);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (got != (ssize_t)sizeof(sight->entry) || proc_read(path, text, sizeof(text)))
		return -1;
	for (int i = 0; i < PAGES; i++)
		sight->state[i] = entry_state(sight->entry[i]);
	sight->locked = proc_pages(text, "VmLck");
	sight->anon = proc_pages(text, "RssAnon");
	sight->shmem = proc_pages(text, "RssShmem");
	sight->swap = proc_pages(text, "VmSwap");
	return 0;
}

static inline const char *states_text(int states, char *text, size_t size)
{
	static const char *const names[STATES] = { "none", "zero-page", "present",
						   "swapped", "marker", "shared-present" };
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
		snprintf(text, size, "%s%s%s%s%s%s%s%s%s", prot_words[attr->prot],
			 attr->shared ? " shared" : "", lock[attr->lock], huge[attr->huge],
			 attr->reg & REG_MISSING ? " missing" : "", attr->reg & REG_WP ? " wp" : "",
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
	if (page->joined && (!attr_same(&page->attr, &before->attr) ||
			     (page->attr.shared && (page->object != before->object ||
						    page->offset != before->offset + 1))))
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
	if (!page->attr.mapped || page->attr.shared)
		return 0;
	page->may = (uint8_t)state;
	if (state == NONE) {
		page_empty(page);
	} else {
		if (model->can & CAN_WP && narrow(&page->wp, !!(entry & ENTRY_WP)))
			return found(finding, "uffd-wp", "page %d is %swrite-protected by userfaultfd", at,
				     entry & ENTRY_WP ? "" : "not ");
	}
	if (state == SWAP) {
		page->tied = 0;
		page->lazy = 0;
	} else if (state & (ZERO | MARK)) {
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

/* Counters of the process against what its page tables show, and both against the model. */
static inline int look_counters(const struct process *proc, const struct sight *sight, struct subject *subject,
				struct finding *finding)
{
	long locked = 0, anon = 0, shmem = 0, swap = 0;
	struct rss rss;

	for (int i = 0; i < PAGES; i++) {
		locked += !!proc->pages[i].attr.lock;
		anon += sight->state[i] == ANON;
		shmem += sight->state[i] == SHMEM;
		swap += sight->state[i] == SWAP;
	}
	if (sight->locked != locked)
		return found(finding, "VmLck", "VmLck is %ld pages, expected %ld", sight->locked, locked);
	if (look_tolerance)
		return 0;
	/* The program's own file may be shared memory: as long as nothing is reclaimed, always the same. */
	if (sight->shmem - shmem != subject->own_shmem) {
		long reclaimed = sys_vmstat("pgsteal_kswapd") + sys_vmstat("pgsteal_direct");

		if (subject->own_shmem < 0 || reclaimed != subject->reclaimed)
			subject->own_shmem = sight->shmem - shmem;
		subject->reclaimed = reclaimed;
	}
	if (sight->shmem - shmem != subject->own_shmem)
		return found(finding, "RssShmem", "RssShmem is %ld pages, expected %ld by page walk", sight->shmem,
			     shmem + subject->own_shmem);
	if (sight->anon - anon == subject->own_anon && sight->swap - swap == subject->own_swap)
		return 0;
	/* Pages of its own came or went, or else a counter drifts: the walk over all of it tells. */
	rss = rss_read(subject->pid);
	if (rss.rss_anon != rss.walk_anon)
		return found(finding, "RssAnon", "RssAnon is %ld pages, expected %ld by page walk", rss.rss_anon,
			     rss.walk_anon);
	if (rss.vm_swap != rss.walk_swap)
		return found(finding, "VmSwap", "VmSwap is %ld pages, expected %ld by page walk", rss.vm_swap,
			     rss.walk_swap);
	subject->own_anon = rss.rss_anon - anon;
	subject->own_swap = rss.vm_swap - swap;
	return 0;
}

/* All of one process, once. */
static inline int look_once(struct model *model, int which, struct subject *subject, struct sight *sight,
			    struct finding *finding)
{
	struct process *proc = &model->procs[which];

	if (sight_take(sight, subject->pid))
		return found(finding, "gone", "process %d cannot be looked at: %m", which);
	for (int i = 0; i < PAGES; i++)
		if (look_mapping(&proc->pages[i], &proc->pages[i ? i - 1 : 0], sight, i, model, finding) ||
		    look_entry(&proc->pages[i], sight, i, model, finding))
			return -1;
	return look_bytes(model, proc, sight, subject->pid, finding) ||
			       look_counters(proc, sight, subject, finding) ?
		       -1 :
		       0;
}

#endif
