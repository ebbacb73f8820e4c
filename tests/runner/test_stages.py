# SPDX-License-Identifier: GPL-2.0-only
"""The stage that builds, with a real make and compiler on a kernel of three files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sample_run import good_run

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build.times import known
from orchestrator.model.errors import Interrupted
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.results import CellRecord
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.runner import stages
from orchestrator.runner.context import Context, Event, Kernel, Machine, RunValues

# Each object with a .cmd beside it that names what it was made of, as Kbuild writes it.
MAKEFILE = r"""VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 117
SRC := $(CURDIR)
OBJS := $(O)/mm/a.o $(O)/mm/b.o $(O)/mm/c.o
allnoconfig:
	@cp $(KCONFIG_ALLCONFIG) $(O)/.config
bzImage: $(OBJS)
	@echo "  LD      vmlinux"
	@cat $^ > $(O)/vmlinux
	@mkdir -p $(O)/arch/x86/boot
	@cp $(O)/vmlinux $(O)/arch/x86/boot/bzImage
$(O)/mm/%.o: $(SRC)/mm/%.c $(SRC)/include/linux/mm.h
	@echo "  CC      mm/$*.o"
	@mkdir -p $(O)/mm
	@$(CC) -I$(SRC)/include -c -o $@ $<
	@printf 'deps_mm/$*.o := \\\n  %s \\\n  %s \\\n' $^ > $(O)/mm/.$*.o.cmd
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    return write(tmp_path / "linux")


def write(folder: Path, a: int = 1) -> Path:
    for name, text in {
        "Makefile": MAKEFILE,
        "Kconfig": 'config A\n\tbool "A"\n',
        "include/linux/mm.h": "#define MM 1\n",
        "mm/a.c": f"#include <linux/mm.h>\nint a = MM + {a};\n",
        "mm/b.c": "int b = 2;\n",
        "mm/c.c": "int c = 3;\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., tuple[Kernel, BuildResult, list[str]]]:
    """Build a folder; give what came of it, and what was said before it began."""
    fragment = tmp_path / "x86_64.config"
    fragment.write_text("CONFIG_A=y\n")
    machine = Machine(Cache(tmp_path / "cache"), tmp_path / "run", tmp_path)

    def work(folder: Path) -> tuple[Kernel, BuildResult, list[str]]:
        told: list[Event] = []
        context = Context(RunValues("r", 1), machine, told.append)
        spec = KernelSpec("k", f"path:{folder}")
        kernel = stages.prepare_kernel(spec, context)
        wanted = Build("k/default/x86_64", spec, ConfigSpec("default", (fragment,)), "x86_64")
        built = stages.build_one(wanted, kernel, context)
        return kernel, built, [event.text for event in told if event.stage == "start"]

    return work


def test_the_first_build_of_another_source_begins_near(build, kernel, tmp_path):
    mine, built, told = build(kernel)
    assert (built.verdict, built.made_in[0], built.steps) == (Verdict.PASS, mine.slot, 4)
    assert told == ["first build of this source: everything is compiled"]
    other, near, told = build(write(tmp_path / "mine", a=7))
    assert other.slot != mine.slot
    assert (near.verdict, near.made_in[0], near.steps) == (Verdict.PASS, mine.slot, 2)
    assert told == [f"from the build in {mine.slot}: 1 of 3 objects to compile"]
    assert near.image_sha256 != built.image_sha256
    # A third knows what such a build takes, and the first is not compiled again.
    _, third, told = build(write(tmp_path / "again", a=8))
    assert third.made_in[0] == mine.slot
    assert told == [f"from the build in {mine.slot}: 1 of 3 objects to compile, about 5 s"]
    assert build(kernel)[1].cached
    seen = known("default", "x86_64", 1, Cache(tmp_path / "cache"))
    assert seen.everything is not None
    assert len(seen.sources) == 3


def test_what_was_lent_is_as_built_from_nothing(build, kernel, tmp_path):
    _, built, _ = build(kernel)
    build(write(tmp_path / "mine", a=7))
    cache = Cache(tmp_path / "cache")
    cache.builds.rename(tmp_path / "forgotten")
    _, again, told = build(kernel)
    assert again.steps == 2
    assert "from the last build: 1 of 3 objects" in told[0]
    assert again.image_sha256 == built.image_sha256


def test_far_sources_get_a_work_tree_of_their_own(build, kernel, tmp_path):
    mine, _, _ = build(kernel)
    folder = write(tmp_path / "mine")
    (folder / "include/linux/mm.h").write_text("#define MM 2\n")
    other, built, told = build(folder)
    assert built.made_in[0] == other.slot != mine.slot
    assert told[0].startswith("first build of this source: everything is compiled")
    assert built.steps == 4


def test_what_was_found_stays_where_the_lab_is_stopped_at_its_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> CellRecord:
        raise Interrupted("interrupted")

    (record, _) = good_run().cells
    monkeypatch.setattr(stages.coverage, "with_coverage", lambda record, *_: record)
    monkeypatch.setattr(stages.symbolize, "with_lines", stop)
    found = stages.looked_up(record, (), *[None] * 3)  # type: ignore[arg-type]
    assert found.cases == record.cases
    assert found.notes[-1] == "stopped before the source lines of its traces were looked up"
