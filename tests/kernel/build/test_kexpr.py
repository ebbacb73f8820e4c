# SPDX-License-Identifier: GPL-2.0-only
"""Expressions of Kconfig: their values in n, m and y, and the parts that must hold."""

from __future__ import annotations

import time

import pytest

from orchestrator.kernel.build import kexpr
from orchestrator.kernel.build.kexpr import ANY, Span, Values, Word

CONFIG = {
    "SMP": "y", "MMU": "y", "MOD": "m", "OTHER": "m", "MODULES": "y", "HZ": "250", "NAME": '"lab"',
    "BASE": "0x10", "OFFSET": "0xf", "TWO": "2", "TEN": "10", "QUOTED": '"a \\"b\\""',
}  # fmt: skip
KINDS = {
    "SMP": "bool", "MMU": "bool", "NUMA": "bool", "MOD": "tristate", "OTHER": "tristate",
    "MODULES": "bool", "HZ": "int", "NAME": "string", "BASE": "hex", "OFFSET": "hex", "TWO": "int",
    "TEN": "int", "QUOTED": "string", "UNSET_INT": "int", "UNSET_HEX": "hex", "UNSET": "string",
}  # fmt: skip
VALUES = Values(CONFIG, KINDS)
SPANS = {"n": Span(0, 0), "m": Span(1, 1), "y": Span(2, 2), "?": ANY}


def value(expression: str, values: Values = VALUES) -> Span:
    return kexpr.evaluate(kexpr.parse(expression), values)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("SMP", "y"), ("NUMA", "n"), ("MOD", "m"), ("y", "y"), ("m", "m"), ("n", "n"),
        ("!NUMA", "y"), ("!MOD", "m"), ("!SMP", "n"), ("! NUMA && SMP", "y"), ("!!MOD", "m"),
        ("SMP && MOD", "m"), ("NUMA || MOD", "m"), ("NUMA && MOD", "n"), ("SMP || MOD", "y"),
        ("SMP && (NUMA || MMU)", "y"), ("!(SMP && MOD)", "m"), ("MOD || !MOD", "m"),
        ("SMP && MMU || NUMA && $(x)", "y"), ("(SMP)&&(MMU)", "y"), ('"y"', "y"),
        ("'y' && SMP", "y"),
        ("NOWHERE", "n"), ("HZ", "n"), ("NAME", "n"), ("64BIT", "n"), ("Y", "n"),
    ],
)  # fmt: skip
def test_three_values(expression: str, expected: str) -> None:
    assert value(expression) == SPANS[expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("SMP=y", "y"), ("SMP = n", "n"), ("NUMA=n", "y"), ("NUMA != n", "n"), ("MOD=m", "y"),
        ("MOD!=y", "y"), ("MOD < y", "y"), ("MOD > n", "y"), ("MOD >= m", "y"), ("SMP <= m", "n"),
        ("MOD=OTHER", "y"), ("MOD != SMP", "y"), ('SMP="y"', "y"), ("!MOD = m", "n"),
        ("HZ=250", "y"), ("HZ != 250", "n"), ("HZ < 1000", "y"), ("TWO < TEN", "y"),
        ("HZ >= 0xfa", "y"), ("HZ = 0372", "y"), ("HZ < -1", "n"), ("TWO = y", "y"),
        ("BASE > OFFSET", "y"), ("BASE = 16", "y"), ("OFFSET < 0X10", "y"),
        ('NAME = "lab"', "y"), ("NAME=lab", "y"), ("NAME = 'lab'", "y"), ('NAME < "lac"', "y"),
        ('NAME != ""', "y"), ("UNSET = ''", "y"), ("UNSET_INT = 0", "y"), ("UNSET_HEX > 0", "n"),
        ('QUOTED != "b"', "y"), ('HZ = "x"', "n"), ("SMP = 2", "y"), ("SMP = yes", "n"),
        ("10 > 9", "y"), ('"10" > "9"', "y"), ("a10 > a9", "n"),
        ("99999999999999999999999 > 1", "y"),
    ],
)  # fmt: skip
def test_comparisons(expression: str, expected: str) -> None:
    assert value(expression) == SPANS[expected]


def test_a_symbol_that_nothing_defines_is_compared_by_its_name() -> None:
    """expr_calc_value() of 6.12: neither ``NOWHERE=n`` nor ``NOWHERE=y`` holds."""
    assert value("NOWHERE=n") == value("NOWHERE=y") == SPANS["n"]
    assert value("NOWHERE!=n") == value("NOWHERE=NOWHERE") == SPANS["y"]


def test_without_modules_there_is_no_m() -> None:
    values = Values({"MODULES": "n", "MOD": "m"}, KINDS)
    assert value("m", values) == value("m && y", values) == SPANS["n"]
    assert value("!m", values) == value("m || y", values) == SPANS["y"]
    assert value("m", Values({}, KINDS)) == SPANS["n"]
    assert value("m", Values({"MODULAR": "y"}, KINDS, "MODULAR")) == SPANS["m"]
    # What is compared is the word alone.
    assert value("MOD = m", values) == SPANS["y"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$(success,test -e x) && SMP", ANY), ("$(success,a (b)) && NUMA", SPANS["n"]),
        ("SMP || $(cc-option,-g)", SPANS["y"]), ("MOD || $(cc-option,-g)", Span(1, 2)),
        ("MOD && $(cc-option,-g)", Span(0, 1)), ("!(MOD && $(x))", Span(1, 2)),
        ('"$(ARCH)" = "x86"', ANY), ("FOO_$(BITS)", ANY), ("$(A)$(B) && NUMA", SPANS["n"]),
        ("$(shell,a(b(c(d))) && e) && NUMA", SPANS["n"]), ("$(a)=y", ANY),
    ],
)  # fmt: skip
def test_what_is_not_run_may_be_anything(expression: str, expected: Span) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    "text", ["", "(SMP", "SMP)", "&& SMP", "SMP SMP", "SMP &&", "!", "A = ", "= A",
             '"open', "$(open",
             "A & B", "A == B", "()", "(" * 5000 + "A" + ")" * 5000, "!" * 5000 + "A"],
)  # fmt: skip
def test_what_is_no_expression_may_be_anything(text: str) -> None:
    assert value(text) == ANY
    assert str(kexpr.parse(text)) == text.strip()


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        ("A", ["A"]), ("A&&B && C", ["A", "B", "C"]), ("A || B", ["(A || B)"]),
        ("(A || B) && C", ["(A || B)", "C"]), ("A && (B && !C)", ["A", "B", "!C"]),
        ("!(A || B)", ["!A", "!B"]), ("!(A && B)", ["!(A && B)"]), ("!!A", ["A"]),
        ("!!(A && B)", ["A", "B"]), ("!(A || (B || !C))", ["!A", "!B", "C"]),
        ('HZ = 100 && N="a b"', ["HZ=100", 'N="a b"']), ("A || B && C", ["(A || (B && C))"]),
        ("A <= 3&&$(cc-option,-g (x))", ["A<=3", "$(cc-option,-g (x))"]), ("(A", ["(A"]),
    ],
)  # fmt: skip
def test_parts_that_must_all_hold(expression: str, parts: list[str]) -> None:
    assert [str(part) for part in kexpr.conjuncts(kexpr.parse(expression))] == parts


@pytest.mark.parametrize(
    ("text", "halves"),
    [
        ("y", ("y", "")), ("y if A", ("y", "A")), ("y\tif\tA && B", ("y", "A && B")),
        ('"a if b" if C', ('"a if b"', "C")), ("DIF", ("DIF", "")),
        ("IFACE if(A)", ("IFACE", "(A)")),
        ("$(shell,if x) if D", ("$(shell,if x)", "D")), ("1 9 if A", ("1 9", "A")),
        ('"open if A', ('"open if A', "")),
    ],
)  # fmt: skip
def test_value_and_condition(text: str, halves: tuple[str, str]) -> None:
    assert kexpr.split_if(text) == halves


def test_words_and_numbers() -> None:
    assert kexpr.words('1 NR "x y"') == [Word("1"), Word("NR"), Word("x y", True)]
    assert kexpr.words("1 $(open") == []
    assert [kexpr.number(text, 16) for text in ("1F", "0x1f", "g", "")] == [31, 31, None, None]
    assert [kexpr.number(text, 10) for text in ("010", "-3", "0x1", "x")] == [10, -3, None, None]
    assert [kexpr.number(text, 0) for text in ("010", "-0x3", "08")] == [8, -3, None]
    assert kexpr.number("9" * 5000, 10) is None
    assert kexpr.unquoted('"a \\"b\\\\"') == 'a "b\\'
    assert kexpr.unquoted('"') == '"'


@pytest.mark.parametrize(
    "text", ["A && " * 20000 + "A", "(" * 20000, '"' + "x" * 100000, "$(" * 9000]
)
def test_time_grows_with_length_alone(text: str) -> None:
    began = time.process_time()
    value(text)
    assert time.process_time() - began < 2
