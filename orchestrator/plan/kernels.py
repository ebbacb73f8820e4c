# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel comes from, as lab.yaml and the command line write it: its source, its series.

The command line gives sources and series in the same words as lab.yaml, so both resolve them here.
"""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.model.errors import UserError

# An upstream series, optionally with the version of Debian Policy 5.6.12.
_DEBIAN = re.compile(r"[0-9]+\.[0-9]+(=[0-9][A-Za-z0-9.+~:-]*)?", re.ASCII)
# git-check-ref-format(1) allows more; none of what is left out starts an option or a shell word.
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@{}^~+-]*", re.ASCII)
_REMOTE = re.compile(r"(https?|git|ssh|file)://[^\s]+|[\w.-]+@[\w.-]+:[^\s:][^\s]*", re.ASCII)
# RFC 5322, section 3.6.4, without what no mail program writes; no option begins like that.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9][^\s<>@/]*@[^\s<>@/]+", re.ASCII)
_THREAD_URL = re.compile(r"https?://[^\s<>]+/[^\s<>]+", re.ASCII)

#: What ``--series`` calls standard input; lab.yaml has no such series.
STDIN = "-"

SOURCE_FORMS = "debian:6.12[=VERSION], [path:]DIR, git:URL-or-DIR#REF or tar:FILE"


def resolve_source(text: str, base: Path) -> str:
    """A kernel source in its full form, its path absolute (from ``base``) and existing.

    A folder's name alone is ``path:``.

    :raises UserError: if the form is unknown or the path is not there.
    """
    _refuse_control(text, "source")
    prefix, colon, rest = text.partition(":")
    if not colon or prefix not in ("debian", "path", "git", "tar"):
        if not _is_there(text, base):
            told = f"{text!r} is no kernel source" if colon else f"there is no folder {text}"
            raise UserError(told, f"write {SOURCE_FORMS}")
        return f"path:{_tree(text, base, text)}"
    if prefix == "debian":
        if not _DEBIAN.fullmatch(rest):
            raise UserError(
                f"{text!r}: expected a version such as debian:6.12 or debian:6.12=6.12.43-1"
            )
        return text
    if prefix == "path":
        return f"path:{_tree(rest, base, text)}"
    if prefix == "tar":
        return f"tar:{_existing(rest, base, text, folder=False)}"
    where, _, ref = rest.rpartition("#")
    if not where or not _REF.fullmatch(ref):
        raise UserError(f"{text!r}: expected git:URL-or-DIR#REF, REF a branch, tag or commit")
    return f"git:{_repository(where, base, text)}#{ref}"


def resolve_series(text: str, base: Path) -> str:
    """A series in its full form, its path absolute (from ``base``) and existing.

    :raises UserError: if the path is not there or the range is none.
    """
    _refuse_control(text, "series")
    if text.startswith("b4:"):
        return f"b4:{_thread(text.removeprefix('b4:'), base, text)}"
    if not text.startswith("git:"):
        return str(_existing(text, base, text, folder=None))
    where, _, span = text.removeprefix("git:").rpartition("#")
    first, dots, last = span.partition("..")
    if not where or not dots or not _REF.fullmatch(first) or not _REF.fullmatch(last):
        raise UserError(f"{text!r}: expected git:DIR#A..B, A and B branches, tags or commits")
    return f"git:{_existing(where, base, text, folder=True)}#{first}..{last}"


def _thread(name: str, base: Path, text: str) -> str:
    """A mailbox's path, or what the archives call a thread: a message id or its URL."""
    bare = name.strip("<>")
    there = bool(name) and (base / Path(name).expanduser()).is_file()
    if not there and (_MESSAGE_ID.fullmatch(bare) or _THREAD_URL.fullmatch(bare)):
        return bare
    return str(_existing(name, base, text, folder=False))


def _refuse_control(text: str, what: str) -> None:
    if not text.strip() or not text.isprintable():
        raise UserError(f"{text!a}: a {what} must be printable text and not empty")


def _repository(where: str, base: Path, text: str) -> str:
    # `ext::` and other helper transports of gitremote-helpers(7) run programs.
    if "::" in where or where.startswith("-"):
        raise UserError(f"{text!r}: this kind of git address is not used here")
    if _REMOTE.fullmatch(where):
        return where
    return str(_existing(where, base, text, folder=True))


def _is_there(name: str, base: Path) -> bool:
    try:
        return (base / Path(name).expanduser()).exists()
    except (OSError, RuntimeError, ValueError):
        return False  # no name that a folder could have


def _tree(name: str, base: Path, text: str) -> Path:
    path = _existing(name, base, text, folder=None)
    if not path.is_dir():
        raise UserError(f"{name} is a file, not a kernel tree", f"write {SOURCE_FORMS}")
    return path


def _existing(name: str, base: Path, text: str, *, folder: bool | None) -> Path:
    """The absolute path of ``name``, a folder, a file, or (None) either."""
    if not name:
        raise UserError(f"{text!r}: the path is missing")
    try:
        path = (base / Path(name).expanduser()).resolve()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        # A name too long, a folder of someone else's, ~nobody-known, a loop of links.
        raise UserError(f"{text!r}: {error}") from None
    if not is_folder and not is_file:
        raise UserError(f"{text!r}: {path} does not exist")
    if folder is True and not is_folder:
        raise UserError(f"{text!r}: {path} is no folder")
    if folder is False and not is_file:
        raise UserError(f"{text!r}: {path} is no file")
    return path
