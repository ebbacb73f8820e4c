# SPDX-License-Identifier: GPL-2.0-only
"""A cell's record with the source lines of its traces, and what may go wrong on the way."""

from dataclasses import replace
from pathlib import Path

import pytest
from sample_run import good_run, rss_hit
from sample_run import warn_hit as hit_with_lines

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.lines.excerpts import Place
from orchestrator.kernel.lines.symbols import Answer
from orchestrator.model.errors import HostError, Interrupted
from orchestrator.model.evidence import SourceLine
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.runner import symbolize
from orchestrator.runner.context import Context, Kernel, Machine, RunValues

SPEC = KernelSpec("k", "x")


def warn_hit():
    """A hit as the log's reader gives it."""
    return replace(hit_with_lines(), frames=())


class FakeSource:
    def __init__(self, *_):
        pass

    def describe(self, place):
        touched = "line" if place.line == 1187 else ""
        return SourceLine(place.function, place.file, place.line, touched)


@pytest.fixture
def asked(monkeypatch):
    """What is asked for; answers move_swap_pte, refuses move_pages, knows of nothing else."""
    seen = {}

    def resolve(linked, wanted):
        seen["linked"] = linked
        seen["wanted"] = {
            f"{a.function}{' exact' if a.exact else ''}": w for a, w in wanted.items()
        }
        places = (Place("set", "/root/trees/x/mm/a.h", 3), Place("m", "mm/userfaultfd.c", 1187))
        known = {"move_swap_pte": Answer(places), "move_pages": Answer(note="no such size")}
        return {a: known[a.function] for a in wanted if a.function in known}

    monkeypatch.setattr(symbolize, "resolve", resolve)
    monkeypatch.setattr(symbolize, "PatchedSource", FakeSource)
    return seen


def record(*hits):
    cell = good_run().cells[0]
    cases = (replace(cell.cases[0], hits=hits), replace(cell.cases[1], hits=hits[:1]))
    return replace(cell, cases=(*cases, *cell.cases[2:]))


def go(cell, tmp_path, vmlinux=Path("/b/vmlinux"), events=None, exact=True, made_in=()):
    built = BuildResult(
        Build("k/default/x86_64", SPEC, ConfigSpec("default"), "x86_64"),
        Verdict.PASS, "", 1.0, False, vmlinux=vmlinux, made_in=made_in,
    )  # fmt: skip
    kernel = Kernel(KernelTree(SPEC, "6.12", "b", "t"), "slot", "x", exact)
    listener = events.append if events is not None else lambda _: None
    context = Context(RunValues("r", 2), Machine(Cache(tmp_path), tmp_path, tmp_path), listener)
    return symbolize.with_lines(cell, built, kernel, context)


def test_each_hit_gets_the_lines_of_its_trace(asked, tmp_path):
    events = []
    cell = record(warn_hit(), rss_hit(), warn_hit())
    found = go(cell, tmp_path, events=events)
    first, other, again = found.cases[0].hits
    assert other == rss_hit()
    assert first == again == found.cases[1].hits[0]
    assert replace(first, frames=()) == warn_hit()
    header, rip, caller = first.frames
    rows = warn_hit().text.split("\n")
    assert "WARNING" in rows[header.row - 1]
    assert "RIP" in rows[rip.row - 1]
    assert rip.places == header.places
    assert [(p.file, p.line, p.touched) for p in rip.places] == [
        ("mm/a.h", 3, ""), ("mm/userfaultfd.c", 1187, "line"),
    ]  # fmt: skip
    assert (caller.function, caller.places, caller.note) == ("move_pages", (), "no such size")
    assert [event.stage for event in events] == ["lines"]
    assert asked["linked"].objects == tmp_path / "obj" / "slot-default-x86_64"


def test_equal_sources_may_have_been_built_in_another_slot(asked, tmp_path):
    elsewhere = ("debian-6.12", "plain")
    go(record(warn_hit()), tmp_path, made_in=elsewhere)
    assert asked["linked"].slot == "slot"  # what was trimmed is of no use
    (tmp_path / "obj/debian-6.12-plain-x86_64").mkdir(parents=True)
    go(record(warn_hit()), tmp_path, made_in=elsewhere)
    assert asked["linked"].slot == "debian-6.12"
    assert asked["linked"].objects == tmp_path / "obj/debian-6.12-plain-x86_64"


def test_sources_that_are_not_those_of_the_image_are_not_quoted(asked, tmp_path, monkeypatch):
    trees = []

    def source(tree, _cache):
        trees.append(tree)
        return FakeSource()

    monkeypatch.setattr(symbolize, "PatchedSource", source)
    found = go(record(warn_hit()), tmp_path, exact=False)
    assert trees == [None]
    assert symbolize.OTHER_SOURCES in found.notes
    assert found.cases[0].hits[0].frames  # the lines are the image's own
    assert symbolize.OTHER_SOURCES not in go(record(warn_hit()), tmp_path).notes


def test_what_enters_the_kernel_is_not_worth_an_object(asked, tmp_path):
    go(record(warn_hit()), tmp_path)
    assert asked["wanted"] == {
        "move_swap_pte exact": True, "move_pages": True, "userfaultfd_move": True,
        "userfaultfd_ioctl": True, "__x64_sys_ioctl": True, "do_syscall_64": False,
        "entry_SYSCALL_64_after_hwframe": False,
    }  # fmt: skip


def test_so_many_reports_and_places_and_no_more(asked, tmp_path):
    trace = "\n".join(f" f{n}+0x1/0x2" for n in range(50))
    go(record(*(replace(rss_hit(), text=f"{n}\n{trace}") for n in range(3))), tmp_path)
    assert list(asked["wanted"]) == [f"f{n}" for n in range(symbolize.MAX_FRAMES)]
    go(record(*(replace(rss_hit(), text=f"g{n}+0x1/0x2") for n in range(99))), tmp_path)
    assert len(asked["wanted"]) == symbolize.MAX_HITS


def test_nothing_is_done_without_a_trace_or_a_kernel(asked, tmp_path):
    for cell, vmlinux in ((record(rss_hit()), Path("/b/vmlinux")), (record(warn_hit()), None)):
        assert go(cell, tmp_path, vmlinux) is cell
    assert asked == {}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (HostError("addr2line is gone"), "addr2line is gone"),
        (OSError(28, "No space left on device"), "No space left"),
        (KeyError("x"), "KeyError"),
    ],
)
def test_failing_costs_the_lines_only(error, told, asked, tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise error

    monkeypatch.setattr(symbolize, "resolve", fail)
    cell = record(warn_hit())
    found = go(cell, tmp_path)
    assert found.cases == cell.cases
    assert found.verdict is cell.verdict
    assert told in found.notes[-1]
    assert bool(caplog.records) == isinstance(error, KeyError)


def test_an_interrupt_goes_through(asked, tmp_path, monkeypatch):
    def stop(*_):
        raise Interrupted("interrupted")

    monkeypatch.setattr(symbolize, "resolve", stop)
    with pytest.raises(Interrupted):
        go(record(warn_hit()), tmp_path)


def test_no_lines_for_modules_or_without_a_build_folder(tmp_path):
    cell = record(replace(warn_hit(), text=" f+0x1/0x2 [zram]"))
    assert go(cell, tmp_path) is cell
    found = go(record(warn_hit()), tmp_path, tmp_path / "vmlinux")
    assert "no source lines in traces: cannot read" in found.notes[-1]
