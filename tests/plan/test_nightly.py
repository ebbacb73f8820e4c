# SPDX-License-Identifier: GPL-2.0-only
"""``nightly:`` of lab.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_files import LAB, load, problems

from orchestrator.model.nightly import MailSpec, NightlySpec

NIGHT = """\
nightly:
  profile: smoke
  time_budget: 8h
  update: [git -C '../a b' fetch -q, apt-get update]
  keep_reports: 14
  keep_baseline: kept
  url: https://ci.example.org/{run}/
  always: true
  command: mail -s {subject} you@example.org
  mail:
    server: smtp.example.org
    security: starttls
    from: lab@example.org
    to: [you@example.org, me@example.org]
    user: lab
    password_file: /etc/secret
"""


def test_without_it_there_are_defaults(lab: Path) -> None:
    assert load(lab).nightly == NightlySpec()
    assert NightlySpec().profile == "nightly"


def test_everything_is_read(lab: Path) -> None:
    lab.write_text(LAB + NIGHT)
    assert load(lab).nightly == NightlySpec(
        profile="smoke",
        time_budget=8 * 3600.0,
        update=(("git", "-C", "../a b", "fetch", "-q"), ("apt-get", "update")),
        keep_reports=14,
        keep_baseline=lab.parent / "kept",
        url="https://ci.example.org/{run}/",
        always=True,
        command=("mail", "-s", "{subject}", "you@example.org"),
        mail=MailSpec(
            "smtp.example.org", "lab@example.org", ("you@example.org", "me@example.org"),
            "starttls", 587, "lab", Path("/etc/secret"),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(("security", "port"), [("none", 25), ("starttls", 587), ("tls", 465)])
def test_a_port_goes_with_the_security(lab: Path, security: str, port: int) -> None:
    mail = f"  mail:\n    from: a@b.c\n    to: [a@b.c]\n    security: {security}\n"
    lab.write_text(f"{LAB}nightly:\n{mail}")
    assert load(lab).nightly.mail == MailSpec("localhost", "a@b.c", ("a@b.c",), security, port)
    lab.write_text(f"{LAB}nightly:\n{mail}    port: 2525\n")
    mailed = load(lab).nightly.mail
    assert mailed is not None
    assert mailed.port == 2525


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("profile: smoky", "nightly.profile: no profile 'smoky'; did you mean 'smoke'?"),
        ("time_budget: 8 h", "nightly.time_budget: "),
        ("keep_reports: 0", "nightly.keep_reports: "),
        ("command: mail 'x", "nightly.command: no command line: "),
        ('update: ["a \'b"]', "nightly.update[0]: no command line: "),
        ("update: git fetch", "nightly.update: "),
        ("url: ci.example.org", "nightly.url: "),
        ("mail: {to: [a@b.c]}", "nightly.mail.from: "),
        ("mail: {from: a@b.c, to: []}", "nightly.mail.to: "),
        ("mail: {from: a, to: [a@b.c]}", "nightly.mail.from: "),
        ("mail: {from: a@b.c, to: [a@b.c], security: ssl}", "expected none, starttls or tls"),
        ("mail: {from: a@b.c, to: [a@b.c], port: 70000}", "nightly.mail.port: "),
        ("mial: {from: a@b.c, to: [a@b.c]}", "did you mean 'mail'?"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(lab: Path, wrong: str, told: str) -> None:
    lab.write_text(f"{LAB}nightly:\n  {wrong}\n")
    (problem,) = problems(lab)
    assert told in str(problem)
    assert "lab.yaml:" in str(problem)
