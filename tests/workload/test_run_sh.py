# SPDX-License-Identifier: GPL-2.0-only
"""guest-tests/kselftest/run.sh: a program that may be tried again, and its further arguments."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.evidence import kselftest
from orchestrator.model.names import Verdict

# Fails until it has been run so many times.
PROGRAM = """#!/bin/sh
echo run >>runs
echo "TAP version 13"
echo "1..1"
if [ "$(wc -l <runs)" -ge {good} ]; then
	echo "ok 1 merging"
	exit 0
fi
echo "not ok 1 merging"
exit 1
"""


def _run_sh(tmp_path: Path, **paths: Path) -> None:
    """run.sh with other paths than the guest's."""
    text = (HOME / "guest-tests/kselftest/run.sh").read_text()
    (tmp_path / "commands").mkdir()  # so that none are made
    text = text.replace("/tmp/lab/commands", str(tmp_path / "commands"))
    text = text.replace("/tmp/said", str(tmp_path / "said"))
    for name, path in paths.items():
        assert f"/proc/{name}" in text
        text = text.replace(f"/proc/{name}", str(path))
    (tmp_path / "run.sh").write_text(text)


@pytest.mark.parametrize(
    ("setup", "good", "passes", "runs"),
    [
        ("tries 4", 1, True, 1), ("tries 4", 3, True, 3), ("tries 4", 9, False, 4),
        ("tries 4 'not ok 1'", 3, True, 3), ("tries 4 'not ok 1'", 9, False, 4),
        ("tries 4 'something else'", 3, False, 1), ("tries 4 'something else'", 1, True, 1),
    ],
)  # fmt: skip
def test_only_the_last_try_is_the_result(
    tmp_path: Path, setup: str, good: int, passes: bool, runs: int
) -> None:
    _run_sh(tmp_path)
    (tmp_path / "mm").mkdir()
    program = tmp_path / "mm/prog"
    program.write_text(PROGRAM.format(good=good))
    program.chmod(0o755)
    words = ["sh", str(tmp_path / "run.sh"), "mm", "-s", setup, "--", "./prog"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert done.returncode == (0 if passes else 1)
    assert len((tmp_path / "mm/runs").read_text().splitlines()) == runs
    assert done.stdout.count("it failed, and is tried again") == runs - 1
    report = kselftest.read(done.stdout, done.returncode)
    found = [(case.name, case.verdict) for case in report.cases if "merging" in case.name]
    assert found == [("merging", Verdict.PASS if passes else Verdict.FAIL)]


# Of /proc/iomem in a guest of 2.5 GiB that was told mem=2G, 6.12.117; on arm64 only what its
# lines look like matters, and that QEMU's virt machine has memory from 1 GiB on.
X86_64 = """\
00001000-0009fbff : System RAM
0009fc00-0009ffff : Reserved
00100000-7fffffff : System RAM
  01000000-017fffff : Kernel code
  01ecb000-021fffff : Kernel bss
9ffd7000-9fffffff : Reserved
a0000000-febfffff : PCI Bus 0000:00
fd00000000-ffffffffff : Reserved
"""
ARM64 = """\
40000000-bfffffff : System RAM
  40210000-417effff : Kernel code
4010000000-401fffffff : PCI ECAM
"""


@pytest.mark.parametrize(
    ("memory", "command_line", "further"),
    [
        (X86_64, "console=ttyS0 mem=2G quiet", ["0x80000000", "0x90000000"]),
        (ARM64, "mem=2G", ["0xc0000000", "0xd0000000"]),
        (ARM64, "console=ttyAMA0 crashkernel=1G memmap=1", []),
    ],
)
def test_memory_left_alone_is_named_to_the_program(
    tmp_path: Path, memory: str, command_line: str, further: list[str]
) -> None:
    (tmp_path / "iomem").write_text(memory)
    (tmp_path / "cmdline").write_text(f"{command_line}\n")
    _run_sh(tmp_path, iomem=tmp_path / "iomem", cmdline=tmp_path / "cmdline")
    busybox = tmp_path / "commands/busybox"
    busybox.write_text('#!/bin/sh\nexec "$@"\n')
    busybox.chmod(0o755)
    (tmp_path / "mm").mkdir()
    words = ["sh", str(tmp_path / "run.sh"), "mm", "-s", "special_purpose", "--", "echo", "smoke"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == ["smoke", *further]
