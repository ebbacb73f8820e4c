# SPDX-License-Identifier: GPL-2.0-only
"""What is told about a file that cannot be read as YAML."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from plan_files import LAB, load, problems

from orchestrator.plan.yaml_reader import Document, View


def laughs(merge: str) -> bytes:
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, 30):
        lines.append(f"a{i}: &a{i} {merge % ','.join([f'*a{i - 1}'] * 9)}")
    return "\n".join(lines).encode()


# What stands after "YAML syntax: " is the parser's, and so is which column it names.
UNREADABLE = [
    (b"", "lab.yaml: is empty"),
    (b"# nothing\n", "lab.yaml: is empty"),
    (b"kernels:\n\tv6: 1\n", "lab.yaml:2: YAML syntax: "),
    (b"kernels: {a: b\n", ": YAML syntax: "),
    (b"a: 1\n---\nb: 2\n", "lab.yaml:2: YAML syntax: "),
    (b"a: *b\n", "lab.yaml:1: YAML syntax: "),
    (b"a: 1\nb: \xff\n", "lab.yaml:2: is not UTF-8: byte 0xff"),
    (b"a: 1\nb: \x07\n", "lab.yaml:2: YAML syntax: "),
    (b"[" * 60 + b"]" * 60, "lab.yaml:1: is nested more than"),
    (b"- " * 60, "lab.yaml:1: is nested more than"),
    (b"[" * 100_000, "lab.yaml:1:"),  # some parsers have a limit of their own
    (b"- " * 5_000, "lab.yaml:1:"),
    (b"a: &a [*a]", "lab.yaml:1: a[0][0]: nested too deeply"),
    (b"a: &a {<<: *a}", "lab.yaml:1: a: merges itself"),
    (b"x" * (1 << 20) + b"x", "lab.yaml: is larger than 1 MiB"),
    (laughs("[%s]"), "too many values"),
    (laughs("{<<: [%s]}"), "too many values"),
]


@pytest.mark.parametrize(("raw", "message"), UNREADABLE)
def test_a_file_that_cannot_be_read(lab: Path, raw: bytes, message: str) -> None:
    lab.write_bytes(raw)
    (told,) = problems(lab)
    assert message in re.sub(r"^(lab\.yaml:\d+):\d+: ", r"\1: ", told)


def test_a_tab_is_named(lab: Path) -> None:
    lab.write_text("kernels:\n\tv6: 1\n")
    assert "indented with spaces" in problems(lab)[0]


@pytest.mark.parametrize("raw", [b"- a", b"text", b"12", b"null", b"!!python/name:os.system x"])
def test_a_file_that_is_no_mapping(lab: Path, raw: bytes) -> None:
    lab.write_bytes(raw)
    assert problems(lab)[0].startswith("lab.yaml:1:1: ")


def test_tags_and_odd_keys(lab: Path) -> None:
    lab.write_text(LAB + "? [a]\n: 1\non: 2\nx: !!python/object:os.system {}\n")
    told = "\n".join(problems(lab))
    assert "a key must be text" in told
    assert "lab.yaml:55: on: YAML reads this key as bool; quote it: 'on'" in told
    assert "lab.yaml:56: x: " in told


def test_byte_order_mark_is_fine(lab: Path) -> None:
    wanted = load(lab)
    lab.write_bytes(b"\xef\xbb\xbf" + LAB.encode())
    assert load(lab) == wanted


def test_what_a_mapping_leaves_open_stands_in_the_one_above() -> None:
    top = View.of(Document(Path("a"), "a", {"x": 1, "y": 1, "one": {"x": 2, "y": None}}, {}))
    holder = top.child("one").under(top)
    assert [holder(key).raw(key) for key in "xyz"] == [2, 1, None]
    assert holder("z").at("z") == ("one", "z")  # a problem is told where one would write it


def test_an_alias_of_what_is_no_number_is_a_text_too(lab: Path) -> None:
    lab.write_text(LAB + "x: &x 0b_\ny: *x\n")
    told = "\n".join(problems(lab))
    assert "unknown key" in told
    assert told.count("unknown key") == 2
