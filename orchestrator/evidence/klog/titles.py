# SPDX-License-Identifier: GPL-2.0-only
"""The words of a kernel-log report's title without what differs from run to run; its signature."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from orchestrator.evidence.klog.roles import SUFFIX

MAX_TITLE = 200

_SUFFIXES = re.compile(f"(?:{SUFFIX})+\\b")

_LINE_NUMBER = re.compile(r"(\.[a-zA-Z]{1,3}):\d+(?::\d+)?")
_OFFSET = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
_HEX = re.compile(r"(?<!exitcode=)\b(?:0x[0-9a-fA-F]{5,}|(?=[0-9a-f]*\d)[0-9a-f]{8,16})\b")
_CPU = re.compile(r"\b(?:CPU ?#?|cpu[ =:]?#?)\d+\b")
_TASK = re.compile(
    r" ?\[[^\[\]]{1,40}:\d+\]|\b[\w.-]{1,30}\[\d+\](?=:)"
    r"|\b[\w./-]{1,40}/\d+(?:/0x[0-9a-f]+)?(?=\s|$)"
)
_PID = re.compile(r"\b([Pp][Ii][Dd])([ :=]{1,2})\d+\b")
_NUMBER = re.compile(r"(?<![\w.#:])-?\d+(?![\w.]|-bit)")
_QUOTED = re.compile(r"\"[^\"]{0,200}\"|'[^']{0,200}'|`[^']{0,200}'")
# print_lock() in kernel/locking/lockdep.c: "ADDRESS (NAME){usage}-{4:4}, at: ..."; not those that
# are only held ("#0: ..."), which differ from one way into the function to the next.
_LOCK = re.compile(r"\s{0,8}(?:[0-9a-f]{8,16}|\[<[0-9a-f]{8,16}>\])? ?\((?P<name>.{1,120}?)\)\{")
# The name of a work queue ends in what it serves: loop0, foo-82.
_QUEUE = re.compile(r"^(\(wq_completion\).*?)-?\d+$")
# mm/kasan/report.c: one bug, in the words of v4.9, v5.8 and v6.3.
_FREE = re.compile(r"\b(?:double-free or invalid-free|double-free|invalid-free)\b")
# A task, an unprinted pointer, a file or a device in the words of whoever calls it a bug.
_NAMED = re.compile(r"(?<= in )\S{1,60}:\d+(?= )|\(ptrval\)|\{[^{}]{0,200}\}")
_SOURCE = re.compile(
    r"^(?:.*?/)??(?=(?:arch|block|certs|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net"
    r"|rust|samples|security|sound|tools|virt)/)"
)


def source_path(path: str) -> str:
    """A source file's path from the top of the tree, wherever it was built."""
    return _SOURCE.sub("", path, count=1).removeprefix("./")


def neutral(text: str) -> str:
    """``text`` with addresses, offsets, CPUs, tasks and numbers replaced by placeholders."""
    text = _NAMED.sub("TASK", _SUFFIXES.sub("", _OFFSET.sub("", text[:1000])))
    text = _TASK.sub(" TASK", text) if "/" in text or ":" in text else text
    text = _PID.sub(r"\1\2N", text)
    text = _CPU.sub("CPU", text)
    text = _HEX.sub("ADDR", text)
    text = _NUMBER.sub("N", text)
    return " ".join(text.split())[:MAX_TITLE].strip()


def stable(kind: str, title: str) -> str:
    """A title as it stands in a signature: neutral, and no more than a skeleton where anybody's
    words are the title."""
    if kind in ("bug", "warning-text"):
        return skeleton(title)
    return _FREE.sub("invalid-free", neutral(title)) if kind == "kasan" else neutral(title)


def skeleton(text: str) -> str:
    """What stays of a message however often it is printed: no numbers, names in quotes, paths."""
    words = neutral(_QUOTED.sub("", text)).split()
    return " ".join(w for w in words if not any(c.isdigit() or c == "/" for c in w))[:120]


def lock_classes(lines: Iterable[str]) -> tuple[str, ...]:
    """The first two locks that a lockdep report names, sorted: a cycle has no first lock."""
    names: list[str] = []
    for text in lines:
        if match := _LOCK.match(text):
            name = _QUEUE.sub(r"\1", re.sub(r"#\d+", "", match["name"]))
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
