# SPDX-License-Identifier: GPL-2.0-only
"""Kconfig files as they are written, and as nobody should write them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator.kernel.build import ktree
from orchestrator.kernel.build.ktree import Definition, Tree


def read(folder: Path, text: str, *wanted: str, srcarch: str = "x86", **files: str) -> Tree:
    """Read a tree of a Kconfig and of ``files``, where ``__`` stands for a slash."""
    for name, content in {"Kconfig": text, **files}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return ktree.read(folder, srcarch, frozenset(wanted))


def one(tree: Tree, name: str) -> Definition:
    (definition,) = tree.definitions[name]
    return definition


def test_all_lines_of_an_entry(tmp_path: Path) -> None:
    tree = read(
        tmp_path,
        "config A\n\ttristate \"A if B\" if C\n\tdefault m if D\n\tdefault\ty\n\tdepends on E\n"
        "\tdepends\ton\tF\n\tselect\tS\t\tif G && (H)\n\tselect OTHER\n\timply I\n\thelp\n\t  x\n"
        "menuconfig B\n\tint\n\tprompt 'number' if N\n\trange 1 9 if R\n\trange 1 3\n"
        "config P\n\tdef_bool $(cc-option,-g) if Q\n",
        "A", "B", "P", "S", "I",
    )  # fmt: skip
    a, b, p = one(tree, "A"), one(tree, "B"), one(tree, "P")
    assert (a.prompts, a.defaults, a.own) == (["C"], ["m if D", "y"], ["E", "F"])
    assert (b.prompts, b.ranges) == (["N"], ["1 9 if R", "1 3"])
    assert (p.prompts, p.defaults) == ([], ["$(cc-option,-g) if Q"])
    assert [(pull.by.name, pull.condition) for pull in tree.selects["S"]] == [("A", "G && (H)")]
    assert [(pull.by.name, pull.condition) for pull in tree.implies["I"]] == [("A", "")]
    assert set(tree.selects) == {"S"}
    assert tree.kinds == {"A": "tristate", "B": "int", "P": "bool"}
    assert set(tree.definitions) == {"A", "B", "P"}


def test_blocks_and_what_they_ask_for(tmp_path: Path) -> None:
    tree = read(
        tmp_path,
        'menu "M"\n\tdepends on A\n\tvisible if V && W\nif B\nconfig IN\n\tbool "in"\n'
        '\tdepends on C\nendif\ncomment "c"\n\tdepends on NEVER\nconfig BEHIND\n\tbool "x"\n'
        "endmenu\n"
        'config OUT\n\tbool "out"\n',
        "IN", "BEHIND", "OUT",
    )  # fmt: skip
    assert one(tree, "IN").depends() == ["A", "B", "C"]
    assert one(tree, "IN").visible() == ["V && W"]
    assert one(tree, "BEHIND").depends() == ["A"]
    assert one(tree, "OUT").depends() == one(tree, "OUT").visible() == []


def test_choices(tmp_path: Path) -> None:
    tree = read(
        tmp_path,
        'choice\n\tprompt "One of" if X\n\tdepends on A\n\tdefault B\n\thelp\n\t  text\n\n'
        'config B\n\tbool "b"\nif I\nconfig C\n\tbool "c"\nendif\nendchoice\n'
        'choice\n\tbool "Another"\nconfig D\n\tbool "d"\nendchoice\nconfig E\n\tbool "e"\n',
        "B", "C", "D", "E",
    )  # fmt: skip
    choice = one(tree, "B").choice
    assert choice is not None
    assert (choice.prompt, choice.members) == ("One of", ["B", "C"])
    assert one(tree, "C").choice is choice
    assert one(tree, "C").depends() == ["A", "I"]
    other = one(tree, "D").choice
    assert other is not None
    assert (other.prompt, other.members) == ("Another", ["D"])
    assert one(tree, "E").choice is None


@pytest.mark.parametrize(
    "text",
    [
        "  config INSIDE\n    bool \"x\"\n  if NEVER\n",
        "\t    config INSIDE\n\n\t    endmenu\n\t    deeper\n",
        "\n\n   depends on NEVER\n   menu\n",
        "        eight blanks\n\ttab as deep\n\tconfig INSIDE\n",
        "\tends in a backslash \\\n",
        "\t# config INSIDE\n\t'quote \"\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("word", ["help", "---help---", "help  "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_help_texts_are_no_lines(tmp_path: Path, text: str, word: str, end: str) -> None:
    whole = f'config A\n\tbool "a"\n\t{word}\n{text}\nconfig B\n\tbool "b"\n'
    tree = read(tmp_path, whole.replace("\n", end), "A", "B", "INSIDE")
    assert set(tree.definitions) == {"A", "B"}
    assert one(tree, "A").own == one(tree, "B").depends() == []


def test_an_empty_help_text_and_one_that_ends_within_the_entry(tmp_path: Path) -> None:
    tree = read(
        tmp_path,
        'config A\n\tbool "a"\n\thelp\nconfig B\n\tbool "b"\n\thelp\n\t  x\n\tdepends on C\n',
        "A", "B",
    )  # fmt: skip
    assert one(tree, "B").own == ["C"]
    assert one(tree, "A").own == []


def test_continued_lines_and_comments(tmp_path: Path) -> None:
    tree = read(
        tmp_path,
        '# a comment that ends so \\\nconfig A # what for\n\tbool "a # b" # c\n'
        "\tdepends on B && \\\n\t  C && \\\n\n\tdepends on D # if E\n\tdepends on F \\\n",
        "A",
    )
    assert one(tree, "A").own == ["B &&  C &&", "D", "F"]
    assert one(tree, "A").prompts == [""]


def test_files_that_are_sourced(tmp_path: Path) -> None:
    tree = read(
        tmp_path,
        'if T\nsource "mm/Kconfig"\nosource "not/there"\nsource "arch/$(SRCARCH)/Kconfig"\n'
        'source arch/$SRCARCH/Kconfig.old\nsource "$(srctree)/lib/Kconfig"\nrsource "net/Kconfig"\n'
        'endif\nconfig LAST\n\tbool "last"\n',
        "MM", "DEEP", "ARCH", "OLD", "LIB", "NET", "NEAR", "LAST",
        mm__Kconfig='config MM\n\tbool "mm"\nendif\nif OPEN\nsource "mm/Kconfig.deep"\n',
        arch__x86__Kconfig='config ARCH\n\tbool "x"\n', lib__Kconfig='config LIB\n\tbool "x"\n',
        net__Kconfig='orsource "core/Kconfig"\nconfig NET\n\tbool "x"\n',
        net__core__Kconfig='config NEAR\n\tbool "x"\n',
        **{"mm__Kconfig.deep": 'config DEEP\n\tbool "x"\nsource "Kconfig"\n',
           "arch__x86__Kconfig.old": 'config OLD\n\tbool "x"\n'},
    )  # fmt: skip
    found = {name: (one(tree, name).file, one(tree, name).depends()) for name in tree.wanted}
    assert found == {
        "MM": ("mm/Kconfig", ["T"]), "DEEP": ("mm/Kconfig.deep", ["T", "OPEN"]),
        "ARCH": ("arch/x86/Kconfig", ["T"]), "OLD": ("arch/x86/Kconfig.old", ["T"]),
        "LIB": ("lib/Kconfig", ["T"]), "NET": ("net/Kconfig", ["T"]),
        "NEAR": ("net/core/Kconfig", ["T"]), "LAST": ("Kconfig", []),
    }  # fmt: skip


@pytest.mark.parametrize("line", ["modules", "option modules"])
def test_the_symbol_that_allows_modules(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f'config MODULAR\n\tbool "m"\n\t{line}\n').modules == "MODULAR"
    assert read(tmp_path, 'config A\n\tbool "m"\n\toption env="X"\n').modules == "MODULES"


@pytest.mark.parametrize(
    "text",
    [
        "", "endif\nendmenu\n", "config\n\tbool\n", "if\n", "choice\n\tprompt\n", "source\n",
        "\0\n",
        'config A\n\tbool "open\n\tdepends\n\tselect\n', 'config A\n\tbool "a" if\n',
        "config A\n\tprompt\n\tvisible\n\t\\\n", "menu\n\tdepends on\n", f'source "{"x" * 5000}"\n',
    ],
)  # fmt: skip
def test_broken_files_are_read_as_far_as_they_go(tmp_path: Path, text: str) -> None:
    tree = read(tmp_path, text + '\nconfig LAST\n\tbool "last"\n', "A", "LAST")
    assert one(tree, "LAST").prompts == [""]


def test_symbols_of_other_architectures(tmp_path: Path) -> None:
    read(
        tmp_path, "", arch__x86__Kconfig="config A\n",
        arch__arm64__Kconfig="menuconfig A\nconfig AB\n",
        arch__arm__mach__Kconfig="\tconfig\tA \n", **{"arch__s390__Kconfig.debug": "config C\n"},
    )  # fmt: skip
    assert ktree.elsewhere(tmp_path, "x86", {"A", "C", "B"}) == {
        "A": ["arm", "arm64"],
        "C": ["s390"],
    }
    assert ktree.elsewhere(tmp_path / "no", "x86", {"A"}) == {}


@pytest.mark.slow
def test_time_grows_with_length_alone(tmp_path: Path) -> None:
    def seconds(times: int) -> float:
        entry = 'config A{}\n\tbool "a"\n\tdepends on {}\n\thelp\n\t  text\n\n'
        text = "".join(entry.format(at, "B && " * 20 + "C") for at in range(times))
        began = time.process_time()
        read(tmp_path, 'menu "m"\n' * 3 + text + "x" * times, "A7")
        return time.process_time() - began

    seconds(1000)
    assert seconds(40000) < 10 * 20 * max(seconds(2000), 0.005)
