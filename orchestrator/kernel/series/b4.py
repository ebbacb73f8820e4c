# SPDX-License-Identifier: GPL-2.0-only
"""Series as b4(1) makes them ready: ``b4:MESSAGE-ID`` from archives, ``b4:FILE`` from a mailbox.

b4 takes the newest version of a thread, puts its patches in order and adds the trailers of the
replies.  It is a program of its own, because it is optional and goes to the network.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from orchestrator.host import process
from orchestrator.kernel.series import files
from orchestrator.model.errors import HostError, UserError

#: What installs b4, for people.
INSTALL = f"`{shlex.quote(sys.executable)} -m pip install b4`, or as root `apt-get install b4`"
_DEADLINE = 300.0
_SETTINGS = ("GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "SSL_CERT_FILE",
             "REQUESTS_CA_BUNDLE")  # fmt: skip
# b4 0.12 ends without a word where git knows no user; who it is makes no difference here.
_IDENTITY = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "lab",
    "GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "lab@localhost",
}  # fmt: skip
_UNKNOWN = re.compile(r"\b404\b|not known|No thread|No messages|nothing found", re.IGNORECASE)


def program() -> str | None:
    """Where b4 is: beside the lab's own Python, else on the PATH; None where it is not."""
    beside = Path(sys.executable).with_name("b4")
    return str(beside) if os.access(beside, os.X_OK) else process.find_tool("b4")


def ready(what: str) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Have b4 make a series ready; give its mailbox, its cover letter and what b4 warned of.

    :param what: a message id or its URL, or the path of a mailbox, which may be compressed.
    :raises UserError: when it finds no series there.
    :raises HostError: when b4 is not installed, or the archive cannot be reached.
    """
    tool = program()
    if tool is None:
        raise HostError(f"b4:{what} needs b4, which is not installed", INSTALL)
    local = Path(what).is_absolute()
    with tempfile.TemporaryDirectory(prefix="b4-", dir=process.temp_folder()) as name:
        folder = Path(name)
        words = ["am", "-o", "out"]
        (folder / "out").mkdir()
        if local:
            (folder / "in.mbox").write_bytes(files.read(Path(what)))
            words = ["--offline-mode", *words, "-m", "in.mbox"]
        else:
            words.append(what)
        kept = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
        done = process.run(
            [tool, *words], deadline=_DEADLINE, cwd=folder, env={**kept, **_IDENTITY}, check=False
        )
        said = (done.stderr + done.stdout).decode(errors="replace")
        if lost := re.findall(r"missing \[([^\]\n]{1,30})\]", said):
            raise UserError(
                f"the series in {what} is not complete: b4 misses patch {', '.join(lost)}",
                "name the thread that has all of it",
            )
        boxes = sorted((folder / "out").glob("*.mbx"))
        if len(boxes) == 1:
            covers = b"".join(path.read_bytes() for path in (folder / "out").glob("*.cover"))
            return boxes[0].read_bytes(), covers, tuple(_warnings(said.splitlines()))
    reason = _reason(said)
    if local or _UNKNOWN.search(reason):
        raise UserError(f"b4 finds no series in {what}: {reason}", files.FORMS)
    raise HostError(
        f"b4 could not get {what}: {reason}",
        "without network: give the thread as b4:FILE.mbox, or the mailbox itself",
    )


def _reason(said: str) -> str:
    """The last thing that b4 said, in one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip(" -")]
    spoken = [line for line in lines if not line.startswith("Running in OFFLINE")]
    return (spoken[-1] if spoken else "it says nothing")[:300]


def _warnings(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        if match := re.match(r"\s*(?:ERROR|WARNING|CRITICAL): *(.+)", line):
            yield f"b4: {match[1][:200]}"
