# SPDX-License-Identifier: GPL-2.0-only
"""The C text of each step of a random program, for a file that stands alone.  Pure.

To add a step: a line in :data:`STEPS`.  What it does is what ``guest-tests/explore/worker.h`` does;
numbers and layouts are those of the kernel's include/uapi at v6.12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.model.finds import Step


class NotTold(Exception):
    """Why a find cannot be told in a file of its own, in a sentence."""


@dataclass(frozen=True)
class StepText:
    """A C expression of type int that does a step: 0, its errno, or 1000 and the signal it raised.

    ``{at}`` and so on in ``text`` are the step's fields; ``words`` gives by field what a word
    stands for in C.  ``parts`` are the pieces of the file that it needs (:data:`PARTS`).
    """

    text: str
    parts: tuple[str, ...] = ()
    words: Mapping[str, Mapping[str, str]] | None = None


_PROT = {"none": "PROT_NONE", "r": "PROT_READ", "rw": "PROT_READ | PROT_WRITE"}
_MAP = {"private": "MAP_PRIVATE", "shared": "MAP_SHARED", "populate": "MAP_POPULATE",
        "noreserve": "MAP_NORESERVE"}  # fmt: skip


_FILE_WORDS = {
    "private": "MAP_PRIVATE", "shared": "MAP_SHARED",
    "private+populate": "MAP_PRIVATE | MAP_POPULATE",
    "shared+populate": "MAP_SHARED | MAP_POPULATE",
}  # fmt: skip


def _map_words() -> dict[str, str]:
    """``how=`` of mmap: its words joined by ``+``; what is not to replace must not be MAP_FIXED."""
    found = {}
    for kind in ("private", "shared"):
        for more in ("", "+noreplace", "+populate", "+noreplace+populate", "+noreserve"):
            words = f"{kind}{more}".split("+")
            fixed = "MAP_FIXED_NOREPLACE" if "noreplace" in words else "MAP_FIXED"
            flags = [_MAP[word] for word in words if word != "noreplace"]
            found["+".join(words)] = " | ".join(["MAP_ANONYMOUS", fixed, *flags])
    return found


def _advice(name: str) -> StepText:
    return StepText(f"ERR(madvise(at({{at}}), {{n}} * page, {name}))", (name,))


def _remap(length: str, flags: str, to: str = "") -> StepText:
    return StepText(f"ERR((long)mremap(at({{at}}), {{n}} * page, {length} * page, {flags}{to}))")


def _ioctl(name: str, value: str, **words: Mapping[str, str]) -> StepText:
    return StepText(f"ERR(ioctl(uffd, {name}, &(struct {value}))", ("uffd",), words or None)


_RANGE = "{{ (uintptr_t)at({at}), {n} * page }}"
_MODES = {
    "missing": "UFFDIO_REGISTER_MODE_MISSING",
    "wp": "UFFDIO_REGISTER_MODE_WP",
    "missing+wp": "UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP",
    "minor": "(1 << 2) /* UFFDIO_REGISTER_MODE_MINOR */",
}
_MOVE_MODES = {"strict": "0", "holes": "UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES"}

STEPS: dict[str, StepText] = {
    "mmap": StepText(
        "ERR((long)mmap(at({at}), {n} * page, {prot}, {how}, -1, 0))", (),
        {"prot": _PROT, "how": _map_words()},
    ),
    "mmap-file": StepText(
        "ERR((long)mmap(at({at}), {n} * page, {prot}, MAP_FIXED | {how}, memfd[{file}], "
        "{from} * page))", ("files",), {"prot": _PROT, "how": _FILE_WORDS},
    ),
    "truncate": StepText("ERR(ftruncate(memfd[{file}], {len} * page))", ("files",)),
    "punch": StepText(
        "ERR(fallocate(memfd[{file}], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, {from} * page, "
        "{n} * page))", ("files",),
    ),
    "file-write": StepText("file_write({file}, {from}, {byte})", ("files", "file-write")),
    "file-read": StepText("file_read({file}, {from}, {spot})", ("files", "file-read")),
    "munmap": StepText("ERR(munmap(at({at}), {n} * page))"),
    "resize": _remap("{len}", "0"),
    "remap": _remap("{len}", "MREMAP_MAYMOVE | MREMAP_FIXED", ", at({to})"),
    "remap-dontunmap": _remap(
        "{n}", "MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP", ", at({to})"
    ),
    "mprotect": StepText("ERR(mprotect(at({at}), {n} * page, {prot}))", (), {"prot": _PROT}),
    "mlock": StepText("ERR(mlock(at({at}), {n} * page))"),
    "mlock-onfault": StepText("ERR(mlock2(at({at}), {n} * page, MLOCK_ONFAULT))"),
    "munlock": StepText("ERR(munlock(at({at}), {n} * page))"),
    "dontneed": _advice("MADV_DONTNEED"),
    "free": _advice("MADV_FREE"),
    "cold": _advice("MADV_COLD"),
    "pageout": _advice("MADV_PAGEOUT"),
    "willneed": _advice("MADV_WILLNEED"),
    "remove": _advice("MADV_REMOVE"),
    "guard": _advice("MADV_GUARD_INSTALL"),
    "unguard": _advice("MADV_GUARD_REMOVE"),
    "populate-read": _advice("MADV_POPULATE_READ"),
    "populate-write": _advice("MADV_POPULATE_WRITE"),
    "hugepage": _advice("MADV_HUGEPAGE"),
    "nohugepage": _advice("MADV_NOHUGEPAGE"),
    "collapse": _advice("MADV_COLLAPSE"),
    "mergeable": _advice("MADV_MERGEABLE"),
    "unmergeable": _advice("MADV_UNMERGEABLE"),
    "dontfork": _advice("MADV_DONTFORK"),
    "dofork": _advice("MADV_DOFORK"),
    "wipeonfork": _advice("MADV_WIPEONFORK"),
    "keeponfork": _advice("MADV_KEEPONFORK"),
    "read": StepText(
        "TRY(value = *(volatile unsigned char *)spot({at}, {spot}))", ("try", "value")
    ),
    "write": StepText("TRY(memset(at({at}), {byte}, page))", ("try",)),
    "poke": StepText("TRY(*(volatile unsigned char *)spot({at}, {spot}) = {byte})", ("try",)),
    "vfork": StepText("poke_by_child({at}, {spot}, {byte})", ("try", "vfork")),
    "vm-read": StepText("read_of({to}, {at}, {spot})", ("vm-read",)),
    "vm-write": StepText("write_to({to}, {at}, {byte})", ("vm-write",)),
    "process-madvise": StepText(
        "advise_other({to}, {at}, {n}, {how})", ("process-madvise", "MADV_COLD", "MADV_PAGEOUT"),
        {"how": {"cold": "MADV_COLD", "pageout": "MADV_PAGEOUT", "willneed": "MADV_WILLNEED"}},
    ),
    "pagemap-scan": StepText(
        "scan({at}, {n}, {how})", ("pagemap-scan",), {"how": {"look": "0", "protect": "1"}},
    ),
    "pin": StepText("pin({at}, {n})", ("ring", "pin")),
    "unpin": StepText("unpin()", ("ring", "unpin")),
    "vmsplice": StepText("splice_in({at})", ("pipe", "vmsplice")),
    "drain": StepText("drain()", ("pipe", "drain")),
    "userfaultfd": StepText(
        "open_uffd({how})", ("uffd",),
        {"how": {"plain": "0", "markers": "UFFD_FEATURE_WP_UNPOPULATED",
                 "async": "UFFD_FEATURE_WP_UNPOPULATED | (1 << 15) /* UFFD_FEATURE_WP_ASYNC */"}},
    ),
    "register": _ioctl(
        "UFFDIO_REGISTER", f"uffdio_register){{{{ .range = {_RANGE}, .mode = {{how}} }}}}",
        how=_MODES,
    ),
    "unregister": _ioctl("UFFDIO_UNREGISTER", f"uffdio_range){_RANGE}"),
    "wake": _ioctl("UFFDIO_WAKE", f"uffdio_range){_RANGE}"),
    "writeprotect": _ioctl(
        "UFFDIO_WRITEPROTECT",
        f"uffdio_writeprotect){{{{ .range = {_RANGE}, .mode = UFFDIO_WRITEPROTECT_MODE_WP }}}}",
    ),
    "unprotect": _ioctl(
        "UFFDIO_WRITEPROTECT", f"uffdio_writeprotect){{{{ .range = {_RANGE} }}}}"
    ),
    "copy": StepText(
        "copy({at}, {n}, {byte}, {how})", ("uffd", "copy"),
        {"how": {"plain": "0", "wp": "UFFDIO_COPY_MODE_WP"}},
    ),
    "zeropage": StepText("zeropage({at}, {n})", ("uffd", "zeropage")),
    "move": StepText("move({at}, {n}, {to}, {how})", ("uffd", "move"), {"how": _MOVE_MODES}),
    "poison": StepText("poison({at}, {n})", ("uffd", "poison")),
    "continue": StepText("go_on({at}, {n})", ("uffd", "continue")),
    "close": StepText("close_uffd()", ("uffd", "close")),
    # Done by who tells the processes, in its own words: PROCESS is the step's.
    "clear-soft-dirty": StepText("clear_soft_dirty({process})", ("clear",)),
    "reclaim": StepText(
        "reclaim({how})", ("processes", "group"), {"how": {"some": '"128K"', "all": '"64M"'}},
    ),
    "ksm-scan": StepText(
        "ksm_scan({how})", ("ksm",), {"how": {"plain": "0", "zeros": "1", "unmerge": "2"}},
    ),
    "folios": StepText("folios()", ("folios",)),
    "split": StepText("split({process}, {at}, {n})", ("split",)),
    "fork": StepText("born({to})", ("processes", "fork")),
    "exit": StepText("gone({process}, 0)", ("processes", "gone")),
    "kill": StepText("gone({process}, SIGKILL)", ("processes", "gone")),
}  # fmt: skip
#: Steps that are done from outside of their process.
FROM_OUTSIDE = frozenset(
    {"clear-soft-dirty", "exit", "folios", "kill", "ksm-scan", "reclaim", "split"}
)
#: Steps of which the kernel is free to do more or less: what they came to has to be looked at.
FREE = frozenset({"pageout", "cold", "free", "willneed", "collapse", "mergeable", "hugepage",
                  "process-madvise", "reclaim", "ksm-scan", "folios"})  # fmt: skip
#: What is called before any step where the file has such a part.
FIRST = {
    "files": "make_files();",
    "group": "make_group();",
    "ksm": "know_ksm();",
    "folios": "know_folios();",
}
#: What a process that is born lets go of where the file has such a part.
LETS_GO = {
    "uffd": "if (uffd >= 0)\n\t\tclose(uffd);\n\tuffd = -1;",
    "ring": "if (ring >= 0)\n\t\tclose(ring);\n\tring = -1;",
    "pipe": "close_pipe();",
}


def expression(step: Step) -> str:
    """The C expression that does a step.

    :raises NotTold: when there is no text for it, or it has a field or a word that is not known.
    """
    known = STEPS.get(step.name)
    if known is None:
        raise NotTold(f"there is no C text for the step {step.name!r} yet")
    values = {"process": str(step.process)}
    for name, value in step.fields.items():
        if f"{{{name}}}" not in known.text:
            raise NotTold(f"the C text of {step.name!r} knows no {name}=")
        words = (known.words or {}).get(name)
        if words is None and not value.isdigit():
            raise NotTold(f"the C text of {step.name!r} knows no {name}={value}")
        if words is not None and value not in words:
            raise NotTold(f"the C text of {step.name!r} knows no {name}={value}")
        values[name] = words[value] if words is not None else value
    # What steps leave out is what step_parse() of step.h takes for it: nothing, the first word.
    for name in ("prot", "how"):
        if f"{{{name}}}" in known.text:
            values.setdefault(name, next(iter((known.words or {}).get(name, {"": "0"}).values())))
    for name in ("at", "n", "len", "to", "byte", "spot", "file", "from"):
        values.setdefault(name, "0")
    return known.text.format(**values)


# ---------------------------------------------------------------- pieces of the file


def _pieces() -> dict[str, str]:
    """The pieces of ``templates/reproducer.c`` by their names, in their order."""
    text = Path(__file__).with_name("templates").joinpath("reproducer.c").read_text("utf-8")
    _, *found = text.split("\n//: ")
    return {name: body.rstrip("\n") for name, _, body in (one.partition("\n") for one in found)}


#: What a file may need above its steps, in the order in which it stands there; ``head`` it always
#: needs.
PARTS = _pieces()
#: What a part needs of the others.
NEEDS: dict[str, tuple[str, ...]] = {
    "copy": ("done",), "zeropage": ("done",), "move": ("done",), "poison": ("done",),
    "continue": ("done",), "file-read": ("value",), "vm-read": ("value",), "frames": ("entry",),
    "counted": ("frames",),
    "letter": ("frames",), "before": ("letter",), "exact": ("count",), "dirty": ("entry",),
}  # fmt: skip
