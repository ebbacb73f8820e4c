/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Long-term pins of user memory (Documentation/core-api/pin_user_pages.rst, FOLL_PIN with
 * FOLL_LONGTERM): by an io_uring that has the range as its fixed buffer, or by the kernel's own
 * test device, gup_test.  Either shows what the pinned frames hold, wherever they are mapped.
 */
#ifndef LAB_PIN_H
#define LAB_PIN_H

#include <stddef.h>
#include <stdint.h>

enum pin_by { PIN_BY_IO_URING, PIN_BY_GUP_TEST };

struct pin {
	enum pin_by by;
	int fd;
	const void *start;
	size_t len;
	/* io_uring's rings. */
	unsigned char *rings;
	void *requests;
	uint32_t sq_tail, sq_array, cq_head, cq_tail, cq_entries, cq_mask, sq_mask;
	size_t rings_len, requests_len;
};

/* Why that way of pinning is not there, as a skip reason, or NULL. */
const char *pin_why_not(enum pin_by by);

/* Pin a range that is mapped and writable.  By gup_test one range at a time in the whole guest. */
struct pin pin_start(enum pin_by by, void *start, size_t len);

/* What the pinned frames hold now, into a buffer as long as the range. */
void pin_read(struct pin *pin, void *to);

/* Unpin: when this returns the pages are as others are. */
void pin_stop(struct pin *pin);

#endif
