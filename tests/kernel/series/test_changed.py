# SPDX-License-Identifier: GPL-2.0-only
"""The lines that a diff changes, counted as the file below it has them."""

from __future__ import annotations

from orchestrator.kernel.series.changed import changes
from orchestrator.model.coverage import Changed, Lines
from orchestrator.model.kernel import Patch

DIFF = b"""diff --git a/mm/x.c b/mm/x.c
--- a/mm/x.c
+++ b/mm/x.c
@@ -10,4 +10,5 @@ int f(void)
 ten
-eleven
+ELEVEN
+new
 twelve
 thirteen
@@ -30,3 +31,3 @@ int g(void)
 thirty
 thirty-one
-thirty-two
+THIRTY-TWO
diff --git a/mm/new.c b/mm/new.c
new file mode 100644
--- /dev/null
+++ b/mm/new.c
@@ -0,0 +1,1 @@
+one
"""


def patch(n: int, diff: bytes) -> Patch:
    return Patch(n, "s", "a", "d", diff, "0")


def test_removed_lines_and_those_before_what_is_added_by_function() -> None:
    assert changes((patch(1, DIFF),)) == (
        Changed("mm/x.c", "f", Lines((11,))), Changed("mm/x.c", "g", Lines((32,))),
    )  # fmt: skip


def test_of_several_patches_all_of_them() -> None:
    second = DIFF.replace(b"-10,4 +10,5", b"-50,4 +50,5")
    assert changes((patch(1, DIFF), patch(2, second))) == (
        Changed("mm/x.c", "f", Lines((11, 51))), Changed("mm/x.c", "g", Lines((32,))),
    )  # fmt: skip


WITHIN = b"\n".join((
    b"--- a/mm/x.c",
    b"+++ b/mm/x.c",
    b"@@ -1,9 +1,14 @@ static int before(struct page *page,",
    b"+\tin_before();",
    b" \tlast();",
    b" }",
    b"+EXPORT_SYMBOL(before);",
    b" ",
    b" static __always_inline struct page *own_one(unsigned long n)",
    b" {",
    b"-\told();",
    b"+\tnew();",
    b" }",
    b" int declared(int n);",
    b"+#define X 1",
    b" SYSCALL_DEFINE3(move, int, n, int, m, int, o)",
    b" {",
    b"+\tsyscall();",
    b"",
))  # fmt: skip


def test_the_function_is_the_one_above_the_change_if_any_is() -> None:
    assert changes((patch(1, WITHIN),)) == (
        Changed("mm/x.c", "before", Lines((1,))),
        Changed("mm/x.c", "", Lines((2, 8, 10))),
        Changed("mm/x.c", "own_one", Lines((6,))),
    )
