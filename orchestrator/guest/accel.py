# SPDX-License-Identifier: GPL-2.0-only
"""Which accelerator runs guests here: KVM when a probe guest really boots, else TCG.

``/dev/kvm`` can exist, open and create a VM and still not run one (nested hypervisors), so a tiny
guest is run and must switch itself off within seconds.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import platform
import stat
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError

PROBE_DEADLINE = 6.0


@dataclass(frozen=True)
class Accelerator:
    """``kvm`` or ``tcg``, with the reason why."""

    name: str
    reason: str


def choose(arch: Arch, cache: Cache) -> Accelerator:
    """Choose for one architecture; the probe's answer is kept until the next boot of the host."""
    host = platform.machine()
    if host not in arch.kvm_hosts:
        return Accelerator("tcg", f"the host is {host}")
    if refused := device_problem():
        return Accelerator("tcg", refused)
    kept = cache.kvm_probe(arch.name)
    key = Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(os.getuid())
    try:
        answer = json.loads(kept.read_text())
        if answer["key"] == key:
            return Accelerator(answer["name"], answer["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        found = _probe(arch)
    except process.ToolMissing as error:  # not kept: it may be installed at any time
        return Accelerator("tcg", f"no KVM probe: {error.message}")
    with contextlib.suppress(OSError):  # one cut off by another lab's is asked again
        cache.folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"key": key, "name": found.name, "reason": found.reason}))
    return found


def device_problem(device: Path = Path("/dev/kvm")) -> str:
    """Say why this user cannot open KVM's device; "" where that is not what stands in the way."""
    if not device.exists():
        return f"there is no {device}"
    if os.access(device, os.R_OK | os.W_OK):
        return ""
    group = device_group(device)
    return f"{device} is not yours to open" + (f", but group {group}'s" if group else "")


def device_group(device: Path = Path("/dev/kvm")) -> str:
    """The group that may open the device (``kvm`` on Debian); "" where none may."""
    try:
        info = device.stat()
        name = grp.getgrgid(info.st_gid).gr_name
    except (OSError, KeyError):
        return ""
    both = stat.S_IRGRP | stat.S_IWGRP
    return name if info.st_mode & both == both and info.st_gid != 0 else ""


def _probe(arch: Arch) -> Accelerator:
    with tempfile.TemporaryDirectory(prefix="kvm-", dir=process.temp_folder()) as folder:
        image = Path(folder) / "probe"
        argv, good = _PROBES[arch.name](image)
        try:
            done = process.run(argv, deadline=PROBE_DEADLINE, check=False)
        except process.ToolMissing:
            raise
        except HostError as error:
            return Accelerator("tcg", f"a KVM probe guest failed: {error.message}")
    if done.status == good:
        return Accelerator("kvm", "a probe guest booted")
    text = done.stderr.decode(errors="replace").strip().splitlines()
    said = text[0] if text else f"QEMU ended with status {done.status}"
    return Accelerator("tcg", f"a KVM probe guest did not boot: {said}")


def _probe_x86(image: Path) -> tuple[list[str | Path], int]:
    """A multiboot kernel that writes 0x10 to isa-debug-exit: QEMU then ends with 0x10 * 2 + 1.

    Header: Multiboot specification 0.6.96, section 3.1, with the address fields (bit 16).
    """
    code = bytes((0x66, 0xBA, 0xF4, 0x00, 0xB0, 0x10, 0xEE, 0xF4, 0xEB, 0xFD))
    load = 0x100000
    flags = 1 << 16
    header = struct.pack(
        "<8I", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF, load, load, 0, 0, load + 32
    )
    image.write_bytes(header + code)
    return [
        "qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-machine", "pc", "-m", "16",
        "-nodefaults", "-display", "none", "-kernel", image,
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
    ], 33  # fmt: skip


def _probe_arm64(image: Path) -> tuple[list[str | Path], int]:
    """Raw code that asks PSCI to switch off (SYSTEM_OFF, 0x84000008; Arm DEN 0022)."""
    # movz w0, #0x8400, lsl #16; movk w0, #0x0008; hvc #0
    image.write_bytes(struct.pack("<3I", 0x52B08000, 0x72800100, 0xD4000002))
    return [
        "qemu-system-aarch64", "-accel", "kvm", "-cpu", "host", "-machine", "virt", "-m", "64",
        "-nodefaults", "-display", "none", "-device", f"loader,file={image},addr=0x40200000",
        "-device", "loader,addr=0x40200000,cpu-num=0",
    ], 0  # fmt: skip


_PROBES: dict[str, Callable[[Path], tuple[list[str | Path], int]]] = {
    "x86_64": _probe_x86,
    "arm64": _probe_arm64,
}
