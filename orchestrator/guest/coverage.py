# SPDX-License-Identifier: GPL-2.0-only
"""What a guest's kernel counted of itself: set to nothing, and fetched.

Facts: Documentation/dev-tools/gcov.rst (v6.12): a write to ``reset`` sets every count to 0; each
file's counts are read from debugfs, where a file has no size before it is read.
"""

from __future__ import annotations

from orchestrator.guest.boot import Guest
from orchestrator.guest.ssh import SshLost

FOLDER = "/sys/kernel/debug/gcov"
#: In the guest, in memory: files are archived with the size that they are said to have.
_COPY = "/run/lab-coverage"
_RESET, _FETCH = 30.0, 60.0


def reset(guest: Guest) -> None:
    """Begin to count anew.

    :raises SshLost: when the guest does not.
    """
    answer = guest.ssh.run(f"echo 1 > {FOLDER}/reset", _RESET * guest.slowness)
    if answer.status != 0:
        raise SshLost(f"the guest's kernel counts nothing: {answer.stderr.strip()}")


def fetch(guest: Guest) -> bytes:
    """A tar archive of the counts; names are those of the build's folder, without its slash.

    :raises SshLost: when the guest does not give it.
    """
    words = (
        f"rm -rf {_COPY} && cp -r {FOLDER} {_COPY} && busybox tar cf - -C {_COPY} . && "
        f"rm -rf {_COPY}"
    )
    return guest.ssh.read(words, _FETCH * guest.slowness)
