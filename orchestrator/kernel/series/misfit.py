# SPDX-License-Identifier: GPL-2.0-only
"""Why a patch does not apply, for a reader who knows the code: the hunk and the file as it is."""

from __future__ import annotations

import re
from collections import Counter

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.series import diff
from orchestrator.kernel.source import store
from orchestrator.model.kernel import ApplyFailure, Patch

_AROUND = 3  # lines of the file shown before and after the place, as a diff's context has
_SHOWN = 80  # lines of a hunk or a file shown at most
_FAILED = "patch failed: "
_UNFIT = "its hunk does not fit there"


def explain(patch: Patch, said: str, tree: str, cache: Cache, *, already: bool) -> ApplyFailure:
    """Turn git's messages about a patch into an :class:`ApplyFailure`.

    :param said: what ``git apply`` printed.
    :param tree: the tree that the patch was applied to.
    :param already: its reverse applies.
    """
    lines = [line.removeprefix("error: ") for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("while searching for")]
    reverse = ["it looks already applied: its reverse applies"] if already else []
    files = diff.parse(patch.diff)
    place = re.search(r"^error: patch failed: (.+):(\d+)$", said, re.MULTILINE)
    if place:
        name, line = place[1], int(place[2])
        more = [*_besides(lines), *reverse]
        for file in files:
            for hunk in file.hunks:
                if hunk.old_start == line and name in (file.old, file.new):
                    return _misfit(patch, more, name, hunk, tree, cache)
        told = "; ".join([_UNFIT, *more])
        return ApplyFailure(patch.n, patch.subject, name, line, told, "", "")
    message = "; ".join([*lines, *reverse])
    missing = re.search(r"^error: (.+): does not exist in index$", said, re.MULTILINE)
    if missing:
        name = missing[1]
        hunk_text = next((f.hunks[0].text for f in files if name == f.old and f.hunks), b"")
        return ApplyFailure(
            patch.n, patch.subject, name, 0, message, _cut(_text(hunk_text)),
            _namesakes(name, tree, cache),
        )  # fmt: skip
    name = _first_name(said, files)
    return ApplyFailure(patch.n, patch.subject, name, 0, message, "", "")


def _besides(lines: list[str]) -> list[str]:
    """What git says of a patch beside its first place, which the failure names: further places."""
    places = [line.removeprefix(_FAILED) for line in lines if line.startswith(_FAILED)]
    told = {f"{place.rpartition(':')[0]}: patch does not apply" for place in places}
    others = [line for line in lines if not line.startswith(_FAILED) and line not in told]
    return [*(f"nor at {place}" for place in places[1:]), *others]


def conflict(patch: Patch, name: str, files: int, marked: str) -> ApplyFailure:
    """Tell a conflict of a three-way merge.

    :param files: how many files have one.
    :param marked: the file with git's conflict marks.
    """
    lines = marked.split("\n")
    starts = [n for n, line in enumerate(lines) if line.startswith("<<<<<<< ")]
    ends = [n for n, line in enumerate(lines) if line.startswith(">>>>>>> ")]
    shown = [
        line for start, end in zip(starts, ends, strict=False) for line in lines[start : end + 1]
    ]
    message = f"the three-way merge has {len(starts) or 1} conflict{'s'[: len(starts) > 1]}"
    if files > 1:
        message += f" in this file, and more in {files - 1} other{'s'[: files > 2]}"
    hunks = (h.text for f in diff.parse(patch.diff) if name in (f.old, f.new) for h in f.hunks)
    return ApplyFailure(
        patch.n, patch.subject, name, starts[0] + 1 if starts else 0, message,
        _cut(_text(b"".join(hunks))), _cut("\n".join(shown)),
    )  # fmt: skip


def _misfit(
    patch: Patch, more: list[str], name: str, hunk: diff.Hunk, tree: str, cache: Cache
) -> ApplyFailure:
    content = store.read_file(tree, name, cache)
    line, context = hunk.old_start, f"{name} does not exist in this tree"
    if content is not None:
        # An earlier hunk of this patch may have moved the place; git's line is of the patch.
        line, context = nearest(content, hunk)
    unfit = _UNFIT
    if line != hunk.old_start:
        unfit = f"its hunk, made for line {hunk.old_start}, does not fit there"
    message = "; ".join([unfit, *more])
    return ApplyFailure(
        patch.n, patch.subject, name, line, message, _cut(_text(hunk.text)), context
    )


def nearest(content: bytes, hunk: diff.Hunk) -> tuple[int, str]:
    """Find the place of a file that fits a hunk best; give its line and the text around it.

    Every line of the hunk that stands in the file votes for the place it would put the hunk at,
    a rare line with more weight than a brace.  Lines of that place which the hunk does not have
    are marked ``!``.
    """
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    wanted = hunk.preimage
    expected = hunk.old_start - 1
    where: dict[bytes, list[int]] = {}
    for number, line in enumerate(lines):
        where.setdefault(line.rstrip(), []).append(number)
    votes: Counter[int] = Counter()
    for offset, line in enumerate(wanted):
        places = where.get(line.rstrip(), [])
        if line.strip() and len(places) <= 200:
            for place in places:
                votes[place - offset] += 1_000_000 // len(places)
    # A line added or removed in between splits the vote: let neighbours count, less.
    scores = {
        at: sum(votes[at + d] * (4 - abs(d)) for d in range(-3, 4)) for at in votes
    }  # fmt: skip
    if not scores:
        found = "no line of this hunk stands in the file; this is the place it names"
        at = max(0, min(expected, len(lines) - 1))
    else:
        found = ""
        at = max(0, max(scores, key=lambda a: (scores[a], votes[a], -abs(a - expected))))
    known = {line.rstrip() for line in wanted}
    first, last = max(0, at - _AROUND), min(len(lines), at + len(wanted) + _AROUND)
    shown = [found] if found else []
    for number in range(first, last):
        inside = at <= number < at + len(wanted)
        mark = "!" if inside and lines[number].rstrip() not in known else " "
        shown.append(f"{mark}{number + 1:6} | {_text(lines[number])}")
    return at + 1, _cut("\n".join(shown) or "the file is empty")


def _namesakes(name: str, tree: str, cache: Cache) -> str:
    """Say that a file is missing, and where files of that name are."""
    own = name.rpartition("/")[2]
    others = [path for path in store.file_names(tree, cache) if path.rpartition("/")[2] == own]
    text = f"{name} does not exist in this tree"
    if others and len(others) <= 5:
        text += f"; files of that name: {', '.join(others)}"
    return text


def _first_name(said: str, files: tuple[diff.FileDiff, ...]) -> str:
    """Give the file that git's message is about, as well as that can be told."""
    for file in files:
        if file.name and file.name in said:
            return file.name
    quoted = re.search(r"'([^']+)'", said)
    return quoted[1] if quoted else (files[0].name if files else "")


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace").rstrip("\n")


def _cut(text: str) -> str:
    lines = text.split("\n")
    if len(lines) <= _SHOWN:
        return text
    return "\n".join([*lines[:_SHOWN], f"... and {len(lines) - _SHOWN} more lines"])
