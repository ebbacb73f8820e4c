# SPDX-License-Identifier: GPL-2.0-only
"""A guest for a person: the ssh client's command line, and the key it trusts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from orchestrator.guest.seed import Keys
from orchestrator.runner import session


def test_one_word_is_a_line_for_the_guests_shell_and_several_are_words():
    def last(*command: str) -> list[str]:
        argv = session.ssh_command(1, Path("/k"), Path("/h"), command)
        return argv[argv.index("root@127.0.0.1") + 1 :]

    assert last() == []
    assert last("a | b; exit 3") == ["--", "a | b; exit 3"]
    assert last("sh", "-c", "a | b") == ["--", "sh -c 'a | b'"]
    assert last("-v") == ["--", "-v"]


def test_ssh_trusts_this_guest_and_reads_nothing_of_the_users():
    argv = session.ssh_command(40022, Path("/a b/100%/id"), Path("/a b/hosts"), ())
    assert argv[:5] == ["ssh", "-F", "/dev/null", "-p", "40022"]
    options = dict(argv[n + 1].split("=", 1) for n, word in enumerate(argv) if word == "-o")
    assert options["IdentityFile"] == '"/a b/100%%/id"'
    assert options["UserKnownHostsFile"] == '"/a b/hosts"'
    assert options["GlobalKnownHostsFile"] == "/dev/null"
    assert options["StrictHostKeyChecking"] == "yes"
    assert options["IdentityAgent"] == "none"
    assert options["BatchMode"] == "yes"


def test_the_guests_key_is_pinned(tmp_path):
    machine = SimpleNamespace(port=40022, keys=Keys(tmp_path / "id", "QUJD"))
    path = session.pin(machine, tmp_path)  # type: ignore[arg-type]
    assert path.read_text() == "[127.0.0.1]:40022 ssh-ed25519 QUJD\n"
