# SPDX-License-Identifier: GPL-2.0-only
"""Which of the mails found are the series, and in which order; what was left out is told. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.kernel.series.files import FORMS
from orchestrator.kernel.series.mail import Mail
from orchestrator.kernel.series.subject import spelled
from orchestrator.model.errors import UserError


@dataclass(frozen=True)
class Found:
    """Mails in the order they were found.

    ``named``: that order is the series' own; ``fixed``: whatever the subjects say (a quilt
    series, a range of commits).  ``why`` ends the sentence "it holds no diff", where that is known.
    """

    mails: tuple[Mail, ...]
    named: bool
    fixed: bool = False
    base_commit: str = ""
    notes: tuple[str, ...] = ()
    why: str = ""


def choose(found: Found, where: str) -> tuple[list[Mail], list[Mail], list[str]]:
    """Give the series' patches in order, its cover letters first among other texts, and notes.

    :raises UserError: when nothing is a patch, one cannot be read or is missing, or two claim the
        same number.
    """
    notes: list[str] = []
    mails = _with_versions(found.mails)
    # A cover letter's diff is an interdiff.
    patches = [m for m in mails if m.diff and not m.reply and (found.fixed or m.n != 0)]
    for m in mails:
        if m.flaw and not m.reply and (m.diff or m.n or not patches):
            raise UserError(f"{m.name}: {m.flaw}", "give it as `git format-patch` writes it")
    if not patches:
        raise UserError(f"{where} holds {found.why}", FORMS)
    _tell_replies(mails, notes)
    if not found.fixed:
        patches = _newest(_once(patches, notes), notes)
    newest = max(m.version for m in patches)
    texts = [
        m for m in mails if m.text and m not in patches and m.version == newest and not m.reply
    ]
    covers = [m for m in texts if m.n == 0] + [m for m in texts if m.n is None and not m.diff]
    if not found.named:
        patches = _by_number(patches, where, notes, lone=len(mails) == 1)
    elif not found.fixed:
        patches = _as_numbered(patches, notes)
    if found.named:
        _note_gaps(patches, notes)
    notes += [note for m in patches for note in m.notes]
    return patches, covers, notes


def _with_versions(mails: Sequence[Mail]) -> list[Mail]:
    """Give a patch whose subject has no version that of its cover letter or first patch."""
    known = {m.id: m for m in mails if m.id and m.told and m.n in (0, 1)}
    return [
        replace(m, version=known[m.parent].version)
        if m.n and not m.told and m.parent in known
        else m
        for m in mails
    ]


def _tell_replies(mails: Sequence[Mail], notes: list[str]) -> None:
    replies = [m for m in mails if m.reply]
    if replies:
        notes.append(f"{len(replies)} replies left out")
    for m in replies:
        if m.aside:
            notes.append(f"left out, a reply that seems to hold a diff of its own: {m.name}")


def _once(patches: list[Mail], notes: list[str]) -> list[Mail]:
    """Leave out what came twice: from the list and directly, with other footers."""
    first: dict[tuple[object, ...], Mail] = {}
    for m in patches:
        first.setdefault((m.version, m.n, m.total, m.subject, m.diff), m)
    if len(first) < len(patches):
        notes.append(f"{len(patches) - len(first)} patches are there more than once")
    return list(first.values())


def _newest(patches: list[Mail], notes: list[str]) -> list[Mail]:
    """Take the newest version; one like v2.1 replaces single patches of v2."""
    versions = sorted({m.version for m in patches})
    newest = versions[-1]
    if len(versions) == 1:
        return patches
    kept = [m for m in patches if m.version == newest]
    told = f"it holds {', '.join(map(spelled, versions))}: {spelled(newest)} taken"
    if before := _mended(kept, patches):
        numbers = ", ".join(str(m.n) for m in kept)
        told = told.replace(
            " taken", f" of patch {numbers} taken, else {spelled(before[0].version)}"
        )
        kept = [*before, *kept]
    notes.append(told)
    others = {m.subject for m in patches if m.version not in {m.version for m in kept}}
    if others and not others & {m.subject for m in kept}:
        notes.append(f"no subject is the same as before, as this was: {sorted(others)[0]}")
    return kept


def _mended(late: list[Mail], patches: list[Mail]) -> list[Mail]:
    """Give the patches of the version before that a partial reroll leaves as they were.

    It is one by its mark (v2.1 of v2), or where each of its mails answers the same patch of the
    version before.
    """
    numbers = {(m.n, m.total) for m in late}
    version = late[0].version
    older = sorted({m.version for m in patches if m.version < version}, reverse=True)
    before = [m for m in patches if m.version == older[0]]
    same_series = {m.total for m in late} == {m.total for m in before} and None not in {
        m.n for m in (*late, *before)
    }
    by_id = {m.id: (m.n, m.total) for m in before if m.id}
    marked = len(version) > 1 and older[0][:1] == version[:1]
    if not same_series or not (marked or all(by_id.get(m.parent) == (m.n, m.total) for m in late)):
        return []
    rest = [m for m in before if (m.n, m.total) not in numbers]
    if len(older[0]) > 1:  # v2.2 of v2.1 of v2
        rest += [m for m in _mended(before, patches) if (m.n, m.total) not in numbers]
    return rest


def _as_numbered(patches: list[Mail], notes: list[str]) -> list[Mail]:
    """Where each file says which of how many it is, that order counts and not the files' names."""
    numbers = [m.n for m in patches]
    whole = sorted(n or 0 for n in numbers) == list(range(1, len(patches) + 1))
    if not whole or numbers == sorted(n or 0 for n in numbers):
        return patches
    notes.append("applied in the order of their subjects' numbers, which is not that of the names")
    return sorted(patches, key=lambda m: m.n or 0)


def _note_gaps(patches: list[Mail], notes: list[str]) -> None:
    totals = {m.total for m in patches}
    if len(totals) != 1 or None in totals:
        return
    missing = _missing(patches)
    if missing:
        notes.append(f"the folder lacks {', '.join(missing)}")


def _missing(patches: list[Mail]) -> list[str]:
    total = max(m.total or m.n or 0 for m in patches)
    have = {m.n for m in patches}
    return [f"patch {n} of {total}" for n in range(1, total + 1) if n not in have]


def _by_number(patches: list[Mail], where: str, notes: list[str], *, lone: bool) -> list[Mail]:
    """Order the patches of a mailbox by their numbers; a lone mail may be any of its series."""
    numbered = [m for m in patches if m.n is not None]
    if not numbered:
        for title, times in Counter(m.subject for m in patches).items():
            if times > 1:
                notes.append(f"{times} different patches, each applied, are called: {title}")
        return patches
    for m in patches:
        if m.n is None:
            notes.append(f"left out, it has no number in the series: {m.subject}")
    totals = sorted({m.total for m in numbered if m.total is not None})
    if len(totals) > 1:
        raise UserError(
            f"{where} holds several series (of {' and of '.join(map(str, totals))} patches)",
            "keep the mails of one of them",
        )
    if lone:
        if totals and totals[0] > 1:
            notes.append(f"this is patch {numbered[0].n} of {totals[0]} alone")
        return numbered
    by_number: dict[int, Mail] = {}
    for m in numbered:
        other = by_number.setdefault(m.n or 0, m)
        if other.diff != m.diff:
            raise UserError(
                f"{where}: two different mails are patch {m.n} of {m.total}:"
                f" {other.name}; {m.name}",
                "keep the one you mean",
            )
    missing = _missing(numbered)
    if missing:
        raise UserError(
            f"{where} lacks {', '.join(missing)} ({spelled(max(m.version for m in numbered))})",
            "save the whole series, as `b4 am` does",
        )
    for m in numbered:
        if m.total is not None and (m.n or 0) > m.total:
            notes.append(f"taken too, patch {m.n} of {m.total}: {m.subject}")
    return [by_number[n] for n in sorted(by_number)]
