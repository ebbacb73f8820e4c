# SPDX-License-Identifier: GPL-2.0-only
"""The readers of mails and series against git's t5100, b4 and Patchwork.

What is expected stands in files beside git's mailboxes (t/t5100/info0001, patch0001, ...), in the
mailboxes that b4 makes of others (NAME-ref-*.txt of NAME.mbox), and in Patchwork's test_series.py,
as ``_parse_mbox(name, [covers, patches, replies])``, which is read and never run.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from peers_table import Difference, Measured, PeersError, Row, expected

from orchestrator.kernel.series import mail
from orchestrator.kernel.series.load import load_series
from orchestrator.kernel.series.mail import Mail
from orchestrator.kernel.series.mbox import split
from orchestrator.model.errors import LabError

#: Where the suites stand in their checkouts; b4 moved its own.
GIT = Path("t/t5100")
#: Mailboxes of t5100, and how the files are called that tell what is in each of their mails.
_BOXES = (("sample.mbox", "info", "patch"), ("rfc2047-samples.mbox", "rfc2047-info-", ""))
B4 = (Path("src/tests/samples"), Path("tests/samples"))
PATCHWORK = Path("patchwork/tests")
_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_TAGS = re.compile(r"(?:\[[^\]]*\]\s*)+")


def measure_git(folder: Path) -> Measured:
    """Compare with git mailsplit and git mailinfo, in a checkout of git.

    :raises PeersError: when it has no t/t5100.
    """
    place = folder / GIT
    if not place.is_dir():
        raise PeersError(f"{place} is missing: --git takes a checkout of git.git")
    splits, heads, patches = [], [], []
    cases = {"split": 0, "head": 0, "patch": 0}
    unread: list[tuple[str, str]] = []
    for box, info, patch in _BOXES:
        infos = sorted(p for p in place.glob(f"{info}*") if re.fullmatch(info + r"\d{4}", p.name))
        try:
            parts = list(split((place / box).read_bytes()))
            wanted = [path.read_bytes() for path in infos]
            texts = [(place / path.name.replace(info, patch)).read_bytes() for path in infos
                     if patch]  # fmt: skip
            mails = _mailsplit(place / box)
        except OSError as error:
            unread.append((str(GIT / box), str(error)))
            continue
        cases["split"] += 1
        if len(parts) != len(infos):
            splits.append(Difference(box, f"{len(infos)} mails", f"{len(parts)} mails"))
        if len(mails) != len(infos):
            unread.append((str(GIT / box), f"git splits it into {len(mails)} mails here"))
            continue
        for number, raw in enumerate(mails):
            name = f"{box}:{infos[number].name}"
            read = _read(raw, name)
            cases["head"] += 1
            want, have = _head(wanted[number]), _told(read)
            if have != want:
                heads.append(Difference(name, want, have))
            if patch:
                cases["patch"] += 1
                changes = changed(texts[number])
                got = changed(read.diff) if isinstance(read, Mail) else [read.encode()]
                if got != changes:
                    patches.append(Difference(name, *_first_unlike(changes, got)))
    where = f"git {GIT}"
    rows = (
        Row("mail-split", "mail: an mbox is split", where, cases["split"], tuple(splits)),
        Row("mail-head", "mail: author and subject", where, cases["head"], tuple(heads)),
        Row("mail-patch", "mail: changed lines of the patch", where, cases["patch"],
            tuple(patches)),
    )  # fmt: skip
    return Measured(rows, tuple(unread))


def _mailsplit(box: Path) -> list[bytes]:
    """A mailbox's mails as git splits it, so that a wrong split spoils no other row.

    Without the mailbox's own line (``From NAME DATE``), which the lab's reader is not given either.

    :raises OSError: when git is missing or refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        done = subprocess.run(
            ["git", "mailsplit", f"-o{folder}", "--", str(box)], capture_output=True, timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise OSError(done.stderr.decode("utf-8", "replace").strip() or "git mailsplit fails")
        mails = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    return [raw.partition(b"\n")[2] if raw.startswith(b"From ") else raw for raw in mails]


def _read(raw: bytes, name: str) -> Mail | str:
    """A mail, or what the lab says of one that it refuses."""
    try:
        return _mail(raw, name, reply_too=True)
    except LabError as error:
        return f"refused: {error}"


def _mail(raw: bytes, name: str, reply_too: bool = False) -> Mail:
    """The one mail of a mail, or the first of those that it has attached."""
    read = mail.read(raw, name, reply_too=reply_too)
    return read[0] if read else Mail(name, "", reply=True)


def _told(read: Mail | str) -> str:
    return read if isinstance(read, str) else f"{read.author}: {read.subject}"


def _head(info: bytes) -> str:
    """The author and the subject of what git mailinfo prints."""
    pairs = (line.partition(": ") for line in info.decode("utf-8", "replace").splitlines())
    told = {name: value for name, _, value in pairs}
    email = f"<{told['Email']}>" if told.get("Email") else ""
    author = " ".join(filter(None, [told.get("Author", ""), email]))
    return f"{author}: {told.get('Subject', '(no subject)')}"


def changed(text: bytes) -> list[bytes]:
    """What a diff changes: its files' names, the hunks' headers, the lines that come and go.

    Told by the numbers of lines in the hunks' headers, so that no mail footer counts.
    """
    kept, old, new = [], 0, 0
    for line in text.split(b"\n"):
        if old > 0 or new > 0:
            old -= line[:1] in (b" ", b"-", b"")
            new -= line[:1] in (b" ", b"+", b"")
            kept += [_utf8(line)] if line[:1] in (b"+", b"-") else []
        elif match := _HUNK.match(line):
            old, new = int(match[1] or 1), int(match[2] or 1)
            kept.append(match[0])
        elif re.match(rb"(?:---|\+\+\+) \S", line):
            kept.append(line)
    return kept


def _utf8(line: bytes) -> bytes:
    """The lab gives patches in UTF-8 where the mail's character set is another."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1").encode()
    return line


def _first_unlike(one: list[bytes], other: list[bytes]) -> tuple[str, str]:
    """The first lines in which two patches differ, and their number of lines."""
    n = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
             min(len(one), len(other)))  # fmt: skip
    told = [
        f"{len(lines)} lines, {n + 1}: "
        + (lines[n].decode("utf-8", "replace") if n < len(lines) else "none")
        for lines in (one, other)
    ]
    return told[0], told[1]


def measure_b4(folder: Path) -> Measured:
    """Compare the patches of a mailbox with those that b4 makes a series of.

    :raises PeersError: when the folder has no samples with a reference.
    """
    place = next((folder / name for name in B4 if (folder / name).is_dir()), folder / B4[0])
    references: dict[str, Path] = {}
    for path in sorted(place.glob("*-ref-*.txt")):
        references.setdefault(path.name.partition("-ref-")[0], path)
    if not references:
        raise PeersError(f"{place} holds no *-ref-*.txt: --b4 takes a checkout of b4")
    differences, unread = [], []
    for name, reference in references.items():
        box = place / f"{name}.mbox"
        try:
            box.open("rb").close()
            mails = [_mail(raw, "") for raw in split(reference.read_bytes())]
        except (OSError, LabError) as error:
            unread.append((str(box.relative_to(folder)), str(error)))
            continue
        want = [_TAGS.sub("", one.subject, count=1) for one in mails]
        try:
            have = [patch.subject for patch in load_series(str(box)).patches]
        except LabError as error:
            have = [f"refused: {error}"]
        if have != want:
            differences.append(Difference(box.name, "; ".join(want), "; ".join(have)))
    row = Row(
        "series", "series: the patches of a mailbox", f"b4 {place.relative_to(folder)}",
        len(references) - len(unread), tuple(differences),
    )  # fmt: skip
    return Measured((row,), tuple(unread))


def measure_patchwork(folder: Path) -> Measured:
    """Compare how many mails are cover letters, patches and replies.

    :raises PeersError: when the folder has no such test.
    """
    source = folder / PATCHWORK / "test_series.py"
    wanted = dict(expected(source, parsed_counts, "--patchwork takes a checkout of Patchwork"))
    differences, unread = [], []
    for name, counts in wanted.items():
        box = folder / PATCHWORK / "series" / name
        if not box.exists():
            box = folder / PATCHWORK / "data" / "series" / name
        try:
            mails = [_kind(raw, name) for raw in split(box.read_bytes())]
        except OSError as error:
            unread.append((str(box.relative_to(folder)), str(error)))
            continue
        have = [mails.count(kind) for kind in ("cover", "patch", "reply")]
        if have != counts:
            differences.append(Difference(name, _counted(counts), _counted(have)))
    row = Row(
        "mail-kind", "mail: cover letter, patch or reply", f"Patchwork {PATCHWORK}",
        len(wanted) - len(unread), tuple(differences),
    )  # fmt: skip
    return Measured((row,), tuple(unread))


def parsed_counts(source: str) -> Iterator[tuple[str, list[int]]]:
    """The mailboxes of Patchwork's test, each with its cover letters, patches and replies."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self._parse_mbox":
            try:
                name, counts = (ast.literal_eval(argument) for argument in node.args[:2])
            except ValueError:
                continue  # a name that the test puts together
            yield str(name), list(counts)


def _kind(raw: bytes, name: str) -> str:
    """What the lab takes a mail for, as ``load_series`` does."""
    try:
        one = _mail(raw, name)
    except LabError:
        return "refused"
    if one.reply:
        return "reply"
    return "patch" if one.diff and one.n != 0 else "cover" if one.n == 0 else "reply"


def _counted(counts: list[int]) -> str:
    return "{} cover letters, {} patches, {} replies".format(*counts)
