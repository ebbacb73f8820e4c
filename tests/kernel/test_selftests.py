# SPDX-License-Identifier: GPL-2.0-only
"""Building the kernel's own selftests: what make's output tells of what was not built."""

from __future__ import annotations

import pytest

from orchestrator.kernel.selftests import failures, missing_library, parse_settings

LOG = """\
make[1]: Entering directory '/tmp/src/tools/testing/selftests/mm'
  CC       cow
cow.c:12: warning: unused variable
  CC       khugepaged
khugepaged.c: In function 'main':
khugepaged.c:1195:24: error: 'KSFT_SKIP' undeclared (first use in this function)
khugepaged.c:1195:24: note: each undeclared identifier is reported only once
make[1]: *** [../lib.mk:222: /tmp/obj/kselftest/mm/khugepaged] Error 1
  CC       ksm_tests
/usr/bin/ld: cannot find -lnuma: No such file or directory
collect2: error: ld returned 1 exit status
make[1]: *** [../lib.mk:222: /tmp/obj/kselftest/mm/ksm_tests] Error 1
make[1]: *** No rule to make target 'gone.c', needed by '/tmp/obj/kselftest/mm/gone'.
make[1]: Target 'all' not remade because of errors.
make: *** [Makefile:198: all] Error 2
"""


def test_each_target_has_its_first_error() -> None:
    found = failures(LOG)
    assert found["khugepaged"].startswith("khugepaged.c:1195:24: error: 'KSFT_SKIP' undeclared")
    assert found["ksm_tests"] == "/usr/bin/ld: cannot find -lnuma: No such file or directory"
    assert found["gone"].startswith("No rule to make target")
    assert "cow" not in found


@pytest.mark.parametrize(
    ("reason", "lacks"),
    [
        ("ld: cannot find -lnuma: No such file or directory", "libnuma"),
        ("x.c:3:10: fatal error: sys/capability.h: No such file or directory", "libcap"),
        ("x.c:3:10: fatal error: alsa/asoundlib.h: No such file or directory", "alsa/asoundlib.h"),
        ("x.c:3:10: fatal error: linux/new.h: No such file or directory", ""),
        ("x.c:3:10: fatal error: ../kselftest.h: No such file or directory", ""),
        ("x.c:3:10: error: 'KSFT_SKIP' undeclared", ""),
    ],
)
def test_a_host_that_lacks_a_library_is_told_from_a_tree_that_is_wrong(
    reason: str, lacks: str
) -> None:
    def in_tree(name: str) -> bool:
        return name.startswith(("linux/", "../"))

    assert missing_library(reason, in_tree) == lacks


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("timeout=180\n", 180.0), ("timeout = 0\n", 0.0), ("", None), ("timeout=soon\n", None)],
)
def test_settings(text: str, seconds: float | None) -> None:
    assert parse_settings(text) == seconds
