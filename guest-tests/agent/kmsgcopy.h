/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A copy of what the kernel logged while the workload ran, for where the console loses lines: each
 * record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg) on a line of its own with "kmsg: " before
 * it.  Read at the end, so that it costs nothing meanwhile.
 */
#ifndef LAB_KMSGCOPY_H
#define LAB_KMSGCOPY_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define KMSGCOPY_MOST (256 * 1024) /* bytes; a flood is the console's to keep */

/* A descriptor that stands behind the last record of now; -1 where there is none. */
static inline int kmsgcopy_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		(void)lseek(fd, 0, SEEK_END);
	return fd;
}

static inline void kmsgcopy_write(int fd, char *buffer, size_t size,
				  void (*write_out)(const char *, size_t))
{
	static const char prefix[] = "kmsg: ", lost[] = "kmsg: !overrun\n";
	size_t total = 0;
	ssize_t got;
	char *end;

	while (fd >= 0 && total < KMSGCOPY_MOST) {
		got = read(fd, buffer, size - 1);
		if (got < 0 && errno == EPIPE) {
			write_out(lost, sizeof(lost) - 1);
			continue;
		}
		if (got <= 0)
			return;
		/* The first line is the record, what follows are its KEY=VALUE pairs. */
		buffer[got] = 0;
		end = strchr(buffer, '\n');
		got = end ? end - buffer + 1 : got;
		write_out(prefix, sizeof(prefix) - 1);
		write_out(buffer, (size_t)got);
		total += (size_t)got;
	}
	if (fd >= 0)
		write_out("kmsg: !cut\n", 11);
}

#endif
