# SPDX-License-Identifier: GPL-2.0-only
"""Progress, errors and warnings out of make's output."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.kernel.build.log import CompileProgress, first_reason, host_trouble, messages
from orchestrator.model.kernel import CompilerMessage

SOURCE = Path("/cache/trees/debian-6.12")

# gcc 12 and GNU make 4.3, as they printed it for a kernel built out of tree.
GCC = f"""\
make: Entering directory '{SOURCE}'
make[1]: Entering directory '/cache/obj/x'
  CC      mm/userfaultfd.o
{SOURCE}/mm/userfaultfd.c: In function \u2018move_pages\u2019:
{SOURCE}/mm/userfaultfd.c:1703:17: error: \u2018moved\u2019 undeclared (first use in this function)
 1703 |                 moved++;
      |                 ^~~~~
{SOURCE}/mm/userfaultfd.c:1703:17: note: each undeclared identifier is reported only once
{SOURCE}/mm/userfaultfd.c:12:5: warning: unused variable \u2018x\u2019 [-Wunused-variable]
{SOURCE}/mm/userfaultfd.c:12:5: warning: unused variable \u2018x\u2019 [-Wunused-variable]
{SOURCE}/include/linux/mm.h:7: warning: "MM" redefined
/usr/include/thing.h:3:1: warning: outside the tree
scripts/x.c:4:10: fatal error: gelf.h: No such file or directory
make[3]: *** [{SOURCE}/scripts/Makefile.build:229: mm/userfaultfd.o] Error 1
make[2]: *** [{SOURCE}/scripts/Makefile.build:478: mm] Error 2
make: *** [Makefile:236: __sub-make] Error 2
"""


def test_compiler_messages() -> None:
    found = messages(GCC, SOURCE)
    assert [(m.severity, m.file, m.line) for m in found] == [
        ("error", "mm/userfaultfd.c", 1703),
        ("warning", "mm/userfaultfd.c", 12),
        ("warning", "include/linux/mm.h", 7),
        ("warning", "/usr/include/thing.h", 3),
        ("error", "scripts/x.c", 4),
    ]
    assert found[0].text == "\u2018moved\u2019 undeclared (first use in this function)"
    assert found[4].text == "gelf.h: No such file or directory"
    errors = [message for message in found if message.severity == "error"]
    assert first_reason(errors, GCC) == (
        "mm/userfaultfd.c:1703: error: \u2018moved\u2019 undeclared (first use in this function)"
    )


def test_linker_without_and_with_line_numbers() -> None:
    log = (
        "  LD      .tmp_vmlinux1\n"
        "ld: mm/userfaultfd.o: in function `move_pages':\n"
        "userfaultfd.c:(.text+0x1f3): undefined reference to `count_move'\n"
        f"{SOURCE}/mm/userfaultfd.c:1710: undefined reference to `count_huge'\n"
        "aarch64-linux-gnu-ld: mm/a.o:(.data+0x8): undefined reference to `other'\n"
        "ld: mm/a.o: more undefined references to `other' follow\n"
        "ld.lld: error: undefined symbol: count_swap\n"
        "make[2]: *** [scripts/Makefile.vmlinux:34: vmlinux] Error 1\n"
    )
    found = messages(log, SOURCE)
    assert found == (
        CompilerMessage("", 0, "userfaultfd.c:(.text+0x1f3): undefined reference to `count_move'"),
        CompilerMessage("mm/userfaultfd.c", 1710, "undefined reference to `count_huge'"),
        CompilerMessage("", 0, "mm/a.o:(.data+0x8): undefined reference to `other'"),
        CompilerMessage("", 0, "undefined symbol: count_swap"),
    )
    assert first_reason(found[:1], log).endswith("undefined reference to `count_move'")


def test_make_alone_says_why() -> None:
    log = "  CC x.o\nmake[1]: *** No rule to make target 'mm/gone.o', needed by 'mm'.  Stop.\n"
    assert messages(log, SOURCE) == ()
    assert first_reason((), log) == (
        "make: No rule to make target 'mm/gone.o', needed by 'mm'.  Stop."
    )
    modpost = 'ERROR: modpost: "count_move" [drivers/x.ko] undefined!\n'
    assert first_reason((), modpost) == 'make: "count_move" [drivers/x.ko] undefined!'


def test_nothing_and_garbage() -> None:
    assert messages("", SOURCE) == ()
    assert first_reason((), "") == "make printed nothing"
    assert first_reason((), "\n  \nlast words\n\n") == "last words"
    garbage = "\x00\x1b[31m:::12: error\n\ufffd\ufffd: warning:\n" + ":" * 5000 + "\n"
    assert messages(garbage, SOURCE) == ()
    assert messages(f"mm/a.c:{'9' * 5000}:1: error: x\n", SOURCE) == ()


def test_long_lines_take_no_time() -> None:
    log = ("a: " * 30000 + "\n") + ("x:1" * 30000 + "\n") + ("undefined " * 20000 + "\n")
    assert messages(log, SOURCE) == ()


def test_progress_counts_steps(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    progress = CompileProgress(tmp_path, lambda share, text: told.append((share, text)))
    for line in ("make: Entering", "  CC      mm/a.o", "  HOSTCC  scripts/x", "ignored", "  LD  v"):
        progress.line(line)
    assert [text for _, text in told] == ["CC mm/a.o", "HOSTCC scripts/x", "LD v"]
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.01


def test_progress_learns_from_a_whole_build_only(tmp_path: Path) -> None:
    def build(steps: int, complete: bool) -> list[float]:
        told: list[float] = []
        progress = CompileProgress(tmp_path, lambda share, _: told.append(share))
        for n in range(steps):
            progress.line(f"  CC      mm/{n}.o")
        progress.close(complete)
        return told

    (tmp_path / ".config").write_text("CONFIG_A=y\nCONFIG_B=m\n" * 1000)
    build(400, complete=False)
    assert build(400, complete=True)[-1] < 0.3
    assert build(2, complete=True)[0] == 1 / 400  # an increment is not remembered
    assert build(600, complete=True)[-1] == 0.99  # never done before it is done
    assert build(1, complete=True) == [1 / 600]
    (tmp_path / ".lab-steps").write_text("nonsense")
    assert build(1, complete=False) == [1 / 2160]  # by what is built in
    (tmp_path / ".config").unlink()
    assert build(1, complete=False) == [1 / 900]


@pytest.mark.parametrize(
    "line",
    [
        "/tmp/ccX.s: fatal error: error writing to x.s: No space left on device",
        "gcc: fatal error: Killed signal terminated program cc1",
        "collect2: fatal error: ld terminated with signal 9 [Killed]",
        "make[2]: *** [scripts/Makefile.vmlinux:34: vmlinux] Killed",
        "make[2]: *** [scripts/Makefile.vmlinux:34: vmlinux] Error 137",
        "cc1: out of memory: virtual memory exhausted: Cannot allocate memory",
        "/bin/sh: 1: flex: not found",
        "/bin/sh: line 1: bison: command not found",
        "certs/extract-cert.c:21:10: fatal error: openssl/bio.h: No such file or directory",
        "Makefile:199: *** source directory cannot contain spaces or colons.  Stop.",
    ],
)
def test_the_hosts_doing(line: str) -> None:
    found = host_trouble(f"  CC x.o\n{line}\nmake: *** [Makefile:236: __sub-make] Error 2\n")
    assert found is not None
    assert found[0] == line
    assert found[1]


@pytest.mark.parametrize(
    "line",
    [
        '  123 |         pr_err("No space left on device");',
        "      |         ^~~ Cannot allocate memory",
        "mm/a.c:1:2: error: implicit declaration of function \u2018not_found\u2019",
        "mm/a.c:1:10: fatal error: linux/moved.h: No such file or directory",
        "make[2]: *** [scripts/Makefile.build:229: mm/a.o] Error 1",
        "# Killed",
        "",
    ],
)
def test_not_the_hosts_doing(line: str) -> None:
    assert host_trouble(line) is None


# clang and lld 14, of small files, with make's lines around them.
CLANG = f"""\
  CC      mm/a.o
{SOURCE}/mm/a.c:6:50: error: use of undeclared identifier 'src_ptee'; did you mean 'src_pte'?
        const char *s = "No space left on device", *t = src_ptee;
                                                        ^~~~~~~~
                                                        src_pte
{SOURCE}/mm/a.c:4:11: note: 'src_pte' declared here
int f(int src_pte)
          ^
{SOURCE}/mm/a.c:6:46: warning: incompatible integer to pointer conversion [-Wint-conversion]
        const char *s = "No space left on device", *t = src_ptee;
                                                    ^   ~~~~~~~~
{SOURCE}/mm/a.c:10:23: error: implicit declaration of function 'frob' is invalid in C99 \
[-Werror,-Wimplicit-function-declaration]
        return g(src_ptee) + DOIT(1);
                             ^
{SOURCE}/mm/a.c:3:17: note: expanded from macro 'DOIT'
#define DOIT(x) frob(x)
                ^
1 warning and 2 errors generated.
make[3]: *** [{SOURCE}/scripts/Makefile.build:229: mm/a.o] Error 1
"""
LLD = """\
  LD      .tmp_vmlinux1
ld.lld: error: undefined symbol: count_move
>>> referenced by userfaultfd.c
>>>               vmlinux.o:(move_pages)
>>> referenced by userfaultfd.c
>>>               vmlinux.o:(move_pages_pte)
ld.lld-16: error: duplicate symbol: twice
>>> defined at b.c
>>>            mm/b.o:(twice)
>>> defined at b.c
>>>            mm/c.o:(.text+0x0)
make[2]: *** [scripts/Makefile.vmlinux:34: vmlinux] Error 1
"""


def test_what_clang_says() -> None:
    found = messages(CLANG, SOURCE)
    assert [(m.severity, m.file, m.line) for m in found] == [
        ("error", "mm/a.c", 6), ("warning", "mm/a.c", 6), ("error", "mm/a.c", 10),
    ]  # fmt: skip
    assert found[0].text == "use of undeclared identifier 'src_ptee'; did you mean 'src_pte'?"
    assert found[2].text.endswith("[-Werror,-Wimplicit-function-declaration]")
    assert host_trouble(CLANG) is None  # it quotes the source as it stands


def test_what_lld_and_the_driver_say() -> None:
    found = messages(LLD, SOURCE)
    assert [(m.file, m.text) for m in found] == [
        ("", "undefined symbol: count_move (in vmlinux.o: move_pages)"),
        ("", "duplicate symbol: twice (in mm/b.o: twice)"),
    ]
    assert first_reason(found, LLD) == f"error: {found[0].text}"
    (driver,) = messages("clang: error: unknown argument: '-fxxx'\n", SOURCE)
    assert driver.text == "unknown argument: '-fxxx'"


@pytest.mark.parametrize(
    "line",
    [
        "scripts/sign-file.c:4:10: fatal error: 'openssl/opensslv.h' file not found",
        "clang: error: unable to execute command: Killed",
        "ld.lld: error: cannot open output file vmlinux.o: No space left on device",
    ],
)
def test_the_host_stopped_clang(line: str) -> None:
    trouble = host_trouble(f"  CC      mm/a.o\n{line}\n")
    assert trouble is not None
    assert trouble[0] == line
