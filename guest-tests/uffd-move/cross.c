// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two processes: the source here, the destination and the userfaultfd in another one.  Mainline
 * says EINVAL and nothing changes on either side.  The series of 2023 moves: the same frames or
 * swap slots arrive there, each process's counters follow its page tables (a swap entry counts as
 * one, MM_SWAPENTS, in both), and both exit with counters and page tables that add up, which the
 * kernel checks itself (check_mm() in kernel/fork.c).
 *
 * Source: userfaultfd_move() in fs/userfaultfd.c of v6.12: "Do not allow cross-mm moves".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define SEED 151

static struct peer kind_peer(void)
{
	return peer_start_aligned(kind_len(), kind() == KIND_HUGE ? mem_huge() : 0);
}

/* A source of our own that the peer does not share: made after it was. */
static struct uffd_pair kind_source(const struct peer *peer, unsigned int seed)
{
	struct uffd_pair pair = kind_pages(seed);

	pair.fd = peer->uffd;
	kind_settle(pair.src, pair.len);
	return pair;
}

static size_t here(const struct uffd_pair *pair)
{
	return mem_present_pages(pair->src, pair->len) + mem_swapped_pages(pair->src, pair->len);
}

/*
 * One move into the peer with all that can be seen of it from here.  Returns whether it went, and
 * prints a pair of ledger lines for each process.
 */
static int move_across(const struct peer *peer, const struct uffd_pair *pair, const char *before_move,
		       const char *after_move)
{
	long pages = (long)(pair->len / mem_page()), counted = kind() == KIND_SWAP ? 0 : pages;
	uint64_t *frames = malloc((size_t)pages * sizeof(*frames));
	struct rss mine[2], theirs[2];
	struct uffd_result result;

	CHECK(frames, "malloc: %m");
	for (long i = 0; i < pages; i++)
		frames[i] = mem_frame(pair->src + (size_t)i * mem_page());
	mine[0] = rss_ledger(before_move, getpid());
	theirs[0] = rss_ledger(before_move, peer->pid);
	result = uffd_move(pair->fd, peer->dst, pair->src, pair->len, 0);
	mine[1] = rss_ledger(after_move, getpid());
	theirs[1] = rss_ledger(after_move, peer->pid);
	rss_agree("source process", &mine[1]);
	rss_agree("destination process", &theirs[1]);
	if (uffd_shape() == UFFD_MAIN) {
		CHECK_ERRNO(result.err, EINVAL);
		CHECK(result.moved == UFFD_UNTOUCHED || result.moved == -EINVAL,
		      "moved: got %lld, expected it untouched or -EINVAL",
		      (long long)result.moved);
		rss_conserved(&mine[0], &mine[1]);
		rss_conserved(&theirs[0], &theirs[1]);
		for (long i = 0; i < pages; i++) {
			size_t at = (size_t)i * mem_page();

			CHECK_ENTRY(mem_frame(pair->src + at), frames[i]);
			CHECK_ENTRY(peer_frame(peer, at), 0);
		}
		free(frames);
		return 0;
	}
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, pair->len);
	CHECK_EQ(here(pair), 0);
	for (long i = 0; i < pages; i++)
		CHECK_ENTRY(peer_frame(peer, (size_t)i * mem_page()), frames[i]);
	CHECK_EQ(mine[0].walk_anon - mine[1].walk_anon, counted);
	CHECK_EQ(theirs[1].walk_anon - theirs[0].walk_anon, counted);
	CHECK_EQ(mine[0].walk_swap - mine[1].walk_swap, pages - counted);
	CHECK_EQ(theirs[1].walk_swap - theirs[0].walk_swap, pages - counted);
	rss_near("RssAnon here", mine[0].rss_anon - mine[1].rss_anon, counted);
	rss_near("RssAnon there", theirs[1].rss_anon - theirs[0].rss_anon, counted);
	rss_near("VmSwap here", mine[0].vm_swap - mine[1].vm_swap, pages - counted);
	rss_near("VmSwap there", theirs[1].vm_swap - theirs[0].vm_swap, pages - counted);
	free(frames);
	return 1;
}

static void into_another_process(void)
{
	struct peer peer = kind_peer();
	struct uffd_pair pair = kind_source(&peer, SEED);

	if (move_across(&peer, &pair, "into-another-before-move", "into-another-after-move"))
		peer_expect(&peer, SEED);
	else
		mem_expect(pair.src, pair.len, SEED, "source after a refused move");
	peer_end(&peer);
	rss_check("into-another-after", getpid());
}

/* The destination's process ends with pages that it never touched. */
static void destination_exits(void)
{
	struct peer peer = kind_peer();
	struct uffd_pair pair = kind_source(&peer, SEED + 1);

	move_across(&peer, &pair, "destination-exits-before-move", "destination-exits-after-move");
	peer_end(&peer);
	/* The source is ordinary memory, whatever became of its pages. */
	mem_fill(pair.src, pair.len, SEED + 2);
	mem_expect(pair.src, pair.len, SEED + 2, "source written anew");
	rss_check("destination-exited", getpid());
}

static void move_into_peer(void *argument)
{
	struct peer *peer = argument;
	struct uffd_pair pair = kind_source(peer, SEED + 3);

	move_across(peer, &pair, "source-exits-before-move", "source-exits-after-move");
}

/* The source's process ends first; what it gave away lives on. */
static void source_exits(void)
{
	struct peer peer = kind_peer();

	child_reap(child_start(move_into_peer, &peer));
	if (uffd_shape() == UFFD_V2)
		peer_expect(&peer, SEED + 3);
	rss_check("source-exited", peer.pid);
	peer_end(&peer);
}

/* An address of our own is no excuse: the userfaultfd is another process's. */
static void foreign_userfaultfd(void)
{
	struct peer peer = kind_peer();
	struct uffd_pair pair = kind_source(&peer, SEED + 4);
	struct uffd_result result;
	int mine = uffd_open(0);

	uffd_register(mine, pair.dst, pair.len);
	result = uffd_try_all(&pair);
	/* In 2023's shape the address is the peer's, where nothing is mapped or registered. */
	CHECK_ERRNO(result.err, EINVAL);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	mem_expect(pair.src, pair.len, SEED + 4, "source after a refused move");
	peer_end(&peer);
	close(mine);
}

/* The process whose userfaultfd it is has gone; the descriptor stays. */
static void after_its_end(void)
{
	struct peer peer = kind_peer();
	struct uffd_pair pair = kind_source(&peer, SEED + 5);
	struct uffd_result result;
	int kept = dup(peer.uffd);

	CHECK(kept >= 0, "dup: %m");
	peer_end(&peer);
	result = uffd_move(kept, peer.dst, pair.src, pair.len, 0);
	CHECK_ERRNO(result.err, uffd_shape() == UFFD_MAIN ? EINVAL : ESRCH);
	mem_expect(pair.src, pair.len, SEED + 5, "source after a refused move");
	rss_check("after-its-end", getpid());
	close(kept);
}

static struct uffd_pair inherited;

static void use_inherited(void *unused)
{
	struct uffd_pair pair = inherited;
	struct uffd_result result;

	(void)unused;
	/* A child has the descriptor, and no registration: its own missing pages read as zeros. */
	CHECK_EQ(*(volatile char *)(pair.dst + pair.len - 1), 0);
	pair.src = mem_map(pair.len, 0);
	mem_no_huge(pair.src, pair.len);
	mem_fill(pair.src, pair.len, SEED + 7);
	result = uffd_try_all(&pair);
	if (uffd_shape() == UFFD_MAIN) {
		CHECK_ERRNO(result.err, EINVAL);
		mem_expect(pair.src, pair.len, SEED + 7, "the child's source");
	} else {
		/* It is the parent that gets the pages. */
		CHECK_ERRNO(result.err, 0);
	}
	rss_check("inherited", getpid());
}

static void inherited_userfaultfd(void)
{
	struct uffd_pair pair = uffd_pair(4, SEED + 6);

	inherited = pair;
	child_reap(child_start(use_inherited, NULL));
	if (uffd_shape() == UFFD_MAIN) {
		CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
		/* The child wrote nothing to it, and it still is not ours alone until we do. */
		mem_fill(pair.src, pair.len, SEED + 6);
		uffd_move_all(&pair);
		mem_expect(pair.dst, pair.len, SEED + 6, "destination");
	} else {
		mem_expect(pair.dst, pair.len, SEED + 7, "destination that a child moved into");
	}
	rss_check("inherited-parent", getpid());
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "into-another-process", into_another_process },
	{ "destination-exits", destination_exits },
	{ "source-exits", source_exits },
	{ "foreign-userfaultfd", foreign_userfaultfd },
	{ "after-its-end", after_its_end },
	{ "inherited-userfaultfd", inherited_userfaultfd },
};

int main(int argc, char **argv)
{
	kind_parse(argc, argv);
	return ktap_run(cases, KTAP_COUNT(cases), kind_why_not());
}
