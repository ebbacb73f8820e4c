# SPDX-License-Identifier: GPL-2.0-only
"""What a guest can do to the lab that watches it: flood it, go mute, fill up, lie about SSH."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

SECONDS = 4.0


def slow() -> None:
    """Long enough for somebody to come between."""
    time.sleep(3)


def flood() -> None:
    """Lines to the console itself, past the kernel's own limit for /dev/kmsg."""
    until = time.monotonic() + SECONDS
    block = (b"x" * 99 + b"\n") * 650
    with Path("/dev/console").open("wb", buffering=0) as console:
        while time.monotonic() < until:
            console.write(block)


def mute() -> None:
    """Let the kernel say nothing on its console that is not an emergency."""
    Path("/proc/sys/kernel/printk").write_text("0 4 1 7\n")


def full() -> None:
    """Fill what can be written: the guest's /tmp, /run and /root, which are its memory."""
    for folder in ("/tmp", "/run", "/root", "/dev/shm"):
        with suppress(OSError), Path(folder, "chaos-full").open("wb", buffering=0) as file:
            for _ in range(60):
                file.write(bytes(1 << 20))
        # Not its memory to the last page: what is found is the lab, not the OOM killer.
        subprocess.run(["busybox", "mount", "-o", "remount,size=1k", folder], check=False)


def fake(answer) -> None:
    """Put another server in the place of the SSH server, and end the sessions that there are."""
    if os.fork():
        time.sleep(1)
        return
    os.setsid()
    with Path("/run/dropbear.pid").open() as file:
        os.kill(int(file.read()), signal.SIGKILL)
    with socket.create_server(("", 22), reuse_port=False) as server:
        subprocess.run(["busybox", "killall", "-9", "dropbear"], check=False)
        while True:
            peer, _ = server.accept()
            if not os.fork():
                with suppress(OSError):
                    answer(peer)
                os._exit(0)


def garbage(peer) -> None:
    """No protocol at all."""
    peer.sendall(random.Random(1).randbytes(1 << 16))
    time.sleep(600)


def banner(peer) -> None:
    """Lines before the version string, which RFC 4253 (4.2) allows, without an end."""
    while True:
        peer.sendall(b"welcome to this guest, please wait\r\n" * 100)
        time.sleep(0.05)


def reset() -> None:
    """Documentation/admin-guide/sysrq.rst: b resets at once, without a sync."""
    Path("/proc/sysrq-trigger").write_text("b")


def main() -> None:
    """One case, which passes where this comes back at all."""
    print("TAP version 13\n1..1", flush=True)
    what = sys.argv[1]
    if what in ("garbage", "banner"):
        fake({"garbage": garbage, "banner": banner}[what])
    elif what != "good":
        {"slow": slow, "flood": flood, "mute": mute, "full": full, "reset": reset}[what]()
    print(f"ok 1 - {what}", flush=True)


if __name__ == "__main__":
    main()
