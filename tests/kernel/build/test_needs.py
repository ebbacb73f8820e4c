# SPDX-License-Identifier: GPL-2.0-only
"""What a guest needs, against the fragment that ships for it and against real configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.kernel.build import kconfig, needs
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import ConfigSpec

GUEST = HOME / "kernel-configs" / "guest.config"


def config(arch: str) -> dict[str, str]:
    return {r.symbol: r.value for r in kconfig.read_fragment(GUEST, "6.12", arch)}


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_the_fragment_has_all(arch: str) -> None:
    assert needs.unmet(ARCHES[arch], config(arch)) == ()
    without = needs.unmet(ARCHES[arch], {})
    assert {miss.symbol for miss in without} <= set(config(arch))


def test_ext4_does_for_ext2() -> None:
    mine = config("x86_64") | {"EXT2_FS": "n", "EXT4_FS": "y", "EXT4_USE_FOR_EXT2": "y"}
    assert needs.unmet(ARCHES["x86_64"], mine) == ()
    (miss,) = needs.unmet(ARCHES["x86_64"], mine | {"EXT4_FS": "m"})
    assert (miss.symbol, miss.fragment) == ("EXT2_FS", "a guest's root")


def test_what_debians_configuration_lacks() -> None:
    """The symbols of linux-config-6.12 6.12.117-1~deb12u1, flavour cloud-amd64."""
    debian = config("x86_64") | {
        "VIRTIO_BLK": "m", "VIRTIO_NET": "m", "EXT2_FS": "n", "EXT4_FS": "y",
        "EXT4_USE_FOR_EXT2": "y", "DEVTMPFS_MOUNT": "n",
    }  # fmt: skip
    missed = needs.unmet(ARCHES["x86_64"], debian)
    cloud, guest = Path("/boot/cloud.config"), Path("kernel-configs/guest.config")
    spec = ConfigSpec("cloud", (), cloud)
    assert needs.sentence(missed, cloud, spec) == (
        "a guest boots without modules or initramfs, and in cloud.config DEVTMPFS_MOUNT is n "
        "(/dev), VIRTIO_BLK is m (disks), VIRTIO_NET is m (network); the fragment `guest` on top "
        "of it mends that: fragments: [guest]"
    )
    listed = needs.sentence(missed, cloud, ConfigSpec("cloud", (guest, cloud, Path("thp.config"))))
    assert listed.endswith("fragments: [cloud.config, thp, guest]")
    mended = needs.sentence(missed, cloud, ConfigSpec("cloud", (cloud, guest)))
    assert "the fragment" not in mended
    assert needs.sentence((), cloud, spec) == ""


def test_an_initramfs_in_the_image() -> None:
    mine = config("arm64") | {"INITRAMFS_SOURCE": '"root.cpio"'}
    (miss,) = needs.unmet(ARCHES["arm64"], mine)
    told = needs.sentence([miss], None, ConfigSpec("mine"))
    assert told.endswith('a fragment with CONFIG_INITRAMFS_SOURCE="" mends it')
    assert needs.unmet(ARCHES["arm64"], mine | {"INITRAMFS_SOURCE": '""'}) == ()


@pytest.mark.parametrize(("arch", "word"), [("x86_64", "OVERRIDE"), ("arm64", "FORCE")])
def test_a_command_line_in_place_of_the_labs(arch: str, word: str) -> None:
    missed = needs.unmet(ARCHES[arch], config(arch) | {f"CMDLINE_{word}": "y"})
    told = needs.sentence(missed, None, ConfigSpec("mine"))
    assert told.startswith(f"CONFIG_CMDLINE_{word} has the kernel take CONFIG_CMDLINE in place of")
    assert f"# CONFIG_CMDLINE_{word} is not set" in told
