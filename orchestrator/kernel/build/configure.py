# SPDX-License-Identifier: GPL-2.0-only
"""Write a build folder's .config, unless the one that stands there is what would come out again.

Kconfig takes longer than compiling one file.  Its answer depends on what is asked, on the Kconfig
files and the scripts that they call, and on the tools (scripts/Kconfig.include asks the compiler);
after an edit of C code all of them are as they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path, PurePosixPath

from orchestrator.host import process, walls
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import kconfig
from orchestrator.kernel.build.request import BuildRequest
from orchestrator.kernel.source import store
from orchestrator.model.errors import HostError

DEADLINE = 300.0
MARK = ".lab-configured"
# The mark of a .config whose source is still to be found intact; see vouch().
PENDING = ".lab-configured.new"
# scripts/{cc,ld,as}-version.sh of 6.12, each in these words.
_TOO_OLD = re.compile(
    r"^\*\*\* [\w ]+ is too old\.\n\*\*\*\s+Your (?P<what>.+?) version:\s*(?P<have>\S+)\n"
    r"\*\*\*\s+Minimum .+? version:\s*(?P<least>\S+)$",
    re.MULTILINE,
)
# What no configuration looks at, unless it lies in a folder with programs that Kconfig runs.
_CODE = frozenset({".c", ".h", ".S", ".rst"})
_TOOLS = frozenset({"scripts", "tools"})


def configure(
    wanted: BuildRequest,
    command: list[str],
    objects: Path,
    cache: Cache,
    log: Path,
    around: walls.Around,
) -> str:
    """Write ``objects/.config``; give what went wrong, or nothing.

    :param command: make with all but its target.
    :param around: its walls.
    :raises HostError: when make was killed or took too long, or a tool is too old for the kernel.
    """
    mark = objects / MARK
    (objects / PENDING).unlink(missing_ok=True)
    if _stands(wanted, command, objects, cache):
        return ""
    mark.unlink(missing_ok=True)
    asked = objects / "lab.config"
    asked.write_text(kconfig.render(wanted.requests))
    if wanted.full:  # the requests only add to the user's own
        # Kconfig takes the last of several lines for a symbol.
        (objects / ".config").write_text(wanted.full.text + asked.read_text())
        argv = [*command, "olddefconfig"]
    else:
        argv = [*command, f"KCONFIG_ALLCONFIG={asked}", "allnoconfig"]
    done = process.run(
        argv, deadline=DEADLINE, log=log, check=False, env=around.env, around=around.words
    )
    walls.drop_links(objects, (".config",))
    refuse_killed(done)
    if done.status != 0:
        _refuse_old(done.text, wanted)
    if done.status == 0:
        record = _record(wanted, command, objects, wanted.tree.tree)
        (objects / PENDING).write_text(json.dumps(record))
        return ""
    last = [line for line in done.text.splitlines() if line.strip() and "make" not in line[:8]]
    return f"the configuration failed: {last[-1] if last else 'make gave no reason'}"


def vouch(objects: Path) -> None:
    """Let the .config stand from now on: its source turned out to be what it should."""
    with contextlib.suppress(FileNotFoundError):
        (objects / PENDING).replace(objects / MARK)


def refuse_killed(done: process.Completed) -> None:
    """A make that somebody killed says nothing about the kernel, and left anything behind.

    :raises HostError: then.
    """
    number = -done.status if done.status < 0 else done.status - 128  # bwrap tells it as a shell
    if number > 0:
        raise HostError(
            f"the build stopped: make was killed by signal {number}",
            "was it the host's out-of-memory killer? `dmesg` tells",
        )


def _refuse_old(said: str, wanted: BuildRequest) -> None:
    """What Kconfig says of the host's tools is no word about the kernel."""
    old = _TOO_OLD.search(said)
    if old:
        raise HostError(
            f"{old['what']} {old['have']} is too old for this kernel, which needs {old['least']}",
            f"name another with --toolchain, or as toolchain: of the config "
            f"{wanted.build.config.name}",
        )


def _record(
    wanted: BuildRequest, command: list[str], objects: Path, tree: str
) -> dict[str, object]:
    digest = hashlib.sha256((objects / ".config").read_bytes()).hexdigest()
    return {"tree": tree, "key": wanted.key, "command": command, "config": digest}


def _stands(wanted: BuildRequest, command: list[str], objects: Path, cache: Cache) -> bool:
    """Whether a run of Kconfig would write what is there, as far as the mark vouches for it."""
    try:
        kept = json.loads((objects / MARK).read_text())
        before = kept["tree"]
        if kept != _record(wanted, command, objects, before):
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    try:
        changed = store.touched_files(before, wanted.tree.tree, cache)
    except process.CommandFailed:  # the old tree was trimmed away
        return False
    return all(_harmless(PurePosixPath(name)) for name in changed)


def _harmless(path: PurePosixPath) -> bool:
    return path.suffix in _CODE and path.parts[0] not in _TOOLS
