# SPDX-License-Identifier: GPL-2.0-only
"""The function that a kernel-log report is about.

Looked at in order: the function that the header names, where the CPU stood (RIP, pc), the frames of
the trace; the first that has no role (``roles``) is guilty.  Frames that the unwinder only guesses
(``? name``) do not count, nor inlined calls, which only a resolved log shows, nor what stands
before a report's ``Call Trace:`` (page_owner and lockdep print older traces there).

Some kinds know better than their trace:

* A stall is reported by an interrupt.  What stands above the interrupt's entry is the reporter's;
  the stalled task was where the entry found it.  There it loops: its title says where it stood,
  and the guilty function is whose loop it is.
* lockdep says itself where the lock was taken (``at: FUNC``); of two locks the first counts.
* A work item that leaks a lock is named in the message, not in the trace of its worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.evidence.klog.frames import FRAME
from orchestrator.evidence.klog.roles import hands_out, passed_over, plain_function

TRACE = re.compile(r"\s*(?:Call [Tt]race:|Backtrace:|backtrace(?: \(crc [0-9a-f]+\))?:\s*$)")
# Selector 0010 is the kernel's code segment on x86-64 (arch/x86/include/asm/segment.h); 0033 is
# user space's.  arm64 prints "pc : ".  Up to v4.9 addresses stand before the name.
_WHERE = re.compile(
    r"(?:RIP: 0010:|IP: |pc : |PC is at )(?:\[<[0-9a-f]+>\] {0,2}){0,2}"
    r"(?P<func>[A-Za-z_.$][\w.$]*)\+0x"
)
# A jump out of the kernel text, or into assembly without a frame: the caller is lr, or the first
# frame, which the unwinder may only guess then.
_FRAMELESS = re.compile(
    r"_*mem(?:cpy|set|move)\w*|(?:clear|copy)_page\w*|rep_(?:movs|stos)_\w+|_*(?:get|put)_user_\w+"
    r"|_*copy_user_\w+|_*x86_\w*thunk\w*"
)
_ASTRAY = re.compile(r"(?:RIP: 0010:|pc : |PC is at )(?:0x)?[0-9a-f]{1,16}(?:\s|$)")
_LINK = re.compile(r"(?:lr : |LR is at )(?P<func>[A-Za-z_.$][\w.$]*)\+0x")

# Where an interrupt enters: by an older or newer spelling, on x86 and arm64.
_ENTRY = re.compile(
    r"(?:smp_|__?)?apic_timer_interrupt|asm_sysvec_\w+|asm_common_interrupt|ret_from_intr"
    r"|common_interrupt|el1h?_(?:64_)?(?:irq|fiq)|call_function\w*_interrupt|reschedule_interrupt"
    r"|_*irq_(?:svc|usr)"
)
_MARK = re.compile(r"\s*(?:</?[A-Z#][\w#-]*>\s*)+$")

# print_lock() in kernel/locking/lockdep.c; up to v4.19 with the address before the function.
_AT = re.compile(r".{0,400}?\bat:\s+(?:\[<[0-9a-f]+>\] ?)?(?P<func>[A-Za-z_.$][\w.$]*)\+0x")
_HELD = re.compile(r" ?#\d+: ")
_ALL_HELD = re.compile(r"\d+ locks? held by |other info that might help")
_AT_ADDRESS = re.compile(r"\[<[0-9a-f]+>\] ?(?P<func>[A-Za-z_.$][\w.$]*)\+0x")
# One lock is at fault where lockdep says so; of -safe -> -unsafe, RCU and wait context the trace
# tells better who did it.
_ONE_LOCK = re.compile(
    r".*(?:possible (?:circular|recursive|irq lock inversion)|inconsistent lock state"
    r"|held lock freed|still has locks held|lock held when returning|bad unlock balance"
    r"|[Nn]ested lock was not taken)"
)
_BECAME = re.compile(r"which became \S+-(?:irq-)?\S* ?(?:at|$)|which became .{1,40} at:")
_WORK = re.compile(r".{0,200}?(?:workfn=|last function: )(?P<func>[A-Za-z_][\w.$]*)")

#: Kinds that an interrupt or another CPU's request reports.
STALLS = frozenset({"rcu-stall", "soft-lockup", "hard-lockup", "csd-lock"})
#: Kinds whose CPU may be seen in any function of a loop: :func:`whose` it is stays the same.
LOOPS = STALLS | {"stack-overflow", "stack-end"}
_OTHER_CPU = "smp_call_function"
_RECURSION = 3


def tells_where(text: str) -> bool:
    """Whether a line names the function in which the CPU stood."""
    return _WHERE.match(text) is not None


def guilty(lines: Iterable[str], first: str = "", kind: str = "") -> str:
    """The guilty function of a report by one CPU's lines, or an empty string.

    :param lines: the report's lines.
    :param first: the function that the header names; it wins unless it has a role.
    :param kind: the report's kind; some roles count in some kinds alone.
    """
    texts = list(lines)
    for name, stood in _candidates(texts, first, kind):
        if name and not passed_over(name, kind, stood=stood):
            return plain_function(name)
    return ""


def _candidates(lines: Sequence[str], first: str, kind: str) -> Iterator[tuple[str, bool]]:
    """Functions, the likelier ones first, each with whether the CPU surely stood in it."""
    yield first, True
    told: Iterable[str] = ()
    if kind == "lockdep" and any(_ONE_LOCK.match(text) for text in lines[:6]):
        told = _taken_at(lines)
    elif kind == "atomic-sleep":
        told = (match["func"] for text in lines[:6] if (match := _WORK.match(text)))
    yield from ((name, False) for name in told)
    yield from _stack(_became(lines) if kind == "lockdep" else stalled(lines, kind))


def _stack(lines: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Where the CPU stood, and the frames below."""
    trace = next((i for i, text in enumerate(lines) if TRACE.match(text)), None)
    astray = False
    for text in lines[:trace]:
        if match := _WHERE.match(text):
            yield match["func"], True
            astray = _FRAMELESS.fullmatch(plain_function(match["func"])) is not None
        elif _ASTRAY.match(text):
            astray = True
        elif astray and (match := _LINK.match(text)):
            yield match["func"], False
    frames = [match for text in lines[trace or 0 :] if (match := FRAME.match(text))]
    # A trace that is nothing but guesses (``damage.GUESSED``) is better than none.
    guessed = all(match["guess"] for match in frames)
    for match in frames:
        if not match["inline"] and (astray or guessed or not match["guess"]):
            yield match["func"], astray
            astray = False


def whose(lines: Iterable[str], kind: str) -> str:
    """Whose code a stalled CPU ran, or filled the stack: the last function ahead of who hands out
    work.

    A CPU that loops is seen in any of the functions of its loop, in another one each time.  What
    the system call, the file operation or the timer called is the same each time.  Empty, where
    nobody in the trace hands out work.
    """
    found = ""
    names = [name for name, _ in _stack(stalled(list(lines), kind))]
    often = max(names, key=names.count, default="")
    if kind == "stack-overflow" and names.count(often) >= _RECURSION:
        return plain_function(often)  # it calls itself without end
    for name in names:
        if name.startswith(_OTHER_CPU):
            return _OTHER_CPU  # it waits for another CPU: no caller of it is more at fault
        if found and hands_out(name):
            return found
        if not passed_over(name, kind) and not hands_out(name):
            found = plain_function(name)
    return ""


def stalled(lines: Sequence[str], kind: str) -> Sequence[str]:
    """The lines that count in a report of ``kind``: of a stall those below the interrupt."""
    return below_interrupt(lines) if kind in STALLS else lines


def below_interrupt(lines: Sequence[str]) -> Sequence[str]:
    """The lines of a stall's trace from where the interrupt that reports it found the task.

    All lines, where there is no such interrupt in the trace, or where the registers of the task
    stand ahead of it: then it is the trace of the task itself.
    """
    for i, text in enumerate(lines):
        if TRACE.match(text):
            lines = lines[i:]
            break
        if _WHERE.match(text) or _ASTRAY.match(text):
            return lines
    for i, text in enumerate(lines):
        if _enters(text) and not _MARK.match(text):
            rest = i + 1
            while rest < len(lines) and _enters(lines[rest]):
                rest += 1
            frames = [i for i in range(rest, len(lines)) if FRAME.match(lines[i])]
            if frames or any(map(_WHERE.match, lines[rest:])):
                start = frames[0] if frames else len(lines)
                return [*lines[rest:start], "Call Trace:", *lines[start:]]
            return lines
    return lines


def _enters(text: str) -> bool:
    if _MARK.match(text):
        return True
    match = FRAME.match(text)
    return match is not None and _ENTRY.fullmatch(plain_function(match["func"])) is not None


def _taken_at(lines: Sequence[str]) -> Iterator[str]:
    """The functions that lockdep says took the locks, ahead of its lists of held ones."""
    told = False
    for i, text in enumerate(lines):
        if told and (_HELD.match(text) or _ALL_HELD.match(text)):
            return
        if match := _AT.match(text):
            told = True
            yield match["func"]
        elif text.rstrip().endswith("at:") and i + 1 < len(lines):
            if match := _AT_ADDRESS.match(lines[i + 1].lstrip()):
                yield match["func"]
        elif TRACE.match(text):
            return


def _became(lines: Sequence[str]) -> Sequence[str]:
    """From where a lock became unsafe, in a report that has two such traces."""
    for i, text in enumerate(lines):
        if _BECAME.match(text.lstrip(" .")):
            return ["Call Trace:", *lines[i + 1 :]]
    return lines
