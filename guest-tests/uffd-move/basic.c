// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plain move of base pages: the bytes arrive in the same page frames, the source is empty
 * afterwards, nothing is counted twice, waiters wake, and another process's memory is off limits
 * (or, in the shape of 2023, is not).
 *
 * Source: move_pages() in mm/userfaultfd.c and userfaultfd_move() in fs/userfaultfd.c of v6.12.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "asleep.h"
#include "child.h"
#include "frames.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 64
#define SEED 1

/* The first seven cases look at one and the same move from seven sides. */
static struct {
	struct uffd_pair pair;
	struct uffd_result result;
	struct rss before, after;
	uint64_t frames[PAGES];
	long migrated;
	int done;
} first;

static void need_first(void)
{
	CHECK(first.done, "the first move did not happen");
}

static void moved_field(void)
{
	struct uffd_pair *pair = &first.pair;

	*pair = uffd_pair(PAGES, SEED);
	first.migrated = frames_migrated();
	for (size_t i = 0; i < PAGES; i++)
		first.frames[i] = mem_frame(pair->src + i * mem_page());
	first.before = rss_ledger("plain-before-move", getpid());
	first.result = uffd_move(pair->fd, pair->dst, pair->src, pair->len, 0);
	first.after = rss_ledger("plain-after-move", getpid());
	CHECK_ERRNO(first.result.err, 0);
	first.done = 1;
	CHECK_EQ(first.result.moved, pair->len);
}

static void same_frames(void)
{
	need_first();
	if (!(first.frames[0] & MEM_FRAME))
		ktap_skip("pagemap shows no frame numbers without CAP_SYS_ADMIN");
	for (size_t i = 0; i < PAGES; i++)
		frames_expect(first.pair.dst + i * mem_page(), first.frames[i], first.migrated,
			      "destination", i);
}

static void source_empty(void)
{
	need_first();
	for (size_t i = 0; i < PAGES; i++)
		CHECK_ENTRY(mem_frame(first.pair.src + i * mem_page()), 0);
}

static void contents_arrive(void)
{
	need_first();
	CHECK_EQ(mem_present_pages(first.pair.dst, first.pair.len), PAGES);
	mem_expect(first.pair.dst, first.pair.len, SEED, "destination");
}

static void counters_conserved(void)
{
	need_first();
	rss_conserved(&first.before, &first.after);
	rss_agree("before the move", &first.before);
	rss_agree("after the move", &first.after);
}

static void source_reads_zero(void)
{
	need_first();
	for (size_t i = 0; i < first.pair.len; i += sizeof(uint64_t))
		CHECK_EQ(*(volatile uint64_t *)(first.pair.src + i), 0);
}

/* Both sides are ordinary memory again: writing one does not show in the other. */
static void both_sides_writable(void)
{
	need_first();
	mem_fill(first.pair.src, first.pair.len, SEED + 1);
	mem_expect(first.pair.dst, first.pair.len, SEED, "destination after a write to the source");
	mem_fill(first.pair.dst, first.pair.len, SEED + 2);
	mem_expect(first.pair.src, first.pair.len, SEED + 1, "source after a write to the destination");
	rss_check("both-sides-written", getpid());
}

static void within_one_mapping(void)
{
	size_t half = PAGES * mem_page();
	char *area = mem_map(2 * half, 0);
	struct uffd_result result;
	int fd = uffd_open(0);

	mem_no_huge(area, 2 * half);
	mem_fill(area, half, SEED);
	uffd_register(fd, area, 2 * half);
	result = uffd_move(fd, area + half, area, half, 0);
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(result.moved, half);
	CHECK_EQ(mem_present_pages(area, half), 0);
	mem_expect(area + half, half, SEED, "upper half");
	close(fd);
}

/* The zero page is no page of ours; v6.12 maps it anew at the destination, 2023's says EBUSY. */
static void zero_page(void)
{
	struct uffd_pair pair = uffd_pair(1, SEED);
	struct uffd_result result;

	CHECK_SYS(madvise(pair.src, pair.len, MADV_DONTNEED));
	CHECK_EQ(*(volatile char *)pair.src, 0);
	CHECK_EQ(mem_present_pages(pair.src, pair.len), 1);
	result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, 0);
	if (uffd_shape() == UFFD_V2 && result.err == EBUSY)
		return;
	CHECK_ERRNO(result.err, 0);
	CHECK_EQ(mem_present_pages(pair.src, pair.len), 0);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 1);
	CHECK_EQ(*(volatile char *)pair.dst, 0);
	*(volatile char *)pair.dst = 1;
	rss_check("zero-page", getpid());
	close(pair.fd);
}

static _Atomic unsigned long seen;
static _Atomic pid_t reader_id;

static void *reader(void *address)
{
	atomic_store(&reader_id, gettid());
	atomic_store(&seen, *(volatile unsigned long *)address);
	return NULL;
}

/* A thread that waits in a fault on the destination; returns once it is reported and sleeps. */
static pthread_t start_waiter(const struct uffd_pair *pair)
{
	struct pollfd ready = { .fd = pair->fd, .events = POLLIN };
	struct uffd_msg message;
	pthread_t thread;

	atomic_store(&seen, 0);
	CHECK(!pthread_create(&thread, NULL, reader, pair->dst), "pthread_create failed");
	CHECK_EQ(poll(&ready, 1, 10000), 1);
	CHECK_EQ(read(pair->fd, &message, sizeof(message)), sizeof(message));
	CHECK_EQ(message.event, UFFD_EVENT_PAGEFAULT);
	CHECK_EQ(message.pagefault.address & ~(uint64_t)(mem_page() - 1), (uintptr_t)pair->dst);
	asleep_wait(atomic_load(&reader_id));
	return thread;
}

static struct uffd_pair blocking_pair(void)
{
	struct uffd_pair pair = { .len = mem_page() };

	pair.fd = uffd_open(1);
	pair.src = mem_map(pair.len, 0);
	pair.dst = mem_map(pair.len, 0);
	uffd_register(pair.fd, pair.dst, pair.len);
	mem_fill(pair.src, pair.len, SEED);
	return pair;
}

static void join(pthread_t thread, unsigned long expected)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	CHECK(!pthread_timedjoin_np(thread, NULL, &until), "the waiting thread did not wake");
	CHECK(atomic_load(&seen) == expected, "the waiter read %#lx, expected %#lx",
	      atomic_load(&seen), expected);
}

static void wakes_waiter(void)
{
	struct uffd_pair pair = blocking_pair();
	unsigned long expected = *(unsigned long *)pair.src;
	pthread_t thread = start_waiter(&pair);

	uffd_move_all(&pair);
	join(thread, expected);
	close(pair.fd);
}

static void dontwake(void)
{
	struct uffd_pair pair = blocking_pair();
	unsigned long expected = *(unsigned long *)pair.src;
	struct uffdio_range range = { (uintptr_t)pair.dst, pair.len };
	pthread_t thread = start_waiter(&pair);
	struct uffd_result result;

	result = uffd_move(pair.fd, pair.dst, pair.src, pair.len, UFFDIO_MOVE_MODE_DONTWAKE);
	CHECK_ERRNO(result.err, 0);
	nanosleep(&(struct timespec){ 0, 100 * 1000 * 1000 }, NULL);
	CHECK_EQ(atomic_load(&seen), 0);
	CHECK_SYS(ioctl(pair.fd, UFFDIO_WAKE, &range));
	join(thread, expected);
	close(pair.fd);
}

static void other_process(void)
{
	struct peer peer = peer_start(PAGES);
	char *src = mem_map(peer.len, 0);
	struct rss mine[2], theirs[2];
	struct uffd_result result;

	mem_no_huge(src, peer.len);
	mem_fill(src, peer.len, SEED + 3);
	mine[0] = rss_ledger("other-process-before-move", getpid());
	theirs[0] = rss_ledger("other-process-before-move", peer.pid);
	result = uffd_move(peer.uffd, peer.dst, src, peer.len, 0);
	mine[1] = rss_ledger("other-process-after-move", getpid());
	theirs[1] = rss_ledger("other-process-after-move", peer.pid);
	if (uffd_shape() == UFFD_MAIN) {
		CHECK_ERRNO(result.err, EINVAL);
		mem_expect(src, peer.len, SEED + 3, "source after a refused move");
		rss_conserved(&mine[0], &mine[1]);
		rss_conserved(&theirs[0], &theirs[1]);
	} else {
		CHECK_ERRNO(result.err, 0);
		CHECK_EQ(result.moved, peer.len);
		CHECK_EQ(mine[0].walk_anon - mine[1].walk_anon, PAGES);
		CHECK_EQ(theirs[1].walk_anon - theirs[0].walk_anon, PAGES);
		rss_agree("source process", &mine[1]);
		rss_agree("destination process", &theirs[1]);
		peer_expect(&peer, SEED + 3);
	}
	peer_end(&peer);
}

/* No verdict but that the bytes survive: what moving a megabyte of base pages costs here. */
static void throughput(void)
{
	size_t pages = mem_page() < 1 << 20 ? (1 << 20) / mem_page() : 1;
	struct uffd_pair pair = uffd_pair(pages, SEED);

	ktap_measure("move-throughput", uffd_rate(&pair), "MB/s");
	mem_expect(pair.src, pair.len, SEED, "source after moving back and forth");
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "moved-field", moved_field },
	{ "same-frames", same_frames },
	{ "source-empty", source_empty },
	{ "contents-arrive", contents_arrive },
	{ "counters-conserved", counters_conserved },
	{ "source-reads-zero", source_reads_zero },
	{ "both-sides-writable", both_sides_writable },
	{ "within-one-mapping", within_one_mapping },
	{ "zero-page", zero_page },
	{ "wakes-waiter", wakes_waiter },
	{ "dontwake", dontwake },
	{ "other-process", other_process },
	{ "throughput", throughput },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
