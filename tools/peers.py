#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The lab's readers over the suites of others who read the same: what they say, what the lab says.

    tools/peers.py --syzkaller DIR --linux DIR [--git DIR] [...] [--verbose] [--markdown]

Each folder is your own checkout; nothing of it is run or copied.  Deliberate differences stand in
tools/peers_policy.yaml.  Exit status: 0 when all was read, 1 when a file was not, 2 on wrong input.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
try:
    import peers_kconfig
    import peers_mail
    import peers_syzkaller
    import peers_tap
    from peers_table import (
        Difference,
        Judge,
        Judged,
        Measured,
        PeersError,
        Row,
        as_entries,
        as_lines,
        as_markdown,
        as_text,
        commit_of,
        load_policies,
    )

    from orchestrator.model.errors import LabError
except ImportError as error:
    sys.exit(f"peers: run it as .venv/bin/python tools/peers.py, after `make setup` ({error})")

#: The deliberate differences.
POLICY = HOME / "tools" / "peers_policy.yaml"


@dataclass(frozen=True)
class Suite:
    """A peer's suite: its option, what the folder is a checkout of, and who compares.

    ``measure`` takes the folder, and the kernel tree of ``--linux`` where one is given.
    """

    option: str
    of: str
    measure: Callable[[Path, Path | None], Measured]


def _kconfiglib(folder: Path, tree: Path | None) -> Measured:
    """A row for each question that is asked of every symbol of the tree."""
    if tree is None:
        raise PeersError("--kconfiglib needs --linux too: the tree whose symbols are asked about")
    asked, _, wrong = peers_kconfig.measure(tree, folder)
    told: dict[str, list[Difference]] = {name: [] for name in peers_kconfig.QUESTIONS}
    for line in wrong:
        state, name, what, reason = line.split(": ", 3)
        told[name].append(Difference(state, what, reason))
    return Measured(tuple(
        Row("kconfig", f"Kconfig: {about}", "Kconfiglib", asked[name], tuple(told[name]))
        for name, about in peers_kconfig.QUESTIONS.items()
    ))  # fmt: skip


#: All that can be held against, in the order of the table.
SUITES = (
    Suite("syzkaller", "syzkaller: kernel logs", lambda folder, _: peers_syzkaller.measure(folder)),
    Suite("linux", "Linux: KUnit's logs", lambda folder, _: peers_tap.measure_kunit(folder)),
    Suite("tap-parser", "tap-parser: TAP", lambda folder, _: peers_tap.measure_tap_parser(folder)),
    Suite("git", "git: mails", lambda folder, _: peers_mail.measure_git(folder)),
    Suite("b4", "b4: series", lambda folder, _: peers_mail.measure_b4(folder)),
    Suite("patchwork", "Patchwork: mails", lambda folder, _: peers_mail.measure_patchwork(folder)),
    Suite("kconfiglib", "Kconfiglib, with --linux: why a symbol did not take", _kconfiglib),
)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for suite in SUITES:
        parser.add_argument(
            f"--{suite.option}", type=Path, metavar="DIR", help=f"a checkout of {suite.of}"
        )
    parser.add_argument("--policy", type=Path, default=POLICY, metavar="FILE",
                        help="the deliberate differences (default: %(default)s)")  # fmt: skip
    parser.add_argument("--differences", type=Path, metavar="FILE", help="write them all as JSON")
    parser.add_argument("--verbose", action="store_true", help="list the differences")
    parser.add_argument("--markdown", action="store_true", help="the table as in docs/evidence.md")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Compare; give the exit status."""
    options = arguments(words)
    given = [(suite, getattr(options, suite.option.replace("-", "_"))) for suite in SUITES]
    given = [(suite, folder) for suite, folder in given if folder is not None]
    try:
        if not given:
            raise PeersError("name at least one checkout, for example --syzkaller DIR")
        judge = Judge(load_policies(options.policy))
        rows, unread = compare(given, judge, options.linux)
        if options.differences:
            options.differences.write_text(json.dumps(as_entries(rows), indent=1) + "\n")
    except (PeersError, LabError, OSError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    print(as_markdown(rows) if options.markdown else as_text(rows))
    for line in as_lines(rows) if options.verbose else ():
        print(line)
    for policy in judge.idle():
        print(f"peers: a policy covers no difference: {policy}", file=sys.stderr)
    for file, why in unread:
        print(f"peers: not read: {file}: {why}", file=sys.stderr)
    if unread:
        print(f"peers: {len(unread)} files were not read", file=sys.stderr)
    return int(bool(unread))


def compare(
    given: Sequence[tuple[Suite, Path]], judge: Judge, tree: Path | None
) -> tuple[list[Judged], list[tuple[str, str]]]:
    """The rows of all suites, and the files that could not be read with the reason.

    :raises PeersError: when a folder is not what its option takes.
    """
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    rows: list[Judged] = []
    unread: list[tuple[str, str]] = []
    for suite, folder in given:
        if not folder.is_dir():
            raise PeersError(f"--{suite.option}: {folder} is not a folder")
        measured = suite.measure(folder, tree)
        commit = commit_of(folder)
        rows += [judge.judge(row, commit, date) for row in measured.rows]
        unread += measured.unread
    return rows, unread


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
