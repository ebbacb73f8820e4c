# SPDX-License-Identifier: GPL-2.0-only
"""Texts that a guest, a mail or a compiler could choose to harm who reads of them, and runs whose
every text is one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.model.evidence import Sample
from orchestrator.model.names import Verdict
from orchestrator.model.results import Change, RunResult

#: By what they try.
STRINGS = {
    "script": '"><script>window.hacked=1</script>',
    "end-of-script": "</script></style></title><script>window.hacked=1</script>",
    "handler": "<img src=x onerror=window.hacked=1>' onmouseover='window.hacked=1",
    "svg": "<svg onload=window.hacked=1><a href='javascript:window.hacked=1'>x</a></svg>",
    "style": "</style><style>*{display:none}</style><link rel=stylesheet href=//evil.example/x>",
    "base": "<base href=//evil.example/><meta http-equiv=refresh content='0;url=//evil.example'>",
    "form": "<form action=//evil.example><button>x</button></form><iframe src=//x.ex></iframe>",
    "template": "{{ 7*7 }}{% raw %}${window.hacked=1}",
    "link": "javascript:window.hacked=1//https://evil.example/",
    "terminal": "\x1b[2J\x1b]0;evil\x07\x1b[31m\x9b5n\x1bP1$r\x1b\\\x08\x7f",
    "line": "innocent\rhacked\nTested-by: Nobody <n@example.org>\n::error::evil",
    "bidi": "a\u202egnp.exe\u202c \u2066b\u2069 \u200f\u061cc",
    "xml": "\x00\x08\x0b\ufffe\uffff\ud800 \udcff]]><evil/><!-- & &#0; &evil;",
    "markdown": "`` ` ``**[x](javascript:1)** ![y](//evil.example/p) @evil #1 | <b> ~~~\n```",
    "path": "../../../../etc/passwd\x00.log",
}

#: What may not stand in anything that is shown, beside tab and line end.
CONTROL = frozenset(
    [chr(n) for n in (*range(9), 11, 12, *range(14, 32), *range(127, 160))]
    + list("\r\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    + ["\ufffe", "\uffff", "\ud800", "\udcff"]
)


def controls(text: str) -> set[str]:
    """The characters of a text that steer a terminal, or that no document may hold."""
    return CONTROL.intersection(text)


def poisoned(value: Any, text: str) -> Any:
    """A value with every text in it replaced, but for those of enumerations."""
    if isinstance(value, Verdict | Change | Sample):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(poisoned(item, text) for item in value)
    if isinstance(value, dict):
        return {f"{text}{n}": poisoned(item, text) for n, item in enumerate(value.values())}
    if hasattr(value, "__dataclass_fields__"):
        made = {name: poisoned(item, text) for name, item in vars(value).items()}
        return replace(value, **made)
    return value


def hostile_run(run: RunResult, text: str) -> RunResult:
    """A run whose every text is hostile; its cases can still be told apart."""
    run = poisoned(run, text)
    cells = []
    for cell in run.cells:
        cases = tuple(
            replace(
                case, id=f"{text}:{n}", workload=f"{text}{n % 2}",
                samples=(Sample(0, {f"RssAnon{text}": 1}), Sample(1, {f"RssAnon{text}": 2})),
            )
            for n, case in enumerate(cell.cases)
        )  # fmt: skip
        cells.append(replace(cell, cases=cases))
    return replace(run, cells=tuple(cells))
