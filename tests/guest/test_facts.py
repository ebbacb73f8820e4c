# SPDX-License-Identifier: GPL-2.0-only
"""What a guest's answer says about it, and which needs that leaves unmet."""

from __future__ import annotations

import subprocess

import pytest

from orchestrator.guest import facts
from orchestrator.guest.facts import Facts
from orchestrator.guest.ssh import Answer, SshLost

# From an x86_64 guest with zram and a swap disk, cut to a few lines of its configuration.
FULL = """\
== config
#
# Linux/x86 6.12.117 Kernel Configuration
#
CONFIG_SMP=y
# CONFIG_KSM_X is not set
CONFIG_UNAME="== not a section"
== configstatus
0
== swaps
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/zram0                              partition\t262140\t\t0\t\t-2
== thp
always [madvise] never
== ksm
/sys/kernel/mm/ksm/run
== nodes
/sys/devices/system/node/node0
/sys/devices/system/node/node1
== hugepages
/sys/kernel/mm/hugepages/hugepages-2048kB
== pagesize
KernelPageSize:        4 kB
== cpus
0-1,3
== present
        present  3998
        present  258015
        present  0
== uname
6.12.117
== uid
0
"""
BARE = """\
== config
== swaps
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
== thp
always madvise [never]
== ksm
== nodes
/sys/devices/system/node/node0
== hugepages
== pagesize
KernelPageSize:       64 kB
== uname
6.1.150
== uid
1000
"""
WORDS = {"swap", "thp", "ksm", "numa", "hugepages", "root"}


def test_a_guest_that_has_everything() -> None:
    found = facts.parse(FULL)
    assert found.has == WORDS
    assert found.page_size == 4096
    assert found.release == "6.12.117"
    assert found.swaps == ("/dev/zram0",)
    assert (found.cpus, found.nodes) == (3, 2)
    assert 1023 < found.memory_mib < 1024
    assert 'CONFIG_UNAME="== not a section"' in found.config.splitlines()


def test_a_bare_guest() -> None:
    found = facts.parse(BARE)
    assert found.has == frozenset()
    assert found.page_size == 65536
    assert (found.swaps, found.cpus, found.nodes, found.memory_mib) == ((), 0, 1, 0.0)
    assert found.config == ""


@pytest.mark.parametrize(
    "text", ["", "\n\n", "garbage\x00\ufffd", "== ", "== uid", "== pagesize\nx"]
)
def test_an_answer_that_is_cut(text: str) -> None:
    found = facts.parse(text)
    assert found.has == frozenset()
    assert found.page_size == 4096


@pytest.mark.parametrize(
    ("line", "there"),
    [("[always] madvise never", True), ("always [madvise] never", True),
     ("always madvise [never]", False), ("", False)],
)  # fmt: skip
def test_thp(line: str, there: bool) -> None:
    assert ("thp" in facts.parse(f"== thp\n{line}\n").has) is there


def test_half_a_configuration_is_none() -> None:
    cut = "== config\nCONFIG_A=y\n== configstatus\n1\n== uid\n0\n"
    assert facts.parse(cut).config == ""
    assert facts.parse(cut.replace("\n1\n", "\n0\n")).config == "CONFIG_A=y"


class Asked:
    """A guest that gives one answer."""

    slowness = 1.0

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.ssh = self

    def run(self, command: str, deadline: float) -> Answer:
        return self.answer


@pytest.mark.parametrize("answer", [Answer(0, FULL[:300], ""), Answer(127, FULL, "sh: no\nx")])
def test_an_answer_without_an_end_is_none(answer: Answer) -> None:
    with pytest.raises(SshLost, match="did not tell what it has"):
        facts.read_facts(Asked(answer))  # type: ignore[arg-type]


def test_an_answer_to_the_end() -> None:
    assert facts.read_facts(Asked(Answer(0, FULL, ""))).cpus == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 1), ("0-15", 16), ("0,2-3,7", 4), ("", 0), ("x", 0), ("0-", 1), ("1-x", 0), ("-1", 0)],
)
def test_cpu_lists(text: str, count: int) -> None:
    assert facts.parse(f"== cpus\n{text}\n").cpus == count


def test_unmet_needs() -> None:
    none = Facts("", frozenset(), 4096, "6.12")
    some = Facts("", frozenset({"swap"}), 4096, "6.12")
    assert facts.unmet((), none, {}) == ""
    assert facts.unmet(("swap",), some, {}) == ""
    assert facts.unmet(("swap", "numa"), some, {}) == "the guest has one NUMA node"
    assert facts.unmet(("something",), some, {}) == "the guest has no something"
    config = {"USERFAULTFD": "y", "M": "m", "N": "n"}
    assert facts.unmet(("CONFIG_USERFAULTFD",), none, config) == ""
    assert facts.unmet(("CONFIG_M",), none, config) == (
        "the kernel has CONFIG_M as a module, and its config no `modules: true`"
    )
    assert facts.unmet(("CONFIG_M",), none, config, modules=True) == ""
    assert facts.unmet(("CONFIG_N",), none, config, modules=True)
    assert facts.unmet(("CONFIG_N",), none, config) == "the kernel has no CONFIG_N"
    assert facts.unmet(("CONFIG_GONE",), none, config) == "the kernel has no CONFIG_GONE"
    for word in sorted(WORDS):
        assert facts.unmet((word,), none, {})


def test_the_question_is_a_shell_script_that_answers_each_section() -> None:
    # Asked of this machine; a guest's shell is BusyBox's, which is as plain as dash.
    done = subprocess.run(
        ["sh", "-c", facts._QUESTION], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stderr == ""
    assert done.stdout.count("\n== ") + done.stdout.startswith("== ") == 13
    found = facts.parse(done.stdout)
    assert found.release
    assert found.cpus >= 1
    assert found.memory_mib > 100
    assert found.page_size >= 4096


@pytest.mark.parametrize(
    ("section", "line"),
    [("notes", "\u00b2\udcff"), ("pagesize", "KernelPageSize: \u00b2 kB"),
     ("present", f"present {'1' * 5000}"), ("cpus", "0-\u00b2"), ("cpus", "1" * 5000)],
)  # fmt: skip
def test_numbers_that_are_none_count_as_not_told(section: str, line: str) -> None:
    found = facts.parse(f"== uid\n0\n== {section}\n{line}\n")
    assert (found.page_size, found.cpus, found.memory_mib, found.notes) == (4096, 0, 0.0, b"")
