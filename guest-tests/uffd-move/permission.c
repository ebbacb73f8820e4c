// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a mapping forbids stays forbidden after a move into it, and what was written to a page
 * before or after the move is never lost: to a child, to swap, to the next owner of the frame.
 *
 * Source: validate_move_areas() and move_present_pte() in mm/userfaultfd.c, and
 * move_pages_huge_pmd() in mm/huge_memory.c of v6.12; can_change_pte_writable() in mm/mprotect.c
 * says when a page may be made writable without a fault.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "trap.h"
#include "uffd.h"

#define SEED 71

static struct uffd_pair plain_pair(void)
{
	return kind_pair(UFFD_FEATURE_SIGBUS, UFFDIO_REGISTER_MODE_MISSING, SEED);
}

/* Both sides read-only: mainline refuses, 2023's moves; neither may let a write through. */
static void read_only_mapping(void)
{
	struct uffd_pair pair = plain_pair();
	struct uffd_result result;

	kind_settle(pair.src, pair.len);
	CHECK_SYS(mprotect(pair.src, pair.len, PROT_READ));
	CHECK_SYS(mprotect(pair.dst, pair.len, PROT_READ));
	result = uffd_try_all(&pair);
	if (uffd_shape() == UFFD_MAIN) {
		CHECK_ERRNO(result.err, EINVAL);
		mem_expect(pair.src, pair.len, SEED, "source after a refused move");
		CHECK_EQ(trap_write(pair.src, 1), SIGSEGV);
	} else if (!result.err) {
		CHECK_EQ(trap_write(pair.dst, 1), SIGSEGV);
		mem_expect(pair.dst, pair.len, SEED, "destination");
	}
	close(pair.fd);
}

/* The page is there and writable: taking the right away reaches it. */
static void made_read_only_later(void)
{
	struct uffd_pair pair = plain_pair();

	kind_settle(pair.src, pair.len);
	kind_move(&pair, "read-only-later-before-move", "read-only-later-after-move");
	CHECK_SYS(mprotect(pair.dst, pair.len, PROT_READ));
	CHECK_EQ(trap_write(pair.dst, 1), SIGSEGV);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	CHECK_SYS(mprotect(pair.dst, pair.len, PROT_READ | PROT_WRITE));
	CHECK_EQ(trap_write(pair.dst, 1), 0);
	CHECK_EQ(*(volatile char *)pair.dst, 1);
	close(pair.fd);
}

static void overwrite(void *pair)
{
	struct uffd_pair *mine = pair;

	mem_expect(mine->dst, mine->len, SEED, "destination as the child sees it");
	mem_fill(mine->dst, mine->len, SEED + 1);
	mem_expect(mine->dst, mine->len, SEED + 1, "destination the child wrote to");
}

/* Copy on write goes on: what a child writes to a page that was moved, its parent never sees. */
static void child_writes_to_its_own(void)
{
	struct uffd_pair pair = plain_pair();

	kind_settle(pair.src, pair.len);
	kind_move(&pair, "copy-on-write-before-move", "copy-on-write-after-move");
	child_reap(child_start(overwrite, &pair));
	mem_expect(pair.dst, pair.len, SEED, "destination after the child wrote to its own");
	rss_check("child-writes-to-its-own", getpid());
	close(pair.fd);
}

/*
 * Shared once and not written to since the child left: the kernel may let it move or not, but must
 * answer the same twice, and after a write it moves.
 */
static void alone_again(void)
{
	struct uffd_pair pair = plain_pair();
	struct uffd_result first, second;
	pid_t child = child_sharer();

	first = uffd_try_all(&pair);
	second = uffd_try_all(&pair);
	child_end(child);
	CHECK_ERRNO(first.err, EBUSY);
	CHECK_ERRNO(second.err, EBUSY);
	CHECK_EQ(first.moved, -EBUSY);
	mem_expect(pair.src, pair.len, SEED, "source after EBUSY");
	mem_fill(pair.src, pair.len, SEED + 2);
	kind_settle(pair.src, pair.len);
	/* The write may have split a huge page's mapping: what moves then is base pages. */
	uffd_move_all(&pair);
	mem_expect(pair.dst, pair.len, SEED + 2, "destination");
	CHECK_EQ(mem_present_pages(pair.src, pair.len) + mem_swapped_pages(pair.src, pair.len), 0);
	rss_check("alone-again", getpid());
	close(pair.fd);
}

/* Written, moved, and written again at its new place: the last bytes are the ones there. */
static void written_at_new_place(void)
{
	struct uffd_pair pair = plain_pair();

	kind_settle(pair.src, pair.len);
	kind_move(&pair, "new-place-before-move", "new-place-after-move");
	mem_fill(pair.dst, pair.len, SEED + 3);
	mem_fill(pair.src, pair.len, SEED + 4);
	mem_expect(pair.dst, pair.len, SEED + 3, "destination");
	mem_expect(pair.src, pair.len, SEED + 4, "source");
	rss_check("written-at-new-place", getpid());
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "read-only-mapping", read_only_mapping },
	{ "made-read-only-later", made_read_only_later },
	{ "child-writes-to-its-own", child_writes_to_its_own },
	{ "alone-again", alone_again },
	{ "written-at-new-place", written_at_new_place },
};

int main(int argc, char **argv)
{
	kind_parse(argc, argv);
	return ktap_run(cases, KTAP_COUNT(cases), kind_why_not());
}
