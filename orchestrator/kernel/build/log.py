# SPDX-License-Identifier: GPL-2.0-only
"""What make and the compiler print: progress, errors, warnings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

from orchestrator.model.kernel import CompilerMessage

# How many steps a build took that made everything, in its build folder.
STEPS = ".lab-steps"
# See _guessed().
_STEPS_OF_ANY = 900
_STEPS_A_SYMBOL = 1.26
_STEP = re.compile(r"^\s+(CC|AS|LD|AR|LDS|HOSTCC|UPD|GEN|OBJCOPY|KSYMS|SYSMAP|SORTTAB)\s+(\S+)")
_MESSAGE = re.compile(
    r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d{1,9})(?::\d+)?: "
    r"(?P<severity>fatal error|error|warning): (?P<text>.*)$"
)
# "ld: a.o: in function `f':" stands in a line of its own before most of these.
_LINKER = re.compile(
    r"^(?:\S*ld(?:\.bfd|\.lld)?: )?(?:(?P<file>[^\s:]+):(?P<line>\d{1,9}): )?"
    r"(?P<text>(?:\S.*: )?undefined (?:reference to|symbol:) .*)$"
)
# clang's driver and lld name no place of their own; lld tells in ">>>" lines which object it means.
_LLVM = re.compile(r"^(?:\S*/)?(?:clang|ld\.lld)(?:-\d+)?: error: (?P<text>.*)$")
_LLD_PLACE = re.compile(r"^>>> {2,}(?P<object>\S+\.o):\((?P<code>[^)]*)\)")
_KBUILD = re.compile(r"^(?:make(?:\[\d+\])?: \*\*\* |ERROR: modpost: )(?P<text>.*)$")
# Not the compiler's quotations of source code: "  123 | ...", and of clang before 16 the line that
# one of carets follows.
_QUOTED = re.compile(r"^\s*\d*\s+\|")
_CARETS = re.compile(r"^[ \t~]*\^[ \t~^]*$")
_HOST: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"No space left on device|Disk quota exceeded|Read-only file system"),
        "free some space (`lab gc`), or set LAB_CACHE to a folder on a larger disk",
    ),
    (
        re.compile(
            r"fatal error: Killed signal|unable to execute command: Killed"
            r"|terminated with signal 9|\] (?:Killed|Error 137)$"
            r"|Cannot allocate memory|virtual memory exhausted"
        ),
        "there is too little memory: use fewer --jobs",
    ),
    (
        re.compile(
            r"^(?:/bin/)?(?:ba|da)?sh: (?:line )?\d+: \S+: (?:command )?not found$"
            r"|fatal error: (?:openssl/\S+|g?elf\.h|libelf\.h|zlib\.h): No such file"
            r"|fatal error: '(?:openssl/\S+|g?elf\.h|libelf\.h|zlib\.h)' file not found"
        ),
        "run `make setup`, or see `lab doctor`",
    ),
    (
        re.compile(r"cannot contain spaces n?or colons"),
        "set LAB_CACHE to a folder without spaces and colons in its path",
    ),
)


class CompileProgress:
    """Turns make's output into a share of the work, by the count of the last build's steps.

    The count is kept in the build folder; the first build there goes by how much its ``.config``
    has built in.  ``steps`` is that of this build.
    """

    def __init__(self, objects: Path, tell: Callable[[float, str], None]) -> None:
        self._file = objects / STEPS
        self._tell = tell
        self.steps = 0
        try:
            self._total = max(int(self._file.read_text()), 1)
        except (OSError, ValueError):
            self._total = _guessed(objects)

    def line(self, line: str) -> None:
        """Take one line of make's output."""
        found = _STEP.match(line)
        if found:
            self.steps += 1
            self._tell(min(self.steps / self._total, 0.99), f"{found[1]} {found[2]}")

    def close(self, complete: bool) -> None:
        """Remember the count of a build that did everything, not that of an increment."""
        if complete and self.steps > 300:
            self._file.write_text(str(self.steps))


def _guessed(objects: Path) -> int:
    """How many steps a build may have, by the symbols that are y.

    Measured on 6.12.117, x86_64: 1,662 for the 596 of `default`, 3,183 for the 1,804 of Debian's
    cloud configuration.
    """
    try:
        text = (objects / ".config").read_text(errors="replace")
    except OSError:
        text = ""
    return _STEPS_OF_ANY + round(_STEPS_A_SYMBOL * text.count("=y\n"))


def messages(log: str, source: Path) -> tuple[CompilerMessage, ...]:
    """Read errors and warnings out of a build log, each once, files relative to the source tree."""
    found: dict[tuple[str, int, str], CompilerMessage] = {}
    prefix = f"{source}/"
    lines = log.splitlines()
    for at, line in enumerate(lines):
        hit = _MESSAGE.match(line)
        if hit:
            file = hit["file"].removeprefix(prefix)
            severity = "warning" if hit["severity"] == "warning" else "error"
            entry = CompilerMessage(file, int(hit["line"]), hit["text"], severity)
            found.setdefault((entry.file, entry.line, entry.text), entry)
            continue
        told = _LLVM.match(line)
        if told:
            text = told["text"].replace(prefix, "") + _lld_place(lines[at + 1 : at + 3])
            found.setdefault(("", 0, text), CompilerMessage("", 0, text))
            continue
        undefined = _LINKER.match(line)
        if undefined:
            text = undefined["text"].replace(prefix, "")
            file = (undefined["file"] or "").removeprefix(prefix)
            line_number = int(undefined["line"] or 0)
            found.setdefault((file, line_number, text), CompilerMessage(file, line_number, text))
    return tuple(found.values())


def _lld_place(after: Sequence[str]) -> str:
    places = (_LLD_PLACE.match(line) for line in after if line.startswith(">>>"))
    return next((f" (in {place['object']}: {place['code']})" for place in places if place), "")


def host_trouble(log: str) -> tuple[str, str] | None:
    """The line that tells that the host stopped a build, and what to do about it; or None."""
    lines = log.splitlines()
    for line, below in zip_longest(lines, lines[1:], fillvalue=""):
        if _QUOTED.match(line) or _CARETS.match(below):
            continue
        for sign, hint in _HOST:
            if sign.search(line):
                return line.strip(), hint
    return None


def first_reason(errors: Sequence[CompilerMessage], log: str) -> str:
    """One sentence on why a build failed: the first compiler error, else what make said."""
    if errors:
        first = errors[0]
        place = f"{first.file}:{first.line}: " if first.file else ""
        return f"{place}error: {first.text}"
    for line in log.splitlines():
        hit = _KBUILD.match(line)
        if hit:
            return f"make: {hit['text']}"
    last = [line for line in log.splitlines() if line.strip()]
    return last[-1].strip() if last else "make printed nothing"
