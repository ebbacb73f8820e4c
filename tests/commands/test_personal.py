# SPDX-License-Identifier: GPL-2.0-only
"""Personal defaults on the command line: what wins, what is said, what is recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.commands.arguments import cli
from orchestrator.commands.personal import added_words
from orchestrator.commands.workspace import command_line
from orchestrator.plan.personal import Personal

MINE = Personal(
    path=Path("/h/.config/lab.yaml"),
    options={
        "source": ("path:.",), "arch": ("x86_64", "arm64"), "profile": ("smoke",), "jobs": ("3",),
        "plain": (),
    },
)  # fmt: skip


def added(name: str, *words: str, personal: Personal = MINE) -> list[str]:
    return added_words(cli.commands[name], list(words), personal)


def test_the_command_line_wins() -> None:
    everything = ["--source", "path:.", "--arch", "x86_64", "--arch", "arm64",
                  "--profile", "smoke", "--jobs", "3", "--plain"]  # fmt: skip
    assert added("run") == everything
    assert added("run", "--arch", "arm64", "-p", "full", "--plain", "--jobs=1") == everything[:2]
    assert added("run", "--kernel", "v6.12") == everything[2:]
    assert added("run", "--resume", "latest") == everything[-3:]
    assert added("rerun", "latest", "x") == everything[-3:]
    assert added("shell") == [*everything[:4], *everything[-3:]]
    assert added("shell", "--source", ".", "--", "uname", "--jobs", "2")[0] == "--arch"
    kernel = Personal(MINE.path, {"kernel": ("v6.1",)})
    assert added("plan", personal=kernel) == ["--kernel", "v6.1"]
    assert added("plan", "--source", ".", personal=kernel) == []
    assert added("gc") == added("list") == []


def test_what_does_not_go_with_a_word_of_the_command_line_gives_way() -> None:
    personal = Personal(MINE.path, {"kernel": ("k",), "baseline": ("b",), "quiet": ()})
    assert added("build", personal=personal) == ["--kernel", "k", "--baseline", "b", "--quiet"]
    assert added("build", "--json", "--base", "HEAD", personal=personal) == []


def test_a_flag_that_a_command_takes_back() -> None:
    personal = Personal(MINE.path, {"quiet": ()}, {"build": {"quiet": None}})
    assert (added("build", personal=personal), added("run", personal=personal)) == ([], ["--quiet"])


def test_a_source_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    for word in ("~/linux", "path:~/linux"):
        words = added("plan", personal=Personal(MINE.path, {"source": (word,)}))
        assert words == ["--source", word.replace("~", "/h")]


def test_a_file_that_was_named_and_is_none(lab, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LAB_CONFIG", str(tmp_path))
    done = lab("plan")
    assert done.status == 2
    assert f"LAB_CONFIG names {tmp_path}, which is no file" in done.err


@pytest.fixture
def mine(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LAB_CONFIG", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("LAB_CACHE_FROM", "")
    path = tmp_path / ".config" / "lab.yaml"
    path.parent.mkdir()
    path.write_text("arch: x86_64\nkernel: stable\n")
    return path


def test_said_and_recorded(lab, mine: Path) -> None:
    done = lab("plan", "--config", "default")
    assert done.status == 0
    assert done.err == "lab: from ~/.config/lab.yaml: --arch x86_64 --kernel stable\n"
    assert "arm64" not in done.out
    assert command_line() == "lab plan --arch x86_64 --kernel stable --config default"
    again = lab(*sys.argv[1:])
    assert (again.out, again.err) == (done.out, "")


@pytest.mark.parametrize(
    ("words", "env"),
    [(["--no-personal"], {}), ([], {"LAB_CONFIG": "none"}), ([], {"CI": "true"})],
)
def test_left_out(lab, mine: Path, monkeypatch: pytest.MonkeyPatch, words, env) -> None:
    mine.write_text("no: such\n")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    done = lab("plan", *words)
    assert (done.status, done.err) == (0, "")
    assert "lab plan" in command_line()


def test_a_wrong_file_is_one_sentence(lab, mine: Path) -> None:
    mine.write_text("arch: x86_64\nsourse: .\n")
    done = lab("plan")
    assert done.status == 2
    assert done.err.splitlines()[0] == (
        f"lab: {mine}:2: sourse: unknown key; did you mean 'source'?"
    )
    assert len(done.err.splitlines()) == 2
    assert lab("plan", "--help").status == 0


def test_a_cache_of_ones_own(lab, mine: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LAB_CACHE", "")
    mine.write_text("cache: ~/big\n")
    done = lab("gc", "--dry-run")
    assert done.status == 0
    assert f"are left in {tmp_path / 'big'}\n" in done.out


@pytest.mark.parametrize("folder", ["~/my cache", "/etc/passwd/cache", "~nobody-of-that-name/c"])
def test_a_cache_that_can_be_none_is_told_by_its_file(lab, mine: Path, monkeypatch, folder) -> None:
    monkeypatch.setenv("LAB_CACHE", "")
    mine.write_text(f"cache: {folder}\n")
    done = lab("gc")
    assert done.status == 2
    assert "as ~/.config/lab.yaml (cache:) has it" in done.err
