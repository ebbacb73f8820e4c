# SPDX-License-Identifier: GPL-2.0-only
"""A garbage collector's heap, compacted twice: by copying and by moving pages.

The heap is full of small objects; most of its pages have died and the live ones lie scattered.
Compaction slides the live pages together at the start of a second space and tells every object
its new address.  By copying, that is UFFDIO_COPY and MADV_DONTNEED: allocate, copy, free.  By
moving it is the move ioctl: neither a new page nor a copied byte.  Both must leave every object
intact and the old space empty, and both are timed.

Source: move_pages() and mfill_atomic_copy() in mm/userfaultfd.c of v6.12; UFFDIO_MOVE and
UFFDIO_COPY in ioctl_userfaultfd(2).
"""

import array
import gc
import os
import sys
import time
import zlib

import ktap
import uffd

# The heap's pages: enough for a figure, little enough for 64 KiB pages.
PAGES = max(64, min(512, (2 << 20) // uffd.PAGE))
OBJECTS_PER_PAGE = 4
PRESENT = 1 << 63
SWAPPED = 1 << 62
FRAME = (1 << 55) - 1
# A guest's clock may tick only every 10 ms; time at least this long.
MIN_SECONDS = 0.15


def pages_migrated():
    """How many pages the kernel has migrated so far; None where it does not count."""
    counters = os.open("/proc/vmstat", os.O_RDONLY | os.O_CLOEXEC)
    text = b""
    while more := os.read(counters, 1 << 16):
        text += more
    os.close(counters)
    for line in text.splitlines():
        if line.startswith(b"pgmigrate_success "):
            return int(line.split()[1])
    return None


def live_runs():
    """The live pages, as (first page, count): runs of 1 to 7 pages with gaps of 1 to 3."""
    runs, at, step = [], 0, 0
    while at < PAGES:
        count = min(1 + step * 5 % 7, PAGES - at)
        runs.append((at, count))
        at += count + 1 + step % 3
        step += 1
    return runs


class Heap:
    """Two spaces, the live pages' runs, and where every object lies: its page and its checksum."""

    def __init__(self, salt):
        self.runs = live_runs()
        self.old = uffd.Region(PAGES)
        self.new = uffd.Region(PAGES)
        self.fd, _ = uffd.open_userfaultfd(uffd.FEATURE_SIGBUS)
        uffd.register(self.fd, self.old)
        uffd.register(self.fd, self.new)
        self.table = []  # (page in the old space, page in the new space, checksums)
        self.live = sum(count for _, count in self.runs)
        self._populate(salt)

    def _populate(self, salt):
        """Fill the live pages with objects; the dead ones are never there.

        The old space is registered, so its pages come in through UFFDIO_COPY too.
        """
        size = uffd.PAGE // OBJECTS_PER_PAGE
        page = uffd.Region(1)
        target = 0
        for first, count in self.runs:
            for number in range(first, first + count):
                sums = []
                for slot in range(OBJECTS_PER_PAGE):
                    head = array.array("Q", (salt, number, slot, salt * 977 + number * 4 + slot))
                    body = head.tobytes() * (size // (head.itemsize * len(head)))
                    page.map[slot * size : (slot + 1) * size] = body
                    sums.append(zlib.crc32(body))
                uffd.transfer(
                    self.fd,
                    uffd.UFFDIO_COPY,
                    self.old.address + number * uffd.PAGE,
                    page.address,
                    uffd.PAGE,
                )
                self.table.append((number, target, sums))
                target += 1

    def compact(self, ioctl, back=False):
        """Slide the live pages together, or with ``back`` apart again."""
        source, goal = (self.new, self.old) if back else (self.old, self.new)
        target = 0
        for first, count in self.runs:
            take, put = (target, first) if back else (first, target)
            uffd.transfer(
                self.fd,
                ioctl,
                goal.address + put * uffd.PAGE,
                source.address + take * uffd.PAGE,
                count * uffd.PAGE,
            )
            if ioctl == uffd.UFFDIO_COPY:
                source.drop(take, count)
            target += count

    def verify(self):
        """Check every object at its new address; returns how many there are."""
        size = uffd.PAGE // OBJECTS_PER_PAGE
        view = memoryview(self.new.map)
        entries = self.new.entries()
        count = 0
        for number, target, sums in self.table:
            # A page that is not there would raise SIGBUS below.
            ktap.check(entries[target] & (PRESENT | SWAPPED), f"page {target} did not arrive")
            for slot, expected in enumerate(sums):
                start = target * uffd.PAGE + slot * size
                got = zlib.crc32(view[start : start + size])
                ktap.check(
                    got == expected,
                    f"object {slot} of page {number}: got {got:#x}, expected {expected:#x}",
                )
                count += 1
        view.release()
        return count

    def occupied(self, region):
        """How many pages of a region are present or swapped out."""
        return sum(1 for entry in region.entries() if entry & (PRESENT | SWAPPED))

    def frames(self, region, column):
        """The page frames (or swap slots) of the live pages, read through their column of table."""
        entries = region.entries()
        return [entries[row[column]] & (PRESENT | SWAPPED | FRAME) for row in self.table]

    def rate(self, ioctl):
        """Compact and scatter over and over; MB (10^6 bytes) of live pages a second."""
        rounds, start = 0, time.monotonic()
        while True:
            self.compact(ioctl)
            self.compact(ioctl, back=True)
            rounds += 2
            elapsed = time.monotonic() - start
            if elapsed >= MIN_SECONDS:
                return rounds * self.live * uffd.PAGE / 1e6 / elapsed


class Compaction:
    """The cases of one way to compact; the first does it, the others look at what it left."""

    def __init__(self, name, ioctl, salt):
        self.name = name
        self.ioctl = ioctl
        self.salt = salt
        self.heap = None
        self.before = []
        self.after = []
        self.migrated = False  # pages, between the two readings of the frames
        self.speed = 0.0
        self.done = False

    def need(self):
        """Fail a later case clearly where the compaction itself did not work."""
        ktap.check(self.done, f"the {self.name} compaction did not happen")

    def objects_intact(self):
        """Compact; every object must be found at its new address with its bytes."""
        self.heap = Heap(self.salt)
        migrated = pages_migrated()
        self.before = self.heap.frames(self.heap.old, 0)
        self.heap.compact(self.ioctl)
        # Before anybody touches a page: NUMA balancing may migrate it then.
        self.after = self.heap.frames(self.heap.new, 1)
        self.done = True
        if self.after != self.before and self.ioctl == uffd.UFFDIO_MOVE:
            # A batch is counted when all of it has been migrated.
            time.sleep(1)
        self.migrated = pages_migrated() != migrated
        ktap.check_equal(
            self.heap.verify(), self.heap.live * OBJECTS_PER_PAGE, "objects in the new space"
        )

    def old_space_empty(self):
        """Nothing may stay behind, and nothing more arrive than was alive."""
        self.need()
        ktap.check_equal(self.heap.occupied(self.heap.old), 0, "pages left in the old space")
        ktap.check_equal(
            self.heap.occupied(self.heap.new), self.heap.live, "pages in the new space"
        )

    def frames_changed(self):
        """A copy lies in other page frames: both were allocated at the same time."""
        self.need()
        after = self.after
        if not any(entry & FRAME for entry in after):
            raise ktap.Skip("pagemap shows no frame numbers without CAP_SYS_ADMIN")
        same = sum(1 for old, new in zip(self.before, after, strict=True) if old == new)
        ktap.check(same < len(after), "every copy lies in the frame of its original")

    def frames_same(self):
        """A moved page is the same page frame: nothing was allocated, nothing copied.

        Only where the kernel migrated pages meanwhile may a present one lie elsewhere.
        """
        self.need()
        after = self.after
        if not any(entry & FRAME for entry in after):
            raise ktap.Skip("pagemap shows no frame numbers without CAP_SYS_ADMIN")
        for (number, target, _), old, new in zip(self.heap.table, self.before, after, strict=True):
            ktap.check(
                old == new or (self.migrated and old & new & PRESENT),
                f"page {number} -> {target}: entry: got {new:#x}, expected {old:#x}",
            )

    def timed(self):
        """Time it back and forth, and check the objects once more after the last round."""
        self.need()
        self.heap.compact(self.ioctl, back=True)
        self.speed = self.heap.rate(self.ioctl)
        ktap.measure(f"{self.name}-throughput", self.speed, "MB/s")
        ktap.measure(f"{self.name}-page-time", uffd.PAGE / self.speed, "us")
        self.heap.compact(self.ioctl)
        self.heap.verify()


def needs_move(why, case):
    """A case that is skipped where the kernel has no move ioctl."""

    def run():
        if why:
            raise ktap.Skip(why)
        case()

    return run


def main():
    """Run the cases; the copying ones run wherever there is a userfaultfd."""
    gc.disable()  # no collector but the one under test
    why = uffd.why_no_move()
    copy = Compaction("copy", uffd.UFFDIO_COPY, 1)
    move = Compaction("move", uffd.UFFDIO_MOVE, 2)

    def speedup():
        ktap.check(copy.speed and move.speed, "one of the two was not timed")
        ktap.measure("move-speedup", move.speed / copy.speed, "x")

    cases = [
        ("copy-objects-intact", copy.objects_intact),
        ("copy-old-space-empty", copy.old_space_empty),
        ("copy-takes-other-frames", copy.frames_changed),
        ("copy-timed", copy.timed),
    ]
    moving = [
        ("move-objects-intact", move.objects_intact),
        ("move-old-space-empty", move.old_space_empty),
        ("move-keeps-frames", move.frames_same),
        ("move-timed", move.timed),
        ("speedup", speedup),
    ]
    cases += [(name, needs_move(why, case)) for name, case in moving]
    return ktap.run(cases, why if why and why.startswith("no userfaultfd") else None)


if __name__ == "__main__":
    # Straight out: tearing the interpreter down is slow under emulation and tests nothing.
    status = main()
    sys.stdout.flush()
    os._exit(status)
