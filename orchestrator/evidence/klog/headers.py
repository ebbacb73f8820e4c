# SPDX-License-Identifier: GPL-2.0-only
"""Whether a line of a kernel log begins a report, by the table of ``rules``.

Beside the table stand what reads like a header on healthy kernels and is none, and what a line that
may be a program's has to look like.
"""

from __future__ import annotations

import re

from orchestrator.evidence.klog.rules import RULES, Rule

# All patterns in one, without their groups: what it does not match need not be tried one by one.
_ANY = re.compile("|".join(re.sub(r"\(\?P<\w+>", "(?:", r.pattern.pattern) for r in RULES))

# What reads like a header and is none, on healthy kernels.
_HARMLESS = re.compile(
    r"(?:rcu: )?INFO: (?:lockdep is turned off|Stall ended before|NMI handler \()"
    # A WARN() names its CPU or place, and after it a function whose name may hold any of the words.
    r"|(?:\S.{0,40}: )?WARNING: (?!CPU: |at \S|\S+\.[a-zA-Z]{1,3}:\d)"
    r"(?:.*(?:eIBRS|eBPF|Spectre|RETBleed|mitigation|untrained return"
    r"|MITIGATION_|hw-vuln|insecure|entropy|unseeded)"
    r"|Flushing system-wide workqueues|[Tt]he mand mount option|MP table|BIOS bug"
    r"|kernel not compiled with|[Uu]nencrypted|.*has been deprecated|.*is deprecated"
    r"|fbcon: Driver '|workqueue cpumask: online intersect|Unsupported flag value|See https?:"
    r"|polling idle and HT"
    # sshd's, by /dev/kmsg or on the same console
    r"|/\S+ does not exist)"
    # syzkaller's executor says so above what kmemleak found
    r"|BUG: memory leak$"
    r"|(?:[\w-]{1,30}: )?BUG: \s*\d+ unexpected failures \(out of"
)


def quick(text: str) -> bool:
    """A cheap look that most lines fail; every rule's pattern needs one of these words.

    Spelled out, because this is what reading an ordinary line costs: one regular expression of
    them all takes more than half as long again.
    """
    return (
        "BUG" in text
        or "WARNING" in text
        or "INFO: " in text
        or "Oops: " in text
        or "panic - not" in text
        or "cut here" in text
        or "Unable to handle" in text
        or "Internal error" in text
        or " [#" in text
        or "PANIC: " in text
        or "Insufficient stack" in text
        or "SError Interrupt" in text
        or "Unhandled " in text
        or "Alignment trap" in text
        or "Corrupted page table" in text
        or "page dumped" in text
        or "list_add " in text
        or "list_del " in text
        or "refcount_t" in text
        or "Kernel memory" in text
        or "CFI failure" in text
        or "hard LOCKUP" in text
        or "page allocation " in text
        or ": vmalloc" in text
        or "slab error in" in text
        or "still has objects" in text
        or "oom-killer" in text
        or "ut of memory" in text
        or "unreferenced object" in text
        or "suspected memory" in text
        or "csd: " in text
        or "nobody cared" in text
        or "unregister_netdevice" in text
        or "VFS: " in text
        or "entry " in text
        or ": bad p" in text
        or "int3: " in text
        or "pagealloc: " in text
        or "vmstat_refresh: " in text
        or "refcount went to 0" in text
        or "kmemleak: " in text
        or "Bad mode in" in text
        or "Missing ENDBR" in text
        or "detected buffer overflow" in text
        or "huh, entered" in text
        or "rust_kernel: " in text
        or "general protection" in text
        or "SAN: " in text
    )


def classify(text: str, trusted: bool = True) -> tuple[Rule, re.Match[str]] | None:
    """The rule that ``text`` is a header of, or None.

    :param trusted: False where the line may be user space's: then only what no program prints
        counts, and weak rules are left out.
    """
    if not quick(text) or _ANY.match(text) is None or _HARMLESS.match(text):
        return None
    if not trusted and _SURE.match(text) is None:
        return None
    for rule in RULES:
        if rule.weak and not trusted:
            continue
        if (match := rule.pattern.match(text)) is not None:
            return rule, match
    return None


# What the kernel alone prints.  A line that may be a program's is believed to be a header only when
# it looks like one of these, down to the numbers.
_SURE = re.compile(
    r"-{8,}\[ cut here \]-{8,}|Kernel panic - not syncing: |kernel BUG at \S+:\d+!|={20,}"
    r"|BUG: (?:K[ACM]SAN: .{1,80} in \w|KFENCE: |unable to handle |kernel NULL pointer"
    r"|Bad page \w+ in|Bad rss-counter state mm:|non-zero pgtables|sleeping function called from"
    r"|scheduling while |workqueue (?:lockup - pool|leaked)|spinlock .{1,40} on CPU#"
    r"|stack guard page|using \w+\(\) in)|Oops: (?:Oops: )?[0-9a-f]{4} \[#\d"
    r"|(?:Oops: )?[a-z][\w -]{1,60}(?:, .{1,80})?: [0-9a-f]{4} \[#\d"
    r"|WARNING: (?:CPU: \d+ PID: \d+|.{1,200}, CPU#\d+: )|Internal error: .{1,120} \[#\d+\]"
    r"|Unable to handle kernel .{1,80} at (?:virtual )?address |UBSAN: .{1,80} in \S+:\d+:\d+"
    r"|(?:watchdog: )?BUG: soft lockup - CPU#|(?:watchdog: )?Watchdog detected hard LOCKUP"
    r"|(?:rcu: )?INFO: rcu_\w+ |INFO: task \S.{0,40}:\d+ (?:blocked|can't die)"
    r"|(?:traps: )?PANIC: |WARNING: (?:possible (?:circular|recursive|irq) lock"
    r"|inconsistent lock state|suspicious RCU)|list_(?:add|del) corruption[.,]"
    r"|refcount_t: .{1,60}[;.]|\S+ invoked oom-killer: gfp_mask="
    r"|(?:Memory cgroup )?[Oo]ut of memory: Kill(?:ed)? process \d+ \(|unreferenced object 0x"
)

# A header may stand right behind text of the kernel that did not end its line; only what can be
# nothing else is looked for there.
_GLUED = re.compile(
    r"(?:general protection fault|divide error|invalid opcode|stack segment)(?:, [^:]{1,80})?: "
    r"[0-9a-f]{1,8} \[#\d+\]|BUG: (?:unable to handle|K[ACM]SAN: |kernel NULL)"
    r"|Oops: [0-9a-f]{4} \[#\d+\]"
)


def glued(text: str) -> int:
    """Where in a line, behind other text, a header begins; 0 where none does."""
    match = _GLUED.search(text, 1)
    return match.start() if match else 0
