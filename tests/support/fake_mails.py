# SPDX-License-Identifier: GPL-2.0-only
"""Mails with patches, mailboxes of them, and what the lab reads from a file."""

from __future__ import annotations

from pathlib import Path

from orchestrator.kernel.series.load import load_series

MBOXRD = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n"


def change(name: str, new: str = "two") -> str:
    return f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-one\n+{new}\n"


def message(subject: str, body: str = "", diff: str = "", extra: str = "") -> bytes:
    return (
        f"From: Ann Author <ann@example.org>\nDate: Sat, 23 Sep 2023 01:31:45 +0000\n"
        f"Subject: {subject}\n{extra}\n{body}\n---\n a | 2 +-\n\n{diff}-- \n2.42.0\n\n"
    ).encode()


def mbox(*mails: bytes, separator: bytes = MBOXRD) -> bytes:
    return b"".join(separator + mail for mail in mails)


def save(folder: Path, data: bytes, name: str = "series.mbx") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def subjects(where: str) -> list[str]:
    return [p.subject for p in load_series(where).patches]
