// SPDX-License-Identifier: GPL-2.0-only
/*
 * While mappings change, a move answers EAGAIN, writes that into the last field and moves nothing;
 * afterwards it succeeds.  Made deterministic by the events of the non-cooperative mode: fork(),
 * mremap(), madvise() and munmap() of a registered range wait until their event is read, and until
 * then the mappings count as changing.
 *
 * Source: userfaultfd_move() in fs/userfaultfd.c of v6.12 looks at mmap_changing first and, since
 * 2025, writes the field there too; "Non-cooperative userfaultfd" in
 * Documentation/admin-guide/mm/userfaultfd.rst.  The series of 2023 promises nothing of it: there a
 * success at once is as good, and the field is not looked at.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 8
#define SEED 111

/* The mapping that changes: registered with the pair's userfaultfd, and populated. */
struct change {
	struct uffd_pair pair;
	char *area;
	int (*act)(struct change *change);
	char *moved_to;
	pid_t child;
	int err;
	pthread_t thread;
	struct uffd_msg message;
};

static struct change changing_pair(uint64_t feature)
{
	struct change change = { .pair = uffd_pair(PAGES, SEED) };
	struct uffd_pair *pair = &change.pair;

	close(pair->fd);
	pair->fd = uffd_open_with(feature);
	uffd_register(pair->fd, pair->dst, pair->len);
	/* What is moved must not be shared with a child. */
	CHECK_SYS(madvise(pair->src, pair->len, MADV_DONTFORK));
	change.area = mem_map(pair->len, 0);
	mem_no_huge(change.area, pair->len);
	mem_fill(change.area, pair->len, SEED + 1);
	uffd_register(pair->fd, change.area, pair->len);
	return change;
}

static void *change_mappings(void *argument)
{
	struct change *change = argument;

	change->err = change->act(change) ? errno : 0;
	return NULL;
}

/* Start the change; on return it waits for its event to be read. */
static void begin(struct change *change)
{
	struct pollfd ready = { .fd = change->pair.fd, .events = POLLIN };

	CHECK(!pthread_create(&change->thread, NULL, change_mappings, change),
	      "pthread_create failed");
	CHECK_EQ(poll(&ready, 1, 10000), 1);
}

/* Read the event, which lets the change go on, and wait for its end. */
static void end(struct change *change, int event)
{
	struct uffd_msg *message = &change->message;
	struct timespec until;

	CHECK_EQ(read(change->pair.fd, message, sizeof(*message)), sizeof(*message));
	CHECK_EQ(message->event, event);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 15;
	CHECK(!pthread_timedjoin_np(change->thread, NULL, &until), "the change does not end");
	CHECK_ERRNO(change->err, 0);
}

/* A move in the middle of the change, and whether all of it is still to do. */
static int try_meanwhile(const struct change *change, uint64_t mode)
{
	const struct uffd_pair *pair = &change->pair;
	struct uffd_result result = uffd_move(pair->fd, pair->dst, pair->src, pair->len, mode);

	if (uffd_shape() == UFFD_V2 && !result.err)
		return 0;
	CHECK_ERRNO(result.err, EAGAIN);
	if (uffd_shape() == UFFD_MAIN)
		CHECK_EQ(result.moved, -EAGAIN);
	mem_expect(pair->src, pair->len, SEED, "source after EAGAIN");
	CHECK_EQ(mem_present_pages(pair->dst, pair->len), 0);
	return 1;
}

/* Twice while it changes, then for good. */
static void stopped_then_goes(struct change *change, int event)
{
	struct uffd_pair *pair = &change->pair;
	int to_do;

	begin(change);
	to_do = try_meanwhile(change, 0) &&
		try_meanwhile(change, UFFDIO_MOVE_MODE_DONTWAKE | UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	end(change, event);
	if (to_do)
		uffd_move_all(pair);
	mem_expect(pair->dst, pair->len, SEED, "destination");
	CHECK_EQ(mem_present_pages(pair->src, pair->len), 0);
	rss_check("changed", getpid());
	close(pair->fd);
}

static int act_fork(struct change *change)
{
	change->child = fork();
	if (!change->child)
		_exit(0);
	return change->child < 0 ? -1 : 0;
}

static void during_fork(void)
{
	struct change change = changing_pair(UFFD_FEATURE_EVENT_FORK);
	int status;

	change.act = act_fork;
	stopped_then_goes(&change, UFFD_EVENT_FORK);
	close((int)change.message.fork.ufd);
	CHECK_EQ(waitpid(change.child, &status, 0), change.child);
	CHECK_EQ(status, 0);
}

static int act_mremap(struct change *change)
{
	void *to = mremap(change->area, change->pair.len, change->pair.len,
			  MREMAP_MAYMOVE | MREMAP_FIXED, change->moved_to);

	return to == MAP_FAILED ? -1 : 0;
}

static void during_mremap(void)
{
	struct change change = changing_pair(UFFD_FEATURE_EVENT_REMAP);

	change.act = act_mremap;
	change.moved_to = mem_map(change.pair.len, 0);
	stopped_then_goes(&change, UFFD_EVENT_REMAP);
	CHECK_EQ(change.message.remap.from, (uintptr_t)change.area);
	CHECK_EQ(change.message.remap.to, (uintptr_t)change.moved_to);
	mem_expect(change.moved_to, change.pair.len, SEED + 1, "what mremap() moved");
}

/* The destination itself goes elsewhere: there it is still registered, here nothing is left. */
static void destination_mremapped(void)
{
	struct change change = changing_pair(UFFD_FEATURE_EVENT_REMAP);
	struct uffd_pair *pair = &change.pair;
	char *old = pair->dst;
	int to_do;

	change.act = act_mremap;
	change.area = old;
	change.moved_to = mem_map(pair->len, 0);
	begin(&change);
	/* Its pages are mapped at the new place already, so the old one is looked at by nobody. */
	pair->dst = change.moved_to;
	to_do = try_meanwhile(&change, 0);
	end(&change, UFFD_EVENT_REMAP);
	if (to_do) {
		CHECK_ERRNO(uffd_move(pair->fd, old, pair->src, pair->len, 0).err,
			    uffd_shape() == UFFD_MAIN ? ENOENT : EINVAL);
		uffd_move_all(pair);
	}
	mem_expect(pair->dst, pair->len, SEED, "destination at its new place");
	rss_check("destination-mremapped", getpid());
	close(pair->fd);
}

static int act_dontneed(struct change *change)
{
	return madvise(change->area, change->pair.len, MADV_DONTNEED);
}

static void during_madvise(void)
{
	struct change change = changing_pair(UFFD_FEATURE_EVENT_REMOVE);

	change.act = act_dontneed;
	stopped_then_goes(&change, UFFD_EVENT_REMOVE);
	CHECK_EQ(change.message.remove.start, (uintptr_t)change.area);
	CHECK_EQ(change.message.remove.end, (uintptr_t)change.area + change.pair.len);
	CHECK_EQ(mem_present_pages(change.area, change.pair.len), 0);
}

static int act_munmap(struct change *change)
{
	return munmap(change->area, change->pair.len);
}

static void during_munmap(void)
{
	struct change change = changing_pair(UFFD_FEATURE_EVENT_UNMAP);

	change.act = act_munmap;
	stopped_then_goes(&change, UFFD_EVENT_UNMAP);
	CHECK_EQ(change.message.remove.start, (uintptr_t)change.area);
	CHECK_EQ(change.message.remove.end, (uintptr_t)change.area + change.pair.len);
}

static const struct ktap_case cases[] = {
	{ "during-fork", during_fork },
	{ "during-mremap", during_mremap },
	{ "destination-mremapped", destination_mremapped },
	{ "during-madvise", during_madvise },
	{ "during-munmap", during_munmap },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
