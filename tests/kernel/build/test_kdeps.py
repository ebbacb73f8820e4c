# SPDX-License-Identifier: GPL-2.0-only
"""Why a symbol did not take, read from a small Kconfig tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.kernel.build import kdeps

# Indented with tabs in the tree, as the kernel's own files are.
TOP = r"""
# SPDX-License-Identifier: GPL-2.0
mainmenu "Linux/$(ARCH) $(KERNELVERSION) Kernel Configuration"

source "mm/Kconfig"
source "arch/$(SRCARCH)/Kconfig"

config MODULES
    bool "Loadable modules"
    help
      config INSIDE_HELP
        bool "no symbol at all"
      if this were read as Kconfig, everything below would hang on it

config HIDDEN
    bool

config DEFAULT_ONLY
    def_bool y
    depends on SMP

menu "Debugging"
    depends on DEBUG_KERNEL

config IN_MENU
    bool "In a menu"
    depends on MMU

config TWO_LINES
    bool "Continued"
    depends on MMU && \
        SMP && \
        !NUMA

comment "a comment with its own condition"
    depends on NEVER

config AFTER_COMMENT
    bool "After a comment"

endmenu

config OUTSIDE
    bool "Not in the menu any more"
    depends on (A || B) && C

if BLOCK
config IN_IF
    bool "In an if"

if INNER
config IN_BOTH
    tristate "In both"
endif
endif

choice
    prompt "One of"
    depends on CHOOSABLE

config FIRST
    bool "First"

    config SECOND
        bool "Second"
        depends on SMP
        help
          Indented as a whole, as mm/Kconfig has it.

endchoice

config PROMPT_IF
    bool "Visible to experts" if EXPERT

config PROBED
    bool "The compiler decides"
    depends on $(cc-option,-fsanitize=x (y))
    depends on SMP

config OF_ARCH
    bool "Of an architecture"
    depends on "$(ARCH)" = "x86"

config COMPARED
    bool "Compared"
    depends on HZ=100 && NAME="lab" && LEVEL >= 4

config FREE
    bool "Free"

config TWICE
    bool "Here"
    depends on X86

config BROKEN
    bool "Broken expression"
    depends on (SMP
"""
MM = """
menuconfig THP
    bool "Transparent huge pages"
    depends on HAVE_THP && !PREEMPT_RT
    select COMPACTION
    ---help---
    Text.

config TWICE
    bool "And there"
    depends on SPARC
"""
CONFIG = {"SMP": "y", "MMU": "y", "HZ": "250", "NAME": '"lab"', "C": "y", "MOD": "m"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in (("Kconfig", TOP), ("mm/Kconfig", MM)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("    ", "\t"))
    arch = tmp_path / "arch/x86"
    arch.mkdir(parents=True)
    (arch / "Kconfig").write_text('config X86_THING\n\tbool "Thing"\n\tdepends on X86_64\n')
    return tmp_path


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        ("NOT_THERE", "this kernel has no such symbol"),
        ("INSIDE_HELP", "this kernel has no such symbol"),
        ("HIDDEN", "cannot be asked for: only another symbol selects it (Kconfig)"),
        ("DEFAULT_ONLY", "cannot be asked for: only another symbol selects it (Kconfig)"),
        ("IN_MENU", "needs DEBUG_KERNEL (Kconfig)"),
        ("TWO_LINES", "needs DEBUG_KERNEL (Kconfig)"),
        ("AFTER_COMMENT", "needs DEBUG_KERNEL (Kconfig)"),
        ("OUTSIDE", "needs (A || B) (Kconfig)"),
        ("IN_IF", "needs BLOCK (Kconfig)"),
        ("IN_BOTH", "needs BLOCK && INNER (Kconfig)"),
        ("FIRST", "needs CHOOSABLE (Kconfig)"),
        ("SECOND", "needs CHOOSABLE (Kconfig)"),
        ("PROMPT_IF", "needs EXPERT (Kconfig)"),
        ("PROBED", "overridden by a select, a choice or a default (Kconfig)"),
        ("OF_ARCH", "overridden by a select, a choice or a default (Kconfig)"),
        ("COMPARED", "needs HZ=100 (Kconfig)"),
        ("FREE", "overridden by a select, a choice or a default (Kconfig)"),
        ("THP", "needs HAVE_THP (mm/Kconfig)"),
        ("X86_THING", "needs X86_64 (arch/x86/Kconfig)"),
        ("TWICE", "needs SPARC (mm/Kconfig); needs X86 (Kconfig)"),
        ("BROKEN", "overridden by a select, a choice or a default (Kconfig)"),
    ],
)
def test_reasons(tree: Path, symbol: str, reason: str) -> None:
    assert kdeps.explain(tree, "x86", [symbol], CONFIG) == {symbol: reason}


def test_negated_parts_are_named(tree: Path) -> None:
    config = CONFIG | {"DEBUG_KERNEL": "y", "NUMA": "y", "HAVE_THP": "y", "PREEMPT_RT": "y"}
    found = kdeps.explain(tree, "x86", ["TWO_LINES", "THP"], config)
    assert found["TWO_LINES"] == "needs !NUMA (Kconfig)"
    assert found["THP"] == "needs !PREEMPT_RT (mm/Kconfig)"


def test_other_architecture_and_missing_files(tree: Path) -> None:
    found = kdeps.explain(tree, "arm64", ["X86_THING", "FREE"], CONFIG)
    assert found["X86_THING"] == "this kernel has no such symbol"
    assert "overridden" in found["FREE"]
    assert kdeps.explain(tree / "nowhere", "x86", ["A"], {}) == {
        "A": "this kernel has no such symbol"
    }
    assert kdeps.explain(tree, "x86", [], CONFIG) == {}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("SMP", True), ("NUMA", False), ("!NUMA", True), ("! NUMA && SMP", True), ("MOD", True),
        ("y", True), ("n", False), ("SMP && (NUMA || MMU)", True), ("!(SMP && MMU)", False),
        ("HZ=250", True), ("HZ != 250", False), ('NAME = "lab"', True), ("SMP=y && NUMA=n", True),
        ("LEVEL >= 4", None), ("LEVEL >= 4 && NUMA", False), ("LEVEL < 3 || SMP", True),
        ("$(success,test -e x) && SMP", None), ("$(success,a (b)) && NUMA", False),
        ("SMP && $(cc-option,-g)", None), ("NUMA || $(cc-option,-g)", None),
        ("", None), ("(SMP", None), ("SMP)", None), ("&& SMP", None), ("SMP SMP", None),
    ],
)  # fmt: skip
def test_expressions(expression: str, value: bool | None) -> None:
    assert kdeps.evaluate(expression, CONFIG) is value
