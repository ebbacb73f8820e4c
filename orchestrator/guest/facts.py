# SPDX-License-Identifier: GPL-2.0-only
"""What a booted guest really has: its configuration, swap, huge pages, nodes."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.guest.boot import Guest
from orchestrator.guest.ssh import SshLost

# One command, one round trip.  Sections start with "== NAME".
_QUESTION = """
section() { echo "== $1"; }
section config; zcat /proc/config.gz 2>/dev/null
status=$?; section configstatus; echo $status
section swaps; cat /proc/swaps 2>/dev/null
section thp; cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null
section ksm; ls /sys/kernel/mm/ksm/run 2>/dev/null
section nodes; ls -d /sys/devices/system/node/node[0-9]* 2>/dev/null
section hugepages; ls -d /sys/kernel/mm/hugepages/* 2>/dev/null
section pagesize; grep -m1 KernelPageSize /proc/self/smaps 2>/dev/null
section cpus; cat /sys/devices/system/cpu/online 2>/dev/null
section present; grep -w present /proc/zoneinfo 2>/dev/null
section notes; base64 /sys/kernel/notes 2>/dev/null
section uname; uname -r
section uid; id -u
"""


# Of the kernel's own; more digits are none of its.
_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True)
class Facts:
    """The answers.  ``config`` is the text of /proc/config.gz, empty where the guest has none.

    ``has`` holds the words of a manifest's ``needs`` that this guest fulfils; ``page_size`` is in
    bytes; ``release`` is uname -r.  ``swaps`` are the devices in use, ``cpus`` and ``nodes`` how
    many are online, ``memory_mib`` is what the page allocator's zones hold; 0 where it is not told.
    ``notes`` is /sys/kernel/notes, the running kernel's ELF notes.
    """

    config: str
    has: frozenset[str]
    page_size: int
    release: str
    swaps: tuple[str, ...] = ()
    nodes: int = 0
    cpus: int = 0
    memory_mib: float = 0.0
    notes: bytes = b""


def read_facts(guest: Guest) -> Facts:
    """Ask the guest.

    :raises SshLost: when it does not answer, or not to the end.
    """
    answer = guest.ssh.run(_QUESTION, 20.0 * guest.slowness)
    if answer.status != 0 or "\n== uid\n" not in answer.stdout:
        said = answer.stderr.strip().splitlines()[:1]
        raise SshLost(
            f"the guest did not tell what it has: status {answer.status}"
            + "".join(f", {line}" for line in said)
        )
    return parse(answer.stdout)


def parse(text: str) -> Facts:
    """Read the answer's sections."""
    parts: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("== "):
            name = line[3:]
            parts[name] = []
        elif name:
            parts[name].append(line)
    if parts.get("configstatus", ["0"])[:1] != ["0"]:
        parts["config"] = []  # half a configuration is none
    get = {key: [line for line in lines if line.strip()] for key, lines in parts.items()}
    has = {
        "swap": len(get.get("swaps", [])) > 1,  # the first line is the heading
        "thp": any("[never]" not in line for line in get.get("thp", [])),
        "ksm": bool(get.get("ksm")),
        "numa": len(get.get("nodes", [])) > 1,
        "hugepages": bool(get.get("hugepages")),
        "root": get.get("uid", [""])[:1] == ["0"],
    }
    size = next(iter(get.get("pagesize", [])), "").split()
    page_size = int(size[1]) * 1024 if len(size) > 1 and _NUMBER.fullmatch(size[1]) else 4096
    words = (line.split() for line in get.get("present", []))
    present = sum(int(word[1]) for word in words if len(word) > 1 and _NUMBER.fullmatch(word[1]))
    return Facts(
        config="\n".join(parts.get("config", [])),
        has=frozenset(word for word, there in has.items() if there),
        page_size=page_size,
        release=next(iter(get.get("uname", [])), ""),
        swaps=tuple(line.split()[0] for line in get.get("swaps", [])[1:]),
        nodes=len(get.get("nodes", [])),
        cpus=_count(next(iter(get.get("cpus", [])), "")),
        memory_mib=present * page_size / 2**20,
        notes=_decoded("".join(get.get("notes", []))),
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one, and what is not ASCII gives another
        return b""


def _count(cpus: str) -> int:
    """How many CPUs a list as ``0-3,5`` has (cputopology.rst); 0 where it is none."""
    count = 0
    for piece in cpus.strip().split(","):
        first, _, last = piece.partition("-")
        if not _NUMBER.fullmatch(first) or not _NUMBER.fullmatch(last or first):
            return 0
        count += int(last or first) - int(first) + 1
    return count


def unmet(
    needs: tuple[str, ...], facts: Facts, config: Mapping[str, str], *, modules: bool = False
) -> str:
    """The first need that this guest does not meet, as a reason to skip; empty when all are met.

    :param config: the guest's configuration, symbol to value.
    :param modules: whether the guest has its kernel's modules.
    """
    for need in needs:
        if need.startswith("CONFIG_"):
            value = config.get(need.removeprefix("CONFIG_"), "n")
            if value == "m" and not modules:
                return f"the kernel has {need} as a module, and its config no `modules: true`"
            if value == "n":
                return f"the kernel has no {need}"
        elif need not in facts.has:
            return _MISSING.get(need, f"the guest has no {need}")
    return ""


_MISSING = {
    "swap": "no swap in this guest",
    "thp": "no transparent huge pages in this guest",
    "ksm": "the kernel has no KSM",
    "numa": "the guest has one NUMA node",
    "hugepages": "the kernel has no huge pages",
}
