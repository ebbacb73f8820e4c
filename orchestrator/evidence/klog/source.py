# SPDX-License-Identifier: GPL-2.0-only
"""The guilty source file of a report whose frames carry their source lines.

Logs out of bug reports often were resolved by whoever sent them: ``func+0x12/0x40 mm/ksm.c:263``,
and inlined calls as ``func include/linux/mm.h:1234 [inline]``.
"""

from __future__ import annotations

import posixpath
import re

from orchestrator.evidence.klog import guilt
from orchestrator.evidence.klog.frames import FRAME
from orchestrator.evidence.klog.roles import passed_over
from orchestrator.evidence.klog.titles import source_path

# A source file of the tree with a line number behind it, anywhere in a line.
_PLACE = re.compile(r"(?<![\w/.-])(?P<file>(?:[\w.-]+/)+[\w.-]+\.(?:[chSs]|rs)):\d+(?!\d)")
_FUNCTION = re.compile(r"(?P<func>[A-Za-z_.$][\w.$]*)(?:\+0x[0-9a-f]+/0x[0-9a-f]+)? *$")
# lockdep and arm32 name places there that have nothing to do with the report.
_ELSEWHERE = re.compile(
    r"^ ?#\d+: |(?:hard|soft)irqs\s+last\s+(?:en|dis)abled|Register r\d+ information"
)

# Files in which nobody's bug is: headers, libraries, and what the roles stand for (``roles``).
_HELPERS = re.compile(
    r".*\.h|(?:virt/)?lib/.*|mm/k[am]san/.*|mm/sl[aou]b\.c|mm/(?:slab_common|util|mempool"
    r"|percpu[\w-]*|vmalloc)\.c|kernel/(?:kcov|panic|softirq|kthread|stacktrace|workqueue"
    r"|task_work)\.c|kernel/(?:rcu|locking|printk|sched)/.*|kernel/time/timer\.c"
    r"|arch/[^/]+/kernel/(?:traps|unwind\w*|stacktrace|dumpstack)\.c|arch/[^/]+/lib/.*"
    r"|arch/[^/]+/kernel/apic/.*|arch/[^/]+/mm/(?:fault|physaddr)\.c"
    r"|arch/arm64/kernel/(?:entry\S*|process)\.c|arch/[^/]+/entry/.*|fs/proc/generic\.c"
    r"|net/core/(?:dev|sock|skbuff)\.c|drivers/usb/core/urb\.c"
)


def guilty_file(text: str, kind: str = "") -> str:
    """The source file that a report is about, from the top of the tree; empty where it names none.

    :param text: the report, as ``Hit.text`` has it.
    :param kind: its kind; of a stall only what stands below the interrupt counts.

    The first file of the trace that is no helper's, in a frame whose function has no role.  Of two
    in one folder tree the deeper is closer to the bug: ``fs/ext4/inode.c`` below ``fs/buffer.c``.
    """
    if not _PLACE.search(text):
        return ""
    fallback = found = ""
    for line in guilt.stalled(text.split("\n"), kind):
        place = _PLACE.search(line)
        if place is None or _ELSEWHERE.search(line):
            continue
        file = source_path(posixpath.normpath(place["file"]))
        fallback = fallback or file
        if _HELPERS.fullmatch(file) or _served(line, line[: place.start()], kind):
            continue
        if not found or _deeper(file, found):
            found = file
    return found or fallback


def _served(line: str, before: str, kind: str) -> bool:
    """Whether the function ahead of a line's place only reports or serves, or is a guess."""
    frame = FRAME.match(line)
    if frame is not None and frame["guess"]:
        return True
    name = _FUNCTION.search(before)
    return name is not None and passed_over(name["func"], kind)


def _deeper(file: str, found: str) -> bool:
    """Whether a file lies in a folder of its own below the folder of another."""
    folder = found.rsplit("/", 1)[0] + "/"
    return file.startswith(folder) and "/" in file[len(folder) :]
