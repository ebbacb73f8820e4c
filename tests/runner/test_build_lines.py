# SPDX-License-Identifier: GPL-2.0-only
"""The source around the errors of a build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_run
from kernel_fixtures import cache, fetch, kernel  # noqa: F401 (fixtures)

from orchestrator.host.cache.files import Cache
from orchestrator.model.errors import Interrupted
from orchestrator.model.kernel import CompilerMessage, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import BuildRecord
from orchestrator.model.spec import KernelSpec
from orchestrator.runner import build_lines
from orchestrator.runner.context import Context, Kernel, Machine, RunValues


def failed(*places: tuple[str, int]) -> BuildRecord:
    errors = tuple(CompilerMessage(file, line, "no such thing") for file, line in places)
    return sample_run.build("k", "x86_64", verdict=Verdict.FAIL, errors=errors)


@pytest.fixture
def patched(fetch: Callable[..., Any], kernel: Path, cache: Cache) -> tuple[Kernel, Context]:  # noqa: F811
    base = fetch(f"path:{kernel}")
    file = kernel / "mm/userfaultfd.c"
    file.write_text(file.read_text().replace("\treturn 3;\n", "\tint x = 3;\n\treturn y;\n"))
    tree = KernelTree(KernelSpec("k", "x"), "6.12", base.tree, fetch(f"path:{kernel}").tree)
    context = Context(RunValues("r", 1), Machine(cache, kernel, kernel), lambda _: None)
    return Kernel(tree, "slot", "path:/x"), context


def test_the_lines_around_an_error_and_which_of_them_the_series_wrote(
    patched: tuple[Kernel, Context],
) -> None:
    record = failed(("mm/userfaultfd.c", 14), ("mm/userfaultfd.c", 14), ("", 0), ("no/such.c", 3))
    found = build_lines.with_lines(record, *patched).sources
    assert list(found) == ["mm/userfaultfd.c:14"]
    assert found["mm/userfaultfd.c:14"].added == (13, 14)
    assert "\treturn y;\n" in found["mm/userfaultfd.c:14"].text


def test_of_many_errors_the_first_are_quoted(patched: tuple[Kernel, Context]) -> None:
    record = failed(*(("mm/userfaultfd.c", line) for line in range(2, 14)))
    assert len(build_lines.with_lines(record, *patched).sources) == build_lines.MOST


def test_of_other_sources_nothing_is_quoted(patched: tuple[Kernel, Context]) -> None:
    record = failed(("mm/userfaultfd.c", 14))
    assert build_lines.with_lines(record, replace(patched[0], exact=False), patched[1]) is record


@pytest.mark.parametrize("wrong", [OSError("gone"), Interrupted("now")])
def test_what_goes_wrong_costs_the_lines_alone(
    patched: tuple[Kernel, Context], monkeypatch: pytest.MonkeyPatch, wrong: Exception
) -> None:
    def fails(*_: Any) -> None:
        raise wrong

    monkeypatch.setattr(build_lines, "PatchedSource", fails)
    record = failed(("mm/userfaultfd.c", 14))
    if isinstance(wrong, Interrupted):
        with pytest.raises(Interrupted):
            build_lines.with_lines(record, *patched)
    else:
        assert build_lines.with_lines(record, *patched) is record
