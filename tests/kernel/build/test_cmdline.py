# SPDX-License-Identifier: GPL-2.0-only
"""What is said of a configuration's own command line."""

from __future__ import annotations

import pytest

from orchestrator.guest.qemu import boot_arguments
from orchestrator.kernel.build import cmdline
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import ShapeSpec

X86, ARM = ARCHES["x86_64"], ARCHES["arm64"]


@pytest.mark.parametrize("arch", [X86, ARM])
def test_the_labs_words_are_those_that_it_gives(arch) -> None:  # type: ignore[no-untyped-def]
    words = boot_arguments(arch, ShapeSpec("s"), "kvm").split()
    own = {word.partition("=")[0] for word in words} - set(arch.boot_args)
    assert own == cmdline.LABS


@pytest.mark.parametrize(
    ("arch", "config", "told"),
    [
        (X86, {}, ""),
        (X86, {"CMDLINE": '""', "CMDLINE_BOOL": "y"}, ""),
        (X86, {"CMDLINE": '"root=/dev/sda1"', "CMDLINE_BOOL": "y", "CMDLINE_OVERRIDE": "y"}, ""),
        (
            X86,
            # As syzbot's configurations begin theirs.
            {
                "CMDLINE": '"root=/dev/sda console=ttyS0 numa=fake=2 panic_on_warn=1 a=\\"b c\\""',
                "CMDLINE_BOOL": "y",
            },
            "the lab's come behind it, and of root, console the lab's count; numa, panic_on_warn, "
            "a count in every guest; numa may differ from what a shape says: boot_args of it win",
        ),
        (
            X86, {"CMDLINE": '"panic=10"', "CMDLINE_BOOL": "y"},
            "CONFIG_CMDLINE is 'panic=10': the lab's come behind it, and of panic the lab's count",
        ),
        (
            ARM, {"CMDLINE": '"root=/dev/vda1"', "CMDLINE_FROM_BOOTLOADER": "y"},
            "the lab gives a command line, so this one does not count",
        ),
        (
            ARM, {"CMDLINE": '"console=ttynull bootconfig"', "CMDLINE_EXTEND": "y"},
            "it comes behind the lab's, and of console its own counts; bootconfig counts in every "
            "guest",
        ),
        (X86, {"CMDLINE": '"it\'s"', "CMDLINE_BOOL": "y"}, "it's counts in every guest"),
        (
            X86, {"CMDLINE": f'"{" ".join("abcdefgh")}"', "CMDLINE_BOOL": "y"},
            "a, b, c, d, e, f and 2 more count in every guest",
        ),
    ],
)  # fmt: skip
def test_told(arch, config: dict[str, str], told: str) -> None:  # type: ignore[no-untyped-def]
    said = cmdline.told(arch, config)
    assert len(said) == bool(told)
    assert all(one.endswith(told) for one in said)
