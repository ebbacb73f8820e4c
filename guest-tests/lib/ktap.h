/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KTAP version 1 output for the C workloads.
 *
 * A workload is a table of cases; each case is one check with a stable kebab-case name.  The plan
 * is printed before the first case runs, so a program that dies half way leaves a plan unmet.
 * Diagnostics stand directly before the result line they belong to, as the kernel's
 * Documentation/dev-tools/ktap.rst asks.
 */
#ifndef LAB_KTAP_H
#define LAB_KTAP_H

#include <stddef.h>

enum { KTAP_EXIT_OK = 0, KTAP_EXIT_FAIL = 1, KTAP_EXIT_SKIP = 4 };

struct ktap_case {
	const char *name;
	void (*run)(void);
};

#define KTAP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Run every case in order and return the program's exit status: 0 all ok, 1 one failed, 4 all were
 * skipped.  With skip_all set no case runs and each is reported as skipped for that reason.
 */
int ktap_run(const struct ktap_case *cases, size_t count, const char *skip_all);

/* The name of the case that runs. */
const char *ktap_name(void);

/* One "# ..." line.  One write(2) a line: lines of several processes never mix. */
void ktap_diag(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "# MEASURE name=NAME value=VALUE unit=UNIT". */
void ktap_measure(const char *name, double value, const char *unit);

/* End the running case as skipped, with the exact reason. */
void ktap_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/*
 * End the running case as failed.  In a forked child this prints the diagnostics and leaves with
 * status 1, which child_reap() of the parent turns into a failure there.
 */
void ktap_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));

/* Name of an errno value for diagnostics: "EEXIST", or "success" for 0. */
const char *ktap_errno(int err);

#define FAIL(...) ktap_fail(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(condition, ...)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ktap_fail(__FILE__, __LINE__, __VA_ARGS__);                                \
	} while (0)

#define CHECK_EQ(got, expected)                                                                    \
	do {                                                                                       \
		long long got_ = (long long)(got), expected_ = (long long)(expected);              \
		if (got_ != expected_)                                                             \
			ktap_fail(__FILE__, __LINE__, "%s: got %lld, expected %lld", #got, got_,   \
				  expected_);                                                      \
	} while (0)

#define CHECK_ERRNO(got, expected)                                                                 \
	do {                                                                                       \
		int got_ = (got), expected_ = (expected);                                          \
		if (got_ != expected_)                                                             \
			ktap_fail(__FILE__, __LINE__, "%s: got %s, expected %s", #got,             \
				  ktap_errno(got_), ktap_errno(expected_));                        \
	} while (0)

/* A system call that has to work for the case to make sense; -1 fails with its errno. */
#define CHECK_SYS(call)                                                                            \
	do {                                                                                       \
		if ((call) == -1)                                                                  \
			ktap_fail(__FILE__, __LINE__, "%s: %m", #call);                            \
	} while (0)

#endif
