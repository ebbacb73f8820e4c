# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of a kernel log begin a report, what kind it is, and how far it reaches.

One row a header.  The patterns follow the format strings of v6.12 (the file is named beside each
group); older and newer spellings stand in the same row.  Every pattern is anchored at the start
of the message, where only the kernel writes: the same words inside a line, as in
``traps: prog[7] general protection fault ip:...`` of a user-space crash, are no report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """How a header relates to the lines before it from the same task or CPU."""

    CUT = "cut"  # "cut here": a WARN() or BUG() follows
    NOTE = "note"  # says why, ahead of or inside a WARN() or BUG()
    HEAD = "head"  # first line of an oops or BUG(); "Oops:" or "Internal error:" follows
    DIE = "die"  # the "Oops:"/"Internal error:" line itself
    WARN = "warn"  # the "WARNING: ... at" line
    PANIC = "panic"  # ends the guest; belongs to the report before it, where there is one
    OWN = "own"  # begins a report of its own


class Reach(Enum):
    """How far a report reaches after its header."""

    LINE = "line"  # the header is all
    TRACE_END = "trace-end"  # to "---[ end trace"
    RULER = "ruler"  # to the next line of equals signs
    STACK = "stack"  # to the end of the first stack trace
    SHORT = "short"  # like STACK, but often nothing follows at all
    OOM = "oom"  # to "Killed process"
    INDENT = "indent"  # as long as lines are indented
    POOLS = "pools"  # the workqueue watchdog's list of pools and workers


@dataclass(frozen=True)
class Rule:
    """One kind of header.

    ``title`` is a template over the pattern's named groups.  ``blame``: a function name taken from
    the trace is put behind the title.  ``weak`` rules hold only where the line surely is the
    kernel's.  ``same`` replaces the title in the signature, so that architectures that word a
    thing differently still agree on it.  ``suspects``: where not the kind but this says which
    functions are passed over (``roles.BY_KIND``).
    """

    kind: str
    pattern: re.Pattern[str]
    title: str
    role: Role = Role.OWN
    reach: Reach = Reach.STACK
    blame: bool = True
    weak: bool = False
    same: str = ""
    suspects: str = ""


def _row(
    kind: str,
    pattern: str,
    title: str,
    role: Role = Role.OWN,
    reach: Reach = Reach.STACK,
    *,
    blame: bool = True,
    weak: bool = False,
    same: str = "",
    suspects: str = "",
) -> Rule:
    return Rule(kind, re.compile(pattern), title, role, reach, blame, weak, same, suspects)


_FUNC = r"(?P<func>[A-Za-z_][\w.$]*)(?:\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?)?"
_TRAPS = (
    "general protection fault|divide error|invalid opcode|stack segment|int3|double fault"
    "|alignment check|bounds|overflow|invalid TSS|segment not present|control protection fault"
    "|x87 FPU exception|SIMD exception|simd exception|coprocessor segment overrun"
)

# Tried in order; the first that matches counts.
RULES: tuple[Rule, ...] = (
    # include/asm-generic/bug.h, lib/bug.c, kernel/panic.c
    _row("cut-report", r"-{4,}\[ cut here \]-{4,}", "report cut after its first line",
         Role.CUT, Reach.TRACE_END),
    _row("panic", r"Kernel panic - not syncing: (?P<msg>corrupted stack end detected inside "
         r"scheduler|kernel stack overflow)", "Kernel panic - not syncing: {msg}", Role.PANIC,
         Reach.TRACE_END, suspects="stack-end"),
    _row("panic", r"Kernel panic - not syncing: (?P<msg>stack-protector: Kernel stack is corrupted)"
         rf" in: (?:{_FUNC})?", "Kernel panic - not syncing: {msg}", Role.PANIC, Reach.TRACE_END),
    _row("panic", r"Kernel panic - not syncing:? ?(?P<msg>.*)",
         "Kernel panic - not syncing: {msg}", Role.PANIC, Reach.TRACE_END, blame=False),
    # v6.18 put the location first and CPU and task last; with DEBUG_BUGVERBOSE_DETAILED the
    # condition stands before the location
    _row("warning", r"WARNING: (?:CPU: \d+ PID: \d+ )?at (?P<file>[^\s:]+\.[a-zA-Z]{1,3}):"
         rf"(?P<line>\d+),? (?:at )?{_FUNC}", "WARNING: at {file}:{line} {func}",
         Role.WARN, Reach.TRACE_END),
    _row("warning", r"WARNING: (?:\[.{0,300}\] )?(?P<file>[^\s:]+\.[a-zA-Z]{1,3}):(?P<line>\d+)"
         rf" at {_FUNC}", "WARNING: at {file}:{line} {func}", Role.WARN, Reach.TRACE_END),
    _row("warning", rf"WARNING: at {_FUNC}, CPU#\d+", "WARNING: at {func}",
         Role.WARN, Reach.TRACE_END),
    _row("warning", r"WARNING: CPU: \d+ PID: \d+ at (?P<file>[^\s:]+\.[a-zA-Z]{1,3}):"
         r"(?P<line>\d+)", "WARNING: at {file}:{line}", Role.WARN, Reach.TRACE_END),
    _row("warning", rf"WARNING: CPU: \d+ PID: \d+ at {_FUNC}", "WARNING: at {func}",
         Role.WARN, Reach.TRACE_END),
    # x86 since v6.19: of a WARN() with a message no function is known there
    _row("warning", r"WARNING: (?:\[.{0,300}\] )?(?P<file>[^\s:]+\.[a-zA-Z]{1,3}):"
         r"(?P<line>\d+)(?!\S)",
         "WARNING: at {file}:{line}", Role.WARN, Reach.TRACE_END),
    _row("warning", r"WARNING: CPU: \d+", "WARNING", Role.WARN, Reach.TRACE_END),
    _row("kernel-bug", r"[kK]ernel BUG at (?:\[.{0,300}\] )?(?P<file>[^\s:]+\.[a-zA-Z]{1,3}):"
         r"(?P<line>\d+)!?",
         "kernel BUG at {file}:{line}", Role.HEAD, Reach.TRACE_END),
    _row("kernel-bug", rf"[kK]ernel BUG at {_FUNC}", "kernel BUG at {func}",
         Role.HEAD, Reach.TRACE_END),
    _row("kernel-bug", r"[kK]ernel BUG\b", "kernel BUG", Role.HEAD, Reach.TRACE_END),
    # kernel/fork.c check_mm(); before v5.10 an index stood for the type
    _row("bad-rss-counter", r"BUG: Bad rss-counter state(?: mm:\S+)?"
         r"(?: type:(?P<type>\w+)| idx:(?P<idx>\d+))?", "BUG: Bad rss-counter state type:{type}",
         reach=Reach.LINE, blame=False),
    _row("pgtables-bytes", r"BUG: non-zero (?P<what>pgtables_bytes|nr_p[tm]es|nr_pmds) on freeing",
         "BUG: non-zero {what} on freeing mm", reach=Reach.LINE, blame=False),
    # mm/page_alloc.c, mm/memory.c, mm/filemap.c
    _row("bad-page-state", r"BUG: Bad page state: \d+ messages suppressed",
         "BUG: Bad page state: messages suppressed", reach=Reach.LINE, blame=False),
    _row("bad-page-map", r"BUG: Bad page map: \d+ messages suppressed",
         "BUG: Bad page map: messages suppressed", reach=Reach.LINE, blame=False),
    _row("bad-page-state", r"BUG: Bad page state\b", "BUG: Bad page state"),
    _row("bad-page-map", r"BUG: Bad page map\b", "BUG: Bad page map"),
    _row("bad-page-cache", r"BUG: Bad page cache\b", "BUG: Bad page cache"),
    # include/linux/pgtable.h users: pte_ERROR() and its like; mm/swapfile.c
    _row("bad-page-table", r"\S{1,80}\.[ch]:\d+: bad (?P<level>pte|pmd|pud|p4d|pgd) ?[0-9a-f(]",
         "bad {level} in a page table", reach=Reach.LINE, blame=False),
    _row("bad-swap-entry", r"(?:[\w-]{1,40}: ){0,2}(?P<what>(?:Bad|Unused) swap (?:file|offset))"
         r" entry [0-9a-f]+", "{what} entry", reach=Reach.LINE, blame=False),
    # mm/page_poison.c, mm/vmstat.c, mm/page_owner.c, mm/kmemleak.c
    _row("page-poison", r"pagealloc: (?P<what>memory corruption|single bit error)",
         "pagealloc: {what}"),
    _row("vmstat-negative", r"vmstat_refresh: (?P<what>\w+) -\d+", "vmstat: {what} below zero",
         reach=Reach.LINE, blame=False),
    _row("page-owner", r"\w{1,60}: refcount went to 0 for \d+ handle",
         "page_owner: refcount went to 0", reach=Reach.LINE, blame=False),
    _row("kmemleak-object", r"kmemleak: (?P<what>Cannot insert|Found object by alias|(?:Freeing"
         r"|Partially freeing|Trying to color) unknown object)",
         "kmemleak: {what}", reach=Reach.SHORT),
    # mm/kasan/report.c, mm/kfence/report.c, kernel/kcsan/report.c, mm/kmsan/report.c
    _row("kcsan", r"BUG: KCSAN: (?P<what>.+?) in (?P<where>(?P<first>[A-Za-z_][\w.$]*) / \S+)",
         "BUG: KCSAN: {what} in {where}", reach=Reach.RULER, blame=False),
    *(_row(name.lower(), rf"BUG: {name}: (?P<what>.+?)(?: in {_FUNC}.*)?$",
           f"BUG: {name}: {{what}}", reach=Reach.RULER)
      for name in ("KASAN", "KFENCE", "KCSAN", "KMSAN")),
    _row("kasan", r"KASAN: (?P<what>.+?) in range ", "KASAN: {what}", Role.NOTE, Reach.TRACE_END),
    # arch/x86/mm/fault.c, arch/arm64/mm/fault.c, arch/*/kernel/traps.c
    _row("null-deref", r"BUG: (?:kernel NULL pointer dereference|unable to handle kernel NULL)",
         "BUG: kernel NULL pointer dereference", Role.HEAD, Reach.TRACE_END, same="null-deref"),
    _row("null-deref", r"Unable to handle kernel NULL pointer dereference",
         "Unable to handle kernel NULL pointer dereference", Role.HEAD, Reach.TRACE_END,
         same="null-deref"),
    _row("page-fault", r"BUG: unable to handle (?:page fault|kernel paging request)",
         "BUG: unable to handle page fault", Role.HEAD, Reach.TRACE_END, same="page-fault"),
    _row("page-fault", r"BUG: unable to handle\b", "BUG: unable to handle a fault", Role.HEAD,
         Reach.TRACE_END, same="page-fault"),
    _row("page-fault", r"Unable to handle kernel (?P<what>.{1,80}?) at (?:virtual )?address",
         "Unable to handle kernel {what}", Role.HEAD, Reach.TRACE_END, same="page-fault"),
    _row("page-fault", r"Unable to handle kernel\b", "Unable to handle kernel access", Role.HEAD,
         Reach.TRACE_END, same="page-fault"),
    _row("page-fault", r"\S{1,16}: Corrupted page table at address ",
         "Corrupted page table", Role.HEAD, Reach.TRACE_END),
    _row("stack-overflow", r"BUG: (?P<what>\w+ )?stack guard page was hit at",
         "BUG: stack guard page was hit", Role.HEAD, Reach.TRACE_END, same="stack-overflow"),
    _row("stack-overflow", r"Insufficient stack space to handle exception",
         "Insufficient stack space to handle exception", Role.HEAD, Reach.TRACE_END,
         same="stack-overflow"),
    _row("oops", r"(?:traps: )?PANIC: double fault", "PANIC: double fault", Role.HEAD,
         Reach.TRACE_END),
    _row("oops", r"PANIC: early exception 0x(?P<what>[0-9a-f]{1,2})\b",
         "PANIC: early exception {what}", Role.PANIC, Reach.LINE, blame=False),
    # arch/arm64/kernel/entry-common.c __panic_unhandled(), before v5.14 traps.c bad_mode()
    _row("oops", r"Unhandled (?P<what>\d\d-bit el\d\w{0,20} \w+) exception on CPU\d+",
         "Unhandled {what} exception", Role.HEAD, Reach.TRACE_END),
    _row("oops", r"Bad mode in (?P<what>[\w ]{1,40}) handler detected on CPU\d+",
         "Bad mode in {what} handler", Role.HEAD, Reach.TRACE_END),
    _row("oops", r"SError Interrupt on CPU", "SError interrupt", Role.HEAD, Reach.TRACE_END),
    _row("oops", r"(?P<what>Unhandled fault|Alignment trap)(?::| at )", "{what}", Role.HEAD,
         Reach.TRACE_END),
    _row("general-protection", r"(?:Oops: )?(?:segment-related )?general protection fault\b",
         "general protection fault", Role.DIE, Reach.TRACE_END),
    _row("oops", rf"(?:Oops: )?(?P<what>{_TRAPS})(?:, [^:]{{1,80}})?: (?:[0-9a-f]{{4}}|\d+ \[#)",
         "{what}", Role.DIE, Reach.TRACE_END),
    # whatever it says: die() ends its line with the error code and the count
    _row("oops", r"(?:Oops: )?(?P<what>(?!Oops|Internal error)[A-Za-z][\w ,.'/()-]{1,80}): "
         r"[0-9a-f]{4} \[#\d{1,3}\](?: [A-Z][\w(){},]*)*\s*$", "{what}", Role.DIE, Reach.TRACE_END),
    _row("oops", r"Oops: (?:Oops: )?(?P<what>(?!Oops:)[A-Za-z][^:]{0,60})?", "Oops: {what}",
         Role.DIE, Reach.TRACE_END),
    # "level 0 (translation table walk)" and "UBSAN: shift out of bounds" are messages too
    _row("oops", r"Internal error: (?P<what>.{1,120}?): [0-9a-f]{1,16} \[#\d+\]",
         "Internal error: {what}", Role.DIE, Reach.TRACE_END),
    _row("oops", r"Internal error: (?P<what>[^:\[]{0,80})", "Internal error: {what}", Role.DIE,
         Reach.TRACE_END),
    # lib/ubsan.c
    _row("ubsan", r"UBSAN: (?P<what>.{1,80}?) in (?P<file>\S+?):(?P<line>\d+)",
         "UBSAN: {what} in {file}:{line}", Role.WARN, Reach.TRACE_END),
    _row("ubsan", r"UBSAN: (?P<what>.{1,80})", "UBSAN: {what}", Role.WARN, Reach.TRACE_END),
    # include/linux/mmdebug.h; lib/list_debug.c, lib/refcount.c, lib/debugobjects.c, mm/usercopy.c
    _row("vm-bug-on", r"page dumped because: (?P<what>VM_BUG_ON\w*\(.*)", "{what}", Role.NOTE,
         Reach.TRACE_END),
    _row("vm-warn-on", r"page dumped because: (?P<what>VM_WARN_ON\w*\(.*)", "{what}", Role.NOTE,
         Reach.TRACE_END),
    _row("list-corruption", r"list_(?P<what>add|del) (?:corruption|double add)",
         "list_{what} corruption", Role.NOTE, Reach.TRACE_END),
    _row("refcount", r"refcount_t: (?P<what>[^.!?]{1,80})", "refcount_t: {what}", Role.NOTE,
         Reach.TRACE_END),
    _row("lockdep", r"(?P<what>DEBUG_LOCKS_WARN_ON\(.*\))", "{what}", Role.NOTE, Reach.TRACE_END),
    _row("odebug", r"ODEBUG: (?P<what>\w+) .{1,60}\(active state \d+\) object: \S+ "
         r"object type: (?P<type>\w+)", "ODEBUG: {what} {type}", Role.NOTE, Reach.TRACE_END),
    _row("usercopy", r"(?:usercopy: )?Kernel memory (?P<what>exposure|overwrite) attempt detected",
         "Kernel memory {what} attempt detected", Role.NOTE, Reach.TRACE_END),
    _row("cfi", rf"(?:traps: )?Missing ENDBR: {_FUNC}", "Missing ENDBR", Role.NOTE,
         Reach.TRACE_END),
    # lib/string_helpers.c since v6.9; before it a plain BUG() follows another spelling
    _row("fortify", r"(?P<what>\w{1,40}): detected buffer overflow: ", "{what}: detected buffer"
         " overflow", Role.NOTE, Reach.TRACE_END),
    _row("fortify", r"detected buffer overflow in (?P<what>\w{1,40})", "{what}: detected buffer"
         " overflow", Role.NOTE, Reach.TRACE_END),
    _row("cfi", rf"(?:CFI: )?CFI failure at {_FUNC}", "CFI failure", Role.NOTE, Reach.TRACE_END),
    # fs/dcache.c umount_check(); up to v5.x ahead of the WARN(), now in it
    _row("vfs", r"BUG: Dentry \S.{0,300}? +still in use", "BUG: Dentry still in use", Role.NOTE,
         Reach.TRACE_END),
    # rust/kernel/lib.rs: a BUG() follows
    _row("rust-panic", r"rust_kernel: panicked at (?P<file>[^\s:]+):(?P<line>\d+)",
         "rust_kernel: panicked", Role.NOTE, Reach.TRACE_END),
    # mm/slub.c
    _row("slub", r"BUG (?P<cache>\S.{0,63}?) \((?:Not t|T)ainted[^)]*\): (?P<what>.{1,120})",
         "BUG {cache}: {what}", Role.NOTE),
    _row("slub", r"BUG (?P<cache>kmalloc-\S+)", "BUG {cache}", Role.NOTE),
    # mm/slab.c up to v6.7, mm/slab_common.c up to v5.16
    _row("slub", r"slab error in \w{1,60}\(\): cache [`'](?P<cache>[^']{1,64})': "
         r"(?P<what>.{1,120})", "slab error in cache {cache}: {what}"),
    _row("slub", r"kmem_cache_destroy (?P<cache>\S{1,64}): Slab cache still has objects",
         "kmem_cache_destroy {cache}: objects remaining"),
    # kernel/sched/core.c, lib/smp_processor_id.c, kernel/locking/spinlock_debug.c
    _row("atomic-sleep", r"BUG: sleeping function called from invalid context",
         "BUG: sleeping function called from invalid context"),
    _row("atomic-sleep", r"BUG: scheduling (?P<what>while atomic|in a non-blocking section)",
         "BUG: scheduling {what}"),
    _row("atomic-sleep", r"BUG: assuming (?P<what>atomic|non migratable) context",
         "BUG: assuming {what} context"),
    _row("preemptible", r"BUG: using (?P<what>\S+?)\(\) in preemptible",
         "BUG: using {what}() in preemptible code"),
    _row("spinlock", r"BUG: (?P<what>(?:spin|rw)lock .{1,60}?) on CPU#\d+", "BUG: {what}"),
    # kernel/watchdog.c, kernel/workqueue.c, kernel/rcu/tree_stall.h, kernel/hung_task.c
    _row("soft-lockup", r"(?:[\w -]{1,30}: )?BUG: soft lockup\b", "BUG: soft lockup"),
    _row("hard-lockup", r"(?:[\w -]{1,30}: )?(?:CPU\d+: )?Watchdog detected hard LOCKUP\b",
         "hard LOCKUP"),
    _row("workqueue-lockup", r"BUG: workqueue lockup\b", "BUG: workqueue lockup",
         reach=Reach.POOLS),
    _row("atomic-sleep", r"BUG: workqueue leaked (?P<what>[\w, ]{1,60}):",
         "BUG: workqueue leaked {what}", reach=Reach.SHORT),
    _row("softirq", r"(?:softirq: )?huh, entered softirq \d+ (?P<what>\w+) ",
         "softirq {what} left preempt_count changed", reach=Reach.LINE, blame=False),
    _row("rcu-stall", r"(?:rcu: )?INFO: rcu\S* (?:self-)?detected (?:expedited )?stalls?\b",
         "INFO: rcu detected stall"),
    _row("hung-task", r"INFO: task .{1,80}? blocked (?:in I/O wait )?for more than \d+ seconds",
         "INFO: task hung"),
    _row("hung-task", r"INFO: task .{1,80}? can't die for more than \d+ seconds",
         "INFO: task can't die"),
    # kernel/locking/lockdep.c
    _row("lockdep", r"(?P<what>(?:WARNING|INFO): suspicious RCU usage).*", "{what}",
         suspects="rcu-usage"),
    _row("lockdep", r"(?P<what>INFO: trying to register non-static key)", "{what}",
         suspects="lock-key"),
    _row("lockdep", r"WARNING: (?P<what>possible (?:circular|recursive|irq) lock.*|inconsistent "
         r"lock state|chain_key collision|Nested lock was not taken|bad "
         r"unlock balance detected!?|bad contention detected!?|held lock freed!?|lock held when "
         r"returning to user space!?|\S+-safe -> \S+-unsafe lock order detected)",
         "WARNING: {what}"),
    _row("lockdep", r"WARNING: \S.{0,40}?/\d+ still has locks held",
         "WARNING: task still has locks held"),
    _row("lockdep", r"INFO: (?P<what>possible (?:circular|recursive|irq) lock.*|inconsistent lock "
         r"state)", "INFO: {what}"),
    _row("lockdep", r"\[ (?P<what>(?:BUG|INFO|WARNING): .{1,80}?) \]\s*$", "{what}"),
    _row("lockdep-limit", r"BUG: MAX_(?P<what>\w+) too low", "BUG: MAX_{what} too low",
         reach=Reach.LINE, blame=False),
    # mm/page_alloc.c warn_alloc(), mm/oom_kill.c; a task's name comes first
    _row("alloc-failure", r".{1,64}?: page allocation failure: order:(?P<order>\d+)",
         "page allocation failure: order:{order}", weak=True),
    _row("alloc-failure", r".{1,64}?: page allocation stalls for \d+ms, order:(?P<order>\d+)",
         "page allocation stalls: order:{order}", weak=True),
    # mm/vmalloc.c, by three spellings
    _row("alloc-failure", r".{1,64}?: vmalloc(?: error: size| size \d+ allocation failure:"
         r"|: allocation failure:) ", "vmalloc error", weak=True),
    _row("oom", r".{1,64}? invoked oom-killer: ", "oom-killer invoked", reach=Reach.OOM,
         blame=False, weak=True),
    _row("oom", r"(?P<what>Out of memory|Memory cgroup out of memory)(?: \(oom_kill_allocating_"
         r"task\))?: Kill", "{what}: killed a process", reach=Reach.LINE, blame=False),
    _row("oom", r"Out of memory and no killable processes",
         "Out of memory and no killable processes", reach=Reach.LINE, blame=False),
    # mm/kmemleak.c
    _row("memory-leak", r"(?:kmemleak: )?unreferenced object (?:percpu )?0x", "memory leak",
         reach=Reach.INDENT),
    _row("memory-leak", r"kmemleak: \d+ new suspected memory leaks",
         "kmemleak: new suspected memory leaks", reach=Reach.LINE, blame=False),
    # kernel/smp.c, kernel/irq/spurious.c, net/core/dev.c, fs/super.c, fs/open.c
    _row("csd-lock", r"(?:smp: )?csd: (?:Detected|Continued) non-responsive CSD lock",
         "csd: non-responsive CSD lock", reach=Reach.SHORT),
    _row("csd-lock", r"(?:smp: )?csd: Re-sending CSD lock", "csd: Re-sending CSD lock",
         reach=Reach.LINE, blame=False),
    _row("irq-nobody-cared", r"irq \d+: nobody cared", "irq: nobody cared"),
    _row("netdev-leak", r"unregister_netdevice: waiting for",
         "unregister_netdevice: waiting for a device to become free", reach=Reach.LINE,
         blame=False),
    _row("vfs", r"VFS: (?P<what>Close: file count is 0|Busy inodes after unmount)",
         "VFS: {what}", reach=Reach.LINE, blame=False),
    # whatever else calls itself a bug or a warning
    _row("bug", r"(?:[\w.-]{1,30}: )?(?P<what>BUG: .*)", "{what}", reach=Reach.SHORT, weak=True),
    _row("warning-text", r"(?P<what>WARNING: .*)", "{what}", reach=Reach.SHORT, weak=True),
)  # fmt: skip

# An end marker of which the log has no beginning.
HEADLESS = _row("cut-report", r"---\[ end", "report without its first lines", Role.CUT,
                Reach.TRACE_END)  # fmt: skip
