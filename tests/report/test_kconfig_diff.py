# SPDX-License-Identifier: GPL-2.0-only
"""How the configs of two builds differ."""

from orchestrator.report.kconfig_diff import config_differences, config_tables, parse_config


def test_config_differences():
    one = parse_config('CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_S="a b"\nnonsense\nCONFIG_N=n\n')
    two = parse_config('CONFIG_A=y\nCONFIG_B=m\nCONFIG_S="a c"\n')
    rows = config_differences({"one": one, "two": two})
    assert [(row.symbol, row.values) for row in rows] == [
        ("B", ("n", "m")),
        ("S", ('"a b"', '"a c"')),
    ]
    assert config_differences({}) == ()
    tables = config_tables({("k", "c", "x"): one, ("k", "d", "x"): two, ("k", "c", "y"): two}, 1)
    assert [(t.title, t.columns) for t in tables] == [
        ("x, by config", ("c", "d")),
        ("k/c, by architecture", ("x", "y")),
    ]
    assert tables[0].left_out == 1
