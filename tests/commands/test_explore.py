# SPDX-License-Identifier: GPL-2.0-only
"""``lab explore`` as a user meets it, with guests that are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.judge.trials import Subject
from orchestrator.model.finds import Find, Kept
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.spec import Build, Cell, KernelSpec
from orchestrator.results import corpus, kept, store
from orchestrator.runner import explore as engine
from orchestrator.runner import run, searching, trials, trying
from orchestrator.runner.context import Context, Kernel
from orchestrator.runner.explore import Hunt
from orchestrator.runner.stages import Ran, Stages

LAB = """\
version: 1
kernels:
  v6.12: {source: "debian:6.12"}
configs:
  default: {fragments: [base]}
  fails: {fragments: [base, fault-injection]}
shapes: {small: {memory: 1G}}
default_profile: p
workload_folders: [guest-tests]
profiles: {p: {matrix: [{configs: [default], arches: [x86_64], shapes: [small]}]}}
"""
MANIFEST = """\
family: explore
description: played
workloads:
  - {name: steady, program: x.py, description: one}
  - {name: racing, program: x.py, description: two}
  - {name: failing, program: x.py, description: three, needs: [root, CONFIG_FAILSLAB]}
"""
PROGRAM = ("0 mmap at=15 n=7 prot=rw how=private", "0 mlock at=19 n=3",
           "0 remap-dontunmap at=20 n=1 to=5")  # fmt: skip
FIND = Find("mapping", "remap-dontunmap", "page 19: its mapping is rw, expected rw locked", PROGRAM,
            swarm="mappings", seed=12, times=3)  # fmt: skip
CELL = "v6.12/default/x86_64/small"
CASE = f"{CELL}:explore/steady:mapping-remap-dontunmap"


class World:
    """What the played cells were asked to do; ``wrong``: whether their kernel is."""

    def __init__(self) -> None:
        self.wrong = True
        self.hunts: list[Hunt] = []
        self.args: list[tuple[str, ...]] = []
        self.cells: list[Cell] = []

    def prepare(self, spec: KernelSpec, _: Context) -> Kernel:
        return Kernel(KernelTree(spec, "6.12.117", "a", "b"), "slot", spec.source)

    def build(self, wanted: Build, *_: Any) -> BuildResult:
        return BuildResult(wanted, Verdict.PASS, "", 0.0, True, Path("i"), image_sha256="sha")

    def same_kernel(self, subject: Subject, *_: Any) -> tuple[Kernel, BuildResult, str]:
        build = subject.cell.build
        kernel = Kernel(KernelTree(build.kernel, "6.12.117", "a", "b"), "slot", build.kernel.source)
        return kernel, self.build(build), ""

    def record(self, cell: Cell, name: str, find: Find) -> Ran:
        verdict = Verdict.FAIL if self.wrong else Verdict.PASS
        (spec,) = cell.workloads
        case = CaseResult(f"{cell.id}:{spec.name}:{name}", spec.name, name, verdict)
        if self.wrong:
            case = replace(case, find=find, reason=f"steady.c:1: {find.rule}: {find.said}",
                           rerun=f"lab rerun x {case.id}")  # fmt: skip
        record = CellRecord(
            cell.id,
            "v6.12",
            cell.build.config.name,
            "x86_64",
            "small",
            "tcg",
            verdict,
            1.0,
            (case,),
        )
        return Ran(record, cell)

    def explored(self, hunt: Hunt, cell: Cell, *_: Any) -> Ran:
        self.hunts.append(hunt)
        self.cells.append(cell)
        return self.record(cell, FIND.signature, FIND)

    def run(self, cell: Cell, *_: Any) -> Ran:
        self.cells.append(cell)
        args = cell.workloads[0].args
        self.args.append(args)
        lines = tuple(args[args.index("--program") + 1].split(";"))
        return self.record(
            cell, args[args.index("--case") + 1], replace(FIND, program=lines, seed=None)
        )


@pytest.fixture
def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (folder / "lab.yaml").write_text(LAB)
    family = folder / "guest-tests" / "explore"
    family.mkdir(parents=True)
    (family / "manifest.yaml").write_text(MANIFEST)
    (family / "x.py").write_text("")
    played = World()
    stages = Stages(
        lambda *_: None, played.prepare, lambda *_: None, played.build, played.run
    )  # fmt: skip
    for module in (engine, run, searching, trials):
        monkeypatch.setattr(module, "Stages", lambda: stages)
    monkeypatch.setattr(engine, "explore_cell", played.explored)
    monkeypatch.setattr(run, "check_compilers", lambda _: None)
    monkeypatch.setattr(trying, "same_kernel", played.same_kernel)
    return played


def test_a_find_fails_the_run_and_all_reports_have_it(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    done = lab("explore", "--time", "90s", "--seed", "5", "--finds", "2", "--plain")
    assert done.status == 1, done
    assert "1 program new in the corpus" in done.out.splitlines()[-1]
    (hunt,) = world.hunts
    assert (hunt.seconds, hunt.seed, hunt.finds, hunt.corpus) == (90.0, 5, 2, ())
    latest = folder / "reports" / "latest"
    (case,) = store.load(latest.resolve()).cells[0].cases
    assert case.find == FIND
    text = (latest / "finds" / "mapping-remap-dontunmap.txt").read_text()
    assert text.endswith("\n".join(PROGRAM) + "\n")
    source = (latest / "finds" / "mapping-remap-dontunmap.c").read_text()
    assert "The model: the mapping of page 19 is rw locked" in source
    for page in ("index.html", "junit.xml"):
        text = (latest / page).read_text()
        assert PROGRAM[2] in text, page
        assert "drawn with seed 12, swarm mappings" in text, page
        assert "by random programs: mapping is wrong after" in text, page
    told = lab("report", "latest", "--markdown").out
    assert PROGRAM[2] in told
    assert "as a C file" in told
    mail = " ".join(lab("report", "latest", "--mail").out.split())
    assert "mapping is wrong after remap-dontunmap: page 19" in mail


def test_what_was_found_is_carried_out_first_the_next_time(
    world: World, folder: Path, lab: Callable[..., Any], tmp_path: Path
) -> None:
    assert lab("explore", "-q").status == 1
    world.wrong = False
    done = lab("explore", "-q")
    assert done.status == 0, done
    first, second = world.hunts
    assert (first.corpus, first.seconds) == ((), 1800.0)
    assert second.corpus == (corpus.named(PROGRAM),)
    assert first.seed != second.seed
    assert lab("explore", "-q", "--corpus", str(tmp_path / "other")).status == 0
    assert world.hunts[-1].corpus == ()


def test_a_program_is_carried_out_strictly(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    (folder / "one.txt").write_text("# of somebody\n" + "\n".join(PROGRAM) + "\n")
    assert lab("explore", "replay", "one.txt", "--plain").status == 1
    assert world.args == [("--program", ";".join(PROGRAM), "--case", "replay")]
    world.wrong = False
    done = lab("explore", "replay", "one.txt", "--plain")
    assert done.status == 0, done
    (folder / "bad.txt").write_text("0 exit\nnonsense\n")
    none = lab("rerun", "latest", "explore/steady:replay")
    assert (none.status, "found nothing" in none.err) == (2, True)
    bad = lab("explore", "replay", "bad.txt")
    assert (bad.status, "bad.txt: line 2: 'nonsense' is no step" in bad.err) == (2, True)
    assert lab("explore", "replay", "none.txt").status == 2


def test_a_find_is_rerun_by_its_program(world: World, lab: Callable[..., Any]) -> None:
    assert lab("explore", "-q").status == 1
    done = lab("rerun", CASE, "--plain")
    assert done.status == 1, done
    assert done.out.splitlines()[-1] == f"{CASE}: fails again"
    assert world.args == [("--program", ";".join(PROGRAM), "--case", "mapping-remap-dontunmap")]


def test_shrink_needs_a_find(world: World, lab: Callable[..., Any]) -> None:
    assert lab("explore", "-q").status == 1
    wrong = lab("explore", "shrink", "latest", "nobody")
    assert wrong.status == 2
    assert lab("explore", "shrink").status == 2


def test_the_corpus_goes_elsewhere_and_comes_back(
    world: World, folder: Path, lab: Callable[..., Any], tmp_path: Path
) -> None:
    assert lab("explore", "-q").status == 1
    out = lab("explore", "corpus", "export", str(tmp_path / "out"))
    assert (out.status, out.out) == (0, f"1 program of 1 new in {tmp_path / 'out'}\n")
    corpus.keep(tmp_path / "out", [PROGRAM[:1], ("1 exit",)])
    back = lab("explore", "corpus", "import", str(tmp_path / "out"))
    assert back.out.startswith("2 programs of 3 new in ")
    less = lab("explore", "corpus", "minimise")
    assert less.out == "1 program of 3 gone, contained in others\n"
    left = corpus.read(Cache(tmp_path / "cache").corpus)
    assert {lines for _, lines in left} == {PROGRAM, ("1 exit",)}
    none = lab("explore", "corpus", "import", "nowhere")
    assert (none.status, "nowhere: no such folder" in none.err) == (2, True)


def test_programs_that_passed_something_new_are_kept(
    world: World, lab: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.wrong = False
    folder = Cache(tmp_path / "cache").corpus
    image = "ab" * 32

    def explored(hunt: Hunt, cell: Cell, *_: Any) -> Ran:
        new = [Kept(("0 exit",), frozenset({1, 2})), Kept(("1 exit",), frozenset({2, 3}))]
        hunt.guidance.take(image, new if not world.hunts else [])
        return world.explored(hunt, cell)

    monkeypatch.setattr(engine, "explore_cell", explored)
    done = lab("explore", "--plain")
    assert done.status == 0, done
    assert f"2 programs more to make others of in {folder / 'kept'}" in done.out
    (name,) = kept.read(folder)[0].passes
    assert kept.passed(kept.read(folder), name) == {1, 2, 3}
    assert "to make others of" not in lab("explore", "--plain", "--unguided").out
    first, second = world.hunts
    assert (first.guidance.unguided, second.guidance.unguided) == (False, True)
    assert second.guidance.passed(image) == 3
    out = lab("explore", "corpus", "export", str(tmp_path / "out"))
    assert out.out.splitlines()[1] == "2 programs of 2 to make others of new there"
    also = {image[:16]: frozenset({3})}
    kept.write(folder, [*kept.read(folder), kept.Base("x", ("2 exit",), also)])
    less = lab("explore", "corpus", "minimise").out.splitlines()
    assert less[1] == "1 program of 3 to make others of gone: the rest passes as much"
    assert len(kept.read(folder)) == 2


def test_as_json_the_answer_is_an_event(world: World, lab: Callable[..., Any]) -> None:
    done = lab("explore", "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    (event,) = [one for one in events if one["event"] == "explore"]
    assert event["answer"].startswith("1 program new in the corpus")


@pytest.mark.parametrize(
    "words",
    [("sleep",), ("replay",), ("corpus",), ("corpus", "burn"), ("corpus", "export"),
     ("--mode", "flying"), ("--workload", "f/a"), ("--time", "soon"), ("--resume", "latest")],
)  # fmt: skip
def test_words_that_are_wrong(
    world: World, lab: Callable[..., Any], words: tuple[str, ...]
) -> None:
    done = lab("explore", *words)
    assert done.status == 2, done
    assert world.hunts == []


def test_each_mode_has_its_workload_and_a_kernel_that_can(
    world: World, folder: Path, lab: Callable[..., Any], tmp_path: Path
) -> None:
    corpus.keep(Cache(tmp_path / "cache").corpus, [("0 exit",), ("0 munmap at=0 n=1 fail=2",)])
    for mode, config, programs in (
        ("steady", "default", 1), ("racing", "default", 1), ("failing", "fails", 2),
    ):  # fmt: skip
        world.cells.clear()
        assert lab("explore", "-q", "--mode", mode).status == 1
        (cell,) = world.cells
        assert [spec.name for spec in cell.workloads] == [f"explore/{mode}"]
        assert cell.build.config.name == config
        kept = [lines for _, lines in world.hunts[-1].corpus if lines != PROGRAM]
        assert len(kept) == programs, "what fails is carried out where it can"
    unable = lab("explore", "--mode", "failing", "--config", "default")
    assert unable.status == 2
    assert "--mode failing: config default has no CONFIG_FAILSLAB" in unable.err
    assert "--config" in unable.err.splitlines()[1]
    text = (folder / "lab.yaml").read_text().replace(", fault-injection", "")
    (folder / "lab.yaml").write_text(text)
    none = lab("explore", "--mode", "failing")
    assert (none.status, "needs a kernel with CONFIG_FAILSLAB" in none.err) == (2, True)
    assert "add a config with the fragment fault-injection" in none.err


def test_a_program_whose_allocations_fail_is_replayed_where_they_can(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    (folder / "one.txt").write_text("0 mmap at=0 n=1\n0 munmap at=0 n=1 fail=1\n")
    assert lab("explore", "replay", "one.txt", "-q").status == 1
    (cell,) = world.cells
    assert cell.build.config.name == "fails"
    assert cell.workloads[0].name == "explore/failing"


@pytest.mark.parametrize(("mode", "config"), [("failing", "fails"), ("racing", "default")])
def test_a_find_of_another_mode_is_rerun_where_it_was_found(
    world: World, lab: Callable[..., Any], mode: str, config: str
) -> None:
    assert lab("explore", "-q", "--mode", mode).status == 1
    case = f"v6.12/{config}/x86_64/small:explore/{mode}:mapping-remap-dontunmap"
    done = lab("rerun", case, "--plain")
    assert (done.status, done.out.splitlines()[-1]) == (1, f"{case}: fails again")
    for cell in world.cells:
        assert cell.workloads[0].name == f"explore/{mode}"
        assert cell.build.config.name == config
