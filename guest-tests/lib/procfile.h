/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading files of /proc without stdio and without memory of its own: who watches counters must
 * not change them.  A header, because the sampler is built alone.
 */
#ifndef LAB_PROCFILE_H
#define LAB_PROCFILE_H

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Read a file into buffer as a string, as much as fits; -1 if it cannot be read. */
static inline int proc_read(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got = 0;

	buffer[0] = 0;
	if (fd < 0)
		return -1;
	while (used < size - 1 && (got = read(fd, buffer + used, size - 1 - used)) > 0)
		used += (size_t)got;
	close(fd);
	buffer[used] = 0;
	return got < 0 ? -1 : 0;
}

/* The number on the line that starts with name, as "name: 12 kB" or "name 12"; -1 without one. */
static inline long proc_field(const char *buffer, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = buffer; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length) && (line[length] == ':' || line[length] == ' '))
			return strtol(line + length + 1, NULL, 10);
	}
	return -1;
}

/* The same for a line in KiB, in pages. */
static inline long proc_pages(const char *buffer, const char *name)
{
	long kib = proc_field(buffer, name);

	return kib < 0 ? kib : kib / (sysconf(_SC_PAGESIZE) / 1024);
}

/* Write a string to a file of /proc, /sys or /dev where that is possible. */
static inline void proc_write(const char *path, const char *content)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, content, strlen(content));
	close(fd);
}

#endif
