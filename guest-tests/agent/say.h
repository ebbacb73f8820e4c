/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All that goes to stderr: lines of ours, and what the program writes to its own, with "stderr: " before
 * each line.  Each is written at once: its parts never mix with another writer's.
 */
#ifndef LAB_SAY_H
#define LAB_SAY_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static char child_line[4096];
static size_t child_used;
static volatile unsigned long out_calls; /* how often something was said */

static inline void out(const char *line, size_t length)
{
	ssize_t done;

	out_calls++;
	for (; length; line += done, length -= (size_t)done) {
		done = write(STDERR_FILENO, line, length);
		if (done < 0 && errno == EINTR)
			done = 0;
		else if (done <= 0)
			return;
	}
}

/* A part of a line, which goes out with its last one. */
__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...)
{
	static char line[1024];
	static size_t used;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(line + used, sizeof(line) - used, format, args);
	va_end(args);
	if (length > 0)
		used += (size_t)length < sizeof(line) - used ? (size_t)length :
							       sizeof(line) - used - 1;
	if (used && line[used - 1] == '\n') {
		out(line, used);
		used = 0;
	}
}

static inline void flush_child_line(void)
{
	if (!child_used)
		return;
	out("stderr: ", 8);
	out(child_line, child_used);
	if (child_line[child_used - 1] != '\n')
		out("\n", 1);
	child_used = 0;
}

/* Pass on what the program wrote to its stderr: the bytes read, 0 at its end, -1 for none yet. */
static inline ssize_t drain(int fd)
{
	static char chunk[4096];
	ssize_t got = read(fd, chunk, sizeof(chunk));

	for (ssize_t i = 0; i < got; i++) {
		child_line[child_used++] = chunk[i];
		if (chunk[i] == '\n' || child_used == sizeof(child_line))
			flush_child_line();
	}
	return got;
}

#endif
