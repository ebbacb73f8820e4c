/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Accesses that may fault: what signal they raise instead of dying of it.  Main thread only, since
 * the handler jumps.  The handlers are set for each access and put back; what many threads can do
 * all the time is in race_arena.h.
 */
#ifndef LAB_TRAP_H
#define LAB_TRAP_H

/* 0 where the access went through, else SIGBUS or SIGSEGV. */
int trap_read(const void *address);
int trap_write(void *address, char value);

#endif
