# SPDX-License-Identifier: GPL-2.0-only
"""Where ``lab`` begins: a signal ends it with the right status before anything else is loaded.

Loading the commands takes some 0.1 s, and a second on a busy machine.  Until their handlers stand
(:mod:`orchestrator.commands.entry`) there is nothing to put in order: no process, no folder.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

from orchestrator.model.errors import EXIT_INTERRUPTED  # needs nothing else


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, b"lab: interrupted\n")
    os._exit(EXIT_INTERRUPTED)


def main() -> NoReturn:
    """Entry point; what is ignored from the start stays so, as in ``run_command``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    from orchestrator.commands import arguments

    arguments.main()


if __name__ == "__main__":
    main()
