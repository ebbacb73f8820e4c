# SPDX-License-Identifier: GPL-2.0-only
"""Draw the rooms of orchestrator/ and who imports whom, from the imports themselves.

Writes docs/img/rooms.svg, and the table of modules between the two marks in docs/architecture.md,
in which each module is told by the first sentence of its docstring:

    .venv/bin/python tools/rooms.py           # write both
    .venv/bin/python tools/rooms.py --check   # exit 1 where either is not as it would be written
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

HOME = Path(__file__).resolve().parent.parent
SOURCES = HOME / "orchestrator"
PICTURE = HOME / "docs" / "img" / "rooms.svg"
PAGE = HOME / "docs" / "architecture.md"
BEGIN, END = "<!-- modules: tools/rooms.py -->", "<!-- end of modules -->"
# Pixels.
WIDTH, ROW, BOX, HIGH, MARGIN = 920, 96, 148, 52, 20


@dataclass(frozen=True)
class Module:
    """One file: its path below orchestrator/, first sentence, and the rooms it imports."""

    path: str
    says: str
    imports: frozenset[str]

    @property
    def room(self) -> str:
        """The folder at the top that it stands in; a file at the top is a room of its own."""
        return self.path.split("/")[0].removesuffix(".py")


def read_modules(sources: Path = SOURCES) -> tuple[Module, ...]:
    """All modules but the ``__init__`` files, in the order of their paths."""
    rooms = {path.stem for path in sources.iterdir() if path.suffix in ("", ".py")}
    found = []
    for path in sorted(sources.rglob("*.py")):
        if path.name != "__init__.py":
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
            module = Module(
                path=str(path.relative_to(sources)),
                says=first_sentence(ast.get_docstring(tree) or ""),
                imports=frozenset(imported(tree) & rooms),
            )
            found.append(module)
    return tuple(found)


def imported(tree: ast.Module) -> set[str]:
    """The rooms that a module imports, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "orchestrator":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("orchestrator."):
            names.add(str(node.module).split(".")[1])
    return names


def first_sentence(text: str) -> str:
    """A docstring's first sentence on one line, as Markdown."""
    whole = " ".join(text.partition("\n\n")[0].split())
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", whole.replace("``", "`"))


def edges_of(modules: tuple[Module, ...]) -> dict[str, set[str]]:
    """Room to the other rooms it imports."""
    edges: dict[str, set[str]] = {module.room: set() for module in modules}
    for module in modules:
        edges[module.room] |= module.imports - {module.room}
    return edges


def floors_of(edges: dict[str, set[str]]) -> dict[str, int]:
    """How high each room stands: one above the highest that it imports.

    :raises ValueError: where rooms import each other in a circle.
    """
    floors: dict[str, int] = {}
    while len(floors) < len(edges):
        ready = [r for r, below in edges.items() if r not in floors and below <= set(floors)]
        if not ready:
            raise ValueError(f"a circle among {', '.join(sorted(set(edges) - set(floors)))}")
        floors |= {r: 1 + max((floors[b] for b in edges[r]), default=-1) for r in ready}
    return floors


def direct(edges: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows to draw: an import that a longer way through others implies is left out."""
    below: dict[str, set[str]] = {}
    for room in sorted(edges, key=floors_of(edges).__getitem__):
        below[room] = edges[room].union(*(below[other] for other in edges[room]))
    return [
        (room, other)
        for room in sorted(edges)
        for other in sorted(edges[room])
        if not any(other in below[between] for between in edges[room] - {other})
    ]


def draw(modules: tuple[Module, ...]) -> str:
    """The picture as SVG: a floor a row, the ground at the bottom."""
    edges = edges_of(modules)
    floors = floors_of(edges)
    top = max(floors.values())
    places: dict[str, tuple[float, float]] = {}
    for floor in range(top + 1):
        rooms = sorted(room for room, level in floors.items() if level == floor)
        for number, room in enumerate(rooms, 1):
            x = WIDTH * number / (len(rooms) + 1)
            places[room] = (x, MARGIN + (top - floor) * ROW)
    height = 2 * MARGIN + top * ROW + HIGH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        "<title>The rooms of orchestrator/ and their imports</title>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#567"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for room, other in direct(edges):
        (x1, y1), (x2, y2) = places[room], places[other]
        y1, bend = y1 + HIGH, (y2 - y1 - HIGH) / 2
        parts.append(
            f'<path d="M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} '
            f'{x2:.0f} {y2 - 2:.0f}" fill="none" stroke="#567" marker-end="url(#a)"/>'
        )
    for room, (x, y) in places.items():
        own = [module for module in modules if module.room == room]
        size = f"{len(own)} {'module' if len(own) == 1 else 'modules'}"
        name = f"{room}.py" if own[0].path == f"{room}.py" else f"{room}/"
        parts.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y:.0f}" width="{BOX}" height="{HIGH}" rx="6" '
            'fill="#eef3f8" stroke="#567"/>'
            f'<text x="{x:.0f}" y="{y + 22:.0f}" text-anchor="middle" font-weight="bold" '
            f'fill="#123">{escape(name)}</text>'
            f'<text x="{x:.0f}" y="{y + 40:.0f}" text-anchor="middle" font-size="11" '
            f'fill="#456">{size}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def table(modules: tuple[Module, ...]) -> str:
    """The modules as Markdown, a section a room, the rooms from the top floor to the ground."""
    edges = edges_of(modules)
    floors = floors_of(edges)
    lines: list[str] = []
    for room in sorted(edges, key=lambda name: (-floors[name], name)):
        own = [module for module in modules if module.room == room]
        below = ", ".join(sorted(edges[room])) or "nothing of the lab"
        name = own[0].path if own[0].path == f"{room}.py" else f"{room}/"
        lines += [f"**`{name}`** imports {below}.", "", "| module | what it does |", "|---|---|"]
        lines += [f"| `{m.path}` | {m.says.replace('|', chr(92) + '|')} |" for m in own]
        lines.append("")
    return "\n".join(lines)


def with_table(page: str, modules: tuple[Module, ...]) -> str:
    """The page with its table of modules as it is now."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table(modules)}\n{END}{tail}"


def main(words: list[str]) -> int:
    """Write or check; give the exit status."""
    modules = read_modules()
    page = PAGE.read_text(encoding="utf-8")
    wanted = {PICTURE: draw(modules), PAGE: with_table(page, modules)}
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text("utf-8") != text]
    if words == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(HOME)} is not as the imports are: run tools/rooms.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
