# SPDX-License-Identifier: GPL-2.0-only
"""What a guest of the lab needs of its kernel, looked for before the compile.

The lab boots a kernel with no initramfs and no modules: what finds the console, the disks and the
root must be built in.  Distributions have most of that as modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.kernel.build.kconfig import GUESTS
from orchestrator.model.arch import Arch
from orchestrator.model.kernel import ConfigMismatch
from orchestrator.model.spec import ConfigSpec

#: The fragment that ships for it: ``kernel-configs/guest.config``.
FRAGMENT = "guest"


@dataclass(frozen=True)
class _Need:
    """Symbols that must all be y; ``instead`` are others that do as well, all of them together."""

    what: str
    symbols: tuple[str, ...]
    instead: tuple[str, ...] = ()


_ALWAYS = (
    _Need("kernel log", ("PRINTK", "TTY")),
    _Need("programs", ("MULTIUSER", "BINFMT_ELF", "BINFMT_SCRIPT", "FUTEX", "EPOLL")),
    _Need("file systems", ("PROC_FS", "SYSFS", "TMPFS", "DEVTMPFS")),
    # The root has no device node of its own, and the first process redirects to /dev/null.
    _Need("/dev", ("DEVTMPFS_MOUNT",)),
    _Need("disks", ("BLOCK", "VIRTIO_BLK")),
    # fs/ext4/super.c registers ext4 as "ext2" too, where no driver of that name is built.
    _Need("root", ("EXT2_FS",), ("EXT4_FS", "EXT4_USE_FOR_EXT2")),
    _Need("network", ("NET", "INET", "UNIX", "VIRTIO_NET")),
    _Need("logins", ("UNIX98_PTYS",)),
)
# By what :attr:`Arch.virtio` and :attr:`Arch.console` say of the machine.
_VIRTIO = {
    "pci": _Need("devices", ("PCI", "VIRTIO_PCI")),
    "device": _Need("devices", ("VIRTIO_MMIO",)),
}
_CONSOLE = {
    "ttyS0": _Need("console", ("SERIAL_8250", "SERIAL_8250_CONSOLE")),
    "ttyAMA0": _Need("console", ("SERIAL_AMBA_PL011", "SERIAL_AMBA_PL011_CONSOLE")),
}
# The kernel takes its own command line in place of the lab's (arch/x86/kernel/setup.c,
# drivers/of/fdt.c, 6.12): no root, no console.
_FORBIDDEN = ("CMDLINE_OVERRIDE", "CMDLINE_FORCE")
# Its /init would run in place of the lab's root (init/main.c, kernel_init_freeable()).
_INITRAMFS = "INITRAMFS_SOURCE"


def unmet(arch: Arch, dotconfig: Mapping[str, str]) -> tuple[ConfigMismatch, ...]:
    """What a guest of this architecture needs and a .config lacks or has as a module.

    :param dotconfig: the whole .config, symbol to value.
    """
    missed = []
    for need in (*_ALWAYS, _VIRTIO[arch.virtio], _CONSOLE[arch.console]):
        if need.instead and all(dotconfig.get(name) == "y" for name in need.instead):
            continue
        for name in need.symbols:
            got = dotconfig.get(name, "n")
            if got != "y":
                missed.append(ConfigMismatch(name, "y", got, f"{GUESTS}{need.what}"))
    for name in _FORBIDDEN:
        if dotconfig.get(name) == "y":
            missed.append(ConfigMismatch(name, "n", "y", f"{GUESTS}command line"))
    packed = dotconfig.get(_INITRAMFS, "n")
    if packed not in ("n", '""'):
        missed.append(ConfigMismatch(_INITRAMFS, '""', packed, f"{GUESTS}root"))
    return tuple(missed)


def sentence(missed: Sequence[ConfigMismatch], full: Path | None, config: ConfigSpec) -> str:
    """What of :func:`unmet` there is among ``missed``, and what mends it; empty for none.

    :param full: the complete .config.
    :param config: where it stands, and the fragments beside it.
    """
    mine = [miss for miss in missed if miss.fragment.startswith(GUESTS)]
    if not mine:
        return ""
    forced = [miss.symbol for miss in mine if miss.wanted == "n"]
    wanting = [
        f"{miss.symbol} is {miss.got} ({miss.fragment.removeprefix(GUESTS)})"
        for miss in mine
        if miss.wanted == "y"
    ]
    told = []
    if wanting:
        told.append(
            "a guest boots without modules or initramfs, and in "
            f"{full.name if full else config.name} {', '.join(wanting)}"
        )
        names = [path.stem if path != full else path.name for path in config.fragments]
        if FRAGMENT in names and names[-1] == FRAGMENT:
            unmet_by = {miss.symbol: miss.unmet for miss in mine if miss.unmet}
            told += [f"CONFIG_{name}: {why}" for name, why in unmet_by.items()]
        else:
            others = [name for name in names if name != FRAGMENT]
            told.append(
                f"the fragment `{FRAGMENT}` on top of it mends that: "
                f"fragments: [{', '.join([*others, FRAGMENT])}]"
            )
    for name in forced:
        told.append(
            f"CONFIG_{name} has the kernel take CONFIG_CMDLINE in place of the lab's command "
            f"line: a fragment with '# CONFIG_{name} is not set' mends it"
        )
    if any(miss.symbol == _INITRAMFS for miss in mine):
        told.append(
            f"CONFIG_{_INITRAMFS} puts an initramfs into the image, which would run in place of "
            f'the lab\'s root: a fragment with CONFIG_{_INITRAMFS}="" mends it'
        )
    return "; ".join(told)
