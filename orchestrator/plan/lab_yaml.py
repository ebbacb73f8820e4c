# SPDX-License-Identifier: GPL-2.0-only
"""Read lab.yaml into a LabConfig, validated as a whole before anything starts.

Shape first (the schema: keys and types), then meaning (names, files, patterns).  Every problem is
collected, so one look at the message is enough to mend the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator import HOME
from orchestrator.model.errors import UserError
from orchestrator.model.formats import parse_size_mib
from orchestrator.model.names import BOOT, CLI_KERNEL, HOST_PLACE, is_named, nearest
from orchestrator.model.nightly import NightlySpec
from orchestrator.model.spec import (
    STRICT,
    ConfigSpec,
    Expectation,
    KernelSpec,
    KnownIssue,
    LabConfig,
    MessageRules,
    ProfileEntry,
    ProfileSpec,
    ShapeSpec,
)
from orchestrator.model.toolchain import DEFAULT_TOOLCHAIN, Toolchain
from orchestrator.plan.cluster import read_cluster
from orchestrator.plan.find import DEFAULT_WORKLOAD_FOLDERS
from orchestrator.plan.host_table import host_families
from orchestrator.plan.judging import read_judging
from orchestrator.plan.kernels import resolve_series, resolve_source
from orchestrator.plan.known_issue import read_known_issue
from orchestrator.plan.manifest import CAPABILITIES, RESERVED_FAMILIES, read_workloads
from orchestrator.plan.nightly import read_nightly
from orchestrator.plan.problems import ConfigError, KeyPath, Problems, suggest
from orchestrator.plan.schema import LAB_SCHEMA, check
from orchestrator.plan.selftests import named
from orchestrator.plan.walls import read_walls
from orchestrator.plan.yaml_reader import Document, View, read_document, regexes

__all__ = ["ConfigError", "init_text", "load_config"]

FRAGMENT_FOLDER = "kernel-configs"

RESERVED_KERNELS = (CLI_KERNEL, "latest", "last-clean", "none")

# What the schema says of a list of names.
_NAMES = "a list of names, such as [default]"

# A guest below this does not get as far as its SSH server.
_LEAST_MEMORY_MIB = 128


def init_text() -> str:
    """The commented lab.yaml that ``lab init`` writes."""
    from orchestrator.plan.template import TEXT

    return TEXT


def load_config(path: Path, arches: Collection[str], home: Path = HOME) -> LabConfig:
    """Read and validate the lab.yaml at ``path`` and the manifests it leads to.

    :param path: the file; relative paths in it are relative to its folder, or else to ``home``.
    :param arches: the names of the architectures that guests exist for.
    :param home: the lab's own folder, where what is not beside the file is looked for.
    :raises ConfigError: with every problem found.
    :raises UserError: if there is no such file.
    """
    path = path.absolute()
    if not path.is_file():
        raise UserError(f"{path} is no file", "`lab init` writes a commented lab.yaml")
    problems = Problems()
    document = read_document(path, path.name, problems)
    if document is None:
        problems.raise_if_any(path)
        raise AssertionError("a file that cannot be read has a problem")
    check(document, LAB_SCHEMA, problems)
    config = _Reader(document, arches, home, problems).read()
    problems.raise_if_any(path)
    return config


class _Reader:
    """Gives the checked shape of lab.yaml its meaning."""

    def __init__(
        self, document: Document, arches: Collection[str], home: Path, problems: Problems
    ) -> None:
        self.top = View.of(document)
        self.arches = arches
        self.bases = (document.path.parent, home)
        self.problems = problems

    def read(self) -> LabConfig:
        top = self.top
        folders, all_there = self._workload_folders()
        workloads, all_read = read_workloads(folders, self.problems)
        # Names count as defined even where their definition is wrong, or one slip would be told
        # again at each use.
        self.names = {key: list(top.child(key).data) for key in ("kernels", "configs", "shapes")}
        self.workloads = workloads
        self.complete = all_there and all_read
        self.capabilities = {word for word in CAPABILITIES if word != "root"}
        self.capabilities.update(word for w in workloads for word in w.exercises)
        default_kernels = self._defined(top, "default_kernels", "kernels")
        profiles = tuple(self._profile(*item) for item in top.children("profiles"))
        default_profile = top.text("default_profile") or LabConfig.default_profile
        if default_profile not in top.child("profiles").data:
            self._unknown(
                top.at("default_profile"),
                "profile",
                default_profile,
                list(top.child("profiles").data),
            )
        return LabConfig(
            path=top.document.path,
            kernels=tuple(self._kernel(*item) for item in top.children("kernels")),
            configs=tuple(self._config(*item) for item in top.children("configs")),
            shapes=tuple(self._shape(*item) for item in top.children("shapes")),
            profiles=profiles,
            workloads=workloads,
            expectations=tuple(self._expectation(view) for view in top.items("expect")),
            default_profile=default_profile,
            default_kernels=default_kernels,
            known_issues=tuple(self._known_issue(view) for view in top.items("known_issues")),
            messages=self._messages(top),
            judging=read_judging(top.child("judging")),
            nightly=self._nightly(top.child("nightly")),
            kcidb_origin=top.text("kcidb_origin") or "",
            walls=read_walls(top),
            cluster=read_cluster(top.child("cluster")),
        )

    # ------------------------------------------------------------ problems

    def _add(self, path: KeyPath, message: str) -> None:
        self.problems.add(self.top.document.problem(path, message))

    def _unknown(self, path: KeyPath, what: str, word: str, known: Collection[str]) -> None:
        self._add(path, f"no {what} {word!r}; {suggest(word, known)}")

    def _defined(self, view: View, key: str, kind: str) -> tuple[str, ...]:
        """The names of the list under ``key``, each of which must be a defined ``kind``."""
        known = self.arches if kind == "arches" else self.names[kind]
        what = "architecture" if kind == "arches" else kind.removesuffix("s")
        for word, path in view.strings(key):
            if word not in known:
                self._unknown(path, what, word, known)
        return view.words(key)

    def _capable(self, view: View, key: str) -> tuple[str, ...]:
        for word, path in view.strings(key):
            if self.complete and word not in self.capabilities:
                self._add(
                    path,
                    f"no workload needs or exercises {word!r}; {suggest(word, self.capabilities)}",
                )
        return view.words(key)

    def _resolved(self, view: View, key: str, resolve: Callable[[str, Path], str]) -> str | None:
        text = view.text(key)
        if text is None:
            return None
        try:
            return resolve(text, self.bases[0])
        except UserError as error:
            with contextlib.suppress(UserError):
                return resolve(text, self.bases[1])
            hint = f"; {error.hint}" if error.hint else ""
            self._add(view.at(key), error.message + hint)
            return text

    def _size(self, view: View, key: str, default: int) -> int:
        if key not in view:
            return default
        try:
            return parse_size_mib(view.raw(key))
        except ValueError as error:
            self._add(view.at(key), str(error))
            return default

    # ------------------------------------------------------------ parts

    def _workload_folders(self) -> tuple[tuple[tuple[str, Path], ...], bool]:
        named = self.top.strings("workload_folders")
        if "workload_folders" not in self.top:
            named = [(name, ("workload_folders",)) for name in DEFAULT_WORKLOAD_FOLDERS]
        found = []
        for name, path in named:
            folder = self._find(name, Path.is_dir)
            if folder is None:
                self._add(path, f"no folder {name!r} beside lab.yaml")
            else:
                found.append((name.rstrip("/"), folder))
        return tuple(found), len(found) == len(named)

    def _find(self, name: str, test: Callable[[Path], bool]) -> Path | None:
        """``name`` beside lab.yaml, else the lab's own."""
        for base in self.bases:
            try:
                path = (base / Path(name).expanduser()).absolute()
                if test(path):
                    return path
            except (OSError, RuntimeError, ValueError):
                continue  # too long, not ours to read, or a home folder of nobody
        return None

    def _kernel(self, name: str, view: View) -> KernelSpec:
        if name in RESERVED_KERNELS:
            self._add(view.path, f"{name!r} has a meaning on the command line; use another name")
        return KernelSpec(
            name=name,
            source=self._resolved(view, "source", resolve_source) or "",
            series=self._resolved(view, "series", resolve_series),
            provides=self._capable(view, "provides"),
            where=view.where(),
            apply=view.text("apply") or STRICT,
        )

    def _config(self, name: str, view: View) -> ConfigSpec:
        if name == HOST_PLACE:
            self._add(view.path, f"{name!r} is what runs without a guest; use another name")
        fragments = []
        for word, path in view.strings("fragments"):
            found = self._fragment(word, path)
            if found is not None:
                fragments.append(found)
        full = None
        dotconfig = view.text("dotconfig")
        if dotconfig is not None:
            full = self._find(dotconfig, Path.is_file)
            if full is None:
                self._add(view.at("dotconfig"), f"no file {dotconfig!r}")
        elif "fragments" not in view:
            self._add(view.path, "expected fragments, dotconfig or both")
        provides, lacks = self._capable(view, "provides"), self._capable(view, "lacks")
        for word in sorted(set(provides) & set(lacks)):
            self._add(view.at("lacks"), f"{word!r} is under provides too")
        return ConfigSpec(
            name=name,
            fragments=tuple(fragments),
            full=full,
            provides=provides,
            only_arch=self._defined(view, "only_arch", "arches"),
            where=view.where(),
            lacks=lacks,
            messages=self._messages(view),
            build_mismatched=view.flag("build_mismatched", False),
            selftest_config=view.words("selftest_config"),
            toolchain=_toolchain(view),
            modules=view.flag("modules", False),
            coverage=self._coverage(view),
            kcov=view.words("kcov"),
        )

    def _coverage(self, view: View) -> tuple[str, ...]:
        patterns = view.words("coverage")
        if patterns and _toolchain(view).is_clang:
            self._add(view.at("coverage"), "what ran is counted with gcc only")
        return patterns

    def _fragment(self, word: str, path: KeyPath) -> Path | None:
        if word in self.arches:
            self._add(path, f"{word!r} is put in by itself after the first fragment; leave it out")
            return None
        by_path = "/" in word
        found = self._find(word if by_path else f"{FRAGMENT_FOLDER}/{word}.config", Path.is_file)
        if found is None and by_path:
            self._add(path, f"no file {word!r}")
        elif found is None:
            known = {
                file.stem
                for base in self.bases
                for file in (base / FRAGMENT_FOLDER).glob("*.config")
                if file.stem not in self.arches
            }
            self._add(path, f"no file {FRAGMENT_FOLDER}/{word}.config; {suggest(word, known)}")
        return found

    def _shape(self, name: str, view: View) -> ShapeSpec:
        shape = ShapeSpec(
            name=name,
            cpus=view.integer("cpus", ShapeSpec.cpus),
            memory_mib=self._size(view, "memory", ShapeSpec.memory_mib),
            nodes=view.integer("nodes", ShapeSpec.nodes),
            machine=view.text("machine"),
            boot_args=view.words("boot_args"),
            swap_disk_mib=self._size(view, "swap_disk", ShapeSpec.swap_disk_mib),
            zram_mib=self._size(view, "zram", ShapeSpec.zram_mib),
            only_arch=self._defined(view, "only_arch", "arches"),
            where=view.where(),
        )
        if shape.memory_mib < _LEAST_MEMORY_MIB:
            self._add(view.at("memory"), f"expected at least {_LEAST_MEMORY_MIB}M to boot")
        return shape

    def _profile(self, name: str, view: View) -> ProfileSpec:
        return ProfileSpec(
            name=name,
            entries=tuple(self._block(block) for block in view.items("matrix")),
            description=view.text("description") or "",
            time_budget=view.seconds("time_budget", self.problems),
            where=view.where(),
            fresh_guests=view.flag("fresh_guests", True),
            spend_budget=view.flag("spend_budget", False),
        )

    def _block(self, view: View) -> ProfileEntry:
        for pattern, path in view.strings("workloads"):
            self._check_workloads(pattern, path)
        if not self._all_on_host(view.words("workloads")):
            for key in ("configs", "arches", "shapes"):
                # A misspelt key is told as such, and not again as a missing one.
                if key not in view and not any(nearest(k, [key]) for k in view.data):
                    self._add(view.at(key), f"is missing: expected {_NAMES}")
        return ProfileEntry(
            configs=self._defined(view, "configs", "configs"),
            arches=self._defined(view, "arches", "arches"),
            shapes=self._defined(view, "shapes", "shapes"),
            workloads=view.words("workloads") or ("*",),
            kernels=self._defined(view, "kernels", "kernels"),
            only_deterministic=view.flag("only_deterministic", False),
        )

    def _all_on_host(self, patterns: Collection[str]) -> bool:
        """Whether a block's workloads all run on the host, so that it needs no guest."""
        families = host_families(self.workloads)
        return bool(patterns) and all(p.partition("/")[0] in families for p in patterns)

    def _check_workloads(self, pattern: str, path: KeyPath) -> None:
        try:
            if named(pattern, self.workloads) is not None:
                return  # which programs a selftest collection has is known when it was built
        except UserError as error:
            self._add(path, error.message)
            return
        if self.complete and not any(is_named(w.name, pattern) for w in self.workloads):
            names = {w.name for w in self.workloads} | {w.family for w in self.workloads}
            self._unknown(path, "workload", pattern, names)

    def _check_glob(self, view: View, key: str, known: Collection[str]) -> str:
        """The pattern under ``key``, which must match a known name; any (``*``) without it."""
        pattern = view.text(key)
        if pattern and not any(fnmatchcase(name, pattern) for name in known):
            self._unknown(view.at(key), "architecture" if key == "arch" else key, pattern, known)
        return pattern or "*"

    def _messages(self, view: View) -> MessageRules:
        rules = view.child("messages")
        allows, forbids = (regexes(rules, key, self.problems) for key in ("allows", "forbids"))
        return MessageRules(allows=allows, forbids=forbids)

    def _nightly(self, view: View) -> NightlySpec:
        profiles = list(self.top.child("profiles").data)
        if (name := view.text("profile")) and name not in profiles:
            self._unknown(view.at("profile"), "profile", name, profiles)
        return read_nightly(view, self.problems)

    def _known_issue(self, view: View) -> KnownIssue:
        ways = ("signature", "title", "case")
        # A misspelt key is told as such, and not again as a missing one.
        if not any(key in view for key in ways) and not any(nearest(k, ways) for k in view.data):
            self._add(view.at("signature"), "is missing: expected a signature, a title or a case")
        everything = "case" in view and not (view.text("case") or "x").strip("*?")
        if everything and not any(key == "title" or nearest(key, ["title"]) for key in view.data):
            self._add(view.at("case"), "means every case: name one, or narrow it by a title")
        workload = view.text("workload") or "*"
        if workload != BOOT:
            self._check_workloads(workload, view.at("workload"))
        return replace(
            read_known_issue(view, self.problems),
            # --source and --series make a kernel that stands nowhere in the file.
            kernel=self._check_glob(view, "kernel", [*self.names["kernels"], CLI_KERNEL]),
            config=self._check_glob(view, "config", self.names["configs"]),
            arch=self._check_glob(view, "arch", self.arches),
            shape=self._check_glob(view, "shape", self.names["shapes"]),
            workload=workload,
        )

    def _expectation(self, view: View) -> Expectation:
        expectation = Expectation(
            kernel=self._check_glob(view, "kernel", self.names["kernels"]),
            config=self._check_glob(view, "config", self.names["configs"]),
            case=view.text("case") or "*",
            title=view.text("title") or "",
            where=view.where(),
        )
        if expectation.workload not in RESERVED_FAMILIES:
            self._check_workloads(expectation.workload, view.at("case"))
        return expectation


def _toolchain(view: View) -> Toolchain:
    """What compiles a config; the schema has told what is none."""
    with contextlib.suppress(ValueError):
        return Toolchain.parse(view.text("toolchain") or str(DEFAULT_TOOLCHAIN))
    return DEFAULT_TOOLCHAIN
