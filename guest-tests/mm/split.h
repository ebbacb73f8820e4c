/* SPDX-License-Identifier: GPL-2.0-only */
/* Taking huge pages apart (split_huge_pages_write() in mm/huge_memory.c of v6.12). */
#ifndef LAB_MM_SPLIT_H
#define LAB_MM_SPLIT_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* Take a range's huge pages apart, through debugfs; -1 where there is no such file. */
static inline int split_huge(const void *start, size_t len)
{
	char text[96];
	int fd = open("/sys/kernel/debug/split_huge_pages", O_WRONLY | O_CLOEXEC), done;

	if (fd < 0)
		return -1;
	done = snprintf(text, sizeof(text), "%d,0x%lx,0x%lx,0", (int)getpid(), (unsigned long)(uintptr_t)start,
			(unsigned long)(uintptr_t)start + len);
	done = write(fd, text, (size_t)done) == done ? 0 : -1;
	close(fd);
	return done;
}

#endif
