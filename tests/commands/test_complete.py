# SPDX-License-Identifier: GPL-2.0-only
"""What a shell may complete, asked as its script asks, and by the real shells."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from labrun import LAB
from plan_files import make_kernel_tree
from sample_mutants import campaign

from orchestrator.commands.complete import offer_values
from orchestrator.commands.completion import SCRIPTS
from orchestrator.results import mutants

Ask = Callable[..., list[str]]


@pytest.fixture
def ask(stored: Path) -> Ask:
    """The candidates for a line, without what is told beside them."""

    def answer(line: str, shell: str = "zsh", word: str | None = None) -> list[str]:
        env = {**os.environ, "_LAB_COMPLETE": f"{shell}_complete", "COMP_LINE": line}
        if word is not None:
            env["LAB_WORD"] = word
        done = subprocess.run(
            [LAB], cwd=stored, env=env, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stderr == ""
        return [each.partition("\t")[0] for each in done.stdout.splitlines() if each]

    return answer


def test_names_of_lab_yaml(ask: Ask) -> None:
    assert "stable" in ask("lab run --kernel ")
    assert ask("lab build --config defa") == ["default"]
    assert ask("lab run --arch x") == ["x86_64"]
    assert ask("lab run --arch=x") == ["--arch=x86_64"]
    assert ask("lab shell --shape sma") == ["small"]
    assert ask("lab plan -p smo") == ["smoke"]
    assert ask("lab run --workload uffd-move/swap-k") == ["uffd-move/swap-kinds"]
    assert "uffd-move" in ask("lab run --workload uffd")
    assert ask("lab list k") == ["kernels", *ask("lab list workloads k")]
    assert "stable" in ask("lab list kernels st")
    assert ask("LAB_DEBUG=1 /some/where/lab run --arch x") == ["x86_64"]
    assert ask("lab run 'no end") == []


def test_what_is_explored(ask: Ask, stored: Path) -> None:
    assert ask("lab explore ") == ["replay", "shrink", "corpus"]
    assert ask("lab explore corpus m") == ["minimise"]
    assert ask("lab explore --mode ") == ["failing", "racing", "steady"]
    assert "20240105-142233-smoke" in ask("lab explore shrink ")
    cases = ask("lab explore shrink 20240105-142233-smoke ")
    assert cases == ask("lab rerun 20240105-142233-smoke ") != []
    assert "lab.yaml" in ask("lab explore replay ")
    assert ask("lab explore corpus import lab") == []
    assert ask("lab explore corpus minimise ") == []


def test_runs_and_their_cases(ask: Ask) -> None:
    runs = ask("lab rerun ")
    assert runs[0] == "latest"
    assert "20240105-142233-smoke" in runs
    assert ask("lab compare latest 20240105-11") == ["20240105-112233-smoke"]
    assert "none" in ask("lab run --baseline ")
    cases = ask("lab rerun 20240105-142233-smoke ")
    assert all(":" in case for case in cases)
    verdicts = os.environ | {"_LAB_COMPLETE": "zsh_complete", "COMP_LINE": "lab rerun latest "}
    told = subprocess.check_output([LAB], env=verdicts, text=True).splitlines()
    assert told[0].endswith(("\tfail", "\terror"))
    assert told[-1].endswith(("\tpass", "\tskip"))
    assert ask("lab rerun no-such-run ") == []
    # A case alone is one of the latest run, with its slashes too.
    case = "cli/default/x86_64/small:ledger/swap:kernel-log"
    for command in ("rerun", "open", "logs"):
        assert case in ask(f"lab {command} cli/def")
        assert ask(f"lab {command} cli/default/x86_64/small:ledger/swap:ke") == [case]
    behind = ask("lab rerun cli/default/x86_64/small:ledger/swap:ke", "bash", "ke")
    assert behind == ["kernel-log"]


def test_campaigns_of_mutants(ask: Ask, stored: Path) -> None:
    folder = stored / "reports" / "mutants" / "20261130-170000"
    folder.mkdir(parents=True)
    mutants.save(campaign(), folder)
    assert ask("lab mutate --resume ") == ["latest", "20261130-170000"]
    assert "20261130-170000" not in ask("lab run --resume ")


def test_toolchains_and_commits(
    ask: Ask, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("gcc-99", "clang-98", "gcc-ar-99", "clang-format"):
        (programs / name).touch()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    found = ask("lab run --toolchain ")
    assert {"gcc", "clang", "gcc-99", "clang-98"} <= set(found)
    assert "gcc-ar-99" not in found
    tree = stored / "linux"
    make_kernel_tree(tree)
    git = ["git", "-C", str(tree), "-c", "user.name=A", "-c", "user.email=a@b"]
    for words in (["init", "-q", "-b", "mine"], ["commit", "-q", "--allow-empty", "-m", "x"],
                  ["tag", "v6.12"]):  # fmt: skip
        subprocess.run([*git, *words], check=True)
    for source in ("linux", "path:linux", "git:linux#mine"):
        assert set(ask(f"lab run --source {source} --base ")) == {"HEAD", "mine", "v6.12"}
    assert ask("lab plan --source linux --base v") == ["v6.12"]
    assert ask("lab run --base v") == []  # in no tree


def test_sources_and_files(ask: Ask, stored: Path) -> None:
    (stored / "linux" / "mm").mkdir(parents=True)
    (stored / "linux.tar").touch()
    (stored / ".hidden").mkdir()
    assert "debian:" in ask("lab run --source ")
    assert ask("lab run --source lin") == ["linux/"]
    assert ask("lab run --source path:linux/") == ["path:linux/mm/"]
    assert ask("lab run --source tar:lin") == ["tar:linux/", "tar:linux.tar"]
    assert ".hidden/" not in ask("lab run --source ./")
    assert ask("lab log linux.") == ["linux.tar"]
    assert ask("lab run --out lin") == ["linux/", "linux.tar"]
    assert ask("lab run --series no/such/folder/") == []
    (stored / "two words").mkdir()
    assert ask("lab run --source two") == [r"two\ words/"]
    assert ask("lab run --source two", "fish") == ["two words/"]


def test_bash_gets_what_stands_behind_a_colon(ask: Ask, stored: Path) -> None:
    (stored / "linux").mkdir()
    assert ask("lab run --source path:l", "bash", "l") == ["linux/"]
    assert ask("lab run --arch=x", "bash", "x") == ["x86_64"]
    assert ask("lab run --arch=", "bash", "") == ["x86_64", "arm64", "amd64", "aarch64"]


@pytest.mark.parametrize("text", ["kernels: [", "kernels: 3", "\0", "", None])
def test_a_broken_lab_yaml_is_no_matter_for_a_shell(
    ask: Ask, stored: Path, text: str | None
) -> None:
    (stored / "lab.yaml").unlink()
    if text is not None:
        (stored / "lab.yaml").write_text(text)
    for line in ("lab run --kernel ", "lab run --workload ", "lab rerun ", "lab rerun x "):
        ask(line)
    assert ask("lab ru") == ["run"]


def test_only_a_shell_that_asks_pays(folder: Path) -> None:
    """Names of lab.yaml come without the libraries that take longer than the answer."""
    code = (
        "import sys; from orchestrator.commands.arguments import cli; "
        "from orchestrator.commands.complete import offer_values, _names; offer_values(cli); "
        "assert dict(_names('kernels')(None, '')); print(*sys.modules)"
    )
    import sys

    done = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    heavy = {"jsonschema", "rich", "paramiko", "orchestrator.plan.lab_yaml", "sqlite3"}
    assert not heavy & set(done)
    assert offer_values.__doc__


# ---------------------------------------------------------------- the shells themselves


def at_terminal(argv: list[str], env: dict[str, str], line: str, wanted: str) -> str:
    """What a shell shows where a line is typed at its prompt; waits until ``wanted`` is there."""
    child, master = pty.fork()
    if child == 0:
        os.execvpe(argv[0], argv, env)
    shown, sent, until = "", False, time.monotonic() + 30
    try:
        while time.monotonic() < until and wanted not in shown:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    shown += os.read(master, 65536).decode(errors="replace")
                except OSError:
                    break
            if not sent and "READY>" in shown:
                os.write(master, line.encode())
                sent, shown = True, ""
    finally:
        os.close(master)
        os.kill(child, 9)
        os.waitpid(child, 0)
    return shown


@pytest.fixture
def env(stored: Path, tmp_path: Path) -> dict[str, str]:
    """A user's environment with lab on PATH and its completion installed for all shells."""
    home = tmp_path / "home"
    home.mkdir()
    env = {
        "PATH": f"{LAB.parent}:/usr/bin:/bin", "HOME": str(home), "TERM": "dumb",
        "LANG": "C.UTF-8", "LAB_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    (home / "_lab").write_text(SCRIPTS["zsh"])
    (home / "lab.bash").write_text(SCRIPTS["bash"])
    return env


#: A line typed, and what the shell must then show.
LINES = [
    ("lab run --kernel sta\t", "stable"),
    ("lab rerun latest --until-fail 3 --on sta\t", "stable"),
    ("lab run --source=path:guest-tr\t", "path:guest-tree/"),
]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize(("line", "wanted"), LINES)
def test_bash_itself(env: dict[str, str], stored: Path, line: str, wanted: str) -> None:
    (stored / "guest-tree").mkdir()
    rc = Path(env["HOME"]) / "rc"
    rc.write_text(f". {env['HOME']}/lab.bash\nPS1='READY>'\n")
    argv = ["bash", "--rcfile", str(rc), "--noprofile", "-i"]
    assert wanted in at_terminal(argv, env, line, wanted)


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
@pytest.mark.parametrize(("line", "wanted"), LINES)
def test_zsh_itself(env: dict[str, str], stored: Path, line: str, wanted: str) -> None:
    (stored / "guest-tree").mkdir()
    rc = "fpath+=($HOME)\nautoload -Uz compinit\ncompinit -u\nunsetopt zle_bracketed_paste\n"
    (Path(env["HOME"]) / ".zshrc").write_text(rc + "PS1='READY>'\n")
    assert wanted in at_terminal(["zsh", "-d", "-i"], env, line, wanted)


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
@pytest.mark.parametrize(("line", "wanted"), LINES)
def test_fish_itself(env: dict[str, str], stored: Path, line: str, wanted: str) -> None:
    (stored / "guest-tree").mkdir()
    script = Path(env["HOME"]) / ".config" / "fish" / "completions" / "lab.fish"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPTS["fish"])
    done = subprocess.run(
        ["fish", "-c", f"complete -C '{line.strip()}'"],
        env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert wanted in done.stdout
