# SPDX-License-Identifier: GPL-2.0-only
"""A patch series from a folder, an mbox, one patch or diff, a range of a repository, or b4.

Only reads.  What a mail holds is never taken as a path, an option or a command.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.kernel.series import b4, diff, files, mail, mbox, quilt
from orchestrator.kernel.series.choose import Found, choose
from orchestrator.kernel.series.files import FORMS
from orchestrator.kernel.series.mail import Mail
from orchestrator.kernel.source import store
from orchestrator.kernel.source.git import commit_range
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import Patch, Series

_BASE_COMMIT = re.compile(rb"^base-commit:[ \t]*(\S{1,100})[ \t]*\r?$", re.MULTILINE)
# Written by b4 and for patchwork; what stands there is shown, not fetched.
_BUILDS_ON = re.compile(
    rb"^(?:prerequisite-(?:change|message)-id|depends-on):[ \t]*(\S[^\n]{0,200})",
    re.IGNORECASE | re.MULTILINE,
)
_PREREQUISITE = re.compile(rb"^prerequisite-patch-id:[ \t]*\S+", re.MULTILINE)


def load_series(where: str) -> Series:
    """Load a series.

    ``where`` is a folder (``*.patch``, ``*.diff`` by name, or as its quilt ``series`` file says;
    mails, Maildir), an mbox or mail, a bare diff, ``git:DIR#A..B``, or ``b4:`` and a message id or
    mailbox.  Cover letters and replies
    are left out; of several versions the newest is taken.

    Each patch's ``sha256`` is over the diff that git applies, without mail text, so that it does
    not depend on the way the patch came.  ``digest`` is KCIDB's ``patchset_hash`` over those:
    sha256 over the newline-terminated sha256 sums, in order (KCIDB schema, ``patchset_hash``:
    ``sha256sum *.patch | cut -c-64 | sha256sum``).

    :raises UserError: when it is missing, unreadable, holds no diff, or lacks a patch.
    :raises HostError: when git is missing, or b4, or b4 cannot reach the archive.
    """
    scheme, _, rest = where.partition(":")
    if scheme == "git":
        return _series(_from_git(rest), where)
    return _series(_from_b4(rest) if scheme == "b4" else _from_path(where), where)


def read_series(data: bytes, name: str) -> Series:
    """Make a series of what a file would hold; as :func:`load_series`, which names the errors.

    :param data: unpacked, as :mod:`.files` reads it.
    :param name: what messages call it.
    """
    return _series(_from_data(data, name), name)


def _series(found: Found, where: str) -> Series:
    chosen, covers, notes = choose(found, where)
    texts = [m.text for m in (*covers, *chosen)]
    base = next((m[1].decode(errors="replace") for t in texts if (m := _BASE_COMMIT.search(t))), "")
    needs = {line for text in texts for line in _PREREQUISITE.findall(text)}
    if needs:
        notes.append(f"the series says that it needs {len(needs)} other patches applied first")
    on = {mail.clean(m[1].decode(errors="replace")) for t in texts for m in _BUILDS_ON.finditer(t)}
    notes += [f"the series says that it builds on {name}" for name in sorted(on)]
    patches = tuple(
        Patch(n, m.subject, m.author, m.date, m.diff, hashlib.sha256(m.diff).hexdigest())
        for n, m in enumerate(chosen, 1)
    )
    cover = next((m.subject for m in covers if m.n == 0 and "SUBJECT HERE" not in m.subject), "")
    return Series(
        where, patches, series_digest(patches), found.base_commit or base,
        (*found.notes, *notes), cover,
    )  # fmt: skip


def series_digest(patches: Sequence[Patch]) -> str:
    """Give KCIDB's ``patchset_hash`` of patches (see :func:`load_series`)."""
    return hashlib.sha256("".join(f"{p.sha256}\n" for p in patches).encode()).hexdigest()


def beginning(series: Series, count: int) -> Series:
    """Give the first ``count`` patches of a series as one; 0 means all, as in a kernel's spec."""
    patches = series.patches[: count or None]
    return replace(series, patches=patches, digest=series_digest(patches))


# ---------------------------------------------------------------- where mails come from


def _from_path(where: str) -> Found:
    path = Path(where).expanduser()
    if path.is_dir():
        return _from_folder(path)
    found = _from_data(files.read(path), str(path))
    if path.name == "series" and not any(m.diff for m in found.mails):
        return _from_quilt(path)
    return found


def _from_data(data: bytes, name: str) -> Found:
    mails = _mails_of(data, name, alone=True)
    return Found(tuple(mails), named=False, why="no diff" + files.why_none(data))


def _from_folder(folder: Path) -> Found:
    try:
        if (folder / "series").is_file():
            return _from_quilt(folder / "series")
        there = [p for p in folder.iterdir() if not p.name.startswith(".")]
        names = sorted((p for p in there if _kind(p) in (".patch", ".diff")), key=_in_order)
        boxes = sorted(p for p in there if _kind(p) in (".mbox", ".mbx"))
        loose = sorted(
            p
            for place in (folder, folder / "new", folder / "cur")
            if place.is_dir()
            for p in place.iterdir()
            if p.is_file() and (place != folder or p.suffix == ".eml")
        )
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}", FORMS) from error
    if names:
        kept = [p for p in names if "cover-letter" not in p.name]
        mails = [m for p in kept for m in _whole(p)]
        covers = [m for p in names if p not in kept for m in _mails_of(files.read(p), str(p))]
        notes = tuple(f"not read, beside *.patch files: {p.name}" for p in (*boxes, *loose))
        return Found((*covers, *mails), named=True, notes=notes, why="no diff")
    if len(boxes) > 1:
        names_of = ", ".join(p.name for p in boxes)
        raise UserError(f"{folder} holds several mailboxes: {names_of}", "name one of them")
    if not boxes and not loose:
        raise UserError(f"{folder} holds no *.patch file", _elsewhere(folder))
    mails = [m for p in (boxes or loose) for m in _mails_of(files.read(p), str(p))]
    return Found(tuple(mails), named=False, why="no diff")


def _kind(path: Path) -> str:
    """Give a file's suffix, in small letters and without that of gzip, xz or bzip2."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] and suffixes[-1] in (".gz", ".xz", ".bz2"):
        suffixes.pop()
    return suffixes[-1] if suffixes and path.is_file() else ""


def _in_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Give what to sort by: names, with 2 before 10."""
    words = re.findall(r"\d+|\D+", path.name)
    return [(int(w), "") if w.isdecimal() else (-1, w) for w in words], path.name


def _elsewhere(folder: Path) -> str:
    """Say what to give instead of a folder that holds no patch."""
    if (folder / ".git").exists():
        return f"it is a git tree: give git:{folder}#A..B"
    for inner in sorted(p for p in folder.iterdir() if p.is_dir()):
        if (inner / "series").is_file() or any(_kind(p) == ".patch" for p in inner.iterdir()):
            return f"did you mean {inner}?"
    return FORMS


def _from_quilt(listing: Path) -> Found:
    entries, base = quilt.read(listing)
    mails: list[Mail] = []
    for entry in entries:
        found = _whole(entry.path)
        if entry.rooted:
            found = [replace(m, diff=diff.rooted(m.diff, always=True)) for m in found]
        mails += found
    return Found(tuple(mails), named=True, fixed=True, base_commit=base, why="no diff")


def _whole(path: Path) -> list[Mail]:
    """Read a file that must hold a patch."""
    data = files.read(path)
    mails = _mails_of(data, str(path), alone=True)
    if not any(m.diff or m.flaw or m.reply or m.n == 0 for m in mails):
        raise UserError(
            f"{path} holds no diff{files.why_none(data)}",
            "remove it from the folder, or save it again",
        )
    return mails


def _mails_of(data: bytes, name: str, *, alone: bool = False) -> list[Mail]:
    """Read the mails of a file; with ``alone`` it means its one mail, even where it is a reply."""
    box = mbox.split(data)
    if len(box) > 1:
        return [m for n, raw in enumerate(box, 1) for m in mail.read(raw, f"{name}, mail {n}")]
    mails = [m for raw in box for m in mail.read(raw, name, reply_too=alone)]
    return [replace(m, reply=False) if alone and m.diff else m for m in mails]


def _from_b4(what: str) -> Found:
    box, cover, warnings = b4.ready(what)
    found = _from_data(box, f"b4:{what}")
    base = _BASE_COMMIT.search(cover)
    commit = base[1].decode(errors="replace") if base else ""
    return replace(found, base_commit=commit, notes=warnings)


def _from_git(where: str) -> Found:
    """Let git write the patches of a range; the repository is only read."""
    repository, start, end = commit_range(f"git:{where}", FORMS)
    done = store.git_elsewhere(
        repository, "format-patch", "--stdout", "--no-signature", "--no-color", "--full-index",
        "--binary", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-attach", "--no-notes",
        "--no-cover-letter", "--pretty=mboxrd", "--src-prefix=a/", "--dst-prefix=b/",
        "--subject-prefix=PATCH",
        f"{start}..{end}",
    )  # fmt: skip
    notes = []
    merges = store.git_elsewhere(
        repository, "rev-list", "--merges", "--count", f"{start}..{end}"
    ).text.strip()
    if merges != "0":
        notes.append(f"{merges} merge commits of the range are left out")
    base = store.git_elsewhere(repository, "merge-base", start, end, check=False).text.strip()
    mails = [
        replace(m, reply=False)
        for raw in mbox.split(done.stdout)
        for m in mail.read(raw, f"git:{where}", reply_too=True)
    ]
    return Found(
        tuple(m for m in mails if m.diff), named=True, fixed=True, base_commit=base,
        notes=tuple(notes), why="no commit with a change",
    )  # fmt: skip
