// SPDX-License-Identifier: GPL-2.0-only
/* See trap.h. */
#define _GNU_SOURCE
#include "trap.h"

#include <setjmp.h>
#include <signal.h>

#include "ktap.h"

static sigjmp_buf out;

static void caught(int number)
{
	siglongjmp(out, number);
}

static int attempt(void *address, const char *value)
{
	struct sigaction action = { .sa_handler = caught }, bus, segv;
	/* volatile: it lives across the return of sigsetjmp(). */
	volatile int got;

	CHECK_SYS(sigaction(SIGBUS, &action, &bus));
	CHECK_SYS(sigaction(SIGSEGV, &action, &segv));
	got = sigsetjmp(out, 1);
	if (!got) {
		if (value)
			*(volatile char *)address = *value;
		else
			(void)*(volatile char *)address;
	}
	CHECK_SYS(sigaction(SIGBUS, &bus, NULL));
	CHECK_SYS(sigaction(SIGSEGV, &segv, NULL));
	return got;
}

int trap_read(const void *address)
{
	return attempt((void *)address, NULL);
}

int trap_write(void *address, char value)
{
	return attempt(address, &value);
}
