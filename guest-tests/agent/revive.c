// SPDX-License-Identifier: GPL-2.0-only
/*
 * revive SECONDS HEX
 *
 * Run first in a guest that was restored from a snapshot.  All copies of a snapshot believe in the
 * same time and would draw the same random numbers: set the clock to SECONDS since the epoch (with
 * a fraction), mix the bytes of HEX into the kernel's random pool and have the generators reseeded from it at once
 * (random(4), RNDADDENTROPY; RNDRESEEDCRNG, since Linux 4.14, include/uapi/linux/random.h).
 *
 * Exit status: 0; 1 where the kernel refused, with a reason on stderr; 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MOST_BYTES 64

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	struct {
		struct rand_pool_info info;
		unsigned char bytes[MOST_BYTES];
	} pool = { .info = { 0 } };
	struct timespec now = { 0 };
	unsigned int byte;
	double seconds;
	char *end;
	int fd;

	if (argc != 3 || strlen(argv[2]) < 32 || strlen(argv[2]) > 2 * MOST_BYTES)
		goto usage;
	seconds = strtod(argv[1], &end);
	if (*end || !(seconds >= 1 && seconds < 1e11))
		goto usage;
	now.tv_sec = (time_t)seconds;
	now.tv_nsec = (long)((seconds - (double)now.tv_sec) * 1e9);
	for (const char *at = argv[2]; *at; at += 2) {
		if (!at[1] || sscanf(at, "%2x", &byte) != 1)
			goto usage;
		((unsigned char *)pool.info.buf)[pool.info.buf_size++] = (unsigned char)byte;
	}
	pool.info.entropy_count = pool.info.buf_size * 8;

	if (clock_settime(CLOCK_REALTIME, &now))
		return fail("clock_settime");
	fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail("/dev/urandom");
	if (ioctl(fd, RNDADDENTROPY, &pool.info))
		return fail("RNDADDENTROPY");
	if (ioctl(fd, RNDRESEEDCRNG))
		return fail("RNDRESEEDCRNG");
	return 0;
usage:
	fprintf(stderr, "usage: revive SECONDS HEX (32 to %d digits)\n", 2 * MOST_BYTES);
	return 2;
}
