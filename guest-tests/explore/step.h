/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steps and programs.  A program is text, one step a line:
 *
 *	PROCESS STEP [FIELD=VALUE]...
 *
 * such as "0 mmap at=3 n=8 prot=rw kind=private".  Addresses and lengths are pages of the arena, a window
 * of PAGES pages that is the same in every process.  What follows a '#' is a comment.
 */
#ifndef LAB_EXPLORE_STEP_H
#define LAB_EXPLORE_STEP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES 32
#define PROCESSES 4
#define SPOTS 4 /* bytes of a page that have a value of their own, a quarter of a page apart */
#define FILES 2 /* memfds, which every process has open */
#define STEPS_MAX 400
#define ACTORS 3 /* steps at the same time, at most */

enum op {
	OP_MMAP,
	OP_MUNMAP,
	OP_RESIZE, /* mremap() without MREMAP_MAYMOVE */
	OP_REMAP, /* mremap() to a fixed place */
	OP_LEAVE, /* mremap() with MREMAP_DONTUNMAP to a fixed place */
	OP_MPROTECT,
	OP_MLOCK,
	OP_MLOCK_ONFAULT,
	OP_MUNLOCK,
	OP_DONTNEED,
	OP_FREE,
	OP_COLD,
	OP_PAGEOUT,
	OP_WILLNEED,
	OP_REMOVE,
	OP_POPULATE_READ,
	OP_POPULATE_WRITE,
	OP_HUGEPAGE,
	OP_NOHUGEPAGE,
	OP_COLLAPSE,
	OP_MERGEABLE,
	OP_UNMERGEABLE,
	OP_DONTFORK,
	OP_DOFORK,
	OP_WIPEONFORK,
	OP_KEEPONFORK,
	OP_GUARD,
	OP_UNGUARD,
	OP_READ,
	OP_WRITE, /* a whole page */
	OP_POKE, /* one byte */
	OP_FORK,
	OP_EXIT,
	OP_KILL,
	OP_MAP_FILE,
	OP_TRUNCATE,
	OP_PUNCH, /* fallocate(), FALLOC_FL_PUNCH_HOLE */
	OP_FILE_WRITE, /* pwrite() of a page */
	OP_FILE_READ, /* pread() of a byte */
	OP_VFORK, /* a child in the same memory pokes, and exits */
	OP_OTHER_READ, /* process_vm_readv() */
	OP_OTHER_WRITE, /* process_vm_writev() */
	OP_OTHER_ADVISE, /* process_madvise() */
	OP_SCAN, /* ioctl(PAGEMAP_SCAN) */
	OP_PIN, /* fixed buffers of an io_uring */
	OP_UNPIN,
	OP_SPLICE, /* vmsplice() of a page into a pipe */
	OP_DRAIN, /* and out of it again */
	OP_UFFD,
	OP_REGISTER,
	OP_UNREGISTER,
	OP_COPY,
	OP_ZEROPAGE,
	OP_PROTECT,
	OP_UNPROTECT,
	OP_MOVE,
	OP_POISON,
	OP_CONTINUE,
	OP_WAKE,
	OP_CLOSE,
	OP_CLEAR_DIRTY,
	OP_RECLAIM, /* memory.reclaim of the program's control group */
	OP_KSM, /* KSM's daemon goes through everything, and stands still again */
	OP_FOLIOS, /* folios of several pages are switched on */
	OP_SPLIT, /* and split: split_huge_pages of debugfs */
	OPS
};

struct step {
	uint8_t proc, op;
	uint8_t at, n; /* a range; a page for read, write and poke */
	uint8_t to; /* where to; for some steps another process's number */
	uint8_t len; /* the new length */
	uint8_t byte, spot;
	uint8_t how; /* a choice of this step's, see below */
	uint8_t file, from; /* a memfd, and a page of it */
	uint8_t beside; /* carried out at the same time as the step before, and those which that is beside */
	uint8_t fail; /* which of its allocations fails, from 1; 0 none */
};

/* What MMAP, UFFD, REGISTER, COPY, MOVE and MPROTECT can be told. */
enum { PROT_NO, PROT_R, PROT_RW };
enum { MAP_HOW_SHARED = 1, MAP_HOW_NOREPLACE = 2, MAP_HOW_POPULATE = 4, MAP_HOW_NORESERVE = 8 };
static const uint8_t file_how[] = { 0, MAP_HOW_SHARED, MAP_HOW_POPULATE, MAP_HOW_SHARED | MAP_HOW_POPULATE };
enum { REG_MISSING = 1, REG_WP = 2, REG_MINOR = 4 };
enum { UFFD_PLAIN, UFFD_MARKERS, UFFD_ASYNC };
enum { SCAN_LOOK, SCAN_PROTECT };
enum { KSM_PLAIN, KSM_ZEROS, KSM_UNMERGE };

/* Fields of a step, in the order in which they are written. */
enum {
	F_AT = 1,
	F_N = 2,
	F_LEN = 4,
	F_TO = 8,
	F_PROT = 16,
	F_HOW = 32,
	F_BYTE = 64,
	F_SPOT = 128,
	F_FILE = 256,
	F_FROM = 512,
	F_RANGE = F_AT | F_N,
};

struct step_form {
	const char *name;
	unsigned int fields;
	const char *const *words; /* of how=, by value; the last is NULL */
};

static const char *const prot_words[] = { "none", "r", "rw", NULL };
static const char *const register_words[] = { "?", "missing", "wp", "missing+wp", "minor", NULL };
static const char *const uffd_words[] = { "plain", "markers", "async", NULL };
static const char *const other_words[] = { "cold", "pageout", "willneed", NULL };
static const uint8_t other_op[] = { OP_COLD, OP_PAGEOUT, OP_WILLNEED };
static const char *const reclaim_words[] = { "some", "all", NULL };
static const char *const ksm_words[] = { "plain", "zeros", "unmerge", NULL };
static const char *const scan_words[] = { "look", "protect", NULL };
static const char *const copy_words[] = { "plain", "wp", NULL };
static const char *const move_words[] = { "strict", "holes", NULL };
static const char *const map_words[] = {
	"private",
	"shared",
	"private+noreplace",
	"shared+noreplace",
	"private+populate",
	"shared+populate",
	"private+noreplace+populate",
	"shared+noreplace+populate",
	"private+noreserve",
	NULL,
};
static const char *const file_words[] = { "private", "shared", "private+populate", "shared+populate",
					  NULL };

static const struct step_form forms[OPS] = {
	[OP_MMAP] = { "mmap", F_RANGE | F_PROT | F_HOW, map_words },
	[OP_MUNMAP] = { "munmap", F_RANGE, NULL },
	[OP_RESIZE] = { "resize", F_RANGE | F_LEN, NULL },
	[OP_REMAP] = { "remap", F_RANGE | F_LEN | F_TO, NULL },
	[OP_LEAVE] = { "remap-dontunmap", F_RANGE | F_TO, NULL },
	[OP_MPROTECT] = { "mprotect", F_RANGE | F_PROT, NULL },
	[OP_MLOCK] = { "mlock", F_RANGE, NULL },
	[OP_MLOCK_ONFAULT] = { "mlock-onfault", F_RANGE, NULL },
	[OP_MUNLOCK] = { "munlock", F_RANGE, NULL },
	[OP_DONTNEED] = { "dontneed", F_RANGE, NULL },
	[OP_FREE] = { "free", F_RANGE, NULL },
	[OP_COLD] = { "cold", F_RANGE, NULL },
	[OP_PAGEOUT] = { "pageout", F_RANGE, NULL },
	[OP_WILLNEED] = { "willneed", F_RANGE, NULL },
	[OP_REMOVE] = { "remove", F_RANGE, NULL },
	[OP_POPULATE_READ] = { "populate-read", F_RANGE, NULL },
	[OP_POPULATE_WRITE] = { "populate-write", F_RANGE, NULL },
	[OP_HUGEPAGE] = { "hugepage", F_RANGE, NULL },
	[OP_NOHUGEPAGE] = { "nohugepage", F_RANGE, NULL },
	[OP_COLLAPSE] = { "collapse", F_RANGE, NULL },
	[OP_MERGEABLE] = { "mergeable", F_RANGE, NULL },
	[OP_UNMERGEABLE] = { "unmergeable", F_RANGE, NULL },
	[OP_DONTFORK] = { "dontfork", F_RANGE, NULL },
	[OP_DOFORK] = { "dofork", F_RANGE, NULL },
	[OP_WIPEONFORK] = { "wipeonfork", F_RANGE, NULL },
	[OP_KEEPONFORK] = { "keeponfork", F_RANGE, NULL },
	[OP_GUARD] = { "guard", F_RANGE, NULL },
	[OP_UNGUARD] = { "unguard", F_RANGE, NULL },
	[OP_READ] = { "read", F_AT | F_SPOT, NULL },
	[OP_WRITE] = { "write", F_AT | F_BYTE, NULL },
	[OP_POKE] = { "poke", F_AT | F_SPOT | F_BYTE, NULL },
	[OP_FORK] = { "fork", F_TO, NULL },
	[OP_EXIT] = { "exit", 0, NULL },
	[OP_KILL] = { "kill", 0, NULL },
	[OP_MAP_FILE] = { "mmap-file", F_RANGE | F_PROT | F_HOW | F_FILE | F_FROM, file_words },
	[OP_TRUNCATE] = { "truncate", F_FILE | F_LEN, NULL },
	[OP_PUNCH] = { "punch", F_FILE | F_FROM | F_N, NULL },
	[OP_FILE_WRITE] = { "file-write", F_FILE | F_FROM | F_BYTE, NULL },
	[OP_FILE_READ] = { "file-read", F_FILE | F_FROM | F_SPOT, NULL },
	[OP_VFORK] = { "vfork", F_AT | F_SPOT | F_BYTE, NULL },
	[OP_OTHER_READ] = { "vm-read", F_AT | F_TO | F_SPOT, NULL },
	[OP_OTHER_WRITE] = { "vm-write", F_AT | F_TO | F_BYTE, NULL },
	[OP_OTHER_ADVISE] = { "process-madvise", F_RANGE | F_TO | F_HOW, other_words },
	[OP_SCAN] = { "pagemap-scan", F_RANGE | F_HOW, scan_words },
	[OP_PIN] = { "pin", F_RANGE, NULL },
	[OP_UNPIN] = { "unpin", 0, NULL },
	[OP_SPLICE] = { "vmsplice", F_AT, NULL },
	[OP_DRAIN] = { "drain", 0, NULL },
	[OP_UFFD] = { "userfaultfd", F_HOW, uffd_words },
	[OP_REGISTER] = { "register", F_RANGE | F_HOW, register_words },
	[OP_UNREGISTER] = { "unregister", F_RANGE, NULL },
	[OP_COPY] = { "copy", F_RANGE | F_HOW | F_BYTE, copy_words },
	[OP_ZEROPAGE] = { "zeropage", F_RANGE, NULL },
	[OP_PROTECT] = { "writeprotect", F_RANGE, NULL },
	[OP_UNPROTECT] = { "unprotect", F_RANGE, NULL },
	[OP_MOVE] = { "move", F_RANGE | F_TO | F_HOW, move_words },
	[OP_POISON] = { "poison", F_RANGE, NULL },
	[OP_CONTINUE] = { "continue", F_RANGE, NULL },
	[OP_WAKE] = { "wake", F_RANGE, NULL },
	[OP_CLOSE] = { "close", 0, NULL },
	[OP_RECLAIM] = { "reclaim", F_HOW, reclaim_words },
	[OP_KSM] = { "ksm-scan", F_HOW, ksm_words },
	[OP_FOLIOS] = { "folios", 0, NULL },
	[OP_SPLIT] = { "split", F_RANGE, NULL },
	[OP_CLEAR_DIRTY] = { "clear-soft-dirty", 0, NULL },
};

/* Whether to= is another process, and not a place. */
static inline int step_has_other(const struct step *step)
{
	return step->op == OP_FORK || step->op == OP_OTHER_READ || step->op == OP_OTHER_WRITE ||
	       step->op == OP_OTHER_ADVISE;
}

/* Whether its answer has a byte that was read. */
static inline int step_reads(const struct step *step)
{
	return step->op == OP_READ || step->op == OP_FILE_READ || step->op == OP_OTHER_READ;
}

/* Whether its answer says how many pages were done. */
static inline int step_counts(const struct step *step)
{
	return step->op == OP_COPY || step->op == OP_ZEROPAGE || step->op == OP_POISON || step->op == OP_CONTINUE ||
	       step->op == OP_MOVE;
}

/* Steps with a choice have one field for it: prot of mprotect is "how", mmap keeps it in "spot". */
static inline int step_is_mmap(const struct step *step)
{
	return step->op == OP_MMAP || step->op == OP_MAP_FILE;
}

static inline int step_populates(const struct step *step)
{
	return step->op == OP_MAP_FILE ? file_how[step->how] & MAP_HOW_POPULATE :
	       step->op == OP_MMAP     ? step->how & MAP_HOW_POPULATE :
					 0;
}

static inline uint8_t *step_prot(struct step *step)
{
	return step_is_mmap(step) ? &step->spot : &step->how;
}

static inline int step_prot_of(const struct step *step)
{
	return step_is_mmap(step) ? step->spot : step->how;
}

/* Write a step as its line, without a line's end. */
static inline void step_print(const struct step *step, char *text, size_t size)
{
	const struct step_form *form = &forms[step->op];
	int used = snprintf(text, size, "%s%d %s", step->beside ? "& " : "", step->proc, form->name);

#define PUT(field, ...)                                                                            \
	do {                                                                                       \
		if (form->fields & (field))                                                        \
			used += snprintf(text + used, size - (size_t)used, __VA_ARGS__);           \
	} while (0)
	PUT(F_FILE, " file=%d", step->file);
	PUT(F_FROM, " from=%d", step->from);
	PUT(F_AT, " at=%d", step->at);
	PUT(F_N, " n=%d", step->n);
	PUT(F_LEN, " len=%d", step->len);
	PUT(F_TO, " to=%d", step->to);
	PUT(F_PROT, " prot=%s", prot_words[step_prot_of(step)]);
	PUT(F_HOW, " how=%s", form->words[step->how]);
	PUT(F_SPOT, " spot=%d", step->spot);
	PUT(F_BYTE, " byte=%d", step->byte);
#undef PUT
	if (step->fail)
		(void)snprintf(text + used, size - (size_t)used, " fail=%d", step->fail);
}

static inline int step_word(const char *const *words, const char *word)
{
	for (int i = 0; words && words[i]; i++)
		if (!strcmp(words[i], word))
			return i;
	return -1;
}

/* NULL, or what is wrong with NAME=VALUE. */
static inline const char *step_field(struct step *step, char *name)
{
	static const struct {
		const char *name;
		unsigned int field;
		int most;
	} numbers[] = {
		{ "at", F_AT, PAGES - 1 },      { "n", F_N, PAGES },      { "len", F_LEN, PAGES },
		{ "to", F_TO, PAGES - 1 },      { "byte", F_BYTE, 255 }, { "spot", F_SPOT, SPOTS - 1 },
		{ "file", F_FILE, FILES - 1 }, { "from", F_FROM, PAGES - 1 },
	};
	uint8_t *const targets[] = { &step->at, &step->n,    &step->len,
				     &step->to, &step->byte, &step->spot,
				     &step->file, &step->from };
	const struct step_form *form = &forms[step->op];
	char *value = strchr(name, '='), *end;
	long number;

	if (!value)
		return "a field is NAME=VALUE";
	*value++ = 0;
	if (!strcmp(name, "prot") && form->fields & F_PROT) {
		number = step_word(prot_words, value);
		*step_prot(step) = (uint8_t)number;
		return number < 0 ? "prot is none, r or rw" : NULL;
	}
	if (!strcmp(name, "how") && form->fields & F_HOW) {
		number = step_word(form->words, value);
		step->how = (uint8_t)number;
		return number < 0 ? "this step has no such how=" : NULL;
	}
	if (!strcmp(name, "fail")) {
		number = strtol(value, &end, 10);
		step->fail = (uint8_t)number;
		return *end || number < 1 || number > 255 ? "fail is the number of an allocation, 1 to 255" : NULL;
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(numbers[i].name, name) || !(form->fields & numbers[i].field))
			continue;
		number = strtol(value, &end, 10);
		if (!*value || *end || number < 0 || number > numbers[i].most)
			return "a number that is no number, or too large";
		*targets[i] = (uint8_t)number;
		return NULL;
	}
	return "this step has no such field";
}

/* A step of its line, which is cut up: 1, 0 where the line is empty, or -1 and *why. */
static inline int step_parse(char *line, struct step *step, const char **why)
{
	static const char blanks[] = " \t\r\n";
	char *hash = strchr(line, '#'), *word, *rest = NULL;

	if (hash)
		*hash = 0;
	memset(step, 0, sizeof(*step));
	word = strtok_r(line, blanks, &rest);
	if (!word)
		return 0;
	if (!strcmp(word, "&")) {
		step->beside = 1;
		word = strtok_r(NULL, blanks, &rest);
	}
	*why = "a line begins with the number of a process, 0 to 3, or with & and that";
	if (!word)
		return -1;
	if (word[0] < '0' || word[0] >= '0' + PROCESSES || word[1]) {
		return -1;
	}
	step->proc = (uint8_t)(word[0] - '0');
	word = strtok_r(NULL, blanks, &rest);
	for (step->op = 0; word && step->op < OPS; step->op++)
		if (!strcmp(forms[step->op].name, word))
			break;
	*why = "no such step";
	if (!word || step->op == OPS)
		return -1;
	while ((word = strtok_r(NULL, blanks, &rest))) {
		*why = step_field(step, word);
		if (*why)
			return -1;
	}
	*why = "a range of no pages, or beyond the last page";
	if (forms[step->op].fields & F_N && (!step->n || step->at + step->n > PAGES))
		return -1;
	if (step->op == OP_PUNCH && step->from + step->n > PAGES)
		return -1;
	if (forms[step->op].fields & F_LEN && !step->len && step->op != OP_TRUNCATE)
		return -1;
	*why = "there is no such process";
	return step_has_other(step) && step->to >= PROCESSES ? -1 : 1;
}

struct program {
	int count;
	struct step steps[STEPS_MAX];
};

#endif
