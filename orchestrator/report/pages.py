# SPDX-License-Identifier: GPL-2.0-only
"""Templates made into self-contained pages; the only importer of jinja2.

A page needs nothing from the network and works without its few lines of script, which its own
Content-Security-Policy pins by digest, as it does its style.  All that a guest, a patch or a
compiler printed is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from orchestrator.model.uncollected import uncollected
from orchestrator.report import text

# Neither style nor script but these two, by their digests; the last two are not part of
# default-src (Content Security Policy Level 3, section 6.3).
_POLICY = "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'"
_TEMPLATES = Path(__file__).parent / "templates"
_COMPILED: dict[str, bytes] = {}


def render(
    template: str, styles: tuple[str, ...], script: str, rules: str = "", **values: Any
) -> str:
    """The page that ``template`` makes of ``values``.

    :param styles: the files of its style, one after the other; ``script`` is that of its script.
    :param rules: further rules of the style, of the lab's own words alone.
    """
    import jinja2  # 40 ms that `lab --help` need not pay
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        # Characters that no document may hold; what is markup already was made of clean parts.
        if isinstance(value, str) and not isinstance(value, Markup):
            return text.visible(value)
        return value

    class Compiled(jinja2.BytecodeCache):
        """The templates' code, compiled once a process: that takes longer than a page's making."""

        def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            if bucket.key in _COMPILED:
                bucket.bytecode_from_string(_COMPILED[bucket.key])

        def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            _COMPILED[bucket.key] = bucket.bytecode_to_string()

    environment = jinja2.Environment(
        bytecode_cache=Compiled(),
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
    )
    code = (_TEMPLATES / script).read_text(encoding="utf-8")
    style = "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in styles) + rules
    environment.globals.update(
        style=Markup(style), script=Markup(code), policy=Markup(_policy(style, code)), **values
    )
    with uncollected():
        return environment.get_template(template).render()


def _policy(*contents: str) -> str:
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return _POLICY.format(*(f"sha256-{base64.b64encode(digest).decode()}" for digest in digests))
