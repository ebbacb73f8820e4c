# SPDX-License-Identifier: GPL-2.0-only
"""Make the plan: the builds and cells that lab.yaml and the command line ask for.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product

from orchestrator.model.arch import HOST_ARCH
from orchestrator.model.errors import UserError
from orchestrator.model.names import (
    BASE_KERNEL,
    CLI_KERNEL,
    CONFIG,
    HOST_PLACE,
    NOT_ANY,
    CellId,
)
from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    LabConfig,
    MessageRules,
    Plan,
    ProfileEntry,
    ProfileSpec,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.model.toolchain import Toolchain
from orchestrator.plan.foreseen import expected, foresees, known_failures
from orchestrator.plan.problems import suggest
from orchestrator.plan.select import Block, Names, match, typed_workloads
from orchestrator.plan.selftests import asked_for, named

# Config, architecture and shape of the one cell that a kernel has on the host.
_HOST = (HOST_PLACE, HOST_ARCH or NOT_ANY, NOT_ANY)

#: Built before the others, so that their build folders start from what it compiled.
FIRST_CONFIG = "default"


@dataclass(frozen=True)
class Selection:
    """What the command line asks for; an empty tuple or None leaves it to the profile.

    ``kernels``, ``configs``, ``arches``, ``shapes`` and ``workloads`` are names or globs.
    ``source`` and ``series`` are in the full form of :mod:`orchestrator.plan.kernels`.
    ``apply`` is how series are applied, in place of lab.yaml's word for it.
    ``baseline`` is the name of a kernel of lab.yaml; ``base`` is a source in the full form, which
    becomes the kernel ``base`` and is the baseline in its place.
    With ``build_mismatched`` every config is built although a symbol did not take.
    ``toolchain`` compiles every config.
    """

    profile: str | None = None
    arches: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    source: str | None = None
    series: str | None = None
    apply: str | None = None
    baseline: str | None = None
    base: str | None = None
    build_mismatched: bool = False
    toolchain: Toolchain | None = None


def make_plan(config: LabConfig, selection: Selection, arches: Collection[str]) -> Plan:
    """Everything one ``lab run`` will build, boot and run, in order.

    Cells are ordered by kernel, architecture, config and shape, so that the cells of a build and
    the builds of a kernel and architecture are neighbours.  A name asked for that the profile has
    narrows the profile; one that only lab.yaml has takes the place of the profile's own.

    :param arches: the names of the architectures that guests exist for.
    :raises UserError: if a name is not defined or nothing matches.
    """
    return _Planner(config, selection, arches).plan()


class _Planner:
    """One call of make_plan: the definitions by name and the ranks that order them."""

    def __init__(self, config: LabConfig, selection: Selection, arches: Collection[str]) -> None:
        self.config = config
        typed = typed_workloads(selection.workloads, config.workloads)
        self.selection = replace(selection, workloads=typed)
        self.profile = _find_profile(config, selection.profile)
        self.kernels = {k.name: self._applied(k) for k in config.kernels}
        self.configs = {c.name: c for c in (HOST_CONFIG, *config.configs)}
        self.shapes = {s.name: s for s in (HOST_SHAPE, *config.shapes)}
        self.workloads = {w.name: w for w in config.workloads}
        asked = [p for entry in self.profile.entries for p in entry.workloads]
        for pattern in (*asked, *self.selection.workloads):
            if (spec := named(pattern, config.workloads)) is not None:
                self.workloads.setdefault(spec.name, spec)
        used = [a for entry in self.profile.entries for a in entry.arches]
        # The profile's own order first; a set of names has none, so the rest goes by name.
        self.arches = [*dict.fromkeys(used), *sorted(set(arches) - set(used))]
        self.names = Names(
            {
                "kernels": tuple(self.kernels),
                "configs": tuple(self.configs),
                "shapes": tuple(s.name for s in config.shapes),
                "arches": tuple(self.arches),
                "workloads": tuple(self.workloads),
            },
            config.profiles,
        )
        self.under_test = self._under_test()
        self._names = [CLI_KERNEL, BASE_KERNEL, *(k.name for k in config.kernels)]
        self._specs: dict[tuple[frozenset[str], MessageRules], tuple[WorkloadSpec, ...]] = {}

    def plan(self) -> Plan:
        selection = self.selection
        blocks = self._blocks()
        if self.under_test == (CLI_KERNEL,):
            blocks = self._only_cli(blocks)
        else:
            blocks = self.names.narrow(blocks, "kernels", selection.kernels)
        for dimension in ("configs", "shapes", "arches", "workloads"):
            blocks = self.names.narrow(blocks, dimension, getattr(selection, dimension))
        cells = self._cells(blocks)
        self._check_asked(cells)
        if selection.apply and not any(cell.build.kernel.series for cell in cells):
            raise UserError(
                f"--apply {selection.apply}: no kernel here has a series", "add one with --series"
            )
        baseline = self._baseline(cells)
        if baseline is not None:
            cells = self._with_baseline(cells, baseline)
        ordered = sorted(cells, key=self._rank)
        return Plan(
            profile=self.profile.name,
            builds=tuple(dict.fromkeys(cell.build for cell in ordered if not cell.on_host)),
            cells=tuple(ordered),
            expectations=tuple(
                kept
                for expectation in self.config.expectations
                for kept in expected(expectation, ordered, self.config.workloads)
            ),
            time_budget=self.profile.time_budget,
            spend_budget=self.profile.spend_budget,
            baseline=baseline,
            known_issues=(*self.config.known_issues, *known_failures(ordered)),
            known_kernels=tuple(k for k in self.config.kernels if k.series is None),
            judging=self.config.judging,
            walls=self.config.walls,
        )

    # ------------------------------------------------------------ kernels

    def _applied(self, kernel: KernelSpec) -> KernelSpec:
        """A kernel whose series is applied as the command line has it, if it says so."""
        if self.selection.apply is None or kernel.series is None:
            return kernel
        return replace(kernel, apply=self.selection.apply)

    def _under_test(self) -> tuple[str, ...]:
        """The kernels of a block that names none; defines the kernel ``cli`` if there is one."""
        default = self.config.default_kernels or tuple(self.kernels)[:1]
        source, series = self.selection.source, self.selection.series
        if source is None and series is None:
            return default
        if source is not None and self.selection.kernels:
            raise UserError(
                "--source and --kernel both say which kernel to test", "leave one of them out"
            )
        base = None
        if source is None:
            base = self._series_base(default)
            source = base.source
        spec = KernelSpec(
            name=CLI_KERNEL,
            source=source,
            series=series,
            provides=self._provided(source, base),
            where="command line",
            base=self.selection.base or "",
        )
        if self.selection.base is not None:
            self.kernels[BASE_KERNEL] = KernelSpec(
                BASE_KERNEL, self.selection.base, where="command line"
            )
        self.kernels[CLI_KERNEL] = self._applied(spec)
        return (CLI_KERNEL,)

    def _series_base(self, default: tuple[str, ...]) -> KernelSpec:
        """The kernel whose source --series goes on: --kernel's, else the profile's first."""
        asked = self.selection.kernels
        if asked:
            names = self.names.select("kernels", asked)
            if len(names) != 1:
                raise UserError(
                    f"--series goes on one kernel, and --kernel names {len(names)}: "
                    + ", ".join(names)
                )
            return self.kernels[names[0]]
        entries = self.profile.entries
        first = entries[0].kernels if entries else ()
        return self.kernels[(first or default)[0]]

    def _provided(self, source: str, base: KernelSpec | None) -> tuple[str, ...]:
        """What a kernel of ``source`` without a series promises, by lab.yaml.

        A series on top of it must keep those promises: that a workload skips is a finding.
        """
        plain = [k for k in self.config.kernels if k.series is None]
        if base is not None and base.series is None:
            plain = [base]
        bare = source.partition("=")[0] if source.startswith("debian:") else source
        for kernel in plain:
            if kernel.source in (source, bare):
                return kernel.provides
        return ()

    def _only_cli(self, blocks: list[Block]) -> list[Block]:
        """``cli`` runs alone: blocks about kernels of their own are left out."""
        entries = self.profile.entries
        pairs = [(b, entry) for entry in entries for b in self._of_entry(entry)]
        general = [b for b, entry in pairs if not entry.kernels]
        return [replace(b, kernels=(CLI_KERNEL,)) for b in general or blocks]

    def _baseline(self, cells: Sequence[Cell]) -> str | None:
        if self.selection.base is not None:
            return BASE_KERNEL
        name = self.selection.baseline
        if name is None:
            return None
        if name not in self.kernels or name == CLI_KERNEL:
            known = [k.name for k in self.config.kernels]
            raise UserError(f"no kernel {name!r} for --baseline; {suggest(name, known)}")
        if {cell.build.kernel.name for cell in cells} == {name}:
            raise UserError(
                f"--baseline {name} is the only kernel under test",
                "name another one with --kernel, --source or --series",
            )
        return name

    def _with_baseline(self, cells: list[Cell], name: str) -> list[Cell]:
        have = {cell.id: cell for cell in cells}
        for cell in cells:
            build = cell.build
            twin = self._cell(name, build.config.name, build.arch, cell.shape.name)
            names = {w.name for w in cell.workloads}
            if twin.id in have:
                names |= {w.name for w in have[twin.id].workloads}
            have[twin.id] = self._filled(twin, names)
        return list(have.values())

    # ------------------------------------------------------------ blocks

    def _blocks(self) -> list[Block]:
        return [block for entry in self.profile.entries for block in self._of_entry(entry)]

    def _of_entry(self, entry: ProfileEntry) -> tuple[Block, ...]:
        """An entry's block, and one of those of its workloads that run on the host."""
        block = self._block(entry)
        here = tuple(name for name in block.workloads if self.workloads[name].host is not None)
        if not here:
            return (block,)
        host = _on_host(replace(block, workloads=here))
        left = tuple(name for name in block.workloads if name not in here)
        return (host, replace(block, workloads=left)) if left else (host,)

    def _block(self, entry: ProfileEntry) -> Block:
        names = match("workloads", entry.workloads, tuple(self.workloads))
        names = tuple(n for n in names if asked_for(self.workloads[n], entry.workloads))
        if entry.only_deterministic:
            names = tuple(name for name in names if self.workloads[name].deterministic)
        kernels = entry.kernels or self.under_test
        return Block(kernels, entry.configs, entry.arches, entry.shapes, names)

    # ------------------------------------------------------------ cells

    def _cell(self, kernel: str, config: str, arch: str, shape: str) -> Cell:
        place = CellId(kernel, config, arch, shape)
        spec = self.configs[config]
        # What lab.yaml foresees of a symbol can only come true in a guest.
        if self.selection.build_mismatched or foresees(self.config, place, CONFIG, CONFIG):
            spec = replace(spec, build_mismatched=True)
        if self.selection.toolchain is not None:
            if spec.coverage and self.selection.toolchain.is_clang:
                raise UserError(
                    f"config {config} counts what runs, and that works with gcc only",
                    "leave --toolchain out, or choose another config",
                )
            spec = replace(spec, toolchain=self.selection.toolchain)
        build = Build(place.build, self.kernels[kernel], spec, arch)
        rules = spec.messages.beside(self.config.messages)
        return Cell(str(place), build, self.shapes[shape], (), rules, self.profile.fresh_guests)

    def _filled(self, cell: Cell, names: Collection[str]) -> Cell:
        """``cell`` with its workloads, which keep to its message rules beside their own."""
        key = frozenset(names), cell.messages
        workloads = self._specs.get(key)  # a plan of 100,000 cells holds each but once
        if workloads is None:
            workloads = self._specs[key] = tuple(
                replace(w, messages=w.messages.beside(cell.messages)) for w in self._ordered(names)
            )
        # A suite of KUnit leaves caches, a module and a tainted kernel behind.
        fresh = cell.fresh_guests or any(w.kunit for w in workloads)
        return replace(cell, workloads=workloads, fresh_guests=fresh)

    def _cells(self, blocks: list[Block]) -> list[Cell]:
        chosen: dict[tuple[str, str, str, str], set[str]] = {}
        for block in blocks:
            for place in product(block.kernels, block.configs, block.arches, block.shapes):
                kernel, config, arch, shape = place
                here = {w for w in block.workloads if self.workloads[w].host is not None}
                guests = set(block.workloads) - here
                # Asked for by name they stand in every block of the profile.
                if here:
                    chosen.setdefault((kernel, *_HOST), set()).update(here)
                if guests and config != HOST_PLACE and self._exists(config, shape, arch):
                    chosen.setdefault(place, set()).update(guests)
        return [self._filled(self._cell(*place), names) for place, names in chosen.items()]

    def _exists(self, config: str, shape: str, arch: str) -> bool:
        specs = (self.configs[config], self.shapes[shape])
        return all(not spec.only_arch or arch in spec.only_arch for spec in specs)

    def _ordered(self, names: Collection[str]) -> tuple[WorkloadSpec, ...]:
        return tuple(w for name, w in self.workloads.items() if name in names)

    def _rank(self, cell: Cell) -> tuple[bool, int, int, bool, int, int]:
        build = cell.build
        return (
            # The kernel under test speaks first: a series that does not build ends the wait early.
            build.kernel.name in (self.selection.baseline, self.selection.base and BASE_KERNEL),
            self._names.index(build.kernel.name),
            -1 if cell.on_host else self.arches.index(build.arch),
            build.config.name != FIRST_CONFIG,
            list(self.configs).index(build.config.name),
            list(self.shapes).index(cell.shape.name),
        )

    def _check_asked(self, cells: list[Cell]) -> None:
        """Each name asked for must be in the plan; what was asked and is not is told."""
        selection = self.selection
        readers: dict[str, Callable[[Cell], Collection[str]]] = {
            "configs": lambda cell: (cell.build.config.name,),
            "arches": lambda cell: (cell.build.arch,),
            "shapes": lambda cell: (cell.shape.name,),
            "workloads": lambda cell: [w.name for w in cell.workloads],
        }
        if CLI_KERNEL not in self.kernels:
            readers["kernels"] = lambda cell: (cell.build.kernel.name,)
        for dimension, read in readers.items():
            planned = tuple(dict.fromkeys(name for cell in cells for name in read(cell)))
            for pattern in getattr(selection, dimension):
                if not match(dimension, (pattern,), planned):
                    option = "--arch" if dimension == "arches" else f"--{dimension[:-1]}"
                    raise UserError(
                        f"{option} {pattern} matches nothing together with the rest{self._limits()}"
                    )
        if not cells:
            raise UserError(
                f"profile {self.profile.name!r} holds no workload to run{self._limits()}",
                "`lab plan -p PROFILE` shows what a profile holds",
            )

    def _limits(self) -> str:
        """What of the selection exists on some architectures only, for a message."""
        specs: list[ConfigSpec | ShapeSpec] = [
            *(self.configs[n] for n in self._match_asked("configs")),
            *(self.shapes[n] for n in self._match_asked("shapes")),
        ]
        told = [f"{s.name} is for {', '.join(s.only_arch)} only" for s in specs if s.only_arch]
        return ": " + "; ".join(told) if told else ""

    def _match_asked(self, dimension: str) -> tuple[str, ...]:
        patterns = getattr(self.selection, dimension)
        return match(dimension, patterns, self.names.defined[dimension])


def _on_host(block: Block) -> Block:
    config, arch, shape = _HOST
    return replace(block, configs=(config,), arches=(arch,), shapes=(shape,))


def _find_profile(config: LabConfig, name: str | None) -> ProfileSpec:
    wanted = name if name is not None else config.default_profile
    for profile in config.profiles:
        if profile.name == wanted:
            return profile
    raise UserError(f"no profile {wanted!r}; {suggest(wanted, [p.name for p in config.profiles])}")
