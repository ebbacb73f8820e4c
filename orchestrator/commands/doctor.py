# SPDX-License-Identifier: GPL-2.0-only
"""``lab doctor``: what this host lacks, and the exact command that mends each thing."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from orchestrator import HOME
from orchestrator.commands import asking, doctor_cache, doctor_guests, doctor_walls
from orchestrator.commands.asking import BAD, NOTE, OK, WARN, Check
from orchestrator.commands.entry import say
from orchestrator.commands.workspace import find_places, read
from orchestrator.host import process, tools
from orchestrator.kernel.source import debian
from orchestrator.model.arch import ARCHES, Arch
from orchestrator.model.errors import EXIT_HOST, EXIT_OK, LabError, UserError
from orchestrator.model.spec import LabConfig
from orchestrator.plan.find import ENV_FILE, find_lab
from orchestrator.plan.problems import ConfigError
from orchestrator.runner.context import cache_folder


def doctor(as_json: bool, packages: bool) -> int:
    """Print every check as it is made; 3 when something needed is missing."""
    if packages:
        say(" ".join(tools.packages()))
        return EXIT_OK
    found = []
    for check in checks():
        found.append(check)
        if not as_json:
            say(f"{check.state:<5} {check.name}: {check.text}")
            if check.fix and check.state in (WARN, BAD):
                say(f"      mend it with: {check.fix}")
    bad = sum(check.state == BAD for check in found)
    status = EXIT_HOST if bad else EXIT_OK
    if as_json:
        told = {"exit_status": status, "checks": [asdict(check) for check in found]}
        say(json.dumps(told, indent=1))
        return status
    missing = tools.missing()
    if len(missing) > 1:
        say(f"\nall packages at once: {tools.install_command(missing)}")
    states = [check.state for check in found]
    known = states.count(WARN) + states.count(NOTE)
    ill = bad or WARN in states
    say(f"\n{bad} to mend, {known} to know about" if ill else "\nall is well")
    return status


def checks() -> Iterator[Check]:
    """Make the checks one after another."""
    try:
        cache = cache_folder()
    except UserError as error:
        yield Check("cache", BAD, error.message, "export LAB_CACHE=$HOME/.cache/lab")
        return
    config: list[LabConfig] = []
    yield Check("the lab's own folder", OK, str(HOME))
    yield from _lab_yaml(config)
    yield from _python()
    yield from _tools()
    for arch in ARCHES.values():
        yield from _compiler(arch)
        yield from doctor_guests.qemu(arch, doctor_cache.usable(cache))
    yield from _toolchains(config[0] if config else None)
    yield from doctor_guests.loopback()
    yield from doctor_walls.checks(config[0] if config else None)
    yield from _apt(config[0] if config else None)
    yield from doctor_guests.root_images(cache)
    yield from doctor_cache.place(cache)
    yield from doctor_cache.memory(config[0] if config else None)
    yield from doctor_cache.leftovers(cache)


# ---------------------------------------------------------------- lab.yaml, Python, programs


def _lab_yaml(into: list[LabConfig]) -> Iterator[Check]:
    try:
        found = find_lab(Path.cwd(), anywhere=True)
        places = find_places(found.lab_yaml)
        into.append(read(places))
    except ConfigError as error:
        editor = f"${{EDITOR:-vi}} {shlex.quote(str(error.path))}"
        yield Check("lab.yaml", BAD, f"{error.message}\n      {error.hint}", editor)
        return
    except UserError as error:
        yield Check("lab.yaml", BAD, error.message, f"unset {ENV_FILE}")
        return
    if found.serves is not None and found.tree is None:
        text = f"none here nor above: the lab's own, {found.lab_yaml}, serves with --source"
        yield Check("lab.yaml", NOTE, f"{text}; lab init writes one")
        return
    tree = f", for the kernel tree {found.tree}" if found.tree else ""
    yield Check("lab.yaml", OK, f"{found.lab_yaml}{tree}")


def _python() -> Iterator[Check]:
    """The installed packages against what the project asks for."""
    from importlib import metadata

    try:
        wanted = metadata.requires("mm-lab") or []
    except metadata.PackageNotFoundError:
        yield Check("python packages", BAD, "the lab itself is not installed", _setup())
        return
    problems, wrong, count = [], [], 0
    for line in wanted:
        match = re.match(r"([A-Za-z0-9._-]+)\s*((?:[<>=!~]=?[^;]*)?)(;.*)?", line)
        if match is None or (match[3] and "extra" in match[3]):
            continue
        count += 1
        try:
            have = metadata.version(match[1])
        except metadata.PackageNotFoundError:
            problems.append(f"{match[1]} is not installed")
            wrong.append(match[1] + match[2].strip())
            continue
        if not _fits(have, match[2]):
            problems.append(f"{match[1]} is {have}, wanted {match[2].strip()}")
            wrong.append(match[1] + match[2].strip())
    if problems:
        yield Check("python packages", BAD, "; ".join(problems), _setup(*wrong))
    else:
        yield Check("python packages", OK, f"{count} of {count}")


def _setup(*packages: str) -> str:
    """What installs the lab's packages: make in a source tree, pip where a wheel was installed."""
    if (HOME / "pyproject.toml").is_file():
        stamp = shlex.quote(str(HOME / ".venv" / ".lab-setup"))
        return f"rm -f {stamp}; make -C {shlex.quote(str(HOME))} setup"
    return shlex.join([sys.executable, "-m", "pip", "install", *(packages or ("mm-lab",))])


def _fits(have: str, wanted: str) -> bool:
    """Whether a version meets ``>=`` and ``==`` bounds; others are pip's business."""
    for bound in wanted.split(","):
        match = re.fullmatch(r"\s*(>=|==)\s*([0-9.]+)\s*", bound)
        if match is None:
            continue
        a, b = ([int(part) for part in re.findall(r"\d+", text)] for text in (have, match[2]))
        a = a[: len(b)] if match[1] == "==" else a
        if a < b if match[1] == ">=" else a != b:
            return False
    return True


def _tools() -> Iterator[Check]:
    for tool in tools.tools():
        if tool.present():
            if tool.need is not tools.Need.OPTIONAL:
                yield Check(tool.name, OK, tool.why)
            continue
        state = {tools.Need.REQUIRED: BAD, tools.Need.USEFUL: WARN}.get(tool.need, NOTE)
        fix = tools.install_command((tool.package,))
        text = f"not installed (package {tool.package}); needed for: {tool.why}"
        yield Check(tool.name, state, text, fix)


def _compiler(arch: Arch) -> Iterator[Check]:
    """A static program, because that is what workloads are; a missing libc shows only then."""
    name = f"{arch.gcc} -static"
    if not process.find_tool(arch.gcc):
        return  # told as a missing program
    done = asking.ask(
        [arch.gcc, "-static", "-x", "c", "-o", "/dev/null", "-"], b"int main(void){return 0;}"
    )
    if isinstance(done, str):
        names = tuple(t.package for t in tools.tools() if t.package.startswith("libc6-dev"))
        yield Check(name, BAD, f"makes no program: {done}", tools.install_command(names))
    else:
        yield Check(name, OK, f"makes {arch.name} programs")


def _toolchains(config: LabConfig | None) -> Iterator[Check]:
    """What configs name beside the default gcc; to be mended where a profile has such a config."""
    specs = config.configs if config else ()
    profiles = config.profiles if config else ()
    planned = {name for p in profiles for entry in p.entries for name in entry.configs}
    for toolchain in dict.fromkeys(spec.toolchain for spec in specs):
        users = [spec for spec in specs if spec.toolchain == toolchain]
        names = {name for spec in users for name in spec.only_arch or ARCHES}
        asked = {(p, arch) for arch in map(ARCHES.__getitem__, names)
                 for p in toolchain.programs(arch)}  # fmt: skip
        lack = sorted({p for p, _ in asked if not process.find_tool(p)})
        for_what = f"the configs {', '.join(spec.name for spec in users)}"
        if lack:
            packages = sorted({package for p, arch in asked if p in lack
                               for package in toolchain.packages(arch)})  # fmt: skip
            state = WARN if planned & {spec.name for spec in users} else NOTE
            text = f"{', '.join(lack)} not installed (packages {', '.join(packages)}); needed for: "
            fix = tools.install_command(tuple(packages))
            yield Check(f"toolchain {toolchain}", state, text + for_what, fix)
        elif asked:
            yield Check(f"toolchain {toolchain}", OK, for_what)


# ---------------------------------------------------------------- what is fetched


def _apt(config: LabConfig | None) -> Iterator[Check]:
    """The source packages of lab.yaml's kernels, or of the newest series without one."""
    if not process.find_tool("apt-cache"):
        return
    wanted = {"6.12": ""}
    if config is not None:
        pairs = [k.source.partition(":") for k in config.kernels]
        specs = [rest.partition("=") for scheme, _, rest in pairs if scheme == "debian"]
        wanted = {series: version for series, _, version in specs}
    for series, version in wanted.items():
        name = f"linux-source-{series}"
        try:
            name = debian.package(series, version)
            if version:
                debian.check_version(name, version)
            yield Check(name, OK, version or debian.candidate(name))
        except LabError as error:
            sudo = "" if os.geteuid() == 0 else "sudo "
            yield Check(name, BAD, error.message, f"{sudo}apt-get update")
