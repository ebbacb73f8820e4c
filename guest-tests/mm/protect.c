// SPDX-License-Identifier: GPL-2.0-only
/*
 * protect base|swap|huge
 *
 * Write protection by userfaultfd: a protected page stays so, and what is protected is what was asked for,
 * through mremap(), splits and merges of the mapping, unregistering in part, fork(), swap and MADV_DONTNEED.
 * A page that leaves the registered range leaves its protection there.
 *
 * Sources: Documentation/admin-guide/mm/userfaultfd.rst ("Write Protect Notifications", UFFD_FEATURE_EVENT_*),
 * ioctl_userfaultfd(2); v6.12: mremap_userfaultfd_prep() and userfaultfd_unregister() in fs/userfaultfd.c,
 * move_ptes() and clear_uffd_wp_pmd() in mm/mremap.c, copy_nonpresent_pte() and do_swap_page() in mm/memory.c,
 * __split_huge_pmd_locked() in mm/huge_memory.c, pagemap_scan_pmd_entry() in fs/proc/task_mmu.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "kind.h"
#include "ktap.h"
#include "maps.h"
#include "mem.h"
#include "split.h"
#include "track.h"
#include "trap.h"
#include "uffd.h"

#define SEED 221

static char *area;
static size_t len, half;
static int fd;

static size_t pages(void)
{
	return len / mem_page();
}

static size_t protected(const char *start, size_t bytes)
{
	return track_pages(start, bytes, TRACK_WP);
}

/* Memory of the kind, registered and protected; a write where it is raises SIGBUS. */
static void begin_with(uint64_t features)
{
	fd = uffd_open_with(features);
	len = kind_len();
	half = len / 2;
	area = kind_pages(SEED).src;
	uffd_register_mode(fd, area, len, UFFDIO_REGISTER_MODE_WP);
	uffd_protect(fd, area, len, 1);
	CHECK_EQ(protected(area, len), pages());
	kind_settle(area, len);
	CHECK_EQ(protected(area, len), pages());
}

static void begin(void)
{
	begin_with(UFFD_FEATURE_SIGBUS);
}

/* Each page of a range can be written to, or none. */
static void expect_writes(char *start, size_t bytes, int signal_number)
{
	for (size_t at = 0; at < bytes; at += mem_page()) {
		int got = trap_write(start + at, 1);

		CHECK(got == signal_number, "page %zu: a write: got signal %d, expected %d",
		      at / mem_page(), got, signal_number);
	}
}

static char *somewhere_of(size_t bytes)
{
	return mem_map(bytes, kind() == KIND_HUGE ? mem_huge() : 0);
}

static char *somewhere(void)
{
	return somewhere_of(len);
}

static void kept_body(void *unused)
{
	(void)unused;
	begin();
	mem_expect(area, len, SEED, "what is protected");
	CHECK_EQ(protected(area, len), pages());
	expect_writes(area, len, SIGBUS);
	mem_expect(area, len, SEED, "what could not be written");
	uffd_protect(fd, area, len, 0);
	CHECK_EQ(protected(area, len), 0);
	expect_writes(area, len, 0);
}
IN_CHILD(kept)

static void split_body(void *unused)
{
	(void)unused;
	begin();
	CHECK_SYS(mprotect(area + half, half, PROT_READ));
	CHECK_EQ(protected(area, len), pages());
	CHECK_SYS(mprotect(area + half, half, PROT_READ | PROT_WRITE));
	CHECK_EQ(maps_count(area, len), 1);
	CHECK_EQ(protected(area, len), pages());
	expect_writes(area, len, SIGBUS);
	uffd_protect(fd, area, half, 0);
	CHECK_EQ(protected(area, len), pages() / 2);
	expect_writes(area, half, 0);
	expect_writes(area + half, half, SIGBUS);
	uffd_protect(fd, area, len, 1);
	kind_settle(area, len);
	CHECK_EQ(protected(area, len), pages());
}
IN_CHILD(split)

static void unregistered_body(void *unused)
{
	(void)unused;
	begin();
	uffd_unregister(fd, area + half, half);
	CHECK_EQ(protected(area, half), pages() / 2);
	CHECK_EQ(protected(area + half, half), 0);
	expect_writes(area + half, half, 0);
	expect_writes(area, half, SIGBUS);
	close(fd);
	/* The last reference: all is unregistered (userfaultfd_release()). */
	expect_writes(area, half, 0);
}
IN_CHILD(unregistered)

/* Without events a mapping that moves is registered no more (mremap_userfaultfd_prep()). */
static void moved_away_body(void *unused)
{
	char *to;

	(void)unused;
	begin();
	to = mremap(area, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, somewhere());
	CHECK(to != MAP_FAILED, "mremap: %m");
	CHECK(!maps_flag(to, "uw"), "registered at its new place (uw in VmFlags)");
	CHECK_EQ(protected(to, len), 0);
	mem_expect(to, len, SEED, "what was moved");
	expect_writes(to, len, 0);
	CHECK_EQ(protected(to, len), 0);
}
IN_CHILD(moved_away)

static void moved_in_part_body(void *unused)
{
	char *to;

	(void)unused;
	begin();
	to = mremap(area + half, half, half, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */, NULL);
	CHECK(to != MAP_FAILED, "mremap: %m");
	CHECK_EQ(protected(to, half), 0);
	CHECK_EQ(protected(area, half), pages() / 2);
	CHECK_EQ(protected(area + half, half), 0);
	expect_writes(to, half, 0);
	expect_writes(area, half, SIGBUS);
	/* Nothing is there that was protected. */
	expect_writes(area + half, half, 0);
}
IN_CHILD(moved_in_part)

static void *event_reader(void *unused)
{
	struct pollfd event = { fd, POLLIN, 0 };
	char message[32];

	(void)unused;
	(void)poll(&event, 1, -1);
	/* mremap() waits until its event is read. */
	(void)!read(fd, message, sizeof(message));
	return NULL;
}

static void moved_along_body(void *unused)
{
	pthread_t reader;
	char *to;

	(void)unused;
	begin_with(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_EVENT_REMAP);
	CHECK(!pthread_create(&reader, NULL, event_reader, NULL), "no thread");
	to = mremap(area, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, somewhere());
	CHECK(to != MAP_FAILED, "mremap: %m");
	pthread_join(reader, NULL);
	CHECK(maps_flag(to, "uw"), "not registered at its new place (uw in VmFlags)");
	CHECK_EQ(protected(to, len), pages());
	mem_expect(to, len, SEED, "what was moved");
	expect_writes(to, len, SIGBUS);
	uffd_protect(fd, to, len, 0);
	expect_writes(to, len, 0);
}
IN_CHILD(moved_along)

static void heir(void *unused)
{
	(void)unused;
	CHECK(!maps_flag(area, "uw"), "registered in the child (uw in VmFlags)");
	CHECK_EQ(protected(area, len), 0);
	mem_expect(area, len, SEED, "what is shared");
	expect_writes(area, len, 0);
}

/* Without events fork() registers nothing in the child (dup_userfaultfd()), and protects nothing. */
static void forked_body(void *unused)
{
	(void)unused;
	begin();
	child_reap(child_start(heir, NULL));
	CHECK_EQ(protected(area, len), pages());
	mem_expect(area, len, SEED, "what was shared");
	expect_writes(area, len, SIGBUS);
}
IN_CHILD(forked)

/* Empty pages of anonymous memory are not protected, unless that was asked for too. */
static void emptied_body(void *unused)
{
	(void)unused;
	begin();
	CHECK_SYS(madvise(area, half, MADV_DONTNEED));
	CHECK_EQ(protected(area, half), 0);
	CHECK_EQ(protected(area + half, half), pages() / 2);
	expect_writes(area, half, 0);
	expect_writes(area + half, half, SIGBUS);
}
IN_CHILD(emptied)

/*
 * Asynchronously: nobody waits, and PAGEMAP_SCAN tells what was written to, over borders of mappings and what
 * was swapped or split meanwhile.
 */
static void scanned_body(void *unused)
{
	(void)unused;
	begin_with(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED);
	CHECK_EQ(track_scan_written(area, len, 0), 0);
	mem_expect(area, len, SEED, "what is protected");
	CHECK_EQ(track_scan_written(area, len, 0), 0);
	CHECK_SYS(mprotect(area + half, half, PROT_READ));
	CHECK_EQ(track_scan_written(area, len, 0), 0);
	area[0] = 1;
	/* It is mapped by base pages now. */
	CHECK_EQ(track_scan_written(area, len, 0), 1);
	CHECK_SYS(mprotect(area + half, half, PROT_READ | PROT_WRITE));
	area[len - 1] = 1;
	CHECK_EQ(track_scan_written(area, len, 0), 2);
	kind_settle(area, len);
	CHECK_EQ(track_scan_written(area, len, 1), 2);
	CHECK_EQ(track_scan_written(area, len, 1), 0);
	mem_fill(area, half, SEED + 1);
	CHECK_EQ(track_scan_written(area, len, 1), pages() / 2);
	/* Dropped pages are written to (UFFD_FEATURE_WP_UNPOPULATED marks what is protected again). */
	CHECK_SYS(madvise(area, half, MADV_DONTNEED));
	CHECK_EQ(track_scan_written(area, len, 1), pages() / 2);
	CHECK_EQ(track_scan_written(area, len, 1), 0);
	(void)*(volatile char *)area;
	CHECK_EQ(track_scan_written(area, half, 1), 0);
	area[0] = 1;
	CHECK_EQ(track_scan_written(area, half, 1), 1);
}
IN_CHILD(scanned)

/* What was protected and is gone is new, however one asks for it. */
static void scanned_empty_body(void *unused)
{
	(void)unused;
	begin_with(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED);
	CHECK_EQ(track_scan_any(area, len, TRACK_IS_WRITTEN), 0);
	CHECK_SYS(madvise(area, half, MADV_DONTNEED));
	CHECK_EQ(track_scan_any(area, len, TRACK_IS_WRITTEN), pages() / 2);
	area[len - 1] = 1;
	CHECK_EQ(track_scan_any(area, len, TRACK_IS_WRITTEN), pages() / 2 + 1);
}
IN_CHILD(scanned_empty)

/* Somebody who only protects anew what was written to needs no answer. */
static void scanned_blindly_body(void *unused)
{
	(void)unused;
	begin_with(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED);
	/* Half of what nobody protects is half a huge page, which is taken apart for it. */
	uffd_protect(fd, area, len, 0);
	track_scan_blindly(area, half, TRACK_IS_WRITTEN);
	CHECK_EQ(track_scan(area, len, TRACK_IS_WRITTEN, 0), pages() / 2);
	track_scan_blindly(area, len, TRACK_IS_WRITTEN);
	CHECK_EQ(track_scan(area, len, TRACK_IS_WRITTEN, 0), 0);
	mem_fill(area, half, SEED + 1);
	track_scan_blindly(area, half, TRACK_IS_WRITTEN);
	CHECK_EQ(track_scan(area, half, TRACK_IS_WRITTEN, 0), 0);
	track_scan_blindly(area, len, TRACK_IS_WRITTEN);
	CHECK_EQ(track_scan(area, len, TRACK_IS_WRITTEN, 0), 0);
	area[0] = 1;
	CHECK(track_scan(area, len, TRACK_IS_WRITTEN, 0) > 0, "a write is not seen");
}
IN_CHILD(scanned_blindly)

/* What was only read is the zero page, small or huge. */
static void zero_pages_body(void *unused)
{
	char *zero = somewhere_of(kind_len());

	(void)unused;
	len = kind_len();
	if (kind() == KIND_HUGE)
		CHECK_SYS(madvise(zero, len, MADV_HUGEPAGE));
	for (size_t at = 0; at < len; at += mem_page())
		(void)*(volatile char *)(zero + at);
	CHECK_EQ(track_scan(zero, len, TRACK_IS_PFNZERO, 0), pages());
	zero[0] = 1;
	CHECK(track_scan(zero, len, TRACK_IS_PFNZERO, 0) < pages(), "a written page is the zero page");
	/* A page of zeros that was written is none. */
	memset(zero, 0, len);
	CHECK_EQ(track_scan(zero, len, TRACK_IS_PFNZERO, 0), 0);
}
IN_CHILD(zero_pages)

/* Pages of zeros of a huge page that is taken apart become the zero page, and stay protected. */
static void zeros_split_body(void *unused)
{
	(void)unused;
	len = kind_len();
	half = len / 2;
	fd = uffd_open_with(UFFD_FEATURE_SIGBUS);
	area = kind_pages(SEED).src;
	memset(area + half, 0, half);
	uffd_register_mode(fd, area, len, UFFDIO_REGISTER_MODE_WP);
	uffd_protect(fd, area, len, 1);
	if (split_huge(area, len))
		maps_skip("no /sys/kernel/debug/split_huge_pages");
	CHECK_EQ(mem_huge_bytes(area, len), 0);
	ktap_diag("%zu of %zu pages are the zero page", mem_pages_with_all(area, len, MEM_FLAG_ZERO_PAGE),
		  pages());
	CHECK_EQ(protected(area, len), pages());
	expect_writes(area, len, SIGBUS);
	uffd_protect(fd, area, len, 0);
	expect_writes(area, len, 0);
	CHECK_EQ(protected(area, len), 0);
}
IN_CHILD(zeros_split)

static const struct ktap_case cases[] = {
	{ "kept", kept },
	{ "split", split },
	{ "unregistered", unregistered },
	{ "moved-away", moved_away },
	{ "moved-in-part", moved_in_part },
	{ "moved-along", moved_along },
	{ "forked", forked },
	{ "emptied", emptied },
	{ "scanned", scanned },
	{ "scanned-empty", scanned_empty },
	{ "scanned-blindly", scanned_blindly },
	{ "zero-pages", zero_pages },
	{ "zeros-split", zeros_split },
};

static const char *why_no_protection(void)
{
	long got = syscall(SYS_userfaultfd, 0);

	if (got < 0 && errno == ENOSYS)
		return "no userfaultfd (CONFIG_USERFAULTFD is off)";
	if (got >= 0)
		close((int)got);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *why;

	kind_parse(argc, argv);
	why = kind_why_no_pages();
	/* The last case is about huge pages only. */
	return ktap_run(cases, KTAP_COUNT(cases) - (kind() != KIND_HUGE), why ? why : why_no_protection());
}
