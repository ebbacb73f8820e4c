# SPDX-License-Identifier: GPL-2.0-only
"""Kconfig fragments in, a list of requested symbols out; and whether each request took.

A fragment is Kconfig's own format (``CONFIG_X=y``, ``# CONFIG_X is not set``), with one addition:
a trailing ``# since 6.8`` or ``# until 6.11`` (both may stand: ``# since 6.2 until 6.11``) bounds a
line by kernel version, inclusive, so that one fragment serves several kernels, and ``# only arm64``
by architecture.  What looks like a request or a bound and is none is refused: Kconfig would pass
over it without a word.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator import HOME
from orchestrator.kernel.build import kfile
from orchestrator.model.arch import ALIASES, ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.formats import _SET
from orchestrator.model.kernel import ConfigMismatch
from orchestrator.model.names import NOT_COMPILED

_UNSET = re.compile(r"^# CONFIG_(?P<symbol>\w+) is not set\s*(?P<rest>#.*)?$")
# What people may take for the above, and conf_read_simple() of scripts/kconfig/confdata.c does not.
_NEARLY_UNSET = re.compile(
    r"^#[#\s]*(?:(?i:config_)\S+|[A-Z0-9_]+)\s+(?:is\s+)?(?:not\s+set|unset)[\s.;,]*"
    r"(?:(?:#|since\b|until\b).*)?$"
)
_BOUND = re.compile(r"\b(since|until)(?:(?=v?\d)|(?![a-z_]))\s*:?\s*", re.IGNORECASE)
_VERSION = re.compile(
    r"v?(\d+(?:\.\d+)+)(?:-rc\d+)?(?=[\s,;)]|\.(?!\w)|$)", re.IGNORECASE | re.ASCII
)
_ONLY = re.compile(r"only[ \t]+(\w+)[ \t]*(?:[,;][ \t]*)?", re.IGNORECASE)
_MOST_TOLD = 4
#: How the place of a request begins that no file makes: what a guest of the lab cannot do without.
GUESTS = "a guest's "
SUMS = "SHA256SUMS"
_FIGURE = re.compile(r"v?\d", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """One symbol a fragment asks for; ``value`` is ``n`` for "is not set".

    ``shipped`` tells that the fragment is one of the lab's, unchanged; ``trees`` that it is one of
    the kernel's own, whose requests are no promise that they can be met.
    """

    symbol: str
    value: str
    fragment: str
    line: int
    shipped: bool = False
    trees: bool = False

    def render(self) -> str:
        """The line as Kconfig reads it."""
        if self.value == "n":
            return f"# CONFIG_{self.symbol} is not set"
        return f"CONFIG_{self.symbol}={self.value}"


def version_key(version: str) -> tuple[int, ...]:
    """Order kernel versions: ``6.12.117`` and ``6.12-rc3`` both count as numbers only."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("-")[0]))


def read_fragment(path: Path, version: str, arch: str = "") -> tuple[Request, ...]:
    """Read one fragment, packed or not, for a kernel of the given version and architecture.

    :param arch: with none, the lines of every architecture count.
    :raises UserError: when the file cannot be read, a line is no Kconfig line, or a bound is none.
    """
    lines = kfile.read_lines(path)
    data = "".join(f"{line}\n" for line in lines).encode()
    mine = hashlib.sha256(data).hexdigest() in shipped_digests()
    requests = []
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        found = _SET.match(line) or _UNSET.match(line)
        if found is None:
            if line and (not line.startswith("#") or _NEARLY_UNSET.match(line)):
                raise UserError(
                    f"{path}:{number}: not a Kconfig line: {line!r}",
                    "write CONFIG_X=y, or '# CONFIG_X is not set'; a bound has a # of its own",
                )
            continue
        comment = (found["rest"] or "").lstrip("# \t")
        try:
            comment, mentioned = _architecture(comment)
            counts = _in_bounds(comment, version) and (not arch or mentioned in ("", arch))
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: {error}: {line!r}",
                "write '# since 6.8', '# until 6.11', '# since 6.2 until 6.11' or '# only arm64'",
            ) from None
        if counts:
            value = found.groupdict().get("value") or "n"
            requests.append(Request(found["symbol"], value, path.name, number, mine))
    return tuple(requests)


@functools.cache
def shipped_digests() -> frozenset[str]:
    """The sha256 sums of the fragments that ship, as ``kernel-configs/SHA256SUMS`` lists them.

    Empty without that file: then every fragment counts as the user's own.
    """
    try:
        listed = (HOME / "kernel-configs" / SUMS).read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(line.split()[0] for line in listed.splitlines() if line.strip())


def merge(
    fragments: Sequence[Path],
    version: str,
    arch: str = "",
    below: Sequence[Request] = (),
) -> tuple[Request, ...]:
    """Merge fragments in order; of several requests for a symbol the last one counts.

    :param below: what counts where no fragment says otherwise.
    """
    merged = {request.symbol: request for request in below}
    for path in fragments:
        for request in read_fragment(path, version, arch):
            merged.pop(request.symbol, None)
            merged[request.symbol] = request
    return tuple(merged.values())


def render(requests: Sequence[Request]) -> str:
    """The file that ``KCONFIG_ALLCONFIG`` takes."""
    return "".join(f"{request.render()}\n" for request in requests)


def digest(requests: Sequence[Request], full: str = "") -> str:
    """A digest of what is asked for, independent of which file asks.

    :param full: the text of the complete .config that the requests go on top of.
    """
    text = render(sorted(requests, key=lambda request: request.symbol))
    return hashlib.sha256(full.encode() + b"\0" + text.encode()).hexdigest()


def mismatches(
    requests: Sequence[Request], dotconfig: Mapping[str, str]
) -> tuple[ConfigMismatch, ...]:
    """Compare what was asked for with what olddefconfig made of it."""
    wrong = []
    for request in requests:
        got = dotconfig.get(request.symbol, "n")
        if not same_value(request.value, got):
            place = f"{request.fragment}:{request.line}"
            wrong.append(ConfigMismatch(request.symbol, request.value, got, place))
    return tuple(wrong)


def own_mismatches(
    requests: Sequence[Request], missed: Sequence[ConfigMismatch]
) -> tuple[ConfigMismatch, ...]:
    """Those that a fragment of the user's own asked for.

    The lab's fragments are written for the kernels it ships with; on another one a symbol of theirs
    that did not take is no mistake of the user's.  What a guest needs counts as the user's own.
    """
    own = {r.symbol for r in requests if not r.shipped and not r.trees}
    return tuple(m for m in missed if m.symbol in own or m.fragment.startswith(GUESTS))


def stopped(own: Sequence[ConfigMismatch], needed: str = "") -> str:
    """Why a build stops before its compile: the first few symbols, and how to have it all the same.

    Empty where there is none.

    :param needed: in a sentence, those among ``own`` that a guest needs.
    """
    if not own:
        return ""
    own = [miss for miss in own if not (needed and miss.fragment.startswith(GUESTS))]
    told = [needed] if needed else []
    told += [tell(miss) for miss in own[:_MOST_TOLD]]
    told += [f"and {len(own) - _MOST_TOLD} more"] if len(own) > _MOST_TOLD else []
    return f"{NOT_COMPILED}{'; '.join(told)}\n--build-mismatched builds it all the same"


def tell(miss: ConfigMismatch) -> str:
    """One line on a symbol that did not take: wanted, got, and why."""
    line = f"CONFIG_{miss.symbol} is {miss.got}, asked for {miss.wanted} ({miss.fragment})"
    return f"{line}: {miss.unmet}" if miss.unmet else line


def same_value(wanted: str, got: str) -> bool:
    """Compare numbers as numbers: Kconfig prints one as it was typed, or with a 0x more."""
    if wanted == got or "_" in wanted + got:
        return wanted == got
    base = 16 if got[:2] in ("0x", "0X") else 0
    try:
        return int(wanted, base) == int(got, base)
    except ValueError:
        return False


def _architecture(comment: str) -> tuple[str, str]:
    """Split ``only arm64; REST`` into REST and the architecture; none where it is a sentence.

    :raises ValueError: where nothing but ``only`` and a word stands there, which is none.
    """
    found = _ONLY.match(comment)
    if found is None:
        return comment, ""
    name = ALIASES.get(found[1].lower(), found[1].lower())
    if name not in ARCHES:
        if found.end() == len(comment.rstrip()):
            raise ValueError("no such architecture")
        return comment, ""
    return comment[found.end() :], name


def _in_bounds(comment: str, version: str) -> bool:
    """Whether the bounds in a comment let a kernel's version in.

    Of those that stand in a sentence only such with a figure are bounds; where a comment begins
    like one, all must be.

    :raises ValueError: at a bound that cannot be read.
    """
    mine = version_key(version)
    inside = True
    strict = _BOUND.match(comment) is not None
    for found in _BOUND.finditer(comment):
        bound = _VERSION.match(comment, found.end())
        if bound is None:
            if strict or _FIGURE.match(comment, found.end()):
                raise ValueError("cannot read the version bound")
            continue
        limit = version_key(bound[1])
        # "until 6.11" takes in every 6.11.y
        since = found[1].lower() == "since"
        inside &= mine >= limit if since else mine[: len(limit)] <= limit
    return inside
