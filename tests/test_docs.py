# SPDX-License-Identifier: GPL-2.0-only
"""The docs against the tree: nothing undocumented, no dead link, and examples that are still so."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from in_process import run_lab
from labrun import LAB

from orchestrator import HOME, __version__
from orchestrator.commands.arguments import cli
from orchestrator.model.arch import ARCHES
from orchestrator.plan.lab_yaml import load_config

PAGES = sorted([*HOME.glob("*.md"), *HOME.glob("docs/*.md"), *HOME.glob("[a-z]*/README.md")])
NAMES = [str(page.relative_to(HOME)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Only these show what a machine has or did, so the page cannot know it.
STABLE = ("plan", "list", "log", "--version", "--help")


def text(name: str) -> str:
    return (HOME / name).read_text(encoding="utf-8")


def sections(name: str) -> dict[str, str]:
    """The page's second-level sections by their heading."""
    parts = re.split(r"^## (.+)$", text(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def anchors(page: Path) -> set[str]:
    """The anchors GitHub and GitLab make of a page's headings."""
    body = FENCE.sub("", page.read_text(encoding="utf-8"))
    found = set()
    for heading in re.findall(r"^#+ (.+)$", body, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-"))
    return found


# ---------------------------------------------------------------- commands


def test_each_command_has_a_section_and_each_section_a_command() -> None:
    told = {name.split()[1] for name in sections("docs/commands.md") if name.startswith("lab ")}
    assert told == set(cli.commands)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_each_option_is_documented(name: str) -> None:
    """In the command's own section, or in one that it points to."""
    pages = sections("docs/commands.md")
    body = pages[f"lab {name}"]
    by_anchor = {heading.lower().replace(" ", "-"): part for heading, part in pages.items()}
    body += "".join(by_anchor.get(anchor, "") for anchor in re.findall(r"\(#([\w-]+)\)", body))
    for parameter in cli.commands[name].params:
        if isinstance(parameter, click.Option):
            longest = max(parameter.opts, key=len)
            assert re.search(rf"{re.escape(longest)}(?![\w-])", body), f"lab {name} {longest}"
        else:
            assert (parameter.metavar or parameter.name or "").upper() in body, parameter.name


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_each_command_has_an_example(name: str) -> None:
    assert f"$ lab {name}" in sections("docs/commands.md")[f"lab {name}"]


@pytest.mark.parametrize("page", NAMES)
def test_command_lines_are_right(page: str) -> None:
    """Wherever a page shows a command line of lab, the command and its options exist."""
    for line in re.findall(
        r"(?:\.venv/bin/lab|^ *\$ lab|`lab) ([a-z][^\n`|#>]*)", text(page), re.M
    ):
        words = shlex.split(line.replace("'{case}'", "CASE").partition(" && ")[0], posix=False)
        command = cli.commands.get(words[0])
        assert command is not None, f"{page}: lab {line}"
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"-h"}
        for word in words[1:]:
            if word == "--":
                break
            option = word.partition("=")[0]
            if option.startswith("-") and option not in ("-", "--help"):
                assert option in options, f"{page}: lab {line}"


def examples() -> Iterator[tuple[str, str]]:
    """Command and output of each example whose output does not depend on the machine."""
    for page in ("README.md", "docs/commands.md"):
        for language, body in FENCE.findall(text(page)):
            if language != "console":
                continue
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                words = command.split()
                if words[0] == "lab" and words[1] in STABLE and "cd " not in command:
                    yield command, output.strip("\n") + "\n"


def pattern(shown: str) -> str:
    """What an example may look like now.

    A line "..." stands for any number of lines, and "..." in a line for any text.  Columns may be
    wider, and further workloads may stand in a plan: neither makes what is shown wrong.
    """
    found = ""
    for line in shown.splitlines():
        if line == "...":
            found += r"(?:.*\n)*?"
        else:
            found += r"(?:[\w-]+/[\w-]+ +\d+ s  .*\n)*?"
            words = re.sub(r"(?<=\S)(\\ ){2,}", "  +", re.escape(line))
            found += words.replace(re.escape("..."), ".*") + r"\n"
    return found


@pytest.mark.parametrize(("command", "shown"), list(examples()))
def test_shown_output_is_still_so(
    command: str,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(HOME)
    monkeypatch.setenv("COLUMNS", "100")
    done = run_lab(monkeypatch, capsys, *shlex.split(command)[1:])
    said = (done.out + done.err).strip("\n").replace(f"{HOME}/", "") + "\n"
    assert re.fullmatch(pattern(shown), said), f"{command} says now:\n{said}"


def test_an_example_may_leave_out_and_nothing_else() -> None:
    shown = "1 cell, ... runs\n\nWORKLOADS  LIMIT\nfam/one    30 s   root\nfam/two    30 s   -\n"
    right = "1 cell, 3 runs\n\nWORKLOADS  LIMIT\nfam/one    30 s   root\nfam/two    30 s   -\n"
    assert re.fullmatch(pattern(shown), right)
    wider = right.replace("   ", "     ").replace("fam/two", "fam/new      9 s    -\nfam/two")
    assert re.fullmatch(pattern(shown), wider)
    for wrong in (
        right.replace("30", "31"),
        right.replace("1 cell", "2 cells"),
        right.replace("fam/one    30 s   root\n", ""),
        right.replace("fam/two", "warning: x\nfam/two"),
        right + "one more\n",
        right.replace("   root", " root"),
    ):
        assert not re.fullmatch(pattern(shown), wrong), wrong


def test_the_installed_command_is_this_one() -> None:
    done = subprocess.run([LAB, "--version"], cwd=HOME, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"lab, version {__version__}\n")


# ---------------------------------------------------------------- tables


def test_each_dependency_has_its_reason() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    named = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    page = text("docs/architecture.md")
    for requirement in named:
        package = re.split(r"[<>=\[;~! ]", requirement)[0]
        assert re.search(rf"(?<![\w-]){re.escape(package)}(?![\w-])", page), package


def test_each_module_is_told() -> None:
    page = text("docs/architecture.md")
    for path in sorted((HOME / "orchestrator").rglob("*.py")):
        name = str(path.relative_to(HOME / "orchestrator"))
        if path.name != "__init__.py" and not name.startswith("commands/"):
            assert f"`{name}`" in page, name
    for name in re.findall(r"`([\w/]+\.(?:py|sh))`", page):
        assert (HOME / "orchestrator" / name).is_file() or (HOME / name).is_file(), name


def test_architectures_fragments_and_configs_are_told() -> None:
    page = text("docs/configs.md")
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    fragments = {path.stem for path in (HOME / "kernel-configs").glob("*.config")}
    for name in [*ARCHES, *fragments, *(c.name for c in config.configs)]:
        assert f"`{name}`" in page, name
    for name in ARCHES:
        assert name in text("README.md")
        assert name in text("docs/lab-yaml.md")
    for profile in config.profiles:
        assert f"`{profile.name}`" in page + text("docs/commands.md"), profile.name


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("page", NAMES)
def test_links_lead_somewhere(page: str) -> None:
    here = HOME / page
    body = FENCE.sub("", text(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", body):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        other = (here.parent / path).resolve() if path else here
        assert other.exists(), f"{page}: {target}"
        assert other.is_relative_to(HOME), f"{page}: {target}"
        if anchor and other.suffix == ".md":
            assert anchor in anchors(other), f"{page}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    left = [HOME / "README.md"]
    while left:
        page = left.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            other = (page.parent / target).resolve()
            if other.suffix == ".md" and other.is_file():
                left.append(other)
    assert {page for page in PAGES if page.parent.name == "docs"} <= seen
