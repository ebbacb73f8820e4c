# SPDX-License-Identifier: GPL-2.0-only
"""The kernel-log reader against the logs of syzkaller's pkg/report.

Format: parseReport() and parseGuiltyTest() in pkg/report/report_test.go.  A file is named by a
number and begins with headers (``TITLE:``, ``ALT:``, ``CORRUPTED: Y``, ...; ``#`` is a comment), an
empty line, and the log; the report that is to come of it may follow behind ``REPORT:``.  Without a
title no crash is to be found.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from peers_table import Difference, Measured, PeersError, Row

from orchestrator.evidence.klog.parse import parse
from orchestrator.model.evidence import Hit

#: The logs of Linux in a checkout.
DATA = Path("pkg/report/testdata/linux")
_HEADER = re.compile(r"(?P<name>[A-Z_]+):(?: +(?P<value>.*))?$")
# Syzkaller numbers what comes back, and names a file's line of a WARNING behind a slash.
_AGAIN = re.compile(r" \(\d+\)$")
_NAMED = re.compile(
    r" in (?P<first>[A-Za-z_][\w.]*)(?: / (?P<second>[A-Za-z_][\w.]*)|/[a-z_]\w*)?$"
)
# A title's place for a function that was not found.
_NO_FUNCTION = "corrupted"
# What syzkaller takes off a name: stripFramePrefixes in pkg/report/linux.go.
_PREFIXES = (
    "SYSC_", "SyS_", "sys_", "__x64_", "__ia32_", "__arm64_", "____sys_", "___sys_", "__sys_",
    "__se_", "__se_sys_", "__do_sys_", "compat_SYSC_", "compat_SyS_", "ksys_",
)  # fmt: skip
#: Registers and entry points by which a log tells its architecture; the first that fits counts.
_ARCHES = tuple(
    (name, re.compile(sign))
    for name, sign in (
        ("x86_64", rb"\bR[IS]P: |\bRAX: |\b(?:entry_SYSCALL_64|do_syscall_64)\b"),
        ("arm64", rb"\bpstate ?: [0-9a-f]{8}|\bx29 ?: |\bel[01]t?h?_(?:64_)?(?:svc|sync)\b"),
        ("i386", rb"\bEIP: "),
        ("powerpc", rb"\bNIP \[|\bNIP:|\bGPR00: "),
        ("s390x", rb"\bKrnl (?:PSW|GPRS)"),
        ("mips", rb"\$ ?0 +: [0-9a-f]{8}"),
        ("riscv", rb"\bepc ?: [0-9a-f]{8}|\bbadaddr: |\bret_from_(?:syscall|exception)\+"),
        ("arm", rb"\bPC is at |\bpc : \[<[0-9a-f]{8}>\]|\bunwind_backtrace\b"),
        ("x86_64", rb"\bHardware name: .{0,20}(?:Google Compute Engine|Standard PC)"),
    )
)
#: The lab's own, and a log that tells none.
OWN_ARCHES = ("x86_64", "arm64", "")


@dataclass(frozen=True)
class Log:
    """One file of the suite: ``titles`` are its title and what else syzkaller would call it."""

    name: str
    title: str
    titles: frozenset[str]
    corrupted: bool
    text: bytes
    file: str = ""


@dataclass(frozen=True)
class Read:
    """A file and what the lab reads out of it."""

    log: Log
    hits: tuple[Hit, ...]

    @property
    def first(self) -> Hit | None:
        """The report that syzkaller's title speaks of: the first one."""
        return self.hits[0] if self.hits else None

    def differs(self, peer: str, lab: str) -> Difference:
        """A difference of this file."""
        return Difference(self.log.name, peer, lab, self.log.title, arch_of(self.log.text))


def read_log(path: Path, name: str) -> Log:
    """Read one file.

    :raises ValueError: when it is not in the suite's format.
    :raises OSError: when it cannot be read.
    """
    lines = path.read_bytes().replace(b"\r", b"").split(b"\n")
    headers: dict[str, list[str]] = defaultdict(list)
    body = 0
    for body, raw in enumerate(lines, 1):
        line = raw.decode("utf-8", "replace")
        if not line:
            break
        match = _HEADER.match(line)
        if match is None and not line.startswith("#"):
            raise ValueError(f"line {body} is no header: {line[:60]}")
        if match is not None:
            headers[match["name"]].append((match["value"] or "").strip())
    log = lines[body:]
    for number in range(1, len(log)):
        if log[number] == b"REPORT:" and not log[number - 1]:
            log = log[:number]
            break
    text = b"\n".join(log)
    if not text.strip():
        raise ValueError("it has no log")
    corrupted = headers["CORRUPTED"] or ["N"]
    if corrupted[-1] not in ("Y", "N"):
        raise ValueError(f"CORRUPTED: {corrupted[-1]} is neither Y nor N")
    title = (headers["TITLE"] or [""])[-1]
    titles = frozenset(_AGAIN.sub("", one) for one in [title, *headers["ALT"]] if one)
    return Log(name, title, titles, corrupted[-1] == "Y", text, (headers["FILE"] or [""])[-1])


def hits_of(log: Log) -> tuple[Hit, ...]:
    """What the lab reads in a log."""
    return tuple(parse(log.text.split(b"\n")))


def arch_of(text: bytes) -> str:
    """The architecture that a log's registers tell; empty where it shows none.

    The suite has no header for it: all its files are read as amd64.
    """
    return next((name for name, sign in _ARCHES if sign.search(text)), "")


def functions_of(title: str) -> frozenset[str]:
    """The function that a title names, both of a data race; empty where it names none."""
    match = _NAMED.search(_AGAIN.sub("", title))
    names = [name for name in match.groups() if name] if match else []
    return frozenset(bare(name) for name in names if name != _NO_FUNCTION)


def bare(name: str) -> str:
    """A function's name without the compiler's suffixes and the prefixes of system calls."""
    name, before = name.partition(".")[0], ""
    while name != before:
        before = name
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix) or name
    return name


def measure(folder: Path) -> Measured:
    """Read the logs of a checkout of syzkaller, and compare.

    :raises PeersError: when the folder holds no such logs.
    """
    unread: list[tuple[str, str]] = []
    found = logs(folder, "report", unread)
    reads = [Read(log, hits_of(log)) for log in found]
    crashes = [read for read in reads if read.log.title]
    named = [read for read in crashes if functions_of(read.log.title)]
    own = "the same on x86_64, arm64, or of no architecture"
    rows = [
        _crash("crash", "kernel log: a crash is a hit", crashes),
        _crash(
            "crash-own-arch", own,
            [read for read in crashes if arch_of(read.log.text) in OWN_ARCHES],
        ),
        _quiet([read for read in reads if not read.log.title]),
        _function("function", "kernel log: the function to blame", named),
        _function(
            "function-own-arch", own, [r for r in named if arch_of(r.log.text) in OWN_ARCHES]
        ),
        _two_bugs([read for read in named if read.first]),
        _one_bug([read for read in crashes if read.first]),
        _corrupted(crashes),
        _guilty(folder, unread),
    ]  # fmt: skip
    return Measured(tuple(rows), tuple(unread))


def logs(folder: Path, kind: str, unread: list[tuple[str, str]]) -> Iterator[Log]:
    """The files of one of the suite's folders in the order of their numbers.

    Those that cannot be read are put into ``unread``.

    :raises PeersError: when there are none.
    """
    place = folder / DATA / kind
    try:
        files = [path for path in place.iterdir() if re.fullmatch(r"[0-9]+", path.name)]
    except OSError as error:
        raise PeersError(
            f"{place} cannot be read ({error.strerror}): "
            "--syzkaller takes a checkout of github.com/google/syzkaller"
        ) from error
    if not files:
        raise PeersError(f"{place} holds no log: --syzkaller takes a whole checkout")
    for path in sorted(files, key=lambda path: int(path.name)):
        name = f"{kind}/{path.name}"
        try:
            yield read_log(path, name)
        except (OSError, ValueError) as error:
            unread.append((str(DATA / name), str(error)))


def _row(key: str, reader: str, cases: int, differences: Sequence[Difference], note: str = "",
         kind: str = "report") -> Row:  # fmt: skip
    return Row(key, reader, f"syzkaller {DATA / kind}", cases, tuple(differences), note)


def _crash(key: str, reader: str, crashes: Sequence[Read]) -> Row:
    missed = [r.differs(r.log.title, "no hit") for r in crashes if not r.hits]
    return _row(key, reader, len(crashes), missed)


def _quiet(reads: Sequence[Read]) -> Row:
    loud = [r.differs("no crash", f"hit: {r.first.title}") for r in reads if r.first]
    return _row("quiet", "kernel log: quiet logs stay quiet", len(reads), loud)


def _function(key: str, reader: str, reads: Sequence[Read]) -> Row:
    other = [
        read.differs(
            " or ".join(sorted(functions_of(read.log.title))),
            (read.first.blamed or f"no function: {read.first.title}") if read.first else "no hit",
        )
        for read in reads
        if read.first is None or bare(read.first.blamed) not in functions_of(read.log.title)
    ]
    return _row(key, reader, len(reads), other)


def _two_bugs(reads: Sequence[Read]) -> Row:
    """Pairs of logs of which syzkaller would merge neither into the other."""
    pairs, merged = 0, []
    for one, other in itertools.combinations(reads, 2):
        if one.log.titles & other.log.titles or one.first is None or other.first is None:
            continue
        pairs += 1
        if one.first.signature == other.first.signature:
            merged.append((one, other, one.first))
    differences = [
        Difference(
            f"{one.log.name} + {other.log.name}", f"{one.log.title}; {other.log.title}",
            f"{hit.signature} ({hit.title})", f"{one.log.title}; {other.log.title}",
        )
        for one, other, hit in merged
    ]  # fmt: skip
    signatures = len({hit.signature for _, _, hit in merged})
    return _row(
        "two-bugs", "kernel log: two bugs have two signatures (pairs of logs)", pairs, differences,
        f"pairs under one signature: {len(merged)}; such signatures: {signatures}",
    )  # fmt: skip


def _one_bug(reads: Sequence[Read]) -> Row:
    """Titles that several logs have."""
    groups: dict[str, list[Read]] = defaultdict(list)
    for read in reads:
        groups[_AGAIN.sub("", read.log.title)].append(read)
    several = {title: group for title, group in groups.items() if len(group) > 1}
    split = []
    for title, group in several.items():
        hits = {read.first.signature: read.first.title for read in group if read.first}
        if len(hits) > 1:
            told = "; ".join(f"{signature} ({name})" for signature, name in hits.items())
            files = " + ".join(read.log.name for read in group)
            split.append(Difference(files, "one bug", told, title))
    return _row(
        "one-bug", "kernel log: one bug has one signature (titles of several logs)", len(several),
        split,
    )  # fmt: skip


def _corrupted(reads: Sequence[Read]) -> Row:
    words = {True: "corrupted", False: "whole"}
    other = [
        read.differs(words[read.log.corrupted], words[hit.corrupted] if hit else "no hit")
        for read in reads
        if (hit := read.first) is None or hit.corrupted != read.log.corrupted
    ]
    return _row("corrupted", "kernel log: cut or mixed reports are told", len(reads), other)


def _guilty(folder: Path, unread: list[tuple[str, str]]) -> Row:
    cases, other = 0, []
    for kind in ("guilty", "guilty_raw"):
        if kind == "guilty_raw" and not (folder / DATA / kind).is_dir():
            continue  # older checkouts
        for log in logs(folder, kind, unread):
            cases += 1
            read = Read(log, hits_of(log))
            hit = read.first
            file = (hit.source or "none") if hit else "no hit"
            if file != (log.file or "none"):
                other.append(read.differs(log.file or "none", file))
    return _row("file", "kernel log: the file to blame", cases, other, kind="guilty")
