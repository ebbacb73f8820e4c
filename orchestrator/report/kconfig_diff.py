# SPDX-License-Identifier: GPL-2.0-only
"""What differs between kernel configs: only the symbols that do.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.model.formats import parse_dotconfig, unequal_symbols


@dataclass(frozen=True)
class ConfigDifference:
    """A symbol and its value in each config, in their order; ``n`` where it is off or unknown."""

    symbol: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ConfigTable:
    """Configs side by side.  ``left_out`` counts rows beyond the limit."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[ConfigDifference, ...]
    left_out: int = 0


def parse_config(text: str) -> dict[str, str]:
    """Symbols of a ``.config`` without ``CONFIG_``.

    ``# CONFIG_X is not set`` and an absent symbol are the same to the kernel's code (``n``), so
    neither is listed.
    """
    return {symbol: value for symbol, value in parse_dotconfig(text).items() if value != "n"}


def config_differences(configs: Mapping[str, Mapping[str, str]]) -> tuple[ConfigDifference, ...]:
    """The symbols whose value is not the same in all ``configs``, by name."""
    return tuple(ConfigDifference(*found) for found in unequal_symbols(tuple(configs.values())))


def config_tables(
    configs: Mapping[tuple[str, str, str], Mapping[str, str]], limit: int = 400
) -> tuple[ConfigTable, ...]:
    """Tables over configs keyed by (kernel, config, arch).

    One table an architecture with all its builds, which is what one looks for; then one for each
    kernel and config that was built for several architectures.
    """
    groups: dict[str, dict[str, Mapping[str, str]]] = {}
    kernels = {kernel for kernel, _, _ in configs}
    for kernel, config, arch in configs:
        name = config if len(kernels) == 1 else f"{kernel}/{config}"
        groups.setdefault(f"{arch}, by config", {})[name] = configs[kernel, config, arch]
    for kernel, config, arch in configs:
        title = f"{kernel}/{config}, by architecture"
        groups.setdefault(title, {})[arch] = configs[kernel, config, arch]
    tables = []
    for title, group in groups.items():
        rows = config_differences(group)
        if rows:
            left = max(0, len(rows) - limit)
            tables.append(ConfigTable(title, tuple(group), rows[:limit], left))
    return tuple(tables)
