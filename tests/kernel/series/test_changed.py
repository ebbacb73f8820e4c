# SPDX-License-Identifier: GPL-2.0-only
"""The lines that a diff changes, counted as the file below it has them."""

from __future__ import annotations

from orchestrator.kernel.series.changed import changed_lines
from orchestrator.model.coverage import Lines
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


def test_removed_lines_and_those_before_what_is_added() -> None:
    assert changed_lines((patch(1, DIFF),)) == (("mm/x.c", Lines((11, 32))),)


def test_of_several_patches_all_of_them() -> None:
    second = DIFF.replace(b"-10,4 +10,5", b"-50,4 +50,5")
    assert changed_lines((patch(1, DIFF), patch(2, second))) == (
        ("mm/x.c", Lines((11, 32, 51))),
    )  # fmt: skip
