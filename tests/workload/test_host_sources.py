# SPDX-License-Identifier: GPL-2.0-only
"""Lines that host tests print, found in the tree."""

from __future__ import annotations

import pytest

from orchestrator.workload.host_sources import Sources

OWN = "tools/testing/radix-tree"
FILES = {
    "lib/idr.c": "int idr_alloc(struct idr *idr)\n{\n\tWARN_ON(1);\n}\n",
    "lib/test_xarray.c": "static noinline void check_a(\n\tstruct xarray *xa)\n{\n"
    "\tXA_BUG_ON(xa, 1);\n}\n\nstatic void check_b(struct xarray *xa)\n{\nout:\n"
    "\tXA_BUG_ON(xa, 2);\n}\n",
    f"{OWN}/maple.c": "static inline void check_b(void)\n{\n\tMT_BUG_ON(mt, 3);\n}\n",
    f"{OWN}/main.c": "int main(void)\n{\n}\n",
    "tools/lib/slab.c": "void *kmalloc(int n)\n{\n}\n",
}  # fmt: skip


@pytest.fixture
def sources() -> Sources:
    return Sources(OWN, frozenset(FILES), lambda paths: {p: FILES[p] for p in paths})


@pytest.mark.parametrize(
    ("file", "line", "func", "found"),
    [
        # A copy that the Makefile made, a path from the folder, one that the debug map has cut.
        ("idr.c", 3, "", ("lib/idr.c", "idr_alloc", "WARN_ON(1);")),
        ("../../../lib/idr.c", 3, "", ("lib/idr.c", "idr_alloc", "WARN_ON(1);")),
        (f"{OWN}/idr.c", 3, "idr_alloc", ("lib/idr.c", "idr_alloc", "WARN_ON(1);")),
        ("../../lib/slab.c", 1, "kmalloc", ("tools/lib/slab.c", "kmalloc", "void *kmalloc(int n)")),
        ("main.c", 1, "main", (f"{OWN}/main.c", "main", "int main(void)")),
        # No file: the one with that function around that line.
        ("", 10, "check_b", ("lib/test_xarray.c", "check_b", "XA_BUG_ON(xa, 2);")),
        ("", 3, "check_b", (f"{OWN}/maple.c", "check_b", "MT_BUG_ON(mt, 3);")),
        ("", 4, "check_a", ("lib/test_xarray.c", "check_a", "XA_BUG_ON(xa, 1);")),
        # Not the tree's.
        ("../../../../src/libsanitizer/a.inc", 7, "memset",
         ("../../../../src/libsanitizer/a.inc", "memset", "")),
        ("", 99, "nobody", ("", "nobody", "")),
        ("main.c", 99, "main", (f"{OWN}/main.c", "main", "")),
    ],
)  # fmt: skip
def test_lines_are_found(
    sources: Sources, file: str, line: int, func: str, found: tuple[str, str, str]
) -> None:
    assert sources.locate(file, line, func) == found
