# SPDX-License-Identifier: GPL-2.0-only
"""A find as a C file that stands alone: ``gcc file.c`` and run it, without the lab.  Pure.

It does the steps by direct system calls, holds the last one against the model, says what it saw,
and exits with 1 when the kernel is wrong as it was found to be, 0 when it is right, 4 when it
cannot tell: where a step before the last comes to something else than it came to.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from orchestrator.model.finds import FAIL, Find, Step, parse_program
from orchestrator.report.reproducer_checks import RULES, Check, code_of
from orchestrator.report.reproducer_steps import (
    FIRST,
    FREE,
    FROM_OUTSIDE,
    LETS_GO,
    NEEDS,
    PARTS,
    STEPS,
    NotTold,
    expression,
)

__all__ = ["NotTold", "reproducer", "why_not"]

_WIDTH = 100
_INCLUDES = (
    "errno.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "signal.h", "sys/mman.h", "unistd.h",
)  # fmt: skip
_MORE_INCLUDES = {
    "uffd": ("fcntl.h", "linux/userfaultfd.h", "sys/ioctl.h", "sys/syscall.h"),
    "try": ("setjmp.h",),
    "entry": ("fcntl.h",),
    "clear": ("fcntl.h",),
    "byte": ("fcntl.h",),
    "files": ("fcntl.h",),
    "vfork": ("sched.h", "setjmp.h", "sys/wait.h"),
    "vm-read": ("sys/uio.h",),
    "vm-write": ("sys/uio.h",),
    "process-madvise": ("sys/syscall.h", "sys/uio.h"),
    "pagemap-scan": ("fcntl.h", "sys/ioctl.h"),
    "ring": ("sys/syscall.h",),
    "pin": ("sys/uio.h",),
    "pipe": ("fcntl.h",),
    "vmsplice": ("sys/uio.h",),
    "ksm": ("fcntl.h",),
    "folios": ("fcntl.h",),
    "split": ("fcntl.h",),
    "group": ("fcntl.h", "sys/stat.h"),
    "processes": ("sched.h", "sys/prctl.h", "sys/socket.h", "sys/syscall.h", "sys/wait.h"),
}


def why_not(find: Find) -> str:
    """Why there is no such file of a find, in a sentence; empty where there is one."""
    try:
        reproducer(find)
    except NotTold as why:
        return str(why)
    return ""


def reproducer(find: Find, kernel: str = "") -> str:
    """The C file.

    :param kernel: the version of the kernel on which it was found.
    :raises NotTold: when it cannot be told in a file of its own, with the reason in a sentence.
    """
    try:
        steps = parse_program(find.program)
    except ValueError as error:
        raise NotTold(f"its program cannot be read: {error}") from error
    if any(step.beside or FAIL in step.fields for step in steps):
        raise NotTold("there is no C text yet for steps at the same time, or allocations that fail")
    if find.rule not in RULES:
        raise NotTold(f"there is no C text for the rule {find.rule!r} yet")
    return "\n".join(_File(find, steps, RULES[find.rule](find, steps[-1]), kernel).lines()) + "\n"


class _File:
    """The file while it is put together."""

    def __init__(self, find: Find, steps: tuple[Step, ...], check: Check, kernel: str) -> None:
        self.find = find
        self.steps = steps
        self.check = check
        self.kernel = kernel
        self.calls = [expression(step) for step in steps]
        # Each process has to be one where there are several, or where its counters are looked at.
        self.several = (
            check.apart
            or any(step.process for step in steps)
            or any(step.name in ("fork", "exit", "kill", "reclaim") for step in steps)
        )
        self.looks = any(find.before) and any(step.name in FREE for step in steps)
        self.parts = self._parts()

    def _parts(self) -> list[str]:
        wanted = {part for step in self.steps for part in STEPS[step.name].parts}
        wanted |= set(self.check.parts)
        if self.looks:
            wanted |= {"before"}
        if self.several:
            wanted |= {"processes"}
        while more := {need for part in wanted for need in NEEDS.get(part, ())} - wanted:
            wanted |= more
        return [part for part in PARTS if part in wanted]

    def lines(self) -> Iterator[str]:
        """All of it."""
        yield "// SPDX-License-Identifier: GPL-2.0-only"
        yield from self._about()
        yield "#define _GNU_SOURCE"
        more = (name for part in self.parts for name in _MORE_INCLUDES.get(part, ()))
        yield from (f"#include <{name}>" for name in sorted({*_INCLUDES, *more}))
        yield PARTS["head"]
        for part in self.parts:
            yield self._filled(part)
        if self.several:
            yield from self._act()
        yield from self._main()

    def _about(self) -> Iterator[str]:
        on = f" on Linux {self.kernel}" if self.kernel else ""
        said = f"Found{on} by random programs: {self.find.title}."
        how = (
            "gcc FILE.c, and run it as root. Exit status 1: the kernel is wrong in this way; 0: it "
            "is right; 4: it cannot be told here."
        )
        yield "/*"
        for text in (said, how):
            yield from (f" * {line}" for line in textwrap.wrap(_harmless(text), _WIDTH - 3))
            yield " *"
        yield " * The program, each number of a page counted from 1 MiB on, what failed behind #:"
        yield from (f" *   {_harmless(line)}" for line in self.find.program)
        yield " */"

    def _filled(self, part: str) -> str:
        names = {step.name for step in self.steps}
        features = ["UFFD_FEATURE_PAGEFAULT_FLAG_WP"] if self._protects() else []
        features += ["(1 << 16) /* UFFD_FEATURE_MOVE */"] if "move" in names else []
        features += ["(1 << 14) /* UFFD_FEATURE_POISON */"] if "poison" in names else []
        features += ["(1 << 10) /* UFFD_FEATURE_MINOR_SHMEM */"] if "continue" in names else []
        has = set(self.parts)
        results = [name for name in ("value", "done") if name in has]
        fill = {
            " | @FEATURES@": f" | {' | '.join(features)}" if features else "",
            "@RESULTS@": "".join(f"\n\t\treply.{name} = {name};" for name in results),
            "@HEARD@": "".join(f"\n\t{name} = reply.{name};" for name in results),
            "@CLOSES@": "".join(f"\n\t{text}" for part, text in LETS_GO.items() if part in has),
        }
        text = PARTS[part]
        for mark, value in fill.items():
            text = text.replace(mark, value)
        return text

    def _protects(self) -> bool:
        """Whether a step needs userfaultfd's write protection."""
        said = {(step.name, word) for step in self.steps
                for word in step.fields.get("how", "").split("+")}  # fmt: skip
        telling = {("userfaultfd", "markers"), ("userfaultfd", "async"), ("register", "wp"),
                   ("copy", "wp")}  # fmt: skip
        names = {step.name for step in self.steps}
        return bool(said & telling) or bool(names & {"writeprotect", "unprotect"})

    def _act(self) -> Iterator[str]:
        """What the processes do when they are told."""
        yield "static int act(int step)"
        yield "{"
        yield "\tswitch (step) {"
        for number, (step, call) in enumerate(zip(self.steps, self.calls, strict=True), 1):
            if step.name not in FROM_OUTSIDE:
                yield f"\tcase {number}: /* {step.text} */"
                yield f"\t\treturn {call};"
        yield "\t}"
        yield "\treturn 0;"
        yield "}"

    def _call(self, number: int) -> str:
        step = self.steps[number - 1]
        inside = self.several and step.name not in FROM_OUTSIDE
        return f"tell({step.process}, {number})" if inside else self.calls[number - 1]

    def _after(self, step: Step) -> Iterator[str]:
        """What who tells the processes has to do once a step is done."""
        if step.name == "fork" and not step.came_to:
            to = step.fields.get("to", "0")
            yield f"\tpid[{to}] = child;"
            yield f"\thear({to});"

    def _main(self) -> Iterator[str]:
        has = set(self.parts)
        yield "int main(void)"
        yield "{"
        kinds = (("line", "const char *is;"), ("long", "long is;"), ("is", "int is;"))
        yield f"\tint wrong = 0{', got' if self.check.answers else ''};"
        yield from (f"\t{text}" for kind, text in kinds if kind in self.check.parts)
        if "walk" in self.check.parts:
            yield "\tlong walk;"
        yield ""
        yield "\tpage = (size_t)sysconf(_SC_PAGESIZE);"
        yield "\tpid[MYSELF] = pid[0] = getpid();"
        yield "\tsignal(SIGALRM, late);"
        yield "\talarm(60);"
        if "try" in has:
            yield "\tsignal(SIGSEGV, trapped);"
            yield "\tsignal(SIGBUS, trapped);"
        begin = [FIRST[part] for part in self.parts if part in FIRST]
        begin += [*self.check.first, *(["know_frames();"] if self.looks else [])]
        yield from (f"\t{call}" for call in dict.fromkeys(begin))
        if self.several:
            yield "\tfor (int i = 0; i < 4; i++)"
            yield "\t\tif (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends[i]))"
            yield '\t\t\tunsure("no socketpair");'
            yield "\tpid[0] = fork();"
            yield "\tif (!pid[0]) {"
            yield from (["\t\tenter_group();"] if "group" in has else [])
            yield "\t\tserve(0);"
            yield "\t}"
            yield "\thear(0);"
        last = len(self.steps)
        for number in range(1, last):
            step = self.steps[number - 1]
            yield f"\tcame({number}, {self._call(number)}, {code_of(step.came_to)});"
            yield from self._after(step)
        if self.looks:
            yield from (f'\tas_before({process}, "{pages}");'
                        for process, pages in enumerate(self.find.before) if pages)  # fmt: skip
        step = self.steps[-1]
        yield f"\t/* Step {last}, {step.text}.  The model: {_harmless(self.check.model)}. */"
        if self.check.answers:
            yield f"\tgot = {self._call(last)};"
        else:
            yield f"\tcame({last}, {self._call(last)}, {code_of(step.came_to)});"
            yield from self._after(step)
        yield from (f"\t{line}" for line in self.check.text)
        yield "\treturn wrong;"
        yield "}"


def _harmless(text: str) -> str:
    """Text inside a C comment: it must not end it, nor hold what is no plain character."""
    return re.sub(r"[^ -~]", "?", text).replace("*/", "* /")
