# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of a patched source the series touched, and what stands around them."""

from __future__ import annotations

import pytest

from orchestrator.kernel.lines.excerpts import PatchedSource, Place, function_range
from orchestrator.kernel.source import store
from orchestrator.model.evidence import Excerpt
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import KernelSpec

CODE = """\
#include <linux/mm.h>

/*
 * What it is for.
 */
static int long_head(int first,
			int second)
{
	if (first) {
		return second;
	}

	return 0;
}
int close_by(void)
{
	return 1;
}

static int table[] = {
	1,
};
DEFINE_X(table);
"""


@pytest.mark.parametrize(
    ("line", "first", "last"),
    [
        (1, 1, 1), (4, 4, 4), (6, 6, 14), (7, 6, 14), (8, 6, 14), (10, 6, 14), (12, 6, 14),
        (14, 6, 14), (15, 15, 18), (17, 15, 18), (19, 19, 19), (23, 23, 23), (99, 99, 99),
        (0, 0, 0),
    ],
)  # fmt: skip
def test_the_function_around_a_line(line, first, last):
    assert function_range(CODE.splitlines(), line) == (first, last)


@pytest.fixture
def source(cache, kernel, fetch):
    def work(change):
        base = fetch(f"path:{kernel}")
        file = kernel / "mm/userfaultfd.c"
        file.write_text(change(file.read_text()))
        (kernel / "mm/new.c").write_text("int fresh;\n")
        patched = fetch(f"path:{kernel}")
        spec = KernelSpec("k", "x")
        return PatchedSource(KernelTree(spec, "6.12", base.tree, patched.tree), cache)

    return work


def test_lines_and_functions_that_the_series_touched(source):
    # step_3's "return 3;" is line 13 of the file, and line 14 is new.
    found = source(lambda text: text.replace("\treturn 3;\n", "\tint x = 3;\n\treturn x;\n"))
    at = {n: found.describe(Place("f", "mm/userfaultfd.c", n)) for n in range(1, 20)}
    assert [n for n, line in at.items() if line.touched == "line"] == [13, 14]
    assert [n for n, line in at.items() if line.touched == "function"] == [11, 12, 15]
    assert at[13].excerpt == Excerpt(
        8,
        "\treturn 2;\n}\n\nstatic int step_3(void)\n{\n\tint x = 3;\n\treturn x;\n}\n\n"
        "static int step_4(void)\n{\n",
        (13, 14),
    )
    assert at[1].excerpt.first == 1
    assert found.describe(Place("f", "mm/new.c", 1)).touched == "line"


def test_a_function_that_only_lost_a_line_is_touched(source):
    found = source(lambda text: text.replace("\treturn 3;\n", ""))
    at = {n: found.describe(Place("f", "mm/userfaultfd.c", n)).touched for n in range(6, 20)}
    assert [n for n, touched in at.items() if touched == "function"] == [11, 12, 13]
    assert "line" not in at.values()


def test_what_is_not_in_the_tree_has_no_text(source):
    found = source(lambda text: text)
    for place in (
        Place("f", "include/generated/answer.h", 3),
        Place("f", "/elsewhere/x.c", 3),
        Place("f", "mm/userfaultfd.c", 9999),
        Place("f", "mm", 1),
    ):
        line = found.describe(place)
        assert (line.file, line.line, line.touched, line.excerpt) == (
            place.file, place.line, "", Excerpt(),
        )  # fmt: skip


def test_many_files_are_read_at_once(fetch, kernel, cache):
    tree = fetch(f"path:{kernel}").tree
    (kernel / "empty.h").write_text("")
    tree = fetch(f"path:{kernel}").tree
    names = ["mm/Makefile", "no/such", "mm", "empty.h", "a\nb", "mm/Makefile", "scripts/run.sh"]
    assert store.read_files(tree, names, cache) == {
        "mm/Makefile": b"obj-y += userfaultfd.o\n",
        "empty.h": b"",
        "scripts/run.sh": b"#!/bin/sh\n",
    }
    assert store.read_files(tree, [], cache) == {}
