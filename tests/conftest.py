# SPDX-License-Identifier: GPL-2.0-only
"""How deep the tests of properties go, and what all tests of a session share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import WorkloadSpec
from orchestrator.workload.programs import OWN_LIBRARY, compile_all

# A property's examples: few while one works, many in ``make slow``.  Also ``--hypothesis-profile``.
# A deadline for each example would measure the other processes of the machine.
settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None)
# A developer's own defaults are no matter of the tests, in their processes neither.
os.environ["LAB_CONFIG"] = "none"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(autouse=True)
def _not_cancelled() -> Iterator[None]:
    """A lab that was stopped starts nothing any more; the next test is another lab."""
    yield
    process._cancelled.clear()


@pytest.fixture(scope="session")
def programs_cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache of compiled guest programs that all workers of the session fill and use.

    The lab keeps them by their content and compiles each under a lock of its own.
    """
    base = tmp_path_factory.getbasetemp()
    return Cache((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "programs")


@pytest.fixture(scope="session")
def compiled(programs_cache: Cache) -> Callable[..., dict[str, Path]]:
    """Compile C programs with the shared library, for the machine that the tests run on."""
    natives = [arch for arch in ARCHES.values() if not arch.cross]
    if not natives or not shutil.which(natives[0].gcc):
        pytest.skip("no gcc")

    def work(*sources: Path) -> dict[str, Path]:
        workloads = [
            WorkloadSpec(
                f"{path.parent.name}/{path.stem}", path.parent.name, path.parent, path.name
            )
            for path in sources
        ]
        return compile_all(workloads, OWN_LIBRARY, natives[0], programs_cache)

    return work
