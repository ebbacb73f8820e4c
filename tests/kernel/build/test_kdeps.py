# SPDX-License-Identifier: GPL-2.0-only
"""Why a symbol did not take, read from a small Kconfig tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.kernel.build import kdeps
from orchestrator.model.kernel import ConfigMismatch

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
    depends on HZ=100 && NAME="lab" && LEVEL < 4

config FREE
    bool "Free"

config TWICE
    bool "Here"
    depends on X86

config BROKEN
    bool "Broken expression"
    depends on (SMP
"""
RAISED = """
config MODULES
    bool "Loadable modules"
    modules

config BASE
    tristate "Base"

config OTHER
    tristate "Other"

config THIRD
    tristate "Third"

config USER
    tristate "User"
    depends on BASE && OTHER && (THIRD || THIRD=n)

config LONE
    tristate "A module by nature"
    depends on m

config MIXED
    tristate "Mixed"
    depends on BASE && GONE && !(SMP || MMU)

config OTHERWISE
    tristate "Otherwise"
    depends on !BASE

config SWITCH
    bool "Bool below a module"
    depends on BASE

config PULLED
    tristate "Pulled"
    depends on GONE

config PULLER
    tristate "Puller"
    select PULLED
    select INNER if INNERMOST

config INNERMOST
    bool "Innermost"
    select PULLED if BASE
    select HIDDEN if GONE

config TWICE
    bool "No select here"
    depends on GONE
    select PULLED

config TWICE
    bool "But here"

config INNER
    bool

config HIDDEN
    bool

config LEFT
    bool

config BY_DEFAULT
    def_bool BASE if SMP
    depends on MMU

config HALF
    def_tristate m

config EXPERTS
    bool "Experts" if EXPERT
    default y

config IMPLIED
    tristate "Implied" if EXPERT

config IMPLIER
    bool "Implier"
    imply IMPLIED

choice
    prompt "One of"

config ONE
    bool "One"

config TWO
    bool "Two"

endchoice

config NUMBER
    int "Number"
    range 10 TOP if BASE
    range 1 9

config TOP
    int

config WIDE
    hex "Wide"
    range 0x10 0x1f

config TEXT
    string "Text"

config FREE_NUMBER
    int "Free"
    depends on MMU

config FIXED
    int
    default 5

config LATER
    bool "Later"
    depends on GONE if SMP

menu "Shown to experts"
    visible if EXPERT

config UNSEEN
    bool "Unseen"

endmenu
"""
MM = """
menuconfig THP
    bool "Transparent huge pages"
    depends on HAVE_THP && !PREEMPT_RT
    select COMPACTION
    ---help---
    Text.

config COMPACTION
    bool

config TWICE
    bool "And there"
    depends on SPARC
"""
CONFIG = {"SMP": "y", "MMU": "y", "HZ": "250", "NAME": '"lab"', "C": "y", "MOD": "m"}
MODULAR = {
    "MODULES": "y", "SMP": "y", "MMU": "y", "BASE": "m", "OTHER": "m", "THIRD": "m", "PULLER": "y",
    "INNERMOST": "y", "IMPLIER": "y", "TWO": "y", "TOP": "20",
}  # fmt: skip


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


def why(tree: Path, symbol: str, config: dict[str, str], wanted: str = "y", got: str = "n") -> str:
    missed = [ConfigMismatch(symbol, wanted, got, "a.config:1")]
    return kdeps.explain(tree, "x86", missed, config)[symbol]


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        ("NOT_THERE", "this kernel has no such symbol"),
        ("INSIDE_HELP", "this kernel has no such symbol"),
        ("free", "this kernel has no such symbol; did you mean CONFIG_FREE?"),
        ("CONFIG_FREE", "this kernel has no such symbol; did you mean CONFIG_FREE?"),
        ("COMPACTON", "this kernel has no such symbol; did you mean CONFIG_COMPACTION?"),
        ("HIDDEN", "cannot be asked for: nothing selects it (Kconfig)"),
        ("COMPACTION", "cannot be asked for: only THP can select it (mm/Kconfig)"),
        ("IN_MENU", "needs DEBUG_KERNEL (Kconfig)"),
        ("TWO_LINES", "needs DEBUG_KERNEL (Kconfig)"),
        ("AFTER_COMMENT", "needs DEBUG_KERNEL (Kconfig)"),
        ("OUTSIDE", "needs (A || B) (Kconfig)"),
        ("IN_IF", "needs BLOCK (Kconfig)"),
        ("IN_BOTH", "needs BLOCK && INNER (Kconfig)"),
        ("FIRST", "needs CHOOSABLE (Kconfig)"),
        ("SECOND", "needs CHOOSABLE (Kconfig)"),
        ("PROMPT_IF", "needs EXPERT (Kconfig)"),
        ("PROBED", "perhaps needs $(cc-option,-fsanitize=x (y)) (Kconfig)"),
        ("OF_ARCH", 'perhaps needs "$(ARCH)"="x86" (Kconfig)'),
        ("COMPARED", "needs HZ=100 && LEVEL<4 (Kconfig)"),
        ("FREE", "overridden by a select, a choice or a default (Kconfig)"),
        ("THP", "needs HAVE_THP (mm/Kconfig)"),
        ("X86_THING", "needs X86_64 (arch/x86/Kconfig)"),
        ("TWICE", "needs SPARC (mm/Kconfig); needs X86 (Kconfig)"),
        ("BROKEN", "perhaps needs (SMP (Kconfig)"),
    ],
)
def test_unmet(tree: Path, symbol: str, reason: str) -> None:
    assert why(tree, symbol, CONFIG) == reason


def test_negated_parts_are_named(tree: Path) -> None:
    config = CONFIG | {"DEBUG_KERNEL": "y", "NUMA": "y", "HAVE_THP": "y", "PREEMPT_RT": "y"}
    assert why(tree, "TWO_LINES", config) == "needs !NUMA (Kconfig)"
    assert why(tree, "THP", config) == "needs !PREEMPT_RT (mm/Kconfig)"
    without = {name: value for name, value in CONFIG.items() if name != "SMP"}
    assert why(tree, "DEFAULT_ONLY", without) == (
        "cannot be asked for: its default needs SMP (Kconfig)"
    )


def test_other_architecture_and_missing_files(tree: Path) -> None:
    missed = [ConfigMismatch(symbol, "y", "n", "a:1") for symbol in ("X86_THING", "FREE")]
    found = kdeps.explain(tree, "arm64", missed, CONFIG)
    assert found["X86_THING"] == "this kernel has no such symbol for arm64, only for x86"
    assert "overridden" in found["FREE"]
    missing = kdeps.explain(tree / "nowhere", "x86", missed[:1], {})
    assert missing == {"X86_THING": "this kernel has no such symbol"}
    assert kdeps.explain(tree, "x86", [], CONFIG) == {}


@pytest.fixture
def modular(tmp_path: Path) -> Path:
    (tmp_path / "Kconfig").write_text(RAISED)
    return tmp_path


@pytest.mark.parametrize(
    ("symbol", "wanted", "got", "reason"),
    [
        ("USER", "y", "m", "BASE and OTHER and (THIRD || THIRD=n) are m, so m at most (Kconfig)"),
        ("OTHERWISE", "y", "m", "!BASE is m, so m at most (Kconfig)"),
        ("LONE", "y", "m", "depends on m, so m at most (Kconfig)"),
        ("MIXED", "y", "n", "needs GONE && !SMP && !MMU, and BASE is m, so m at most (Kconfig)"),
        ("MIXED", "m", "n", "needs GONE && !SMP && !MMU (Kconfig)"),
        ("SWITCH", "y", "n", "overridden by a select, a choice or a default (Kconfig)"),
        ("LATER", "y", "n", "needs (GONE || !SMP) (Kconfig)"),
        ("UNSEEN", "y", "n", "needs EXPERT (Kconfig)"),
        ("ONE", "y", "n", "its choice 'One of' takes TWO (Kconfig)"),
        ("LEFT", "y", "n", "cannot be asked for: nothing selects it (Kconfig)"),
        ("HIDDEN", "y", "n", "cannot be asked for: only INNERMOST can select it (Kconfig)"),
        ("HALF", "y", "m", "cannot be asked for: its default is m (Kconfig)"),
    ],
)
def test_below_what_was_asked_for(
    modular: Path, symbol: str, wanted: str, got: str, reason: str
) -> None:
    assert why(modular, symbol, MODULAR, wanted, got) == reason


@pytest.mark.parametrize(
    ("symbol", "wanted", "got", "reason"),
    [
        ("PULLED", "n", "y", "selected by PULLER and INNERMOST"),
        ("PULLED", "m", "y", "selected by PULLER"),
        ("INNER", "n", "y", "selected by PULLER"),
        ("BY_DEFAULT", "n", "y", "has no prompt; its default is BASE if SMP (Kconfig)"),
        ("HALF", "n", "m", "has no prompt; its default is m (Kconfig)"),
        ("EXPERTS", "n", "y", "its prompt needs EXPERT; its default is y (Kconfig)"),
        ("IMPLIED", "n", "m", "its prompt needs EXPERT; implied by IMPLIER (Kconfig)"),
        ("TWO", "n", "y", "its choice 'One of' takes one, and no other is y (Kconfig)"),
        ("LATER", "n", "y", "its prompt needs (GONE || !SMP) (Kconfig)"),
        ("BASE", "n", "m", "overridden by a select, a choice or a default (Kconfig)"),
    ],
)
def test_above_what_was_asked_for(
    modular: Path, symbol: str, wanted: str, got: str, reason: str
) -> None:
    config = MODULAR | {"TWICE": "y"}
    assert why(modular, symbol, config, wanted, got) == reason


def test_what_is_selected_by_many(tmp_path: Path) -> None:
    pullers = "".join(f'config P{at}\n\tbool "p"\n\tselect A\n' for at in range(9))
    (tmp_path / "Kconfig").write_text('config A\n\tbool "a"\n' + pullers)
    on = {f"P{at}": "y" for at in range(7)} | {"A": "y"}
    assert why(tmp_path, "A", on, "n", "y") == "selected by P0, P1, P2, P3 and 3 more"


def test_without_modules(modular: Path) -> None:
    config = MODULAR | {"MODULES": "n"}
    assert why(modular, "LONE", config) == "needs MODULES (Kconfig)"
    assert why(modular, "LONE", config, "m", "n") == "needs MODULES (Kconfig)"
    assert why(modular, "BASE", config, "m", "y") == "needs MODULES"
    assert why(modular, "PULLED", config, "m", "n") == "needs MODULES; needs GONE (Kconfig)"
    assert why(modular, "HALF", config, "n", "y") == "has no prompt; its default is m (Kconfig)"


@pytest.mark.parametrize(
    ("symbol", "wanted", "got", "reason"),
    [
        ("NUMBER", "9", "10", "outside its range 10 to 20 (Kconfig)"),
        ("NUMBER", "21", "20", "outside its range 10 to 20 (Kconfig)"),
        ("NUMBER", "15", "10", "overridden by a select, a choice or a default (Kconfig)"),
        ("WIDE", "0x20", "0x1f", "outside its range 0x10 to 0x1f (Kconfig)"),
        ("WIDE", "F", "0x10", "outside its range 0x10 to 0x1f (Kconfig)"),
        ("FREE_NUMBER", "5", "n", "needs MMU (Kconfig)"),
        ("FIXED", "4", "5", "cannot be asked for: its value is its default (Kconfig)"),
        ("NUMBER", "0x10", "10", "a symbol of type int takes a whole number without leading zeros"),
        ("NUMBER", "010", "10", "a symbol of type int takes a whole number without leading zeros"),
        ("NUMBER", "n", "10", "a symbol of type int takes a whole number without leading zeros"),
        ("WIDE", "0xg", "0x10", "a symbol of type hex takes a hexadecimal number"),
        ("TEXT", "word", '""', "a symbol of type string takes a text in double quotes"),
        ("SWITCH", "m", "n", "a symbol of type bool takes y or n"),
        ("SWITCH", "1", "n", "a symbol of type bool takes y or n"),
        ("SWITCH", "yes", "y", "a symbol of type bool takes y or n"),
        ("BASE", '"y"', "n", "a symbol of type tristate takes y, m or n"),
    ],
)
def test_values(modular: Path, symbol: str, wanted: str, got: str, reason: str) -> None:
    config = {name: value for name, value in MODULAR.items() if name != "MMU"}
    assert why(modular, symbol, config, wanted, got).removesuffix(" (Kconfig)") == (
        reason.removesuffix(" (Kconfig)")
    )
    # The range whose condition holds counts.
    del config["BASE"]
    if symbol == "NUMBER" and wanted == "15":
        assert why(modular, symbol, config, wanted, "9") == "outside its range 1 to 9 (Kconfig)"
