# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own selftests as workloads.  Pure.

A collection is one workload in lab.yaml, in a plan and on the command line (``kselftest/mm``):
which programs it has is known only when the tree under test was looked at.  Then it is taken apart
into one workload a program, each with a guest of its own (``kselftest/mm/cow``), and these are
what results, comparisons and ``lab rerun`` speak of.  Such a name may also be asked for outright, a
program that no table knows as well, and so may a collection that has no table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from orchestrator.model.errors import UserError
from orchestrator.model.formats import not_built
from orchestrator.model.kernel import Selftest, Selftests
from orchestrator.model.names import BUILD, NEEDS, Verdict
from orchestrator.model.spec import (
    Cell,
    NotReady,
    SelftestRun,
    SelftestSpec,
    WorkloadSpec,
)
from orchestrator.plan.suites import named_suite

# tools/testing/selftests/kselftest/runner.sh: where a collection has no settings.
DEFAULT_TIMEOUT = 45.0
# What a collection without a limit gets.
LONGEST = 3600.0
_REASON = 500
# A collection's folders and a program are looked for below the tree: no name leads out of it.
_COLLECTION = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII)
_PROGRAMS = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.+*?\[\]!-]+){0,2}", re.ASCII)


# ---------------------------------------------------------------- names


def named(pattern: str, workloads: Iterable[WorkloadSpec]) -> WorkloadSpec | None:
    """The workload that ``FAMILY/COLLECTION[/PROGRAM[/RUN]]`` stands for; None where it is none.

    A collection below another one is written with a dot (``net.forwarding``).  A KUnit suite that
    no manifest has is named too (:mod:`.suites`).

    :param workloads: those of the manifests: a family with one collection may have any.
    :raises UserError: where it begins as one and can be none.
    """
    workloads = tuple(workloads)
    known = {spec.name: spec for spec in workloads if spec.selftests is not None}
    if pattern in known:
        return known[pattern]
    if (suite := named_suite(pattern, workloads)) is not None:
        return suite
    family, _, rest = pattern.partition("/")
    name, _, only = rest.partition("/")
    model = next((spec for spec in known.values() if spec.family == family), None)
    if model is None or not name or any(sign in name for sign in "*?["):
        return None
    if not _COLLECTION.fullmatch(name) or not _PROGRAMS.fullmatch(rest[len(name) :]):
        raise UserError(
            f"{pattern!r}: expected {family}/COLLECTION, {family}/COLLECTION/PROGRAM or "
            f"{family}/COLLECTION/PROGRAM/RUN, of letters, digits and . _ -",
            f"a collection below another one is written with a dot: {family}/net.forwarding",
        )
    exact = known.get(f"{family}/{name}")
    if exact is not None and exact.selftests is not None:
        return replace(exact, name=pattern, selftests=replace(exact.selftests, only=only))
    described = f"The kernel's selftests {name.replace('.', '/')}, without a table of set-ups"
    return replace(
        model,
        name=pattern,
        description=described,
        needs=(),
        selftests=SelftestSpec(name.replace(".", "/"), only=only),
    )


def asked_for(spec: WorkloadSpec, patterns: Iterable[str]) -> bool:
    """Whether a pattern means what is not of every day: ``*`` leaves it out, its family does not.

    Collections of selftests and KUnit's suites need a build of their own, and take minutes; what
    runs on the host tests no guest.
    """
    special = spec.selftests is not None or spec.kunit or spec.host is not None
    return not special or any(pattern.partition("/")[0] == spec.family for pattern in patterns)


# ---------------------------------------------------------------- taking apart


def collections(cell: Cell) -> tuple[SelftestSpec, ...]:
    """What has to be built for a cell: one of each collection, with the table it has."""
    found: dict[str, SelftestSpec] = {}
    for workload in cell.workloads:
        spec = workload.selftests
        if spec is not None and workload.bundle is None:
            found.setdefault(spec.collection, replace(spec, only=""))
    return tuple(found.values())


def expand(cell: Cell, built: Mapping[str, Selftests]) -> Cell:
    """``cell`` with a workload for each program of its collections, a guest for each workload.

    :param built: by collection.
    """
    workloads: dict[str, WorkloadSpec] = {}
    taken_apart = False
    for spec in cell.workloads:
        if spec.selftests is None or spec.selftests.collection not in built:
            workloads[spec.name] = spec
            continue
        taken_apart = True
        for one in programs(spec, built[spec.selftests.collection], cell.build.arch):
            workloads.setdefault(one.name, one)
    if not taken_apart:
        return cell
    # What one leaves behind (huge pages, swap, page cache) must not decide how the next one fares.
    return replace(cell, workloads=tuple(workloads.values()), fresh_guests=True)


def programs(spec: WorkloadSpec, built: Selftests, arch: str) -> tuple[WorkloadSpec, ...]:
    """One workload for each program of a collection, and for each way in which one is run."""
    tests = spec.selftests
    assert tests is not None
    base = f"{spec.family}/{tests.collection.replace('/', '.')}"
    if built.missing or built.failure:
        wrong = Verdict.FAIL if built.failure else Verdict.SKIP
        told = NotReady(BUILD, wrong, (built.failure or built.missing)[:_REASON])
        return (replace(spec, not_ready=(told,)),)
    found = [
        _workload(spec, built, test, run, base)
        for test in built.tests
        for run in _runs(test, tests, arch)
        if _wanted(_short(run), tests.only)
    ]
    if found:
        return tuple(found)
    told = NotReady(
        NEEDS, Verdict.SKIP, f"the collection {base} of this kernel has no such program"
    )
    if not tests.only:
        told = replace(told, reason=f"the collection {base} of this kernel has no program")
    return (replace(spec, not_ready=(told,)),)


def _short(run: SelftestRun) -> str:
    return f"{run.program}/{run.name}" if run.name else run.program


def _wanted(short: str, only: str) -> bool:
    return not only or fnmatchcase(short, only) or fnmatchcase(short.partition("/")[0], only)


def _runs(test: Selftest, tests: SelftestSpec, arch: str) -> tuple[SelftestRun, ...]:
    if test.name in tests.left_out:
        return ()
    listed = [run for run in tests.runs if run.program == test.name]
    here = tuple(run for run in listed if not run.only_arch or arch in run.only_arch)
    if listed:
        return here
    # A helper that does not build is told too: what calls it fails without saying so.
    if test.role == "test" or (test.role == "built" and (tests.helpers or test.problem)):
        return (SelftestRun(test.name),)
    return ()


def _workload(
    spec: WorkloadSpec, built: Selftests, test: Selftest, run: SelftestRun, base: str
) -> WorkloadSpec:
    words = [word for line in run.setup for word in ("-s", line)]
    words += [word for line in run.after for word in ("-a", line)]
    return replace(
        spec,
        name=f"{base}/{_short(run)}",
        args=(built.folder, *words, "--", f"./{test.name}", *run.args),
        description="",
        needs=run.needs,
        timeout=_timeout(spec, built, run),
        deterministic=run.deterministic,
        messages=run.messages.beside(spec.messages),
        bundle=built.files,
        not_ready=_not_ready(test, run),
    )


def _timeout(spec: WorkloadSpec, built: Selftests, run: SelftestRun) -> float:
    """What the table says of the program, else the collection's ``settings`` or less."""
    if run.timeout:
        return run.timeout
    stated = DEFAULT_TIMEOUT if built.timeout is None else built.timeout or LONGEST
    tests = spec.selftests
    return min(spec.timeout, stated) if tests is not None and tests.runs else stated


def _not_ready(test: Selftest, run: SelftestRun) -> tuple[NotReady, ...]:
    if run.skip:
        return (NotReady(NEEDS, Verdict.SKIP, run.skip),)
    if not test.problem:
        return ()
    if test.lacks:
        reason = f"not built: this host has no {test.lacks} for the guest: {test.problem}"
        return (NotReady(BUILD, Verdict.SKIP, reason[:_REASON]),)
    reason = not_built(test.problem, test.repaired)
    return (NotReady(BUILD, Verdict.FAIL, reason[:_REASON], runs=bool(test.repaired)),)
