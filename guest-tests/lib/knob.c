// SPDX-License-Identifier: GPL-2.0-only
/* See knob.h. */
#define _GNU_SOURCE
#include "knob.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktap.h"
#include "procfile.h"

static struct {
	char path[160];
	char value[48];
} saved[32];
static size_t count;
static pid_t owner;

static int put(const char *path, const char *value)
{
	ssize_t length = (ssize_t)strlen(value), done;
	int fd = open(path, O_WRONLY | O_CLOEXEC), error;

	if (fd < 0)
		return -1;
	done = write(fd, value, (size_t)length);
	error = errno;
	close(fd);
	errno = error;
	return done == length ? 0 : -1;
}

/* What has to be written to get the present state back: of a choice the word in brackets. */
static int get(const char *path, char *value, size_t size)
{
	char text[256], *from = text, *end;

	if (proc_read(path, text, sizeof(text)))
		return -1;
	if (strchr(text, '[')) {
		from = strchr(text, '[') + 1;
		end = strchr(from, ']');
	} else {
		end = strchr(from, '\n');
	}
	if (end)
		*end = 0;
	snprintf(value, size, "%s", from);
	return 0;
}

void knob_restore(void)
{
	if (getpid() != owner)
		return;
	while (count) {
		count--;
		if (put(saved[count].path, saved[count].value))
			ktap_diag("%s cannot be set back to %s: %m", saved[count].path,
				  saved[count].value);
	}
}

static void die(int number)
{
	knob_restore();
	signal(number, SIG_DFL);
	raise(number);
}

int knob_set(const char *path, const char *value)
{
	static const int deadly[] = { SIGTERM, SIGINT, SIGHUP, SIGABRT, SIGSEGV };
	struct sigaction now;
	size_t i;

	if (owner != getpid()) {
		owner = getpid();
		atexit(knob_restore);
		/* Faults that the program handles itself stay its own. */
		for (i = 0; i < KTAP_COUNT(deadly); i++)
			if (!sigaction(deadly[i], NULL, &now) && now.sa_handler == SIG_DFL)
				signal(deadly[i], die);
	}
	for (i = 0; i < count && strcmp(saved[i].path, path); i++)
		;
	if (i == KTAP_COUNT(saved)) {
		errno = ENOSPC;
		return -1;
	}
	if (i == count) {
		if (get(path, saved[i].value, sizeof(saved[i].value)))
			return -1;
		snprintf(saved[i].path, sizeof(saved[i].path), "%s", path);
		count++;
	}
	return put(path, value);
}

int knob_set_number(const char *path, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	return knob_set(path, text);
}

long knob_number(const char *path)
{
	char text[64];

	return proc_read(path, text, sizeof(text)) ? -1 : strtol(text, NULL, 10);
}
