# SPDX-License-Identifier: GPL-2.0-only
"""The function to blame for a kernel-log report, its title, and its signature."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from orchestrator.evidence.klog.frames import FRAME, is_generic, plain_function

MAX_TITLE = 200

TRACE = re.compile(r"\s*Call [Tt]race:")
# Selector 0010 is the kernel's code segment on x86-64 (arch/x86/include/asm/segment.h); 0033 is
# user space's.  arm64 prints "pc : ".
_WHERE = re.compile(r"(?:RIP: 0010:|pc : )(?P<func>[A-Za-z_.$][\w.$]*)\+0x")
# A jump out of the kernel text, or into assembly without a frame: the caller is lr, or the first
# frame, which the unwinder then only guesses.
_FRAMELESS = re.compile(
    r"_*mem(?:cpy|set|move)\w*|(?:clear|copy)_page\w*|rep_(?:movs|stos)_\w+|_*(?:get|put)_user_\w+"
    r"|_*copy_user_\w+"
)
_ASTRAY = re.compile(r"(?:RIP: 0010:|pc : )(?:0x)?[0-9a-f]{1,16}(?:\s|$)")
_LINK = re.compile(r"lr : (?P<func>[A-Za-z_.$][\w.$]*)\+0x")

_SUFFIXES = re.compile(r"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv)(?:\.\d+)?)+\b")

_LINE_NUMBER = re.compile(r"(\.[a-zA-Z]{1,3}):\d+(?::\d+)?")
_OFFSET = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
_HEX = re.compile(r"(?<!exitcode=)\b(?:0x[0-9a-fA-F]{5,}|(?=[0-9a-f]*\d)[0-9a-f]{8,16})\b")
_CPU = re.compile(r"\b(?:CPU ?#?|cpu[ =:]?#?)\d+\b")
_TASK = re.compile(r" ?\[[^\[\]]{1,40}:\d+\]|\b[\w./-]{1,40}/\d+(?:/0x[0-9a-f]+)?(?=\s|$)")
_PID = re.compile(r"\b([Pp][Ii][Dd])([ :=]{1,2})\d+\b")
_NUMBER = re.compile(r"(?<![\w.#:])-?\d+(?![\w.]|-bit)")
_QUOTED = re.compile(r"\"[^\"]{0,200}\"|'[^']{0,200}'|`[^']{0,200}'")
# print_lock() in kernel/locking/lockdep.c: "ADDRESS (NAME){usage}-{4:4}, at: ..."; not those that
# are only held ("#0: ..."), which differ from one way into the function to the next.
_LOCK = re.compile(r"\s{0,8}(?:[0-9a-f]{8,16}|\[<[0-9a-f]{8,16}>\])? ?\((?P<name>.{1,120}?)\)\{")
_SOURCE = re.compile(
    r"^(?:.*?/)??(?=(?:arch|block|certs|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net"
    r"|rust|samples|security|sound|tools|virt)/)"
)


def tells_where(text: str) -> bool:
    """Whether a line names the function in which the CPU stood."""
    return _WHERE.match(text) is not None


def guilty(lines: Iterable[str], first: str = "") -> str:
    """The function to blame for a report, or an empty string.

    :param lines: the report's lines.
    :param first: the function that the header names; it wins unless it is generic.

    Looked at in order: the header, where the CPU stood (RIP, pc), the frames of the traces.  Frames
    that the unwinder only guesses (``? name``) do not count, nor what stands before a report's
    ``Call Trace:`` (page_owner and lockdep print older traces there).
    """
    for name in _candidates(list(lines), first):
        if name and not is_generic(name):
            return plain_function(name)
    return ""


def _candidates(lines: list[str], first: str) -> Iterator[str]:
    yield first
    trace = next((i for i, text in enumerate(lines) if TRACE.match(text)), None)
    astray = False
    for text in lines[:trace]:
        if match := _WHERE.match(text):
            yield match["func"]
            astray = _FRAMELESS.fullmatch(plain_function(match["func"])) is not None
        elif _ASTRAY.match(text):
            astray = True
        elif astray and (match := _LINK.match(text)):
            yield match["func"]
    for text in lines[trace or 0 :]:
        if (match := FRAME.match(text)) and (astray or not match["guess"]):
            yield match["func"]
            astray = False


def source_path(path: str) -> str:
    """A source file's path from the top of the tree, wherever it was built."""
    return _SOURCE.sub("", path, count=1).removeprefix("./")


def neutral(text: str) -> str:
    """``text`` with addresses, offsets, CPUs, tasks and numbers replaced by placeholders."""
    text = _SUFFIXES.sub("", _OFFSET.sub("", text[:1000]))
    text = _TASK.sub(" TASK", text) if "/" in text or ":" in text else text
    text = _PID.sub(r"\1\2N", text)
    text = _CPU.sub("CPU", text)
    text = _HEX.sub("ADDR", text)
    text = _NUMBER.sub("N", text)
    return " ".join(text.split())[:MAX_TITLE].strip()


def skeleton(text: str) -> str:
    """What stays of a message however often it is printed: no numbers, names in quotes, paths."""
    words = neutral(_QUOTED.sub("", text)).split()
    return " ".join(w for w in words if not any(c.isdigit() or c == "/" for c in w))[:120]


def lock_classes(lines: Iterable[str]) -> tuple[str, ...]:
    """The first two locks that a lockdep report names, sorted: a cycle has no first lock."""
    names: list[str] = []
    for text in lines:
        if match := _LOCK.match(text):
            name = re.sub(r"#\d+", "", match["name"])
            names += [name] * (name not in names)
            if len(names) == 2:
                break
    return tuple(sorted(names))


def signature(kind: str, title: str, function: str, more: Iterable[str] = ()) -> str:
    """A stable name for a report: 16 hex digits over kind, neutral title and blamed function.

    :param more: what else tells two bugs of one function apart, where the report has it: the words
        of a WARN(), the classes of two locks.

    Source line numbers are left out, so that an unrelated change above keeps the signature.  So two
    WARN_ON() of one function share one: nothing in the log but the line tells them apart.
    """
    text = _LINE_NUMBER.sub(r"\1", title)
    data = "\0".join((kind, text, function, *more)).encode("utf-8", "replace")
    return hashlib.sha256(data).hexdigest()[:16]
