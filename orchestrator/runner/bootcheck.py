# SPDX-License-Identifier: GPL-2.0-only
"""Whether the guest that runs is the one that was asked for: configuration and shape.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.guest.facts import Facts
from orchestrator.kernel.build.kconfig import tell
from orchestrator.kernel.lines import elf
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.values import BuildResult, Cell, Verdict
from orchestrator.plan.capabilities import broken
from orchestrator.runner.shapecheck import deviations

_MOST_TOLD = 10


@dataclass(frozen=True)
class Checked:
    """The verdict with its reason, and what else the report should note."""

    verdict: Verdict
    reason: str = ""
    note: str = ""


def check_config(
    built: BuildResult, made: Mapping[str, str], running: Mapping[str, str]
) -> Checked:
    """Compare what was asked for with what the build made of it and with the running guest.

    :param made: the build's ``.config``, symbol to value; empty where it is not kept.
    :param running: /proc/config.gz, empty where the guest showed none.
    """
    told = [tell(miss) for miss in built.mismatches]
    note = ""
    if running and made:
        names = sorted(made.keys() | running.keys())
        differ = [name for name in names if made.get(name, "n") != running.get(name, "n")]
        told += [
            f"CONFIG_{name} is {running.get(name, 'n')} in the running guest, "
            f"{made.get(name, 'n')} in .config"
            for name in differ[:_MOST_TOLD]
        ]
    found = Verdict.FAIL if told else Verdict.PASS
    if not running and made.get("IKCONFIG_PROC") == "y":
        found = found if told else Verdict.ERROR
        told.append("the guest showed no /proc/config.gz although IKCONFIG_PROC is on")
    elif not running:
        note = "the guest has no /proc/config.gz: only .config was checked"
    return Checked(found, "; ".join(told), note)


def refuse_other_kernel(built: BuildResult, facts: Facts) -> None:
    """See that the guest runs the kernel that was built: the names the linker gave them are equal.

    A kernel without such a name is not looked at.

    :raises HostError: when it runs another one; nothing that it does says anything of this one.
    """
    running = elf.build_id(facts.notes)
    if built.vmlinux is None or not running:
        return
    try:
        with elf.opened(built.vmlinux) as file:
            made = file.build_id
    except (elf.NotElf, OSError):
        return
    if made and made != running:
        raise HostError(
            f"the guest runs another kernel ({running.hex()[:12]}) than was built "
            f"({made.hex()[:12]}): its image holds stale parts",
            f"remove {built.vmlinux.parent} and run it again",
        )


def check_shape(cell: Cell, facts: Facts, config: Mapping[str, str]) -> Checked:
    """Compare the cell's shape with the running guest.

    A kernel that is not configured for something is a skip, unless it or its config promised it; a
    guest that does not tell is an error.

    :param config: the guest's configuration, symbol to value.
    """
    bad = deviations(cell.shape, ARCHES[cell.build.arch], facts, config)
    excused = [item for item in bad if item.lacks and not broken(cell, (item.word,))]
    unknown = [item for item in bad if item.unknown]
    found = Verdict.SKIP if bad else Verdict.PASS
    if len(excused) < len(bad):
        found = Verdict.ERROR if len(excused) + len(unknown) == len(bad) else Verdict.FAIL
    return Checked(found, "; ".join(item.text for item in bad))
