# SPDX-License-Identifier: GPL-2.0-only
"""Folders of the host's inside a guest: 9p over virtio, which QEMU serves by itself.

QEMU does what the guest asks with the rights of the user who started the lab (security_model=none;
qemu(1), "-fsdev local"): a file that the guest writes is that user's, whoever wrote it there.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.guest.qemu import escaped
from orchestrator.guest.ssh import Ssh
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError, UserError

# The one folder of the guests' read-only root that is empty and takes a mount.
TOP = "/home"
#: What it takes of the kernel: a fragment of kernel-configs that no other config has.
FRAGMENT = "share.config"
#: Seconds for the guest to mount one.
DEADLINE = 30.0
# Bytes a message may have; the default of 128 KiB makes reading slow
# (Documentation/filesystems/9p.rst, v6.12).
_MSIZE = 512 << 10


@dataclass(frozen=True)
class Share:
    """A folder of the host, and how it is called below ``/home`` in the guest."""

    folder: Path
    name: str
    writable: bool = False

    @property
    def place(self) -> str:
        """Where it is in the guest."""
        return f"{TOP}/{self.name}"


def parse_share(text: str) -> Share:
    """``DIR``, or ``DIR:rw`` where the guest may write into it.

    :raises UserError: when there is no such folder.
    """
    name = text.removesuffix(":rw")
    if not name:
        raise UserError(f"--share {text}: which folder?", "write DIR or DIR:rw")
    folder = Path(name).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"--share {text}: there is no folder {folder}", "write DIR or DIR:rw")
    return Share(folder, folder.name or "root", name != text)


def refuse_twins(shares: Sequence[Share]) -> None:
    """Two folders cannot have one place in the guest.

    :raises UserError: when two would.
    """
    places = [share.place for share in shares]
    twins = [place for place in places if places.count(place) > 1]
    if twins:
        raise UserError(f"--share: two folders would be {twins[0]} in the guest")


def qemu_words(arch: Arch, shares: Sequence[Share]) -> tuple[str, ...]:
    """What QEMU's command line needs for them, behind all else."""
    words: list[str] = []
    for number, share in enumerate(shares):
        access = "" if share.writable else ",readonly=on"
        words += [
            "-fsdev", f"local,id=share{number},path={escaped(share.folder)},security_model=none,"
                      f"multidevs=remap{access}",
            "-device", f"virtio-9p-{arch.virtio},fsdev=share{number},mount_tag=share{number}",
        ]  # fmt: skip
    return tuple(words)


def mount(ssh: Ssh, shares: Sequence[Share], slowness: float = 1.0) -> None:
    """Mount them in a guest that was booted with :func:`qemu_words`.

    :param slowness: how many times longer than usual it may take.
    :raises HostError: when the guest does not.
    :raises SshLost: when it cannot be asked.
    """
    if not shares:
        return
    # The root is read-only: a tmpfs takes the folders to mount on.
    lines = [f"busybox mount -t tmpfs -o mode=0755 tmpfs {TOP}"]
    for number, share in enumerate(shares):
        place = shlex.quote(share.place)
        options = f"trans=virtio,version=9p2000.L,msize={_MSIZE},{'rw' if share.writable else 'ro'}"
        lines.append(f"mkdir {place} && busybox mount -t 9p -o {options} share{number} {place}")
    answer = ssh.run(" && ".join(lines), DEADLINE * slowness)
    if answer.status != 0:
        raise HostError(
            f"the guest did not mount the shared folder: {answer.stderr.strip()}",
            "its kernel needs CONFIG_9P_FS and CONFIG_NET_9P_VIRTIO",
        )
