# SPDX-License-Identifier: GPL-2.0-only
"""Fragments, their bounds, their order, and whether what they ask for took."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.kernel.build import kconfig
from orchestrator.kernel.build.kconfig import Request
from orchestrator.model import formats
from orchestrator.model.errors import EXIT_USAGE, UserError


def write(folder: Path, text: str, name: str = "a.config") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def asked(path: Path, version: str = "6.12.117") -> dict[str, str]:
    return {entry.symbol: entry.value for entry in kconfig.read_fragment(path, version)}


def test_every_kind_of_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# What it is for.\n\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=16\n"
        'CONFIG_E=0x1F\nCONFIG_F="a # \\"b\\" c"\n  CONFIG_G=n\nCONFIG_H=""\n',
    )
    requests = kconfig.read_fragment(path, "6.12")
    assert requests[0] == Request("A", "y", "a.config", 3)
    assert asked(path) == {
        "A": "y", "B": "m", "C": "n", "D": "16", "E": "0x1F", "F": '"a # \\"b\\" c"', "G": "n",
        "H": '""',
    }  # fmt: skip


def test_what_stops_a_build() -> None:
    requests = (
        Request("A", "y", "a.config", 1, shipped=True),
        *(Request(f"S{n}", "y", "mine.config", n) for n in range(6)),
    )
    missed = kconfig.mismatches(requests, {})
    assert len(missed) == 7
    own = kconfig.own_mismatches(requests, missed)
    assert [miss.symbol for miss in own] == [f"S{n}" for n in range(6)]
    first, hint = kconfig.stopped(own).splitlines()
    assert first.startswith("not compiled: CONFIG_S0 is n, asked for y (mine.config:0); CONFIG_S1")
    assert first.endswith("(mine.config:3); and 2 more")
    assert hint == "--build-mismatched builds it all the same"
    assert kconfig.stopped(()) == ""


def test_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.config"
    path.write_bytes(
        b"\xef\xbb\xbfCONFIG_A=y\r\n# CONFIG_B is not set\r\nCONFIG_C=y # since 7.0\r\n"
    )
    assert asked(path) == {"A": "y", "B": "n"}


@pytest.mark.parametrize(
    ("line", "versions"),
    [
        ("CONFIG_A=y # since 6.8", {"6.1": 0, "6.7.12": 0, "6.8": 1, "6.8-rc1": 1, "6.12.9": 1}),
        ("CONFIG_A=y # until 6.11", {"6.1": 1, "6.11.9": 1, "6.12": 0, "6.12-rc1": 0, "7.0": 0}),
        ("CONFIG_A=y # since 6.2 until 6.11", {"6.1": 0, "6.2": 1, "6.11": 1, "6.12": 0}),
        ("CONFIG_A=y # why; since 6.12.30", {"6.12": 0, "6.12.29": 0, "6.12.30": 1, "6.13": 1}),
        ("# CONFIG_A is not set # since 6.8", {"6.1": 0, "6.12": 1}),
        ('CONFIG_A="# since 9.9" # until 6.2', {"6.1": 1, "6.12": 0}),
        ("CONFIG_A=y # no bound at all", {"2.6.39": 1, "6.12": 1}),
        ("CONFIG_A=y # since 6.10", {"6.9": 0, "6.10": 1, "6.100": 1}),
        ("CONFIG_A=y # since v6.8", {"6.1": 0, "6.8": 1}),
        ("CONFIG_A=y # Since 6.8", {"6.1": 0, "6.8": 1}),
        ("CONFIG_A=y # SINCE: V6.8", {"6.1": 0, "6.8": 1}),
        ("CONFIG_A=y #since 6.8.", {"6.1": 0, "6.8": 1}),
        ("CONFIG_A=y # since6.8, see mm/Kconfig", {"6.1": 0, "6.8": 1}),
        ("CONFIG_A=y # since 6.8-rc1", {"6.7": 0, "6.8": 1}),
        ("CONFIG_A=y ## since 6.8; until: v6.11", {"6.1": 0, "6.8": 1, "6.11.3": 1, "6.12": 0}),
        ("CONFIG_A=y # since 6.2 and until 6.11", {"6.1": 0, "6.2": 1, "6.12": 0}),
        ("CONFIG_A=y # unless it is since long gone", {"2.6.39": 1}),
        ("CONFIG_A=y # sincere", {"2.6.39": 1}),
        ("# CONFIG_A is not set # Until v6.2", {"6.1": 1, "6.12": 0}),
    ],
)
def test_bounds(tmp_path: Path, line: str, versions: dict[str, int]) -> None:
    path = write(tmp_path, line + "\n")
    found = {version: len(kconfig.read_fragment(path, version)) for version in versions}
    assert found == versions


@pytest.mark.parametrize(
    "line",
    ["CONFIG_A", "A=y", "CONFIG_A = y", "CONFIG_A=", 'CONFIG_A="open', "config_a=y", "-CONFIG_A=y"],
)
def test_bad_line_names_its_place(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"# ok\nCONFIG_X=y\n{line}\n")
    with pytest.raises(UserError) as caught:
        kconfig.read_fragment(path, "6.12")
    assert caught.value.message.startswith(f"{path}:3: ")
    assert caught.value.exit_status == EXIT_USAGE
    assert caught.value.hint


@pytest.mark.parametrize(
    "comment",
    ["since", "since the rework", "until 6.x", "since 6.8 until", "Since: v", "until 6.11.y",
     "since 6,8",
     "since >= 6.8", "since 6.8+", "since 6.8 until the end", "until next-20261101", "since 6.8rc1",
     "since v6.8_old"],
)  # fmt: skip
@pytest.mark.parametrize("line", ["CONFIG_A=y", 'CONFIG_A="x"', "# CONFIG_A is not set"])
def test_a_bound_that_cannot_be_read_is_refused(tmp_path: Path, line: str, comment: str) -> None:
    path = write(tmp_path, f"CONFIG_X=y\n{line} # {comment}\n")
    with pytest.raises(UserError) as caught:
        kconfig.read_fragment(path, "6.12")
    assert caught.value.message.startswith(f"{path}:2: ")
    assert "since 6.8" in caught.value.hint


@pytest.mark.parametrize(
    "line",
    ["#CONFIG_A is not set", "# CONFIG_A is not set since 6.8", "# CONFIG_A not set",
     "# config_a is not set",
     "# CONFIG_A  is not set", "## CONFIG_A is not set", "# CONFIG_A is not set.", "# A is not set",
     "# CONFIG_A=y is not set", "# CONFIG_A is unset"],
)  # fmt: skip
def test_a_comment_that_kconfig_would_pass_over_is_refused(tmp_path: Path, line: str) -> None:
    """It looks like a request, and would ask for nothing."""
    path = write(tmp_path, f"CONFIG_X=y\n{line}\n")
    with pytest.raises(UserError) as caught:
        kconfig.read_fragment(path, "6.12")
    assert caught.value.message.startswith(f"{path}:2: ")
    assert "is not set" in caught.value.hint


@pytest.mark.parametrize(
    "line",
    ["# CONFIG_A", "# CONFIG_A=y", "# CONFIG_A is not set in Debian's own kernels, so it must be",
     "# whether A is not set does not matter", "# is not set", "#", "# CONFIG_A is of no use",
     "#" * 50000 + "A" * 50000],
)  # fmt: skip
def test_other_comments_are_comments(tmp_path: Path, line: str) -> None:
    assert asked(write(tmp_path, f"{line}\n")) == {}


def test_a_symbol_twice_in_a_fragment(tmp_path: Path) -> None:
    path = write(tmp_path, "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_A is not set\n")
    (b, a) = kconfig.merge([path], "6.12")
    assert (b.symbol, a) == ("B", Request("A", "n", "a.config", 3))


def test_small_letters_in_a_name(tmp_path: Path) -> None:
    """Some architectures have such symbols; one that does not exist is told by its reason."""
    assert asked(write(tmp_path, "CONFIG_e500=y\n")) == {"e500": "y"}


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.config"):
        kconfig.read_fragment(tmp_path / "missing.config", "6.12")
    binary = tmp_path / "binary.config"
    binary.write_bytes(b"CONFIG_A=y\n\xff\xfe\n")
    with pytest.raises(UserError, match=r"binary\.config:2: bytes that are no Kconfig"):
        kconfig.read_fragment(binary, "6.12")


@pytest.mark.parametrize(
    ("comment", "arches"),
    [("only arm64", {"arm64"}), ("only amd64", {"x86_64"}), ("Only aarch64; for QEMU", {"arm64"}),
     ("only for tests", {"arm64", "x86_64"}), ("only x86_64 since 6.8", {"x86_64"}),
     ("only x86_64, until 6.1", set())],
)  # fmt: skip
def test_a_line_for_one_architecture(tmp_path: Path, comment: str, arches: set[str]) -> None:
    path = write(tmp_path, f"CONFIG_A=y # {comment}\n")
    assert {a for a in ("arm64", "x86_64") if kconfig.read_fragment(path, "6.12", a)} == arches


def test_an_architecture_that_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "CONFIG_A=y # only amd46\n")
    with pytest.raises(UserError, match=":1: no such architecture") as caught:
        kconfig.read_fragment(path, "6.12")
    assert "only arm64" in caught.value.hint


def test_the_fragment_for_guests_asks_for_nothing_that_base_does_not() -> None:
    for arch in ("x86_64", "arm64"):
        folder = HOME / "kernel-configs"
        files = [folder / "base.config", folder / f"{arch}.config"]
        base = {r.symbol: r.value for r in kconfig.merge(files, "6.12", arch)}
        for request in kconfig.read_fragment(folder / "guest.config", "6.12", arch):
            assert base[request.symbol] == request.value, request


def test_merge_takes_the_last_request_and_its_place(tmp_path: Path) -> None:
    first = write(tmp_path, "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n", "1.config")
    second = write(tmp_path, "# CONFIG_A is not set\nCONFIG_C=y # since 7.0\n", "2.config")
    merged = kconfig.merge([first, second], "6.12")
    assert [(r.symbol, r.value, r.fragment, r.line) for r in merged] == [
        ("B", "y", "1.config", 2),
        ("C", "y", "1.config", 3),
        ("A", "n", "2.config", 1),
    ]
    assert kconfig.render(merged) == "CONFIG_B=y\nCONFIG_C=y\n# CONFIG_A is not set\n"
    assert kconfig.merge([second, first], "6.12")[0].value == "y"
    assert kconfig.merge([], "6.12") == ()


def test_digest_depends_on_what_is_asked_for_alone(tmp_path: Path) -> None:
    one = write(tmp_path, "CONFIG_A=y\nCONFIG_B=n\n", "1.config")
    other = write(tmp_path, "# another order\n# CONFIG_B is not set\nCONFIG_A=y\n", "2.config")
    different = write(tmp_path, "CONFIG_A=y\nCONFIG_B=m\n", "3.config")

    def digest(*paths: Path, full: str = "") -> str:
        return kconfig.digest(kconfig.merge(paths, "6.12"), full)

    assert digest(one) == digest(other)
    assert digest(one) != digest(different)
    assert digest(one) != digest(one, full=different.read_text())


def test_dotconfig() -> None:
    text = (
        "#\n# Automatically generated file; DO NOT EDIT.\n#\nCONFIG_A=y\n# CONFIG_B is not set\n"
        'CONFIG_S="x y"\nCONFIG_N=17\ngarbage \x00\nCONFIG_CUT'
    )
    assert formats.parse_dotconfig(text) == {"A": "y", "S": '"x y"', "N": "17"}
    assert formats.parse_dotconfig("") == {}


def test_mismatches_are_named_with_their_fragment() -> None:
    requests = [
        Request("A", "y", "base.config", 3),
        Request("B", "n", "base.config", 4),
        Request("C", "y", "thp.config", 1),
        Request("N", "0x10", "base.config", 5),
        Request("S", '"x"', "base.config", 6),
    ]
    got = {"A": "y", "B": "y", "N": "16", "S": '"y"'}
    wrong = kconfig.mismatches(requests, got)
    assert [(m.symbol, m.wanted, m.got, m.fragment) for m in wrong] == [
        ("B", "n", "y", "base.config:4"),
        ("C", "y", "n", "thp.config:1"),
        ("S", '"x"', '"y"', "base.config:6"),
    ]
    assert kconfig.mismatches(requests[:1], got) == ()


@pytest.mark.parametrize(
    ("wanted", "got", "same"),
    [("y", "y", True), ("y", "m", False), ("0x10", "16", True), ("010", "10", False),
     ("16", "17", False), ("n", "0", False), ('"a"', "a", False), ("1F", "0x1f", True),
     ("1f", "0x1F", True), ("10", "0x10", True), ("16", "0x10", False), ("1f", "1F", False),
     ("-1", "-1", True), ("1_0", "10", False), ("010", "0x10", True), ("y", "0xy", False)],
)  # fmt: skip
def test_same_value(wanted: str, got: str, same: bool) -> None:
    assert kconfig.same_value(wanted, got) is same


def test_version_order() -> None:
    versions = ["6.1.150", "6.2", "6.9", "6.10", "6.12-rc3", "6.12.117", "7.0"]
    assert sorted(set(versions), key=kconfig.version_key) == versions
