# SPDX-License-Identifier: GPL-2.0-only
"""``lab doctor``: what this host lacks, and the exact command that mends each thing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from orchestrator import HOME
from orchestrator.commands.workspace import find_places, load
from orchestrator.host import process, tools
from orchestrator.host.cache.files import Cache
from orchestrator.host.orphans import orphans
from orchestrator.kernel.source import debian
from orchestrator.model.arch import ARCHES, Arch
from orchestrator.model.errors import EXIT_HOST, EXIT_OK, HostError, LabError, UserError
from orchestrator.model.spec import LabConfig
from orchestrator.plan.find import ENV_FILE
from orchestrator.plan.problems import ConfigError
from orchestrator.runner.context import cache_folder

OK, NOTE, WARN, BAD = "ok", "note", "warn", "bad"

# A first run of smoke: sources 2 GB, two build folders, roots, ccache; later ones need little.
_FIRST_RUN_MIB, _LATER_MIB = 10 << 10, 3 << 10
# Beside the guests: QEMU's own memory and a compiler on each core.
_SPARE_MIB = 1024
_DEADLINE = 60.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    ``state`` is ``ok``, ``note`` (nothing to do), ``warn`` (something works less well) or ``bad``
    (a run cannot work); ``fix`` is the command that mends it, empty where there is nothing to.
    """

    name: str
    state: str
    text: str
    fix: str = ""


def doctor(as_json: bool, packages: bool) -> int:
    """Print every check as it is made; 3 when something needed is missing."""
    if packages:
        click.echo(" ".join(tools.packages()))
        return EXIT_OK
    found = []
    for check in checks():
        found.append(check)
        if not as_json:
            click.echo(f"{check.state:<5} {check.name}: {check.text}")
            if check.fix and check.state in (WARN, BAD):
                click.echo(f"      mend it with: {check.fix}")
    bad = sum(check.state == BAD for check in found)
    status = EXIT_HOST if bad else EXIT_OK
    if as_json:
        told = {"exit_status": status, "checks": [asdict(check) for check in found]}
        click.echo(json.dumps(told, indent=1))
        return status
    missing = tools.missing()
    if len(missing) > 1:
        click.echo(f"\nall packages at once: {tools.install_command(missing)}")
    warned = sum(check.state == WARN for check in found)
    click.echo(f"\n{bad} to mend, {warned} to know about" if bad or warned else "\nall is well")
    return status


def checks() -> Iterator[Check]:
    """Make the checks one after another."""
    cache = cache_folder()
    config: list[LabConfig] = []
    yield Check("the lab's own folder", OK, str(HOME))
    yield from _lab_yaml(config)
    yield from _python()
    yield from _tools()
    for arch in ARCHES.values():
        yield from _compiler(arch)
        yield from _qemu(arch, cache)
    yield from _toolchains(config[0] if config else None)
    yield from _apt(config[0] if config else None)
    yield from _root_images(cache)
    yield from _cache(cache)
    yield from _memory(config[0] if config else None)
    yield from _leftovers(cache)


# ---------------------------------------------------------------- lab.yaml, Python, programs


def _lab_yaml(into: list[LabConfig]) -> Iterator[Check]:
    try:
        places = find_places()
        into.append(load(places))
    except ConfigError as error:
        editor = f"${{EDITOR:-vi}} {shlex.quote(str(error.path))}"
        yield Check("lab.yaml", BAD, f"{error.message}\n      {error.hint}", editor)
        return
    except UserError as error:
        fix = f"unset {ENV_FILE}" if os.environ.get(ENV_FILE) else "lab init"
        yield Check("lab.yaml", BAD, error.message, fix)
        return
    tree = f", for the kernel tree {places.tree}" if places.tree else ""
    yield Check("lab.yaml", OK, f"{places.lab_yaml}{tree}")


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
    done = _ask(
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


def _qemu(arch: Arch, cache: Cache) -> Iterator[Check]:
    from orchestrator.guest import accel

    if not process.find_tool(arch.qemu):
        return
    done = _ask([arch.qemu, "-machine", "none", "-netdev", "help"])
    package = next(tool.package for tool in tools.TOOLS if tool.name == arch.qemu)
    again = tools.install_command((package,)).replace("install", "install --reinstall", 1)
    if isinstance(done, str):
        yield Check(f"{arch.qemu} starts", BAD, done, again)
        return
    if not re.search(r"^user$", done.text, re.MULTILINE):
        text = "it has no user network (built without slirp)"
        yield Check(f"{arch.qemu} network", BAD, text, again)
    try:
        chosen = accel.choose(arch, cache)
    except (HostError, OSError) as error:
        yield Check(f"accelerator {arch.name}", WARN, str(error))
        return
    yield Check(f"accelerator {arch.name}", NOTE, f"{chosen.name} ({chosen.reason})")


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


def _root_images(cache: Cache) -> Iterator[Check]:
    """The guests' roots: there already, or what making them without root takes."""
    have = [arch.name for arch in ARCHES.values() if any(cache.roots.glob(f"{arch.name}-*.ext2"))]
    if len(have) == len(ARCHES):
        yield Check("guest roots", OK, f"cached for {', '.join(have)}")
        return
    if os.geteuid() == 0:
        yield Check("guest roots", OK, "made by the first run, as root")
        return
    yield from _user_namespaces()


def _user_namespaces() -> Iterator[Check]:
    """What mmdebstrap's mode "unshare" needs (mmdebstrap(1), section MODES)."""
    name = "user namespaces"
    switches = {
        "kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone=1"),
        "user/max_user_namespaces": ("0", "user.max_user_namespaces=10000"),
        "kernel/apparmor_restrict_unprivileged_userns": (
            "1", "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    }  # fmt: skip
    for switch, (off, setting) in switches.items():
        if _read(Path("/proc/sys") / switch).strip() == off:
            yield Check(
                name, BAD, f"switched off by /proc/sys/{switch}", f"sudo sysctl -w {setting}"
            )
            return
    user = _user_name()
    for file, option in (("subuid", "--add-subuids"), ("subgid", "--add-subgids")):
        owners = [line.partition(":")[0] for line in _read(Path("/etc") / file).splitlines()]
        if user not in owners and str(os.getuid()) not in owners:
            text = f"/etc/{file} gives {user} no ids"
            yield Check(name, BAD, text, f"sudo usermod {option} 100000-165535 {user}")
            return
    done = _ask(["unshare", "--user", "--map-root-user", "true"])
    if isinstance(done, str):
        yield Check(name, BAD, f"refused: {done}; root needs none", "sudo -E lab run")
    else:
        yield Check(name, OK, "usable")


# ---------------------------------------------------------------- cache, memory, leftovers


def _cache(cache: Cache) -> Iterator[Check]:
    probe = cache.folder / f".doctor-{os.getpid()}"
    try:
        cache.folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        text = f"{cache.folder} cannot be written: {error.strerror}"
        yield Check("cache", BAD, text, "export LAB_CACHE=$HOME/lab-cache")
        return
    yield Check("cache", OK, str(cache.folder))
    free = shutil.disk_usage(cache.folder).free >> 20
    used = cache.store.exists()
    need = _LATER_MIB if used else _FIRST_RUN_MIB
    text = f"{free >> 10} GiB free, {'a run' if used else 'a first run'} needs {need >> 10}"
    fix = "lab gc --max-size 5G" if used else "export LAB_CACHE=/LARGER/DISK/lab-cache"
    yield Check("disk", OK if free >= need else BAD, text, fix if free < need else "")


def _memory(config: LabConfig | None) -> Iterator[Check]:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _read(Path("/proc/meminfo")), re.MULTILINE)
    if match is None:
        return
    free = int(match[1]) >> 10
    largest = max((shape.memory_mib for shape in config.shapes), default=1024) if config else 1024
    need = largest + _SPARE_MIB
    text = f"{free} MiB available, a guest and a build take up to {need}"
    yield Check("memory", OK if free >= need else WARN, text)


def _leftovers(cache: Cache) -> Iterator[Check]:
    from orchestrator.host.cache.survey import survey_kind

    left = survey_kind(cache, "tmp")
    if left:
        text = f"{len(left)} of killed labs in {cache.tmp}"
        yield Check("leftover files", WARN, text, "lab gc")
    else:
        yield Check("leftover files", OK, "none")
    pids = " ".join(map(str, orphans()))
    if pids:
        yield Check("leftover processes", WARN, f"of killed labs: {pids}", f"kill -9 {pids}")
    else:
        yield Check("leftover processes", OK, "none")


# ---------------------------------------------------------------- small things


def _ask(argv: list[str], input: bytes | None = None) -> process.Completed | str:
    """Run a command; what it said, or in one line why it failed."""
    try:
        done = process.run(argv, deadline=_DEADLINE, input=input, check=False)
    except HostError as error:
        return error.message
    if done.status == 0:
        return done
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"it ended with status {done.status}"


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
