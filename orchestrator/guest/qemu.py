# SPDX-License-Identifier: GPL-2.0-only
"""QEMU: its command line as a pure function, and the running process with its monitor (QMP)."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.host import process
from orchestrator.host.starved import HostTime, ran, waited_for_cpu
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.spec import ShapeSpec

START_DEADLINE = 20.0
# What the signals of a limit mean (setrlimit(2)); the limits are :mod:`orchestrator.host.walls`'.
_LIMITS = {
    signal.SIGXFSZ: "it was ended since a file that it writes, such as the console's log, came to "
                    "its limit",
    signal.SIGXCPU: "it was ended since it had used all of its processor time",
}  # fmt: skip
_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)")

# What an unhealthy kernel must do here: stop at once, loudly.  panic=-1 resets, and QEMU turns
# the reset into a pause with the guest's memory still there (-action below).
BOOT_ARGS: tuple[str, ...] = (
    "root=/dev/vda",
    "ro",
    "rootfstype=ext2",
    "init=/sbin/lab-init",
    "panic=-1",
    "oops=panic",
    "printk.devkmsg=on",
    "log_buf_len=4M",
    # A workload that lowers the console's log level, or a shape that says quiet, must not make the
    # lab deaf.
    "ignore_loglevel",
)
# An emulated CPU may stand still for long on a busy host.  A soft lockup is told after twice this
# thresh (60 is the most it takes, kernel/watchdog.c), an RCU stall after this time-out: seconds.
TCG_BOOT_ARGS = ("watchdog_thresh=60", "rcupdate.rcu_cpu_stall_timeout=120")
# What QEMU never does again once it runs, enforced by seccomp (qemu(1), "-sandbox"): calls that are
# long obsolete, more rights, other programs, other priorities than it was started with.
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
# In the guest's folder, which is QEMU's working directory: a socket's whole path may have no more
# than 107 bytes (unix(7)), and the cache may well lie deeper than that.
_MONITOR, _CONSOLE = "qmp.sock", "console.sock"


@dataclass(frozen=True)
class GuestFiles:
    """The files one guest is made of; ``folder`` is its private place and QEMU's own."""

    image: Path
    root: Path
    folder: Path
    console: Path
    keys_folder: Path | None = None  # where the seed is, of a copy that has none of its own

    @property
    def seed(self) -> Path:
        """The tar file with this guest's keys and shape."""
        return (self.keys_folder or self.folder) / "seed.tar"

    @property
    def swap(self) -> Path:
        """The sparse file behind the swap disk, where the shape has one."""
        return self.folder / "swap.raw"


def boot_arguments(arch: Arch, shape: ShapeSpec, accelerator: str = "kvm") -> str:
    """The kernel command line; the shape's own words come last and so win."""
    words = [f"console={arch.console}", *BOOT_ARGS, *arch.boot_args]
    if accelerator == "tcg":
        words += TCG_BOOT_ARGS
    if shape.nodes > 1:
        words += [word.format(nodes=shape.nodes) for word in arch.numa_boot_args]
    return " ".join([*words, *shape.boot_args])


@dataclass(frozen=True)
class Memory:
    """Files that are a guest's memory, one a node: descriptors that QEMU inherits.

    ``private`` copies see what the files hold and write their changes elsewhere (MAP_PRIVATE).
    """

    fds: tuple[int, ...]
    private: bool = False


def memory_sizes(arch: Arch, shape: ShapeSpec) -> tuple[int, ...]:
    """MiB of each piece of memory that QEMU is given: one a node that is not the kernel's own."""
    if shape.nodes == 1 or arch.numa_boot_args:
        return (shape.memory_mib,)
    share = shape.memory_mib // shape.nodes
    return (shape.memory_mib - share * (shape.nodes - 1), *[share] * (shape.nodes - 1))


def command_line(
    arch: Arch,
    shape: ShapeSpec,
    accelerator: str,
    files: GuestFiles,
    memory: Memory | None = None,
) -> list[str]:
    """QEMU's argument vector for a guest, to be run in its folder.  Pure: golden files test it."""
    tcg = accelerator == "tcg"
    machine = shape.machine or (arch.machine if tcg else arch.machine_kvm)
    sizes = memory_sizes(arch, shape)
    if len(sizes) == 1 and memory:
        machine += ",memory-backend=mem0"
    disks = [
        f"file={escaped(files.root)},if=none,format=raw,readonly=on,id=root",
        f"file={escaped(files.seed)},if=none,format=raw,readonly=on,id=seed",
    ]
    if shape.swap_disk_mib:
        disks.append(f"file={escaped(files.swap)},if=none,format=raw,cache=unsafe,id=swap")
    devices = [("virtio-blk", f"drive={disk.rpartition('id=')[2]}") for disk in disks]
    devices.append(("virtio-net", "netdev=net,romfile=" if arch.virtio == "pci" else "netdev=net"))
    if arch.reversed_slots:
        devices.reverse()
    argv = [
        arch.qemu,
        "-name", "lab",
        "-sandbox", SANDBOX,
        "-nodefaults", "-no-user-config", "-display", "none",
        "-machine", machine,
        "-accel", "tcg,thread=multi" if tcg else "kvm",
        "-cpu", arch.cpu_tcg if tcg else "host",
        "-smp", str(shape.cpus),
        "-m", f"{shape.memory_mib}M",
        *_memory(shape, sizes, memory),
        "-kernel", str(files.image),
        "-append", boot_arguments(arch, shape, accelerator),
        "-chardev", f"socket,id=con,path={_CONSOLE},server=on,wait=off,"
                    f"logfile={escaped(files.console)}",
        "-serial", "chardev:con",
        "-qmp", f"unix:{_MONITOR},server=on,wait=off",
        # A panic or reset leaves the guest paused with its memory instead of ending QEMU.
        "-action", "reboot=shutdown,shutdown=pause",
    ]  # fmt: skip
    for disk in disks:
        argv += ["-drive", disk]
    # The guest reaches nothing; the host reaches its SSH port on a port the kernel chooses.
    argv += ["-netdev", "user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22"]
    for kind, options in devices:
        argv += ["-device", f"{kind}-{arch.virtio},{options}"]
    return argv


def escaped(path: Path) -> str:
    """A path inside a QEMU option, where a comma must be doubled (qemu(1), "-drive")."""
    return str(path).replace(",", ",,")


def _memory(shape: ShapeSpec, sizes: tuple[int, ...], memory: Memory | None) -> list[str]:
    """Back ends of the memory, and which node each of them belongs to where there are several."""
    words: list[str] = []
    for node, size in enumerate(sizes):
        kind, more = "memory-backend-ram", ""
        if memory:
            # In QEMU /proc/self is QEMU.
            kind = "memory-backend-file"
            share = "off" if memory.private else "on"
            more = f",mem-path=/proc/self/fd/{memory.fds[node]},share={share}"
        if memory or len(sizes) > 1:
            words += ["-object", f"{kind},id=mem{node},size={size}M{more}"]
        if len(sizes) > 1:
            first = node * shape.cpus // shape.nodes
            last = (node + 1) * shape.cpus // shape.nodes - 1
            cpus = f",cpus={first}-{last}" if last >= first else ""
            words += ["-numa", f"node,nodeid={node},memdev=mem{node}{cpus}"]
    return words


class Qemu:
    """A running QEMU.  Use :func:`running`."""

    def __init__(self, child: subprocess.Popen[bytes], monitor: Any, errors: Path) -> None:
        self._child = child
        self._monitor = monitor
        self._errors = errors
        self._folder = errors.parent
        self._stopped = ""
        self._threads: dict[int, int] = {}

    def alive(self) -> bool:
        """Whether the QEMU process itself still runs."""
        return self._child.poll() is None

    def starved(self) -> float:
        """Seconds since its start for which it stood ready and had no CPU."""
        return waited_for_cpu(self._child.pid)

    def ran(self) -> dict[int, float]:
        """Seconds of the host's CPU time that each of the guest's CPUs has had since its start.

        :raises HostError: when QEMU does not answer.
        """
        if not self._threads:
            cpus = self.ask("query-cpus-fast")
            self._threads = {cpu["cpu-index"]: cpu["thread-id"] for cpu in cpus}
        return {cpu: ran(self._child.pid, thread) for cpu, thread in self._threads.items()}

    def host_time(self) -> HostTime:
        """What it has had of the host's CPUs; of a QEMU that does not answer less is known."""
        with contextlib.suppress(HostError):
            return HostTime(self.starved(), self.ran())
        return HostTime(self.starved())

    def stopped(self) -> str:
        """Why the guest stands still (``guest-reset``, ``guest-panic`` ...), or nothing."""
        if not self._stopped and self.alive():
            with contextlib.suppress(Exception):
                for event in self._monitor.get_events(wait=False):
                    if event.get("event") == "SHUTDOWN":
                        self._stopped = str(event["data"].get("reason", "shutdown"))
                self._monitor.clear_events()
        return self._stopped

    def ask(self, command: str, **arguments: object) -> Any:
        """Send a QMP command and give its answer.

        :raises HostError: when QEMU does not answer.
        """
        try:
            return self._monitor.cmd(command, **arguments)
        except Exception as error:
            raise HostError(f"QEMU's monitor does not answer {command}: {error}") from error

    def hand_over(self, fd: int, name: str) -> None:
        """Give QEMU a copy of a descriptor, which its commands know as ``fd:NAME``.

        :raises HostError: when QEMU does not take it.
        """
        try:
            self._monitor.send_fd_scm(fd)
        except Exception as error:
            raise HostError(f"QEMU takes no descriptor: {error}") from error
        self.ask("getfd", fdname=name)

    def human(self, line: str) -> str:
        """Send a line to the human monitor."""
        return str(self.ask("human-monitor-command", **{"command-line": line}))

    def sysrq(self, key: str) -> None:
        """A break and a key on the serial console, which the kernel takes as SysRq.

        :raises HostError: when QEMU does not take them.
        """
        path = self._folder / _CONSOLE
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(2.0)
                line.connect(f"/proc/self/fd/{folder}/{path.name}")
                self.ask("chardev-send-break", id="con")
                # A serial line of 115200 baud needs a moment for each.
                process.sleep(0.05)
                line.sendall(key.encode("ascii"))
                process.sleep(0.05)
        except OSError as error:
            raise HostError(f"the console takes no input: {error.strerror}") from error
        finally:
            os.close(folder)

    def ssh_port(self) -> int:
        """The host port that leads to the guest's SSH."""
        found = _FORWARD.search(self.human("info usernet"))
        if not found:
            raise HostError("QEMU forwards no port to the guest")
        return int(found[1])

    def last_words(self) -> str:
        """What QEMU printed to its standard error, and which of its limits ended it."""
        said = self._errors.read_text(errors="replace").strip()
        ended = -(self._child.poll() or 0)
        limit = next((text for number, text in _LIMITS.items() if number == ended), "")
        return "; ".join(part for part in (limit, said) if part)

    def close(self) -> None:
        """Close the monitor; the process is ended by its context manager."""
        with contextlib.suppress(Exception):
            self._monitor.close()


@contextlib.contextmanager
def running(
    argv: list[str], folder: Path, fds: Sequence[int] = (), around: Sequence[str] = ()
) -> Iterator[Qemu]:
    """Run QEMU for the length of a with block.

    :param fds: descriptors that it inherits under their numbers.
    :param around: the words of its walls (:mod:`orchestrator.host.walls`).
    :raises HostError: when it does not start, with what it said.
    """
    errors = folder / "qemu.stderr"
    for name in (_MONITOR, _CONSOLE):
        (folder / name).unlink(missing_ok=True)
    with (
        errors.open("wb") as sink,
        process.start(
            argv, cwd=folder, stdout=sink, stderr=sink, pass_fds=fds, around=around
        ) as child,
    ):
        monitor = _connect(child, folder / _MONITOR, errors)
        qemu = Qemu(child, monitor, errors)
        try:
            yield qemu
        finally:
            qemu.close()


def _connect(child: subprocess.Popen[bytes], path: Path, errors: Path) -> Any:
    """Connect to the monitor; its socket exists a moment before it listens."""
    from qemu.qmp import ConnectError
    from qemu.qmp.legacy import QEMUMonitorProtocol

    # The library reports each refused connection; the last one is reported here.
    logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
    until = time.monotonic() + START_DEADLINE
    while True:
        if child.poll() is not None or time.monotonic() > until:
            said = errors.read_text(errors="replace").strip() or "it said nothing"
            raise HostError(f"QEMU does not start: {said}", "its command is in the run's folder")
        if path.exists():
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                monitor = QEMUMonitorProtocol(f"/proc/self/fd/{folder}/{path.name}")
                monitor.connect()
                monitor.settimeout(10.0)
                return monitor
            except ConnectError:
                with contextlib.suppress(Exception):
                    monitor.close()
            finally:
                os.close(folder)
        process.sleep(0.01)
