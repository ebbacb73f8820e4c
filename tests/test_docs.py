# SPDX-License-Identifier: GPL-2.0-only
"""The docs against the tree: nothing undocumented, no dead link, and examples that are still so."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from orchestrator import HOME
from orchestrator.cli import cli
from orchestrator.model.arch import ARCHES
from orchestrator.plan.lab_yaml import load_config

PAGES = sorted([*HOME.glob("*.md"), *HOME.glob("docs/*.md"), *HOME.glob("[a-z]*/README.md")])
NAMES = [str(page.relative_to(HOME)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Only these show what a machine has or did, so the page cannot know it.
STABLE = ("plan", "list", "--version", "--help")


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
            if option.startswith("-") and option != "--help":
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


@pytest.mark.parametrize(("command", "shown"), list(examples()))
def test_shown_output_is_still_so(command: str, shown: str) -> None:
    """A line "..." in an example stands for any number of lines that are left out."""
    program = "from orchestrator.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *shlex.split(command)[1:]],
        cwd=HOME,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = (done.stdout + done.stderr).strip("\n").replace(f"{HOME}/", "") + "\n"
    pieces = [re.escape(piece) for piece in re.split(r"^\.\.\.$\n?", shown, flags=re.MULTILINE)]
    assert re.fullmatch("(?:.*\n)*?".join(pieces), said), f"{command} says now:\n{said}"


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
