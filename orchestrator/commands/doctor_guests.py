# SPDX-License-Identifier: GPL-2.0-only
"""`lab doctor`: whether guests can run here: QEMU, KVM, the network to them, their roots."""

from __future__ import annotations

import os
import platform
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from orchestrator.commands import asking
from orchestrator.commands.asking import BAD, NOTE, OK, WARN, Check
from orchestrator.guest.loopback import check_loopback
from orchestrator.host import process, tools
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES, Arch
from orchestrator.model.errors import HostError


def qemu(arch: Arch, cache: Cache) -> Iterator[Check]:
    """Whether QEMU starts, can forward a port, and what speeds it up."""
    from orchestrator.guest import accel

    if not process.find_tool(arch.qemu):
        return
    done = asking.ask([arch.qemu, "-machine", "none", "-netdev", "help"])
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
    name, text = f"accelerator {arch.name}", f"{chosen.name} ({chosen.reason})"
    group = accel.device_group()
    if platform.machine() in arch.kvm_hosts and accel.device_problem() and group:
        user = asking.user_name()
        if user in asking.members(group):
            yield Check(name, WARN, f"{text}; you are in it since you logged in", f"newgrp {group}")
        else:
            fix = f"sudo usermod -aG {group} {shlex.quote(user)}  # then log in anew"
            yield Check(name, WARN, text, fix)
        return
    yield Check(name, NOTE, text)


def loopback() -> Iterator[Check]:
    """Whether guests could be reached."""
    try:
        check_loopback()
    except HostError as error:
        yield Check("loopback", BAD, error.message, error.hint)
    else:
        yield Check("loopback", OK, "127.0.0.1 answers")


def root_images(cache: Cache) -> Iterator[Check]:
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
        if asking.read(Path("/proc/sys") / switch).strip() == off:
            yield Check(
                name, BAD, f"switched off by /proc/sys/{switch}", f"sudo sysctl -w {setting}"
            )
            return
    user = asking.user_name()
    for file, option in (("subuid", "--add-subuids"), ("subgid", "--add-subgids")):
        owners = [line.partition(":")[0] for line in asking.read(Path("/etc") / file).splitlines()]
        if user not in owners and str(os.getuid()) not in owners:
            text = f"/etc/{file} gives {user} no ids"
            yield Check(name, BAD, text, f"sudo usermod {option} 100000-165535 {user}")
            return
    done = asking.ask(["unshare", "--user", "--map-root-user", "true"])
    if isinstance(done, str):
        yield Check(name, BAD, f"refused: {done}; root needs none", "sudo -E lab run")
    else:
        yield Check(name, OK, "usable")
