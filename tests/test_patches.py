# SPDX-License-Identifier: GPL-2.0-only
"""The series that the lab ships: in order, confined to two files, and apart by one line.

No kernel tree is needed: ``git apply --numstat`` checks every hunk's line counts without one.
"""

from __future__ import annotations

import re
import subprocess
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from orchestrator import HOME

PATCHES = HOME / "patches"
SERIES = ("move-stats", "rss-drift")
TOUCHED = {"mm/userfaultfd.c", "mm/huge_memory.c"}
WRONG_LINE = "+\tinc_mm_counter(mm, MM_ANONPAGES);"


def patches(series: str) -> list[Path]:
    return sorted((PATCHES / series).glob("*.patch"))


def parse(path: Path) -> tuple[Message, str]:
    mail = message_from_bytes(path.read_bytes())
    body = mail.get_payload()
    assert isinstance(body, str)
    return mail, body


def diff_lines(path: Path) -> list[str]:
    """The lines a patch adds or removes, with their sign, and the context left out."""
    _, body = parse(path)
    hunks = body[body.index("diff --git ") :].splitlines()
    return [line for line in hunks if re.match(r"[+-](?![+-]{2} )", line)]


@pytest.mark.parametrize("series", SERIES)
def test_series_is_numbered_signed_and_confined(series: str, tmp_path: Path) -> None:
    files = patches(series)
    assert len(files) == 3
    touched: set[str] = set()
    for number, path in enumerate(files, start=1):
        assert path.name.startswith(f"{number:04d}-mm-userfaultfd-")
        mail, body = parse(path)
        subject = re.sub(r"\s*\n\s*", " ", str(mail["Subject"]))
        assert re.fullmatch(rf"\[PATCH {number}/3\] mm/userfaultfd: count [\w /-]+", subject)
        assert mail["From"] == "Lab Authors <lab@example.org>"
        assert re.search(r"^Signed-off-by: Lab Authors <lab@example\.org>$", body, re.M)
        assert re.search(r"^ 1 file changed, \d+ insertions\(\+\)$", body, re.M)
        stat = subprocess.run(
            ["git", "apply", "--numstat", str(path)],
            cwd=tmp_path,  # outside any repository, as a series arrives by mail
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for line in stat.splitlines():
            added, removed, name = line.split("\t")
            assert (int(added), int(removed)) == (len(diff_lines(path)), 0)
            touched.add(name)
    assert touched == TOUCHED


def test_broken_sibling_differs_by_one_added_line() -> None:
    good, broken = patches("move-stats"), patches("rss-drift")
    assert [p.name for p in good] == [p.name for p in broken]
    assert good[0].read_bytes() == broken[0].read_bytes()
    assert good[2].read_bytes() == broken[2].read_bytes()
    lines = diff_lines(broken[1])
    lines.remove(WRONG_LINE)
    assert lines == diff_lines(good[1])


def test_wrong_line_stands_where_a_swap_entry_is_moved() -> None:
    _, body = parse(patches("rss-drift")[1])
    hunk = body[body.rindex("\n@@ ") :]
    assert "static int move_swap_pte(" in hunk.splitlines()[1]
    assert f" \tset_pte_at(mm, dst_addr, dst_pte, orig_src_pte);\n{WRONG_LINE}\n" in hunk


def test_broken_patch_says_so_outside_its_commit_message() -> None:
    _, body = parse(patches("rss-drift")[1])
    message, _, rest = body.partition("\n---\n")
    assert "Broken on purpose" in rest.split("diff --git ")[0]
    _, good = parse(patches("move-stats")[1])
    assert message == good.partition("\n---\n")[0]


def test_readme_describes_every_counter_file_and_the_base() -> None:
    text = (PATCHES / "README.md").read_text(encoding="utf-8")
    source = "".join(p.read_text(encoding="utf-8") for p in patches("move-stats"))
    names = set(re.findall(r'\[UFFD_MOVE_\w+\] = "(\w+)"', source))
    names |= set(re.findall(r'debugfs_create_file_unsafe\("(\w+)"', source))
    assert names == {"base", "zero", "swap", "huge", "huge_zero"}
    for name in names:
        assert f"| `{name}` " in text
    assert "debian:6.12=6.12.117-1~deb12u1" in text
    assert WRONG_LINE in text
