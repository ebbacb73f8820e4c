# SPDX-License-Identifier: GPL-2.0-only
"""Series through b4: with the real program where it is installed, and what is told without it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from orchestrator.host import process
from orchestrator.kernel.series import b4
from orchestrator.kernel.series.load import load_series
from orchestrator.model.errors import HostError, UserError
from orchestrator.plan.kernels import resolve_series

BASE = "0123456789012345678901234567890123456789"
real = pytest.mark.skipif(b4.program() is None, reason="b4 is not installed")


def mail(subject: str, name: str, to: str, body: str, who: str = "Ann <ann@kernel.org>") -> str:
    thread = f"In-Reply-To: <{to}@k.org>\nReferences: <{to}@k.org>\n" if to else ""
    return (
        f"From {name} Mon Sep 17 00:00:00 2001\nFrom: {who}\nDate: Mon, 1 Jan 2024 00:00:01 +0000\n"
        f"To: linux-mm@kvack.org\nSubject: {subject}\nMessage-ID: <{name}@k.org>\n"
        f"{thread}\n{body}\n"
    )


def patch(n: int, old: str, new: str, version: int = 2) -> str:
    diff = (
        f"diff --git a/mm/x.c b/mm/x.c\n--- a/mm/x.c\n+++ b/mm/x.c\n@@ -1 +1 @@\n-{old}\n+{new}\n"
    )
    body = (
        f"Why.\n\nSigned-off-by: Ann <ann@kernel.org>\n---\n mm/x.c | 2 +-\n\n{diff}-- \n2.39.5\n"
    )
    return mail(f"[PATCH v{version} {n}/2] mm: step {n}", f"p{version}{n}", f"c{version}", body)


COVER = mail("[PATCH v2 0/2] mm: two steps", "c2", "", f"All of it.\n\nbase-commit: {BASE}\n")
REVIEW = mail(
    "Re: [PATCH v2 1/2] mm: step 1", "r", "p21", "Reviewed-by: Bob <bob@kernel.org>\n",
    "Bob <bob@kernel.org>",
)  # fmt: skip
THREAD = COVER + patch(2, "b", "c") + patch(1, "a", "b") + REVIEW


@real
@pytest.mark.parametrize("packed", [False, True])
def test_a_mailbox_is_made_ready(tmp_path: Path, packed: bool) -> None:
    box = tmp_path / ("my thread.mbox.gz" if packed else "my thread.mbox")
    box.write_bytes(gzip.compress(THREAD.encode()) if packed else THREAD.encode())
    series = load_series(resolve_series(f"b4:{box.name}", tmp_path))
    assert [p.subject for p in series.patches] == ["mm: step 1", "mm: step 2"]
    assert series.base_commit == BASE
    assert series.origin == f"b4:{box}"
    plain = tmp_path / "plain.mbox"
    plain.write_text(THREAD)
    assert series.digest == load_series(str(plain)).digest


@real
def test_a_lost_patch_is_told(tmp_path: Path) -> None:
    box = tmp_path / "t.mbox"
    box.write_text(COVER + patch(2, "b", "c"))
    with pytest.raises(UserError, match=r"is not complete: b4 misses patch 1/2"):
        load_series(f"b4:{box}")


@real
@pytest.mark.parametrize("text", ["hello\n", "", mail("Hello", "h", "", "No patch.\n")])
def test_a_mailbox_without_a_series(tmp_path: Path, text: str) -> None:
    box = tmp_path / "t.mbox"
    box.write_text(text)
    with pytest.raises(UserError, match=r"b4 finds no series in|holds no diff"):
        load_series(f"b4:{box}")


def test_without_b4_the_command_that_helps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(b4, "program", lambda: None)
    with pytest.raises(HostError) as missing:
        load_series("b4:20240101.1@k.org")
    assert missing.value.message == "b4:20240101.1@k.org needs b4, which is not installed"
    assert "-m pip install b4`, or as root `apt-get install b4`" in missing.value.hint


@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ("echo looking; echo 'no such host: lore.kernel.org' >&2; exit 1", HostError,
         "b4 could not get a@b: looking"),
        ("printf 'Trace\\nrequests.ConnectionError: no route\\n---\\n' >&2; exit 1", HostError,
         "b4 could not get a@b: requests.ConnectionError: no route"),
        ("echo 'Server returned an error: 404' >&2; exit 1", UserError,
         "b4 finds no series in a@b: Server returned an error: 404"),
        ("exit 1", HostError, "b4 could not get a@b: it says nothing"),
    ],
)  # fmt: skip
def test_what_b4_says_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: type[Exception], said: str
) -> None:
    tool = tmp_path / "b4"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(b4, "program", lambda: str(tool))
    with pytest.raises(error) as failed:
        load_series("b4:a@b")
    assert failed.value.args[0] == said


def test_what_b4_fetches_is_read_and_its_warnings_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thread").write_text(patch(1, "a", "b") + patch(2, "b", "c"))
    tool = tmp_path / "b4"
    tool.write_text(
        "#!/bin/sh\n[ \"$1 $2 $3 $4\" = 'am -o out x-1@k.org' ] || exit 1\n"
        f"echo 'WARNING: something' >&2\ncp {tmp_path}/thread out/v2.mbx\n"
    )
    tool.chmod(0o755)
    monkeypatch.setattr(b4, "program", lambda: str(tool))
    series = load_series(resolve_series("b4:<x-1@k.org>", tmp_path))
    assert len(series.patches) == 2
    assert series.notes == ("b4: something",)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("b4:20240101.1@k.org", "b4:20240101.1@k.org"),
        ("b4:<20240101.1@k.org>", "b4:20240101.1@k.org"),
        ("b4:https://lore.kernel.org/all/x@y/", "b4:https://lore.kernel.org/all/x@y/"),
    ],
)
def test_names_of_threads(text: str, given: str, tmp_path: Path) -> None:
    assert resolve_series(text, tmp_path) == given


@pytest.mark.parametrize("text", ["b4:", "b4:nowhere.mbox", "b4:-m@x", "b4:--debug", "b4:."])
def test_no_thread(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        resolve_series(text, tmp_path)


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(b4.sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setattr(process, "find_tool", lambda name: f"/usr/bin/{name}")
    assert b4.program() == "/usr/bin/b4"
    (tmp_path / "b4").write_text("#!/bin/sh\n")
    (tmp_path / "b4").chmod(0o755)
    assert b4.program() == str(tmp_path / "b4")
