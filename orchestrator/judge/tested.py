# SPDX-License-Identifier: GPL-2.0-only
"""What was tested, in one sentence: the first thing that a run says, wherever it says it.  Pure."""

from __future__ import annotations

from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.formats import counted
from orchestrator.model.kernel import Difference, FileChange
from orchestrator.model.names import CaseId
from orchestrator.model.results import Found, KernelRecord, RunResult

# Files that a sentence names; the rest it counts.
_NAMED = 3
_SHORT = 12


def sentence(kernel: KernelRecord) -> str:
    """What a kernel is: its series and what that is on, or how its tree differs from a known one.

    As in ``3 patches on 6.12.117: mm: count moved pages``, ``your tree (6.12.117) differs from
    v6.12 in mm/userfaultfd.c (+1 -1)``.  Of a run that an older lab stored too.
    """
    if kernel.tested.sentence:
        return kernel.tested.sentence
    what, difference = kernel.tested.what, kernel.tested.difference
    if kernel.series:
        return _of_series(kernel)
    if difference is not None and difference.near:
        return f"{what} ({kernel.version}) {_differs(difference)}"
    if not what:
        return f"{kernel.version} without a patch ({kernel.source})"
    at = kernel.tested.commit[:_SHORT]
    told = f", git commit {at}" if at and at not in what else ""
    told += " with changes" if told and kernel.tested.changed else ""
    far = ""
    if difference is not None:
        far = f" ({difference.base}, the nearest, differs in {difference.count} files)"
    return f"{what} is {kernel.version}{told}; no known kernel is near{far}"


def _of_series(kernel: KernelRecord) -> str:
    count, tested = len(kernel.series), kernel.tested
    base = f"{tested.what} ({kernel.version})" if tested.what else kernel.version
    if kernel.patches:  # of more: the last of them is what tells it from the others
        first = f"the first {count} patches" if count > 1 else "the first patch"
        return f"{first} of a series on {base}, up to: {kernel.series[-1].subject}"
    subject = tested.subject or kernel.series[0].subject
    told = f"{counted(count, 'patch', 'patches')} on {base}: {subject}"
    if tested.difference is None or not tested.difference.near:
        return told
    how = "with them it" if tested.difference.patched else "without them the tree"
    return f"{told}; {how} {_differs(tested.difference)}"


def _differs(difference: Difference) -> str:
    if not difference.count:
        # Which of its packages, since the name means the newest there is.
        version = difference.source.partition("=")[2]
        told = f" ({version})" if version and version not in difference.base else ""
        return f"is the same as {difference.base}{told}"
    named = [file_text(file) for file in difference.files[:_NAMED]]
    more = difference.count - len(named)
    if more:
        named.append(counted(more, "more file"))
    first, last = ", ".join(named[:-1]), named[-1]
    return f"differs from {difference.base} in {f'{first} and {last}' if first else last}"


def file_text(file: FileChange) -> str:
    """``mm/userfaultfd.c (+1 -1)``; a name that would end the line is written out."""
    name = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in file.file)
    if file.mode:
        return f"{name} (mode)"
    if file.added is None or file.removed is None:
        return f"{name} (no text)"
    return f"{name} (+{file.added} -{file.removed})"


def tested_kernels(run: Found) -> tuple[KernelRecord, ...]:
    """The kernels that a run is about: all but the one that it compares with.

    A search is about the one in which the case failed.
    """
    baseline = run.run.baseline if isinstance(run, RunResult) else ""
    if isinstance(run, RunResult) and run.searched is not None:
        wanted = CaseId.parse(run.searched.case).cell.kernel
        found = tuple(kernel for kernel in run.kernels if kernel.name == wanted)
        if found:
            return found
    whole = without_prefixes(run).kernels
    return tuple(k for k in whole if k.name != baseline) or whole


def tested_lines(run: Found) -> tuple[str, ...]:
    """What a run tested, a sentence a kernel, with its name where there are several."""
    kernels = tested_kernels(run)
    if len(kernels) == 1:
        return (sentence(kernels[0]),)
    return tuple(f"{kernel.name}: {sentence(kernel)}" for kernel in kernels)


def tested_title(run: Found) -> str:
    """The same in one line, for a title or a mail's subject; empty where there is no kernel."""
    lines = tested_lines(run)
    more = len(lines) - 1
    if more < 1:
        return "".join(lines)
    return f"{lines[0]} and {counted(more, 'more kernel')}"
