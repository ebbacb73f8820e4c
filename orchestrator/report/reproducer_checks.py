# SPDX-License-Identifier: GPL-2.0-only
"""Each rule of the model as C that holds the kernel against it, in a file by itself.  Pure.

What is expected is read from what the explorer said of the find: the words are those of
``guest-tests/explore/look.h`` and ``run.h``.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.model.finds import Find, Step
from orchestrator.report.reproducer_steps import NotTold


@dataclass(frozen=True)
class Check:
    """What is held against the model once the last step is done.

    ``model`` says what it expects, in words.  ``text`` are C statements that set ``wrong`` and
    print what was seen; ``answers``: it looks at what the last step came to, which is in ``got``.
    ``parts`` are those of :data:`.PARTS` that it needs, ``first`` what is called before any step.
    ``apart``: who looks must be another process than the one that is looked at.
    """

    model: str
    text: tuple[str, ...]
    parts: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    answers: bool = False
    apart: bool = False


_SIGNALS = ("SIGSEGV", "SIGBUS")
# The states of look.h by the letters of the part "letter".
_LETTERS = {"none": ".", "zero-page": "z", "present": "p", "swapped": "s", "marker": "m",
            "shared-present": "h", "poison": "x", "guard": "g"}  # fmt: skip
# The flags of smaps by the words of attr_text() in look.h; of the two of a lock the first decides.
_FLAGS = {"shared": "sh", "hugepage": "hg", "nohugepage": "nh", "missing": "um", "wp": "uw",
          "minor": "ui", "dontfork": "dc", "wipeonfork": "wf", "mergeable": "mg"}  # fmt: skip
_MEMFDS = {"memfd0": "explore-a", "memfd1": "explore-b"}


def code_of(name: str) -> str:
    """What a step came to, as the C of the file has it: 0, an errno, 1000 and a signal.

    :raises NotTold: when it is none of them.
    """
    if name in ("", "success"):
        return "0"
    if name in _SIGNALS:
        return f"1000 + {name}"
    if not hasattr(errno, name):
        raise NotTold(f"a step came to {name!r}, which is no errno and no signal")
    return name


def _match(pattern: str, find: Find) -> re.Match[str]:
    match = re.fullmatch(pattern, find.said, re.ASCII)
    if match is None:
        raise NotTold(f"what {find.rule} expects is not told in a form that C could be made of")
    return match


def _answer(find: Find, _last: Step) -> Check:
    match = _match(r"got (\w+), expected (\w+(?: or \w+)*)(?: \(some pages were done\))?", find)
    codes = [code_of(name) for name in match[2].split(" or ")]
    wrong = " && ".join(f"got != {code}" for code in codes)
    return Check(
        f"it comes to {match[2]}",
        (f"wrong = {wrong};", f'printf("came to: %s; expected {match[2]}\\n", name(got));'),
        answers=True,
    )


def _done(_find: Find, last: Step) -> Check:
    pages = last.fields.get("n", "0")
    return Check(
        "success with all pages done, EAGAIN with some, anything else with none",
        (f"wrong = !got ? done != {pages} : got == EAGAIN ? !done || done >= {pages} : done != 0;",
         f'printf("came to %s with %d of {pages} pages done\\n", name(got), done);'),
        ("done",),
        answers=True,
    )  # fmt: skip


def _read(find: Find, _last: Step) -> Check:
    match = _match(r"read \d+, expected (\d+(?: or \d+)?)", find)
    wrong = " && ".join(f"value != {byte}" for byte in match[1].split(" or "))
    return Check(
        f"it reads {match[1]}",
        (f"wrong = {wrong};", f'printf("read %d; expected {match[1]}\\n", value);'),
        ("value",),
    )


def _bytes(find: Find, _last: Step) -> Check:
    match = _match(
        r"page (\d+) \([\w ]+\) has byte \d+ at offset (\d+), expected (\d+(?: or \d+)?)", find
    )
    at, offset, bytes_ = match[1], match[2], match[3]
    wrong = " && ".join(f"is != {byte}" for byte in bytes_.split(" or "))
    return Check(
        f"page {at} holds {bytes_} at offset {offset}",
        (f"is = byte_in_memory({find.process}, {at}, {offset});", f"wrong = {wrong};",
         f'printf("page {at} holds %d at offset {offset}; expected {bytes_}\\n", is);'),
        ("entry", "byte", "is"),
    )  # fmt: skip


def _mapping(find: Find, _last: Step) -> Check:
    if "of its memfd" in find.said:
        return _offset(find)
    match = _match(r"page (\d+): its mapping is [\w -]+, expected ([\w -]+)", find)
    at, words = match[1], match[2].split()
    want: list[str] = []
    look = ["rd", "wr", "lo", "lf", *_FLAGS.values()]
    for word in words:
        if word in ("r", "rw"):
            want += ["rd", "wr"][: len(word)]
        elif word == "locked":
            want.append("lo")
        elif word == "locked-on-fault":
            want += ["lo", "lf"]
        elif word in _FLAGS:
            want.append(_FLAGS[word])
        elif word not in ("none", "unmapped", *_MEMFDS):
            raise NotTold(f"what smaps shows of a mapping that is {word!r} is not known here")
    told, nul = " ".join(want), "\\0"
    mapped = "!*is" if words != ["unmapped"] else "!!*is"
    return Check(
        f"the mapping of page {at} is {match[2]}",
        (f"is = flags({find.process}, {at});", f"wrong = {mapped};",
         # Each flag is a string of its own in this one.
         f'for (const char *flag = "{nul.join(look)}{nul}"; *flag; flag += 3)',
         f'\twrong |= !strstr(is, flag) != !strstr("{told}", flag);',
         *_backing(find, words),
         f'printf("page {at}: smaps has \\"%.*s\\"; expected of these {match[2]} ({told})\\n",',
         '       (int)strcspn(is, "\\n"), is);'),
        ("flags", "line"),
    )  # fmt: skip


def _backing(find: Find, words: list[str]) -> list[str]:
    """The lines that hold what a mapping is of, where a memfd is in question."""
    if "memfd" not in find.said:
        return []
    name = next((name for word, name in _MEMFDS.items() if word in words), "")
    no = "!" if name else "!!"
    return [f'wrong |= {no}strstr(mapping, "/memfd:{name}");']


def _offset(find: Find) -> Check:
    match = _match(r"page (\d+) maps page \d+ of its memfd, expected (\d+)", find)
    at, want = match[1], match[2]
    return Check(
        f"page {at} maps page {want} of its memfd",
        (f'if (!*flags({find.process}, {at}) || !strstr(mapping, "/memfd:explore-"))',
         '\tunsure("the page maps no memfd");',
         f"is = (int)(offset / page + ((uintptr_t)at({at}) - begins) / page);",
         f"wrong = is != {want};",
         f'printf("page {at} maps page %d; expected {want}\\n", is);'),
        ("flags", "is"),
    )  # fmt: skip


def _file(find: Find, _last: Step) -> Check:
    if "bytes long" in find.said:
        match = _match(r"memfd (\d) is \d+ bytes long, expected (\d+) pages", find)
        return Check(
            f"memfd {match[1]} is {match[2]} pages long",
            (f"is = (int)(lseek(memfd[{match[1]}], 0, SEEK_END) / (off_t)page);",
             f"wrong = is != {match[2]};",
             f'printf("memfd {match[1]} has %d pages; expected {match[2]}\\n", is);'),
            ("files", "is"),
        )  # fmt: skip
    match = _match(r"page (\d+) of memfd (\d) has byte \d+ at offset (\d+), expected (\d+)", find)
    at, memfd, offset, byte = match.groups()
    return Check(
        f"page {at} of memfd {memfd} holds {byte} at offset {offset}",
        ("unsigned char byte = 0;",
         f"if (pread(memfd[{memfd}], &byte, 1, {at} * page + {offset}) != 1)",
         '\tunsure("the memfd cannot be read");',
         f"wrong = byte != {byte};",
         f'printf("page {at} of memfd {memfd} holds %d at offset {offset}; expected {byte}\\n", '
         "byte);"),
        ("files",),
    )  # fmt: skip


def _merged(find: Find, _last: Step) -> Check:
    at = _match(r"page (\d+) is in one mapping with the page before, which differs", find)[1]
    return Check(
        f"page {at} and the page before it differ, so they are two mappings",
        (f"wrong = *flags({find.process}, {at}) && begins < (uintptr_t)at({at});",
         f'printf("the mapping of page {at} begins at %#lx; expected %p\\n", begins, '
         f"(void *)at({at}));"),
        ("flags",),
    )  # fmt: skip


def _mapping_dirty(find: Find, _last: Step) -> Check:
    match = _match(r"page (\d+): its mapping is (not )?soft-dirty", find)
    want = "!!" if match[2] is None else "!"
    no = "not " if match[2] is None else ""
    return Check(
        f"the mapping of page {match[1]} is {no}soft-dirty",
        (f'wrong = {want}strstr(flags({find.process}, {match[1]}), "sd");',
         f'printf("page {match[1]}: its mapping is {no}soft-dirty: %s; expected yes\\n", '
         'wrong ? "no" : "yes");'),
        ("flags", "dirty"), ("know_dirty();",),
    )  # fmt: skip


def _bit(bit: int, what: str, parts: tuple[str, ...], first: tuple[str, ...]) -> _Rule:
    def check(find: Find, _last: Step) -> Check:
        match = _match(rf"page (\d+) is (not )?{what}", find)
        want = 0 if match[2] is None else 1
        return Check(
            f"page {match[1]} is {'' if want else 'not '}{what}",
            (f"is = (int)(entry({find.process}, {match[1]}) >> {bit} & 1);",
             f"wrong = is != {want};",
             f'printf("page {match[1]}: {what}: %d; expected {want}\\n", is);'),
            ("entry", "is", *parts), first,
        )  # fmt: skip

    return check


def _state(find: Find, _last: Step) -> Check:
    match = _match(r"page (\d+) is [\w|-]+, expected ([\w|-]+) \(entry .*\)", find)
    at, names = match[1], match[2].split("|")
    if not set(names) <= set(_LETTERS):
        raise NotTold(f"a state that is expected ({match[2]}) is not known here")
    letters = "".join(_LETTERS[name] for name in names)
    return Check(
        f"page {at} is {' or '.join(names)}",
        (f"is = letter({find.process}, {at});", f'wrong = !strchr("{letters}", is);',
         f'printf("page {at} is %c; expected one of \\"{letters}\\"\\n", is);'),
        ("entry", "frames", "letter", "is"), ("know_frames();",),
    )  # fmt: skip


def _frames(find: Find, _last: Step) -> Check:
    match = _match(r"page (\d+) of process (\d) and page (\d+) of process (\d) .*", find)
    one, other = f"entry({match[2]}, {match[1]})", f"entry({match[4]}, {match[3]})"
    same = find.rule == "split-frame"
    compare = "!=" if same else "=="
    both = f"page {match[1]} of process {match[2]} and page {match[3]} of process {match[4]}"
    return Check(
        f"{both} are {'one frame' if same else 'two frames'}",
        (f"if (!({one} >> 63) || !({other} >> 63))",
         '\tunsure("one of the two is not in memory");',
         f"wrong = FRAME({one}) {compare} FRAME({other});",
         f'printf("{both}: frames %#llx and %#llx\\n", (long long)FRAME({one}), '
         f"(long long)FRAME({other}));"),
        ("entry", "frames"), ("know_frames();",),
    )  # fmt: skip


def _exclusive(find: Find, _last: Step) -> Check:
    match = _match(
        r"page (\d+) of process (\d) is mapped by process (\d) too, and said to be exclusive", find
    )
    one, other = f"entry({match[2]}, {match[1]})", f"entry({match[3]}, n)"
    page = f"page {match[1]} of process {match[2]}"
    return Check(
        f"{page}, which process {match[3]} has too, is not exclusive",
        ("for (int n = 0; n < 32; n++)",
         f"\tif (!({match[2]} == {match[3]} && n == {match[1]}) && {one} >> 63 && "
         f"{other} >> 63 && FRAME({one}) == FRAME({other}))",
         f"\t\twrong |= ({one} | {other}) >> 56 & 1;",
         f'printf("page {match[1]}: exclusive although mapped twice: %d\\n", wrong);'),
        ("entry", "frames"), ("know_frames();",),
    )  # fmt: skip


def _locked(find: Find, _last: Step) -> Check:
    want = _match(r"VmLck is \d+ pages, expected (\d+)", find)[1]
    return Check(
        f"{want} pages are locked",
        (f'is = count({find.process}, "status", "VmLck:");', f"wrong = is != {want};",
         f'printf("VmLck is %ld pages; expected {want}\\n", is);'),
        ("count", "long"),
    )  # fmt: skip


def _mlocked(find: Find, _last: Step) -> Check:
    match = _match(
        r"page (\d+) of process (\d+) (is|was never) locked, and its frame is (?:not )?counted as "
        r"that",
        find,
    )
    at, process, want = match[1], match[2], int(match[3] == "is")
    return Check(
        f"the frame of page {at} is {'' if want else 'not '}counted as locked",
        (f"is = counted_as_locked({process}, {at});", f"wrong = is != {want};",
         f'printf("page {at}: counted as locked: %d; expected {want}\\n", is);'),
        ("counted", "is"), ("know_frames();",),
    )  # fmt: skip


def _anon(find: Find, _last: Step) -> Check:
    _match(r"RssAnon is -?\d+ pages, expected -?\d+ by page walk", find)
    return Check(
        "RssAnon is what a walk of the page tables counts",
        (f'is = count({find.process}, "status", "RssAnon:");',
         f'walk = count({find.process}, "smaps_rollup", "Anonymous:");', "wrong = is != walk;",
         'printf("RssAnon is %ld pages; expected %ld, as the page walk counts\\n", is, walk);'),
        ("count", "long", "walk", "exact"), ("count_exactly();",), apart=True,
    )  # fmt: skip


def _swap(find: Find, _last: Step) -> Check:
    _match(r"VmSwap is -?\d+ pages, expected -?\d+ by page walk", find)
    return Check(
        "VmSwap is what a walk of the page tables counts",
        (f'is = count({find.process}, "status", "VmSwap:");', "walk = 0;",
         "for (int n = 0; n < 32; n++)", f"\twalk += letter({find.process}, n) == 's';",
         "wrong = is != walk;",
         'printf("VmSwap is %ld pages; expected %ld, as the page walk counts\\n", is, walk);'),
        ("count", "long", "walk", "exact", "entry", "frames", "letter"),
        ("count_exactly();", "know_frames();"), apart=True,
    )  # fmt: skip


def _cannot(why: str) -> _Rule:
    def refuse(_find: Find, _last: Step) -> Check:
        raise NotTold(why)

    return refuse


_Rule = Callable[[Find, Step], Check]
RULES: dict[str, _Rule] = {
    "answer": _answer,
    "done": _done,
    "read": _read,
    "bytes": _bytes,
    "mapping": _mapping,
    "registration": _mapping,
    "merged": _merged,
    "mapping-soft-dirty": _mapping_dirty,
    "state": _state,
    "uffd-wp": _bit(57, "write-protected by userfaultfd", (), ()),
    "soft-dirty": _bit(55, "soft-dirty", ("dirty",), ("know_dirty();",)),
    "shared-frame": _frames,
    "split-frame": _frames,
    "exclusive": _exclusive,
    "VmLck": _locked,
    "mlocked": _mlocked,
    "RssAnon": _anon,
    "VmSwap": _swap,
    "RssShmem": _cannot(
        "RssShmem counts the pages of the program's own file too, where that lies in a tmpfs: only "
        "the explorer knows its own"
    ),
    "frame": _cannot(
        "where each page lay before it was moved, only who looked after every step can know"
    ),
    **{rule: _cannot("what the whole machine or a control group counts has no C text yet")
       for rule in ("Mlocked", "memory.stat", "group")},
    "ksm_zero_pages": _cannot(
        "which zero pages KSM put there, only who looked after every step can know"
    ),
    "file": _file,
    "scan": _cannot("what PAGEMAP_SCAN answers has no C text yet"),
    "unreadable": _cannot("the page could not be read at all, and of that there is no expectation"),
    **{rule: _cannot("it ended the process or never came back, which no file can tell of itself")
       for rule in ("died", "hang", "ended", "gone")},
}  # fmt: skip
