// SPDX-License-Identifier: GPL-2.0-only
/* See child.h. */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ktap.h"
#include "mem.h"
#include "uffd.h"

pid_t child_start(void (*body)(void *), void *argument)
{
	pid_t parent = getpid(), pid = fork();

	CHECK(pid >= 0, "fork: %m");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(KTAP_EXIT_FAIL);
	body(argument);
	/* _exit: what stdio holds belongs to the parent. */
	_exit(KTAP_EXIT_OK);
}

void child_barrier(void)
{
	raise(SIGSTOP);
}

static int wait_for(pid_t pid, int options)
{
	int status = 0;
	pid_t got;

	do {
		got = waitpid(pid, &status, options);
	} while (got < 0 && errno == EINTR);
	CHECK(got == pid, "waitpid(%d): %m", (int)pid);
	return status;
}

void child_meet(pid_t pid)
{
	int status = wait_for(pid, WUNTRACED);

	CHECK(WIFSTOPPED(status), "child %d did not reach its barrier: wait status %#x", (int)pid,
	      (unsigned int)status);
}

void child_go(pid_t pid)
{
	CHECK_SYS(kill(pid, SIGCONT));
}

void child_reap(pid_t pid)
{
	int status = wait_for(pid, 0);

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	      "child %d: got wait status %#x, expected exit status 0", (int)pid,
	      (unsigned int)status);
}

void child_end(pid_t pid)
{
	child_go(pid);
	child_reap(pid);
}

static void stand_still(void *unused)
{
	(void)unused;
	child_barrier();
}

pid_t child_sharer(void)
{
	pid_t pid = child_start(stand_still, NULL);

	child_meet(pid);
	return pid;
}

double child_used_ms(pid_t pid)
{
	struct timespec used = { 0, 0 };
	clockid_t clock;

	if (!clock_getcpuclockid(pid, &clock))
		(void)clock_gettime(clock, &used);
	return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

/* What the peer tells first; the descriptor travels beside it. */
struct hello {
	char *dst;
};

static void send_hello(int sock, int uffd, char *dst)
{
	struct hello hello = { dst };
	struct iovec data = { &hello, sizeof(hello) };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *passed = CMSG_FIRSTHDR(&message);

	passed->cmsg_level = SOL_SOCKET;
	passed->cmsg_type = SCM_RIGHTS;
	passed->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(passed), &uffd, sizeof(uffd));
	CHECK_SYS(sendmsg(sock, &message, 0));
}

struct peer_args {
	int sock;
	size_t len, align;
};

static void peer_body(void *argument)
{
	struct peer_args *args = argument;
	int uffd = uffd_open(0);
	char *dst = mem_map(args->len, args->align);
	unsigned int seed;

	if (!args->align)
		mem_no_huge(dst, args->len);
	uffd_register(uffd, dst, args->len);
	send_hello(args->sock, uffd, dst);
	/* Each request is a seed to check against; the end of the stream is the end of us. */
	while (read(args->sock, &seed, sizeof(seed)) == sizeof(seed)) {
		char good = (char)mem_holds(dst, args->len, seed, NULL);

		CHECK(write(args->sock, &good, 1) == 1, "peer: write: %m");
	}
}

struct peer peer_start_aligned(size_t len, size_t align)
{
	struct peer peer = { .uffd = -1, .len = len };
	struct hello hello = { NULL };
	struct iovec data = { &hello, sizeof(hello) };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct peer_args args = { .len = len, .align = align };
	int pair[2];

	CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	args.sock = pair[1];
	peer.sock = pair[0];
	peer.pid = fork();
	CHECK(peer.pid >= 0, "fork: %m");
	if (!peer.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		peer_body(&args);
		_exit(KTAP_EXIT_OK);
	}
	close(pair[1]);
	CHECK(recvmsg(peer.sock, &message, MSG_CMSG_CLOEXEC) == sizeof(hello),
	      "the peer did not come up");
	CHECK(CMSG_FIRSTHDR(&message), "the peer passed no descriptor");
	memcpy(&peer.uffd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(peer.uffd));
	peer.dst = hello.dst;
	return peer;
}

struct peer peer_start(size_t pages)
{
	return peer_start_aligned(pages * mem_page(), 0);
}

uint64_t peer_frame(const struct peer *peer, size_t offset)
{
	uint64_t entry = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)peer->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0, "%s: %m", path);
	CHECK(pread(fd, &entry, sizeof(entry),
		    (off_t)((uintptr_t)(peer->dst + offset) / mem_page() * sizeof(entry))) ==
		      sizeof(entry),
	      "%s: %m", path);
	close(fd);
	return entry & (MEM_FRAME | MEM_SWAPPED | MEM_PRESENT);
}

void peer_expect(const struct peer *peer, unsigned int seed)
{
	char good = 0;

	CHECK(write(peer->sock, &seed, sizeof(seed)) == sizeof(seed), "peer: write: %m");
	CHECK(read(peer->sock, &good, 1) == 1, "the peer died while it read its range");
	CHECK(good, "the peer's range holds the wrong bytes");
}

void peer_end(struct peer *peer)
{
	close(peer->sock);
	close(peer->uffd);
	child_reap(peer->pid);
}
