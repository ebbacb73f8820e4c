# SPDX-License-Identifier: GPL-2.0-only
"""A patch series from a folder, an mbox, one patch or diff, or a range of a git repository.

Only reads.  What a mail holds is never taken as a path, an option or a command.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.kernel.series import mail
from orchestrator.kernel.series.mail import Mail
from orchestrator.kernel.source import store
from orchestrator.kernel.source.git import resolve_commit
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import Patch, Series

FORMS = "give a folder of *.patch files, an mbox, one patch or diff, or git:DIR#A..B"
_LARGEST = 64 << 20
_BASE_COMMIT = re.compile(rb"^base-commit:[ \t]*(\S{1,100})[ \t]*\r?$", re.MULTILINE)
_PREREQUISITE = re.compile(rb"^prerequisite-patch-id:[ \t]*\S+", re.MULTILINE)


@dataclass(frozen=True)
class _Found:
    """Mails in the order they were found; ``named`` when that order is the series' own."""

    mails: tuple[Mail, ...]
    named: bool
    base_commit: str = ""
    notes: tuple[str, ...] = ()


def load_series(where: str) -> Series:
    """Load a series.

    ``where`` is a folder (``*.patch``, ``*.diff`` by name, or as its quilt ``series`` file says;
    mails, Maildir), an mbox or mail, a bare diff, or ``git:DIR#A..B``.  Cover letters and replies
    are left out; of several versions the newest is taken.

    Each patch's ``sha256`` is over the diff that git applies, without mail text, so that it does
    not depend on the way the patch came.  ``digest`` is KCIDB's ``patchset_hash`` over those:
    sha256 over the newline-terminated sha256 sums, in order (KCIDB schema, ``patchset_hash``:
    ``sha256sum *.patch | cut -c-64 | sha256sum``).

    :raises UserError: when it is missing, unreadable, holds no diff, or lacks a patch.
    :raises HostError: when git is missing.
    """
    found = _from_git(where[4:]) if where.startswith("git:") else _from_path(where)
    chosen, covers, notes = _choose(found, where)
    texts = [m.text for m in (*covers, *chosen)]
    base = next((m[1].decode(errors="replace") for t in texts if (m := _BASE_COMMIT.search(t))), "")
    needs = {line for text in texts for line in _PREREQUISITE.findall(text)}
    if needs:
        notes.append(f"the series says that it needs {len(needs)} other patches applied first")
    patches = tuple(
        Patch(n, m.subject, m.author, m.date, m.diff, hashlib.sha256(m.diff).hexdigest())
        for n, m in enumerate(chosen, 1)
    )
    return Series(
        where, patches, series_digest(patches), found.base_commit or base, (*found.notes, *notes)
    )


def series_digest(patches: Sequence[Patch]) -> str:
    """Give KCIDB's ``patchset_hash`` of patches (see :func:`load_series`)."""
    return hashlib.sha256("".join(f"{p.sha256}\n" for p in patches).encode()).hexdigest()


# ---------------------------------------------------------------- where mails come from


def _from_path(where: str) -> _Found:
    path = Path(where).expanduser()
    if path.is_dir():
        return _from_folder(path)
    data = _read(path)
    return _Found(tuple(_mails_of(data, str(path))), named=False)


def _from_folder(folder: Path) -> _Found:
    notes: list[str] = []
    try:
        if (folder / "series").is_file():
            return _Found(tuple(_quilt(folder)), named=True)
        names = sorted(p for p in folder.iterdir() if p.suffix in (".patch", ".diff"))
        if names:
            kept = [p for p in names if "cover-letter" not in p.name]
            mails = [m for p in kept for m in _whole(p)]
            covers = [m for p in names if p not in kept for m in _mails_of(_read(p), str(p))]
            return _Found((*covers, *mails), named=True, notes=tuple(notes))
        boxes = sorted(p for p in folder.iterdir() if p.suffix in (".mbox", ".mbx"))
        loose = sorted(
            p
            for place in (folder, folder / "new", folder / "cur")
            if place.is_dir()
            for p in place.iterdir()
            if p.is_file() and (place != folder or p.suffix == ".eml")
        )
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}", FORMS) from error
    if len(boxes) > 1:
        names_of = ", ".join(p.name for p in boxes)
        raise UserError(f"{folder} holds several mailboxes: {names_of}", "name one of them")
    if not boxes and not loose:
        raise UserError(f"{folder} holds no *.patch file", FORMS)
    return _Found(tuple(m for p in (boxes or loose) for m in _mails_of(_read(p), str(p))), False)


def _whole(path: Path) -> list[Mail]:
    """Read a file that must hold a patch."""
    mails = _mails_of(_read(path), str(path))
    if not any(m.diff or m.reply or m.n == 0 for m in mails):
        raise UserError(f"{path} holds no diff", "remove it from the folder, or save it again")
    return mails


def _quilt(folder: Path) -> list[Mail]:
    """Read the patches that a quilt(1) series file names, in its order."""
    mails: list[Mail] = []
    listing = folder / "series"
    for number, line in enumerate(_read(listing).decode(errors="replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, options = words[0], words[1:]
        patch = folder / name
        if not patch.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{listing}:{number}: {name!r} is not in this folder", "copy it there")
        if any(option != "-p1" for option in options):
            raise UserError(f"{listing}:{number}: only -p1 is understood", "make the patch -p1")
        mails.extend(_whole(patch))
    if not mails:
        raise UserError(f"{listing} names no patch", FORMS)
    return mails


def _mails_of(data: bytes, name: str) -> list[Mail]:
    parts = mail.split(data)
    if parts is None:
        return [mail.read_bare(data, name)]
    if len(parts) == 1:
        # Who names one mail means it, even where it is a reply.
        return [mail.read(parts[0], name, reply_too=True)]
    return [mail.read(raw, f"{name}, mail {n}") for n, raw in enumerate(parts, 1)]


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} is larger than {_LARGEST >> 20} MiB: no patch series", FORMS)
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", FORMS) from error


def _from_git(where: str) -> _Found:
    """Let git write the patches of a range; the repository is only read."""
    folder, _, commits = where.rpartition("#")
    first, dots, last = commits.partition("..")
    repository = Path(folder).expanduser()
    if not folder or not dots or not first or last.startswith("."):
        raise UserError(f"git:{where} is not git:DIR#A..B", FORMS)
    start = resolve_commit(repository, first)
    end = resolve_commit(repository, last or "HEAD")
    done = store.git_elsewhere(
        repository, "format-patch", "--stdout", "--no-signature", "--no-color", "--full-index",
        "--binary", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-attach", "--no-notes",
        "--no-cover-letter", "--src-prefix=a/", "--dst-prefix=b/", "--subject-prefix=PATCH",
        f"{start}..{end}",
    )  # fmt: skip
    notes = []
    merges = store.git_elsewhere(
        repository, "rev-list", "--merges", "--count", f"{start}..{end}"
    ).text.strip()
    if merges != "0":
        notes.append(f"{merges} merge commits of the range are left out")
    base = store.git_elsewhere(repository, "merge-base", start, end, check=False).text.strip()
    mails = [mail.read(m, f"git:{where}", reply_too=True) for m in mail.split(done.stdout) or ()]
    return _Found(tuple(m for m in mails if m.diff), True, base, tuple(notes))


# ---------------------------------------------------------------- which of them are the series


def _choose(found: _Found, where: str) -> tuple[list[Mail], list[Mail], list[str]]:
    """Give the series' patches in order, its cover letters, and notes on what was left out."""
    notes: list[str] = []
    mails = list(found.mails)
    lone = len(mails) == 1
    # A cover letter's diff is an interdiff; a commit's subject may well begin with "Re:".
    patches = [
        m for m in mails
        if m.diff and m.n != 0 and (lone or not m.reply or where.startswith("git:"))
    ]  # fmt: skip
    if not patches:
        what = "no commit with a change" if where.startswith("git:") else "no diff"
        raise UserError(f"{where} holds {what}", FORMS)
    replies = sum(m.reply for m in mails) - sum(m.reply for m in patches)
    if replies:
        notes.append(f"{replies} replies left out")
    newest = max(m.version for m in patches)
    if len({m.version for m in patches}) > 1:
        versions = ", ".join(f"v{v}" for v in sorted({m.version for m in patches}))
        notes.append(f"it holds {versions}: v{newest} taken")
        patches = [m for m in patches if m.version == newest]
    covers = [m for m in mails if m.text and m.version == newest and (not m.diff or m.n == 0)]
    if found.named:
        if not where.startswith("git:") and not (Path(where) / "series").is_file():
            patches = _as_numbered(patches, notes)
        _note_gaps(patches, notes)
    else:
        patches = _by_number(patches, where, notes, lone)
    return patches, covers, notes


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
    total = max(m.total or 0 for m in patches)
    have = {m.n for m in patches}
    return [f"patch {n} of {total}" for n in range(1, total + 1) if n not in have]


def _by_number(patches: list[Mail], where: str, notes: list[str], lone: bool) -> list[Mail]:
    """Order the patches of a mailbox by their numbers; a lone mail may be any of its series.

    :raises UserError: when one is missing, or two claim the same number.
    """
    numbered = [m for m in patches if m.n is not None]
    if not numbered:
        return patches
    for m in patches:
        if m.n is None:
            notes.append(f"left out, it has no number in the series: {m.subject}")
    totals = sorted({m.total or 0 for m in numbered})
    if len(totals) > 1:
        raise UserError(
            f"{where} holds several series (of {' and of '.join(map(str, totals))} patches)",
            "keep the mails of one of them",
        )
    if lone:
        if totals[0] > 1:
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
            f"{where} lacks {', '.join(missing)} (v{numbered[0].version})",
            "save the whole series, as `b4 am` does",
        )
    return [by_number[n] for n in sorted(by_number)]
