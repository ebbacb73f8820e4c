# SPDX-License-Identifier: GPL-2.0-only
"""Building the kernel's own selftests: what make's output tells of what was not built."""

from __future__ import annotations

import subprocess

import pytest

from orchestrator.host import tools
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import KernelTree, Selftests
from orchestrator.model.spec import KernelSpec
from orchestrator.workload import target_libs
from orchestrator.workload.selftest_log import failures, missing_library, parse_settings
from orchestrator.workload.selftest_make import Repair
from orchestrator.workload.selftests import build_selftests

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


# ---------------------------------------------------------------- a small tree with selftests

LIB_MK = """\
TEST_GEN_PROGS := $(patsubst %,$(OUTPUT)/%,$(TEST_GEN_PROGS))
TEST_GEN_FILES := $(patsubst %,$(OUTPUT)/%,$(TEST_GEN_FILES))
TEST_GEN_PROGS_EXTENDED := $(patsubst %,$(OUTPUT)/%,$(TEST_GEN_PROGS_EXTENDED))
all: $(TEST_GEN_PROGS) $(TEST_GEN_FILES) $(TEST_GEN_PROGS_EXTENDED)
$(OUTPUT)/%: %.c
\t$(CROSS_COMPILE)gcc $(CFLAGS) $(KHDR_INCLUDES) $< $(LDLIBS) -o $@
"""
TREE = {
    "Makefile": "headers:\n\tmkdir -p $(O)/usr/include/linux\n"
    "\tcp include/uapi/linux/new.h $(O)/usr/include/linux/\n",
    "include/uapi/linux/new.h": "#define NEW 0\n",
    "mm/shared.h": "#define SHARED NEW\n",
    "tools/testing/selftests/Makefile": "all:\n\tmkdir -p $(O)/kselftest/$(TARGETS)\n"
    "\t$(MAKE) -C $(TARGETS) OUTPUT=$(O)/kselftest/$(TARGETS)"
    " 'KHDR_INCLUDES=-isystem $(O)/usr/include'\n",
    "tools/testing/selftests/lib.mk": LIB_MK,
    "tools/testing/selftests/mm/Makefile": "TEST_PROGS := run_vmtests.sh\n"
    "TEST_FILES := data.txt\nTEST_GEN_FILES := good wrong mended host\n"
    "TEST_GEN_PROGS_EXTENDED := rare\n"
    "CFLAGS := -I ../../../..\ninclude ../lib.mk\n$(OUTPUT)/host: LDLIBS := -lnobodyhasthis\n"
    "$(OUTPUT)/mended: CFLAGS += -no-pie\n",
    "tools/testing/selftests/mm/good.c": "#include <linux/new.h>\n#include <mm/shared.h>\n"
    "int main(void) { return SHARED; }\n",
    "tools/testing/selftests/mm/wrong.c": "int main(void) { return NOWHERE; }\n",
    "tools/testing/selftests/mm/rare.c": "int main(void) { return SELDOM; }\n",
    "tools/testing/selftests/mm/mended.c": "int main(void) { return KSFT_SKIP; }\n",
    "tools/testing/selftests/mm/host.c": "int main(void) { return 0; }\n",
    "tools/testing/selftests/mm/run_vmtests.sh": "#!/bin/bash\n",
    "tools/testing/selftests/mm/data.txt": "data\n",
    "tools/testing/selftests/mm/settings": "timeout=180\n",
}


@pytest.fixture
def build(cache, kernel, fetch, monkeypatch):
    """Builds the collection mm of the tree as it is, without the libraries of a distribution."""
    monkeypatch.setattr(target_libs, "target_libraries", lambda *_: target_libs.TargetLibraries())
    for name, text in TREE.items():
        (kernel / name).parent.mkdir(parents=True, exist_ok=True)
        head = (kernel / "Makefile").read_text() if name == "Makefile" else ""
        (kernel / name).write_text(head + text)

    def work(collection: str = "mm") -> tuple[Selftests, list[str]]:
        tree = fetch(f"path:{kernel}").tree
        said: list[str] = []
        made = build_selftests(
            KernelTree(KernelSpec("k", ""), "6.12.117", tree, tree), collection, ARCHES["x86_64"],
            cache, jobs=2, repairs=[Repair("mended", ("-DKSFT_SKIP=4",))], tell=said.append,
        )  # fmt: skip
        return made, said

    return work


def test_what_builds_is_there_and_what_does_not_is_named(build):
    made, _ = build()
    tests = {test.name: test for test in made.tests}
    assert made.timeout == 180.0
    assert (made.folder, made.missing, made.failure) == ("mm", "", "")
    assert not tests["good"].problem
    assert "NOWHERE" in tests["wrong"].problem
    assert "SELDOM" in tests["rare"].problem
    assert tests["rare"].role == "built"
    assert not tests["wrong"].lacks
    assert tests["host"].lacks == "libnobodyhasthis"
    assert tests["mended"].repaired == "-DKSFT_SKIP=4"
    assert "KSFT_SKIP" in tests["mended"].problem
    assert [tests[name].role for name in ("run_vmtests.sh", "good", "data.txt")] == [
        "test", "built", "file",
    ]  # fmt: skip
    own = made.files / "mm"
    there = {path.name for path in own.iterdir()}
    assert there == {"good", "mended", "run_vmtests.sh", "data.txt", "settings"}
    headers = subprocess.run(["readelf", "-lW", own / "good"], capture_output=True, check=True)
    assert b"LOAD" in headers.stdout
    assert b"INTERP" not in headers.stdout  # it is linked static
    assert b"Elf file type is DYN" in headers.stdout  # and position-independent
    fixed = subprocess.run(["readelf", "-lW", own / "mended"], capture_output=True, check=True)
    assert b"Elf file type is EXEC" in fixed.stdout  # where its Makefile says so


def test_32_bit_programs_that_the_makefile_leaves_out_are_told(build, kernel, monkeypatch):
    """As in mm/Makefile of 6.12: on a host that makes none it says nothing and ends well."""
    makefile = kernel / "tools/testing/selftests/mm/Makefile"
    whole = makefile.read_text().replace(
        "include ../lib.mk\n",
        "BINARIES_32 := keys_32 good\nTEST_GEN_FILES += $(MORE)\ninclude ../lib.mk\n"
        "BINARIES_32 := $(patsubst %,$(OUTPUT)/%,$(BINARIES_32))\n",
    )
    makefile.write_text(whole)
    monkeypatch.setattr(tools, "has", lambda name: False)
    tests = {test.name: test for test in build()[0].tests}
    assert tests["keys_32"].lacks == "32-bit gcc (gcc-12-multilib)"
    assert "leaves it out" in tests["keys_32"].problem
    assert tests["keys_32"].role == "built"
    assert not tests["good"].problem  # one that is built is itself
    assert build()[1] == []
    monkeypatch.setattr(tools, "has", lambda name: name == "32-bit gcc")
    assert build()[1]  # a host that has it now builds anew


def test_it_is_built_again_only_where_its_own_files_change(build, kernel):
    first, said = build()
    assert any("building" in text for text in said)
    (kernel / "mm/userfaultfd.c").write_text("int other;\n")
    again, said = build()
    assert (again, said) == (first, [])
    for name in ("mm/shared.h", "include/uapi/linux/new.h"):
        (kernel / name).write_text((kernel / name).read_text() + "#define MORE 1\n")
        other, said = build()
        assert said
        assert other.files != first.files
        first = other


def test_a_tree_without_it_and_one_whose_makefile_is_wrong(build, kernel):
    assert build("timers")[0].missing == "this kernel has no tools/testing/selftests/timers"
    (kernel / "tools/testing/selftests/mm").rename(kernel / "tools/testing/selftests/vm")
    assert build()[0].folder == "vm"
    (kernel / "tools/testing/selftests/vm/Makefile").write_text("$(error out of order)\n")
    assert "out of order" in build()[0].failure


def test_one_below_another_gets_the_flags_that_the_makefile_above_exports(build, kernel):
    top = kernel / "tools/testing/selftests"
    (top / "ours.h").write_text("#define OURS 0\n")
    (top / "arm64/mte").mkdir(parents=True)
    (top / "arm64/Makefile").write_text(
        "top_srcdir = $(realpath ../../../../)\n"
        "CFLAGS := -O2\nCFLAGS += -I$(top_srcdir)/tools/testing/selftests/ $(KHDR_INCLUDES)\n"
        "export CFLAGS\nall:\n\t@exit 1\n"
    )
    (top / "arm64/mte/Makefile").write_text(
        "CFLAGS += -DMORE\nTEST_GEN_PROGS := tags\ninclude ../../lib.mk\n"
    )
    (top / "arm64/mte/tags.c").write_text(
        '#include "ours.h"\n#include <linux/new.h>\nint main(void) { return OURS + NEW; }\n'
    )
    made, _ = build("arm64/mte")
    assert [(test.name, test.problem) for test in made.tests] == [("tags", "")]
    assert (made.files / "arm64/mte/tags").is_file()
