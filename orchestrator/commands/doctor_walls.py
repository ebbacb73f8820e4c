# SPDX-License-Identifier: GPL-2.0-only
"""`lab doctor`: which walls stand here around guests and around builds of others' code."""

from __future__ import annotations

import os
from collections.abc import Iterator

from orchestrator.commands import asking
from orchestrator.commands.asking import BAD, NOTE, OK, WARN, Check
from orchestrator.guest.qemu import SANDBOX
from orchestrator.host import process, tools, walls
from orchestrator.host import sandbox as host_sandbox
from orchestrator.model.arch import ARCHES, Arch
from orchestrator.model.errors import HostError, LabError
from orchestrator.model.spec import LabConfig
from orchestrator.model.walls import BUBBLEWRAP, WallsSpec

_WALL = "wall: "


def checks(config: LabConfig | None) -> Iterator[Check]:
    """Each wall, and what is to be done where there is none."""
    spec = config.walls if config else WallsSpec()
    for arch in ARCHES.values():
        yield from _qemu(arch)
    yield from _limits()
    yield _run_as(spec)
    yield _builds(spec)
    yield _host_tests()


def _qemu(arch: Arch) -> Iterator[Check]:
    """Whether this QEMU was built with seccomp: without it no guest starts."""
    if not process.find_tool(arch.qemu):
        return  # told as a missing program
    done = asking.ask([arch.qemu, "-sandbox", SANDBOX, "-machine", "none", "-netdev", "help"])
    if isinstance(done, str):
        package = next(tool.package for tool in tools.TOOLS if tool.name == arch.qemu)
        again = tools.install_command((package,)).replace("install", "install --reinstall", 1)
        yield Check(f"{_WALL}{arch.qemu}", BAD, f"no sandbox, so no guest starts: {done}", again)
    else:
        text = "seccomp: no further rights, programs or priorities; no network but its SSH forward"
        yield Check(f"{_WALL}{arch.qemu}", OK, text)


def _limits() -> Iterator[Check]:
    done = asking.ask(["prlimit", "--core=0", "--", "true"])
    if isinstance(done, str):
        fix = tools.install_command(("util-linux",))
        yield Check(f"{_WALL}limits", BAD, f"prlimit does not work: {done}", fix)
    else:
        text = "memory, size of files and processor time of guests and builds"
        yield Check(f"{_WALL}limits", OK, text)


def _run_as(spec: WallsSpec) -> Check:
    name = f"{_WALL}user"
    if spec.run_as:
        try:
            walls.put_up(WallsSpec(run_as=spec.run_as))
        except LabError as error:
            return Check(name, BAD, error.message, error.hint or "")
        finally:
            walls.put_up(WallsSpec())
        return Check(name, OK, f"guests and builds run as {spec.run_as}")
    if os.geteuid() == 0:
        text = "guests and builds run as root; `run_as:` in lab.yaml names another user"
        return Check(name, NOTE, text)
    return Check(name, NOTE, f"guests and builds run as {asking.user_name()}, as the lab does")


def _builds(spec: WallsSpec) -> Check:
    """The fence, in the words of lab.yaml where that has it."""
    name, fix = f"{_WALL}builds", tools.install_command(("bubblewrap",))
    try:
        works = walls.bubblewrap_works()
    except HostError as error:
        return Check(name, WARN, error.message, fix)
    if spec.build_sandbox == BUBBLEWRAP:
        if works:
            return Check(name, OK, "bubblewrap: no network, nothing to write but the build folder")
        return Check(name, BAD, "bubblewrap does not work here, and lab.yaml wants it", fix)
    text = "none: a series' Makefiles run as you; `build_sandbox: bubblewrap` in lab.yaml fences"
    return Check(name, NOTE, f"{text} them in{'' if works else ', once bubblewrap works here'}")


def _host_tests() -> Check:
    kind = host_sandbox.kind()
    if not kind:
        fix = tools.install_command(("bubblewrap",))
        return Check(f"{_WALL}host tests", WARN, host_sandbox.BARE, fix)
    return Check(f"{_WALL}host tests", OK, kind)
