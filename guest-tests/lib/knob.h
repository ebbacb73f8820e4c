/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Settings of the kernel that a workload changes and has to leave as it found them: files of sysfs
 * and of /proc/sys that hold one word or a choice such as "always [madvise] never".
 */
#ifndef LAB_KNOB_H
#define LAB_KNOB_H

/*
 * Write value; the first time also remember what was there, to be put back by knob_restore(), which
 * runs at the program's end too, however it ends short of SIGKILL.  0, or -1 with errno where there
 * is no such file or the kernel refuses the value.
 */
int knob_set(const char *path, const char *value);
int knob_set_number(const char *path, long value);

/* The number in a file, or -1. */
long knob_number(const char *path);

/* Put everything back, the last change first. */
void knob_restore(void);

#endif
