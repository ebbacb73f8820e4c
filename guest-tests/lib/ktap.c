// SPDX-License-Identifier: GPL-2.0-only
/*
 * KTAP output.  Nothing here allocates: a page that printing faults in between two readings of a
 * counter would be blamed on the kernel.
 */
#define _GNU_SOURCE
#include "ktap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum outcome { PASSED, FAILED, SKIPPED };

static char line_buffer[1024];
static char skip_reason[256];
static const char *running;
static sigjmp_buf case_end;
static pid_t owner;

static void put_line(const char *head, const char *format, va_list args)
{
	size_t used = strlen(head), room = sizeof(line_buffer) - 2;
	ssize_t done;
	int length;

	memcpy(line_buffer, head, used);
	length = vsnprintf(line_buffer + used, room - used, format, args);
	if (length > 0)
		used += (size_t)length < room - used ? (size_t)length : room - used - 1;
	line_buffer[used++] = '\n';
	for (char *at = line_buffer; used; at += done, used -= (size_t)done) {
		done = write(STDOUT_FILENO, at, used);
		if (done <= 0)
			return;
	}
}

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_line("", format, args);
	va_end(args);
}

void ktap_diag(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_line("# ", format, args);
	va_end(args);
}

void ktap_measure(const char *name, double value, const char *unit)
{
	ktap_diag("MEASURE name=%s value=%.3f unit=%s", name, value, unit);
}

void ktap_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(skip_reason, sizeof(skip_reason), format, args);
	va_end(args);
	if (getpid() != owner)
		_exit(KTAP_EXIT_SKIP);
	siglongjmp(case_end, SKIPPED);
}

void ktap_fail(const char *file, int line, const char *format, ...)
{
	static char message[768];
	const char *slash = strrchr(file, '/');
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	ktap_diag("%s:%d: %s", slash ? slash + 1 : file, line, message);
	if (getpid() != owner)
		_exit(KTAP_EXIT_FAIL);
	siglongjmp(case_end, FAILED);
}

const char *ktap_errno(int err)
{
	const char *name = err ? strerrorname_np(err) : "success";

	return name ? name : "unknown errno";
}

const char *ktap_name(void)
{
	return running;
}

int ktap_run(const struct ktap_case *cases, size_t count, const char *skip_all)
{
	/* volatile: they live across the return of sigsetjmp(). */
	volatile size_t i, failed = 0, skipped = 0;

	owner = getpid();
	put("KTAP version 1");
	put("1..%zu", count);
	for (i = 0; i < count; i++) {
		running = cases[i].name;
		switch (sigsetjmp(case_end, 1)) {
		case PASSED:
			if (skip_all)
				ktap_skip("%s", skip_all);
			cases[i].run();
			put("ok %zu %s", i + 1, cases[i].name);
			break;
		case SKIPPED:
			skipped++;
			put("ok %zu %s # SKIP %s", i + 1, cases[i].name, skip_reason);
			break;
		default:
			failed++;
			put("not ok %zu %s", i + 1, cases[i].name);
		}
	}
	if (failed)
		return KTAP_EXIT_FAIL;
	return skipped == count ? KTAP_EXIT_SKIP : KTAP_EXIT_OK;
}
