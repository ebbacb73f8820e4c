# SPDX-License-Identifier: GPL-2.0-only
"""What a shell may complete behind ``lab``: names of lab.yaml, runs, cases, sources, files.

Loaded only where a shell asks.  Whatever is wrong (no lab.yaml, a broken one), the answer is then
empty: a person who types is told nothing that would stand in the middle of the line.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    split_arg_string,
)

from orchestrator.commands.completion import SCRIPTS
from orchestrator.model.arch import ALIASES, ARCHES
from orchestrator.model.errors import LabError
from orchestrator.plan.defined import defined
from orchestrator.plan.find import find_lab, tree_above

#: Candidates in the order to show them, each with what it is.
Found = Iterable[tuple[str, str]]
_FORMS = (
    ("debian:", "Debian's kernel"), ("path:", "a tree"), ("git:", "a repository"),
    ("tar:", "an archive"),
)  # fmt: skip
_DEBIAN = ("debian:6.1", "debian:6.12")
# Names of runs that are no ids: those are offered that lead to a run.
_SHORT_RUNS = ("latest", "last-failed", "last-clean", "@1")
_MOST_TOLD = 60
_BAD_FIRST = {"error": 0, "fail": 1}
# What bash and zsh take for more than a letter; a tilde at the start is left for them to expand.
_SPECIAL = re.compile(r"([^\w@%+=:,./~^{}\-])|(?<=.)(~)", re.ASCII)


# Imports stand inside what needs them: they take longer than the answer.


def _names(kind: str) -> Callable[[click.Context, str], Found]:
    def find(_context: click.Context, _typed: str) -> Found:
        names = defined(find_lab(Path.cwd()).lab_yaml, kind)
        if kind == "workloads":
            names |= {name.partition("/")[0]: "all of the family" for name in names}
        return names.items()

    return find


def _arches(_context: click.Context, _typed: str) -> Found:
    yield from ((name, "") for name in ARCHES)
    yield from ALIASES.items()


def _reports() -> Path:
    from orchestrator.runner.context import Places, reports_of

    here = Path.cwd()
    return Places.of_found(find_lab(here, anywhere=reports_of(here).is_dir())).reports


def _runs(_context: click.Context, typed: str) -> Found:
    """The newest first; a path where one is typed."""
    from orchestrator.results import runs

    reports = _reports()
    for name in _SHORT_RUNS:
        try:
            yield name, runs.find_run(reports, name).name
        except LabError:
            continue
    yield from ((folder.name, "") for folder in reversed(runs.list_runs(reports)))
    if "/" in typed:
        yield from _files(typed, folders_only=True)


def _resumable(context: click.Context, typed: str) -> Found:
    """The runs; of ``lab mutate`` its own campaigns, the newest first."""
    if context.info_name != "mutate":
        yield from _runs(context, typed)
        return
    from orchestrator.results import mutants

    yield mutants.LATEST, "the newest"
    yield from ((folder.name, "") for folder in reversed(mutants.list_campaigns(_reports())))
    if "/" in typed:
        yield from _files(typed, folders_only=True)


def _cases(context: click.Context, _typed: str) -> Found:
    """The cases of the run that stands on the line (else the latest), what failed first."""
    before: tuple[str, ...] = context.params.get("words") or ()
    return _cases_of(context.params.get("run_name") or next(iter(before), ""))


def _cases_of(run: str) -> Found:
    """The cases of a run, of the latest where none is named."""
    from orchestrator.results import runs

    run = run or runs.LATEST
    text = (runs.find_run(_reports(), run) / runs.RESULTS).read_bytes()
    cases = [case for cell in json.loads(text)["cells"] for case in cell["cases"]]
    cases.sort(key=lambda case: _BAD_FIRST.get(case["verdict"], 2))
    return [(case["id"], case["verdict"]) for case in cases]


def _runs_or_cases(context: click.Context, typed: str) -> Found:
    if not context.params.get("words"):
        yield from _runs(context, typed)
    yield from _cases(context, typed)


def _exploring(context: click.Context, typed: str) -> Found:
    """What `lab explore` does besides exploring, and what each of that takes."""
    match context.params.get("words") or ():
        case ():
            return [("replay", "carry out one program"), ("shrink", "a find's program smaller"),
                    ("corpus", "the programs that are kept")]  # fmt: skip
        case ("replay",):
            return _files(typed)
        case ("shrink",):
            return [*_runs(context, typed), *_cases_of("")]
        case ("shrink", run):
            return _cases_of(run)
        case ("corpus",):
            return [(word, "") for word in ("export", "import", "minimise")]
        case ("corpus", "export" | "import"):
            return _files(typed, folders_only=True)
    return ()


def _baselines(context: click.Context, typed: str) -> Found:
    yield "none", "there is none yet"
    yield from _names("kernels")(context, typed)
    yield from _runs(context, typed)


def _sources(_context: click.Context, typed: str) -> Found:
    form, colon, rest = typed.partition(":")
    if colon and form == "debian":
        return [(name, "") for name in _DEBIAN]
    if colon and f"{form}:" in dict(_FORMS):
        found = _files(rest, folders_only=form != "tar")
        return [(f"{form}:{name}", told) for name, told in found]
    return [*_FORMS, *_files(typed, folders_only=True)]


def _series(_context: click.Context, typed: str) -> Found:
    if typed.startswith("git:"):
        found = _files(typed.removeprefix("git:"), folders_only=True)
        return [(f"git:{name}", told) for name, told in found]
    return [*_files(typed), ("git:", "commits of a repository")]


def _toolchains(_context: click.Context, _typed: str) -> Found:
    """The default ones, and those of a version that are installed."""
    from orchestrator.model.toolchain import CLANG, GCC, Toolchain

    yield from ((name, "the default one") for name in (GCC, CLANG))
    for folder in os.get_exec_path():
        for name, _ in _files(f"{folder}/"):
            with contextlib.suppress(ValueError):
                yield str(Toolchain.parse(Path(name).name)), ""


def _commits(context: click.Context, _typed: str) -> Found:
    """Branches and tags of the tree under test, the newest first."""
    from orchestrator.kernel.source.store import git_elsewhere

    source = (context.params.get("source") or "").rpartition("#")[0] or context.params.get("source")
    where = re.sub(r"^(path|git):", "", source or "")
    tree = Path(where).expanduser() if where else tree_above(Path.cwd())
    if tree is None:
        return
    yield "HEAD", ""
    names = ("for-each-ref", "--sort=-creatordate", "--format=%(refname:lstrip=2)")
    done = git_elsewhere(tree, *names, "refs/heads", "refs/tags", "refs/remotes", deadline=5.0)
    yield from ((name, "") for name in done.text.splitlines())


def _definitions(context: click.Context, typed: str) -> Found:
    """A kind, or a name of the kind that was typed (of the workloads where none was)."""
    words = context.params.get("words")
    if not words:
        yield from ((kind, "") for kind in _BY_KIND)
        words = ("workloads",)
    yield from _BY_KIND.get(words[0], _BY_KIND["workloads"])(context, typed)


def _files(typed: str, folders_only: bool = False) -> Iterator[tuple[str, str]]:
    """Folders (with a slash) and files whose path begins as typed; hidden ones when asked for."""
    above, slash, begun = typed.rpartition("/")
    folder = Path(above + slash).expanduser() if slash else Path()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.name.startswith(begun):
                continue
            if entry.name.startswith(".") and not begun.startswith("."):
                continue
            if entry.is_dir():
                yield f"{above}{slash}{entry.name}/", ""
            elif not folders_only:
                yield f"{above}{slash}{entry.name}", ""


def _paths(_context: click.Context, typed: str) -> Found:
    return _files(typed)


def _folders(_context: click.Context, typed: str) -> Found:
    return _files(typed, folders_only=True)


if TYPE_CHECKING:
    _Type = click.ParamType[str]
else:  # no generic before click 8.3
    _Type = click.ParamType


class Candidates(_Type):
    """The type of a parameter whose values can be found; conversion leaves them alone."""

    name = "text"

    def __init__(self, find: Callable[[click.Context, str], Found]) -> None:
        self._find = find

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Those that begin as typed, each once; none where something is wrong."""
        del param
        found: dict[str, str] = {}
        try:
            for name, told in self._find(ctx, incomplete):
                if name.startswith(incomplete):
                    found.setdefault(name, told)
        except (LabError, OSError, ValueError, LookupError, TypeError, RuntimeError):
            pass  # what was found before stands
        return [CompletionItem(name, help=told or None) for name, told in found.items()]


_BY_KIND = {
    "workloads": _names("workloads"),
    "kernels": _names("kernels"),
    "configs": _names("configs"),
    "shapes": _names("shapes"),
    "profiles": _names("profiles"),
    "arches": _arches,
}
_BY_OPTION = {
    "--kernel": _names("kernels"),
    "--kernel-a": _names("kernels"),
    "--kernel-b": _names("kernels"),
    "--on": _names("kernels"),
    "--config": _names("configs"),
    "--shape": _names("shapes"),
    "--profile": _names("profiles"),
    "--workload": _names("workloads"),
    "--arch": _arches,
    "--baseline": _baselines,
    "--resume": _resumable,
    "--source": _sources,
    "--toolchain": _toolchains,
    "--base": _commits,
    "--series": _series,
    "--push": _paths,
    "--share": _folders,
}
_BY_METAVAR = {
    "RUN": _runs,
    "A": _runs,
    "B": _runs,
    "CASE": _cases,
    "CASE-GLOB": _cases,
    "RUN CASE": _runs_or_cases,
    "KIND NAME...": _definitions,
    "DO WHAT...": _exploring,
    "FILE...": _paths,
}


def offer_values(group: click.Group) -> None:
    """Have the parameters of each command offer their values, by option or by metavar."""
    for command in group.commands.values():
        for param in command.params:
            if isinstance(param, click.Option):
                find = next((_BY_OPTION[o] for o in param.opts if o in _BY_OPTION), None)
            else:
                find = _BY_METAVAR.get(re.sub(r"[][]", "", param.metavar or ""))
            if find is not None:
                param.type = Candidates(find)
            elif isinstance(param.type, click.Path):
                param.type = Candidates(_paths if param.type.file_okay else _folders)
    for shell in (_Bash, _Zsh, _Fish):
        add_completion_class(shell)


class _Asking(ShellComplete):
    """A shell's question and the answer, as the scripts of ``lab completion`` have them."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words behind the command, and the one that the cursor stands behind."""
        # The letter shows whether the line ends within a word, quoted or not.
        words = split_arg_string(os.environ.get("COMP_LINE", "") + "x")
        while words and Path(words[0]).name != "lab":  # LAB_CACHE=... lab
            words.pop(0)
        return words[1:-1], words[-1][:-1] if len(words) > 1 else ""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """As click has them, with ``--option=`` before the values where it was typed so."""
        items = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("--"):
            for item in items:
                item.value = f"{option}={item.value}"
        return items

    def format_completion(self, item: CompletionItem) -> str:
        """The candidate, and behind a tab what it is, in a few words."""
        told = " ".join((item.help or "").split())
        if len(told) > _MOST_TOLD:
            told = told[: _MOST_TOLD - 3].rstrip() + "..."
        return f"{self.written(item.value)}\t{told}" if told else self.written(item.value)

    def written(self, value: str) -> str:
        """The candidate as it must stand on the line."""
        return _SPECIAL.sub(r"\\\g<0>", value)


class _Bash(_Asking):
    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = SCRIPTS["bash"]

    def format_completion(self, item: CompletionItem) -> str:
        """Only what takes the place of the part of the word that bash asked for."""
        _, typed = self.get_completion_args()
        word = os.environ.get("LAB_WORD", typed)
        known = len(typed) - len(word) if typed.endswith(word) else 0
        return self.written(item.value[known:])


class _Zsh(_Asking):
    name: ClassVar[str] = "zsh"
    source_template: ClassVar[str] = SCRIPTS["zsh"]


class _Fish(_Asking):
    name: ClassVar[str] = "fish"
    source_template: ClassVar[str] = SCRIPTS["fish"]

    def written(self, value: str) -> str:
        """fish quotes by itself."""
        return value
