// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a move refuses, and that a refusal changes nothing: arguments, mappings, registration, and
 * pages that are not exclusively ours.
 *
 * Source: userfaultfd_move() in fs/userfaultfd.c, validate_move_areas() and move_pages() in
 * mm/userfaultfd.c of v6.12.  Where the series of 2023 promises something else, the case says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "frames.h"
#include "ktap.h"
#include "mem.h"
#include "rss.h"
#include "uffd.h"

#define PAGES 4
#define SEED 41

/* One refused call; the pair must be as it was afterwards. */
static void refused(const struct uffd_pair *pair, char *dst, char *src, size_t len, uint64_t mode,
		    int expected)
{
	struct uffd_result result;
	uint64_t frames[PAGES];
	long migrated = frames_migrated();

	for (size_t i = 0; i < PAGES; i++)
		frames[i] = mem_frame(pair->src + i * mem_page());
	result = uffd_move(pair->fd, dst, src, len, mode);
	CHECK_ERRNO(result.err, expected);
	CHECK(result.moved == UFFD_UNTOUCHED || result.moved == -expected,
	      "moved: got %lld, expected it untouched or %d", (long long)result.moved, -expected);
	for (size_t i = 0; i < PAGES; i++)
		frames_expect(pair->src + i * mem_page(), frames[i], migrated, "source", i);
	mem_expect(pair->src, pair->len, SEED, "source after a refused move");
}

static void unaligned(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	refused(&pair, pair.dst + 1, pair.src, mem_page(), 0, EINVAL);
	refused(&pair, pair.dst, pair.src + mem_page() / 2, mem_page(), 0, EINVAL);
	refused(&pair, pair.dst, pair.src, mem_page() + 1, 0, EINVAL);
	refused(&pair, pair.dst, pair.src, mem_page() / 2, 0, EINVAL);
	close(pair.fd);
}

static void zero_length(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	refused(&pair, pair.dst, pair.src, 0, 0, EINVAL);
	close(pair.fd);
}

static void wrapping_length(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	refused(&pair, pair.dst, pair.src, -mem_page(), 0, EINVAL);
	refused(&pair, pair.dst, (char *)(uintptr_t)-mem_page(), 2 * mem_page(), 0, EINVAL);
	close(pair.fd);
}

static void unknown_mode(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	for (int bit = 2; bit < 64; bit++)
		refused(&pair, pair.dst, pair.src, pair.len, (uint64_t)1 << bit, EINVAL);
	refused(&pair, pair.dst, pair.src, pair.len, ~(uint64_t)0, EINVAL);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	close(pair.fd);
}

static void beyond_mapping(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	/* One page too many: both mappings end before it. */
	refused(&pair, pair.dst, pair.src, pair.len + mem_page(), 0, EINVAL);
	close(pair.fd);
}

static void unmapped_source(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	char *gone = mem_map(pair.len, 0);

	CHECK_SYS(munmap(gone, pair.len));
	/* v6.12 finds no mapping and says ENOENT; the series of 2023 says EINVAL. */
	refused(&pair, pair.dst, gone, pair.len, 0, uffd_shape() == UFFD_MAIN ? ENOENT : EINVAL);
	close(pair.fd);
}

static void unmapped_destination(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	CHECK_SYS(munmap(pair.dst, pair.len));
	refused(&pair, pair.dst, pair.src, pair.len, 0, uffd_shape() == UFFD_MAIN ? ENOENT : EINVAL);
	close(pair.fd);
}

/* The structure itself is not there. */
static void bad_structure(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	char *gone = mem_map(mem_page(), 0);

	CHECK_SYS(munmap(gone, mem_page()));
	CHECK_ERRNO(ioctl(pair.fd, UFFDIO_MOVE, gone) ? errno : 0, EFAULT);
	CHECK_ERRNO(ioctl(pair.fd, UFFDIO_MOVE, NULL) ? errno : 0, EFAULT);
	mem_expect(pair.src, pair.len, SEED, "source after a refused move");
	close(pair.fd);
}

/*
 * All of the structure is there but its last field, which is written after the move: the error is all
 * that the caller learns, and every page is on one side.  No move wakes anybody then; UFFDIO_WAKE does.
 */
static void unreachable_last_field(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	size_t words = mem_page() / sizeof(uint64_t), read = sizeof(struct uffdio_move) - sizeof(int64_t);
	/* Behind a mapping is a page that nobody may touch. */
	struct uffdio_move *move = (struct uffdio_move *)(mem_map(mem_page(), 0) + mem_page() - read);

	move->dst = (uintptr_t)pair.dst;
	move->src = (uintptr_t)pair.src;
	move->len = pair.len;
	move->mode = 0;
	CHECK_ERRNO(ioctl(pair.fd, UFFDIO_MOVE, move) ? errno : 0, EFAULT);
	for (size_t i = 0; i < PAGES; i++) {
		char *src = pair.src + i * mem_page(), *dst = pair.dst + i * mem_page();
		const uint64_t *word = (const uint64_t *)(mem_present_pages(dst, mem_page()) ? dst : src);

		CHECK(mem_present_pages(src, mem_page()) + mem_present_pages(dst, mem_page()) == 1,
		      "page %zu is on both sides, or on none", i);
		for (size_t at = 0; at < words; at++)
			CHECK(word[at] == mem_pattern(i * words + at, SEED),
			      "page %zu lost its bytes", i);
	}
	uffd_wake(pair.fd, pair.dst, pair.len);
	rss_check("unreachable-last-field", getpid());
	close(pair.fd);
}

static void shared_source(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	char *shared = mmap(NULL, pair.len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(shared != MAP_FAILED, "mmap: %m");
	mem_fill(shared, pair.len, SEED);
	refused(&pair, pair.dst, shared, pair.len, 0, EINVAL);
	mem_expect(shared, pair.len, SEED, "shared source");
	munmap(shared, pair.len);
	close(pair.fd);
}

static void shared_destination(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	char *shared = mmap(NULL, pair.len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(shared != MAP_FAILED, "mmap: %m");
	uffd_register(pair.fd, shared, pair.len);
	refused(&pair, shared, pair.src, pair.len, 0, EINVAL);
	munmap(shared, pair.len);
	close(pair.fd);
}

static void file_source(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char *file;

	CHECK(fd >= 0, "/proc/self/exe: %m");
	file = mmap(NULL, mem_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(file != MAP_FAILED, "mmap: %m");
	/* Its page is anonymous memory once written, and the mapping still is a file's. */
	*(volatile char *)file = 1;
	refused(&pair, pair.dst, file, mem_page(), 0, EINVAL);
	munmap(file, mem_page());
	close(fd);
	close(pair.fd);
}

/* Memory of a file that can be registered, mapped privately. */
static void file_destination(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	int fd = memfd_create("destination", MFD_CLOEXEC);
	char *file;

	CHECK(fd >= 0, "memfd_create: %m");
	CHECK_SYS(ftruncate(fd, (off_t)pair.len));
	file = mmap(NULL, pair.len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(file != MAP_FAILED, "mmap: %m");
	uffd_register(pair.fd, file, pair.len);
	refused(&pair, file, pair.src, pair.len, 0, EINVAL);
	munmap(file, pair.len);
	close(fd);
	close(pair.fd);
}

static void different_protection(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	CHECK_SYS(mprotect(pair.src, pair.len, PROT_READ));
	refused(&pair, pair.dst, pair.src, pair.len, 0, EINVAL);
	close(pair.fd);
}

static void executable_source(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	CHECK_SYS(mprotect(pair.src, pair.len, PROT_READ | PROT_WRITE | PROT_EXEC));
	refused(&pair, pair.dst, pair.src, pair.len, 0, EINVAL);
	CHECK_SYS(mprotect(pair.dst, pair.len, PROT_READ | PROT_WRITE | PROT_EXEC));
	uffd_move_all(&pair);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(pair.fd);
}

static void no_access(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	struct uffd_result result;

	CHECK_SYS(mprotect(pair.src, pair.len, PROT_NONE));
	CHECK_SYS(mprotect(pair.dst, pair.len, PROT_NONE));
	result = uffd_try_all(&pair);
	CHECK_SYS(mprotect(pair.src, pair.len, PROT_READ | PROT_WRITE));
	CHECK_SYS(mprotect(pair.dst, pair.len, PROT_READ | PROT_WRITE));
	/* In the series of 2023 mappings that cannot be written are allowed. */
	if (uffd_shape() == UFFD_MAIN)
		CHECK_ERRNO(result.err, EINVAL);
	mem_expect(result.err ? pair.src : pair.dst, pair.len, SEED, "the pages");
	CHECK_EQ(mem_present_pages(pair.src, pair.len) + mem_present_pages(pair.dst, pair.len),
		 PAGES);
	close(pair.fd);
}

static void read_only(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	CHECK_SYS(mprotect(pair.src, pair.len, PROT_READ));
	CHECK_SYS(mprotect(pair.dst, pair.len, PROT_READ));
	if (uffd_shape() == UFFD_V2) {
		/* Not refused there; the bytes still must not be lost. */
		if (!uffd_try_all(&pair).err)
			mem_expect(pair.dst, pair.len, SEED, "read-only destination");
	} else {
		refused(&pair, pair.dst, pair.src, pair.len, 0, EINVAL);
	}
	close(pair.fd);
}

/* No write into a mapping that forbids it, whatever its source allows. */
static void read_only_destination(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	CHECK_SYS(mprotect(pair.dst, pair.len, PROT_READ));
	refused(&pair, pair.dst, pair.src, pair.len, 0, EINVAL);
	CHECK_EQ(mem_present_pages(pair.dst, pair.len), 0);
	close(pair.fd);
}

static void mlock_mismatch(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	CHECK_SYS(mlock(pair.src, pair.len));
	refused(&pair, pair.dst, pair.src, pair.len, 0, EINVAL);
	CHECK_SYS(munlock(pair.src, pair.len));
	uffd_move_all(&pair);
	close(pair.fd);
}

static void neither_registered(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	char *dst = mem_map(pair.len, 0);

	refused(&pair, dst, pair.src, pair.len, 0, EINVAL);
	close(pair.fd);
}

static void only_source_registered(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);

	pair.dst = mem_map(pair.len, 0);
	uffd_register(pair.fd, pair.src, pair.len);
	/* In the series of 2023 a registered source suffices. */
	if (uffd_shape() == UFFD_V2)
		uffd_move_all(&pair);
	else
		refused(&pair, pair.dst, pair.src, pair.len, 0, EINVAL);
	close(pair.fd);
}

static void other_userfaultfd(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	int other = uffd_open(0);

	pair.dst = mem_map(pair.len, 0);
	uffd_register(other, pair.dst, pair.len);
	/* In the series of 2023 any userfaultfd will do. */
	if (uffd_shape() == UFFD_V2)
		uffd_move_all(&pair);
	else
		refused(&pair, pair.dst, pair.src, pair.len, 0, EINVAL);
	close(other);
	close(pair.fd);
}

/* A page shared with a fork()ed child is not ours alone; it is again once both are true: the
 * child is gone and we wrote to it. */
static void shared_with_child(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	pid_t child = child_sharer();

	refused(&pair, pair.dst, pair.src, pair.len, 0, EBUSY);
	refused(&pair, pair.dst, pair.src, pair.len, 0, EBUSY);
	child_end(child);
	mem_fill(pair.src, pair.len, SEED);
	uffd_move_all(&pair);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	rss_check("shared-with-child", getpid());
	close(pair.fd);
}

static void dontfork_stays_movable(void)
{
	struct uffd_pair pair = uffd_pair(PAGES, SEED);
	pid_t child;

	CHECK_SYS(madvise(pair.src, pair.len, MADV_DONTFORK));
	child = child_sharer();
	uffd_move_all(&pair);
	child_end(child);
	mem_expect(pair.dst, pair.len, SEED, "destination");
	close(pair.fd);
}

static const struct ktap_case cases[] = {
	{ "unaligned", unaligned },
	{ "zero-length", zero_length },
	{ "wrapping-length", wrapping_length },
	{ "unknown-mode", unknown_mode },
	{ "beyond-mapping", beyond_mapping },
	{ "unmapped-source", unmapped_source },
	{ "unmapped-destination", unmapped_destination },
	{ "bad-structure", bad_structure },
	{ "unreachable-last-field", unreachable_last_field },
	{ "shared-source", shared_source },
	{ "shared-destination", shared_destination },
	{ "file-source", file_source },
	{ "file-destination", file_destination },
	{ "different-protection", different_protection },
	{ "executable-source", executable_source },
	{ "no-access", no_access },
	{ "read-only", read_only },
	{ "read-only-destination", read_only_destination },
	{ "mlock-mismatch", mlock_mismatch },
	{ "neither-registered", neither_registered },
	{ "only-source-registered", only_source_registered },
	{ "other-userfaultfd", other_userfaultfd },
	{ "shared-with-child", shared_with_child },
	{ "dontfork-stays-movable", dontfork_stays_movable },
};

int main(void)
{
	return ktap_run(cases, KTAP_COUNT(cases), uffd_why_not());
}
