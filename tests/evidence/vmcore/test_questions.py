# SPDX-License-Identifier: GPL-2.0-only
"""Questions to a memory dump: what a report names, what the child says, a walk of page tables."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.vmcore import questions
from orchestrator.evidence.vmcore import walk as walk_module
from orchestrator.evidence.vmcore.walk import Pages, Walk
from orchestrator.model import codec
from orchestrator.model.evidence import Hit

LOGS = HOME / "tests" / "data" / "klog"


def clues_of(name: str) -> questions.Clues:
    return questions.clues(klog.parse((LOGS / name).read_bytes().splitlines(keepends=True)))


def test_a_dumped_page_is_named_by_its_frame() -> None:
    found = clues_of("vm-bug-on-folio.log")
    assert found.pfns
    assert all(0 < pfn < 1 << 40 for pfn in found.pfns)


@pytest.mark.parametrize(
    ("log", "address"),
    [("null-deref-x86.log", None), ("null-deref-arm64.log", None), ("page-fault-x86.log", None)],
)
def test_what_faulted_is_found(log: str, address: int | None) -> None:
    assert clues_of(log).faults, log


def test_registers_of_both_architectures() -> None:
    text = (
        "RAX: ffffea0000123400 RBX: 00007f0012345000 RCX: 0000000000000000\n"
        "x29: ffff800080a9bf70 x28: fff0000001b90000 x27: 0000000000000000\n"
        "BUG: unable to handle page fault for address: ffff888012345678\n"
    )
    found = questions.clues([Hit("BUG", "bug", "s", 1, text)])
    assert found.faults == (0xFFFF888012345678,)
    for address in (0xFFFFEA0000123400, 0x7F0012345000, 0xFFF0000001B90000):
        assert address in found.addresses


@given(st.text())
def test_clues_are_taken_from_any_text(text: str) -> None:
    found = questions.clues([Hit("t", "k", "s", 1, text * 3)])
    assert all(0 <= n < 1 << 64 for n in (*found.pfns, *found.addresses, *found.faults))


def answer(**part: object) -> str:
    return "answer " + json.dumps(codec.plain(part))


def test_answers_come_line_by_line() -> None:
    task = questions.Task("cat", 7, 7, 1, "R (running)", 0xFFFF888000000000)
    found = questions.read_answers(
        [
            answer(version="Linux version 6.12"),
            "warning: something of a library's",
            answer(task=task),
            answer(problem="frames: FaultError"),
            answer(problem="mm: LookupError"),
        ]
    )
    assert found.version == "Linux version 6.12"
    assert found.task == task
    assert found.mm is None
    assert found.problems == ("frames: FaultError", "mm: LookupError")
    shown = questions.sections(found)
    assert shown["Which task"].startswith("cat, pid 7, on CPU 1, state R (running)")
    assert shown["Its address space"] == "unknown"
    assert shown["Not answered"] == "frames: FaultError\nmm: LookupError"


@pytest.mark.parametrize(
    "line",
    ['answer {"task": 3}', 'answer {"task": {"pid": "x"}}', "answer {", 'answer {"areas": {}}',
     'answer {"version": null}', "answer {}{}", "answer " + "[" * 9],
)  # fmt: skip
def test_a_broken_answer_costs_itself(line: str) -> None:
    found = questions.read_answers([answer(version="v"), line])
    assert found.version == "v"
    assert found.task is None


@given(st.lists(st.text()))
def test_no_output_of_the_child_is_too_strange(lines: list[str]) -> None:
    questions.sections(questions.read_answers(["answer {" + line + "}" for line in lines]))


def test_counters_below_zero_are_pointed_at() -> None:
    mm = questions.Mm(
        1, {"MM_ANONPAGES": -64, "MM_SWAPENTS": 3}, {"MM_ANONPAGES": 0}, 9, 8, 7, 6, 5
    )
    shown = questions.sections(questions.Answers(mm=mm))["Its address space"]
    assert "MM_ANONPAGES            -64  NEGATIVE  (a cheap read gives 0)" in shown
    assert "MM_SWAPENTS               3\n" in shown


def test_every_question_has_a_place_in_the_report() -> None:
    folio = questions.Folio("here", 1, 2, 0, "locked", 3, None, "none", 4, ("page type 0xf5",))
    whole = questions.Answers(
        "v", questions.Task("c", 1, 2, 3, "S", 4),
        (questions.Frame("f", "mm/a.c:1", True, ("x = 1",)),),
        questions.Mm(1, {}, {}, 2, 3, 4, 5, 6),
        (questions.Area(0, 4096, "rd (0x1)", "name"),), (folio,),
        (questions.Address("there", 4096, "", ("pte 0",), ""),), ("kworker",), ("oh",), 1.0,
    )  # fmt: skip
    shown = questions.sections(whole)
    assert len(shown) == len(fields(whole)) - 1
    assert "unknown" not in shown.values()
    assert "mapcount none" in shown["The folios at stake"]
    assert "f (inlined) at mm/a.c:1\n      x = 1" in shown["Its kernel stack"]


def test_a_file_that_is_no_dump(tmp_path: Path) -> None:
    if questions.available():
        pytest.skip(questions.available())
    (tmp_path / "dump").write_bytes(b"no dump" * 1000)
    found = questions.ask(tmp_path / "dump", tmp_path / "vmlinux", questions.Clues(), 60.0)
    assert found.task is None
    assert len(found.problems) == 1
    assert found.problems[0].startswith("the dump cannot be opened: ")


def test_a_child_that_does_not_end(tmp_path: Path) -> None:
    found = questions.ask(tmp_path / "dump", tmp_path / "vmlinux", questions.Clues(), 0.0)
    assert "did not end within 0 s" in found.problems[-1]


# ---------------------------------------------------------------- in words


def test_page_flags_have_one_name_a_bit() -> None:
    flags = [("PG_locked", 0), ("PG_active", 8), ("PG_owner_2", 11), ("__NR_PAGEFLAGS", 22)]
    flags += [("PG_mappedtodisk", 11), ("PG_anon_exclusive", 11), ("PG_has_hwpoisoned", 8)]
    assert walk_module.page_flags(flags, 0x901, anon=True) == ("locked", "active", "anon_exclusive")
    assert walk_module.page_flags(flags, 0x20000901, anon=False) == ("locked", "active", "owner_2")


def test_flags_and_mappings() -> None:
    assert walk_module.vma_flags(0x40200273) == "rd wr mr mw me um nr nh"
    assert walk_module.mapping(0xFFFF888000A7A821) == "anon_vma 0xffff888000a7a820"
    assert walk_module.mapping(0xFFFF888000A7A820).startswith("address_space")
    assert walk_module.mapping(0) == "none"


def test_sources_lose_their_tree() -> None:
    tree = "/var/lib/kernel/mm"
    files = [f"{tree}/arch/x86/lib/delay.c:208", "", f"{tree}/mm/a.c:1", "./arch/x86/x.h:2"]
    short = walk_module.short_sources(files)
    assert short == ("arch/x86/lib/delay.c:208", "", "mm/a.c:1", "arch/x86/x.h:2")
    assert walk_module.short_sources([]) == ()


# ---------------------------------------------------------------- page tables


class Tables:
    """Page tables: kernel or physical address to entry."""

    def __init__(self, entries: dict[int, int]) -> None:
        self.entries = entries

    def read_u64(self, address: int, physical: bool = False) -> int:
        assert physical == (address < 1 << 40)
        return self.entries[address]


PGD = 0xFFFF888001000000
ADDRESS = 0x7F12_3456_7000
X86 = {"PAGESIZE": "4096", "NUMBER(pgtable_l5_enabled)": "0"}


def index(level: int, address: int = ADDRESS) -> int:
    return (address >> 12 + 9 * level & 511) * 8


def tables(pmd: int, pte: int) -> Tables:
    return Tables(
        {
            PGD + index(3): 0x10000 | 0x67,
            0x10000 + index(2): 0x20000 | 0x67,
            0x20000 + index(1): pmd,
            0x30000 + index(0): pte,
        }
    )


def test_walk_to_a_page() -> None:
    nx = 1 << 63
    steps, pfn = Walk(tables(0x30067, 0x12345_067 | nx), X86).steps(PGD, ADDRESS)
    assert pfn == 0x12345
    assert [step.split()[0] for step in steps] == ["pgd", "pud", "pmd", "pte"]


def test_walk_to_a_huge_page() -> None:
    steps, pfn = Walk(tables(0x4000_00E7, 0), X86).steps(PGD, ADDRESS)
    assert pfn == (0x4000_0000 | ADDRESS & 0x1FFFFF) >> 12
    assert steps[-1].endswith("  huge")


def test_walk_that_leads_nowhere() -> None:
    steps, pfn = Walk(tables(0x30067, 0xFFFF_FFFF_0000_0002), X86).steps(PGD, ADDRESS)
    assert pfn is None
    assert "not present" in steps[-1]
    steps, pfn = Walk(tables(0, 0), X86).steps(PGD, ADDRESS)
    assert pfn is None
    assert steps[-1].endswith("empty")
    steps, pfn = Walk(Tables({}), X86).steps(PGD, ADDRESS)
    assert pfn is None
    assert "not readable" in steps[-1]


def test_walk_of_arm64_with_large_pages() -> None:
    info = {"PAGESIZE": "65536", "NUMBER(TCR_EL1_T1SZ)": "0x16"}  # 42 bits: two levels
    address = 0x123_4567_0000
    table = {PGD + (address >> 29) * 8: 0x50003, 0x50000 + (address >> 16 & 8191) * 8: 0x7770003}
    steps, pfn = Walk(Tables(table), info).steps(PGD, address)
    assert pfn == 0x777
    assert [step.split()[0] for step in steps] == ["pgd", "pte"]


@pytest.mark.parametrize(
    ("info", "levels"),
    [
        ({"PAGESIZE": "4096", "NUMBER(TCR_EL1_T1SZ)": "0xc"}, 5),
        ({"PAGESIZE": "4096", "NUMBER(TCR_EL1_T1SZ)": "0x10"}, 4),
        ({"PAGESIZE": "4096", "NUMBER(TCR_EL1_T1SZ)": "0x19"}, 3),
        ({"PAGESIZE": "4096", "NUMBER(pgtable_l5_enabled)": "1"}, 5),
        (X86, 4),
    ],
)
def test_levels(info: dict[str, str], levels: int) -> None:
    everywhere = Tables({})
    everywhere.read_u64 = lambda address, physical=False: 0x1003  # type: ignore[method-assign]
    steps, pfn = Walk(everywhere, info).steps(PGD, 0x1234_5678)
    assert len(steps) == levels
    assert pfn == 1


# ---------------------------------------------------------------- struct pages

SECTIONS = {
    "PAGESIZE": "4096",
    "SYMBOL(mem_section)": "ffff88803edd3000",
    "LENGTH(mem_section)": "2",
    "SIZE(mem_section)": "16",
    "OFFSET(mem_section.section_mem_map)": "0",
    "NUMBER(SECTION_SIZE_BITS)": "27",
}


class Sections:
    """Two sections of 128 MiB, whose struct pages do not lie in one row."""

    first, second = 0xFFFF88803DC00000, 0xFFFF88803A000000

    def read_u64(self, address: int, physical: bool = False) -> int:
        root = 0xFFFF88803EDD4000
        back = self.second - 64 * 32768
        known = {0xFFFF88803EDD3000: root, root: self.first | 0xF, root + 16: back | 0x7}
        return known.get(address, 0)


def test_pages_of_sections() -> None:
    pages = Pages(Sections(), SECTIONS, 64)
    assert pages.page(0x25E) == Sections.first + 64 * 0x25E
    assert pages.page(32768 + 5) == Sections.second + 64 * 5
    assert pages.page(2 * 32768) is None
    for pfn in (0, 1, 32767, 32768, 65535):
        page = pages.page(pfn)
        assert page is not None
        assert pages.pfn(page) == pfn
        assert pages.pfn(page + 8) is None
    assert pages.pfn(Sections.first - 64) is None
    assert pages.pfn(ADDRESS) is None
    assert pages.pfn(0) is None


def test_user_addresses() -> None:
    walk = Walk(Tables({}), X86)
    assert walk.is_user(ADDRESS)
    assert not walk.is_user(0x8000_0000_0000)
    assert not walk.is_user(8)
    assert not walk.is_user(PGD)
