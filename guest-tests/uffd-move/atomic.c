// SPDX-License-Identifier: GPL-2.0-only
/*
 * A move is atomic for everybody else: what a thread writes through the source while the page moves
 * is there afterwards, at the destination, or the writer waits in a fault.  And a move that fails
 * has moved nothing: every page is where it was, in the frame it was in.
 *
 * Source: the comment above move_pages() in mm/userfaultfd.c of v6.12 ("The mapping in the
 * destination address is atomic"); move_present_pte() and move_pages_huge_pmd() clear the source's
 * entry and flush it before the destination's is set.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "frames.h"
#include "kind.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define SEED 141
#define ROUNDS 30

/* A thread that counts in a word of the source; nobody else writes that word. */
struct writer {
	pthread_t thread;
	volatile uint64_t *word;
	_Atomic uint64_t done;
};

static _Atomic int stop;

static void *count_up(void *argument)
{
	struct writer *writer = argument;

	/* Read and write: an update that got lost in between is never made good. */
	while (!atomic_load(&stop)) {
		*writer->word = *writer->word + 1;
		atomic_fetch_add(&writer->done, 1);
	}
	return NULL;
}

/* Wait until a writer got on, which says that it was woken. */
static void wait_for_progress(struct writer *writer)
{
	uint64_t before = atomic_load(&writer->done);
	double end = mem_now_ms() + 10000;

	while (atomic_load(&writer->done) == before) {
		CHECK(mem_now_ms() < end, "a writer is not woken from its fault");
		/* Leave the CPUs to the writers. */
		usleep(100);
	}
}

static void no_update_is_lost(void)
{
	struct uffd_pair pair = kind_pair(0, UFFDIO_REGISTER_MODE_MISSING, SEED), back;
	size_t last = pair.len - sizeof(uint64_t);
	struct writer writer = { .word = (volatile uint64_t *)(pair.src + last) };
	volatile uint64_t *moved = (volatile uint64_t *)(pair.dst + last);
	double begin = mem_now_ms();
	struct timespec until;

	uffd_register(pair.fd, pair.src, pair.len);
	back = (struct uffd_pair){ pair.fd, pair.dst, pair.src, pair.len };
	atomic_store(&stop, 0);
	*writer.word = 0;
	CHECK(!pthread_create(&writer.thread, NULL, count_up, &writer), "pthread_create failed");
	/* Emulated CPUs answer each other's flushes late when they are busy: not more than a second. */
	for (int round = 0; round < ROUNDS && (round < 3 || mem_now_ms() < begin + 1000); round++) {
		uint64_t done, there;

		wait_for_progress(&writer);
		uffd_move_all(&pair);
		done = atomic_load(&writer.done);
		there = *moved;
		/* One more is written than counted where the writer was between the two. */
		CHECK(there == done || there == done + 1,
		      "round %d: got %llu at the destination, counted %llu", round,
		      (unsigned long long)there, (unsigned long long)done);
		uffd_move_all(&back);
	}
	atomic_store(&stop, 1);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 15;
	CHECK(!pthread_timedjoin_np(writer.thread, NULL, &until),
	      "the writer does not come to its end");
	CHECK_EQ(*writer.word, atomic_load(&writer.done));
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	rss_check("no-update-is-lost", getpid());
	close(pair.fd);
}

static long migrated; /* before the entries were noted */

/* The entries of both sides, to be compared with what they are later. */
static uint64_t *note(const struct uffd_pair *pair)
{
	size_t pages = pair->len / mem_page();
	uint64_t *entries = malloc(2 * pages * sizeof(*entries));

	CHECK(entries, "malloc: %m");
	migrated = frames_migrated();
	for (size_t i = 0; i < pages; i++) {
		entries[i] = mem_frame(pair->src + i * mem_page());
		entries[pages + i] = mem_frame(pair->dst + i * mem_page());
	}
	return entries;
}

static void expect_as_noted(const struct uffd_pair *pair, uint64_t *entries)
{
	size_t pages = pair->len / mem_page();

	for (size_t i = 0; i < pages; i++) {
		frames_expect(pair->src + i * mem_page(), entries[i], migrated, "source", i);
		frames_expect(pair->dst + i * mem_page(), entries[pages + i], migrated,
			      "destination", i);
	}
	free(entries);
}

/* A call that fails on its first page, twice, has changed nothing. */
static void fails(const struct uffd_pair *pair, uint64_t mode, int err, const char *before_move,
		  const char *after_move)
{
	uint64_t *entries = note(pair);
	struct rss before = rss_ledger(before_move, getpid()), after;
	struct uffd_result first = uffd_move(pair->fd, pair->dst, pair->src, pair->len, mode);
	struct uffd_result second = uffd_move(pair->fd, pair->dst, pair->src, pair->len, mode);

	after = rss_ledger(after_move, getpid());
	if (!(uffd_shape() == UFFD_V2 && kind() == KIND_HUGE && first.err == EBUSY)) {
		CHECK_ERRNO(first.err, err);
		CHECK_ERRNO(second.err, err);
	}
	rss_conserved(&before, &after);
	expect_as_noted(pair, entries);
}

static struct uffd_pair plain_pair(void)
{
	return kind_pair(UFFD_FEATURE_SIGBUS, UFFDIO_REGISTER_MODE_MISSING, SEED);
}

static void eexist_moves_nothing(void)
{
	struct uffd_pair pair = plain_pair();

	/* A huge page that was split on the way to this answer is not put together again. */
	mem_no_huge(pair.src, pair.len);
	mem_no_huge(pair.dst, pair.len);
	uffd_unregister(pair.fd, pair.dst, pair.len);
	mem_fill(pair.dst, mem_page(), SEED + 1);
	uffd_register(pair.fd, pair.dst, pair.len);
	fails(&pair, 0, EEXIST, "eexist-before-move", "eexist-after-move");
	mem_expect(pair.src, pair.len, SEED, "source");
	mem_expect(pair.dst, mem_page(), SEED + 1, "destination");
	close(pair.fd);
}

static void enoent_moves_nothing(void)
{
	struct uffd_pair pair = plain_pair();

	CHECK_SYS(madvise(pair.src, pair.len, MADV_DONTNEED));
	fails(&pair, 0, ENOENT, "enoent-before-move", "enoent-after-move");
	close(pair.fd);
}

static void einval_moves_nothing(void)
{
	struct uffd_pair pair = plain_pair();

	fails(&pair, (uint64_t)1 << 40, EINVAL, "einval-before-move", "einval-after-move");
	mem_expect(pair.src, pair.len, SEED, "source");
	close(pair.fd);
}

static void ebusy_moves_nothing(void)
{
	struct uffd_pair pair = plain_pair();
	pid_t child = child_sharer();

	fails(&pair, 0, EBUSY, "ebusy-before-move", "ebusy-after-move");
	child_end(child);
	mem_expect(pair.src, pair.len, SEED, "source");
	close(pair.fd);
}

/* A success is a move and no copy: again and again the same frames, and nothing stays behind. */
static void never_a_copy(void)
{
	struct uffd_pair pair = plain_pair(), back;
	uint64_t *entries = note(&pair);

	uffd_register(pair.fd, pair.src, pair.len);
	back = (struct uffd_pair){ pair.fd, pair.dst, pair.src, pair.len };
	for (int round = 0; round < 5; round++) {
		kind_move(&pair, "never-a-copy-before-move", "never-a-copy-after-move");
		kind_move(&back, "never-a-copy-before-move", "never-a-copy-after-move");
	}
	expect_as_noted(&pair, entries);
	mem_expect(pair.src, pair.len, SEED, "source");
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "no-update-is-lost", no_update_is_lost },
	{ "eexist-moves-nothing", eexist_moves_nothing },
	{ "enoent-moves-nothing", enoent_moves_nothing },
	{ "einval-moves-nothing", einval_moves_nothing },
	{ "ebusy-moves-nothing", ebusy_moves_nothing },
	{ "never-a-copy", never_a_copy },
};

int main(int argc, char **argv)
{
	kind_parse(argc, argv);
	return ktap_run(cases, KTAP_COUNT(cases), kind_why_not());
}
