# SPDX-License-Identifier: GPL-2.0-only
"""What the chaos campaign does, as a table: to which run, when, to whom, what, what must hold.

What always must hold stands in tools/chaos_check.py: no orphan, no stale lock, nothing half-written
believed, what was finished kept, and the next run right.  An entry has what differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

OK, KERNEL, HOST, STOPPED, KILLED = 0, 1, 3, 130, -9
#: What a lab may end with that was not harmed so badly that it could not go on.
UNHARMED = (OK,)


@dataclass(frozen=True)
class Injection:
    """One way to disturb a run of the lab.

    ``run`` is the command: ``brief`` and ``host`` (host tests: no kernel, no guest), ``build`` (a
    kernel of which one file differs from any before), ``guest`` (three workloads in one guest), or
    a profile or workload of tests/e2e/chaos.  ``when`` is ``before`` it starts, ``again`` for
    before a second run, a moment of it (:data:`MOMENTS`), or the seconds after its start.
    ``victim`` is who is harmed: ``lab``, a program, or ``FOLDER:PATTERN``
    for files, FOLDER being ``cache``, ``reports`` or ``tmp``.  ``what`` is a signal, a kind of
    damage, ``disk=SIZE``, ``fill=BYTES`` left, ``as=BYTES``, ``nofile=NUMBER``, ``clock=SHIFT``, or
    ``labs=NUMBER`` for so many at once.  ``status`` are the exit statuses that are right; ``then``
    is how the next run begins: ``resume`` or ``again`` or (of which nothing is to be seen next)
    ``-``; ``told`` is a word that the lab must say.
    """

    stage: str
    run: str
    when: str
    victim: str
    what: str
    status: tuple[int, ...] = UNHARMED
    then: str = "again"
    told: str = ""

    @property
    def name(self) -> str:
        """What it is called, for people and for the file that its outcome is kept in."""
        return f"{self.stage}: {self.run}, {self.when}: {self.victim} {self.what}"


#: What of a run's output, processes, files or handlers tells that a moment has come.
MOMENTS = {
    "loading": "caught:",
    "begun": "file:lab.log",
    "compile": "process:cc1",
    "link": "process:ld",
    "making": "process:make",
    "unpacking": "process:mmdebstrap",
    "testing": "process:main",
    "booting": "process:qemu-system",
    "working": "said: chaos/slow",
    "judged": "said:cell v6.12/",
    "written": "file:junit.xml",
}

_SIGNALLED = {"kill": (KILLED,), "int": (STOPPED,), "term": (STOPPED,), "stop": (OK,)}


def _each_signal(base: Injection, **other: tuple[int, ...]) -> Iterator[Injection]:
    """An entry for each signal; ``other`` are statuses that are right instead."""
    for how, status in _SIGNALLED.items():
        right = other.get(how, status)
        then = "again" if right == (OK,) else "resume"
        yield replace(base, what=how, status=right, then=then)


def _each_damage(base: Injection, *hows: str) -> Iterator[Injection]:
    for how in hows:
        yield replace(base, what=how)


_ANY_END = (OK, STOPPED)
#: Entries that need neither a kernel build nor a guest.
LIGHT: tuple[Injection, ...] = (
    # The lab itself, at each stage.  One that is struck at its very end may have ended by then.
    *_each_signal(Injection("prepare", "brief", "loading", "lab", "")),
    *_each_signal(Injection("prepare", "brief", "begun", "lab", "")),
    *_each_signal(Injection("build", "host", "compile", "lab", "")),
    *_each_signal(Injection("workload", "host", "testing", "lab", "")),
    *_each_signal(Injection("judging", "brief", "judged", "lab", ""),
                  kill=(OK, KILLED), int=_ANY_END, term=_ANY_END),
    *_each_signal(Injection("report", "brief", "written", "lab", ""),
                  kill=(OK, KILLED), int=_ANY_END, term=_ANY_END),
    # Those who work for it: what they left undone is the host's failure, and no test's.
    Injection("build", "host", "compile", "cc1", "kill", (HOST,), "resume"),
    Injection("build", "host", "compile", "cc1", "stop"),
    Injection("workload", "host", "testing", "main", "kill", (KERNEL, HOST), "-"),
    Injection("workload", "host", "testing", "main", "stop"),
    # Disks.
    Injection("prepare", "brief", "before", "cache", "disk=ro", (HOST,), told="read-only"),
    Injection("prepare", "brief", "before", "cache", "fill=0", (OK, HOST)),
    Injection("prepare", "brief", "before", "reports", "disk=ro", (HOST,)),
    Injection("prepare", "brief", "before", "reports", "disk=8k", (HOST,), told="space"),
    Injection("report", "brief", "before", "reports", "disk=96k", (HOST,), told="space"),
    Injection("report", "host", "testing", "reports", "fill=0", (HOST,), "resume"),
    Injection("prepare", "brief", "before", "tmp", "disk=ro", (OK, HOST)),
    Injection("build", "host", "before", "tmp", "disk=64k", (OK, HOST)),
    # Files of the cache and of the reports.
    *_each_damage(Injection("prepare", "brief", "before", "cache:records/*/*.json", ""),
                  "cut", "empty", "rubbish", "remove"),
    *_each_damage(Injection("prepare", "brief", "before", "cache:trees/*.tree", ""),
                  "cut", "empty", "remove"),
    *_each_damage(Injection("prepare", "brief", "before", "cache:trees/*.index", ""),
                  "cut", "flip", "empty", "remove"),
    *_each_damage(Injection("prepare", "brief", "before", "cache:trees/*/mm/memblock.c", ""),
                  "cut", "flip", "remove"),
    *_each_damage(Injection("prepare", "brief", "before", "cache:kvm-probe-*.json", ""),
                  "cut", "rubbish"),
    *_each_damage(Injection("prepare", "brief", "before", "cache:locks", ""), "remove"),
    *_each_damage(Injection("report", "brief", "again", "reports:history.sqlite", "",
                            told="was damaged"),
                  "cut", "rubbish", "empty"),
    *_each_damage(Injection("report", "brief", "again", "reports:history.sqlite", ""), "remove"),
    *_each_damage(Injection("report", "brief", "again", "reports:*/results.json", ""),
                  "cut", "empty", "rubbish", "remove"),
    # Several labs, clocks, memory, descriptors.
    Injection("prepare", "brief", "before", "lab", "labs=2"),
    Injection("prepare", "brief", "before", "lab", "labs=4"),
    Injection("prepare", "brief", "before", "lab", "clock=+400d"),
    Injection("prepare", "brief", "before", "lab", "clock=-4000d"),
    Injection("prepare", "brief", "before", "lab", "nofile=12", (HOST,)),
    Injection("prepare", "brief", "before", "lab", "as=150000000", (HOST,)),
)  # fmt: skip

#: Entries that make a kernel or boot a guest.
HEAVY: tuple[Injection, ...] = (
    Injection("boot", "no-init", "-", "guest", "init=/nowhere", (KERNEL,), "-"),
    Injection("boot", "resets", "-", "guest", "resets", (KERNEL,), "-"),
    Injection("boot", "silent", "-", "guest", "says nothing", (KERNEL, HOST), "-"),
    Injection("workload", "flood", "-", "guest", "floods its console", (OK, KERNEL), "-"),
    Injection("workload", "mute", "-", "guest", "mutes its console", (OK, KERNEL, HOST), "-"),
    Injection("workload", "full", "-", "guest", "fills its disks", (OK, KERNEL, HOST), "-"),
    Injection("workload", "garbage", "-", "guest", "answers SSH with garbage", (KERNEL, HOST), "-"),
    Injection("workload", "banner", "-", "guest", "has an endless banner", (KERNEL, HOST), "-"),
    Injection("workload", "reset", "-", "guest", "resets itself", (KERNEL,), "-"),
    *_each_signal(Injection("root", "guest", "unpacking", "lab", "")),
    Injection("root", "guest", "unpacking", "mmdebstrap", "kill", (HOST,), "resume"),
    *_each_damage(Injection("boot", "guest", "before", "cache:roots/*.ext2", ""),
                  "flip", "cut", "empty"),
    *_each_damage(Injection("boot", "guest", "before", "cache:builds/*/image", ""),
                  "flip", "cut", "remove"),
    *_each_damage(Injection("boot", "guest", "before", "cache:builds/*/config", ""), "flip", "cut"),
    *_each_damage(Injection("boot", "guest", "before", "cache:workloads/x86_64-*", ""),
                  "flip", "empty"),
    *_each_damage(Injection("boot", "guest", "before", "cache:workloads/pack-*", ""),
                  "flip", "cut"),
    *_each_signal(Injection("boot", "guest", "booting", "lab", "")),
    *_each_signal(Injection("workload", "guest", "working", "lab", "")),
    Injection("boot", "guest", "booting", "qemu-system", "kill", (OK, HOST), "resume"),
    Injection("workload", "guest", "working", "qemu-system", "kill", (OK, HOST), "resume"),
    Injection("workload", "guest", "working", "qemu-system", "term", (OK, HOST), "resume"),
    Injection("workload", "guest", "working", "qemu-system", "stop"),
    Injection("boot", "guest", "before", "lab", "as=1000000000", (HOST,)),
    *_each_signal(Injection("build", "build", "compile", "lab", "")),
    *_each_damage(Injection("build", "build", "before", "cache:ccache/0/*/*R", ""),
                  "flip", "cut", "empty"),
    Injection("build", "build", "compile", "cc1", "kill", (HOST,)),
    Injection("build", "build", "making", "make", "kill", (HOST,)),
    Injection("build", "build", "link", "ld", "kill", (HOST,)),
)  # fmt: skip
