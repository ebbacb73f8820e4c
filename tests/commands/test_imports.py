# SPDX-License-Identifier: GPL-2.0-only
"""`lab --help` and `lab plan` answer at once because they import little."""

import json
import sys

import pytest

HEAVY = {"jinja2", "paramiko", "fabric", "rich", "sqlite3", "jsonschema", "qemu", "cryptography"}
SHOW = "import json, sys; print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"


def imported_after(code: str, cwd) -> set[str]:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOW}"],
        cwd=cwd, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import orchestrator.commands.arguments",
        *(
            "from orchestrator.commands.arguments import cli; "
            f"cli.main(['{word}'], standalone_mode=False)"
            for word in ("--help", "plan", "list")
        ),
    ],
)
def test_what_must_be_quick_imports_nothing_heavy(code, folder):
    assert imported_after(code, folder) & HEAVY == set()


def test_the_command_line_alone_reads_no_yaml(folder):
    assert "yaml" not in imported_after("import orchestrator.commands.arguments", folder)
