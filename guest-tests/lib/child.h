/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Children that stand still at barriers, and a peer process that lends its memory and userfaultfd.
 */
#ifndef LAB_CHILD_H
#define LAB_CHILD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Fork a child that runs body(argument) and leaves with status 0.  The child stops itself at every
 * child_barrier(); the parent meets it there with child_meet() and lets it go on with child_go().
 * A child dies with its parent.
 */
pid_t child_start(void (*body)(void *), void *argument);
void child_barrier(void);
void child_meet(pid_t pid);
void child_go(pid_t pid);

/* Let a child run to its end; a failed check in it, or a signal, fails the case. */
void child_reap(pid_t pid);

/* The same for one that waits at its last barrier. */
void child_end(pid_t pid);

/* A child that only has what we have, and waits at its one barrier for child_end(). */
pid_t child_sharer(void);

/* The CPU time that a process has used, in milliseconds; 0 where there is none. */
double child_used_ms(pid_t pid);

/* A process with an empty range registered with a userfaultfd of its own. */
struct peer {
	pid_t pid;
	int uffd; /* the peer's userfaultfd, as a descriptor of ours */
	int sock;
	char *dst; /* an address in the peer */
	size_t len;
};

struct peer peer_start(size_t pages);

/* The same with a range of len bytes aligned to align, where huge pages are not forbidden. */
struct peer peer_start_aligned(size_t len, size_t align);

/* The entry of pagemap of an offset of the peer's range; mem_frame()'s bits of it. */
uint64_t peer_frame(const struct peer *peer, size_t offset);

/* Have the peer check that its range holds mem_fill(seed); it faults swapped pages in. */
void peer_expect(const struct peer *peer, unsigned int seed);

/* Let the peer exit, which tears its mm down, and reap it. */
void peer_end(struct peer *peer);

#endif
