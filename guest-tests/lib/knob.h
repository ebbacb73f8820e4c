/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Settings of the kernel that a workload changes and has to leave as it found them: files of sysfs
 * and of /proc/sys that hold one short line, or a choice such as "always [madvise] never".
 */
#ifndef LAB_KNOB_H
#define LAB_KNOB_H

/*
 * Write value.  What was there before a file's first change is remembered and put back by
 * knob_restore(), which also runs when the process that set it exits, or dies of SIGTERM, SIGINT,
 * SIGHUP, SIGABRT or SIGSEGV where the program does not handle these itself.  After _exit(), SIGKILL
 * and other signals the value stays; in a forked child that sets nothing knob_restore() does nothing.
 *
 * 0, or -1 with errno: there is no such file, the kernel refuses the value, or ENOSPC, since no more
 * than 32 files can be remembered.
 */
int knob_set(const char *path, const char *value);
int knob_set_number(const char *path, long value);

/* The number a file begins with (0 where it begins with none), or -1 where it cannot be read. */
long knob_number(const char *path);

/*
 * Put everything back, the file that was changed first last, and forget it; says in a diagnostic
 * what could not be.
 */
void knob_restore(void);

#endif
